# Objects that are files: keys, metadata, properties.  What makes, changes and replaces a file does so here.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
sim_key "$WORK/one.pub" one
sim_key "$WORK/two.pub" two

# keys
works "cp makes a key" cp "$WORK/one.pub" keys/me
works "... equal to what it was made of" cmp "$WORK/one.pub" keys/me
is "... with an id of its own" "$(grep -cE '^me	[0-9a-f-]{36}	' keys/list)" 1
id=$(sed -n 's/^me	//p' keys/list)
works "cp over it" cp "$WORK/two.pub" keys/me
works "... changes it" cmp "$WORK/two.pub" keys/me
is "... it is the same key" "$(sed -n 's/^me	//p' keys/list)" "$id"
works "cp -p" cp -p "$WORK/one.pub" keys/me
chmod 600 "$WORK/one.pub"
works "cp -p of a file of another mode" cp -p "$WORK/one.pub" keys/other
works "install" install -m 600 "$WORK/one.pub" keys/inst
works "install over it" install -m 644 "$WORK/two.pub" keys/inst
works "... replaces it" cmp "$WORK/two.pub" keys/inst
works "sed -i" sed -i 's/ two$/ three/' keys/inst
like "... changes its comment" "$(cat keys/inst)" "* three"
works "vim" vim -es -u NONE -c '%s/three/four/' -c wq keys/inst
like "... too" "$(cat keys/inst)" "* four"
works "mv renames" mv keys/inst keys/moved
works "mv over another" mv -f keys/moved keys/other
like "... replaces it" "$(cat keys/other)" "* four"
fails "... the old name is gone" test -e keys/moved
is "no scratch file is left" "$(ls -A keys | LC_ALL=C sort | paste -sd' ')" "README ctl error json list me other spec"
refused "what is no key" "EINVAL tenants/acme/keys/bad: *not an ssh public key*" sh -c 'echo hello > keys/bad'
refused "what is too large for one" "EFBIG tenants/acme/keys/bad: *" cp "$WORK/tiny.raw" keys/bad
until_true 60 test ! -e keys/bad
fails "... leaves nothing" test -e keys/bad
refused "a private key" "EINVAL tenants/acme/keys/me: *" sh -c 'ssh-keygen -q -t ed25519 -N "" -f "$0/k" && cp "$0/k" keys/me' "$WORK"
works "... leaves what was there" cmp "$WORK/one.pub" keys/me
refused "a damaged one" "EINVAL tenants/acme/keys/bad: *damaged*" sh -c 'echo ssh-ed25519 AAAA me > keys/bad'
refused "two keys in one" "EINVAL tenants/acme/keys/bad: *" sh -c 'cat "$0/one.pub" "$0/two.pub" > "$0/both" && cp "$0/both" keys/bad' "$WORK"
put 2 quota/key-pairs
refused "one more than the quota" "EDQUOT tenants/acme/keys/more: *quota of key-pairs: 2 used*limit 2*" cp "$WORK/one.pub" keys/more
until_true 60 test ! -e keys/more
is "... is not there" "$(ls keys/more 2> /dev/null; cat usage/key-pairs)" 2
put -1 quota/key-pairs
works "a refused key and a good one of that name at once" sh -c 'for i in 1 2 3 4 5 6 7 8; do ! echo bad > "keys/again$i" || exit 1; cp "$0/two.pub" "keys/again$i" || exit 1; done' "$WORK" 
works "... touch and a good one, too" sh -c 'for i in 1 2 3 4 5 6 7 8; do touch "keys/touch$i"; cp "$0/two.pub" "keys/touch$i" || exit 1; done' "$WORK"
sleep 0.2
is "... they stay" "$(cat keys/again? keys/touch? | sort -u)" "$(cat "$WORK/two.pub")"
works "rm" sh -c 'rm keys/me keys/other keys/again? keys/touch?'
is "usage falls" "$(cat usage/key-pairs)" 0

# metadata
mkdir servers/s
works "a value" put blue servers/s/metadata/colour
works "an empty one" sh -c ': > servers/s/metadata/none'
until_true 60 grep -q metadata/none= servers/s/spec
is "... is in the spec" "$(grep metadata servers/s/spec | sort | paste -sd' ')" "metadata/colour=blue metadata/none="
works "names of any kind" sh -c 'echo 1 > servers/s/metadata/list && echo 2 > servers/s/metadata/ctl && echo 3 > "servers/s/metadata/two words"'
is "... are kept" "$(cat servers/s/metadata/list servers/s/metadata/ctl 'servers/s/metadata/two words' | paste -sd' ')" "1 2 3"
refused "255 bytes are the most" "EINVAL tenants/acme/servers/s/metadata/long: *256 bytes; at most 255*" put "$(head -c 256 /dev/zero | tr '\0' x)" servers/s/metadata/long
until_true 60 test ! -e servers/s/metadata/long
fails "... more leave nothing" test -e servers/s/metadata/long
works "... 255 are taken" put "$(head -c 255 /dev/zero | tr '\0' x)" servers/s/metadata/long
works "mv over another" mv servers/s/metadata/long servers/s/metadata/colour
is "... replaces it" "$(wc -c < servers/s/metadata/colour)" 256
works "tee -a" sh -c 'echo red | tee -a servers/s/metadata/colour > "$0"' "$WORK/out"
is "... a value is replaced, not appended to" "$(cat servers/s/metadata/colour)" red
works "rm of all" rm servers/s/metadata/colour servers/s/metadata/none servers/s/metadata/list servers/s/metadata/ctl 'servers/s/metadata/two words'
is "... leaves none" "$(ls -A servers/s/metadata)" ""
refused "a directory in it" "EPERM *is a file*" mkdir servers/s/metadata/d
finish
