#!/usr/bin/env bash
# Builds the image with buildah, without a daemon and without a registry: the base is a Debian made by debootstrap with
# this machine's Rust. Then runs the root file system that comes out of it, and checks what it promises. Needs root,
# buildah and debootstrap; takes a release build and about 3 GiB under target/.
set -euo pipefail
# Where this machine gets its own packages from, if it is a Debian; else what debootstrap thinks best.
mirror=$(apt-get indextargets --format '$(SITE)' "Codename: bookworm" 2>/dev/null | head -n 1 || true)
cd "$(dirname "$0")/../.."

work=$PWD/target/image
mkdir -p "$work"
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
storage=(--root "$work/storage" --runroot "$work/run")

if [ ! -d "$work/base" ]; then
    debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$work/base.partly" $mirror
    mkdir -p "$work/base.partly/usr/local"
    cp -a "$(rustc --print sysroot)" "$work/base.partly/usr/local/rust"
    mv "$work/base.partly" "$work/base"
fi
if ! buildah "${storage[@]}" inspect --type image builder-base >/dev/null 2>&1; then
    container=$(buildah "${storage[@]}" from scratch)
    buildah "${storage[@]}" copy -q "$container" "$work/base" /
    buildah "${storage[@]}" config --env PATH=/usr/local/rust/bin:/usr/bin:/bin --env CARGO_HOME=/usr/local/cargo \
        --env CARGO_NET_OFFLINE=true "$container"
    buildah "${storage[@]}" commit -q --rm "$container" builder-base
fi

# What cargo has fetched here is not fetched again.
cargo fetch --locked
cargo_home=${CARGO_HOME:-$HOME/.cargo}
buildah "${storage[@]}" bud --build-arg BUILDER=localhost/builder-base \
    --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" \
    --volume "$cargo_home/registry:/usr/local/cargo/registry" \
    --ignorefile deploy/container/Dockerfile.dockerignore \
    --network host -f deploy/container/Dockerfile -t milvus-rebalancer .

container=$(buildah "${storage[@]}" from milvus-rebalancer)
root=$(buildah "${storage[@]}" mount "$container")
tests/shipping/image_check.sh "$root"
config=$(buildah "${storage[@]}" inspect --type image milvus-rebalancer)
python3 - "$config" <<'CHECK'
import json, sys
config = json.loads(sys.argv[1])["OCIv1"]["config"]
assert config["User"] == "65532:65532", config
assert config["Entrypoint"] == ["/usr/bin/milvus-rebalancer"] and config["Cmd"] == ["run"], config
assert config.get("StopSignal") == "SIGTERM", config
assert list(config["Volumes"]) == ["/var/lib/milvus-rebalancer"], config
CHECK
buildah "${storage[@]}" rm "$container" >/dev/null
