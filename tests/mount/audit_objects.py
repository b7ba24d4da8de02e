#!/usr/bin/python3
"""audit_objects.py STORE [THERE]: is STORE/objects what docs/objects.md says?  THERE: what names of packs in their place are appended to.  Read without any of our code: a line per fault, exit 1 if there are any.
The store is not mounted.  What a crash may leave until the next mount (packs and records that no row knows, objects never closed, rows
that nothing refers to) is no fault.  Not looked at: whether a chunk's bytes have its hash (fsck --data does), names' keys."""
import hashlib
import os
import sqlite3
import struct
import sys

HEAD, CHUNK_MAX, LIST_MAX = 56, 262144, 512
MAGIC = b'CfChunk1'
top = sys.argv[1] + '/objects'
faults = 0


def fault(*words):
    global faults
    faults += 1
    print(*words)


# ---- XXH3-64 of the 48 bytes before a head's checksum: the branch for 33 to 64 bytes of its specification, without a seed
M64 = 2**64 - 1
SECRET = struct.unpack('<8Q', bytes.fromhex('b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
                                           'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'))


def xxh3_48(data):
    v = struct.unpack('<6Q', data)
    acc = 48 * 0x9E3779B185EBCA87
    for at, key in ((2, 4), (2, 6), (0, 0), (4, 2)):    # bytes 16 and len - 32 are the same here
        product = (v[at] ^ SECRET[key]) * (v[at + 1] ^ SECRET[key + 1])
        acc += (product & M64) ^ (product >> 64)
    acc &= M64
    acc = (acc ^ acc >> 37) * 0x165667919E3779F9 & M64
    return acc ^ acc >> 32


def zstd_size(data):
    """How many bytes a zstd frame says it has; None: it is none, or does not say."""
    if data[:4] != b'\x28\xb5\x2f\xfd' or len(data) < 6:
        return None
    flags = data[4]
    at = 5 + (not flags & 32) + (0, 1, 2, 4)[flags & 3]
    width = (1 if flags & 32 else 0, 2, 4, 8)[flags >> 6]
    field = data[at:at + width]
    return int.from_bytes(field, 'little') + (256 if width == 2 else 0) if width and len(field) == width else None


def numbers(data):
    """LEB128, all of it."""
    v, n, shift, open_ = [], 0, 0, False
    for b in data:
        n |= (b & 127) << shift
        shift, open_ = shift + 7, b > 127
        if not open_:
            v.append(n)
            n = shift = 0
    if open_ or len(v) % 3:
        raise ValueError('its bytes end in the middle')
    return [tuple(v[i:i + 3]) for i in range(0, len(v), 3)]


def look():
    db = sqlite3.connect(f'file:{top}/index.db?mode=ro', uri=True, timeout=20)
    db.execute('BEGIN')
    ask = lambda q, *a: db.execute(q, a).fetchall()
    for (line,) in ask('PRAGMA integrity_check(20)'):
        if line != 'ok':
            fault('index.db:', line)
    for row in ask('PRAGMA foreign_key_check'):
        fault('index.db: foreign key:', *row)
    meta = dict(ask('SELECT name, CAST(value AS INTEGER) FROM meta'))
    for name in 'next', 'seed', 'chunk-min', 'chunk-avg', 'chunk-max':
        if name not in meta:
            fault('meta:', name, 'is missing')
    hashed = meta.get('hashed', 0)
    rows, sought = dict(ask('SELECT id, h FROM chunk')), dict(ask('SELECT id, h FROM hash'))
    for no in rows:
        if no < hashed and sought.get(no) != rows[no]:
            fault('chunk', no, 'has no row in hash')
    for no in sought:
        if rows.get(no) != sought[no]:
            fault('hash: chunk', no, 'is gone or has another hash')
    chunks = look_chunks(ask)
    refs = {}               # chunks, and nodes as minus their numbers
    nodes = look_nodes(ask, chunks, refs)
    look_entries(ask, chunks, nodes, refs)
    for table, sign in ('chunk', 1), ('node', -1):
        rows = dict(ask(f'SELECT id, refs FROM {table}'))
        for no, n in rows.items():
            if n != refs.get(sign * no, 0):
                fault(table, no, 'has refs', n, 'and', refs.get(sign * no, 0), 'refer to it')
        for no in refs:
            if no * sign > 0 and no * sign not in rows:
                fault(table, no * sign, 'is referred to and missing')
    seen = {}
    for table in 'entry', 'chunk', 'node', 'version':
        for (no,) in ask(f'SELECT id FROM {table}'):
            if no in seen:
                fault(table, no, 'has the number of a', seen[no])
            seen[no] = table
            if not 0 < no < meta.get('next', M64):
                fault(table, no, 'has a number that was not given yet')


