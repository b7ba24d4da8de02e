# Reading `wait` blocks until nothing runs any more, with an exit code; nothing else ever blocks because of it.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99

put 'create s1 flavor=m1.tiny image=tiny host=sim' servers/ctl
is "of a server it ends with its status" "$(timeout 60 cat servers/s1/wait)" ACTIVE
is "a second time at once" "$(timeout 60 cat servers/s1/wait)" ACTIVE
is "after the answer the file ends" "$(timeout 60 python3 -c '
import os
f = os.open("servers/s1/wait", os.O_RDONLY)
print(os.read(f, 100), os.read(f, 100))')" "b'ACTIVE\n' b''"
works "of a collection it ends" timeout 60 cat servers/wait
works "of a tenant it ends" timeout 60 cat wait
works "of the whole cloud it ends" timeout 60 cat "$CLOUD/wait"
works "wait-for the status it has answers at once" timeout 60 cat servers/s1/wait-for/ACTIVE
put stop servers/s1/ctl
is "wait-for a status that comes" "$(timeout 60 cat servers/s1/wait-for/SHUTOFF)" SHUTOFF
like "wait-for a word that is no status is ENOENT" "$(cat servers/s1/wait-for/FINE 2>&1)" "*No such file*"
mkdir servers/draft
is "a draft answers at once" "$(timeout 60 cat servers/draft/wait)" DRAFT
is "wait is not listed" "$(ls servers/s1 | grep -c wait)" 0

# an upload that is not closed is a task that runs as long as a test wants; that other programs inherit it and are killed does not matter
open_upload() { mkdir -p "images/$1" && exec 7> "images/$1/data" && head -c 100000 /dev/urandom >&7; }
close_upload() { exec 7>&-; }

open_upload slow
is "what runs blocks the reader of its wait" "$(timeout 1 cat images/slow/wait; echo $?)" 124
is "and of its collection's" "$(timeout 0.5 cat images/wait; echo $?)" 124
is "and of its tenant's" "$(timeout 0.5 cat wait; echo $?)" 124
is "and of the cloud's" "$(timeout 0.5 cat "$CLOUD/wait"; echo $?)" 124
works "but of no other collection's" timeout 60 cat servers/wait
is "a time-out leaves nothing behind: status is read at once" "$(timeout 60 cat images/slow/status)" saving
env --default-signal=INT cat images/slow/wait 7>&- > "$WORK/out" 2>&1 &
reader=$!
opened 1 images/slow/wait
sleep 0.3
kill -INT $reader
begin=$(date +%s%N)
wait $reader
is "Ctrl-C ends it" "$?" 130
is "at once" "$((($(date +%s%N) - begin) / 1000000000 < 10))" 1
for what in images/slow/wait images/wait wait "$CLOUD/wait" images/slow/wait-for/active; do
	timeout 90 cat "$what" 7>&- > "$WORK/got.$(echo "$what" | tr / _)" 2>&1 &
	echo $! >> "$WORK/pids"
done
opened 1 images/slow/wait && opened 1 images/wait && opened 1 acme/wait && opened 1 cloud/wait && opened 1 images/slow/wait-for/active
sleep 0.3
close_upload
ended=0
for pid in $(cat "$WORK/pids"); do wait "$pid" && ended=$((ended + 1)); done
is "when it ends all who wait are answered" "$ended" 5
is "with the status" "$(cat "$WORK/got.images_slow_wait" "$WORK/got.images_slow_wait-for_active")" "active
active"

open_upload gone
(timeout 60 cat images/gone/wait 7>&- > "$WORK/gone" 2>&1; echo "status $?" >> "$WORK/gone") &
reader=$!
(timeout 60 cat images/gone/wait-for/active 7>&- > "$WORK/gone-for" 2>&1; echo "status $?" >> "$WORK/gone-for") &
reader2=$!
opened 1 images/gone/wait && opened 1 images/gone/wait-for/active
sleep 0.3
rmdir images/gone
wait $reader $reader2
is "deletion ends it" "$(cat "$WORK/gone")" "deleted
status 0"
like "and wait-for what cannot come any more, with an error" "$(cat "$WORK/gone-for")" "*No such file*status 1"
close_upload

