. "$(dirname "$0")/lib.sh"
cloud_up
mkdir $CLOUD/tenants/a; cd $CLOUD/tenants/a
head -c 60000 /dev/zero | tr '\0' x > "$WORK/long"
put "$(cat "$WORK/long")" description; echo rc $?; wc -c description; head -1 $CLOUD/last-error
strace -f -e trace=write bash -c 'printf "%s\n" "$(cat '$WORK'/long)" > description' 2>&1 | grep write | head; wc -c description
