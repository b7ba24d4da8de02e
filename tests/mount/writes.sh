# Writes that come in pieces, as shells send them: nothing of a command or a value is lost or taken for the whole.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
put 'create lan2 cidr=10.8.0.0/24' networks/ctl
U=$(head -c 4500 /dev/urandom | base64 -w0)
works "a command longer than a shell's buffer" sh -c 'exec bash -c "echo \"create long flavor=m1.tiny image=tiny host=sim user-data=base64:$0\" > servers/ctl"' "$U"
is "... came whole" "$(base64 -w0 servers/long/user-data)" "$U"
works "a bare command without a newline" sh -c 'printf "create bare flavor=m1.tiny image=tiny host=sim" > servers/ctl'
mkdir servers/m
works "a list written line by line" bash -c '{ echo lan; echo lan2; } > servers/m/network'
is "... has all its lines" "$(cat servers/m/network)" "lan
lan2"
works "bash's printf" bash -c 'printf "lan2\nlan\n" > servers/m/network'
is "... replaces it, in order" "$(cat servers/m/network)" "lan2
lan"
put lan servers/m/network
works ">> adds a line" bash -c 'echo lan2 >> servers/m/network'
is "... after what is there" "$(cat servers/m/network)" "lan
lan2"
works "a value longer than a buffer" bash -c 'echo "$(printf %05000d 7)" > servers/m/description'
is "... is whole" "$(cat servers/m/description)" "$(printf %05000d 7)"
for by in 512 1024 4096 57344; do
	works "a value in buffers of $by bytes" sh -c 'head -c 60000 /dev/zero | tr "\0" "$0" | dd of=servers/m/description bs="$1" iflag=fullblock status=none' x "$by"
	is "... is whole" "$(wc -c < servers/m/description)" 60001
done
works "a value longer than many buffers, by bash" bash -c 'printf "%s\n" "$(printf %060000d 7)" > servers/m/description'
is "... is whole" "$(cat servers/m/description)" "$(printf %060000d 7)"
works "each line written to an open value is the value" bash -c 'exec 3> servers/m/description; echo a >&3; echo b >&3'
is "... the last one stands" "$(cat servers/m/description)" b
refused "a misspelt file" "EPERM tenants/acme/servers/m/flavour: *no file 'flavour'; there is 'flavor'" put m1.tiny servers/m/flavour
works "what the system chose is written back" sh -c 'cat servers/long/host > "$0/h" && cat "$0/h" > servers/long/host' "$WORK"
refused "admin stays" "EPERM tenants/admin: *belongs to the cloud*" rmdir ../admin
is "lists are never old after one's own change" "$(python3 - << 'END'
import os, threading
d = 'networks/'
stop = []
def read():
    while not stop:
        open(d + 'list').read()
readers = [threading.Thread(target=read) for _ in range(2)]
[t.start() for t in readers]
old = 0
for i in range(200):
    os.mkdir(d + 'k%d' % i)
    old += ('k%d\t' % i) not in open(d + 'list').read()
    os.rmdir(d + 'k%d' % i)
    old += ('k%d\t' % i) in open(d + 'list').read()
stop.append(1)
print(old)
END
)" 0
# 128 KiB are taken as 655 lines, 655 lines and 72 bytes without a newline: not a command, the next buffer goes on with them
for i in $(seq 1400); do printf '%-92s ram=64\n' "create wide$i vcpus=1"; done > "$WORK/wide"
works "lines in buffers of 128 KiB that end within a line" dd if="$WORK/wide" of="$CLOUD/flavors/ctl" bs=128k
is "... all came" "$(ls "$CLOUD/flavors" | grep -c wide)" 1400
H=$(cut -c 1-8 ../admin/id)
is "the host's table goes with the last network" "$(for i in 1 2 3 4 5 6; do
	mkdir "../p$i"
	printf 'create networks/a\ncreate networks/b\ncreate networks/c cidr=10.0.0.0/24\n' > "../p$i/ctl"
done
rmdir servers/long servers/bare servers/m; cat servers/wait > /dev/null
for i in 1 2 3 4 5 6; do echo "purge confirm=p$i" > "../p$i/ctl"; done
rmdir networks/lan networks/lan2; cat ../../wait > /dev/null
nft list tables | grep -c "$H")" 0
finish
