# The grammar of ctl: words, lines, short writes, create, ensure, like=, delete, ids, last-result.
. "$(dirname "$0")/lib.sh"
cloud_up
cd "$CLOUD/flavors" || exit 99
SMALL='vcpus=1 ram=64'

# words
put "create 'a b' $SMALL" ctl
is "a quoted name" "$(cat 'a b/vcpus')" 1
put "create q1 $SMALL description='it is \"x\"'" ctl
is "double quotes inside single ones" "$(cat q1/description)" 'it is "x"'
put "create q2 $SMALL description=\"a \\\"b\\\" \$c\"" ctl
is "escaped quotes inside double ones" "$(cat q2/description)" 'a "b" $c'
put "create q3 $SMALL description=a\\ b\\\\c=d" ctl
is "backslashes, and = in a value" "$(cat q3/description)" 'a b\c=d'
put "create q4 $SMALL description=a#b # and a comment" ctl
is "# is a comment only where a word begins" "$(cat q4/description)" 'a#b'
printf '\t create   q5\t%s \r\n' "$SMALL" > ctl
is "blanks, tabs and CRLF" "$(cat q5/ram)" 64
works "a line that is only a comment" put '  # nothing' ctl
works "an empty line" put '' ctl
refused "a quote that is not closed" "EINVAL flavors/ctl: *quote*not closed*" put "create q6 $SMALL description='x" ctl
refused "no verb" "EINVAL flavors/ctl: *not a verb*" put 'create=x' ctl

# lines and writes
cat > ctl <<X
# three in one write
create l1 $SMALL

create l2 $SMALL
create l3 $SMALL
X
is "several lines in one write" "$(ls -d l1 l2 l3 | wc -l)" 3
is "ten commands in a write, the fourth wrong: what came before is taken, its repeat is refused" \
	"$(for i in 1 2 3 wrong 5 6 7 8 9 10; do echo "create t$i $([ $i = wrong ] && echo vcpus=0 || echo $SMALL)"; done | writes ctl)" "75 EINVAL"
is "... and nothing of the rest is done" "$(echo t*)" "t1 t2 t3"
is "... the error names the line" "$(head -n 1 ../last-error)" "EINVAL flavors/ctl: create twrong: vcpus: 0 is not in 1..1024"
fails "... cat tells it too" sh -c 'printf "create u1 vcpus=1 ram=64\ncreate u2 vcpus=x\ncreate u3 vcpus=1 ram=64\n" > "$0/in"; cat "$0/in" > ctl' "$WORK"
is "... having done the first" "$(echo u?)" u1
works "a write without a newline is a command" sh -c "printf 'create nonl $SMALL' > ctl"
is "... and done" "$(cat nonl/ram)" 64
is "a line cut off after complete ones waits for its rest" "$(python3 - <<'X'
import os
f = os.open("ctl", os.O_WRONLY)
a = b"create p1 vcpus=1 ram=64\ncreate p2 vcp"
print(os.write(f, a) == len(a), os.path.exists("p1"), os.path.exists("p2"))
print(os.write(f, b"us=1 ram=64\ncreate p3 vcpus=1 r"), os.path.exists("p2"), os.path.exists("p3"))
os.close(f)
X
)" "True True False
31 True False"
fails "... what never came is not guessed: p3 lacks its ram" test -e p3
is "... a rest that is right is done at close" "$(python3 - <<'X'
import os
f = os.open("ctl", os.O_WRONLY)
os.write(f, b"create p4 vcpus=1 ram=64\ncreate p5 vcpus=1 ram=64")
print(os.path.exists("p5"))
os.close(f)
print(os.path.exists("p5"))
X
)" "False
True"
is "70 KiB of lines are taken in whole lines, at most 64 KiB at once" "$(python3 - <<'X'
import os
line = b"# " + b"x" * 97 + b"\n"
data = line * 700 + b"create big vcpus=1 ram=64\n"
f = os.open("ctl", os.O_WRONLY)
n = os.write(f, data)
print(n <= 65536, n > 60000, n % 100)
while n < len(data):
    n += os.write(f, data[n:])
print(os.path.exists("big"))
X
)" "True True 0
True"
long() { printf 'create long %s description=%s%s' "$SMALL" "$(head -c 70000 /dev/zero | tr '\0' x)" "$1"; }
is "one line over 64 KiB" "$(long '
' | writes ctl)" E2BIG
is "... without a newline" "$(long '' | writes ctl)" E2BIG
is "... after one that is done" "$({ echo "create before $SMALL"; long '
'; } | writes ctl)" "29 E2BIG"
is "... and nothing of it is done" "$(echo before long)" "before long"
fails "... no long" test -e long
refused "a NUL byte" "EINVAL flavors/ctl: *NUL*" sh -c 'printf "create nul\\0 vcpus=1 ram=64\n" > ctl'

# reading
is "all that is read from ctl begins with #" "$(cat ctl l1/ctl ../ctl ../tenants/ctl ../tenants/admin/ctl | grep -vc '^#')" 0
like "it lists the verbs" "$(cat ctl)" "*# create *# ensure *# delete *"
like "... and the parameters" "$(cat ctl)" "*#   vcpus *"
before=$(cat spec list ../events)
for f in ctl l1/ctl ../ctl ../tenants/ctl ../tenants/admin/ctl; do cat "$f" > "$WORK/ctl"; works "writing $f back is accepted" sh -c 'cat "$0" > "$1"' "$WORK/ctl" "$f"; done
is "... and does nothing" "$(cat spec list ../events)" "$before"

