#!/usr/bin/env bash
# Checks a root file system of the image: how large it is, that nothing is in it that nobody needs, that it runs
# read-only and not as root, is configured by environment alone, is healthy without Milvus, and stops when told.
set -euo pipefail
root=$1
fail() { echo "$*" >&2; exit 1; }

size=$(du -sk --apparent-size "$root" | cut -f1)
echo "the image has $size KiB"
[ "$size" -lt $((25 * 1024)) ] || fail "the image has $size KiB; it should stay under 25 MiB"
if find "$root" -type f -perm -111 | grep -vE '/usr/bin/milvus-rebalancer$|/(ld-linux[^/]*|lib[^/]*\.so[^/]*)$'; then
    fail "programs that nobody needs are in the image"
fi
find "$root" -perm /6000 | grep . && fail "something in the image runs with others' rights"

# As a container runs it: nothing is writable but the journal's folder; not root; nothing in the environment but this.
journal=$(mktemp -d)
chown 65532:65532 "$journal"
mount --bind "$root" "$root"
mount --bind "$journal" "$root/var/lib/milvus-rebalancer"
mount -o remount,bind,ro "$root"
trap 'umount "$root/var/lib/milvus-rebalancer"; umount "$root"; rm -rf "$journal"' EXIT
# In an array, so that what runs in the background is the daemon itself and gets the signal.
inside=(
    env -i STATE_DIRECTORY=/var/lib/milvus-rebalancer MILVUS_REBALANCER__HTTP__LISTEN=127.0.0.1:19095 \
        MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT=http://127.0.0.1:1 \
        MILVUS_REBALANCER__NODE_METRICS__URL='http://{host}:9091/metrics' \
        PATH=/usr/bin:/usr/sbin \
        chroot --userspec=65532:65532 "$root" /usr/bin/milvus-rebalancer
)
inside() { "${inside[@]}" "$@"; }
inside --version
inside check-config
inside health --timeout 1s && fail "a daemon that does not run is well"
"${inside[@]}" run &
daemon=$!
for _ in $(seq 100); do
    inside health --timeout 1s 2>/dev/null && break
    kill -0 $daemon || fail "the daemon ended by itself"
    sleep 0.1
done
inside health || fail "the daemon is not well"
inside health --ready && fail "it is ready without Milvus"
[ -s "$journal/milvus-rebalancer.db" ] || fail "there is no journal"
kill -TERM $daemon
wait $daemon || fail "it did not stop in good order"
echo "the image is as it should be"