mkdir images/bad
put "md5:$(printf %032d 0)" images/bad/hash
head -c 100000 /dev/urandom > images/bad/data
like "after a failed task it fails with EIO" "$(timeout 60 cat images/bad/wait 2>&1)" "*Input/output error*"
like "the collection's too" "$(timeout 60 cat images/wait 2>&1)" "*Input/output error*"
like "the tenant's too" "$(timeout 60 cat wait 2>&1)" "*Input/output error*"
like "and says which" "$(cat images/error)" "*bad*"
works "another collection's does not" timeout 60 cat servers/wait
head -c 100000 /dev/urandom > "$WORK/good"
put "md5:$(md5sum < "$WORK/good" | cut -d' ' -f1)" images/bad/hash
cp "$WORK/good" images/bad/data
is "once it went well it prints the status again" "$(timeout 60 cat images/bad/wait)" active
works "and the collection's works again" timeout 60 cat images/wait

# 1,000 readers
open_upload crowd
cat > "$WORK/crowd.py" <<-'END'
	import collections, os, sys, threading
	threading.stack_size(65536)
	answers = collections.Counter()
	lock = threading.Lock()
	def reader():
	    try:
	        f = os.open("images/crowd/wait", os.O_RDONLY)
	        got = os.read(f, 4096).decode().strip()
	    except OSError as e:
	        got = e.strerror
	    with lock:
	        answers[got] += 1
	threads = [threading.Thread(target=reader) for _ in range(1000)]
	for t in threads: t.start()
	open(sys.argv[1], "w").close()
	for t in threads: t.join()
	print(*(f"{n} {a}" for a, n in answers.items()))
END
timeout 240 python3 "$WORK/crowd.py" "$WORK/started" 7>&- > "$WORK/answers" 2>&1 &
crowd=$!
until_true 60 test -e "$WORK/started"
opened 1000 images/crowd/wait
begin=$(date +%s%N)
works "with 1,000 blocked readers: a tenant is made" timeout 60 mkdir "$CLOUD/tenants/busy"
works "... listed" timeout 60 ls -lR "$CLOUD/tenants/busy"
works "... a server is created" timeout 60 sh -c "echo 'create s2 flavor=m1.tiny image=tiny host=sim' > servers/ctl"
works "... and becomes ACTIVE" timeout 60 cat servers/s2/wait
works "... and is deleted" timeout 60 rmdir servers/s2
works "... the tenant too" timeout 60 rmdir "$CLOUD/tenants/busy"
took=$((($(date +%s%N) - begin) / 1000000))
is "... in less than 30 s ($took ms)" "$((took < 30000))" 1
close_upload
wait $crowd
is "and all 1,000 get their answer" "$(cat "$WORK/answers")" "1000 active"

# the end of the process; perl, for cat and python repeat what EINTR ended
open_upload last
cd /
perl -e 'open(F, "<", $ARGV[0]) or die; $n = sysread(F, $b, 100); print defined $n ? "read $n\n" : $!{EINTR} ? "EINTR\n" : "$!\n"' \
	"$CLOUD/tenants/acme/images/last/wait" 7>&- > "$WORK/perl" 2>&1 &
reader=$!
opened 1 images/last/wait
sleep 0.3
kill -TERM "$(cloud_pid)"
begin=$(date +%s%N)
wait $reader
is "SIGTERM ends blocked reads with EINTR" "$(cat "$WORK/perl")" EINTR
close_upload
works "and the process ends" cloud_gone
is "within 20 s" "$((($(date +%s%N) - begin) / 1000000000 < 20))" 1
is "the mount is detached" "$(grep -c " $CLOUD " /proc/self/mountinfo)" 0
cloud_up
perl -e 'open(F, "<", $ARGV[0]) or die; 1 while $n = sysread(F, $b, 100); print defined $n ? "read $n\n" : $!{EINTR} ? "EINTR\n" : "$!\n"' \
	"$CLOUD/events-follow" > "$WORK/perl" 2>&1 &
reader=$!
opened 1 events-follow
sleep 0.3
umount -l "$CLOUD"
kill -TERM "$(cloud_pid)"
wait $reader
is "a reader of events-follow as well" "$(cat "$WORK/perl")" EINTR
cloud_gone
finish
