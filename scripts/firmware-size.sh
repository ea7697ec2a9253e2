#!/usr/bin/env bash
# Prints a line per firmware image: flash (text and data), RAM (data and bss, without the pool of the heap), and the rest of the RAM.
set -euo pipefail
cd "$(dirname "$0")/.."
for elf in Firmware/.build/images/*.elf; do
    [ -e "$elf" ] || { echo "no firmware images; build them with: make firmware" >&2; exit 1; }
    arm-none-eabi-size -A -d "$elf" | awk -v image="$(basename "$elf" .elf)" '
        $1 == ".text" || $1 == ".ARM.exidx" { text += $2 }
        $1 == ".data" { data += $2 }
        $1 == ".bss" { bss += $2 }
        $1 == ".stack" { stack += $2 }
        $1 ~ /^\.heap/ { heap += $2 }
        END { printf "image=%s text=%d data=%d bss=%d stack=%d heap=%d\n", image, text, data, bss, stack, heap }'
done
