#!/usr/bin/python3
"""objects_posix.py OBJECTS [CONTAINER]: what POSIX and Linux promise of files, on a container's objects/.  The cases are those of pjdfstest as far as an
object store can express them, and those of issues and manuals; the code is ours.  Without CONTAINER (its directory, for quotas) it is an ordinary
directory, and what only objects refuse is left out.  A line each: "pass NAME", or "fail NAME: what was seen".  As root."""
import errno
import mmap
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time

TOP = sys.argv[1]
CONTAINER = sys.argv[2] if len(sys.argv) > 2 else None
MANY = int(os.environ.get('MANY', 3000))
UID, GID = 65533, 65532
os.umask(0)
here = ''
serial = 0


def check(name, got, want):
    good = want(got) if callable(want) else got == want
    print(f'pass {name}' if good else f'fail {name}: {got!r}' + ('' if callable(want) else f', wanted {want!r}'), flush=True)


def err(fn, *args, **kw):
    """The name of the errno, or None."""
    try:
        fn(*args, **kw)
    except OSError as e:
        return errno.errorcode[e.errno]
    return None


def said(name, want, fn, *args, **kw):
    check(f'{name}: {want or "works"}', err(fn, *args, **kw), want if isinstance(want, (str, type(None))) else lambda x: x in want)


def new():
    global serial
    serial += 1
    return f'{here}/n{serial}'


def make(data=b'', mode=0o644, path=None):
    path = path or new()
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    while data:
        data = data[os.write(fd, data):]
    os.close(fd)
    return path


def makedir(mode=0o755):
    path = new()
    os.mkdir(path, mode)
    return path


def makelink(target='nowhere'):
    path = new()
    os.symlink(target, path)
    return path


def get(path):
    with open(path, 'rb') as f:
        return f.read()


