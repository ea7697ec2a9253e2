#!/usr/bin/env bash
# Builds portable modules as Embedded Swift for a Cortex-M4: scripts/embedded-build.sh MODULE...
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { echo "usage: scripts/embedded-build.sh MODULE..." >&2; exit 2; }
toolset=$(scripts/embedded-toolset.sh full)
for module in "$@"; do
    swift build -c release --triple armv7em-none-none-eabi --toolset "$toolset" --scratch-path .build/embedded \
        --target "$module"
done