def look_chunks(ask):
    files = {}
    for name in os.listdir(top + '/packs'):
        if name.endswith('.pack') and name[:-5].isdigit():
            files[int(name[:-5])] = f'{top}/packs/{name}'
    for no, name in ask('SELECT id, place FROM pack WHERE away = 1'):
        files[no] = sys.argv[2] + name if len(sys.argv) > 2 else ''
    sizes = {no: os.path.getsize(path) for no, path in files.items() if os.path.exists(path)}
    digests = dict(ask('SELECT chunk, sha256 FROM digest'))
    packs = {no: (size, live) for no, size, live in ask('SELECT id, size, live FROM pack')}
    fresh = dict(ask('SELECT id, length(data) FROM fresh'))
    chunks, live, ends, fds = {}, {}, {}, {}
    for no, h, h2, length, pack, at, stored, bad in ask('SELECT id, h, h2, len, pack, at, stored, bad FROM chunk ORDER BY pack, at'):
        chunks[no] = length
        what = f'chunk {no}:'
        if not 0 < stored <= length <= CHUNK_MAX:
            fault(what, stored, 'bytes stored of', length)
        if bad:
            fault(what, 'it is marked as damaged')
        if (pack == 0) != (no in fresh):
            fault(what, 'it is in fresh and in a pack' if pack else 'it is in no pack and not in fresh')
        if pack == 0:
            if no in fresh and fresh[no] != stored:
                fault(what, 'fresh has', fresh[no], 'bytes of', stored)
            continue
        whole = (HEAD + stored + 7) // 8 * 8
        live[pack] = live.get(pack, 0) + whole
        if at % 8 or at < ends.get(pack, 0):
            fault(what, f'its place {at} in pack {pack} is no multiple of 8, or another\'s')
        ends[pack] = at + whole
        if at < 0 or sizes.get(pack, -1) < at + HEAD + stored:
            fault(what, f'its record at {at} is beyond the end of pack {pack}' if pack in sizes else f'pack {pack} is missing')
            continue
        if pack not in fds:
            fds[pack] = os.open(files[pack], os.O_RDONLY)
        record = os.pread(fds[pack], HEAD + min(stored, 32), at)
        magic, *said, pad, check = struct.unpack('<8sqqqIIQQ', record[:HEAD])
        if magic != MAGIC or pad or check != xxh3_48(record[:48]):
            fault(what, f'there is no sound head at {at} of pack {pack}')
        elif said != [no, h, h2, length, stored]:
            fault(what, f'the head at {at} of pack {pack} says', *said, 'and the index', no, h, h2, length, stored)
        elif stored < length and zstd_size(record[HEAD:]) != length:
            fault(what, f'at {at} of pack {pack} is no zstd frame of', length, 'bytes')
        elif any(os.pread(fds[pack], whole - HEAD - stored, at + HEAD + stored)):
            fault(what, f'its record at {at} of pack {pack} does not end in zeros')
        elif no in digests and stored == length and hashlib.sha256(os.pread(fds[pack], stored, at + HEAD)).digest() != digests[no]:
            fault(what, 'its SHA-256 is another one')
    for no in digests.keys() - chunks.keys():
        fault('digest', no, 'is of no chunk')
    for no in fresh.keys() - chunks.keys():
        fault('fresh', no, 'is no chunk')
    for fd in fds.values():
        os.close(fd)
    for no, (size, alive) in packs.items():
        if alive != live.get(no, 0):
            fault('pack', no, 'has live', alive, 'and records of chunks with', live.get(no, 0), 'bytes')
        if not 0 <= alive <= size <= sizes.get(no, -1):
            fault('pack', no, 'has size', size, 'live', alive, f'and a file of {sizes[no]} bytes' if no in sizes else 'and no file')
    for no in live.keys() - packs.keys():
        fault('pack', no, 'has chunks and no row')
    return chunks


