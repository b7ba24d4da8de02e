# make install and what it brings: the program, the manual, the shell's completion, the unit; make uninstall takes the same away.
. "$(dirname "$0")/lib.sh"
B=$(dirname "$CIRRUSFS")
make() { command make --no-print-directory -C "$TOP" O="$B" TREE="$WORK/tree" "$@"; }
files() { find "$1" -type f -printf '%m %P\n' | sort; }

# what it brings
mkdir "$WORK/root dir"
works "make install with DESTDIR, below a umask" sh -c 'umask 077; "$@"' sh make --no-print-directory -C "$TOP" O="$B" TREE="$WORK/tree" \
	install DESTDIR="$WORK/root dir" PREFIX=/usr
at="$WORK/root dir/usr"
works "the program is the one that was built" cmp "$at/bin/cirrusfs" "$CIRRUSFS"
for page in $("$CIRRUSFS" help man); do
	is "the manual's page $page" "$(stat -c %a "$at/share/man/man${page##*.}/$page")" 644
done
is "and no other" "$(find "$at/share/man" -type f | wc -l)" "$("$CIRRUSFS" help man | wc -l)"
for file in share/bash-completion/completions/cirrusfs lib/systemd/system/cirrusfs.service share/doc/cirrusfs/README.md share/doc/cirrusfs/operating.md \
	share/doc/cirrusfs/tree.md; do
	is "$file" "$(stat -c %a "$at/$file")" 644
done
is "everybody may read it" "$(find "$WORK/root dir" ! -perm -444 -o -type d ! -perm -555 | head -n 3)" ""
is "nothing else" "$(files "$at" | cut -d' ' -f2 | grep -cvE '^(bin/cirrusfs|share/man/|share/doc/cirrusfs/|share/bash-completion/completions/cirrusfs|lib/systemd/system/cirrusfs.service)')" 0
is "the unit names the program's place" "$(grep -c '^ExecStart=/usr/bin/cirrusfs ' "$at/lib/systemd/system/cirrusfs.service")" 1
echo mine > "$at/share/doc/cirrusfs/mine"
works "make uninstall" make uninstall DESTDIR="$WORK/root dir" PREFIX=/usr
is "leaves what is not its own, and nothing else" "$(find "$WORK/root dir" -type f)" "$at/share/doc/cirrusfs/mine"
works "twice" make uninstall DESTDIR="$WORK/root dir" PREFIX=/usr

# installed for real, in a /usr/local of its own
mkdir "$WORK/local" && mount --bind "$WORK/local" /usr/local
works "make install" make install
is "the program is found" "$(command -v cirrusfs)" /usr/local/bin/cirrusfs
like "and runs" "$(cirrusfs --version)" "cirrusfs [0-9]*"

# the manual
for page in /usr/local/share/man/man*/*; do
	is "mandoc has nothing against ${page##*/}" "$(mandoc -T lint -W warning "$page")" ""
	text=$(MANWIDTH=100 mandoc -T utf8 "$page" | col -b)
	name=${page##*/}
	like "it has a name and refers to others" "$text" "*NAME*${name%.*} - *SEE ALSO*cirrusfs*(*)*"
done
page() { mandoc -T utf8 /usr/local/share/man/man*/"$1" | col -b | tr -s ' \n' ' '; }
for command in $("$CIRRUSFS" help complete ''); do
	usage=$("$CIRRUSFS" "$command" --help | sed -n '1s/^usage: //p')
	is "cirrusfs-$command(1) has the usage of --help" "$(page "cirrusfs-$command.1" | grep -cF " $usage ")" 1
	is "cirrusfs(1) too" "$(page cirrusfs.1 | grep -cF "$usage")" 1
done
for key in $("$CIRRUSFS" help settings | sed -n 's/^| `\([^`]*\)`.*/\1/p'); do
	is "cirrusfs-config(5) has $key" "$(page cirrusfs-config.5 | grep -cF " $key ")" 1
done
is "what is shown of code can be copied: no hyphens that are none" "$(mandoc -T utf8 /usr/local/share/man/man*/* | grep -c '‐')" 0
works "a page without its number" "$CIRRUSFS" help man cirrusfs-mount
fails "a page that is none" "$CIRRUSFS" help man cirrusfs-none

# completion, as bash does it: fills COMPREPLY for the words that were typed
cat > "$WORK/complete" << 'SCRIPT'
. /usr/share/bash-completion/bash_completion
_completion_loader cirrusfs
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }
$(complete -p cirrusfs | sed 's/.*-F \([^ ]*\).*/\1/') "$1" "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}" | sort -u | paste -sd ' '
SCRIPT
completes() { # NAME WANTED WORD...
	name=$1 wanted=$2
	shift 2
	is "completion: $name" "$(XDG_DATA_DIRS=/usr/local/share:/usr/share bash "$WORK/complete" cirrusfs "$@" 2> /dev/null)" "$wanted"
}
cd "$WORK" || exit 99
mkdir places places/one places/two && touch places/file
"$CIRRUSFS" init "$STORE" > /dev/null && echo 'virt-type = qemu' >> "$STORE/config"
echo "$STORE $CLOUD fuse.cirrusfs noauto 0 0" > fstab && mount --bind fstab /etc/fstab
completes "the commands" "$("$CIRRUSFS" --help | sed -n 's/^  cirrusfs \([a-z]*\) .*/\1/p' | sort | paste -sd ' ')" ""
completes "one of them" mount mou
completes "its options" "--help -f -o" mount -
completes "a store of fstab" "$STORE" mount "$STORE"
completes "a place of fstab" "$CLOUD" mount "$STORE" "$CLOUD"
completes "directories" "places/one places/two" mount "$STORE" places/
completes "directories behind an option" "places/one places/two" mount -f places/
completes "an option of mount" "nofail" mount -o nof
completes "another behind a comma" "nofail,_netdev" mount -o nofail,_
completes "what help knows" "$({ "$CIRRUSFS" help complete ''; printf 'man\nsettings\ntree\n'; } | sort | paste -sd ' ')" help ""
completes "pages of the manual" "cirrusfs-config.5" help man cirrusfs-conf
completes "nothing behind the last" "" init /a ""
completes "a store behind none of the commands" "places/one places/two" "$STORE" places/
completes "nothing for a command that is none" "" explode -
"$CIRRUSFS" mount "$STORE" "$CLOUD" && : > fstab
completes "a store that is mounted" "$STORE" doctor "$STORE"
cloud_down

