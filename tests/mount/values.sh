# Value files: what is read can be written back; words, numbers, sizes; what O_TRUNC, touch and chmod do; sizes and times.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
sim_key keys/me
put 'create s flavor=m1.tiny image=tiny network=lan key=me host=sim description="a b" metadata/k="v w"' servers/ctl
mkdir servers/draft
put m1.tiny servers/draft/flavor
put 2 images/tiny/properties/os
cat "$CLOUD/wait" > "$WORK/out"

state() { find "$CLOUD" -name json -o -name history -o -name spec -o -name ctl -o -name list | grep -v '/metrics$' | sort | while read -r f; do echo "== $f"; cat "$f"; done; cat "$CLOUD/events"; }
state > "$WORK/before"
is "the tree is there" "$(grep -c '"name"' "$WORK/before" | awk '{ print ($1 > 20) }')" 1
is "every file that can be written takes what it says" "$(python3 - "$CLOUD" <<'X'
import os, stat, sys
n = 0
for top, dirs, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(top, name)
        st = os.lstat(path)
        if not stat.S_ISREG(st.st_mode) or not st.st_mode & 0o200:
            continue
        with open(path, "rb") as f:
            text = f.read()
        try:
            with open(path, "wb") as f:
                f.write(text)
            n += 1
        except OSError as e:
            print(path, e.strerror, text[:60])
print(n > 100)
X
)" True
state > "$WORK/after"
is "... and nothing happened" "$(diff "$WORK/before" "$WORK/after" | head -n 20)" ""
is "sizes are exact: what stat says is what is read" "$(python3 - "$CLOUD" <<'X'
import os, stat, sys
n = 0
for top, dirs, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(top, name)
        st = os.lstat(path)
        if not stat.S_ISREG(st.st_mode):
            continue
        with open(path, "rb") as f:
            text = f.read()
        n += 1
        if len(text) != st.st_size:
            print(path, st.st_size, len(text))
print(n > 300)
X
)" True
is "what cannot be written says so in its mode, and EPERM" "$(python3 - "$CLOUD" <<'X'
import errno, os, stat, sys
wrong = set()
for top, dirs, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(top, name)
        st = os.lstat(path)
        if not stat.S_ISREG(st.st_mode) or st.st_mode & 0o200:
            continue
        try:
            os.close(os.open(path, os.O_WRONLY))
            wrong.add(name)
        except OSError as e:
            if e.errno != errno.EPERM:
                wrong.add(name + " " + e.strerror)
print(*wrong)
X
)" ""
is "a value ends with one newline, and without one is that" "$(od -An -c servers/s/status servers/draft/image | tr -d ' \n')" 'ACTIVE\n\n'

# booleans
for word in true 1 yes on; do put false networks/lan/shared; put $word networks/lan/shared; is "$word is true" "$(cat networks/lan/shared)" true; done
for word in false 0 no off; do put true networks/lan/shared; put $word networks/lan/shared; is "$word is false" "$(cat networks/lan/shared)" false; done
refused "another word" "EINVAL tenants/acme/networks/lan/shared: *neither true nor false*" put maybe networks/lan/shared
refused "no word" "EINVAL tenants/acme/networks/lan/shared: *" put '' networks/lan/shared
is "... it stays" "$(cat networks/lan/shared)" false

