#!/bin/bash
# What a container's objects cost, beside what they have to cost and what others need for the same bytes, in lines as run.sh's:
# NAME<TAB>VALUE<TAB>UNIT<TAB>REFERENCE<TAB>RATIO.  Each round has fresh stores; medians.  Large files: CPUS of both sides; small ones: CPU 0 of both.
#
#   SIZE=1200 (MB of a large file)  FILES=100000 (in a directory)  ROUNDS=3  SMALL=1 (a quick look)  DATA="image tar"  KEEP=1 (what each round gave, on stderr)
#   ONLY="large etag small many memory" (some of them)   REF_ONLY=1 (the references, without the program)   B=DIR (where it was built)
#   MEM_OPTS="direct plus" (how the memory-only FUSE file system is mounted: as the program mounts itself, see memdata.c)
#
# Others are asked when they are installed: apt-get install restic borgbackup casync
: "${SMALL:=}" "${REF_ONLY:=}" "${DATA:=image tar}" "${ONLY:=large etag small many memory}" "${MEM_OPTS=direct plus}" "${KEEP:=}"
SIZE=${SIZE:-$([ "$SMALL" ] && echo 128 || echo 1200)}
FILES=${FILES:-$([ "$SMALL" ] && echo 5000 || echo 100000)}
ROUNDS=${ROUNDS:-$([ "$SMALL" ] && echo 1 || echo 3)}
CPUS=${CPUS:-0-$(($(nproc) - 1))}
export SMALL REF_ONLY DATA ONLY MEM_OPTS KEEP SIZE FILES ROUNDS CPUS
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${CFS_ALONE:-}" ]; then
	B=${B:-$here/../../build}
	mkdir -p "$B/bench"
	CC=${CC:-gcc}
	$CC -O2 -DFUSE_USE_VERSION=314 -D_GNU_SOURCE -o "$B/bench/memdata" "$here/memdata.c" $(pkg-config --cflags --libs fuse3) -pthread || exit 2
	$CC -O2 -D_GNU_SOURCE -o "$B/bench/small" "$here/small.c" $(pkg-config --cflags --libs sqlite3) || exit 2
	export BENCH=$(cd "$B/bench" && pwd) CIRRUSFS=${CIRRUSFS:-$(cd "$B" && pwd)/cirrusfs}
fi
. "$here/../mount/lib.sh"
MEM=$WORK/mem REPO=$WORK/repo R=$WORK/results OUT=$WORK/out
mkdir "$MEM" "$R"
trap 'cd /; umount -l "$CLOUD" "$MEM" 2>/dev/null; rm -rf "$WORK"' EXIT
export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$WORK/restic-cache BORG_BASE_DIR=$WORK/borg-base
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes

say() { echo "objects.sh: $*" >&2; }
has() { command -v "$1" > /dev/null; }
wants() { case " $ONLY " in *" $1 "*) return 0 ;; esac; return 1; }
for p in restic borg casync; do has $p || say "$p: not installed"; done