# the unit
unit=/usr/local/lib/systemd/system/cirrusfs.service
if command -v systemd-analyze > /dev/null; then
	is "systemd has nothing against the unit" "$(systemd-analyze verify $unit 2>&1 | grep -v "man cirrusfs")" ""
fi
like "what stops it stops the process alone" "$(cat $unit)" "*KillMode=process*"
# as systemd runs it: the words of ExecStart, the environment, a socket to say READY to
cat > "$WORK/unit.py" << 'SCRIPT'
import os, re, signal, socket, subprocess, sys
text = open(sys.argv[1]).read()
env = dict(w.split("=", 1) for w in re.search("^Environment=(.*)$", text, re.M).group(1).split())
env.update(STORE=sys.argv[2], MOUNTPOINT=sys.argv[3])
words = [re.sub(r"\$\{(\w+)\}", lambda m: env[m.group(1)], w) for w in re.search("^ExecStart=(.*)$", text, re.M).group(1).split()]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = "\0cfs-test" if sys.argv[4] == "abstract" else sys.argv[2] + ".notify"
s.bind(name)
s.settimeout(60)
p = subprocess.Popen(words, env=dict(os.environ, NOTIFY_SOCKET=name.replace("\0", "@")))
print(s.recv(100).decode(), os.path.exists(sys.argv[3] + "/version"))
p.send_signal(signal.SIGTERM)
print(s.recv(100).decode(), p.wait(60))
SCRIPT
is "it says when it serves, and ends well with SIGTERM" "$(python3 "$WORK/unit.py" $unit "$STORE" "$CLOUD" file 2> "$WORK/unit.log")" "$(printf 'READY=1 True\nSTOPPING=1 0')"
is "by an abstract socket too" "$(python3 "$WORK/unit.py" $unit "$STORE" "$CLOUD" abstract 2>> "$WORK/unit.log")" "$(printf 'READY=1 True\nSTOPPING=1 0')"
fails "what cannot be printed is an error" sh -c '"$0" help tree > /dev/full' "$CIRRUSFS"
works "make uninstall" make uninstall
is "nothing is left" "$(find /usr/local -type f)" ""
finish
