# Images: how data comes in, what is refused, what is found in it.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme/images" || exit 99
qemu-img create -q -f qcow2 "$WORK/a.qcow2" 64M
qemu-io -c 'write -P 7 0 3M' "$WORK/a.qcow2" > /dev/null 2>&1 || qemu-img convert -q -O qcow2 "$WORK/tiny.raw" "$WORK/a.qcow2"
head -c 3M /dev/urandom > "$WORK/a.raw"
for format in vmdk vdi vhdx; do qemu-img convert -q -f raw -O $format "$WORK/a.raw" "$WORK/a.$format"; done
python3 - "$WORK/a.iso" <<-'END'
	import sys
	d = bytearray(40 * 2048)
	d[16 * 2048:16 * 2048 + 7] = b"\1CD001\1"
	d[17 * 2048:17 * 2048 + 7] = b"\xffCD001\1"
	d[16 * 2048 + 80:16 * 2048 + 88] = (40).to_bytes(4, "little") + (40).to_bytes(4, "big")
	d[16 * 2048 + 128:16 * 2048 + 132] = b"\0\10\10\0"
	open(sys.argv[1], "wb").write(d)
END
# new NAME FILE: mkdir, cp and wait; prints what wait says.
new() { mkdir "$1" && cp "$2" "$1/data" && timeout 60 cat "$1/wait"; }

# the story
mkdir plain
is "mkdir makes a queued image" "$(cat plain/status)" queued
like "its data cannot be read yet" "$(cat plain/data 2>&1)" "*busy*"
is "wait of a queued one answers at once" "$(timeout 60 cat plain/wait)" queued
exec 7> plain/data
is "while data is open it is saving" "$(cat plain/status)" saving
cat "$WORK/a.raw" >&7
refused "verbs are EBUSY then" "EBUSY tenants/acme/images/plain/ctl*" put deactivate plain/ctl
refused "nor can a server begin as it" "EBUSY*image 'plain' is saving*" put 'create no flavor=m1.tiny image=plain host=sim' ../servers/ctl
exec 7>&-
is "closed, it becomes active" "$(timeout 60 cat plain/wait)" active
is "its format is found" "$(cat plain/format)" raw
is "its size is that of the file" "$(cat plain/size)" $((3 << 20))
is "its checksum is the MD5" "$(cat plain/checksum)" "$(md5sum < "$WORK/a.raw" | cut -d' ' -f1)"
works "what is read is what was written" cmp plain/data "$WORK/a.raw"
works "cp out of it" cp plain/data "$WORK/back"
works "equals" cmp "$WORK/back" "$WORK/a.raw"
is "stat knows the size" "$(stat -c %s plain/data)" $((3 << 20))
is "dd reads from the middle" "$(dd if=plain/data bs=4096 skip=100 count=2 2> /dev/null | md5sum)" "$(dd if="$WORK/a.raw" bs=4096 skip=100 count=2 2> /dev/null | md5sum)"
refused "what is active is written by nobody" "EPERM tenants/acme/images/plain/data*active*" cp "$WORK/a.raw" plain/data
refused "not at its end either" "EPERM tenants/acme/images/plain/data*" sh -c 'echo more >> plain/data'
refused "nor its format" "EPERM*" put qcow2 plain/format
works "equals still" cmp plain/data "$WORK/a.raw"
is "50 times cp and wait at once: always active" "$(for i in $(seq 50); do
	mkdir "r$i" && cp "$WORK/tiny.raw" "r$i/data" && timeout 60 cat "r$i/wait" && rmdir "r$i"
done | sort | uniq -c | xargs)" "50 active"
truncate -s 5M "$WORK/hole"
is "a file that is one hole" "$(new hole "$WORK/hole") $(cat hole/size)" "active $((5 << 20))"
is "a file that ends with a hole" "$(truncate -s 1000000 "$WORK/hole2"; printf x | dd of="$WORK/hole2" conv=notrunc 2> /dev/null; new hole2 "$WORK/hole2") $(cat hole2/size)" "active 1000000"
works "equals it" cmp hole2/data "$WORK/hole2"

# formats
for format in qcow2 vmdk vdi vhdx iso; do
	is "$format is found" "$(new "f-$format" "$WORK/a.$format") $(cat "f-$format/format" 2> /dev/null)" "active $format"
done
is "the size of the disk in a qcow2" "$(cat f-qcow2/virtual-size)" "$(qemu-img info --output=json "$WORK/a.qcow2" | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | head -n 1)"
mkdir dd && dd if="$WORK/a.qcow2" of=dd/data bs=512 conv=notrunc 2> /dev/null
is "written in small pieces" "$(timeout 60 cat dd/wait)" active
mkdir piped && cat "$WORK/a.raw" > piped/data
is "from a pipe" "$(timeout 60 cat piped/wait)" active

