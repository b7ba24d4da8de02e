#!/usr/bin/python3
"""audit.py STORE [busy]: a store against what there is of it on this machine, read without any of our code: a line per fault, exit 1 if
there are any.  Nothing may be running but what the state says.  busy: tasks may be under way and the world behind the state; only
what must hold at every moment is looked at."""
import os
import re
import sqlite3
import subprocess
import sys

store, busy = sys.argv[1], 'busy' in sys.argv[2:]
faults = []
db = sqlite3.connect(f'file:{store}/state.db?mode=ro', uri=True, timeout=20)
ask = lambda q, *a: db.execute(q, a).fetchall()
db.execute('BEGIN')


def fault(*words):
    faults.append(' '.join(str(w) for w in words))


def both(what, there, wanted):
    for x in sorted(set(there) - set(wanted)):
        fault(what, x, 'belongs to nothing')
    for x in sorted(set(wanted) - set(there)):
        fault(what, x, 'is missing')


def said(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout


def names(path):
    return os.listdir(path) if os.path.isdir(path) else []


def base36(n):
    s = ''
    while True:
        s, n = '0123456789abcdefghijklmnopqrstuvwxyz'[n % 36] + s, n // 36
        if not n:
            return s


# ---- the database by itself
for (line,) in ask('PRAGMA integrity_check'):
    if line != 'ok':
        fault('integrity:', line)
for row in ask('PRAGMA foreign_key_check'):
    fault('foreign key:', *row)
counted = dict(ask('SELECT kind, name FROM counted'))
wanted = {}
for kind, name in counted.items():
    for tenant, n in ask("SELECT tenant, count(*) FROM object WHERE kind = ? AND status <> 'DRAFT' AND tenant IS NOT NULL GROUP BY tenant", kind):
        wanted[tenant, name] = n
for tenant, cores, ram in ask('SELECT o.tenant, sum(s.vcpus), sum(s.ram) FROM server s JOIN object o ON o.id = s.id GROUP BY o.tenant'):
    wanted[tenant, 'cores'], wanted[tenant, 'ram'] = cores, ram
have = {(t, n): u for t, n, u in ask('SELECT tenant, name, used FROM usage')}
for key in have.keys() | wanted.keys():
    if (have.get(key) or 0) != (wanted.get(key) or 0) and key[1] in ('cores', 'ram', *counted.values()):
        fault('usage of tenant', *key, 'is', have.get(key), 'and a recount says', wanted.get(key))
for row in ask('''SELECT h.id, h.vcpus_used, h.ram_used, h.disk_used, coalesce(sum(s.vcpus), 0), coalesce(sum(s.ram), 0), coalesce(sum(s.disk), 0)
                  FROM host h LEFT JOIN server s ON s.host = h.id GROUP BY h.id'''):
    if row[1:4] != row[4:]:
        fault('host', row[0], 'uses', row[1:4], 'and a recount says', row[4:])
for id, name in ask('SELECT o.id, o.name FROM object o WHERE deleted = 1 AND NOT EXISTS (SELECT 1 FROM task WHERE object = o.id)'
                    ' AND NOT EXISTS (SELECT 1 FROM object p WHERE p.id = o.parent AND p.deleted = 1)'
                    ' AND NOT EXISTS (SELECT 1 FROM port p JOIN object s ON s.id = p.server WHERE p.id = o.id AND s.deleted = 1)'):
    fault('object', id, name, 'is deleted and no task removes it')
for id, name, status in ask("SELECT id, name, status FROM object o WHERE status IN ('BUILD', 'saving', 'REBOOT', 'HARD_REBOOT')"
                            ' AND NOT EXISTS (SELECT 1 FROM task WHERE object = o.id)'):
    fault('object', id, name, 'is', status, 'and no task works on it')
for nic, in ask('''SELECT o.name FROM server s JOIN object o ON o.id = s.id WHERE o.status <> 'DRAFT' AND o.deleted = 0 AND
                   (SELECT count(*) FROM nic WHERE server = s.id) <> (SELECT count(*) FROM port WHERE server = s.id)'''):
    fault('server', nic, 'has not the ports of its networks')

# ---- the world
if not busy:
    hash = ask("SELECT value FROM meta WHERE name = 'store-id'")[0][0][:8]
    for id, verb in ask('SELECT object, verb FROM task'):
        fault('task', verb, 'of object', id, 'is still there')
    for id, name in ask('SELECT id, name FROM object WHERE deleted = 1'):
        fault('object', id, name, 'is deleted and still there')
    servers = ask('''SELECT s.id, o.status, s.power FROM server s JOIN object o ON o.id = s.id JOIN host h ON h.id = s.host
                     WHERE o.status <> 'DRAFT' AND h.simulated = 0''')
    # what failed half-way may have its files or not, until it is deleted
    both('files of server', [n for n in names(f'{store}/servers') if (int(n), 'ERROR') not in [s[:2] for s in servers]],
         [str(id) for id, status, _ in servers if status != 'ERROR'])
    # a guest that goes off by itself stays as a qemu that does not run, until it is started or deleted: one it may have, not two
    qemus = sorted(re.findall(r'guest=(c-\d+)', said('pgrep', '-af', f'^[^ ]*qemu-system.*cirrusfs/{hash}/')))
    for q in set(qemus):
        if q not in [f'c-{id}' for id, _, _ in servers]:
            fault('guest', q, 'belongs to nothing')
        if qemus.count(q) > 1:
            fault('guest', q, 'runs', qemus.count(q), 'times')
    running = [id for id, status, power in servers if power == 'RUNNING']
    for id in running:
        if f'c-{id}' not in qemus:
            fault('guest', f'c-{id}', 'does not run and is called RUNNING')
    # images are in the object store; their base files are a cache, but for those that servers' disks stand on
    images = [id for id, in ask("SELECT id FROM object WHERE kind = 5 AND status IN ('active', 'deactivated')")]
    based = [id for id, in ask('SELECT DISTINCT image FROM server') if any(os.path.exists(f'{store}/servers/{s}/disk.qcow2')
             for s, in ask('SELECT id FROM server WHERE image = ?', id))]
    both('file', [n for n in names(f'{store}/images') if n not in [f'{id}.img' for id in images if id not in based]], [f'{id}.img' for id in based])
    if os.path.exists(f'{store}/objects/index.db'):
        objects = sqlite3.connect(f'file:{store}/objects/index.db?mode=ro', uri=True, timeout=20)
        both('data of image', [n for n, in objects.execute('SELECT name FROM entry WHERE space = -1 AND parent > 0')], [str(id) for id in images])
    networks = ask("SELECT n.id, n.cidr FROM network n JOIN object o ON o.id = n.id WHERE o.status <> 'DRAFT'")
    both('directory of network', names(f'{store}/networks'), [str(id) for id, _ in networks])
    both('namespace', [n for n in names('/run/netns') if n.startswith(f'cfs{hash}')], [f'cfs{hash}n{id}' for id, _ in networks])
    links = re.findall(r'^\d+: ([^:@]*)', said('ip', '-o', 'link'), re.M)
    both('link', [l for l in links if l.startswith(f'cfs{hash[:6]}')], [f'cfs{hash[:6]}v{base36(id)}' for id, _ in networks])
    both('table', re.findall(rf'table (inet cfs{hash})', said('nft', 'list', 'tables')), [f'inet cfs{hash}'] if networks else [])
    both('dnsmasq of network', re.findall(rf'--conf-file={store}/networks/(\d+)/', said('pgrep', '-ax', 'dnsmasq')),
         [str(id) for id, cidr in networks if cidr])
    both("dnsmasq's names of", [n for n in names('/run/cirrusfs-dns') if n.startswith(f'cfs{hash}')], [f'cfs{hash}n{id}' for id, cidr in networks if cidr])
    for id, _ in networks:
        taps = re.findall(rf'^\d+: (cfs{hash[:6]}t\w+)', said('ip', '-n', f'cfs{hash}n{id}', '-o', 'link'), re.M)
        must = [f'cfs{hash[:6]}t{base36(p)}' for p, s in ask('SELECT id, server FROM port WHERE network = ?', id) if s in running]
        may = [f'cfs{hash[:6]}t{base36(p)}' for p, s in ask('SELECT id, server FROM port WHERE network = ?', id)
               if s in [x[0] for x in servers if x[1] in ('ERROR', 'SHUTOFF')]]
        both(f'tap in network {id}', [t for t in taps if t not in may], must)
        rules = set(re.findall(rf'cfs{hash[:6]}t\w+', said('ip', 'netns', 'exec', f'cfs{hash}n{id}', 'nft', 'list', 'ruleset')))
        both(f'rules in network {id} for', rules - set(may), must)
for f in faults:
    print(f)
sys.exit(1 if faults else 0)
