# Errors: the errno of each case, the sentence in error and last-error, by session, newest first.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
S=tenants/acme/servers/ctl

# each names what there is
refused "an unknown flavor" "ENOENT $S: create x: no flavor 'm9.huge'; there are m1.tiny m1.small m1.medium m1.large m1.xlarge" \
	put 'create x flavor=m9.huge image=tiny network=lan' servers/ctl
refused "an unknown image" "ENOENT $S: create x: no image 'win'; there are tiny" put 'create x flavor=m1.tiny image=win' servers/ctl
refused "an unknown network" "ENOENT $S: create x: no network 'wan'; there are lan" put 'create x flavor=m1.tiny image=tiny network=wan' servers/ctl
refused "an unknown host" "ENOENT $S: create x: no host 'mars'; there are *sim*" put 'create x flavor=m1.tiny image=tiny host=mars' servers/ctl
refused "an unknown key" "ENOENT $S: create x: no key 'me'; there are none" put 'create x flavor=m1.tiny image=tiny key=me' servers/ctl
fails "nothing of them is left" test -e servers/x
refused "an address outside" "EINVAL $S: create x: *10.9.9.9*" put 'create x flavor=m1.tiny image=tiny network=lan,address=10.9.9.9 host=sim' servers/ctl
refused "the gateway's" "EBUSY $S: create x: *gateway*" put 'create x flavor=m1.tiny image=tiny network=lan,address=10.0.0.1 host=sim' servers/ctl
put 'create s flavor=m1.tiny image=tiny network=lan,address=10.0.0.7 host=sim' servers/ctl
cat servers/s/wait > "$WORK/out"
refused "one that is taken" "EBUSY $S: create x: *10.0.0.7 is taken*" put 'create x flavor=m1.tiny image=tiny network=lan,address=10.0.0.7 host=sim' servers/ctl
put 1 quota/instances
refused "a quota" "EDQUOT $S: create x: quota of instances: 1 used, 1 asked, limit 1" put 'create x flavor=m1.tiny image=tiny host=sim' servers/ctl
put 10 quota/instances
refused "start of a running one" "EBUSY tenants/acme/servers/s/ctl: start: server 's' is ACTIVE; start wants SHUTOFF" put start servers/s/ctl
put disable "$CLOUD/hosts/sim/ctl"
put disable "$CLOUD/hosts/local/ctl"
refused "no host" "ENOSPC $S: create x: no host can take it: *local: *sim: disabled*" put 'create x flavor=m1.tiny image=tiny' servers/ctl
put enable "$CLOUD/hosts/sim/ctl"
refused "an image that is not there yet" "EBUSY $S: create x: image 'q' is queued, not active" sh -c 'mkdir images/q; echo "create x flavor=m1.tiny image=q host=sim" > servers/ctl'
refused "what this can never do" "EOPNOTSUPP tenants/acme/servers/s/networks*: *" ln -sr networks/lan servers/s/networks/more

# errno of calls
is "errno of each" "$(python3 - <<'X'
import errno, os
def said(f, *a):
    try:
        f(*a)
        return "-"
    except OSError as e:
        return errno.errorcode[e.errno]
def write(path, text):
    f = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(f, text)
    finally:
        os.close(f)
print(said(write, "servers/ctl", b"explode\n"), said(write, "servers/ctl", b"create a flavor=none\n"), said(write, "images/ctl", b"create tiny\n"),
      said(write, "servers/s/ctl", b"start\n"), said(write, "servers/s/status", b"x\n"), said(write, "servers/s/flavor", b"m1.small\n"),
      said(os.mkdir, "servers/s"), said(os.mkdir, "images/.x"), said(os.rmdir, "networks/lan"), said(os.rmdir, "../acme"), said(os.unlink, "servers/s/id"),
      said(os.mkdir, b"images/\xff"), said(os.mkdir, "images/" + "n" * 256), said(os.rename, "images/q", "servers/q"), said(os.stat, "servers/none"),
      said(os.link, "servers/s/id", "servers/s/id2"), said(os.symlink, "/etc/passwd", "servers/s/networks/x"), said(os.mkdir, "servers/s/new"),
      said(os.mkfifo, "servers/s/fifo"), said(open, "servers/new", "w"), said(os.rmdir, "servers/s/id"))
X
)" "EINVAL ENOENT EEXIST EBUSY EPERM EPERM EEXIST EINVAL EBUSY ENOTEMPTY EPERM EILSEQ ENAMETOOLONG EPERM ENOENT EPERM EINVAL EPERM EPERM EPERM ENOTDIR"

