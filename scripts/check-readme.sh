#!/usr/bin/env bash
# The programs in the README must be those that are compiled. A comment before each names its file, whose leading comment is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
found=0
while read -r file; do
    found=$((found + 1))
    diff <(awk -v mark="<!-- $file -->" '
            $0 == mark { here = 1 }
            here && $0 == "```" { exit }
            here && inside
            here && $0 == "```swift" { inside = 1 }' README.md) \
        <(sed '/^\/\//d' "$file" | sed '/./,$!d') > /dev/null ||
        { echo "README.md: the program is not the one in $file" >&2; exit 1; }
done < <(sed -n 's/^<!-- \(.*\.swift\) -->$/\1/p' README.md)
[ "$found" -ge 2 ] || { echo "README.md: no programs with their files' names before them" >&2; exit 1; }
