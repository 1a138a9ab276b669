#!/usr/bin/env bash
# Azurite, the server of the azure_blob tests, into .ci-cache/azurite: an exact version, and only when it is not there.
set -euo pipefail
version=3.37.0
cd "$(dirname "$0")/../.."
place=.ci-cache/azurite
installed="$place/node_modules/azurite/package.json"

if [ -f "$installed" ] && grep -q "\"version\": \"$version\"" "$installed"; then
  echo "azurite $version is there"
  exit 0
fi
command -v npm > /dev/null || {
  echo "npm is missing: install it (Debian: apt-get install npm), then run this again" >&2
  exit 1
}
mkdir -p "$place"
npm install --prefix "$place" --no-save --no-audit --no-fund --loglevel=error --ignore-scripts "azurite@$version"
echo "azurite $version is installed in $place"
