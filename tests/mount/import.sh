# timeout 900
# Images from elsewhere: import over http, https and file, what goes wrong on the way, and what is left of it.
. "$(dirname "$0")/lib.sh"
mkdir "$WORK/served" "$WORK/allowed" "$WORK/allowed/sub"
qemu-img create -q -f qcow2 "$WORK/served/a.qcow2" 64M
qemu-io -c 'write -P 7 0 3M' "$WORK/served/a.qcow2" > /dev/null
head -c 3M /dev/urandom > "$WORK/served/a.raw"
cp "$WORK/served/a.raw" "$WORK/allowed/sub/my disk.raw"
qemu-img create -q -f qcow2 -b /etc/passwd -F raw "$WORK/served/backing.qcow2" 1M
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 \
	-keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2> /dev/null
python3 "$TOP/tests/httpd.py" "$WORK/served" "$WORK/log" > "$WORK/port" &
python3 "$TOP/tests/httpd.py" "$WORK/served" "$WORK/tls-log" "$WORK/cert.pem" "$WORK/key.pem" > "$WORK/tls-port" &
until_true 60 test -s "$WORK/port" -a -s "$WORK/tls-port"
U=http://127.0.0.1:$(cat "$WORK/port")
TLS=https://127.0.0.1:$(cat "$WORK/tls-port")
sha() { echo "sha256:$(sha256sum < "$1" | cut -d' ' -f1)"; }
asked() { grep -cF -- "$1" "$WORK/log"; }
left() { find "$STORE/fetch" -type f | wc -l; }

# what is allowed at first
cloud_up
sim_up
cd "$CLOUD/tenants/acme/images" || exit 99
refused "this machine is not asked unless the administrator allows it" "EACCES tenants/acme/images/ctl: create x: url: 127.0.0.1*import-hosts*" put "create x url=$U/a.raw" ctl
refused "nor what is on its link" "EACCES*169.254.169.254*import-hosts*" put 'create x url=http://169.254.169.254/latest/meta-data' ctl
refused "nor its files" "EACCES*import-dirs*" put 'create x url=file:///etc/passwd' ctl
refused "what is no URL" "EINVAL*url*" put 'create x url=hello' ctl
refused "another scheme" "EINVAL*ftp*http https file*" put 'create x url=ftp://example.org/x' ctl
is "nothing is left of them" "$(ls -d x 2>&1 | grep -c 'No such')" 1
mkdir y
refused "import wants a url" "EINVAL tenants/acme/images/y/ctl: import*url=U*" put import y/ctl
rmdir y
cd /
cloud_down
cloud_up 'import-hosts = 127.0.0.1' "import-dirs = /nonexistent:$WORK/allowed" "import-ca = $WORK/cert.pem" 'image-size-max = 8'
cd "$CLOUD/tenants/acme/images" || exit 99

# the story
put "create a url=$U/a.qcow2 hash=$(sha "$WORK/served/a.qcow2") size=$(stat -c %s "$WORK/served/a.qcow2") format=qcow2" ctl
is "an image is imported in one line" "$(timeout 60 cat a/wait)" active
is "it is what was served" "$(cat a/format) $(cat a/size) $(cat a/checksum)" "qcow2 $(stat -c %s "$WORK/served/a.qcow2") $(md5sum < "$WORK/served/a.qcow2" | cut -d' ' -f1)"
works "byte for byte" cmp a/data "$WORK/served/a.qcow2"
is "received is all of it" "$(cat a/received)" "$(cat a/size)"
is "progress is 100" "$(cat a/progress)" 100
like "history tells" "$(tail -n 1 a/history)" "*import*ok*bytes*"
is "nothing is left of the download" "$(left)" 0
mkdir b
put "import url=$U/a.raw" b/ctl
is "mkdir and import do as well" "$(timeout 60 cat b/wait)" active
is "its url is shown" "$(cat b/url)" "$U/a.raw"
refused "an active one is not imported" "EBUSY*active*" put "import url=$U/a.raw" b/ctl
refused "its url is fixed" "EPERM*" put "$U/other" b/url
works "the same may be written" put "$U/a.raw" b/url
put "create c url=$TLS/a.raw" ctl
is "https, with the administrator's certificate" "$(timeout 60 cat c/wait)" active
put "create d url='$U/a.raw?x=1&y=a%20b;z=\"q\"#f' description='from afar'" ctl
is "a URL with all that shells and ctl quote" "$(timeout 60 cat d/wait)" active
is "is kept as it was" "$(cat d/url)" "$U/a.raw?x=1&y=a%20b;z=\"q\"#f"

