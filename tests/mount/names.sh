# Names: which are good, how those with blanks are shown, renaming.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99

refused "a newline in a name" "EINVAL *control character*" mkdir "images/a
b"
refused "a tab" "EINVAL *control character*" mkdir "images/a	b"
refused "DEL" "EINVAL *control character*" mkdir "$(printf 'images/a\177')"
refused "a control character in ctl" "EINVAL tenants/acme/images/ctl: *control character*" sh -c 'printf "create a\001b\n" > images/ctl'
refused "... quoted" "EINVAL tenants/acme/images/ctl: *control character*" sh -c "printf \"create 'a\\tb'\\n\" > images/ctl"
n255=$(head -c 255 /dev/zero | tr '\0' n)
works "a name of 255 bytes" mkdir "images/$n255"
is "... is there" "$(cat "images/$n255/status")" queued
works "... goes" rmdir "images/$n255"
refused "a name of 256 bytes" "ENAMETOOLONG *256 bytes*" mkdir "images/${n255}n"
is "... has that errno" "$(mkdir "images/${n255}n" 2>&1 | grep -c 'File name too long')" 1
refused "... in ctl" "ENAMETOOLONG tenants/acme/images/ctl: *256 bytes*" put "create ${n255}n" images/ctl
for x in ctl list json README spec error wait by-id; do
	works "'$x' is the directory's own" sh -c '! mkdir "images/$0" 2> /dev/null' "$x"
	refused "... in ctl too" "EINVAL tenants/acme/images/ctl: *'$x' is a name that images/ itself answers*" put "create $x" images/ctl
done
refused "a name that begins with a dot" "EINVAL *begin with a dot*" mkdir images/.x
refused "... in ctl" "EINVAL tenants/acme/images/ctl: *begin with a dot*" put "create .x" images/ctl
refused "... '..'" "EINVAL tenants/acme/images/ctl: *" put "create .." images/ctl
refused "an empty name" "EINVAL tenants/acme/images/ctl: *empty*" put "create ''" images/ctl
refused "a slash" "EINVAL tenants/acme/images/ctl: *slash*" put "create a/b" images/ctl
works "UTF-8" mkdir "images/später ☁"
is "... is there" "$(cat "images/später ☁/status")" queued
refused "invalid UTF-8" "EILSEQ *not valid UTF-8*" mkdir "$(printf 'images/\377x')"
is "... has that errno" "$(mkdir "$(printf 'images/\377x')" 2>&1 | grep -c 'Invalid or incomplete multibyte')" 1
refused "... in ctl" "EILSEQ tenants/acme/images/ctl: *not valid UTF-8*" sh -c 'printf "create \377x\n" > images/ctl'
refused "an overlong sequence" "EILSEQ *" mkdir "$(printf 'images/\300\257')"
refused "half of a surrogate" "EILSEQ *" mkdir "$(printf 'images/\355\240\200')"
refused "a name that begins as an id does" "EINVAL *" mkdir images/id:x
for x in '-rf' '*' '$HOME' 'a;b' "it's" 'a=b' 'say "x"' 'back\slash' '#x' 'a:b'; do
	works "mkdir of $x" mkdir -- "images/$x"
	works "... and rmdir" rmdir -- "images/$x"
done
works "names differ by case" mkdir images/Tiny

# blanks
mkdir "networks/my lan"
put 10.7.0.0/24 "networks/my lan/cidr"
put create "networks/my lan/ctl"
put "create 'my server' flavor=m1.tiny image=tiny network='my lan' host=sim" servers/ctl
is "a server with a blank" "$(cat 'servers/my server/wait')" ACTIVE
is "addresses quote a blank" "$(cat 'servers/my server/addresses')" "'my lan' 10.7.0.11"
like "events quote it" "$(grep 'my server.* create ok ' events)" "????-??-??T??:??:??Z acme 'tenants/acme/servers/my server' create ok *"
is "... so that the third field is the path" "$(grep 'my server' events | tail -n 1 | python3 -c 'import shlex; print(shlex.split(input())[2])')" "tenants/acme/servers/my server"
mkdir "$CLOUD/hosts/my sim"
put test:///default "$CLOUD/hosts/my sim/uri"
put create "$CLOUD/hosts/my sim/ctl"
cat "$CLOUD/hosts/my sim/wait" > "$WORK/out"
put "create s2 flavor=m1.tiny image=tiny network='my lan,address=10.7.0.50' host='my sim'" servers/ctl
is "... in a list of a network and an address" "$(cat servers/s2/wait servers/s2/addresses | paste -sd' ')" "ACTIVE 'my lan' 10.7.0.50"
is "schedule quotes it" "$(tail -n 1 servers/s2/schedule)" "'my sim' chosen"
is "a row of list has its columns" "$(awk -F'\t' 'NR == 1 { n = NF } NF != n' servers/list)" ""
mkdir "$CLOUD/tenants/two words"
works "a tenant with a blank" mkdir "$CLOUD/tenants/two words/images/x"
like "events quote that" "$(tail -n 1 "$CLOUD/tenants/two words/events")" "*Z 'two words' 'tenants/two words/images/x' create ok *"

# two tenants
mkdir "$CLOUD/tenants/other"
works "the same name in two tenants" mkdir "$CLOUD/tenants/other/images/tiny"
fails "are two things" cmp -s images/tiny/id "$CLOUD/tenants/other/images/tiny/id"
refused "one tenant's names are unknown in another" "ENOENT tenants/other/servers/ctl: *no network 'lan'*" \
	put "create s flavor=m1.tiny image=tiny network=lan" "$CLOUD/tenants/other/servers/ctl"
refused "... and its ids" "ENOENT tenants/other/servers/ctl: *" \
	put "create s flavor=m1.tiny image=id:$(cat images/tiny/id)" "$CLOUD/tenants/other/servers/ctl"

# mv
id=$(cat servers/s2/id) inode=$(stat -c %i servers/s2)
works "mv renames" mv servers/s2 servers/s3
is "... the id stays" "$(cat servers/s3/id)" "$id"
is "... and the inode" "$(stat -c %i servers/s3)" "$inode"
fails "... the old name is free" test -e servers/s2
like "... the link at its host follows" "$(ls "$CLOUD/hosts/my sim/servers/acme")" s3
like "... and the network's used-by" "$(cat 'networks/my lan/used-by')" "*tenants/acme/servers/s3*"
works "rename what others name" mv images/tiny images/small
is "... they say the new name" "$(cat servers/s3/image)" small
works "... and back" mv images/small images/tiny
refused "mv onto an existing one" "EEXIST *already an image*" mv -T images/Tiny images/tiny
refused "mv to a reserved name" "EINVAL *" python3 -c 'import os; os.rename("images/Tiny", "images/.hidden")'
is "mv into another collection is EPERM" "$(python3 -c '
import errno, os
for a, b in (("images/Tiny", "networks/Tiny"), ("images/Tiny", "../other/images/Tiny"), ("servers/s3", "images/Tiny/s3"), ("images/Tiny", "Tiny")):
    try:
        os.rename(a, b)
    except OSError as e:
        print(errno.errorcode[e.errno])')" "EPERM
EPERM
EPERM
EPERM"
fails "... so mv does not copy" mv images/Tiny ../other/images/
is "... nothing came there" "$(ls -d ../other/images/Tiny 2> /dev/null)" ""
works "... nothing went" test -d images/Tiny
refused "mv of a control file" "EPERM *" mv images/Tiny/format images/Tiny/farmat
refused "mv of a collection" "EPERM *" mv -T images pictures
finish
