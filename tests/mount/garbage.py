#!/usr/bin/python3
"""garbage.py CLOUD SEED WRITES: garbage into every writable file of a mounted cloud, WRITES times each, and as names and attributes.  What is
refused must be refused with an errno that says something, within seconds; the tenant `keep` and the host `sim` are never named.  A line per
finding, exit 1 if there are any.  The same seed does the same."""
import errno
import os
import random
import signal
import stat
import sys

cloud, seed, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rnd = random.Random(seed)
T = f'{cloud}/tenants/victim'
findings = []
done = {}
KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1bmNoIG9mIGJ5dGVzIGZvciBhIHRlc3QgMTIz me'


def victims():
    """Makes (again) what is to suffer; garbage may have deleted it."""
    def put(path, text):
        try:
            with open(f'{cloud}/{path}', 'w') as f:
                f.write(text + '\n')
        except OSError:
            pass

    def make(path):
        try:
            os.mkdir(f'{cloud}/{path}')
        except OSError:
            pass
    put('tenants/victim/protected', 'false')
    make('tenants/victim')
    t = 'tenants/victim/'
    put(t + 'enabled', 'true')
    for q in 'instances cores ram networks subnets ports key-pairs'.split():
        put(t + f'quota/{q}', '-1')
    put(t + 'keys/k', KEY)
    make('flavors/vdraft')
    put('ctl', 'ensure flavors/vf vcpus=1 ram=64\n')
    make('hosts/vdraft')
    put('ctl', 'ensure hosts/vh uri=test:///default\n')
    put(t + 'ctl', 'ensure networks/n cidr=10.9.0.0/24')
    for d in 'networks/draft servers/draft images/queued images/full'.split():
        make(t + d)
    put(t + 'images/full/data', 'x' * 5000)
    for q in ('images/full/properties/os', 'images/queued/properties/p', 'servers/draft/metadata/k', 'servers/s/metadata/k'):
        put(t + q, 'v')
    put('flavors/vf/properties/p', 'v')
    put(t + 'servers/ctl', f'create s flavor=vf image=full network=n host=vh key=k')


# ---- what is written
WORDS = ('create ensure delete start stop reboot hard purge plan confirm=victim enable disable maintenance activate deactivate upload like=s like=draft n s k '
         'draft vf vh full queued networks/n servers/s keys/k images/full flavors/vf flavor=vf image=full network=n host=vh key=k vcpus= ram= disk= '
         'cidr=10.7.0.0/24 cidr= metadata/a=b user-data=base64:AAAA protected=true protected=false description= network=n,address=10.9.0.9 id: '
         'id:00000000-0000-0000-0000-000000000001 visibility=public size= hash=md5: format=qcow2 uri=test:///default mtu= dns-domain= shared=true '
         'properties/p= quota/ram= enabled=true ../.. / . .. by-id wait ctl spec name tenants/victim').split()
NUMBERS = '-1 0 1 -0 00 255 256 4096 65535 65536 2147483648 4294967296 9223372036854775807 9223372036854775808 18446744073709551616 1e9 0x10 4G 1T 9E 1.5G \
-4G max unlimited true false yes 1K10 nan inf'.split()
BITS = [b'\0', b'\n', b'\n\n', b'\r\n', b'"', b"'", b'\\', b'\\\n', b'#', b'=', b' ', b'\t', b'\x7f', b'\x1b[2J', b'\xff\xfe', b'\xc3', b'\xe2\x80\xae', b'\xed\xa0\x80',
        b'%s%n', b'$(id)', b'`id`', b';', b'/', b'../', '\u00fc\u4e2d\U0001f600'.encode()]


def noise(most):
    return rnd.randbytes(rnd.randint(0, most))


def piece():
    what = rnd.randrange(6)
    if what == 0:
        return rnd.choice(BITS)
    if what == 1:
        return rnd.choice(NUMBERS).encode()
    if what == 2:
        return noise(12)
    return rnd.choice(WORDS).encode()


def mutated(text):
    b = bytearray(text or b'x')
    for _ in range(rnd.randint(1, 4)):
        at, how = rnd.randint(0, len(b)), rnd.randrange(5)
        if how == 0 and at < len(b):
            b[at] ^= 1 << rnd.randrange(8)
        elif how == 1:
            b[at:at] = piece()
        elif how == 2:
            del b[at:at + rnd.randint(1, 20)]
        elif how == 3:
            b[at:at] = b[max(0, at - rnd.randint(1, 40)):at]
        else:
            b[at:at + 1] = rnd.choice(BITS)
    return bytes(b)


