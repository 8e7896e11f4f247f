#!/usr/bin/env bash
# Builds the Debian package from a release binary that is there, and checks what is in it. Needs root, dpkg, and cargo-deb
# (installed under target/tools if it is missing).
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=target/release/milvus-rebalancer
[ -x "$binary" ] || cargo build --release --locked
# The tool is not part of what is shipped, so its version is pinned here.
[ -x target/tools/bin/cargo-deb ] || cargo install --locked --root target/tools cargo-deb --version 3.8.0

mkdir -p target/completions
for shell in bash zsh fish; do
    case $shell in zsh) file=_milvus-rebalancer ;; *) file=milvus-rebalancer.$shell ;; esac
    "$binary" completions "$shell" >"target/completions/$file"
done

target/tools/bin/cargo-deb deb --no-build --locked --output target/milvus-rebalancer.deb
content=$(dpkg-deb --contents target/milvus-rebalancer.deb | awk '{print $1, $6}')
echo "$content"
while read -r mode file; do
    grep -qxF -- "$mode .$file" <<<"$content" || { echo "missing in the package, or with other rights: $mode $file" >&2; exit 1; }
done <<'FILES'
-rwxr-xr-x /usr/bin/milvus-rebalancer
-rw-r--r-- /usr/lib/systemd/system/milvus-rebalancer.service
-rw-r--r-- /etc/milvus-rebalancer/config.toml
-rw-r--r-- /usr/share/doc/milvus-rebalancer/runbook.md
-rw-r--r-- /usr/share/doc/milvus-rebalancer/prometheus/alerts.yml
-rw-r--r-- /usr/share/doc/milvus-rebalancer/grafana/overview.json
-rw-r--r-- /usr/share/bash-completion/completions/milvus-rebalancer
FILES
[ "$(dpkg-deb --info target/milvus-rebalancer.deb conffiles)" = /etc/milvus-rebalancer/config.toml ]
echo "the package is as it should be"