# error and last-error
refused "a refusal" "EBUSY tenants/acme/servers/s/ctl: start: *" put start servers/s/ctl
like "... stands in the object's error" "$(cat servers/s/error)" "????-??-??T??:??:??Z EBUSY req-????????-????-????-????-???????????? start: server 's' is ACTIVE*"
is "... in one line" "$(wc -l < servers/s/error)" 1
refused "a refusal of a collection" "EINVAL *" put explode networks/ctl
like "... stands in the collection's error" "$(cat networks/error)" "????-??-??T??:??:??Z EINVAL req-* explode: unknown verb*"
is "an object without one" "$(cat networks/lan/error)" ""
put 'create other flavor=m1.tiny image=tiny host=sim' servers/ctl
is "... is not told another's" "$(cat servers/other/error)" ""
like "newest first" "$(sed -n 1,2p "$CLOUD/last-error" | cut -c1-40 | paste -sd'|')" "EINVAL tenants/acme/networks/ctl:*|EBUSY tenants/acme/servers/s/ctl:*"
mine=$(head -n 1 "$CLOUD/last-error")
is "another session has its own" "$(setsid -w sh -c 'cat "$0/last-error"; echo explode > ctl 2> /dev/null; cut -c1-24 "$0/last-error"' "$CLOUD" 2> /dev/null)" "
EINVAL tenants/acme/ctl:"
is "... and leaves mine" "$(head -n 1 "$CLOUD/last-error")" "$mine"
for i in $(seq 120); do put "wrong$i" servers/ctl 2> /dev/null; done
is "up to 100 are kept" "$(wc -l < "$CLOUD/last-error")" 100
like "... the newest" "$(head -n 1 "$CLOUD/last-error")" "*wrong120*"
like "... the oldest of them" "$(tail -n 1 "$CLOUD/last-error")" "*wrong21:*"
is "each is one line, whatever the name" "$(mkdir 'images/a
b' 2> /dev/null; head -n 1 "$CLOUD/last-error" | grep -c '^EINVAL .*control character')" 1
is "what is merely not there is nobody's mistake" "$(head -n 1 "$CLOUD/last-error" > "$WORK/1"; ls nowhere servers/none 2> /dev/null; head -n 1 "$CLOUD/last-error" | cmp - "$WORK/1" && echo same)" same

# shells see it
for shell in bash dash 'busybox sh'; do
	fails "$shell: echo" $shell -c 'echo explode > ctl'
	fails "$shell: echo, then &&" $shell -c 'echo explode > ctl && true'
	fails "$shell: here-document" $shell -c 'cat > ctl <<X
explode
X'
	fails "$shell: printf" $shell -c 'printf "explode\n" > ctl'
	fails "$shell: append" $shell -c 'echo explode >> ctl'
	fails "$shell: mkdir" $shell -c 'mkdir images/.x'
	works "$shell: and nothing when it is right" $shell -c 'echo "# right" > ctl'
done
like "bash says which" "$(bash -c 'echo "create x flavor=none" > servers/ctl' 2>&1)" "*write error: No such file or directory"
fails "python" python3 -c 'with open("ctl", "w") as f: f.write("explode\n")'
like "... says which" "$(python3 -c 'with open("servers/ctl", "w") as f: f.write("create x flavor=none\n")' 2>&1 | tail -n 1)" "FileNotFoundError*"
fails "tee" sh -c 'echo explode | tee ctl > "$0"' "$WORK/out"
fails "dd" sh -c 'echo explode | dd of=ctl 2> "$0"' "$WORK/out"
fails "cp" sh -c 'echo explode > "$0/in"; cp "$0/in" ctl' "$WORK"

# error is what the last command said
refused "a refusal of a host" "EINVAL *" put 'enable x=1' "$CLOUD/hosts/sim/ctl"
like "... stands in its error" "$(cat "$CLOUD/hosts/sim/error")" "* EINVAL req-* enable: *"
put enable "$CLOUD/hosts/sim/ctl"
is "... until a command that has no task goes well" "$(cat "$CLOUD/hosts/sim/error")" ""
refused "a refused start" "EBUSY *" put start servers/s/ctl
put stop servers/s/ctl
is "... nor does it outlive one that has" "$(cat servers/s/wait servers/s/error)" SHUTOFF
put start servers/s/ctl
cat servers/s/wait > "$WORK/out"
refused "a refusal of a collection" "EINVAL *" put explode networks/ctl
put 'create lan9 cidr=10.9.0.0/24' networks/ctl
is "... nor a collection's the next command there" "$(cat networks/error)" ""
finish
