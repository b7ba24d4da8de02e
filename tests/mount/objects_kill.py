#!/usr/bin/python3
"""objects_kill.py: eight programs that create, overwrite, append, write in place, rename and delete objects, and the death of the server in the
midst of it, again and again on the same store.  What each finds afterwards must be a state that was: the one after some call of its own, in their
order, and not before the last fsync that was answered.

  objects_kill.py --dir OBJECTS --up COMMAND --kill COMMAND [--check COMMAND] [--seed N] [--rounds N] [--writers N] [--lag N]
  objects_kill.py --dir ANY --plain [--sabotage N] ...      on an ordinary directory, where nobody dies; N faults are made and must be found

kill ends the server (and cuts the power, if it likes; $ROUND is the round) and leaves the dead mount, for the programs to find out; up mounts anew;
check says whether the store is sound (0).  lag: a close
may take effect that many calls later.  A line per finding, exit 1 if there are any.

Versions of an object: each call that changes something has a number; an object's history is what it was from which call on.  Contents change when
they are cut: by fsync and by the last close.  An object that was made and never cut may be absent or empty."""
import argparse
import errno
import hashlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED)
ABSENT, EMPTY = 'absent', 'empty'
SIZES = (1, 100, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 70000, 200000, 262143, 262145, 700000)

ap = argparse.ArgumentParser()
for name, default in (('dir', None), ('up', ''), ('kill', ''), ('check', '')):
    ap.add_argument(f'--{name}', default=default)
for name, default in (('seed', int(time.time())), ('rounds', 5), ('writers', 8), ('lag', 0), ('sabotage', 0), ('longest', 1500)):
    ap.add_argument(f'--{name}', type=int, default=default)
ap.add_argument('--plain', action='store_true')
opt = ap.parse_args()


class Gone(Exception):
    pass


def digest(data):
    return f'{len(data)} {hashlib.blake2b(data, digest_size=12).hexdigest()}' if data else EMPTY


def blocks(tag, size, start=0):
    """Bytes that say what they are, every 64 of them: a torn object tells of what it was made."""
    out = bytearray()
    at = start // 64 * 64
    while at < start + size:
        out += f'{tag} {at:9d} {(at * 2654435761 + hash_tag(tag)) & 0xffffffffff:x}'.encode()[:63].ljust(63) + b'\n'
        at += 64
    return bytes(out[start % 64:start % 64 + size])


def hash_tag(tag):
    return int.from_bytes(hashlib.blake2b(tag.encode(), digest_size=6).digest(), 'big')


def read(path):
    try:
        with open(path, 'rb') as f:
            return f.read()
    except FileNotFoundError:
        return None


def dead():
    """What was under way when the server died may say EIO.  statvfs is never answered from the kernel's cache."""
    for _ in range(20):
        try:
            os.statvfs(opt.dir)
        except OSError as e:
            return e.errno in DEAD
        time.sleep(0.05)
    return False


