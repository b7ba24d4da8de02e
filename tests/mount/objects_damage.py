#!/usr/bin/python3
"""objects_damage.py WHAT OBJECTS STORE SUMS SEED [ARG]: what objects_damage.sh does to a store and sees of it.
make, small: objects, and what they are to be in the file SUMS.   read: all of them; how many are refused (EBADMSG); one that is wrong, missing or
refused otherwise is said.   names: those refused.   heal: those refused are written again.   flip ARG: a bit of a pack, by the seed.   truncate,
remove: the largest pack.   fill: three write until they are refused; why and how much."""
import errno
import glob
import hashlib
import json
import os
import random
import sys
import threading

what, objects, store, sums, seed = sys.argv[1:6]
arg = sys.argv[6] if len(sys.argv) > 6 else ''
rnd = random.Random(f'{seed} {arg}')


def content(name, size):
    return random.Random(f'{seed} {name}').randbytes(size)


def make(sizes):
    table = {}
    for i, size in enumerate(sizes):
        name = f'o{i}'
        data = content(name, size)
        with open(f'{objects}/{name}', 'wb') as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        table[name] = [size, hashlib.sha256(data).hexdigest()]
    with open(sums, 'w') as f:
        json.dump(table, f)


def read():
    """name -> the errno's name, 'wrong' or None."""
    with open(sums) as f:
        table = json.load(f)
    out = {}
    for name, (size, digest) in table.items():
        try:
            with open(f'{objects}/{name}', 'rb') as f:
                data = f.read()
            if hashlib.sha256(data).hexdigest() != digest:
                out[name] = f'wrong ({len(data)} of {size} bytes)'
        except OSError as e:
            out[name] = errno.errorcode[e.errno]
    return out


def packs():
    return sorted(glob.glob(f'{store}/packs/*.pack'), key=os.path.getsize)


if what == 'make':
    make([1, 100, 5000] + [rnd.randrange(20000, 60000) for _ in range(10)] + [rnd.randrange(200000, 900000) for _ in range(12)] + [65535, 65536, 262144])
elif what == 'small':
    make([1, 5000, 300000, 2000000])
elif what == 'read':
    found = read()
    odd = {n: w for n, w in found.items() if w != 'EBADMSG'}
    names = [n for n, w in found.items() if w == 'EBADMSG']
    print(f'ODD: {odd}' if odd else f'{len(names)} bad' + (f': {" ".join(names)}' if names else ''))
elif what == 'names':
    print(' '.join(read()))
elif what == 'heal':
    with open(sums) as f:
        table = json.load(f)
    for name in read():
        data = content(name, table[name][0])
        for path in (f'{objects}/{name}.healed', f'{objects}/{name}'):
            # the same bytes beside it: they must not be stored by pointing at the bad ones
            with open(path, 'wb') as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
            with open(path, 'rb') as f:
                if f.read() != data:
                    sys.exit(f'{path} is not what was written')
    left = read()
    if left:
        sys.exit(f'still bad: {left}')
elif what == 'flip':
    # a byte of a record that something refers to, each as likely: its head, what is stored, or the zeros behind it
    import sqlite3
    with sqlite3.connect(store + '/index.db') as db:
        records = db.execute('SELECT pack, at, (56 + stored + 7) / 8 * 8 FROM chunk WHERE pack > 0 AND refs > 0 ORDER BY pack, at').fetchall()
    at = rnd.randrange(sum(r[2] for r in records))
    for pack, begin, size in records:
        if at < size:
            break
        at -= size
    p = f'{store}/packs/{pack:08d}.pack'
    at, size = begin + at, os.path.getsize(p)
    bit = rnd.randrange(8)
    with open(p, 'r+b') as f:
        f.seek(at)
        b = f.read(1)[0]
        f.seek(at)
        f.write(bytes([b ^ 1 << bit]))
    print(f'{os.path.basename(p)} byte {at} of {size} bit {bit} (flip {arg})')
elif what == 'truncate':
    p = packs()[-1]
    size = os.path.getsize(p)
    os.truncate(p, size // 2 + 13)
    print(f'{os.path.basename(p)}: {size // 2 + 13} of {size} bytes')
elif what == 'remove':
    p = packs()[-1]
    os.unlink(p)
    print(os.path.basename(p))
elif what == 'fill':
    def fill(no):
        n = 0
        try:
            for i in range(1000):
                fd = os.open(f'{objects}/fill-{no}-{i}', os.O_CREAT | os.O_WRONLY)
                try:
                    data = os.urandom(200000 + 30000 * no)
                    while data:
                        k = os.write(fd, data)
                        data, n = data[k:], n + k
                    os.fsync(fd)
                finally:
                    os.close(fd)
        except OSError as e:
            os.write(1, f'{errno.errorcode[e.errno]} {n} {e.strerror}\n'.encode())
        else:
            os.write(1, f'none {n}\n'.encode())
    threads = [threading.Thread(target=fill, args=(no,)) for no in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
else:
    sys.exit(__doc__)
