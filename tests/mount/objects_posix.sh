# Objects are files: the cases of pjdfstest that an object store can express, edges of sizes and names, quotas, random operations against a model
# (tests/fsx.c), fio's verify where fio is installed.
# MANY=100000 objects in one directory, FSX=1000000 operations, SEED= for the same again, ONLY="rename names" of the cases, PLAIN=DIR instead of a container.
# timeout 7200
. "$(dirname "$0")/lib.sh"
MANY=${MANY:-3000} FSX=${FSX:-6000} SEED=${SEED:-$(date +%s)}
export MANY
if [ -n "${PLAIN:-}" ]; then
	mkdir -p "$PLAIN" || exit 99
	OBJECTS=$(mktemp -d -p "$PLAIN") CONTAINER=
	chmod 755 "$OBJECTS"
	trap 'rm -rf "$OBJECTS" "$WORK"' EXIT
else
	cloud_up
	mkdir "$CLOUD/tenants/t" && mkdir "$CLOUD/tenants/t/containers/c" || exit 99
	CONTAINER=$CLOUD/tenants/t/containers/c
	OBJECTS=$CONTAINER/objects
fi
while read -r word rest; do
	case $word in
	pass) report 0 "$rest" ;;
	fail) report 1 "$rest" ;;
	*) echo "# $word $rest" ;;
	esac
done < <(python3 "$TOP/tests/mount/objects_posix.py" "$OBJECTS" ${CONTAINER:+"$CONTAINER"} 2>&1; echo "note status $?")
if [ -z "${ONLY:-}" ]; then
	mkdir "$OBJECTS/fsx"
	for i in 1 2 3; do
		works "$FSX random operations (SEED=$SEED, $i)" "${TOOLS:-$TOP/build/tests}/fsx" -s "$SEED$i" -n "$FSX" -l $((i * 700000)) "$OBJECTS/fsx/f$i"
	done
	# several at once
	pids=()
	for i in 4 5 6 7; do "${TOOLS:-$TOP/build/tests}/fsx" -s "$SEED$i" -n $((FSX / 2)) "$OBJECTS/fsx/f$i" > "$WORK/fsx.$i" 2>&1 & pids+=($!); done
	status=0
	for p in "${pids[@]}"; do wait "$p" || status=$?; done
	if [ $status = 0 ]; then report 0 "four at once"; else report 1 "four at once (SEED=$SEED)" "$(tail -n 30 "$WORK"/fsx.[4-7])"; fi
	rm -rf "$OBJECTS/fsx"
	if command -v fio > /dev/null; then
		mkdir "$OBJECTS/fio"
		for mode in write randwrite; do
			for bs in 4k 128k; do
				works "fio verifies $mode of $bs" fio --name=v --directory="$OBJECTS/fio" --rw=$mode --bs=$bs --size=${FIO:-24m} --verify=crc32c --do_verify=1 \
					--verify_fatal=1 --randseed="$SEED" --fsync=200 --numjobs=2 --ioengine=psync --verify_state_save=0
				rm -f "$OBJECTS"/fio/*
			done
		done
		works "fio verifies what is mapped" fio --name=v --directory="$OBJECTS/fio" --rw=randwrite --bs=4k --size=8m --verify=crc32c --verify_fatal=1 \
			--randseed="$SEED" --ioengine=mmap --verify_state_save=0
		rm -rf "$OBJECTS/fio"
	else
		echo "# fio is not installed: its verify is not run"
	fi
fi
if [ -z "${PLAIN:-}" ]; then
	is "nothing is left" "$(find "$OBJECTS" -mindepth 1; cat "$CONTAINER/count" "$CONTAINER/bytes")" "0
0"
	cloud_down
	works "fsck --data finds nothing" "$CIRRUSFS" fsck --data "$STORE"
fi
finish
