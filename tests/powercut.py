#!/usr/bin/python3
"""The other half of powercut.c.
powercut.py start DIR SHADOW: all of DIR is on the platter, SHADOW is made (again).
powercut.py cut DIR SHADOW [SEED]: after a kill -9 of the process that ran with powercut.so: DIR becomes what a power cut leaves.  Without a seed
all that was not synced is gone; with one a random part of it is there: of names the first few, of each file nothing, all, the first bytes, or
sectors and pages here and there.  Prints what was dropped.
powercut.py same DIR SHADOW: is what the shadow holds what stands in DIR?  (After a cut, or once all was synced.)"""
import json
import os
import random
import shutil
import sys


def walk(top):
    """Paths below top: files and directories, without what SQLite shares in memory."""
    files, dirs = [], []
    for d, sub, names in os.walk(top):
        rel = os.path.relpath(d, top)
        rel = '' if rel == '.' else rel + '/'
        dirs += [rel + s for s in sub]
        files += [rel + n for n in names if not n.endswith('-shm') and not os.path.islink(f'{d}/{n}')]
    return files, dirs


def stamp(path):
    st = os.stat(path)
    return [st.st_ino, st.st_size, st.st_mtime_ns]


def copy_range(src, dst, off, length):
    fd, out = os.open(src, os.O_RDONLY), os.open(dst, os.O_WRONLY)
    try:
        end = off + length
        while off < end and (data := os.pread(fd, min(1 << 20, end - off), off)):
            os.pwrite(out, data, off)
            off += len(data)
    finally:
        os.close(fd)
        os.close(out)


def settle(top, shadow, known):
    """The shadow is what stands in DIR.  known: path -> [id, ino, size, mtime] of files that are equal there already."""
    files, dirs = walk(top)
    ids, table = {}, {}
    last = max([int(i) for i in os.listdir(f'{shadow}/ino')] + [0])
    for path in files:
        now = stamp(f'{top}/{path}')
        if path in known and known[path][1:] == now and os.path.exists(f'{shadow}/ino/{known[path][0]}'):
            ids[path] = known[path][0]
        else:
            last += 1
            ids[path] = last
            shutil.copyfile(f'{top}/{path}', f'{shadow}/ino/{last}')
        table[path] = [ids[path]] + now
    shutil.rmtree(f'{shadow}/tree', ignore_errors=True)
    os.makedirs(f'{shadow}/tree')
    for d in sorted(dirs):
        os.mkdir(f'{shadow}/tree/{d}')
    for path, i in ids.items():
        os.link(f'{shadow}/ino/{i}', f'{shadow}/tree/{path}')
    keep = {str(i) for i in ids.values()}
    for i in os.listdir(f'{shadow}/ino'):
        if i not in keep:
            os.unlink(f'{shadow}/ino/{i}')
    shutil.rmtree(f'{shadow}/live', ignore_errors=True)
    os.makedirs(f'{shadow}/live')
    with open(f'{shadow}/files', 'w') as f:
        f.writelines(f'{i}\t{path}\n' for path, i in ids.items())
    with open(f'{shadow}/known', 'w') as f:
        json.dump(table, f)
    open(f'{shadow}/journal', 'w').close()


def start(top, shadow):
    for d in ('ino', 'tree', 'live'):
        os.makedirs(f'{shadow}/{d}', exist_ok=True)
    known = {}
    if os.path.exists(f'{shadow}/known') and os.path.getsize(f'{shadow}/journal') == 0:
        with open(f'{shadow}/known') as f:
            known = json.load(f)
    settle(top, shadow, known)


class Journal:
    def __init__(self, path):
        self.ino, self.dirty, self.resized, self.names = {}, {}, set(), {}
        with open(path) as f:
            for line in f:
                w = line.rstrip('\n').split('\t')
                if w[0] == 'i':
                    self.ino[int(w[1])] = int(w[2])
                elif w[0] == 'w':
                    self.dirty.setdefault(int(w[1]), []).append((int(w[2]), int(w[3])))
                elif w[0] == 't':
                    self.resized.add(int(w[1]))
                elif w[0] == 's':
                    self.dirty.pop(int(w[1]), None)
                    self.resized.discard(int(w[1]))
                elif w[0] == 'n':
                    self.names[int(w[1])] = (w[2], int(w[3]), w[4], w[5] if len(w) > 5 else None)
                elif w[0] == 'a':
                    self.names.pop(int(w[1]), None)


def apply_name(shadow, op, i, path, path2):
    tree = f'{shadow}/tree'
    try:
        if op in 'cl':
            path = path2 if op == 'l' else path
            if os.path.lexists(f'{tree}/{path}'):
                os.unlink(f'{tree}/{path}')
            os.link(f'{shadow}/ino/{i}', f'{tree}/{path}')
        elif op == 'd':
            os.mkdir(f'{tree}/{path}')
        elif op == 'r':
            os.rename(f'{tree}/{path}', f'{tree}/{path2}')
        elif op == 'u':
            os.unlink(f'{tree}/{path}')
        elif op == 'x':
            os.rmdir(f'{tree}/{path}')
    except FileNotFoundError:
        pass