# what is refused
qemu-img create -q -f qcow2 -b /etc/passwd -F raw "$WORK/backing.qcow2" 1M
mkdir evil
refused "a backing file is refused by the write that brings it" "EINVAL tenants/acme/images/evil/data*backing file*" cp "$WORK/backing.qcow2" evil/data
is "the image stays queued" "$(timeout 60 cat evil/wait 2> /dev/null; cat evil/status)" queued
like "and says why" "$(cat evil/error)" "*backing file*"
qemu-img create -q -f qcow2 -o data_file="$WORK/outside",data_file_raw=on "$WORK/datafile.qcow2" 1M
refused "a data file too" "EINVAL tenants/acme/images/evil/data*another file*" cp "$WORK/datafile.qcow2" evil/data
refused "written a byte at a time as well" "EINVAL tenants/acme/images/evil/data*backing file*" dd if="$WORK/backing.qcow2" of=evil/data bs=1 count=2000
timeout 60 cat evil/wait > /dev/null 2>&1
python3 - "$WORK/backing.qcow2" evil/data <<-'END' 2> /dev/null
	import os, sys
	d = open(sys.argv[1], "rb").read()
	f = os.open(sys.argv[2], os.O_WRONLY | os.O_TRUNC)
	os.pwrite(f, d[4:], 4)
	os.pwrite(f, d[:4], 0)
END
timeout 60 cat evil/wait > /dev/null 2>&1
is "its header written last: never active" "$(cat evil/status)" queued
is "then good data is taken" "$(cp "$WORK/a.qcow2" evil/data; timeout 60 cat evil/wait)" active
head -c 1000000 "$WORK/a.qcow2" > "$WORK/short.qcow2"
mkdir short && cp "$WORK/short.qcow2" short/data
like "a qcow2 that was cut off is refused" "$(timeout 60 cat short/wait 2>&1)" "*Input/output error*"
is "back to queued" "$(cat short/status)" queued
like "with a reason" "$(cat short/error)" "* EINVAL *"
head -c 300 "$WORK/a.qcow2" > "$WORK/header.qcow2"
cp "$WORK/header.qcow2" short/data
like "a header alone too" "$(timeout 60 cat short/wait 2>&1)" "*Input/output error*"
: > short/data
like "empty data too" "$(timeout 60 cat short/wait 2>&1; cat short/status)" "*queued"

# what the user said it would be
given() { # KEY VALUE: a new image with it, then a.raw; prints wait's words
	mkdir "g$1" 2> /dev/null
	put "$2" "g$1/$1" && cp "$WORK/a.raw" "g$1/data" && timeout 60 cat "g$1/wait" 2> /dev/null || cat "g$1/status"
}
for key in size format hash; do
	case $key in
	size) wrong=1000 right=$((3 << 20)) ;;
	format) wrong=qcow2 right=raw ;;
	hash) wrong=md5:$(printf %032d 1) right=sha256:$(sha256sum < "$WORK/a.raw" | cut -d' ' -f1) ;;
	esac
	is "$key given and wrong: queued again" "$(given $key "$wrong")" queued
	like "EBADMSG says so" "$(cat g$key/error)" "* EBADMSG *"
	is "given and right: active" "$(given $key "$right")" active
done
mkdir hashed
refused "a hash that is none is refused" "EINVAL tenants/acme/images/hashed/hash*" put md5:12 hashed/hash

# uploads that do not end well
cat > "$WORK/upload.py" <<-'END'
	import os, signal, sys, time
	signal.signal(signal.SIGINT, signal.SIG_DFL)
	f = os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)
	os.write(f, open(sys.argv[2], "rb").read(2000000))
	print("written", flush=True)
	time.sleep(300)
END
for signal in INT TERM KILL; do
	mkdir "stop$signal"
	python3 "$WORK/upload.py" "stop$signal/data" "$WORK/a.raw" > "$WORK/written" &
	uploader=$!
	until_true 60 grep -q written "$WORK/written"
	is "an upload under way is saving" "$(cat "stop$signal/status")" saving
	kill -$signal $uploader
	wait $uploader 2> /dev/null
	is "stopped by SIG$signal it never becomes active" "$(timeout 60 cat "stop$signal/wait" 2> /dev/null; cat "stop$signal/status")" queued
	like "and says so" "$(cat "stop$signal/error")" "*interrupted*"
	is "a new upload works" "$(cp "$WORK/a.raw" "stop$signal/data"; timeout 60 cat "stop$signal/wait")" active
