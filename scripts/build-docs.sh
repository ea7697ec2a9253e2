#!/usr/bin/env bash
# Builds the documentation of every module into docs-out; a warning, such as a dead link, is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
modules=${*:-Kernel SAL NetworkSimulator ATAdapter SecureTransport MQTTClient CoAPClient QCloudIoTHub}
swift package dump-symbol-graph --minimum-access-level public > /dev/null
graphs=$(find .build -type d -name symbolgraph | head -n 1)
rm -rf docs-out .build/docs
mkdir -p docs-out
for module in $modules; do
    mkdir -p ".build/docs/$module"
    cp "$graphs/$module.symbols.json" ".build/docs/$module/"
    docc convert "Sources/$module/$module.docc" --additional-symbol-graph-dir ".build/docs/$module" \
        --output-dir "docs-out/$module.doccarchive" --warnings-as-errors
    echo "docs-out/$module.doccarchive"
done
