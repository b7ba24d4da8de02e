#!/bin/sh
# make demo: from nothing to a guest that answers, with the commands a person would type, which are printed as they run.
# make demo-down: removes what the demo made.  Both may be stopped anywhere and run again.
# tools/demo.sh up|down   with STORE, CLOUD, CIRRUSFS (the program) and TINY (the guest's disk) in the environment.
# STORE/demo says that the demo made the store, and what else: "store-made" when it is complete, "cloud-made" for the directory.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
boot_seconds=240

say() { printf '# %s\n' "$*"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}
# Prints the command and runs it; when it fails, says why the cloud refused it.
run() {
	printf '\n$ %s\n' "$*"
	eval "$*" && return
	[ ! -e "$CLOUD/last-error" ] || printf '$ head -n 1 %s/last-error\n%s\n' "$CLOUD" "$(head -n 1 "$CLOUD/last-error")" >&2
	die "that failed; $hint"
}
# The same, and when the object's task failed its sentence is in its own file.
run_task() { # OBJECT COMMAND
	printf '\n$ %s\n' "$2"
	eval "$2" && return
	printf '$ cat %s/error\n' "$1" >&2
	cat "$1/error" "$CLOUD/health" >&2
	die "that failed; 'make demo$args' tries again, 'make demo-down$args' removes what there is"
}

# ---- what there is

marked() { grep -qsx "$1" "$STORE/demo"; }
mark() { marked "$1" || echo "$1" >> "$STORE/demo" || die "cannot write to $STORE"; }
# The kernel's word, which does not ask the file system: a dead one is listed too.
listed() { awk -v at="$1" '$5 == at && / - fuse\.cirrusfs / { found = 1 } END { exit !found }' /proc/self/mountinfo; }
answers() { listed "$1" && [ "$(timeout 20 cat "$1/version" 2> /dev/null)" ]; }
# Where the store is mounted by a living process; nothing when it is not.
mounted_at() {
	[ -s "$STORE/lock" ] || return 0
	read -r pid at < "$STORE/lock"
	[ -n "$at" ] && kill -0 "$pid" 2> /dev/null && answers "$at" && printf '%s\n' "$at"
	return 0
}
status() { cat "$1/status" 2> /dev/null; }
# A place without a name for its last part yet is one, too; a dead mount is one.
absolute() { printf '%s/%s\n' "$(realpath -m -- "$(dirname -- "$1")")" "$(basename -- "$1")" | sed 's,^//,/,'; }