# spec and like
put "create e like=d" ctl
is "like= imports the same again" "$(timeout 60 cat e/wait) $(cat e/url)" "active $U/a.raw?x=1&y=a%20b;z=\"q\"#f"
mkdir "$CLOUD/tenants/copy"
cat spec > "$CLOUD/tenants/copy/ctl" 2> "$WORK/refusal"
like "a tenant's spec, elsewhere, imports what was imported" "$(timeout 120 cat "$CLOUD/tenants/copy/images/wait"; cat "$CLOUD/tenants/copy/images/"[a-e]/status | sort | uniq -c)" "*done*5 active"
is "written back it changes nothing" "$(cat spec > ctl; cat [a-e]/status | sort -u)" active
refused "ensure with another url names the key" "EBUSY*url*" put "ensure a url=$U/other" ctl

# progress
put "create slow url=$U/a.raw?rate=300000" ctl
is "meanwhile it is importing" "$(cat slow/status)" importing
until_true 60 sh -c '[ "$(cat slow/progress)" -gt 20 ]'
works "progress and received grow" sh -c '[ "$(cat slow/progress)" -gt 20 ] && [ "$(cat slow/progress)" -lt 100 ] && [ "$(cat slow/received)" -gt 600000 ]'
like "its task says how far it is" "$(cat slow/task)" "import fetch * of 3145728 bytes*"
left=$(sed 's/.* left=\([0-9]*\)s.*/\1/' slow/task)
works "and that import-timeout will end it, not task-timeout ($left s)" [ "$left" -gt 80000 ]
like "its data cannot be read yet" "$(cat slow/data 2>&1)" "*busy*"
refused "nor written" "EBUSY*" cp "$WORK/served/a.raw" slow/data
refused "no server begins as it" "EBUSY*image 'slow' is importing*" put 'create s flavor=m1.tiny image=slow host=sim' ../servers/ctl
is "then it is active" "$(timeout 60 cat slow/wait)" active

# the same twice at once
put "create one url=$U/a.raw?rate=400000&twice" ctl
put "create two url=$U/a.raw?rate=400000&twice hash=$(sha "$WORK/served/a.raw")" ctl
put "create wrong url=$U/a.raw?rate=400000&twice hash=md5:$(printf %032d 1)" ctl
put "create early url=$U/a.raw?rate=400000&twice size=77" ctl
until_true 60 sh -c '[ "$(cat two/received)" -gt 100000 ]'
like "a size that differs is refused before all came" "$(timeout 60 cat early/wait 2>&1; cat early/status early/error)" "*queued*EBADMSG*size says 77*"
rmdir one
until_true 60 sh -c '! ls -d by-id/* 2> /dev/null; ! grep -q one list'
is "the first is deleted meanwhile, the second goes on" "$(timeout 60 cat two/wait)" active
is "the third is judged by its own hash" "$(timeout 60 cat wrong/wait 2>&1; cat wrong/status)" "cat: wrong/wait: Input/output error
queued"
like "and says why" "$(cat wrong/error)" "* EBADMSG *md5*"
is "they were one download" "$(asked twice)" 1
until_true 60 sh -c "[ $(left) = 0 ]"
is "nothing is left of it" "$(left)" 0

# lost connections
put "create lost url=$U/a.raw?drop=1200000&times=2" ctl
is "a connection lost twice is continued" "$(timeout 60 cat lost/wait)" active
is "where it ended" "$(asked '/a.raw?drop=1200000&times=2 bytes=')" 2
works "what came is whole" cmp lost/data "$WORK/served/a.raw"