def look_nodes(ask, chunks, refs):
    nodes = {}              # number: (level, span, used)
    for no, level, span, data in ask('SELECT id, level, span, data FROM node ORDER BY level, id'):
        what = f'node {no}:'
        try:
            triples = numbers(data)
        except ValueError as e:
            fault(what, e)
            continue
        if level not in (0, 1, 2):
            fault(what, 'level', level)
            continue
        if not triples or (level < 2 and len(triples) > LIST_MAX):
            fault(what, 'it lists', len(triples))
        used = 0
        if level == 0:
            for chunk, off, n in triples:
                if chunk:
                    used += n
                    refs[chunk] = refs.get(chunk, 0) + 1
                if not n or (chunk in chunks and off + n > chunks[chunk]):
                    fault(what, n, 'bytes from', off, 'of chunk', chunk, 'which has', chunks.get(chunk))
            total = sum(n for _, _, n in triples)
        else:
            for child, n, n_used in triples:
                refs[-child] = refs.get(-child, 0) + 1
                used += n_used
                if child in nodes and nodes[child] != (level - 1, n, n_used):
                    fault(what, 'it says of node', child, (level - 1, n, n_used), 'which is', nodes[child], '(level, span, used)')
                elif child not in nodes:
                    fault(what, 'its node', child, 'is missing, damaged or not below it')
            total = sum(n for _, n, _ in triples)
        if total != span:
            fault(what, 'its span is', span, 'and its parts have', total)
        nodes[no] = level, span, used
    return nodes


def look_entries(ask, chunks, nodes, refs):
    def content(what, root, size, used):
        if root:
            refs[root] = refs.get(root, 0) + 1
        if root > 0 and chunks.get(root, size) != size:
            fault(what, size, 'bytes, and chunk', root, 'has', chunks[root])
        if root < 0 and -root in nodes and nodes[-root][1] > size:
            fault(what, size, 'bytes, and node', -root, 'has', nodes[-root][1])
        there = 0 if not root else size if root > 0 else nodes.get(-root, (0, 0, used))[2]
        if used is not None and used != there:
            fault(what, 'it says that', used, 'bytes are no holes, which are', there)

    spaces = {r[0]: r[1:] for r in ask('SELECT id, root, count, bytes, versions, version_bytes FROM space')}
    rows = {r[0]: r[1:] for r in ask('SELECT id, space, parent, name, type FROM entry')}
    sums = {no: [0, 0, 0, 0] for no in spaces}
    names = set()
    with_attrs = {no for (no,) in ask('SELECT DISTINCT entry FROM attr')}
    for no, space, parent, name, kind, size, used, root, attrs, delete_at, etag, target in ask(
            'SELECT id, space, parent, name, type, size, used, root, attrs, delete_at, etag, target FROM entry'):
        what = f'entry {no} {name!r}:'
        if kind == 1:
            content(what, root, size, used)
        elif root or used or etag:
            fault(what, 'it is no object and has a content')
        if (kind == 3) != (target is not None) or (kind != 1 and size != len((target or '').encode())):
            fault(what, 'links have a target and its length, and nothing else has')
        if bool(attrs) != (no in with_attrs):
            fault(what, 'whether it has attributes is noted wrongly')
        if etag and (len(etag) != 32 or etag.strip('0123456789abcdef')):
            fault(what, 'its etag is', etag)
        if delete_at is not None and (kind != 1 or not parent):
            fault(what, 'it would expire')
        if space not in spaces:
            fault(what, 'its space', space, 'is missing')
            continue
        if kind == 1 and parent:
            sums[space][0] += 1
            sums[space][1] += size
        if parent == 0:
            if kind != 1 and spaces[space][0] != no:
                fault(what, 'it is in no directory')
            continue
        if name in ('', '.', '..') or '/' in name or '\0' in name or len(name.encode()) > 255:
            fault(what, 'that is no name')
        if (parent, name) in names:
            fault(what, 'its directory has another of that name')
        names.add((parent, name))
        path, up, above = len(name.encode()), parent, set()
        while up in rows and up not in above and rows[up][0] == space and rows[up][3] == 2 and rows[up][1]:
            above.add(up)
            path += 1 + len(rows[up][2].encode())
            up = rows[up][1]
        if up != spaces[space][0]:
            fault(what, 'its directories do not lead to the top of its space')
        elif path > 1024:
            fault(what, 'its path has', path, 'bytes')
    for no in with_attrs - rows.keys():
        fault('entry', no, 'is missing and has attributes')
    for no, space, name, size, root, marker in ask('SELECT id, space, name, size, root, marker FROM version'):
        what = f'version {no} {name!r}:'
        content(what, root, size, None)
        if marker and (size or root):
            fault(what, 'a removal has no content')
        if space in spaces:
            sums[space][2] += 1
            sums[space][3] += size
        else:
            fault(what, 'its space', space, 'is missing')
    for no, (root, *said) in spaces.items():
        if root not in rows or rows[root][0] != no or rows[root][1] or rows[root][3] != 2:
            fault('space', no, 'has no top directory')
        if said != sums[no]:
            fault('space', no, 'says', said, 'and has', sums[no], '(objects, their bytes, old versions, their bytes)')


try:
    look()
except (sqlite3.Error, OSError, UnicodeError) as e:
    fault('index.db or packs:', e)
sys.exit(faults > 0)