done
mkdir two
exec 7> two/data 8<> two/data
head -c 1000000 "$WORK/a.raw" >&7
dd if="$WORK/a.raw" bs=1000000 count=1 skip=1 seek=1 of=/dev/fd/8 conv=notrunc 2> /dev/null
exec 7>&-
is "two writers: it is taken when the last has closed" "$(timeout 0.5 cat two/wait; cat two/status)" saving
exec 8<&-
is "then active, with what both wrote" "$(timeout 60 cat two/wait) $(cat two/size)" "active 2000000"

mkdir idle
exec 7> idle/data
python3 "$WORK/upload.py" idle/data "$WORK/a.raw" > "$WORK/written" 2> /dev/null 7>&- &
uploader=$!
until_true 60 grep -q written "$WORK/written"
kill -9 $uploader
wait $uploader 2> /dev/null
exec 7>&-
is "two writers, one killed: not taken" "$(timeout 60 cat idle/wait 2> /dev/null; cat idle/status)" queued
touch idle/data
timeout 60 cat idle/wait > /dev/null 2>&1
is "what came before it is not taken by a later touch" "$(cat idle/status)" queued

mkdir torn
python3 "$WORK/upload.py" torn/data "$WORK/a.raw" > "$WORK/written" 2> /dev/null &
uploader=$!
until_true 60 grep -q written "$WORK/written"
cd /
cloud_kill
kill $uploader
cloud_up
cd "$CLOUD/tenants/acme/images" || exit 99
timeout 60 cat torn/wait > /dev/null 2>&1
is "kill -9 of cirrusfs during an upload, then mount: queued" "$(cat torn/status)" queued
like "with a sentence" "$(cat torn/error)" "*interrupted*again*"
is "a new upload works" "$(cp "$WORK/a.qcow2" torn/data; timeout 60 cat torn/wait)" active
works "what was active before is whole" cmp plain/data "$WORK/a.raw"

# users, names, others
put 'create s1 flavor=m1.tiny image=plain host=sim' ../servers/ctl
timeout 60 cat ../servers/s1/wait > /dev/null
refused "an image on which a server stands is kept" "EBUSY tenants/acme/images/plain: *servers/s1*" rmdir plain
is "used-by names it" "$(cat plain/used-by)" tenants/acme/servers/s1
rmdir ../servers/s1
works "once the server goes it can go" rmdir plain
is "and its name is free at once" "$(new plain "$WORK/a.raw")" active
mv plain renamed
is "mv renames it" "$(cat renamed/status; ls | grep -cx plain)" "active
0"
refused "not into another tenant" "EPERM*" mv renamed "$CLOUD/tenants/admin/images/"
put deactivate renamed/ctl
refused "of a deactivated one no server is made" "*renamed*deactivated*" put 'create s2 flavor=m1.tiny image=renamed host=sim' ../servers/ctl
put activate renamed/ctl
is "activate brings it back" "$(cat renamed/status)" active
is "nothing is public at first" "$(ls "$CLOUD/images" | grep -vcE '^(list|json|README)$')" 0
mkdir "$CLOUD/tenants/other"
refused "another tenant does not find it" "ENOENT*no image 'renamed'*" put 'create s1 flavor=m1.tiny image=renamed host=sim' "$CLOUD/tenants/other/servers/ctl"
put public renamed/visibility
is "a public one appears in /images" "$(cat "$CLOUD"/images/*renamed/status)" active
works "and other tenants find it by name" put 'create s1 flavor=m1.tiny image=renamed host=sim' "$CLOUD/tenants/other/servers/ctl"
is "and call it so" "$(timeout 60 cat "$CLOUD/tenants/other/servers/s1/wait"; cat "$CLOUD/tenants/other/servers/s1/image")" "ACTIVE
renamed"
refused "then it is in use there" "EBUSY*tenants/other/servers/s1*" rmdir renamed
put 40 renamed/min-disk
refused "min-disk is kept" "EINVAL*40 GiB*" put 'create s3 flavor=m1.tiny image=renamed host=sim' ../servers/ctl
put 0 renamed/min-disk
put 4096 renamed/min-ram
refused "min-ram is kept" "EINVAL*4096*" put 'create s3 flavor=m1.tiny image=renamed host=sim' ../servers/ctl
if [ -d renamed/properties ]; then
	works "a property is a file" sh -c 'echo x86_64 > renamed/properties/architecture'
	is "and says what was written" "$(cat renamed/properties/architecture)" x86_64
	works "and is removed" rm renamed/properties/architecture
else
	report 1 "images have properties/"
fi
finish