class Writer:
    """names: name -> bytes or None, as it was asked; history: name -> [(from which call, {what it may be then})]; the calls so far, and the
    last that a returned fsync made durable."""

    def __init__(self, no, names):
        self.no, self.names, self.dir = no, names, f'{opt.dir}/w{no}'
        self.calls, self.durable = 0, 0
        self.history = {n: [(0, {digest(d) if d is not None else ABSENT}, 'start')] for n, d in names.items()}
        self.log = []

    def will(self, name, why, *may):
        """By the next call that object becomes one of these."""
        self.history.setdefault(name, [(0, {ABSENT}, 'start')]).append((self.calls + 1, set(may), why))

    def call(self, what, fn, *args, **kw):
        """A system call; its number is counted before it is asked, so that what it does may be there when nobody answered."""
        self.calls += 1
        self.log.append((self.calls, what))
        try:
            return fn(*args, **kw)
        except OSError as e:
            if e.errno in DEAD or dead():
                raise Gone from None
            raise

    def sync(self, fd, name, data):
        self.will(name, 'fsync', digest(data))
        self.call(f'fsync {name}', self.rnd.choice((os.fsync, os.fdatasync)), fd)
        self.durable = self.calls

    def close(self, fd, name, data):
        self.will(name, 'close', digest(data))
        self.call(f'close {name}', os.close, fd)

    def write(self, fd, data, off):
        at = 0
        while at < len(data):
            n = self.rnd.choice((len(data), 4096, 65536, 131072, 10000))
            at += self.call(f'write {off + at}', os.pwrite, fd, data[at:at + n], off + at)

    def create(self, name, data, sync):
        path = f'{self.dir}/{name}'
        self.will(name, 'create', ABSENT, EMPTY)
        fd = self.call(f'create {name}', os.open, path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o644)
        self.write(fd, data, 0)
        self.names[name] = data
        if sync:
            self.sync(fd, name, data)
        self.close(fd, name, data)

    def remove(self, name):
        self.will(name, 'unlink', ABSENT)
        self.call(f'unlink {name}', os.unlink, f'{self.dir}/{name}')
        self.names[name] = None

    def step(self):
        rnd, n = self.rnd, self.calls
        name = rnd.choice([f'o{i}' for i in range(10)])
        data, sync = self.names.get(name), rnd.random() < 0.35
        tag = f'w{self.no} {name} g{self.gen}.{n}'
        size = rnd.choice(SIZES)
        path = f'{self.dir}/{name}'
        what = rnd.choice(('replace',) * 4 + ('truncate', 'append', 'append', 'inplace', 'inplace', 'shrink', 'delete', 'rename', 'dir', 'copy', 'syncdir'))
        if what == 'replace':
            # as editors and rsync do it
            tmp = f'.{name}.tmp'
            new = blocks(tag, size)
            if self.names.get(tmp) is not None:
                self.remove(tmp)
            self.create(tmp, new, sync)
            self.rename(tmp, name)
        elif what == 'syncdir':
            fd = self.call('open dir', os.open, self.dir, os.O_RDONLY | os.O_DIRECTORY)
            self.call('fsync dir', os.fsync, fd)
            self.durable = self.calls
            os.close(fd)
        elif what == 'dir':
            self.directory()
        elif data is None:
            if what != 'delete':
                self.create(name, blocks(tag, size), sync)
        elif what == 'delete':
            self.remove(name)
        elif what == 'rename':
            other = rnd.choice([f'o{i}' for i in range(10)])
            if other != name:
                self.rename(name, other)
        elif what == 'copy' and not opt.plain:
            other = f'c{rnd.randrange(3)}'
            if self.names.get(other) is not None:
                self.remove(other)
            self.will(other, 'create', ABSENT, EMPTY)
            fd = self.call('open', os.open, path, os.O_RDONLY)
            out = self.call(f'create {other}', os.open, f'{self.dir}/{other}', os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o644)
            at = 0
            while at < len(data) and (k := self.call('copy_file_range', os.copy_file_range, fd, out, len(data) - at)):
                at += k
            os.close(fd)
            self.names[other] = data
            if sync:
                self.sync(out, other, data)
            self.close(out, other, data)
        else:
            flags = os.O_RDWR | (os.O_TRUNC if what == 'truncate' else 0)
            fd = self.call(f'open {name} {what}', os.open, path, flags)
            if what == 'truncate':
                data = blocks(tag, size)
                self.write(fd, data, 0)
            elif what == 'append':
                more = blocks(tag, min(size, 70000), len(data))
                self.write(fd, more, len(data))
                data += more
            elif what == 'shrink':
                size = rnd.randrange(len(data) + 1)
                self.call(f'ftruncate {size}', os.ftruncate, fd, size)
                data = data[:size]
            for turn in range(rnd.randrange(1, 5) if what == 'inplace' else 0):
                off = rnd.randrange(len(data) + 1)
                part = blocks(f'{tag}.{turn}', rnd.choice((1, 512, 4096, 5000, 66000)), off)
                self.write(fd, part, off)
                data = data[:off] + part + data[off + len(part):]
                if rnd.random() < 0.3:
                    self.sync(fd, name, data)
            self.names[name] = data
            if sync:
                self.sync(fd, name, data)
            self.close(fd, name, data)
        if self.names and rnd.random() < 0.1:
            self.look(rnd.choice(list(self.names)))

    def rename(self, old, new):
        data = self.names[old]
        self.will(old, f'rename to {new}', ABSENT)
        self.will(new, f'rename from {old}', digest(data))
        self.call(f'rename {old} {new}', os.rename, f'{self.dir}/{old}', f'{self.dir}/{new}')
        self.names[old], self.names[new] = None, data

    def directory(self):
        path, there = f'{self.dir}/d', self.names.get('d/x')
        if there is None:
            self.call('mkdir d', os.makedirs, path, exist_ok=True)
            self.create('d/x', blocks(f'w{self.no} d/x {self.calls}', 3000), self.rnd.random() < 0.5)
        else:
            self.remove('d/x')
            self.call('rmdir d', os.rmdir, path)

    def look(self, name):
        """What it has just written it reads."""
        data = self.call(f'read {name}', read, f'{self.dir}/{name}')
        if data != self.names[name]:
            raise AssertionError(f'{name} is read otherwise than it was written while the server lived: {explain(data, self.names[name])}')

    def run(self, gen, stop):
        self.gen, self.rnd = gen, random.Random(f'{opt.seed} {gen} {self.no}')
        try:
            self.call('mkdir', os.makedirs, self.dir, exist_ok=True)
            while not stop():
                self.step()
        except Gone:
            pass


