#!/usr/bin/env bash
# Boots a real systemd in a container of its own (systemd-nspawn on a Debian made by debootstrap), with the unit and the
# binary installed, and looks at what systemd makes of them: ready though Milvus is down, reload with a right and with a
# wrong file, the watchdog, stop. Needs root, debootstrap and systemd-container. Takes two minutes.
set -euo pipefail
# Where this machine gets its own packages from, if it is a Debian; else what debootstrap thinks best.
mirror=$(apt-get indextargets --format '$(SITE)' "Codename: bookworm" 2>/dev/null | head -n 1 || true)
cd "$(dirname "$0")/../.."
binary=${1:-target/release/milvus-rebalancer}
root=$PWD/target/systemd-root

if [ ! -d "$root" ]; then
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps bookworm "$root.partly" $mirror
    mv "$root.partly" "$root"
fi
install -m 0755 "$binary" "$root/usr/bin/milvus-rebalancer"
install -D -m 0644 systemd/milvus-rebalancer.service "$root/etc/systemd/system/milvus-rebalancer.service"
install -d "$root/etc/milvus-rebalancer" "$root/etc/systemd/system/multi-user.target.wants"
: >"$root/etc/milvus-rebalancer/config.toml"
rm -rf "$root/result" "$root/var/lib/private/milvus-rebalancer"
cat >"$root/usr/local/bin/looks" <<'LOOKS'
#!/bin/sh
unit=milvus-rebalancer; file=/etc/milvus-rebalancer/config.toml
show() { systemctl show "$unit" --value -p "$1"; }
expect() { [ "$2" = "$3" ] && echo "ok: $1" || echo "NOT OK: $1: $2 instead of $3"; }
contains() { case "$2" in *"$3"*) echo "ok: $1" ;; *) echo "NOT OK: $1: $2 lacks $3" ;; esac; }
sleep 2
expect "ready though Milvus is down" "$(show ActiveState)" active
contains "the status says so" "$(show StatusText)" "Milvus cannot be observed"
/usr/bin/milvus-rebalancer health; expect "health" $? 0
echo 'execute.calls_per_minute = 9' >"$file"; systemctl reload "$unit"; expect "reload" $? 0
sleep 1; contains "the new configuration is in force" "$(show StatusText)" "1 options changed"
pid=$(show MainPID)
echo 'execute.calls_per_minut = 9' >"$file"; systemctl reload "$unit" 2>/dev/null; expect "reload of a wrong file" $? 1
expect "the same process goes on" "$(show MainPID)" "$pid"
: >"$file"
contains "no capabilities" "$(grep CapEff /proc/$pid/status)" 0000000000000000
expect "not root" "$(awk '/^Uid/ {print ($2 > 1000)}' /proc/$pid/status)" 1
kill -STOP "$pid"; sleep 80
expect "the watchdog restarted what hung" "$(show NRestarts)" 1
expect "it runs again" "$(show ActiveState)" active
systemctl stop "$unit"; expect "stopped in good order" "$(show Result)" success
echo finished
systemctl poweroff
LOOKS
chmod 0755 "$root/usr/local/bin/looks"
cat >"$root/etc/systemd/system/looks.service" <<'UNIT'
[Unit]
After=milvus-rebalancer.service
[Service]
ExecStart=/usr/local/bin/looks
StandardOutput=append:/result
StandardError=append:/result
UNIT
for unit in milvus-rebalancer looks; do
    ln -sf "/etc/systemd/system/$unit.service" "$root/etc/systemd/system/multi-user.target.wants/$unit.service"
done
timeout 240 systemd-nspawn --quiet --register=no --keep-unit --boot -D "$root" >"$root.log" 2>&1 || true
cat "$root/result"
grep -q '^finished' "$root/result" && ! grep -q 'NOT OK' "$root/result"
echo "systemd runs it as it should"
