# The simulated power cut itself (tests/powercut.c): what was synced is there, what was not is gone or there by chance, and SQLite, which is
# known to keep its promises, keeps them.  ROUNDS=200 cuts of SQLite, SEED= for the same again.
. "$(dirname "$0")/lib.sh"
SO=${TOOLS:-$TOP/build/tests}/powercut.so
ROUNDS=${ROUNDS:-16} SEED=${SEED:-$(date +%s)}
DIR=$WORK/dir SHADOW=$WORK/shadow
mkdir "$DIR"
pc() { python3 "$TOP/tests/powercut.py" "$1" "$DIR" "$SHADOW" "${@:2}"; }
with() { env LD_PRELOAD="$SO" POWERCUT_DIR="$DIR" POWERCUT_SHADOW="$SHADOW" POWERCUT_SYNC_US=0 "${env[@]}" "$@"; }
env=()
# program TEXT: python, with `fd` to open below the directory; it is killed in the end
program() {
	rm -rf "$DIR" "$SHADOW"
	mkdir "$DIR"
	printf old > "$DIR/old"
	printf '%20000s' x > "$DIR/big"
	pc start
	with python3 -c "
import os, signal
top = '$DIR'
def fd(name, flags=os.O_RDWR | os.O_CREAT): return os.open(top + '/' + name, flags, 0o600)
def sync(name):
    f = os.open(top + '/' + name, os.O_RDONLY)
    os.fsync(f)
    os.close(f)
$1
os.kill(os.getpid(), signal.SIGKILL)" 2> "$WORK/said" || grep -v Killed "$WORK/said"
}
left() { (cd "$DIR" && for f in *; do [ ! -f "$f" ] || { printf '%s=' "$f"; head -c 12 "$f"; echo; }; done | xargs); }
cuts() { program "$1"; pc cut > /dev/null; pc same; left; }

is "nothing done, nothing lost" "$(cuts 'pass')" "big= old=old"
is "a write that is not synced is gone" "$(cuts 'os.write(fd("old"), b"new!")')" "big= old=old"
is "one that is synced is there" "$(cuts 'f = fd("old"); os.write(f, b"new!"); os.fdatasync(f)')" "big= old=new!"
is "by any descriptor of that file" "$(cuts 'f = fd("old"); os.write(f, b"new!"); sync("old")')" "big= old=new!"
is "what comes after the sync is not" "$(cuts 'f = fd("old"); os.write(f, b"new!"); os.fsync(f); os.pwrite(f, b"more", 0)')" "big= old=new!"
is "a new name without its directory's sync is gone" "$(cuts 'f = fd("n"); os.write(f, b"n"); os.fsync(f)')" "big= old=old"
is "with it, it is there" "$(cuts 'f = fd("n"); os.write(f, b"n"); os.fsync(f); sync("")')" "big= n=n old=old"
is "a name alone has no content" "$(cuts 'f = fd("n"); os.write(f, b"n"); sync("")')" "big= n= old=old"
env=(POWERCUT_NAMES=ext4)
is "as ext4 does it, a file's sync is enough for its name" "$(cuts 'f = fd("n"); os.write(f, b"n"); os.fsync(f)')" "big= n=n old=old"
env=()
is "a rename that is not synced" "$(cuts 'f = fd("n"); os.write(f, b"n"); os.fsync(f); sync(""); os.rename(top + "/n", top + "/old")')" "big= n=n old=old"
is "... and one that is" "$(cuts 'f = fd("n"); os.write(f, b"n"); os.fsync(f); os.rename(top + "/n", top + "/old"); sync("")')" "big= old=n"
is "a removed one comes back" "$(cuts 'os.unlink(top + "/old")')" "big= old=old"
is "... or not" "$(cuts 'os.unlink(top + "/old"); sync("")')" "big="
is "another under the removed one's name" "$(cuts 'os.unlink(top + "/old"); f = fd("old"); os.write(f, b"2"); os.fsync(f); sync("")')" "big= old=2"
is "truncated, and not synced" "$(program 'os.ftruncate(fd("big"), 5)'; pc cut > /dev/null; stat -c %s "$DIR/big")" 20000
is "... and synced" "$(program 'f = fd("big"); os.ftruncate(f, 5); os.fsync(f)'; pc cut > /dev/null; stat -c %s "$DIR/big")" 5
is "what was cut off does not come back" "$(program 'f = fd("big"); os.ftruncate(f, 5); os.ftruncate(f, 20000); os.fsync(f)'; pc cut > /dev/null; tr -d '\0' < "$DIR/big")" "     "
is "directories" "$(cuts 'os.mkdir(top + "/d"); f = fd("d/x"); os.write(f, b"x"); os.fsync(f); sync("d"); sync("")'; cat "$DIR/d/x")" "big= old=old
x"
is "appended" "$(cuts 'f = fd("old", os.O_WRONLY | os.O_APPEND); os.pwrite(f, b"+", 0); os.fsync(f); os.write(f, b"-")')" "big= old=old+"
is "by writev and pwritev" "$(cuts 'f = fd("old"); os.writev(f, [b"a", b"b"]); os.pwritev(f, [b"c", b"d"], 2); os.fsync(f)')" "big= old=abcd"
is "of what is not synced a part is there, by the seed" "$(for seed in $(seq 24); do
	program 'f = fd("big"); os.write(f, b"y" * 20000)'
	pc cut "$seed" > /dev/null
	pc same
	tr -dc y < "$DIR/big" | wc -c