# kill -9 and umount in the middle
put "create killed url=$U/a.raw?rate=300000&k" ctl
until_true 60 sh -c '[ "$(cat killed/received)" -gt 500000 ]'
cd /
cloud_kill
cloud_up
cd "$CLOUD/tenants/acme/images" || exit 99
is "after kill -9 and mount it is importing still" "$(cat killed/status)" importing
works "and begins where it was" sh -c '[ "$(cat killed/received)" -gt 400000 ] || until [ "$(cat killed/received)" -gt 400000 ]; do sleep 0.1; done'
is "then active" "$(timeout 60 cat killed/wait)" active
is "the rest alone was asked for" "$(asked 'rate=300000&k - 200') $(asked 'rate=300000&k bytes=')" "1 1"
works "what came is whole" cmp killed/data "$WORK/served/a.raw"
put "create left url=$U/a.raw?rate=300000&u" ctl
until_true 60 sh -c '[ "$(cat left/received)" -gt 500000 ]'
cd /
before=$SECONDS
cloud_down
works "umount does not wait for it" test $((SECONDS - before)) -lt 15
cloud_up
cd "$CLOUD/tenants/acme/images" || exit 99
is "after the next mount it goes on" "$(timeout 60 cat left/wait) $(asked 'rate=300000&u bytes=')" "active 1"

# deleting
rmdir wrong early
timeout 60 cat wait > /dev/null
put "create going url=$U/a.raw?hang" ctl
until_true 60 sh -c "grep -qF 'a.raw?hang' $WORK/log"
rmdir going
works "an importing image can be deleted" timeout 60 cat wait
is "nothing is left of it" "$(left)" 0
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "create h$i url=$U/a.raw?hang=$i"; done > ctl
put "create quick url=$U/a.raw" ctl
is "a dozen that hang hold up nobody" "$(timeout 60 cat quick/wait)" active
rmdir h*
works "and go at once" timeout 60 cat wait

# what servers say
failing() { # NAME URL PATTERN [PARAMETER...]
	name=$1 url=$2 pattern=$3
	shift 3
	put "create bad url=$url $*" ctl
	timeout 120 cat bad/wait > /dev/null 2>&1
	like "$name" "$(cat bad/status bad/error)" "queued
$pattern"
	rmdir bad
}
failing "404" "$U/none" "* ENOENT *import: fetch: $U/none: the server has no such file (404)"
failing "403" "$U/a.raw?status=403" "* EACCES *(403)"
failing "a loop of redirects" "$U/a.raw?loop" "* ELOOP *"
failing "a redirect to a file" "$U/a.raw?to=file:///etc/passwd" "* EACCES *redirect is not followed*"
failing "a redirect to the link" "$U/a.raw?to=http://169.254.169.254/" "* EACCES *169.254.169.254*"
failing "nobody listens" "http://127.0.0.1:1/x" "* ECONNREFUSED *"
failing "too large" "$U/a.raw?length=99999999" "* EFBIG *image-size-max*"
failing "a backing file" "$U/backing.qcow2" "* EINVAL *backing file*"
failing "a secret in the URL is not in the error" "http://me:hunter2@${U#http://}/none?token=t0ps3cret" "*no such file*"
cd /
sed -i 's/^import-ca.*/import-ca =/' "$STORE/config"
cloud_down
cloud_up
cd "$CLOUD/tenants/acme/images" || exit 99
failing "a certificate nobody vouches for" "$TLS/a.raw" "* EPROTO *certificate*"

# secrets
put "create secret url=http://me:hunter2@${U#http://}/a.raw?user=me:hunter2" ctl
is "a URL with a password" "$(timeout 60 cat secret/wait) $(cat secret/url)" "active http://me:***@${U#http://}/a.raw?user=me:hunter2"
is "which stands nowhere" "$(grep -rl 'me:hunter2@' secret/ "$CLOUD/events" spec list json | wc -l)" 0
refused "*** is no password" "EINVAL*\*\*\**" put "create copy like=secret" ctl

# again
mkdir retry
put "import url=$U/later.raw" retry/ctl
timeout 60 cat retry/wait > /dev/null 2>&1
cp "$WORK/served/a.raw" "$WORK/served/later.raw"
put import retry/ctl
is "a failed import is made again without saying more" "$(timeout 60 cat retry/wait) $(cat retry/error)" "active "
mkdir up
put "import url=$U/none" up/ctl
timeout 60 cat up/wait > /dev/null 2>&1
cp "$WORK/served/a.raw" up/data
is "or data is written instead" "$(timeout 60 cat up/wait) $(cat up/url)" "active "
head -c 9M /dev/zero > "$WORK/large"
mkdir large
refused "image-size-max holds for what is written too" "EFBIG*8 MiB*image-size-max*" cp "$WORK/large" large/data