# ---- figures: put FIGURE SIDE VALUE, of which get FIGURE SIDE is the median; `-` where there is none
put() { [ "$3" = - ] || echo "$3" >> "$R/$1.$2"; [ -z "$KEEP" ] || say "$1 $2 $3"; }
get() { if [ -s "$R/$1.$2" ]; then sort -n "$R/$1.$2" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; else echo -; fi; }
calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }
# line NAME VALUE UNIT [REFERENCE]
line() {
	local ratio=-
	case "$2 ${4:--}" in -\ * | *\ -) ;; *) ratio=$(calc "($4 > 0) ? $2 / $4 : 0") ;; esac
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "$ratio"
}
# beside NAME UNIT FIGURE SIDE WHAT...: the program's figure, a line for each side that has one; a peer that is missing is told so.
beside() {
	local name=$1 unit=$2 figure=$3
	shift 3
	for ((; $# > 1; )); do
		line "$name, beside $2" "$(get "$figure" own)" "$unit" "$(get "$figure" "$1")$( case $1 in restic | borg | casync) has "$1" || echo ' (not installed)' ;; esac)"
		shift 2
	done
}
# micros COMMAND...: how long it took; `-` when it failed.
micros() {
	local a=$EPOCHREALTIME b
	if "$@" > /dev/null 2> "$WORK/err"; then b=$EPOCHREALTIME; echo $((${b/./} - ${a/./})); else say "$* failed: $(head -c 300 "$WORK/err")"; echo -; fi
}
# mbs BYTES COMMAND...: MB/s
mbs() { local n=$1 t; shift; t=$(micros "$@"); [ "$t" = - ] && echo - || calc "$n / $t" 1; }
# rate COMMAND...: what it prints are microseconds each; a second.
rate() { local t; if t=$("$@" 2> "$WORK/err"); then calc "1e6 / $t" 0; else say "$* failed: $(head -c 300 "$WORK/err")"; echo -; fi; }
used() { sync; du -s --block-size=1 "$1" | cut -f 1; }
minus() { case "$1 $2" in *-*) echo - ;; *) echo $(($1 - $2)) ;; esac; }
over() { case "$1 $2" in *-*) echo - ;; *) calc "$1 / $2" ;; esac; }
# The kernel's copies go, of everything; then what the stores have on disk is read in again.
drop() { sync; echo 3 > /proc/sys/vm/drop_caches; find "$@" -type f -exec cat {} + > /dev/null; }

# pin CPUS: this shell, and both servers with all of their threads
pin() {
	local p
	taskset -cp "$1" $$ > /dev/null
	for p in $MEM_PID $(cloud_pid 2> /dev/null); do taskset -acp "$1" "$p" > /dev/null 2>&1; done
}

mem_up() {
	umount "$MEM" 2> /dev/null
	"$BENCH/memdata" "$MEM" $MEM_OPTS || exit 99
	MEM_PID=$(pgrep -n -f "^$BENCH/memdata $MEM")
}
OBJECTS=$CLOUD/tenants/t/containers/c/objects
# A store with nothing in it; compression as told.
fresh() {
	[ -z "$REF_ONLY" ] || return 1
	mountpoint -q "$CLOUD" && cloud_down
	rm -rf "$STORE"
	cloud_up
	mkdir "$CLOUD/tenants/t" "$CLOUD/tenants/t/containers/c" && echo "$1" > "$CLOUD/tenants/t/containers/c/compression" &&
		for q in object-bytes objects; do echo -1 > "$CLOUD/tenants/t/quota/$q"; done
}
again() { cloud_down; cloud_up; }	# nothing of it in the kernel
put_synced() { cp "$1" "$2" && sync "$2"; }

# ---- data: a tar of /usr, an ext4 image of it, and both with 100 KB in 10 MB changed or inserted
make_data() {
	local d=$WORK/data k
	mkdir -p "$d/tree"
	tar -C / --sort=name -cf - usr/bin usr/share usr/lib 2> /dev/null | head -c $((SIZE * 1000000)) > "$d/tar"
	tar -C "$d/tree" -xf "$d/tar" 2> /dev/null
	mke2fs -q -t ext4 -d "$d/tree" "$d/image" $((SIZE * 1150 / 1024))M || exit 99
	rm -rf "$d/tree"
	for k in $DATA; do
		"$BENCH/small" edit "$d/$k" place "$d/$k.place" > "$d/$k.place.n" && "$BENCH/small" edit "$d/$k" insert "$d/$k.insert" > "$d/$k.insert.n" || exit 99
	done
	sync
}

