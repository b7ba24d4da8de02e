# What a new cloud shows, and that the simplest things work.
. "$(dirname "$0")/lib.sh"
cloud_up
cd "$CLOUD" || exit 99
is "health of a new cloud" "$(cat health)" ok
is "flavors are there" "$(ls -d flavors/m1.* | wc -l)" 5
works "mkdir makes a tenant" mkdir tenants/acme
is "a tenant's id is a UUID" "$(grep -cE '^[0-9a-f-]{36}$' tenants/acme/id)" 1
is "by-id finds it" "$(cat tenants/by-id/$(cat tenants/acme/id)/id)" "$(cat tenants/acme/id)"
works "a key is a file" sh -c 'ssh-keygen -q -t ed25519 -N "" -f "$0/k" && cp "$0/k.pub" tenants/acme/keys/me && cmp "$0/k.pub" tenants/acme/keys/me' "$WORK"
refused "what is no key" "EINVAL tenants/acme/keys/me*: *not an ssh public key*" put hello tenants/acme/keys/me
refused "an unknown verb" "EINVAL tenants/acme/ctl: *unknown verb*" put explode tenants/acme/ctl
finish
