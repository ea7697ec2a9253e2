#!/usr/bin/env bash
# Installs aiocoap with its OSCORE, a CoAP peer of the tests, from PyPI into .build/python. Does nothing when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.4.17
python=.build/python/bin/python
[ -x "$python" ] && "$python" -c "from importlib.metadata import version; import aiocoap.oscore; assert version('aiocoap') == '$version'" 2> /dev/null && exit 0
echo "Installing aiocoap $version"
rm -rf .build/python
mkdir -p .build
python3 -m venv .build/python
"$python" -m pip install --quiet --disable-pip-version-check "aiocoap[oscore]==$version"