# verbs and keys
refused "an unknown verb" "EINVAL flavors/ctl: *unknown verb 'explode'*create ensure delete*" put 'explode l1' ctl
refused "an unknown verb of an object" "EINVAL flavors/l1/ctl: *unknown verb 'explode'*" put explode l1/ctl
refused "an unknown key" "EINVAL flavors/ctl: create k1: *no parameter 'colour'*" put "create k1 $SMALL colour=red" ctl
fails "... leaves nothing" test -e k1
refused "what is read-only is no key" "EINVAL flavors/ctl: create k1: *id is not a parameter*" put "create k1 $SMALL id=7" ctl
refused "a key without a value" "EINVAL flavors/ctl: *vcpus*wants a value*" put "create k1 vcpus ram=64" ctl
refused "a key twice" "EINVAL flavors/ctl: *given twice*" put "create k1 vcpus=1 vcpus=2 ram=64" ctl
refused "a verb's parameter that it does not take" "EINVAL tenants/admin/ctl: *does not take 'all'*" put 'purge all' ../tenants/admin/ctl

# create, ensure, like=, delete
put "create $SMALL" ctl
like "create without a name chooses one" "$(cat ../last-result)" "flavors/flavor-*"
works "... and last-result leads there" test -d "../$(cat ../last-result)"
refused "create twice" "EEXIST flavors/ctl: create l1: *already a flavor 'l1'*" put "create l1 $SMALL" ctl
put "create big2 vcpus=4 ram=2G disk=10 description='the big one'" ctl
put "create big3 like=big2 ram=3G" ctl
is "create like=OTHER" "$(cat big3/vcpus big3/ram big3/disk big3/description | paste -sd' ')" "4 3072 10 the big one"
refused "like= an unknown one" "ENOENT flavors/ctl: create big4: *no flavor 'nobody'*" put "create big4 like=nobody" ctl
put "create big5 like=id:$(cat big2/id)" ctl
is "like= an id" "$(cat big5/ram)" 2048
put "ensure e1 $SMALL" ctl
is "ensure creates what is missing" "$(cat e1/ram)" 64
before=$(cat e1/json ../events; stat -c '%y' e1/*)
put "ensure e1 $SMALL" ctl
is "ensure changes nothing where all is equal" "$(cat e1/json ../events; stat -c '%y' e1/*)" "$before"
put "ensure e1 $SMALL public=false" ctl
is "ensure changes what may change" "$(cat e1/public)" false
refused "ensure names the key that may not" "EBUSY flavors/ctl: ensure e1: ram: *" put "ensure e1 public=true ram=128" ctl
is "... and changes nothing then" "$(cat e1/public e1/ram | paste -sd' ')" "false 64"
put "ensure id:$(cat e1/id) public=true" ctl
is "ensure by id" "$(cat e1/public)" true
is "... makes nothing" "$(ls -d id:* 2> /dev/null)" ""
works "delete" put 'delete e1' ctl
fails "... it is gone" test -e e1
refused "delete what is not there" "ENOENT flavors/ctl: delete e1: no flavor 'e1'*" put 'delete e1' ctl
refused "delete without a name" "EINVAL flavors/ctl: *NAME*" put delete ctl
id=$(cat l2/id)
works "delete id:UUID" put "delete id:$id" ctl
fails "... is gone" test -e l2
works "delete in the object's own ctl" put delete l3/ctl
fails "... is gone too" test -e l3

refused "an empty word" "EINVAL *does not take ''*" timeout 60 sh -c "echo 'purge confirm=admin \"\"' > ../tenants/admin/ctl"

# COLLECTION/NAME
cd ../tenants/admin || exit 99
sim_key "$WORK/me.pub"
works "COLLECTION/NAME in a tenant's ctl" put "create keys/me data='$(cat "$WORK/me.pub")'" ctl
is "... makes it" "$(cat keys/me)" "$(cat "$WORK/me.pub")"
works "... ensure" put "ensure keys/me data='$(cat "$WORK/me.pub")'" ctl
works "... delete" put 'delete keys/me' ctl
fails "... is gone" test -e keys/me
refused "... no such collection" "ENOENT tenants/admin/ctl: *no gadgets/*" put 'create gadgets/x' ctl
works "COLLECTION/NAME in the cloud's ctl" put "ensure flavors/top $SMALL" ../../ctl
works "... several steps down" put "create tenants/admin/images/deep" ../../ctl
is "last-result of it" "$(cat ../../last-result)" tenants/admin/images/deep
{ echo create images/r1; echo create images/r2; } > "$WORK/in"
cat "$WORK/in" > ctl
is "last-result is of the last line" "$(cat ../../last-result)" tenants/admin/images/r2
put 'create images/r3' ctl
setsid -w sh -c 'echo create images/r4 > ctl'
is "... of this session" "$(cat ../../last-result)" tenants/admin/images/r3
finish