done | sort -nu | python3 -c 'import sys; n = [int(x) for x in sys.stdin]; print(n[0], n[-1], len(n) > 5)')" "0 20000 True"

# SQLite: commits that were answered are there, in their order; without syncs they are not
sql() { # SYNCHRONOUS SEED: how many were answered
	with python3 -c "
import os, random, signal, sqlite3, threading
db, rnd = sqlite3.connect('$DIR/db', isolation_level=None), random.Random('$SEED $2')
for pragma in ('synchronous=$1', 'wal_autocheckpoint=20'):
    db.execute('PRAGMA ' + pragma)
threading.Timer(rnd.random() * 0.5 + 0.01, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    db.execute('BEGIN')
    i = db.execute('INSERT INTO t(x) VALUES (?) RETURNING i', (rnd.randbytes(rnd.randrange(8000)),)).fetchone()[0]
    db.execute('DELETE FROM t WHERE i % 7 = 3')
    db.execute('COMMIT')
    os.write(1, b'%d\n' % i)" > "$WORK/out" || tail -n 1 "$WORK/out"
}
rm -rf "$DIR" "$SHADOW"
mkdir "$DIR"
sqlite3 "$DIR/db" 'PRAGMA journal_mode=WAL; CREATE TABLE t(i INTEGER PRIMARY KEY AUTOINCREMENT, x BLOB);' > /dev/null
pc start
fault=
commits=0 have=0
for ((r = 0; r < ROUNDS; r++)); do
	told=$(sql FULL "$r" 2> /dev/null) told=${told:-$have}	# killed before the first: as it was
	seed=()
	[ $((r % 3)) = 0 ] || seed=("$SEED$r")
	lost=$(pc cut "${seed[@]}")
	have=$(sqlite3 "$DIR/db" 'SELECT seq FROM sqlite_sequence')
	ok=$(sqlite3 "$DIR/db" 'PRAGMA integrity_check')
	[ "$ok" = ok ] && [ "${have:-0}" -ge "$told" ] && [ "$have" -le $((told + 1)) ] || fault="$fault
round $r: $told were answered, $have are there; $ok; $lost"
	commits=$((commits > told ? commits : told))
	pc start
done
is "SQLite with synchronous=FULL loses nothing (SEED=$SEED)" "$fault" ""
[ "$commits" -gt "$ROUNDS" ] || report 1 "there were commits" "$commits"
told=$(sql OFF x 2> /dev/null)
pc cut > /dev/null
have=$(sqlite3 "$DIR/db" 'SELECT seq FROM sqlite_sequence' 2>&1)
if [ "$have" != "$told" ]; then report 0 "without syncs it does"; else report 1 "without syncs it does" "$told were answered, $have are there"; fi
echo "# $commits commits, $ROUNDS cuts"
# the checker of objects_kill.sh finds what it is to find
mkdir "$WORK/objects"
works "on a directory where nobody dies all is in order" python3 "$TOP/tests/mount/objects_kill.py" --dir "$WORK/objects" --plain --rounds 3 --seed "$SEED" --longest 500
rm -rf "$WORK/objects"/*
works "faults made there are found" python3 "$TOP/tests/mount/objects_kill.py" --dir "$WORK/objects" --plain --rounds 10 --seed "$SEED" --longest 500 --writers 3 --sabotage 1
is "small writes are not slowed much" "$(rm -rf "$DIR" "$SHADOW"; mkdir "$DIR"; pc start; with python3 -c "
import os, time
f, t = os.open('$DIR/x', os.O_RDWR | os.O_CREAT), time.time()
for i in range(20000): os.pwrite(f, b'x' * 100, i * 100)
for i in range(200): os.pwrite(f, b'y' * 100, i * 5000); os.fsync(f)
print('fast' if time.time() - t < 4 else time.time() - t)")" fast
finish