# ---- one large file, and its second versions
# versions FIGURE SIDE KIND PUT: all three into one store at `where`, by PUT FILE NAME; times, what they take, what the edits add for each changed byte.
versions() {
	local fig=$1 side=$2 kind=$3 put=$4 where=$5 v f t before after empty
	empty=$(used "$where")
	before=$empty
	for v in "" .place .insert; do
		f=$WORK/data/$kind$v
		cat "$f" > /dev/null
		put "$fig$v" "$side" "$(mbs "$(stat -c %s "$f")" "$put" "$f" "x$v")"
		[ "$side" != own ] || cloud_down
		after=$(used "$where")
		[ "$side" != own ] || cloud_up
		if [ -z "$v" ]; then
			put "$fig.stored" "$side" "$(calc "($after - $empty) / 1e6" 1)"
		else
			put "$fig$v.growth" "$side" "$(over $((after - before)) "$(cat "$f.n")")"
		fi
		before=$after
	done
}
own_put() { put_synced "$1" "$OBJECTS/$2"; }
restic_off() { restic -q -r "$REPO" backup --compression off "$1" && sync -f "$REPO"; }
restic_auto() { restic -q -r "$REPO" backup "$1" && sync -f "$REPO"; }
restic_dump() { restic -q -r "$REPO" dump latest "$1"; }
restic_restore() { rm -rf "$OUT"; restic -q -r "$REPO" restore latest --target "$OUT"; }
borg_none() { borg create --compression none "$REPO::$2" "$1" && sync -f "$REPO"; }
borg_lz4() { borg create --compression lz4 "$REPO::$2" "$1" && sync -f "$REPO"; }
borg_out() { borg extract --stdout "$REPO::$1"; }
casync_put() { casync make --store="$REPO/store" "$REPO/$2.caibx" "$1" && sync -f "$REPO"; }

peers() { # KIND
	local kind=$1 f=$WORK/data/$1 n
	n=$(stat -c %s "$f")
	new_repo() { rm -rf "$REPO" "$RESTIC_CACHE_DIR" "$OUT"; mkdir "$REPO"; }
	if has restic; then
		new_repo; restic -q init --repository-version 2 -r "$REPO" > /dev/null
		versions "$kind.off" restic "$kind" restic_off "$REPO"
		new_repo; restic -q init --repository-version 2 -r "$REPO" > /dev/null
		restic_off "$f" > /dev/null; drop "$REPO"
		put "$kind.read" restic "$(printf '%s\n' "$(mbs "$n" restic_dump "$f")" "$(mbs "$n" restic_restore)" | sort -n | tail -n 1)"
		new_repo; restic -q init --repository-version 2 -r "$REPO" > /dev/null
		versions "$kind.on" restic "$kind" restic_auto "$REPO"
	fi
	if has borg; then
		new_repo; borg init -e none "$REPO" 2> /dev/null
		versions "$kind.off" borg "$kind" borg_none "$REPO"
		drop "$REPO"
		put "$kind.read" borg "$(mbs "$n" borg_out x)"
		new_repo; borg init -e none "$REPO" 2> /dev/null
		versions "$kind.on" borg "$kind" borg_lz4 "$REPO"
	fi
	if has casync; then
		new_repo; mkdir "$REPO/store"
		versions "$kind.on" casync "$kind" casync_put "$REPO"
	fi
	rm -rf "$REPO" "$OUT"
}

large() { # KIND
	local kind=$1 f=$WORK/data/$1 n i
	n=$(stat -c %s "$f")
	pin "$CPUS"
	for v in "" .place .insert; do
		cat "$f$v" > /dev/null
		put "$kind.off$v" mem "$(mbs "$(stat -c %s "$f$v")" put_synced "$f$v" "$MEM/x")"
		rm "$MEM/x"
	done
	cp "$f" "$MEM/x"
	drop "$f"
	put "$kind.read" mem "$(mbs "$n" cat "$MEM/x")"
	put "$kind.reread" mem "$(mbs "$n" cat "$MEM/x")"
	put "$kind.reread" page "$(mbs "$n" cat "$f")"
	rm "$MEM/x"
	peers "$kind"
	if fresh false; then
		pin "$CPUS"
		versions "$kind.off" own "$kind" own_put "$STORE"
		cloud_down; drop "$STORE"; cloud_up
		put "$kind.read" own "$(mbs "$n" cat "$OBJECTS/x")"
		put "$kind.reread" own "$(mbs "$n" cat "$OBJECTS/x")"
		cmp "$f" "$OBJECTS/x" || say "what came back is not what was written"
		cmp "$f.place" "$OBJECTS/x.place" && cmp "$f.insert" "$OBJECTS/x.insert" || say "a second version is not what was written"
		fresh true
		versions "$kind.on" own "$kind" own_put "$STORE"
		cloud_down; drop "$STORE"; cloud_up
		put "$kind.readz" own "$(mbs "$n" cat "$OBJECTS/x")"
	fi
}

