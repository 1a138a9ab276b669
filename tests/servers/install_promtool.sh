#!/usr/bin/env bash
# promtool, which checks the alarms of packaging/prometheus-rules.yaml, into .ci-cache/promtool: taken out of Debian's package
# without installing that, for it would start a server.
set -euo pipefail
cd "$(dirname "$0")/../.."
place="$PWD/.ci-cache/promtool"

if [ -x "$place/promtool" ] || command -v promtool > /dev/null; then
  echo "promtool is there"
  exit 0
fi
command -v apt-get > /dev/null && command -v dpkg > /dev/null || {
  echo "promtool comes from Debian's package prometheus, and there is no apt-get here: its tests are left out" >&2
  exit 0
}
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# As root, apt lays downloads down as a user of its own.
chmod 0755 "$work"
(cd "$work" && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg -x prometheus_*.deb unpacked)
mkdir -p "$place"
cp "$work/unpacked/usr/bin/promtool" "$place/promtool"
echo "promtool is installed in $place"
