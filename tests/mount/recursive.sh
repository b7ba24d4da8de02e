# Recursive deletes: rm -rf, find -delete, rmtree and rsync --delete remove and detach nothing; what is meant works.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
sim_key keys/me
put 'create s flavor=m1.tiny image=tiny network=lan key=me host=sim metadata/k=v metadata/l=w' servers/ctl
cat servers/s/wait > "$WORK/out"
mkdir servers/draft
put lan servers/draft/network
ln -sr networks/lan servers/draft/networks/second
put 7 images/tiny/properties/p

state() { (cd "$CLOUD" && find . -path ./events -prune -o -print | sort; cat tenants/acme/spec tenants/acme/list tenants/acme/servers/list tenants/list; cat tenants/acme/servers/*/status;
	ls -l tenants/acme/servers/draft/networks; grep -c delete events); }
before=$(state)
nothing() { is "$1: nothing is gone" "$(diff <(printf '%s\n' "$before") <(state))" ""; }
mkdir "$WORK/empty"
rmtree='import shutil, sys
shutil.rmtree(sys.argv[1], ignore_errors=True)'
unlinkat='
import os, sys
for top, dirs, files in os.walk(sys.argv[1], topdown=False):
    for name in files:
        try: os.unlink(os.path.join(top, name))
        except OSError: pass
    for name in dirs:
        path = os.path.join(top, name)
        try: os.unlink(path) if os.path.islink(path) else os.rmdir(path)
        except OSError: pass'

for what in tenants/acme tenants/acme/servers tenants/acme/servers/s tenants/acme/servers/draft tenants/acme/keys tenants; do
	cd "$CLOUD" || exit 99
	fails "rm -rf $what" rm -rf "$what"
	like "... last-error says why" "$(cat last-error)" "*recursive delete*use rmdir, delete or purge*"
	nothing "rm -rf $what"
	fails "find $what -delete" find "$what" -delete
	nothing "find $what -delete"
	python3 -c "$rmtree" "$what"
	nothing "rmtree $what"
	python3 -c "$unlinkat" "$what"
	nothing "os.walk from below $what"
	rsync -a --delete "$WORK/empty/" "$what/" > /dev/null 2>&1
	nothing "rsync -a --delete to $what"
done
for tool in 'busybox rm -rf' 'rm -r --' 'rm -rf --no-preserve-root'; do
	fails "$tool tenants/acme" $tool tenants/acme
	nothing "$tool"
done
fails "rm -rf *" sh -c 'cd tenants/acme && rm -rf *'
nothing "rm -rf *"
fails "rm -rf servers/*" sh -c 'cd tenants/acme && rm -rf servers/*'
nothing "rm -rf servers/*"
fails "rm of a control file" rm -f tenants/acme/servers/s/status
like "... says why" "$(head -n 1 last-error)" "EPERM tenants/acme/servers/s/status: *control file*"
nothing "rm of a control file"
fails "rmdir of a part" rmdir tenants/acme/servers/s/metadata
nothing "rmdir of a part"

# the shell that ran all this may still say what it means
cd "$CLOUD/tenants/acme" || exit 99
works "rm of a server's metadata" rm servers/s/metadata/k
fails "... it is gone" test -e servers/s/metadata/k
works "rm of a link" rm servers/draft/networks/second
is "... is detached" "$(cat servers/draft/network)" lan
works "rm of a property" rm images/tiny/properties/p
works "rm of a key that a server was given" rm keys/me
works "rm -f of what is not there" rm -f servers/s/metadata/none
works "rm -rf of all metadata empties it, and says that it stays" sh -c 'echo x > servers/s/metadata/m && ! rm -rf servers/s/metadata 2> /dev/null && test ! -e servers/s/metadata/m && test -d servers/s/metadata'
put w servers/s/metadata/l
works "find with a name and -delete" find servers/s/metadata -name l -delete
works "rmdir of several" rmdir servers/s servers/draft
is "... they go" "$(cat servers/wait; ls -d servers/s servers/draft 2> /dev/null)" "$(cat servers/wait)"
works "rmdir after a refused rm in the same process" python3 -c '
import os
try: os.unlink("networks/lan/cidr")
except PermissionError: pass
os.rmdir("images/tiny")'
works "a removed and a new one at once" sh -c 'rmdir networks/lan && mkdir networks/lan'
finish