large_lines() { # KIND
	local k=$1 v
	beside "$k written and synced, no compression" MB/s "$k.off" mem "memory FUSE" restic "restic without" borg "borg without"
	beside "$k written and synced, compressed" MB/s "$k.on" restic "restic's default" borg "borg lz4" casync casync
	beside "$k stored, compressed" MB "$k.on.stored" restic "restic's default" borg "borg lz4" casync casync
	beside "$k stored, no compression" MB "$k.off.stored" restic "restic without" borg "borg without"
	for v in place insert; do
		beside "$k with 1 % $v, compressed" MB/s "$k.on.$v" casync casync restic "restic's default" borg "borg lz4"
		beside "$k with 1 % $v, no compression" MB/s "$k.off.$v" mem "memory FUSE" restic "restic without" borg "borg without"
		line "$k with 1 % $v: growth for each changed byte, no compression, beside the limit" "$(get "$k.off.$v.growth" own)" ratio 1.5
		line "$k with 1 % $v: growth for each changed byte, compressed, beside the limit" "$(get "$k.on.$v.growth" own)" ratio 1.5
		beside "$k with 1 % $v: growth for each changed byte, compressed" ratio "$k.on.$v.growth" casync casync restic "restic's default" borg "borg lz4"
	done
	beside "$k read back" MB/s "$k.read" mem "memory FUSE" restic restic borg borg
	line "$k read back, compressed, beside memory FUSE" "$(get "$k.readz" own)" MB/s "$(get "$k.read" mem)"
	beside "$k read again" MB/s "$k.reread" mem "memory FUSE" page "the page cache"
}

# ---- user.etag: from the first byte to the answer, beside MD5 of the same file in memory
own_etag() { cp "$1" "$OBJECTS/etag" && "$BENCH/small" attr "$OBJECTS/etag" user.etag > "$WORK/etag"; }
etag() {
	local f=$WORK/data/${DATA%% *}
	pin "$CPUS"
	cat "$f" > /dev/null
	put etag md5 "$(calc "$(micros md5sum "$f") / 1000" 0)"
	fresh false || return
	pin "$CPUS"
	put etag own "$(over "$(micros own_etag "$f")" 1000)"
	[ "$(cat "$WORK/etag")" = "$(md5sum < "$f" | cut -d ' ' -f 1)" ] || say "user.etag is not the MD5: $(cat "$WORK/etag")"
}

# ---- small ones
small() {
	local n=$((SMALL ? 300 : 3000)) m=$((FILES / 5))
	pin 0
	put sync1 commit "$(rate "$BENCH/small" commit "$WORK" $n)"
	rm -f "$WORK"/small.db*
	mkdir "$MEM/s"
	put create mem "$(rate "$BENCH/small" write "$MEM/s" $m 1)"
	drop "$BENCH"
	put read mem "$(rate "$BENCH/small" read "$MEM/s" $m 1)"
	rm -r "$MEM/s"
	fresh true || return
	pin 0
	mkdir "$OBJECTS"/{s,one,many}
	put sync1 own "$(rate "$BENCH/small" write "$OBJECTS/one" $n 1 sync)"
	put sync16 own "$(rate "$BENCH/small" write "$OBJECTS/many" $((n / 4)) 16 sync)"
	put create own "$(rate "$BENCH/small" write "$OBJECTS/s" $m 1)"
	cloud_down; drop "$STORE" "$BENCH"; cloud_up
	pin 0
	put read own "$(rate "$BENCH/small" read "$OBJECTS/s" $m 1)"
}