def part_of(rnd, ranges):
    """What of these unsynced writes reached the platter."""
    how = rnd.choice(('nothing', 'all', 'first', 'sectors', 'pages'))
    if how == 'nothing':
        return how, []
    if how == 'all':
        return how, ranges
    if how == 'first':
        total = sum(n for _, n in ranges)
        left = rnd.randrange(total + 1) // 512 * 512
        out = []
        for off, n in ranges:
            out.append((off, min(n, left)))
            left -= min(n, left)
        return how, [r for r in out if r[1]]
    unit = 512 if how == 'sectors' else 4096
    out = []
    for off, n in ranges:
        end = off + n
        while off < end:
            stop = min(end, off // unit * unit + unit * rnd.choice((1, 1, 2, 8)))
            if rnd.random() < 0.5:
                out.append((off, stop - off))
            off = stop
    return how, out


def cut(top, shadow, seed=None):
    """Gives a line on what was dropped."""
    j = Journal(f'{shadow}/journal')
    files, dirs = walk(top)
    rnd = random.Random(seed) if seed is not None else None
    where = {os.stat(f'{top}/{p}').st_ino: f'{top}/{p}' for p in files}
    said, dropped = [], sum(n for r in j.dirty.values() for _, n in r)
    names = list(j.names.values())
    if rnd:
        for i in sorted(set(j.dirty) | j.resized):
            live, real = f'{shadow}/live/{i}', None
            real = live if os.path.exists(live) else where.get(j.ino.get(i))
            if not real or not os.path.exists(f'{shadow}/ino/{i}'):
                continue
            size, end = os.path.getsize(real), os.path.getsize(f'{shadow}/ino/{i}')
            how, part = part_of(rnd, j.dirty.get(i, []))
            for off, n in part:
                if off < size:
                    copy_range(real, f'{shadow}/ino/{i}', off, min(n, size - off))
            if how == 'all' or (size < end and rnd.random() < 0.5):
                os.truncate(f'{shadow}/ino/{i}', size)
            said.append(f'{os.path.basename(real)}: {how}')
        count = rnd.randrange(len(names) + 1)
        for n in names[:count]:
            apply_name(shadow, *n)
        said.append(f'{count} of {len(names)} names')
    # and now DIR is that: what is equal stays
    id_of = {os.stat(f'{shadow}/ino/{i}').st_ino: int(i) for i in os.listdir(f'{shadow}/ino')}
    there, there_dirs = walk(f'{shadow}/tree')
    table = {}
    for p in set(files) - set(there):
        os.unlink(f'{top}/{p}')
    for d in sorted(set(dirs) - set(there_dirs), reverse=True):
        shutil.rmtree(f'{top}/{d}')
    for d in sorted(set(there_dirs) - set(dirs)):
        os.mkdir(f'{top}/{d}')
    for p in there:
        mine, real = f'{shadow}/tree/{p}', f'{top}/{p}'
        i = id_of[os.stat(mine).st_ino]
        size = os.path.getsize(mine)
        if p not in files or j.ino.get(i, -1) != os.stat(real).st_ino:
            if i in j.ino or p not in files:
                if p in files:
                    os.unlink(real)
                shutil.copyfile(mine, real)
        else:
            for off, n in j.dirty.get(i, []):
                if off < size:
                    copy_range(mine, real, off, min(n, size - off))
            if os.path.getsize(real) != size:
                os.truncate(real, size)
        table[p] = [i] + stamp(real)
    for d, _, names_here in os.walk(top):
        for n in names_here:
            if n.endswith('-shm'):
                os.unlink(f'{d}/{n}')
    settle(top, shadow, table)
    return f'{dropped} bytes and {len(names)} names were not synced' + (f' ({", ".join(said)})' if rnd else '')


def same(top, shadow):
    a, b = walk(top), walk(f'{shadow}/tree')
    out = [f'{p}: only on one side' for p in sorted((set(a[0]) ^ set(b[0])) | (set(a[1]) ^ set(b[1])))]
    for p in set(a[0]) & set(b[0]):
        with open(f'{top}/{p}', 'rb') as x, open(f'{shadow}/tree/{p}', 'rb') as y:
            at = 0
            while True:
                dx, dy = x.read(1 << 20), y.read(1 << 20)
                if dx != dy:
                    out.append(f'{p}: different after {at}')
                    break
                if not dx:
                    break
                at += len(dx)
    return out


if __name__ == '__main__':
    what, top, shadow = sys.argv[1], os.path.realpath(sys.argv[2]), os.path.realpath(sys.argv[3])
    if what == 'start':
        start(top, shadow)
    elif what == 'cut':
        print(cut(top, shadow, sys.argv[4] if len(sys.argv) > 4 else None))
    elif what == 'same':
        found = same(top, shadow)
        print(*found, sep='\n', end='\n' if found else '')
        sys.exit(1 if found else 0)
    else:
        sys.exit(__doc__)
