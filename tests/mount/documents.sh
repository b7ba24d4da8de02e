# Documents: user-data and spec, by shells, editors and install; what does not parse; scratch files.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
mkdir servers/d
cd servers/d || exit 99
doc() { cat user-data; }
printf '#cloud-config\nhostname: one\n' > "$WORK/one"

works "cp over" cp "$WORK/one" user-data
is "... is its content" "$(doc)" "$(cat "$WORK/one")"
is "... to the byte" "$(stat -c %s user-data)" "$(stat -c %s "$WORK/one")"
works "append" sh -c 'echo "packages: [curl]" >> user-data'
is "... adds to it" "$(doc | tail -n 1)" "packages: [curl]"
works "sed -i" sed -i s/one/two/ user-data
is "... changes it" "$(doc | sed -n 2p)" "hostname: two"
works "vim -es" vim -es -u NONE -c '%s/two/three/' -c wq user-data
is "... changes it too" "$(doc | sed -n 2p)" "hostname: three"
works "vim without swap and backup" sh -c 'TERM=dumb vim -u NONE -n -c "%s/three/four/" -c wq user-data < /dev/null > /dev/null 2>&1'
is "... as well" "$(doc | sed -n 2p)" "hostname: four"
works "vim with a swap file and a backup" sh -c 'TERM=dumb vim -u NONE -c "set backup writebackup" -c "%s/four/five/" -c wq user-data < /dev/null > /dev/null 2>&1'
is "... makes its change" "$(doc | sed -n 2p)" "hostname: five"
works "install" install -m 644 "$WORK/one" user-data
is "... replaces it" "$(doc)" "$(cat "$WORK/one")"
works "cp -p" cp -p "$WORK/one" user-data
works "mv of a scratch file over it" sh -c 'echo "#!/bin/sh" > user-data.new && mv -f user-data.new user-data'
is "... replaces it" "$(doc)" "#!/bin/sh"
is "offsets count" "$(python3 - <<'X'
import os
f = os.open("user-data", os.O_RDWR)
os.pwrite(f, b"bash\n", 7)
os.pwrite(f, b"echo end\n", 12)
print(os.pread(f, 100, 0))
os.ftruncate(f, 21)
os.close(f)
X
doc)" "b'#!/bin/bash\\necho end\\n'
#!/bin/bash
echo end"
is "it is taken at each flush that follows a write" "$(python3 - <<'X'
import os
f = os.open("user-data", os.O_WRONLY | os.O_TRUNC)
for text in (b"#!/bin/sh\n", b"true\n"):
    os.write(f, text)
    os.close(os.dup(f))
    print(open("user-data").read().split())
os.close(f)
X
)" "['#!/bin/sh']
['#!/bin/sh', 'true']"
head -c 40000 /dev/urandom > "$WORK/blob"
works "bytes of any kind" cp "$WORK/blob" user-data
works "... are kept" cmp "$WORK/blob" user-data
is "... and json says null" "$(python3 -c 'import json; print(json.load(open("json"))["user-data"])')" None
works "emptied" sh -c ': > user-data'
until_true 60 test ! -s user-data
is "... is empty" "$(doc)" ""
like "scratch files are not listed" "$(ls -a | tr '\n' ' ')" "*user-data*"
is "... none is left" "$(ls -a | grep -cE '^(sed|\.user|user-data.)')" 0
works "a scratch file of one's own" sh -c 'echo x > notes && grep -q x notes && rm notes'
fails "... is gone" test -e notes

# what is not taken
printf '#!/bin/sh\n' > user-data
head -c 60000 /dev/zero > "$WORK/large"
refused "one that is too large" "EFBIG tenants/acme/servers/d/user-data: *60000 bytes; at most*" cp "$WORK/large" user-data
is "... leaves the old content" "$(doc)" "#!/bin/sh"
refused "... and makes the next verb fail" "EFBIG tenants/acme/servers/d/ctl: *a document written before was not taken*" put create ctl
refused "... once" "EINVAL tenants/acme/servers/d/ctl: create: a server needs a flavor*" put create ctl
fails "a close error that a shell loses" sh -c 'cat "$0" > user-data' "$WORK/large"
works "... is forgotten when it is written well" cp "$WORK/one" user-data
works "... the next verb works" sh -c 'printf "m1.tiny" > flavor; printf tiny > image; printf sim > host; echo create > ctl'
is "... it does" "$(cat wait)" ACTIVE

# spec
cd "$CLOUD/flavors" || exit 99
put 'create f vcpus=2 ram=64' ctl
works "sed -i on a spec" sed -i s/public=true/public=false/ f/spec
is "... changes what may change" "$(cat f/public)" false
works "vim on a spec" vim -es -u NONE -c '%s/public=false/public=true/' -c wq f/spec
is "... too" "$(cat f/public)" true
works "a spec that adds a key" sh -c 'echo "description=\"the small one\"" >> f/spec'
is "... sets it" "$(cat f/description)" "the small one"
spec=$(cat f/spec)
refused "a spec that changes what is fixed" "EBUSY flavors/f/spec: *vcpus*" sed -i s/vcpus=2/vcpus=3/ f/spec
is "... leaves it" "$(cat f/spec)" "$spec"
refused "a spec that does not parse" "EINVAL flavors/f/spec: *not key=value*" sh -c 'echo "what is this" | cat > f/spec'
is "... leaves it too" "$(cat f/spec)" "$spec"
refused "... and the next verb fails" "EINVAL flavors/f/ctl: *a document written before was not taken*" put delete f/ctl
works "... once" put delete f/ctl
fails "... it went" test -e f
mkdir g
works "the spec of a draft" sh -c 'printf "vcpus=1\nram=1G\ndisk=5\n" > g/spec'
is "... sets its values" "$(cat g/vcpus g/ram g/disk | paste -sd' ')" "1 1024 5"
works "... that create takes" put create g/ctl
refused "a spec half of which is wrong" "EINVAL flavors/g/spec: *" sh -c 'printf "public=false\ncolour=red\n" | cat > g/spec'
is "... does nothing of it" "$(cat g/public)" true
: > g/ctl; put '# the lost error' g/ctl 2> /dev/null
refused "a collection's spec that does not parse" "EINVAL flavors/spec: *line 2*" sh -c 'printf "ensure flavors/h vcpus=1 ram=64\nexplode\n" | cat > spec'
fails "... does nothing of it" test -e h
refused "... and the next verb there fails" "EINVAL flavors/ctl: *a document written before was not taken*" put 'create h vcpus=1 ram=64' ctl
finish