small_lines() {
	beside "4 KiB objects, each synced, one writer" 1/s sync1 commit "single FULL commits"
	line "4 KiB objects, each synced, 16 writers in 16 directories, beside single FULL commits" "$(get sync16 own)" 1/s "$(get sync1 commit)"
	line "4 KiB objects, each synced, 16 writers, beside Swift's PUT (measured once)" "$(get sync16 own)" 1/s 94
	beside "4 KiB objects created" 1/s create mem "memory FUSE"
	beside "4 KiB objects read" 1/s read mem "memory FUSE"
}

# ---- many in one directory
listings() { # SIDE DIRECTORY
	put many.ls "$1" "$(over "$(micros ls -l "$2/w0")" 1000)"
	put many.ls2 "$1" "$(over "$(micros ls -l "$2/w0")" 1000)"
	put many.find "$1" "$(over "$(micros find "$2" -type f)" 1000)"
	put many.newer "$1" "$(over "$(micros find "$2" -newer /proc/self)" 1000)"
	put many.rm "$1" "$(over "$(micros rm -r "$2/w0")" 1000)"
}
many() {
	pin 0
	"$BENCH/small" write "$MEM" "$FILES" 1 > /dev/null || return
	drop "$BENCH" /bin/ls /bin/rm /usr/bin/find
	listings mem "$MEM"
	fresh true || return
	pin 0
	put many.create own "$(rate "$BENCH/small" write "$OBJECTS" "$FILES" 1)"
	cloud_down; drop "$STORE" "$BENCH" /bin/ls /bin/rm /usr/bin/find; cloud_up
	pin 0
	listings own "$OBJECTS"
}

many_lines() {
	beside "$FILES objects, ls -l" ms many.ls mem "memory FUSE"
	beside "$FILES objects, ls -l again" ms many.ls2 mem "memory FUSE"
	beside "$FILES objects, find" ms many.find mem "memory FUSE"
	beside "$FILES objects, find -newer" ms many.newer mem "memory FUSE"
	beside "$FILES objects, rm -r" ms many.rm mem "memory FUSE"
}

# ---- memory while bytes without any pattern come in
flow() { head -c "$1" /dev/zero | openssl enc -aes-128-ctr -pass "pass:$1$RANDOM" -nosalt -pbkdf2 2> /dev/null; }
field() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$(cloud_pid)/status"; }
memory() {
	local gib idle
	fresh true || return
	pin "$CPUS"
	sleep 2
	idle=$(field VmRSS)
	put memory.idle own "$idle"
	for gib in 1 10; do
		echo 5 > "/proc/$(cloud_pid)/clear_refs"
		flow $((gib * (SMALL ? 104857600 : 1073741824))) > "$OBJECTS/m$gib" && sync "$OBJECTS/m$gib" || say "$gib GiB did not go in"
		put "memory.$gib" own $(($(field VmHWM) - idle))
		rm "$OBJECTS/m$gib"
	done
}

memory_lines() {
	line "memory, idle" "$(get memory.idle own)" KiB
	line "memory above idle, 1 GiB comes in, beside the limit" "$(get memory.1 own)" KiB 65536
	line "memory above idle, 10 GiB come in, beside the limit" "$(get memory.10 own)" KiB 65536
	line "memory above idle, 10 GiB beside 1 GiB" "$(get memory.10 own)" KiB "$(get memory.1 own)"
}

mem_up
[ -z "$REF_ONLY" ] || say "the references alone"
wants large || wants etag && make_data
if wants large; then	# memory that is touched the first time measures the kernel
	for k in $DATA; do cp "$WORK/data/$k.insert" "$MEM/x"; rm "$MEM/x"; done
fi
for ((round = 1; round <= ROUNDS; round++)); do
	if wants large; then for k in $DATA; do large "$k"; done; fi
	for part in etag small many memory; do if wants $part; then $part; fi; done
	[ "$ROUNDS" = 1 ] || say "round $round of $ROUNDS is done"
done
if wants large; then for k in $DATA; do large_lines "$k"; done; fi
! wants etag || beside "user.etag of a large object, from the first byte" ms etag md5 "md5sum of the same file"
for part in small many memory; do if wants $part; then ${part}_lines; fi; done
exit 0