def content(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b''
    try:
        return os.read(fd, 65536)
    except OSError:
        return b''
    finally:
        os.close(fd)


def garbage(path):
    what = rnd.randrange(100)
    if what < 20:
        return noise(300)
    if what < 22:
        return noise(70000)
    if what < 24:
        return rnd.choice(BITS + [b'a', b'a=', b'a ']) * rnd.choice((511, 512, 4096, 32768, 65535, 65536, 65537))
    if what < 55:
        return mutated(content(path))
    if what < 65:
        return rnd.choice(NUMBERS).encode() + rnd.choice([b'\n', b'', b' '])
    lines = [b' '.join(piece() for _ in range(rnd.randint(1, 7))) for _ in range(rnd.choice((1, 1, 1, 2, 5)))]
    return b'\n'.join(lines) + rnd.choice([b'\n', b'\n', b''])


def a_name():
    what = rnd.randrange(5)
    if what == 0:
        return noise(20).replace(b'\0', b'').replace(b'/', b'') or b'x'
    if what == 1:
        return rnd.choice([b'a', b'\xc3\xbc', b' ', b'\n']) * rnd.choice((1, 127, 128, 255))
    if what == 2:
        return rnd.choice(WORDS).encode().replace(b'/', b'') or b'y'
    if what == 3:
        return mutated(b'name').replace(b'\0', b'').replace(b'/', b'') or b'z'
    return rnd.choice(b'list json README events.1 wait-for by-id .hidden . .. id:x status Ctl new'.split())


# ---- doing it
class Slow(Exception):
    pass


def on_alarm(*_):
    raise Slow()


signal.signal(signal.SIGALRM, on_alarm)
BAD = {errno.EIO, errno.ENOSYS, errno.EFAULT, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOMEM, errno.EBADF, errno.ESTALE}


def attempt(what, fn, also=()):
    """Runs it; 0 or the errno.  also: errnos that are no finding here."""
    code = 0
    signal.alarm(60)
    try:
        fn()
    except OSError as e:
        code = e.errno
    except ValueError:      # a NUL in a path: Python's own
        return 0
    except Slow:
        findings.append(f'it took more than a minute: {what}')
        return 0
    finally:
        signal.alarm(0)
    name = errno.errorcode.get(code, code) if code else 'taken'
    done[name] = done.get(name, 0) + 1
    if code in BAD and code not in also:
        findings.append(f'{errno.errorcode[code]}: {what}: {content(cloud + "/last-error").split(bytes([10]))[0]!r}')
    if code in (errno.ENOTCONN, errno.ECONNABORTED):
        print(*findings, sep='\n')
        print(f'the process is gone (seed {seed})')
        sys.exit(1)
    return code


def write_to(path):
    text = garbage(path)
    how = rnd.choice((os.O_TRUNC, os.O_TRUNC, os.O_APPEND, 0))
    rest = text
    fd = -1

    def run():
        nonlocal fd, rest
        fd = os.open(path, os.O_WRONLY | how)
        while rest:
            cut = rnd.choice((len(rest), len(rest), rnd.randint(1, len(rest))))
            n = os.pwrite(fd, rest[:cut], rnd.randrange(1 << 40)) if rnd.random() < 0.02 else os.write(fd, rest[:cut])
            rest = rest[n:]
        if rnd.random() < 0.05:
            os.ftruncate(fd, rnd.choice((0, 1, 4096, 1 << 40)))

    def close():
        if fd >= 0:
            os.close(fd)
    code = attempt(f'write {text[:200]!r} to {path}', run)
    return attempt(f'close {path} after {text[:200]!r}', close) or code


def data_to(path):
    """Many writes through one open: each last close has the bytes looked at by qemu-img."""
    fd = -1

    def start():
        nonlocal fd
        fd = os.open(path, os.O_WRONLY | rnd.choice((0, os.O_TRUNC)))
    if attempt(f'open {path}', start):
        return
    for _ in range(100):
        magic = rnd.choice((b'', b'QFI\xfb\0\0\0\3', b'KDMV\1\0\0\0', b'<<< Oracle VM VirtualBox Disk Image >>>\n', b'vhdxfile', b'conectix', b'# Disk DescriptorFile\n'))
        attempt(f'write garbage to {path}', lambda: os.pwrite(fd, magic + noise(600), rnd.choice((0, 0, 1, 512, 65536, rnd.randrange(1 << 22), 1 << 41, 1 << 62))))
    attempt(f'close {path}', lambda: os.close(fd))
    attempt(f'wait for {path}', lambda: content(os.path.dirname(path) + '/wait'), {errno.EIO})


def names_in(d):
    b = os.fsencode(d)
    a, other = b + b'/' + a_name(), b + b'/' + a_name()
    try:
        some = rnd.choice([n for n in os.listdir(b) if n not in (b'keep', b'sim', b'local')]) if rnd.random() < 0.5 else a_name()
    except (OSError, IndexError):
        some = a_name()
    some = b + b'/' + some
    ops = {
        'mkdir': lambda: os.mkdir(a), 'rmdir': lambda: os.rmdir(rnd.choice((a, some))), 'unlink': lambda: os.unlink(rnd.choice((a, some))),
        'rename': lambda: os.rename(rnd.choice((a, some)), other), 'symlink': lambda: os.symlink(noise(50).replace(b'\0', b'') or b'x', a),
        'symlink to': lambda: os.symlink(rnd.choice((b'../../../networks/n', b'../../..', os.fsencode(T) + b'/networks/n', b'/etc/passwd')), a),
        'link': lambda: os.link(some, other), 'mknod': lambda: os.mknod(a, rnd.choice((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFREG)) | 0o600, 0x103),
        'create': lambda: os.close(os.open(a, os.O_CREAT | os.O_RDWR | rnd.choice((0, os.O_EXCL)), 0o600)),
        'chmod': lambda: os.chmod(some, rnd.randrange(0o7777)), 'chown': lambda: os.chown(some, rnd.randrange(70000), rnd.randrange(70000)),
        'truncate': lambda: os.truncate(some, rnd.choice((0, 1, 1 << 50))), 'utime': lambda: os.utime(some, ns=(rnd.randrange(1 << 62), 0)),
        'setxattr': lambda: os.setxattr(some, b'user.' + a_name(), noise(300)), 'getxattr': lambda: os.getxattr(some, b'user.' + a_name()),
        'listxattr': lambda: os.listxattr(some), 'removexattr': lambda: os.removexattr(some, b'trusted.x'),
        'stat': lambda: os.lstat(a), 'statvfs': lambda: os.statvfs(some),
    }
    op = rnd.choice(list(ops))
    # Linux itself says ENOENT, ENOTSUP and so on; ENOSYS would be ours
    attempt(f'{op} {a!r} {some!r} {other!r}', ops[op])


def writable():
    """Every writable file below the victims and in the collections they are in, and directories for names."""
    files, dirs = [], []
    tops = [T, f'{cloud}/flavors/vf', f'{cloud}/flavors/vdraft', f'{cloud}/hosts/vh', f'{cloud}/hosts/vdraft']
    for top in tops:
        for d, sub, names in os.walk(top):
            dirs.append(d)
            for n in names:
                try:
                    st = os.lstat(f'{d}/{n}')
                except OSError:
                    continue
                if stat.S_ISREG(st.st_mode) and st.st_mode & 0o200:
                    files.append(f'{d}/{n}')
    for d in ('', '/flavors', '/hosts', '/tenants'):
        dirs.append(cloud + d)
        files += [f'{cloud}{d}/ctl'] + ([f'{cloud}{d}/spec'] if d else [])
    return files, dirs


victims()
files, dirs = writable()
if len(files) < 60:
    findings.append(f'only {len(files)} writable files were found')
# round and round, so that every file meets every state
for turn in range(writes):
    for path in rnd.sample(files, len(files)):
        if write_to(path) == errno.ENOENT and not os.path.lexists(path):
            victims()
    for _ in range(len(files) // 4):
        names_in(rnd.choice(dirs))
    if turn % 100 == 0:
        data_to(f'{T}/images/queued/data')
    if turn % 10 == 9:
        victims()
    if findings:
        break
print(f'# {len(files)} files, {writes} times each: ' + ', '.join(f'{n} {k}' for k, n in sorted(done.items(), key=lambda x: -x[1])))
for f in findings:
    print(f)
sys.exit(1 if findings else 0)
