#!/usr/bin/env bash
# Builds one portable module as Embedded Swift for a Cortex-M4: scripts/embedded-build.sh MODULE
set -euo pipefail
cd "$(dirname "$0")/.."
module=${1:?usage: scripts/embedded-build.sh MODULE}
swift build -c release --triple armv7em-none-none-eabi --toolset embedded.json --scratch-path .build/embedded \
    --target "$module"
