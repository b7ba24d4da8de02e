#!/bin/bash
# Chunks are found by their hashes when there are more of them than fit into memory: after they were merged into the table, removed, and over restarts.
. "$(dirname "$0")/lib.sh"
cloud_up
mkdir "$CLOUD/tenants/acme" "$CLOUD/tenants/acme/containers/site"
C=$CLOUD/tenants/acme/containers/site O=$C/objects INDEX=$STORE/objects/index.db
put false "$C/compression"
head -c 3000000 /dev/urandom > "$WORK/old"
head -c 3000000 /dev/urandom > "$WORK/new"
cp "$WORK/old" "$O/old"
cloud_down
# 400,000 others, whose bytes nobody looks at: more than are kept in memory, so that they are merged
sqlite3 "$INDEX" "PRAGMA cache_size=-200000; BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
	INSERT INTO chunk (id, h, h2, len, pack, at, stored, refs) SELECT 1000000000 + i, random(), random(), 16384, 7777, i * 16440, 16384, 1 FROM n;
	UPDATE meta SET value = 2000000000 WHERE name = 'next'; INSERT INTO pack (id, size, live) VALUES (7777, 400001 * 16440, 400000 * 16440); COMMIT"
truncate -s $((400001 * 16440)) "$STORE/objects/packs/00007777.pack"
asks() { sqlite3 -readonly "$INDEX" "$1"; }
is "none is in the table before" "$(asks 'SELECT count(*) FROM hash')" 0
cloud_up
cp "$WORK/old" "$O/again"; sync "$O/again"
is "what is there is found by memory" "$(asks "SELECT count(*) FROM chunk WHERE id < 1000000000") $(asks "SELECT count(*) FROM chunk WHERE id > 1000400000")" "$(asks "SELECT count(*) FROM chunk WHERE id < 1000000000") 0"
works "they are merged into the table" until_true 60 eval '[ "$(asks "SELECT count(*) FROM hash")" -gt 400000 ] && [ "$(asks "SELECT CAST(value AS INTEGER) FROM meta WHERE name = '\''hashed'\''")" -gt 1000000000 ]'
before=$(asks 'SELECT count(*) FROM chunk')
cp "$WORK/old" "$O/third"; sync "$O/third"
is "what is there is found by the table" "$(asks 'SELECT count(*) FROM chunk')" "$before"
cp "$WORK/new" "$O/new"; sync "$O/new"
works "what is new is new" test "$(asks 'SELECT count(*) FROM chunk')" -gt $((before + 50))
cp "$WORK/new" "$O/new2"; sync "$O/new2"
rm "$O/old" "$O/again" "$O/third"
works "rows of chunks that go go, too" until_true 30 eval '[ "$(asks "SELECT count(*) FROM hash WHERE id < 1000000000")" = 0 ]'
cloud_kill
cloud_up
before=$(asks 'SELECT count(*) FROM chunk')
cp "$WORK/new" "$O/new3"; sync "$O/new3"
is "after a crash they are found" "$(asks 'SELECT count(*) FROM chunk')" "$before"
works "and read" cmp "$WORK/new" "$O/new3"
cloud_down
sqlite3 "$INDEX" "DELETE FROM chunk WHERE pack = 7777; DELETE FROM pack WHERE id = 7777; DELETE FROM hash WHERE id IN (SELECT id FROM hash ORDER BY h LIMIT 1000)"
rm "$STORE/objects/packs/00007777.pack"
like "fsck sees rows of no chunk" "$("$CIRRUSFS" fsck "$STORE" 2>&1)" "*399??? chunks are not to be found by their hash, or found and gone*"
"$CIRRUSFS" fsck --repair "$STORE" > /dev/null 2>&1
works "... and makes them anew" "$CIRRUSFS" fsck --data "$STORE"
is "... those there are" "$(asks 'SELECT count(*) FROM hash')" "$(asks "SELECT count(*) FROM chunk WHERE id < (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'hashed')")"
finish
