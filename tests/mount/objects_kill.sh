# Objects: kill -9, and a power cut (tests/powercut.c), at random moments under eight programs that create, overwrite, rename and delete.
# ROUNDS=1000 of each, SEED= for the same again, WAYS="kill power" one of them, LAG= calls a close may be late: the kernel sends the release that cuts a content when it likes.
# PLACE=1: with small packs that go to another directory.
# timeout 36000
. "$(dirname "$0")/lib.sh"
ROUNDS=${ROUNDS:-6} SEED=${SEED:-$(date +%s)} LAG=${LAG:-16}
export CIRRUSFS STORE CLOUD SEED TOP
export DIR=$STORE/objects SHADOW=$WORK/shadow SO=${TOOLS:-$TOP/build/tests}/powercut.so
set --
[ -z "${PLACE:-}" ] || { export CIRRUSFS_PACK_MAX=262144; set -- "objects-url = $WORK/place"; }
cloud_up "$@"
mkdir "$CLOUD/tenants/t" || exit 99
pc='python3 "$TOP/tests/powercut.py"'
kill='pid=$(cut -d" " -f1 "$STORE/lock"); kill -9 $pid; while [ -e /proc/$pid/root/. ]; do sleep 0.01; done'
gone='umount -l "$CLOUD"'
# every other time what the crash left is looked at before it is mounted
fsck='[ $((ROUND % 2)) = 0 ] || "$CIRRUSFS" fsck --data "$STORE"'
for way in ${WAYS:-kill power}; do
	mkdir "$CLOUD/tenants/t/containers/$way" || exit 99
	if [ "$way" = kill ]; then
		set -- --kill "$kill" --up "$gone; $fsck && \"\$CIRRUSFS\" mount \"\$STORE\" \"\$CLOUD\""
	else
		cloud_down
		eval "$pc"' start "$DIR" "$SHADOW"'
		export POWERCUT_DIR=$DIR POWERCUT_SHADOW=$SHADOW
		up='LD_PRELOAD="$SO" "$CIRRUSFS" mount "$STORE" "$CLOUD"'
		eval "$up" || exit 99
		set -- --kill "$kill; if [ \$((ROUND % 3)) = 0 ]; then $pc cut \"\$DIR\" \"\$SHADOW\"; else $pc cut \"\$DIR\" \"\$SHADOW\" \$SEED\$ROUND; fi" \
			--up "$gone; $fsck && $pc start \"\$DIR\" \"\$SHADOW\" && $up"
	fi
	begin=$(date +%s)
	works "$ROUNDS times $way (SEED=$SEED): all is old or new, whole, in order, and what fsync answered is there" \
		python3 "$TOP/tests/mount/objects_kill.py" --dir "$CLOUD/tenants/t/containers/$way/objects" --seed "$SEED" --rounds "$ROUNDS" --lag "$LAG" "$@"
	printf '%s\n' "$out" | grep '^#'
	echo "# $(($(date +%s) - begin)) s"
	[ "$bad" = 0 ] || break
done
cloud_down
works "fsck --data finds nothing" "$CIRRUSFS" fsck --data "$STORE"
[ -z "${PLACE:-}" ] || like "packs moved" "$(sqlite3 "$STORE/objects/index.db" 'SELECT count(*) FROM pack WHERE away')" "[1-9]*"
cloud_up
rm -rf "$CLOUD"/tenants/t/containers/*/objects/*
is "all of it goes" "$(find "$CLOUD"/tenants/t/containers/*/objects -mindepth 1)" ""
works "and the containers" sh -c 'rmdir $(find "$0" -mindepth 1 -maxdepth 1 -type d)' "$CLOUD/tenants/t/containers"
cloud_down
works "fsck --data finds nothing then" "$CIRRUSFS" fsck --data "$STORE"
finish
