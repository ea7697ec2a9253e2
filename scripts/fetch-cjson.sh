#!/usr/bin/env bash
# Gets the source of Debian's cJSON and builds it for a Cortex-M4, into .build/vendor. Does nothing when that is there; needs the network only the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

vendor=$PWD/.build/vendor
source=$vendor/cjson
scripts/fetch-source.sh cjson "$(. /etc/os-release && echo "$VERSION_CODENAME")" cjson

library=$vendor/cortex-m4/libcjson.a
newest=$(ls -t "$0" Firmware/cjson/*.h | head -1)
[ -e "$library" ] && [ "$library" -nt "$newest" ] && exit 0
mkdir -p "$vendor/cortex-m4"
# By the compiler that comes with Swift, for link-time optimisation together with it; without what it knows of malloc: LLVM 21 crashes where it makes
# that and memset a calloc. How deep a text may be is checked before cJSON reads it.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
headers=$(dirname "$(arm-none-eabi-gcc -print-file-name=libc_nano.a)")/../include
"$tools/clang" -c -Oz -flto --target=armv7em-none-none-eabi -mcpu=cortex-m4 -mfloat-abi=soft -ffunction-sections -fdata-sections \
    -std=c99 -fno-builtin-malloc -isystem "$headers" -include Firmware/cjson/floats.h -o "$vendor/cortex-m4/cJSON.o" "$source/cJSON.c"
rm -f "$library"
"$tools/llvm-ar" rcs "$library" "$vendor/cortex-m4/cJSON.o"