look_around() {
	[ "$(id -u)" = 0 ] || die "it mounts and runs guests: run it as root (sudo make demo)"
	for name in STORE CLOUD CIRRUSFS TINY; do
		value=
		eval "value=\${$name:-}"
		case $value in
		'' | / | *[!A-Za-z0-9/._+@%,:=-]*) die "$name='$value' is no path for a demo (letters, digits and ._+-, not empty, not /)" ;;
		esac
	done
	args=
	hint="run it again when the cause is gone"
	[ "$STORE" = /var/lib/cirrusfs-demo ] || args="$args STORE=$STORE"
	[ "$CLOUD" = /cloud ] || args="$args CLOUD=$CLOUD"
	STORE=$(absolute "$STORE")
	CLOUD=$(absolute "$CLOUD")
	case $CLOUD/ in "$STORE"/*) die "CLOUD must not be inside STORE" ;; esac
	case $STORE/ in "$CLOUD"/*) die "STORE must not be inside CLOUD" ;; esac
}

# ---- up

make_store() {
	if marked store-made; then
		say "the store $STORE is there"
		return
	fi
	if [ ! -e "$STORE/demo" ] && [ -d "$STORE" ] && [ -n "$(ls -A "$STORE")" ]; then
		die "$STORE is there, and the demo did not make it; choose another place with STORE="
	fi
	mkdir -p "$STORE" && echo '# made by make demo; make demo-down removes this store' > "$STORE/demo" || die "cannot make $STORE"
	rm -f "$STORE"/state.db*	# of an init that was stopped half way
	run "$CIRRUSFS init $STORE"
	mark store-made
}

mount_store() {
	at=$(mounted_at)
	if [ "$at" = "$CLOUD" ]; then
		say "it is mounted at $CLOUD"
		return
	fi
	[ -z "$at" ] || die "the store $STORE is mounted at $at; use CLOUD=$at, or make demo-down STORE=$STORE first"
	answers "$CLOUD" && die "another cloud is mounted at $CLOUD; choose another place with CLOUD="
	if ! listed "$CLOUD"; then
		if [ ! -d "$CLOUD" ]; then
			mark cloud-made
			run "mkdir -p $CLOUD"
		elif [ -n "$(ls -A "$CLOUD")" ]; then
			die "$CLOUD is not empty; choose another place with CLOUD="
		fi
	fi
	run "$CIRRUSFS mount $STORE $CLOUD"
}

make_image() {
	[ "$(status images/tiny)" != saving ] || cat images/tiny/wait > /dev/null	# of a cp that was stopped
	case $(status images/tiny) in
	active) say "the image tiny is there" ;;
	*)
		[ -d images/tiny ] || run "mkdir images/tiny"
		run "cp $TINY images/tiny/data"
		run_task images/tiny "cat images/tiny/wait" ;;
	esac
}

make_network() {
	case $(status networks/lan) in
	ACTIVE) say "the network lan is there" && return ;;
	'') run "echo 'create lan cidr=10.0.0.0/24' > networks/ctl" ;;
	DRAFT) run "echo 'cidr=10.0.0.0/24' > networks/lan/spec" && run "echo create > networks/lan/ctl" ;;
	ERROR) run "echo create > networks/lan/ctl" ;;
	esac
	run_task networks/lan "cat networks/lan/wait"
}

make_server() {
	case $(status servers/web1) in
	ACTIVE) say "the server web1 is there" ;;
	'') run "echo 'create web1 flavor=m1.tiny image=tiny network=lan' > servers/ctl" ;;
	SHUTOFF) run "echo start > servers/web1/ctl" ;;
	ERROR) run "echo create > servers/web1/ctl" ;;
	esac
	run_task servers/web1 "cat servers/web1/wait"
}

# Until the guest answers.  A machine that has just been mounted again may find out only now that its guest is off.
await_guest() {
	address=$(awk 'NR == 1 { print $2 }' servers/web1/addresses)
	netns=$(cat networks/lan/netns)
	[ -n "$address" ] && [ -n "$netns" ] || die "web1 has no address: $(cat servers/web1/error)"
	end=$(($(date +%s) + boot_seconds))
	dots=
	until [ "$(ip netns exec "$netns" curl -s -m 3 "http://$address/" 2> /dev/null)" ]; do
		if [ "$(status servers/web1)" = SHUTOFF ] && [ "$(cat servers/web1/task)" = none ]; then
			[ -z "$dots" ] || echo
			dots=
			say "web1 is off"
			run "echo start > servers/web1/ctl"
			run_task servers/web1 "cat servers/web1/wait"
		elif [ "$(status servers/web1)" != ACTIVE ]; then
			die "web1 is $(status servers/web1): $(cat servers/web1/error)"
		fi
		if [ "$(date +%s)" -ge "$end" ]; then
			echo
			tail -n 20 servers/web1/console.log >&2
			die "web1 runs and has not answered in $boot_seconds s; above is the end of its console"
		fi
		[ -n "$dots" ] || printf '\n# the guest boots '
		printf .
		dots=yes
		sleep 1
	done
	[ -z "$dots" ] || echo
}

up() {
	look_around
	[ -x "$CIRRUSFS" ] || die "$CIRRUSFS is not there: make"
	[ -r "$TINY" ] || die "$TINY is not there: make guest"
	hint="make demo$args goes on from here, make demo-down$args removes what there is"
	trap 'printf "\n"; die "stopped; $hint"' INT TERM HUP
	make_store
	mount_store
	if [ -d "$CLOUD/tenants/acme" ]; then
		say "the tenant acme is there"
	else
		run "mkdir $CLOUD/tenants/acme"
	fi
	run "cd $CLOUD/tenants/acme"
	make_image
	make_network
	make_server
	await_guest
	run "cat servers/web1/addresses"
	run "grep tiny: servers/web1/console.log"
	run "ip netns exec \$(cat networks/lan/netns) curl -s http://$address/"
	run "cat $CLOUD/health"
	cat << END

The cloud stays mounted. To try next, as root (sudo -s):

    cd $CLOUD/tenants/acme; ls -l servers/web1; cat servers/list
    cat servers/README; cat servers/web1/ctl            what a server is; what may be done with it now
    echo stop > servers/web1/ctl; cat servers/web1/wait; cat servers/web1/history
    echo 'create web2 flavor=m9.huge image=tiny network=lan' > servers/ctl; cat $CLOUD/last-error
    cat spec                                            the whole tenant, as commands that build it again
    tail -f $CLOUD/events                               what happens, a line each

    make demo-down$args        stops the guest and removes all of it
END
}

# ---- down

# Those of the tenant that the demo made, by name and seen; whatever else was made since, by purge.
remove_tenant() {
	cd "$CLOUD/tenants/$1" || die "cannot enter $CLOUD/tenants/$1"
	if [ "$1" = acme ]; then
		for thing in servers/web1 networks/lan images/tiny; do
			[ ! -d "$thing" ] || run "rmdir $CLOUD/tenants/acme/$thing"
		done
	fi
	echo 'purge plan' > ctl || die "$(head -n 1 "$CLOUD/last-error")"
	[ -z "$(tr -d '\n' < purge)" ] || run "echo purge confirm='$1' > $CLOUD/tenants/'$1'/ctl"
	timeout 120 cat wait > /dev/null || die "$1 is not empty yet: $(cat error) $(cat "$CLOUD/health")"
	cd /
	[ "$1" = admin ] || run "rmdir $CLOUD/tenants/'$1'"
}

# What a store's name on this machine is in: namespaces, links, tables, qemu's arguments.
leftovers() {
	ip netns list | grep -o "^cfs$1[^ ]*" | sed 's/^/namespace /'
	ip -o link | grep -o "cfs$(printf %.6s "$1")[^:@ ]*" | sort -u | sed 's/^/link /'
	nft list tables 2> /dev/null | grep "cfs$1"
	pgrep -af "/run/cirrusfs/$1/|cirrusfs-dns/cfs$1" | sed 's/^/process /' | cut -c 1-100
	listed "$CLOUD" && echo "mount $CLOUD"
	awk -v at="/run/cirrusfs/$1/" 'index($5, at) == 1 { print "mount " $5 }' /proc/self/mountinfo
}

unmount() {
	read -r pid at < "$STORE/lock"
	hint="who stands or reads in $CLOUD has to leave it (fuser -vm $CLOUD); then make demo-down$args again"
	run "umount $CLOUD"
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		kill -0 "$pid" 2> /dev/null || return 0
		sleep 1
	done
	die "the process $pid does not end; its log is $STORE/log"
}

remove_store() {
	run "rm -rf --one-file-system $STORE"
	if [ "$1" = yes ] && [ -d "$CLOUD" ]; then
		rmdir "$CLOUD" || say "$CLOUD is not empty and stays"
	fi
}

down() {
	look_around
	if [ ! -e "$STORE" ]; then
		listed "$CLOUD" && die "there is no store at $STORE; what is mounted at $CLOUD is not the demo's"
		say "nothing is there"
		return
	fi
	[ -e "$STORE/demo" ] || die "the demo did not make $STORE, and will not remove it"
	trap 'printf "\n"; die "stopped; make demo-down$args goes on from here"' INT TERM HUP
	if marked store-made; then
		at=$(mounted_at)
		[ -z "$at" ] || CLOUD=$at
		[ -n "$at" ] || mount_store
		hash=$(cut -c 1-8 "$CLOUD/tenants/admin/id")
		ls "$CLOUD/tenants" | while read -r tenant; do
			[ ! -d "$CLOUD/tenants/$tenant" ] || remove_tenant "$tenant" || exit 1
		done || exit 1
		unmount
		left=$(leftovers "$hash")
		[ -z "$left" ] || die "these are left: $left"
		rm -rf --one-file-system "/run/cirrusfs/$hash"
		[ "$(ls -A /run/cirrusfs)" != qemu-cache ] || rm -rf /run/cirrusfs/qemu-cache	# the last store's
		rmdir /run/cirrusfs /run/cirrusfs-dns 2> /dev/null
	fi
	if marked cloud-made; then cloud_made=yes; else cloud_made=no; fi
	remove_store "$cloud_made"
	say "all of it is removed"
}

case ${1:-} in
up | down) "$1" ;;
*) die "usage: tools/demo.sh up|down (make demo, make demo-down)" ;;
esac
