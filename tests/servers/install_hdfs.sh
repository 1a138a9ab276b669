#!/usr/bin/env bash
# Hadoop's MiniDFSCluster, the server of the hdfs tests, from Maven Central into .ci-cache/hadoop: exact versions, and
# only when they are not there.
set -euo pipefail
cd "$(dirname "$0")/../.."
source=tests/servers/hadoop
place=.ci-cache/hadoop
stamp="$(cat "$source"/* | sha256sum | cut -d' ' -f1)"

if [ "$(cat "$place/stamp" 2> /dev/null)" = "$stamp" ]; then
  echo "hadoop is there"
  exit 0
fi
for program in javac mvn; do
  command -v "$program" > /dev/null || {
    echo "$program is missing: install it (Debian: apt-get install openjdk-17-jdk-headless maven), then run this again" >&2
    exit 1
  }
done
rm -rf "$place"
mkdir -p "$place/classes"
cp "$source/pom.xml" "$place/pom.xml"
mvn --batch-mode --quiet --file "$place/pom.xml" \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=lib
javac -nowarn -d "$place/classes" -cp "$place/lib/*" "$source/Mini.java"
cp "$source/log4j.properties" "$place/classes/"
echo "$stamp" > "$place/stamp"
echo "hadoop is installed in $place"
