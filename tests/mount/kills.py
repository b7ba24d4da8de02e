#!/usr/bin/python3
"""kills.py CIRRUSFS STORE CLOUD SEED ROUNDS: several shells' worth of creating, deleting, renaming and writing, and kill -9 in the midst of it, again
and again on the same store.  After each mount: what was accepted is there, what was being asked is there or not, nothing is half-made, the
state agrees with itself and with the machine.  A line per finding, exit 1 if there are any."""
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

cirrusfs, store, cloud, seed, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
AUDIT = os.path.dirname(os.path.abspath(__file__)) + '/audit.py'
WORKERS = 4
T = f'{cloud}/tenants/acme'
DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1bmNoIG9mIGJ5dGVzIGZvciBhIHRlc3QgMTIz '


def put(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if '/keys/' in path or '/metadata/' in path else 0))
    try:
        os.write(fd, text.encode() + b'\n')
    finally:
        os.close(fd)


def get(path):
    with open(path) as f:
        return f.read().rstrip('\n')


class Gone(Exception):
    pass


class Worker:
    """What one shell made, as it was told: objects is what must be there, doubt what was asked when the process died."""

    def __init__(self, no, model):
        self.no, self.objects, self.rnd = no, model, None
        self.doubt = None

    def new_name(self, n=[0]):
        n[0] += 1
        return f'w{self.no}-{os.getpid() % 10000}-{n[0]}'

    def some(self, kind, **want):
        found = [n for n, o in self.objects.items() if o['kind'] == kind and all(o.get(k) == v for k, v in want.items())]
        return self.rnd.choice(found) if found else None

    def ask(self, what, fn, then):
        """fn asks, then() notes what was accepted.  A refusal changes nothing."""
        self.doubt = what
        try:
            fn()
        except OSError as e:
            if e.errno in DEAD:
                raise Gone
            if e.errno == errno.EIO:
                try:
                    print(f'EIO: {what}: {get(cloud + "/last-error").splitlines()[0]}', flush=True)
                except OSError:     # that write was cut off
                    raise Gone
            if os.environ.get('KILLS_VERBOSE'):
                print(what, e, flush=True)
            self.doubt = None
            return
        self.doubt = None
        then()

    def step(self):
        new, obj = self.new_name(), self.objects
        what = self.rnd.choice('server server server draft delete delete rename rename describe describe document metadata key stop start network image image'.split())
        if what == 'server' and sum(o['kind'] == 'servers' for o in obj.values()) < 25:
            self.ask([what, new], lambda: put(f'{T}/servers/ctl', f'create {new} flavor=m1.tiny image=tiny network=lan host=sim description={new}'),
                     lambda: obj.__setitem__(new, {'kind': 'servers', 'description': new, 'status': 'ACTIVE'}))
        elif what == 'draft':
            self.ask([what, new], lambda: os.mkdir(f'{T}/servers/{new}'), lambda: obj.__setitem__(new, {'kind': 'servers', 'description': '', 'status': 'DRAFT'}))
        elif what == 'delete' and obj:
            name = self.rnd.choice(list(obj))
            path = f'{T}/{obj[name]["kind"]}/{name}'
            self.ask([what, name], lambda: os.unlink(path) if obj[name]['kind'] == 'keys' else os.rmdir(path), lambda: obj.pop(name))
        elif what == 'rename' and obj:
            name = self.rnd.choice(list(obj))
            self.ask([what, name, new], lambda: os.rename(f'{T}/{obj[name]["kind"]}/{name}', f'{T}/{obj[name]["kind"]}/{new}'),
                     lambda: obj.__setitem__(new, obj.pop(name)))
        elif what == 'describe' and (name := self.some(self.rnd.choice(('servers', 'networks', 'images')))):
            self.ask([what, name, new], lambda: put(f'{T}/{obj[name]["kind"]}/{name}/description', new), lambda: obj[name].__setitem__('description', new))
        elif what == 'document' and (name := self.some('servers', status='DRAFT')):
            text = f'#!/bin/sh\necho {new}' * 50
            self.ask([what, name, text], lambda: put(f'{T}/servers/{name}/user-data', text), lambda: obj[name].__setitem__('user-data', text))
        elif what == 'metadata' and (name := self.some('servers')):
            self.ask([what, name, new], lambda: put(f'{T}/servers/{name}/metadata/k', new), lambda: obj[name].__setitem__('metadata/k', new))
        elif what == 'key' and sum(o['kind'] == 'keys' for o in obj.values()) < 20:
            self.ask([what, new], lambda: put(f'{T}/keys/{new}', KEY + new), lambda: obj.__setitem__(new, {'kind': 'keys', 'text': KEY + new}))
        elif what == 'stop' and (name := self.some('servers', status='ACTIVE')):
            self.ask([what, name], lambda: put(f'{T}/servers/{name}/ctl', 'stop'), lambda: obj[name].__setitem__('status', 'SHUTOFF'))
        elif what == 'start' and (name := self.some('servers', status='SHUTOFF')):
            self.ask([what, name], lambda: put(f'{T}/servers/{name}/ctl', 'start'), lambda: obj[name].__setitem__('status', 'ACTIVE'))
        elif what == 'network' and sum(o['kind'] == 'networks' for o in obj.values()) < 3:
            self.ask([what, new], lambda: put(f'{T}/networks/ctl', f'create {new} cidr=10.{self.no + 1}.0.0/24 description={new}'),
                     lambda: obj.__setitem__(new, {'kind': 'networks', 'description': new, 'status': 'ACTIVE'}))
        elif what == 'image' and sum(o['kind'] == 'images' for o in obj.values()) < 6:
            name = self.some('images', status='queued')
            if not name:
                self.ask([what, new], lambda: os.mkdir(f'{T}/images/{new}'), lambda: obj.__setitem__(new, {'kind': 'images', 'description': '', 'status': 'queued'}))
                return
            data = self.rnd.randbytes(self.rnd.choice((600, 70000, 300000)))

            def upload():
                with open(f'{T}/images/{name}/data', 'wb', buffering=0) as f:
                    f.write(data)
            # taken or not is said by its task: both are whole
            self.ask(['upload', name, hashlib.md5(data).hexdigest()], upload,
                     lambda: obj[name].update(status='uploaded', md5=hashlib.md5(data).hexdigest()))

    def run(self):
        try:
            while True:
                self.step()
        except Gone:
            pass
        return {'objects': self.objects, 'doubt': self.doubt}