def explain(data, wanted=None):
    if data is None:
        return 'absent'
    if not data:
        return 'empty'
    seen = {}
    for at in range(0, len(data), 64):
        line = data[at:at + 64]
        words = line.split()
        tag = b' '.join(words[:3]).decode(errors='replace') if len(words) >= 3 and line.endswith(b'\n') else 'zeros' if not line.strip(b'\0') else 'pieces'
        a = seen.setdefault(tag, [at, at, 0])
        a[1], a[2] = at, a[2] + 1
    parts = [f'{k}: {v[2]} lines in {v[0]}-{v[1] + 64}' for k, v in list(seen.items())[:6]]
    first = next((i for i in range(0, min(len(data), len(wanted)), 1) if data[i] != wanted[i]), min(len(data), len(wanted))) if wanted is not None else None
    return f'{len(data)} bytes of {parts}' + (f', first other byte at {first}, {len(wanted)} wanted' if wanted is not None else '')


def check(w, found):
    """Compares what is there with the history, and gives the truth to go on with."""
    names, spans = {}, {}
    there = []
    for d, _, files in os.walk(w.dir):
        there += [os.path.relpath(f'{d}/{f}', w.dir) for f in files]
    for name in sorted(set(there) | set(w.history)):
        try:
            data = read(f'{w.dir}/{name}')
        except OSError as e:
            found.append(f'w{w.no}/{name} cannot be read: {e}')
            names[name] = None
            continue
        names[name] = data
        now = ABSENT if data is None else digest(data)
        h = w.history.get(name)
        if h is None:
            found.append(f'w{w.no}/{name} is there and was never made: {explain(data)}')
            continue
        fits = []
        for i, (begin, may, why) in enumerate(h):
            end = h[i + 1][0] - 1 if i + 1 < len(h) else w.calls
            # a close that takes effect late leaves what was before it
            if i + 1 < len(h) and h[i + 1][2] == 'close':
                end += opt.lag
            if now in may and end >= begin:
                fits.append((begin, end))
        if not fits:
            found.append(f'w{w.no}/{name} is none of its versions: {explain(data)}; the newest are {[(k, sorted(m), y) for k, m, y in h[-3:]]}, durable up to call {w.durable}; '
                         f'the last calls: {w.log[-10:]}')
            continue
        if all(end < w.durable for _, end in fits):
            found.append(f'w{w.no}/{name} is older than what fsync answered at call {w.durable}: it is as from call {fits[-1][0]} to {fits[-1][1]}, '
                         f'{[(k, sorted(m), y) for k, m, y in h[-3:]]}; the last calls: {w.log[-10:]}')
            continue
        spans[name] = [(max(b, w.durable), e) for b, e in fits if e >= w.durable]
    # one moment that fits all of them
    points = sorted({b for s in spans.values() for b, _ in s} | {w.durable})
    if not any(all(any(b <= p <= e for b, e in s) for s in spans.values()) for p in points):
        best = max(points, key=lambda p: sum(any(b <= p <= e for b, e in s) for s in spans.values()))
        odd = {n: s for n, s in spans.items() if not any(b <= best <= e for b, e in s)}
        near = sorted((best, max(e for s in odd.values() for _, e in s)))
        calls = [c for c in w.log if near[0] - 4 <= c[0] <= near[1] + 4][:24]
        found.append(f'w{w.no}: not a state that was: most is as after call {best} of {w.calls} (durable: {w.durable}), but {odd}; calls: {calls}')
    if 'd/x' not in names and os.path.isdir(f'{w.dir}/d'):
        os.rmdir(f'{w.dir}/d')
    elif names.get('d/x') is None and os.path.isdir(f'{w.dir}/d'):
        os.rmdir(f'{w.dir}/d')
    return names