def as_user(fn, uid=UID, gid=GID, groups=()):
    """fn's errno as another user, or None; 'refused' where only root is served."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            os.write(w, (err(fn) or '').encode() or b'None')
        finally:
            os._exit(0)
    os.close(w)
    out = os.read(r, 100).decode()
    os.close(r)
    os.waitpid(pid, 0)
    return None if out == 'None' else out


def ctime_moves(name, path, fn, moves=True):
    before = os.lstat(path).st_ctime_ns
    time.sleep(0.02)
    try:
        fn()
    except OSError:
        pass
    check(f'{name}: ctime {"moves" if moves else "stays"}', os.lstat(path).st_ctime_ns > before, moves)


def dir_moves(name, d, fn):
    """mtime and ctime of the directory."""
    before = os.stat(d)
    time.sleep(0.02)
    fn()
    now = os.stat(d)
    check(f'{name}: its directory\'s mtime and ctime move', (now.st_mtime_ns > before.st_mtime_ns, now.st_ctime_ns > before.st_ctime_ns), (True, True))


# ---- one function a call.  Kinds of what may stand at a path.
KINDS = {'file': make, 'directory': makedir, 'link': makelink}


def t_open():
    d = makedir()
    f = d + '/f'
    dir_moves('open O_CREAT', d, lambda: make(path=f))
    st = os.stat(f)
    check('open O_CREAT: an empty file of ours', (st.st_size, stat.S_IFMT(st.st_mode), st.st_uid, st.st_nlink), (0, stat.S_IFREG, 0, 1))
    for mode in (0o755, 0o644, 0o151, 0):
        check(f'open O_CREAT: mode {mode:o}', os.stat(make(mode=mode)).st_mode & 0o7777, mode)
    os.umask(0o77)
    check('open O_CREAT: less the umask', os.stat(make(mode=0o777)).st_mode & 0o7777, 0o700)
    os.umask(0)
    for kind, fn in KINDS.items():
        said(f'open O_CREAT|O_EXCL at a {kind}', 'EEXIST', os.open, fn(), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    said('open of nothing', 'ENOENT', os.open, new(), os.O_RDONLY)
    said('open below nothing', 'ENOENT', os.open, new() + '/x', os.O_CREAT | os.O_WRONLY)
    said('open below a file', 'ENOTDIR', os.open, make() + '/x', os.O_CREAT | os.O_WRONLY)
    for flags, n in ((os.O_WRONLY, 'O_WRONLY'), (os.O_RDWR, 'O_RDWR'), (os.O_RDONLY | os.O_TRUNC, 'O_TRUNC')):
        said(f'open of a directory {n}', 'EISDIR', os.open, d, flags)
    said('open O_DIRECTORY of a file', 'ENOTDIR', os.open, f, os.O_DIRECTORY)
    said('open O_NOFOLLOW of a link', 'ELOOP', os.open, makelink(), os.O_NOFOLLOW)
    loop = new()
    os.symlink(loop, loop)
    said('open of a link to itself', 'ELOOP', os.open, loop, os.O_RDONLY)
    p = make(b'content')
    mt = os.stat(p)
    time.sleep(0.02)
    os.close(os.open(p, os.O_WRONLY | os.O_TRUNC))
    now = os.stat(p)
    check('open O_TRUNC: empty, mtime and ctime move', (now.st_size, now.st_mtime_ns > mt.st_mtime_ns, now.st_ctime_ns > mt.st_ctime_ns), (0, True, True))
    p = make(b'abc')
    fd = os.open(p, os.O_WRONLY | os.O_APPEND)
    os.pwrite(fd, b'd', 0)
    os.write(fd, b'e')
    os.close(fd)
    check('open O_APPEND: writes go to the end', get(p), b'abcde')
    said('open O_RDONLY, then write', 'EBADF', lambda: os.write(os.open(p, os.O_RDONLY), b'x'))
    p = make(mode=0o400)
    fd = os.open(new(), os.O_CREAT | os.O_RDWR, 0)
    check('open O_CREAT with mode 0 can be written', os.write(fd, b'x'), 1)
    os.close(fd)
    said('mkfifo', None if not CONTAINER else 'EPERM', os.mkfifo, new())
    said('mknod of a device', None if not CONTAINER else 'EPERM', os.mknod, new(), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    said('mknod of a file', (None, 'EPERM'), os.mknod, new(), stat.S_IFREG | 0o600)
    said('link', None if not CONTAINER else ('EPERM', 'EMLINK'), os.link, p, new())


def t_mkdir():
    d = makedir()
    sub = d + '/s'
    dir_moves('mkdir', d, lambda: os.mkdir(sub, 0o751))
    check('mkdir: mode', os.stat(sub).st_mode, stat.S_IFDIR | 0o751)
    os.umask(0o22)
    os.mkdir(d + '/u', 0o777)
    os.umask(0)
    check('mkdir: less the umask', os.stat(d + '/u').st_mode & 0o777, 0o755)
    for kind, fn in KINDS.items():
        said(f'mkdir at a {kind}', 'EEXIST', os.mkdir, fn())
    said('mkdir below nothing', 'ENOENT', os.mkdir, new() + '/x')
    said('mkdir below a file', 'ENOTDIR', os.mkdir, make() + '/x')
    said('mkdir NAME/', None, os.mkdir, new() + '/')
    check('mkdir: it is empty', os.listdir(makedir()), [])


def t_rmdir():
    d = makedir()
    os.mkdir(d + '/s')
    said('rmdir of a directory that is not empty', ('ENOTEMPTY', 'EEXIST'), os.rmdir, d)
    dir_moves('rmdir', d, lambda: os.rmdir(d + '/s'))
    said('rmdir', None, os.rmdir, d)
    said('rmdir again', 'ENOENT', os.rmdir, d)
    said('rmdir of a file', 'ENOTDIR', os.rmdir, make())
    said('rmdir of a link', 'ENOTDIR', os.rmdir, makelink())
    x = makedir()
    lnk = makelink(x)
    said('rmdir of a link to a directory', 'ENOTDIR', os.rmdir, lnk)
    said('rmdir DIR/.', 'EINVAL', os.rmdir, x + '/.')
    os.mkdir(x + '/y')
    said('rmdir DIR/y/..', ('ENOTEMPTY', 'EEXIST', 'EINVAL'), os.rmdir, x + '/y/..')
    make(path=x + '/y/f')
    said('rmdir where a file is', ('ENOTEMPTY', 'EEXIST'), os.rmdir, x + '/y')
    # gone, and still somebody's
    g = makedir()
    fd = os.open(g, os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(g)
    said('a file in a directory that was removed', 'ENOENT', lambda: os.open('f', os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    said('a directory in it', 'ENOENT', lambda: os.mkdir('d', dir_fd=fd))
    said('a rename into it', 'ENOENT', lambda: os.rename(make(), 'f', dst_dir_fd=fd))
    os.close(fd)


def t_unlink():
    d = makedir()
    f = make(b'kept', path=d + '/f')
    fd = os.open(f, os.O_RDWR)
    dir_moves('unlink', d, lambda: os.unlink(f))
    check('unlink: who has it open reads on', os.read(fd, 9), b'kept')
    os.pwrite(fd, b'more', 4)
    check('unlink: and writes', (os.pread(fd, 20, 0), os.fstat(fd).st_size), (b'keptmore', 8))
    check('unlink: it has no name', os.fstat(fd).st_nlink, 0)
    make(b'new', path=f)
    check('unlink: another under its name is another', (get(f), os.pread(fd, 20, 0)), (b'new', b'keptmore'))
    said('unlink: fsync of what has no name', None, os.fsync, fd)
    os.close(fd)
    check('unlink: the other stays', get(f), b'new')
    said('unlink of nothing', 'ENOENT', os.unlink, new())
    said('unlink of a directory', ('EISDIR', 'EPERM'), os.unlink, makedir())
    said('unlink below a file', 'ENOTDIR', os.unlink, f + '/x')
    target = make(b'x')
    os.unlink(lnk := makelink(target))
    check('unlink of a link: its target stays', (os.path.lexists(lnk), get(target)), (False, b'x'))
    said('unlink FILE/', 'ENOTDIR', os.unlink, target + '/')


def t_rename():
    for kind, fn in KINDS.items():
        a, b = fn(), new()
        before = os.lstat(a)
        os.rename(a, b)
        now = os.lstat(b)
        check(f'rename of a {kind}: the same inode, type and mode', (now.st_ino, now.st_mode, os.path.lexists(a)), (before.st_ino, before.st_mode, False))
    d, e = makedir(), makedir()
    make(b'x', path=d + '/f')
    sd, se = os.stat(d), os.stat(e)
    time.sleep(0.02)
    os.rename(d + '/f', e + '/g')
    check('rename: mtimes of both directories move', (os.stat(d).st_mtime_ns > sd.st_mtime_ns, os.stat(e).st_mtime_ns > se.st_mtime_ns), (True, True))
    a, b = make(b'new'), make(b'old')
    fd = os.open(b, os.O_RDONLY)
    ino = os.stat(a).st_ino
    os.rename(a, b)
    check('rename over a file', (get(b), os.stat(b).st_ino, os.path.exists(a)), (b'new', ino, False))
    check('rename over a file: who has the old open reads it', os.read(fd, 9), b'old')
    os.close(fd)
    said('rename to itself', None, os.rename, b, b)
    check('rename to itself: it is there', get(b), b'new')
    said('rename of nothing', 'ENOENT', os.rename, new(), new())
    said('rename below nothing', 'ENOENT', os.rename, b, new() + '/x')
    said('rename below a file', 'ENOTDIR', os.rename, make(), b + '/x')
    said('rename of what is below a file', 'ENOTDIR', os.rename, b + '/x', new())
    said('rename of a directory over a file', 'ENOTDIR', os.rename, makedir(), make())
    said('rename of a directory over a link', 'ENOTDIR', os.rename, makedir(), makelink())
    said('rename of a file over a directory', 'EISDIR', os.rename, make(), makedir())
    said('rename of a link over a directory', 'EISDIR', os.rename, makelink(), makedir())
    x, y = makedir(), makedir()
    make(path=x + '/in')
    said('rename of a directory over an empty one', None, os.rename, x, y)
    check('... with what is in it', os.listdir(y), ['in'])
    x = makedir()
    said('rename of a directory over one that is not empty', ('ENOTEMPTY', 'EEXIST'), os.rename, x, y)
    os.makedirs(x + '/a/b')
    said('rename of a directory into itself', 'EINVAL', os.rename, x, x + '/a/b/c')
    said('rename of a directory over its own', ('ENOTEMPTY', 'EEXIST'), os.rename, x + '/a/b', x)
    said('rename of .', ('EINVAL', 'EBUSY'), os.rename, x + '/.', new())
    said('rename to ..', ('EINVAL', 'EBUSY', 'ENOTEMPTY', 'EEXIST'), os.rename, y, x + '/..')
    # a directory moves with all below it, and .. with it
    p, q = makedir(), makedir()
    os.makedirs(p + '/s/t')
    make(b'deep', path=p + '/s/t/f')
    os.rename(p + '/s', q + '/s2')
    check('rename of a tree', (get(q + '/s2/t/f'), os.listdir(p), os.stat(q + '/s2/..').st_ino), (b'deep', [], os.stat(q).st_ino))
    target = make(b'x')
    lnk = makelink(target)
    os.rename(lnk, b)
    check('rename of a link moves the link', (os.readlink(b), get(target)), (target, b'x'))
    # open while it is renamed
    f = make(b'1')
    fd = os.open(f, os.O_RDWR)
    os.rename(f, b)
    os.pwrite(fd, b'2', 0)
    os.close(fd)
    check('what is written through a handle goes with the name', get(b), b'2')
    for flags, n in ((1, 'NOREPLACE'), (2, 'EXCHANGE')):
        a, b = make(b'a'), make(b'b')
        # renameat2 by its number: python has none
        r = subprocess.run([sys.executable, '-c', 'import ctypes, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n'
                            'print(0 if libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3])) == 0 else ctypes.get_errno())',
                            a, b, str(flags)], capture_output=True, text=True)
        code = int(r.stdout or -1)
        if flags == 1:
            check('renameat2 NOREPLACE over a file: EEXIST, both stay', (errno.errorcode.get(code), get(a), get(b)), ('EEXIST', b'a', b'b'))
        elif code == 0:
            check('renameat2 EXCHANGE exchanges', (get(a), get(b)), (b'b', b'a'))
        else:
            check('renameat2 EXCHANGE is refused, both stay', (errno.errorcode.get(code), get(a), get(b)), ('EINVAL', b'a', b'b'))


def t_truncate():
    for what in ('truncate', 'ftruncate'):
        p = make(b'x' * 1234)

        def cut(to, path=p):
            if what == 'truncate':
                os.truncate(path, to)
            else:
                fd = os.open(path, os.O_RDWR)
                os.ftruncate(fd, to)
                os.close(fd)
        for to in (567, 70000, 0, 10):
            cut(to)
            check(f'{what} to {to}', os.stat(p).st_size, to)
        check(f'{what}: what was cut off is zeros', get(p), bytes(10))
        st = os.stat(p)
        time.sleep(0.02)
        cut(123)
        now = os.stat(p)
        check(f'{what}: mtime and ctime move', (now.st_mtime_ns > st.st_mtime_ns, now.st_ctime_ns > st.st_ctime_ns), (True, True))
        said(f'{what} to -1', 'EINVAL', cut, -1)
        said(f'{what} to 2^63-1', ('EFBIG', 'EINVAL', None), cut, 2**63 - 1)
        os.truncate(p, 0)
    said('truncate of nothing', 'ENOENT', os.truncate, new(), 0)
    said('truncate of a directory', 'EISDIR', os.truncate, makedir(), 0)
    said('truncate below a file', 'ENOTDIR', os.truncate, make() + '/x', 0)
    said('ftruncate of a handle for reading', 'EINVAL', lambda: os.ftruncate(os.open(p, os.O_RDONLY), 0))
    fd = os.open(p, os.O_RDWR)
    os.unlink(p)
    os.ftruncate(fd, 99)
    check('ftruncate of what has no name', os.fstat(fd).st_size, 99)
    os.close(fd)


def t_symlink():
    d = makedir()
    dir_moves('symlink', d, lambda: os.symlink('test', d + '/l'))
    check('readlink', os.readlink(d + '/l'), 'test')
    st = os.lstat(d + '/l')
    check('symlink: its type and size', (stat.S_ISLNK(st.st_mode), st.st_size), (True, 4))
    for n in (1, 255, 1023, 4095):
        t = ('x' * 200 + '/') * 30
        os.symlink(t[:n], p := new())
        check(f'a target of {n} bytes', os.readlink(p), t[:n])
    said('symlink with a target of 4096 bytes', 'ENAMETOOLONG', os.symlink, 'x' * 4096, new())
    said('symlink without a target', 'ENOENT', os.symlink, '', new())
    for kind, fn in KINDS.items():
        said(f'symlink at a {kind}', 'EEXIST', os.symlink, 'x', fn())
    said('symlink below a file', 'ENOTDIR', os.symlink, 'x', make() + '/x')
    said('readlink of a file', 'EINVAL', os.readlink, make())
    f = make(b'through')
    os.symlink(os.path.basename(f), p := new())
    check('a link is followed', get(p), b'through')
    os.symlink(d, p := new())
    make(path=p + '/made')
    check('a link to a directory is followed', os.path.exists(d + '/made'), True)


def t_chmod():
    for kind in ('file', 'directory'):
        p = KINDS[kind]()
        for mode in (0o111, 0, 0o4755, 0o2755, 0o1777, 0o7777, 0o644):
            os.chmod(p, mode)
            check(f'chmod of a {kind}: {mode:o}', os.stat(p).st_mode & 0o7777, mode)
        ctime_moves(f'chmod of a {kind}', p, lambda: os.chmod(p, 0o700))
        m = os.stat(p).st_mtime_ns
        os.chmod(p, 0o755)
        check(f'chmod of a {kind}: mtime stays', os.stat(p).st_mtime_ns, m)
    f = make(b'x')
    lnk = makelink(f)
    os.chmod(lnk, 0o600)
    check('chmod of a link is its target\'s', os.stat(f).st_mode & 0o777, 0o600)
    said('chmod of nothing', 'ENOENT', os.chmod, new(), 0o644)
    said('chmod below a file', 'ENOTDIR', os.chmod, f + '/x', 0o644)
    fd = os.open(f, os.O_RDONLY)
    os.fchmod(fd, 0o640)
    check('fchmod', os.fstat(fd).st_mode & 0o777, 0o640)
    os.unlink(f)
    os.fchmod(fd, 0o600)
    check('fchmod of what has no name', os.fstat(fd).st_mode & 0o777, 0o600)
    os.close(fd)


def t_chown():
    for kind, fn in KINDS.items():
        p = fn()
        os.lchown(p, 123, 456)
        st = os.lstat(p)
        check(f'chown of a {kind}', (st.st_uid, st.st_gid), (123, 456))
        os.lchown(p, -1, 7)
        os.lchown(p, 8, -1)
        st = os.lstat(p)
        check(f'chown of a {kind}, one at a time', (st.st_uid, st.st_gid), (8, 7))
        ctime_moves(f'chown of a {kind}', p, lambda: os.lchown(p, 0, 0))
    f = make()
    lnk = makelink(f)
    os.chown(lnk, 5, 6)
    check('chown follows a link', (os.stat(f).st_uid, os.lstat(lnk).st_uid), (5, 0))
    os.chmod(f, 0o6755)
    os.chown(f, 9, 9)
    check('chown takes the set-id bits', os.stat(f).st_mode & 0o7777, 0o755)
    said('chown of nothing', 'ENOENT', os.chown, new(), 1, 1)
    big = make()
    os.chown(big, 4294967294, 4294967294)
    check('chown to the largest', (os.stat(big).st_uid, os.stat(big).st_gid), (4294967294, 4294967294))
    # a file in a directory with the set-group bit has its group
    d = makedir()
    os.chown(d, 0, 77)
    os.chmod(d, 0o2775)
    make(path=d + '/f')
    os.mkdir(d + '/s')
    check('a directory with the set-group bit gives its group, and to directories the bit',
          (os.stat(d + '/f').st_gid, os.stat(d + '/s').st_gid, os.stat(d + '/s').st_mode & 0o2000), (77, 77, 0o2000))


def t_users():
    """Others than root are refused, or meet the bits that every file system has."""
    d = makedir(0o777)
    os.chmod(os.path.dirname(d), 0o755)
    f = make(b'x', mode=0o600)
    if as_user(lambda: os.stat(d)) == 'EACCES':
        check('nobody but root is served: EACCES', as_user(lambda: get(f)), 'EACCES')
        return
    check('another user: no reading of 0600', as_user(lambda: get(f)), 'EACCES')
    check('another user: no chmod', as_user(lambda: os.chmod(f, 0o666)), 'EPERM')
    check('another user: no chown', as_user(lambda: os.chown(f, UID, GID)), 'EPERM')
    check('another user: makes a file where all may', as_user(lambda: make(path=d + '/theirs')), None)
    check('... and owns it', (os.stat(d + '/theirs').st_uid, os.stat(d + '/theirs').st_gid), (UID, GID))
    os.chmod(d, 0o755)
    check('another user: makes none where it may not', as_user(lambda: make(path=d + '/no')), 'EACCES')
    check('another user: removes none there', as_user(lambda: os.unlink(d + '/theirs')), 'EACCES')
    os.chmod(d, 0o1777)
    g = make(path=d + '/roots')
    check('sticky: no unlink of another\'s', as_user(lambda: os.unlink(g)), ('EPERM'))
    check('sticky: no rename of another\'s', as_user(lambda: os.rename(g, d + '/x')), ('EPERM'))
    check('sticky: unlink of one\'s own', as_user(lambda: os.unlink(d + '/theirs')), None)
    h = make(b'x', mode=0o644)
    check('another user: no times of another\'s', as_user(lambda: os.utime(h, (1, 1))), 'EPERM')
    check('another user: not even now', as_user(lambda: os.utime(h)), 'EACCES')
    os.chown(h, UID, GID)
    os.chmod(h, 0o6755)

    def change():
        with open(h, 'r+b') as w:
            w.write(b'y')
    check('another user writes its own', as_user(change), None)
    check('... and the set-id bits go', os.stat(h).st_mode & 0o7777, 0o755)


def t_utimensat():
    for kind, fn in KINDS.items():
        p = fn()
        for t in (0, 1, 1234567890123456789, 2**31 * 10**9, 2**32 * 10**9 + 7, -10**9):
            os.utime(p, ns=(t, t), follow_symlinks=False)
            check(f'utimensat of a {kind}: mtime {t}', os.lstat(p).st_mtime_ns, t)
        ctime_moves(f'utimensat of a {kind}', p, lambda: os.utime(p, ns=(5, 5), follow_symlinks=False))
        now = time.time()
        os.utime(p, follow_symlinks=False)
        check(f'utimensat of a {kind} to now', abs(os.lstat(p).st_mtime - now) < 2, True)
    p = make()
    os.utime(p, ns=(10**18, 10**18))
    make(b'x', path=(q := new()))
    with open(p, 'ab') as f:
        f.write(b'x')
    check('a write moves mtime', os.stat(p).st_mtime_ns > 10**18 + 1, True)
    fd = os.open(p, os.O_RDWR)
    os.write(fd, b'later')
    os.utime(fd, ns=(5 * 10**17, 5 * 10**17))
    os.close(fd)
    check('a time set after a write, before the close, stays', os.stat(p).st_mtime_ns, 5 * 10**17)
    said('utimensat of nothing', 'ENOENT', os.utime, new())
    shutil.copystat(p, q)
    check('cp -p', os.stat(q).st_mtime_ns, 5 * 10**17)


# ---- contents
def t_sizes():
    rnd = random.Random(1)
    edges = sorted({0, 1, 100, 4095, 4096, 4097} | {n + k for n in (16384, 65536, 262144, 524288, 1048576) for k in (-1, 0, 1)})
    names = {}
    for n in edges:
        for how in ('random', 'zeros', 'text'):
            data = rnd.randbytes(n) if how == 'random' else bytes(n) if how == 'zeros' else (b'the same line again\n' * (n // 20 + 1))[:n]
            names[make(data)] = data
    wrong = [(p, len(d)) for p, d in names.items() if get(p) != d or os.stat(p).st_size != len(d)]
    check(f'objects of {len(edges)} sizes around the limits of chunks, random, zeros and text, are read as written', wrong, [])
    # cut, grown, and overwritten at each of the edges
    wrong = []
    for n in (65535, 65536, 65537, 262143, 262144, 262145):
        data = bytearray(rnd.randbytes(600000))
        p = make(data)
        with open(p, 'r+b', buffering=0) as f:
            f.seek(n)
            f.write(b'!')
            data[n] = ord('!')
            f.truncate(n)
            f.truncate(n + 70000)
            data = data[:n] + bytes(70000)
            f.seek(n - 1)
            f.write(b'ab')
            data[n - 1:n + 1] = b'ab'
        if get(p) != data:
            wrong.append(n)
    check('a byte changed, cut and grown at the limits of chunks', wrong, [])
    p = make(b'0123456789')
    with open(p, 'r+b', buffering=0) as f:
        f.seek(2**40)
        f.write(b'end')
        f.seek(2**39)
        f.write(b'middle')
        st = os.fstat(f.fileno())
        check('a sparse terabyte: size', st.st_size, 2**40 + 3)
        check('... takes next to nothing', st.st_blocks * 512, lambda b: b < 10**6)
        check('... is read in its middle and where nothing is', (os.pread(f.fileno(), 8, 2**39 - 1), os.pread(f.fileno(), 5, 2**38), os.pread(f.fileno(), 9, 2**40)),
              (b'\0middle\0', bytes(5), b'end'))
        holes, at = [], 0
        while at < st.st_size and len(holes) < 20:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            holes.append((at, end))
            at = end
        check('... and SEEK_DATA finds its three pieces', (len(holes), sum(e - s for s, e in holes)), lambda h: h[0] == 3 and h[1] < 3 * 2**20)
        begin = time.time()
        os.fsync(f.fileno())
        f.truncate(2**39)
        f.truncate(2**42)
        check('... and is cut and grown', (os.pread(f.fileno(), 5, 2**40), os.pread(f.fileno(), 10, 0)), (bytes(5), b'0123456789'))
        check('... at once', time.time() - begin, lambda s: s < 3)
    os.unlink(p)


def t_names():
    for n in (1, 254, 255):
        p = f'{here}/' + 'n' * n
        make(b'x', path=p)
        check(f'a name of {n} bytes', (get(p), 'n' * n in os.listdir(here)), (b'x', True))
        os.unlink(p)
    for n in (256, 1024):
        said(f'a name of {n} bytes', 'ENAMETOOLONG', os.open, f'{here}/' + 'n' * n, os.O_CREAT | os.O_WRONLY)
        said(f'mkdir: a name of {n} bytes', 'ENAMETOOLONG', os.mkdir, f'{here}/' + 'n' * n)
        said(f'rename to a name of {n} bytes', 'ENAMETOOLONG', os.rename, make(), f'{here}/' + 'n' * n)
    euro = 'é€😀' * 28 + 'xyz'
    make(b'x', path=f'{here}/{euro}')
    check('a name of 255 bytes in UTF-8', euro in os.listdir(here), True)
    odd = ['.hidden', '...', 'a b', 'tab\there', 'new\nline', '*?[', "quote'\"", '\\', '%2F', '%', 'a%20b', '-rf', 'README', 'ctl', '~', 'ö', 'o\u0308', '\u202e', '\x7f', ':', '.objects', '.object']
    for n in odd:
        make(n.encode(), path=f'{here}/{n}')
    check('odd names are kept', sorted(set(odd) & set(os.listdir(here))), sorted(odd))
    check('... each with what is its own', [n for n in odd if get(f'{here}/{n}') != n.encode()], [])
    check('names are told apart by case', err(make, path=f'{here}/readme'), None)
    if not CONTAINER:
        return
    for bad in (b'\xff', b'a\xc3', b'\xc0\xaf', b'\xed\xa0\x80', b'\xf5\x80\x80\x80', b'\xe2\x82'):
        p = here.encode() + b'/' + bad
        said(f'open of {bad!r}', 'EILSEQ', os.open, p, os.O_CREAT | os.O_WRONLY)
    said('mkdir, invalid UTF-8', 'EILSEQ', os.mkdir, here.encode() + b'/\xff')
    said('symlink, invalid UTF-8', 'EILSEQ', os.symlink, b'x', here.encode() + b'/\xff')
    said('rename to invalid UTF-8', 'EILSEQ', os.rename, make(), here.encode() + b'/\xff')
    said('stat of invalid UTF-8', ('ENOENT', 'EILSEQ'), os.stat, here.encode() + b'/\xff')
    # Swift's limit of an object's name: 1024 bytes below the container
    rel = os.path.relpath(here, TOP)
    d = here
    while len(rel) + 201 < 1024 - 201:
        d, rel = d + '/' + 'd' * 200, rel + '/' + 'd' * 200
        os.mkdir(d)
    fits = 'f' * (1024 - len(rel) - 1)
    while len(fits) > 255:
        d, rel = d + '/' + 'e' * 200, rel + '/' + 'e' * 200
        os.mkdir(d)
        fits = 'f' * (1024 - len(rel) - 1)
    said('a path of 1024 bytes', None, make, b'x', path=f'{d}/{fits}')
    if len(fits) < 255:
        said('a path of 1025 bytes', 'ENAMETOOLONG', make, b'x', path=f'{d}/{fits}g')
        said('rename to a path of 1025 bytes', 'ENAMETOOLONG', os.rename, f'{d}/{fits}', f'{d}/{fits}g')
    # a directory may not take what is below it beyond that
    t = makedir()
    os.mkdir(t + '/x')
    for k in range(4):
        t2 = t + ('/x' if k == 0 else '') + '/' + 'y' * 200
        os.mkdir(t2)
        t = t2
    make(path=t + '/' + 'z' * 150)
    u = makedir()
    while len(os.path.relpath(u, TOP)) < 200:
        u += '/' + 'u' * 120
        os.mkdir(u)
    said('a directory that would take an object beyond 1024 bytes', ('ENAMETOOLONG', None), os.rename, f'{here}/n{serial - 1}/x', u + '/x')


def t_handles():
    p = make(b'one')
    a, b = os.open(p, os.O_RDWR), os.open(p, os.O_RDWR)
    os.pwrite(a, b'two!', 0)
    check('what one handle writes the other reads', os.pread(b, 9, 0), b'two!')
    os.pwrite(b, b'x', 70000)
    check('... and its size', (os.fstat(a).st_size, os.stat(p).st_size), (70001, 70001))
    os.ftruncate(a, 2)
    check('... and truncations', (os.pread(b, 9, 0), os.lseek(b, 0, os.SEEK_END)), (b'tw', 2))
    os.close(a)
    check('a close of one is no end for the other', (os.pwrite(b, b'after', 0), get(p)), (5, b'after'))
    os.close(b)
    # a process maps it, another writes
    size = 300000
    p = make(bytes(size))
    fd = os.open(p, os.O_RDWR)
    m = mmap.mmap(fd, size)
    os.pwrite(fd, b'written', 100000)
    check('a mapping sees what is written', m[100000:100007], b'written')
    m[200000:200006] = b'mapped'
    check('what is read sees what is mapped', os.pread(fd, 6, 200000), b'mapped')
    m[0:5] = b'first'
    m.flush()
    m.close()
    os.close(fd)
    check('what was mapped is there after the close', (get(p)[:5], get(p)[200000:200006]), (b'first', b'mapped'))
    with open(p, 'r+b') as f:
        m = mmap.mmap(f.fileno(), size, flags=mmap.MAP_PRIVATE)
        m[0:5] = b'mine!'
        m.close()
    check('a private mapping changes nothing', get(p)[:5], b'first')
    exe = make(mode=0o755)
    shutil.copyfile('/bin/true', exe)
    check('a program is run from there', subprocess.run([exe]).returncode, 0)
    # appended by four at once
    p = make()

    def append(no):
        fd = os.open(p, os.O_WRONLY | os.O_APPEND)
        for i in range(200):
            os.write(fd, b'%d %06d\n' % (no, i))
        os.close(fd)
    threads = [threading.Thread(target=append, args=(no,)) for no in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    lines = get(p).split(b'\n')[:-1]
    check('what four append at once is all there', (len(lines), sorted(lines) == sorted(b'%d %06d' % (n, i) for n in range(4) for i in range(200))), (800, True))
    # copies
    data = random.Random(3).randbytes(3 * 10**6)
    p, q = make(data), make()
    with open(p, 'rb') as s, open(q, 'r+b') as t:
        n = 0
        while k := os.copy_file_range(s.fileno(), t.fileno(), len(data) - n):
            n += k
    check('copy_file_range', get(q) == data, True)
    with open(q, 'r+b') as t:
        t.write(b'changed')
    check('... and a change of the copy is no change of the original', (get(p) == data, get(q)[:7], get(q)[7:] == data[7:]), (True, b'changed', True))
    import fcntl
    fd, fd2 = os.open(p, os.O_RDWR), os.open(p, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    said('flock', 'EAGAIN', fcntl.flock, fd2, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    os.close(fd2)


def t_reading_while():
    data = random.Random(5).randbytes(8 * 10**6)
    p = make(data)
    with open(p, 'rb', buffering=0) as f:
        got = f.read(100000)
        os.unlink(p)
        for i in range(20):
            make(os.urandom(200000))
        while d := f.read(100000):
            got += d
    check('who reads an object that is removed reads it to its end', got == data, True)
    p, q = make(data), make(data[::-1])
    with open(p, 'rb', buffering=0) as f:
        got = f.read(100000)
        os.rename(q, p)
        while d := f.read(100000):
            got += d
    check('... and one that is replaced', got == data, True)


def t_directories():
    d = makedir()
    begin = time.time()
    for i in range(MANY):
        os.close(os.open(f'{d}/object-{i:06d}', os.O_CREAT | os.O_WRONLY))
    made = time.time() - begin
    begin = time.time()
    names = os.listdir(d)
    check(f'{MANY} objects in one directory are listed, each once', (len(names), len(set(names))), (MANY, MANY))
    print(f'note {MANY} made in {made:.1f} s, listed in {time.time() - begin:.2f} s')
    # removed while it is listed: none is missed, none comes twice
    seen, removed = [], 0
    with os.scandir(d) as it:
        for i, e in enumerate(it):
            seen.append(e.name)
            if i % 3 == 0:
                os.unlink(f'{d}/{e.name}')
                removed += 1
    check('removing while listing: every one is seen once', (len(seen), len(set(seen))), (MANY, MANY))
    check('... and the others are there', len(os.listdir(d)), MANY - removed)
    seen = set()
    with os.scandir(d) as it:
        for i, e in enumerate(it):
            seen.add(e.name)
            if i < 500:
                os.close(os.open(f'{d}/new-{i}', os.O_CREAT | os.O_WRONLY))
    check('making while listing: all that were there are seen', len([n for n in seen if n.startswith('object')]), MANY - removed)
    begin = time.time()
    shutil.rmtree(d)
    check('all of it is removed', os.path.exists(d), False)
    print(f'note removed in {time.time() - begin:.1f} s')
    deep = makedir()
    for i in range(40):
        deep += f'/{i}'
        os.mkdir(deep)
    make(b'deep', path=deep + '/f')
    check('40 levels', get(deep + '/f'), b'deep')


def t_xattrs():
    p = make(b'x')
    if err(os.setxattr, p, 'user.meta.colour', b'blue') == 'ENOTSUP':
        return
    check('an extended attribute', os.getxattr(p, 'user.meta.colour'), b'blue')
    check('... is listed', 'user.meta.colour' in os.listxattr(p), True)
    said('XATTR_CREATE of one that is there', 'EEXIST', os.setxattr, p, 'user.meta.colour', b'x', os.XATTR_CREATE)
    said('XATTR_REPLACE of none', 'ENODATA', os.setxattr, p, 'user.meta.other', b'x', os.XATTR_REPLACE)
    os.rename(p, q := new())
    check('... goes with the name', os.getxattr(q, 'user.meta.colour'), b'blue')
    os.removexattr(q, 'user.meta.colour')
    said('... and is removed', 'ENODATA', os.getxattr, q, 'user.meta.colour')
    ctime_moves('setxattr', q, lambda: os.setxattr(q, 'user.meta.a', b'b'))


def t_quota():
    if not CONTAINER:
        return

    def quota(what, n):
        with open(f'{CONTAINER}/{what}', 'w') as f:
            f.write(f'{n}\n')

    def used(what):
        with open(f'{CONTAINER}/{what}') as f:
            return int(f.read())
    base = used('bytes')
    quota('quota-bytes', base + 1000000)
    keep = make(b'k' * 1000)
    p = new()
    fd, n, code = os.open(p, os.O_CREAT | os.O_RDWR), 0, None
    block = os.urandom(50000)
    try:
        while n < 3000000:
            n += os.pwrite(fd, block, n)
        os.fsync(fd)
    except OSError as e:
        code = errno.errorcode[e.errno]
    end = err(os.close, fd)
    check('quota-bytes in the middle of a write: EDQUOT', code or end, 'EDQUOT')
    check('... what was taken is within it', (used('bytes') <= base + 1000000, os.stat(p).st_size <= 1000000), (True, True))
    check('... what was there can be read', get(keep), b'k' * 1000)
    check('... and what was taken is what was written', get(p) == (block * 60)[:os.stat(p).st_size], True)
    said('... an object can be removed', None, os.unlink, p)
    check('... and then there is room', err(make, b'x' * 500000), None)
    quota('quota-bytes', -1)
    check('without a quota all works', err(make, b'x' * 2000000), None)
    quota('quota-count', used('count') + 2)
    codes = [err(make, b'x') for _ in range(4)]
    check('quota-count', codes, [None, None, 'EDQUOT', 'EDQUOT'])
    check('... a rename over another is within it', err(os.rename, f'{here}/n{serial - 3}', keep), None)
    quota('quota-count', -1)


if __name__ == '__main__':
    only = os.environ.get('ONLY')
    for name, fn in list(globals().items()):
        if name.startswith('t_') and (not only or name[2:] in only.split()):
            here = f'{TOP}/{name}'
            os.mkdir(here)
            os.chmod(TOP, 0o755)
            try:
                fn()
            except Exception as e:
                import traceback
                at = traceback.extract_tb(e.__traceback__)
                print(f'fail {name[2:]} goes on: {e!r} at line {[f.lineno for f in at if f.filename == __file__][-1]}', flush=True)
            try:
                shutil.rmtree(here)
                print(f'pass {name[2:]}: all of it is removed')
            except OSError as e:
                print(f'fail {name[2:]}: all of it is removed: {e}')