# sizes and ranges
mkdir "$CLOUD/flavors/f"
cd "$CLOUD/flavors/f" || exit 99
set_to() { put "$1" "$2" && cat "$2"; }
is "RAM is in MiB" "$(set_to 512 ram)" 512
is "4G of RAM" "$(set_to 4G ram)" 4096
is "1T of RAM" "$(set_to 1T ram)" 1048576
is "1024K of RAM" "$(set_to 1024K ram)" 1
is "2GiB of RAM" "$(set_to 2GiB ram)" 2048
is "2g of RAM" "$(set_to 2g ram)" 2048
is "disks are in GiB" "$(set_to 10 disk)" 10
is "1T of disk" "$(set_to 1T disk)" 1024
refused "half a GiB of disk" "EINVAL flavors/f/disk: *whole number of GiB*" put 512M disk
refused "an unknown suffix" "EINVAL flavors/f/ram: *suffix*" put 4Q ram
refused "two numbers" "EINVAL flavors/f/ram: *" put '4 4' ram
refused "a number with a comma" "EINVAL flavors/f/ram: *" put '1,5G' ram
refused "a negative size" "EINVAL flavors/f/ram: *not a size*" put -1 ram
refused "nothing where something is needed" "EINVAL flavors/f/ram: *empty*" put '' ram
refused "out of range" "EINVAL flavors/f/vcpus: *0 is not in 1..1024*" put 0 vcpus
refused "above it" "EINVAL flavors/f/vcpus: *1025 is not in 1..1024*" put 1025 vcpus
refused "a word for a number" "EINVAL flavors/f/vcpus: *not a whole number*" put many vcpus
refused "a fraction" "EINVAL flavors/f/vcpus: *not a whole number*" put 1.5 vcpus
refused "a number with a tail" "EINVAL flavors/f/vcpus: *not a whole number*" put '2x' vcpus
refused "more than a number holds" "EINVAL flavors/f/vcpus: *" put 99999999999999999999 vcpus
refused "more than a size holds" "EINVAL flavors/f/ram: *too large*" put 99999999P ram
is "the value is as it was" "$(cat ram)" 2048
works "a value without a newline" sh -c 'printf 3 > vcpus'
is "... is taken" "$(cat vcpus)" 3
refused "two lines for one value" "EINVAL flavors/f/vcpus: *" python3 -c 'import os; os.write(os.open("vcpus", os.O_WRONLY), b"4\n5\n")'
refused "a NUL byte" "EINVAL flavors/f/description: *NUL*" python3 -c 'import os; os.write(os.open("description", os.O_WRONLY), b"a\0b\n")'
refused "invalid UTF-8" "EILSEQ flavors/f/description: *" python3 -c 'import os; os.write(os.open("description", os.O_WRONLY), b"\xff\n")'
refused "a control character" "EINVAL flavors/f/description: *control*" python3 -c 'import os; os.write(os.open("description", os.O_WRONLY), b"a\033b\n")'
is "70 KiB for a value" "$(head -c 71680 /dev/zero | tr '\0' x | writes description)" EFBIG
cd "$CLOUD/tenants/acme" || exit 99
is "unlimited" "$(for v in max unlimited -1; do set_to 5 quota/cores; set_to $v quota/cores; done | paste -sd' ')" "5 -1 5 -1 5 -1"
refused "less than unlimited" "EINVAL tenants/acme/quota/cores: *" put -2 quota/cores
refused "a cidr with host bits" "EINVAL *host bits; write 10.0.0.0/24*" put 'create bad cidr=10.0.0.1/24' networks/ctl
refused "a cidr too wide" "EINVAL *" put 'create bad cidr=10.0.0.0/33' networks/ctl
refused "no cidr at all" "EINVAL *not a cidr*" put 'create bad cidr=ten' networks/ctl
refused "a word that is none of them" "EINVAL tenants/acme/images/tiny/visibility: *none of: private shared community public*" put secret images/tiny/visibility
is "bytes take a suffix" "$(mkdir images/b; set_to 1M images/b/size)" 1048576

# O_TRUNC, truncate, touch, chmod
put before servers/s/description
is "O_TRUNC changes nothing" "$(: > servers/s/description; cat servers/s/description)" before
works "truncate to 0 is accepted" truncate -s 0 servers/s/description
is "... and does nothing" "$(cat servers/s/description)" before
is "... the size is still exact" "$(stat -c %s servers/s/description)" 7
mtime=$(stat -c %y servers/s/description)
works "touch is accepted" touch servers/s/description servers/s/status servers/s
is "... and does nothing" "$(stat -c %y servers/s/description)" "$mtime"
works "chmod to the same mode" chmod 644 servers/s/description
refused "chmod to another" "EPERM tenants/acme/servers/s/description: *modes are fixed*" chmod 600 servers/s/description
refused "... of a directory" "EPERM tenants/acme/servers/s: *modes are fixed*" chmod 700 servers/s
works "chown to root" chown 0:0 servers/s/description
refused "chown to another" "EPERM tenants/acme/servers/s/description: *owners are fixed*" chown 1 servers/s/description
is "the offset of a write is ignored" "$(echo after >> servers/s/description; cat servers/s/description)" after
is "a second write replaces the first" "$( { echo one; echo two; } > servers/s/description; cat servers/s/description)" two
works "fsync" python3 -c 'import os; f = os.open("servers/s/description", os.O_WRONLY); os.write(f, b"synced\n"); os.fsync(f)'

# times
sleep 0.01
a=$(stat -c %y servers/s/description) b=$(stat -c %y servers/s/protected)
put changed servers/s/description
fails "mtime is when the value changed" test "$a" = "$(stat -c %y servers/s/description)"
is "... of this value, not of others" "$(stat -c %y servers/s/protected)" "$b"
a=$(stat -c %y servers/s/description)
put changed servers/s/description
is "writing the same changes no time" "$(stat -c %y servers/s/description)" "$a"
is "ctime is mtime" "$(stat -c %z servers/s/description)" "$a"
finish