def start_worker(no, model, turn):
    out = f'{store}.w{no}'
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(120)
        w = Worker(no, model)
        w.rnd = random.Random(f'{seed} {turn} {no}')
        result = w.run()
        with open(out, 'w') as f:
            json.dump(result, f)
        code = 0
    except BaseException as e:
        print(f'worker {no}: {e!r} at {w.doubt}', flush=True)
    finally:
        os._exit(code)


def check(no, result, found):
    """Compares; gives what the worker goes on with: the truth."""
    obj, doubt = result['objects'], result['doubt']
    names = {}
    for kind in ('servers', 'networks', 'images', 'keys'):
        for n in os.listdir(f'{T}/{kind}'):
            if n.startswith(f'w{no}-'):
                names[n] = kind
    in_doubt = doubt[1:3] if doubt else []
    for n in obj.keys() - names.keys():
        if n not in in_doubt or doubt[0] not in ('delete', 'rename') or (doubt[0] == 'rename' and doubt[2] not in names):
            found.append(f'{obj[n]["kind"]}/{n} was accepted and is not there (asked last: {doubt})')
    for n in names.keys() - obj.keys():
        if n not in in_doubt:
            found.append(f'{names[n]}/{n} is there and was deleted or never accepted (asked last: {doubt})')
    if doubt and doubt[0] == 'rename' and all(n in names for n in doubt[1:3]):
        found.append(f'{doubt} was done by half')
    model = {}
    for n, kind in names.items():
        path, o = f'{T}/{kind}/{n}', obj.get(n) or (obj.get(doubt[1]) if doubt and doubt[0] == 'rename' else None) or {}
        doubtful = n in in_doubt
        if kind == 'keys':
            text = get(path)
            if not text.startswith(KEY) or (o and text != o['text']):
                found.append(f'keys/{n} is {text!r}')
            model[n] = {'kind': kind, 'text': text}
            continue
        now = {'kind': kind, 'status': get(f'{path}/status'), 'description': get(f'{path}/description')}
        if o and now['description'] != o['description'] and not (doubtful and doubt[0] == 'describe' and now['description'] == doubt[2]):
            found.append(f'{kind}/{n}: description is {now["description"]!r}, accepted was {o["description"]!r}')
        for doc in ('user-data', 'metadata/k'):
            if kind == 'servers':
                text = get(f'{path}/{doc}') if os.path.exists(f'{path}/{doc}') else ''
                if o and text != o.get(doc, '') and not (doubtful and text == doubt[2]):
                    found.append(f'servers/{n}: {doc} is {text[:60]!r}, accepted was {o.get(doc, "")[:60]!r} (asked last: {doubt})')
                if text:
                    now[doc] = text
        if kind == 'images':
            md5 = doubt[2] if doubtful and doubt[0] == 'upload' else o.get('md5')
            error = get(f'{path}/error')
            if now['status'] == 'active' and get(f'{path}/checksum') != md5:
                found.append(f'images/{n} is active and not what was written: {get(path + "/checksum")}, {md5}; {o}; asked last: {doubt}')
            if now['status'] not in ('active', 'queued') or (now['status'] == 'queued' and md5 and 'EINTR' not in error and not doubtful):
                found.append(f'images/{n} is {now["status"]}: {error}')
            if o.get('status') == 'active' and now['status'] != 'active':
                found.append(f'images/{n} was active and is {now["status"]}')
            now['md5'] = md5 if now['status'] == 'active' else None
        elif now['status'] != o.get('status', now['status']) and not doubtful:
            found.append(f'{kind}/{n} is {now["status"]} ({get(path + "/error")}), accepted was {o["status"]}')
        elif now['status'] not in ('ACTIVE', 'SHUTOFF', 'DRAFT'):
            found.append(f'{kind}/{n} is {now["status"]}: {get(path + "/error")}')
        model[n] = now
    return model


