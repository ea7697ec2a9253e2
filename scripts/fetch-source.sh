#!/usr/bin/env bash
# Gets the source of a Debian package from the archive that this system installs from, into .build/vendor: scripts/fetch-source.sh PACKAGE SUITE FOLDER.
# Does nothing when it is there; the system's own configuration stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 3 ] || { echo "usage: scripts/fetch-source.sh PACKAGE SUITE FOLDER" >&2; exit 2; }
source=.build/vendor/$3
[ -e "$source/.fetched" ] && exit 0
echo "Fetching the source of $1 ($2)"
lists=$PWD/.build/vendor/apt-$3
mkdir -p "$lists/lists/partial"
uri=$({ cat /etc/apt/sources.list 2>/dev/null || true; cat /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    awk '/^URIs:/ && /debian/ && !/security/ { print $2; exit } /^deb / && /debian/ && !/security/ { print $2; exit }')
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $2 main" > "$lists/sources.list"
apt=(apt-get -q -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$lists/lists" -o APT::Sandbox::User=root)
"${apt[@]}" update > "$lists/log" 2>&1 || { cat "$lists/log" >&2; exit 1; }
rm -f "$lists"/*.orig.tar.*
(cd "$lists" && "${apt[@]}" source --download-only "$1" >> log 2>&1) || { cat "$lists/log" >&2; exit 1; }
rm -rf "$source"
mkdir -p "$source"
tar -xf "$lists/$1"_*.orig.tar.* -C "$source" --strip-components 1
touch "$source/.fetched"