# files of this machine
put "create f1 url='file://$WORK/allowed/sub/my%20disk.raw'" ctl
is "a file below an allowed directory" "$(timeout 60 cat f1/wait)" active
works "equals it" cmp f1/data "$WORK/served/a.raw"
refused "one that is not below" "EACCES*import-dirs*" put "create f2 url=file://$WORK/served/a.raw" ctl
refused "by way of .." "EACCES*import-dirs*" put "create f2 url=file://$WORK/allowed/../served/a.raw" ctl
refused "nor of this cloud" "EACCES*" put "create f2 url=file://$CLOUD/tenants/acme/images/a/data" ctl
ln -s ../served/a.raw "$WORK/allowed/out"
failing "by way of a link" "file://$WORK/allowed/out" "* EACCES *leads out of*"
failing "by way of %2e%2e" "file://$WORK/allowed/sub/%2e%2e/%2e%2e/served/a.raw" "* EACCES *"
failing "none" "file://$WORK/allowed/none" "* ENOENT *"

# an image damaged on disk
put "create frail url=$U/a.qcow2" ctl
timeout 60 cat frail/wait > /dev/null
file=$(find "$STORE/images" -name '*.img' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
cp "$file" "$WORK/whole"
damaged() { # NAME: it is made anew, of the same bytes, when a server is to stand on it
	put "create d1 flavor=m1.tiny image=frail network=lan" ../servers/ctl
	until_true 90 eval 'ls "$STORE"/servers/*/disk.qcow2 || [ "$(cat ../servers/d1/status)" = ERROR ]'
	is "$1" "$(cmp "$file" "$WORK/whole" 2>&1; head -n 1 ../servers/d1/error; ls "$STORE"/servers/*/disk.qcow2 | wc -l)" "
1"
	rmdir ../servers/d1
	timeout 60 cat ../servers/wait > /dev/null 2>&1
}
truncate -s 300000 "$file"
damaged "a base that was cut off"
dd if=/dev/zero of="$file" bs=4096 count=1 conv=notrunc 2> /dev/null
damaged "its header is lost"
dd if="$WORK/served/backing.qcow2" of="$file" bs=4096 count=1 conv=notrunc 2> /dev/null
damaged "its header is another's"
rm "$file"
damaged "it is not there"
put "create d1 flavor=m1.tiny image=frail network=lan" ../servers/ctl
until_true 90 eval 'ls "$STORE"/servers/*/disk.qcow2'
truncate -s 300000 "$file"
put "create d2 flavor=m1.tiny image=frail network=lan" ../servers/ctl
timeout 90 cat ../servers/d2/wait > /dev/null 2>&1
like "while a disk stands on it nothing is made anew, and the error names the image" "$(cat ../servers/d2/status ../servers/d2/error)" "ERROR
* EBADMSG *disk: the data of image 'frail' is damaged: it has 300000 bytes*"
rmdir ../servers/d1 ../servers/d2
timeout 60 cat ../servers/wait > /dev/null 2>&1
is "the others are as they were" "$(cat a/status; cmp a/data "$WORK/served/a.qcow2" && echo same)" "active
same"
works "servers begin as them" sh -c 'echo "create ok flavor=m1.tiny image=a host=sim" > ../servers/ctl; timeout 60 cat ../servers/ok/wait'
rmdir ../servers/ok

# a full disk
cd /
cloud_down
mkdir "$WORK/disk"
mount -t tmpfs -o size=12m tmpfs "$WORK/disk"
STORE=$WORK/disk/store
cloud_up 'import-hosts = 127.0.0.1' 'image-size-max = 900'
mkdir "$CLOUD/tenants/acme"
cd "$CLOUD/tenants/acme/images" || exit 99
head -c 14M /dev/urandom > "$WORK/served/big.raw"
failing "a full disk is said before it is full" "$U/big.raw" "* ENOSPC *no room*"
failing "or while it fills" "$U/big.raw?chunked" "* ENOSPC *no room*"
is "nothing is left of it" "$(left)" 0
put "create small url=$U/a.raw" ctl
is "what fits is taken" "$(timeout 60 cat small/wait)" active
cd /
cloud_down
umount "$WORK/disk"
finish