def spawn(no, names, gen):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    code = 1
    try:
        ended = []
        signal.signal(signal.SIGTERM, lambda *a: ended.append(1))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.alarm(120)
        w = Writer(no, names)
        try:
            w.run(gen, lambda: ended)
        except Exception as e:
            print(f'round {gen}: writer {no}: {e!r} at {w.log[-1:]}', flush=True)
            w.failed = repr(e)
        with open(f'{state}/w{no}', 'wb') as f:
            pickle.dump(w, f)
        code = 0
    finally:
        os._exit(code)


def shell(command, turn):
    return subprocess.run(command, shell=True, env=dict(os.environ, ROUND=str(turn)), capture_output=True, text=True)


def sabotage(rnd, made):
    """Faults of all kinds, for the checker to find."""
    w = rnd.choice(made)
    have = [n for n, d in w.names.items() if d]
    if not have:
        return None
    name = rnd.choice(have)
    path, kind = f'{w.dir}/{name}', rnd.choice(('torn', 'bit', 'gone', 'empty', 'short', 'alien', 'early'))
    if kind == 'early':
        # as it was long ago, while others are as they are now; nobody called fsync
        w.durable = -1
        os.unlink(path)
        return f'early w{w.no}/{name}' if len(have) > 4 and w.history[name][-1][0] < w.calls - 40 else None
    if kind == 'alien':
        open(f'{w.dir}/alien', 'w').close()
    elif kind == 'gone':
        os.unlink(path)
    elif kind == 'empty':
        os.truncate(path, 0)
    elif kind == 'short':
        os.truncate(path, len(w.names[name]) - 1)
    else:
        with open(path, 'r+b') as f:
            if kind == 'bit':
                f.seek(rnd.randrange(len(w.names[name])))
                f.write(b'\x7f')
            else:
                f.write(b'\0' * min(512, len(w.names[name])))
    w.durable = w.calls
    return f'{kind} w{w.no}/{name}'


state = tempfile.mkdtemp(prefix='objects_kill.')
findings, models, calls, synced = [], [{} for _ in range(opt.writers)], 0, 0
rnd = random.Random(opt.seed)
turn = -1
try:
    for turn in range(opt.rounds):
        pids = [spawn(no, models[no], turn) for no in range(opt.writers)]
        time.sleep(rnd.choice((20, 100, 400, opt.longest)) * rnd.random() / 1000)
        if opt.plain:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        else:
            r = shell(opt.kill, turn)
            if r.returncode:
                findings.append(f'round {turn}: kill: {r.stdout}{r.stderr}')
            said = r.stdout.strip()
        lost = [no for no, pid in enumerate(pids) if os.waitpid(pid, 0)[1]]
        found = [f'writer {no} came to no end' for no in lost]
        if not opt.plain:
            r = shell(opt.up, turn)
            if r.returncode:
                findings.append(f'round {turn}: it cannot be mounted again: {r.stdout}{r.stderr}')
                break
        made = []
        for no in set(range(opt.writers)) - set(lost):
            with open(f'{state}/w{no}', 'rb') as f:
                made.append(pickle.load(f))
        found += [f'writer {w.no}: {w.failed}' for w in made if hasattr(w, 'failed')]
        if opt.plain:
            for w in made:
                w.durable = w.calls
        fault = sabotage(rnd, made) if opt.sabotage and made else None
        for w in made:
            calls, synced = calls + w.calls, synced + w.durable
            models[w.no] = check(w, found)
        if fault and not found:
            findings.append(f'round {turn}: {fault} was not found')
        elif opt.sabotage:
            if os.environ.get('KILL_VERBOSE'):
                print(f'# {fault}: {found}')
            found = []
            shutil.rmtree(opt.dir)
            os.makedirs(opt.dir)
            models = [{} for _ in models]
        if opt.check:
            r = shell(opt.check, turn)
            if r.returncode:
                found.append(f'it is not sound: {r.stdout}{r.stderr}'.strip())
        findings += [f'round {turn}: {f}' + (f' [{said}]' if not opt.plain and said else '') for f in found]
        if len(findings) > 20:
            break
        if turn % 50 == 49:
            print(f'# {turn + 1} rounds, {calls} calls', flush=True)
finally:
    shutil.rmtree(state)
print(f'# {turn + 1} rounds (seed {opt.seed}), {calls} calls, {synced} of them known to be durable')
for f in findings:
    print(f)
sys.exit(1 if findings else 0)