def mount():
    subprocess.run([cirrusfs, 'mount', store, cloud], check=True)


models, findings, accepted = [{} for _ in range(WORKERS)], [], 0
rnd = random.Random(seed)
for turn in range(rounds):
    pids = [start_worker(no, models[no], turn) for no in range(WORKERS)]
    time.sleep(rnd.choice((0.05, 0.2, 0.7, 2)) * rnd.random())
    server = int(get(f'{store}/lock').split()[0])
    os.kill(server, signal.SIGKILL)
    while os.path.exists(f'/proc/{server}/exe') and os.path.lexists(f'/proc/{server}/fd/0'):
        time.sleep(0.01)
    lost = [no for no, pid in enumerate(pids) if os.waitpid(pid, 0)[1]]
    subprocess.run(['umount', '-l', cloud], stderr=subprocess.DEVNULL)
    mount()
    try:
        with open(f'{cloud}/wait') as f:
            signal.alarm(180)
            f.read()
    except OSError:
        pass    # EIO: an upload was cut off
    signal.alarm(0)
    found = [f'worker {no} came to no end' for no in lost]
    for no in range(WORKERS):
        if no not in lost:
            with open(f'{store}.w{no}') as f:
                models[no] = check(no, json.load(f), found)
    audit = subprocess.run([sys.executable, AUDIT, store], capture_output=True, text=True)
    found += (audit.stdout + audit.stderr).splitlines()
    findings += [f'round {turn}: {f}' for f in found]
    if len(findings) > 20:
        break
print(f'# {turn + 1} kills (seed {seed}); at the end there are', {k: sum(o["kind"] == k for m in models for o in m.values()) for k in ('servers', 'networks', 'images', 'keys')})
for f in findings:
    print(f)
sys.exit(1 if findings else 0)
