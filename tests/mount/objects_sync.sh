#!/bin/bash
# A disk that fails to sync (tests/powercut.c: POWERCUT_FAIL) has lost what it was to keep, and says the next time that all is well.  Nobody believes it.
. "$(dirname "$0")/lib.sh"
SO=${TOOLS:-$TOP/build/tests}/powercut.so
export POWERCUT_DIR=$STORE/objects POWERCUT_SHADOW=$WORK/shadow POWERCUT_FAIL=$WORK/fail POWERCUT_SYNC_US=0
pc() { python3 "$TOP/tests/powercut.py" "$1" "$STORE/objects" "$WORK/shadow"; }
up() { LD_PRELOAD=$SO "$CIRRUSFS" mount "$STORE" "$CLOUD"; }
cloud_up
mkdir "$CLOUD/tenants/t" "$CLOUD/tenants/t/containers/c"
O=$CLOUD/tenants/t/containers/c/objects
cloud_down
pc start
up
for size in 4000 3000000; do
	head -c $size /dev/urandom > "$WORK/kept"
	head -c $size /dev/urandom > "$WORK/lost"
	cp "$WORK/kept" "$O/kept-$size"; sync "$O/kept-$size"
	touch "$WORK/fail"
	refused "a sync of $size bytes that fails is told" "EIO *the disk failed*" sh -c 'cp "$0" "$1" && sync "$1"' "$WORK/lost" "$O/lost-$size"
	rm "$WORK/fail"
	refused "... and one that comes later does not make it good" "EIO *the disk failed*" sync "$O/lost-$size"
	refused "... nothing more is taken" "EIO *mounted again*" cp "$WORK/lost" "$O/more"
	works "... what is there can be read" cmp "$WORK/kept" "$O/kept-$size"
	like "... health says it" "$(cat "$CLOUD/health")" "*the disk failed to keep*"
	cloud_kill
	pc cut > /dev/null
	pc start
	works "... mounted again after a power cut" up
	works "... what was synced is there" cmp "$WORK/kept" "$O/kept-$size"
	works "... and all works" sh -c 'cp "$0" "$1" && sync "$1" && cmp "$0" "$1"' "$WORK/lost" "$O/new-$size"
done
cloud_down
works "fsck --data finds nothing" "$CIRRUSFS" fsck --data "$STORE"
finish
