#!/usr/bin/env bash
# Prints a line per firmware image: flash (text and data), RAM (data and bss, without the pool of the heap), and the rest of the RAM. Of the kernel's
# images also how much of the text is the kernel: all but the start-up, the heap, the C library, Swift's run time, and what prints faults, as TencentOS's
# figures are without libc and libgcc; and without the application's own functions, which call the kernel's and have none of them inside. Of main-job and coap, how much is MQTT and CoAP.
set -euo pipefail
cd "$(dirname "$0")/.."
below='^(_?swift_[a-zA-Z_]*|vectors|fault|say|say_hexadecimal|allocate|take|free|posix_memalign|calloc|memcpy|memmove|memset|mem_?(cpy|set)|_?_aeabi_mem.*|kernel_[a-z]*_main|e[0-9]*kernel_.*4MainO.*|\.Lobjectdestroy.*|(Reset|Fault)_Handler|startup_.*)$'
for elf in Firmware/.build/images/*.elf; do
    [ -e "$elf" ] || { echo "no firmware images; build them with: make firmware" >&2; exit 1; }
    image=$(basename "$elf" .elf)
    below_bytes=$(arm-none-eabi-nm -S "$elf" | awk -v below="$below" '
        BEGIN { for (i = 0; i < 16; i++) { digit[substr("0123456789abcdef", i + 1, 1)] = i } }
        function number(text, i, sum) { sum = 0; for (i = 1; i <= length(text); i++) sum = sum * 16 + digit[substr(text, i, 1)]; return sum }
        NF == 4 && $3 ~ /[tTrR]/ { name = $4; sub(/^\$/, "", name); if (name ~ below) bytes += number($2) }
        END { print bytes + 0 }')
    mqtt_bytes=$(arm-none-eabi-nm -S --radix=d "$elf" | awk 'NF == 4 && $3 ~ /[tT]/ && $4 ~ /10MQTTClient/ && $4 !~ /main_job|7MainJob/ { bytes += $2 } END { print bytes + 0 }')
    coap_bytes=$(arm-none-eabi-nm -S --radix=d "$elf" | awk 'NF == 4 && $3 ~ /[tT]/ && $4 ~ /10CoAPClient/ && $4 !~ /4coap/ { bytes += $2 } END { print bytes + 0 }')
    arm-none-eabi-size -A -d "$elf" | awk -v image="$image" -v below="$below_bytes" -v mqtt="$mqtt_bytes" -v coap="$coap_bytes" '
        $1 == ".text" || $1 == ".ARM.exidx" { text += $2 }
        $1 == ".data" { data += $2 }
        $1 == ".bss" { bss += $2 }
        $1 == ".stack" { stack += $2 }
        $1 ~ /^\.heap/ { heap += $2 }
        END {
            printf "image=%s text=%d data=%d bss=%d stack=%d heap=%d", image, text, data, bss, stack, heap
            if (image == "kernel-minimum") printf " kernel=%d (TencentOS-tiny: 2233, RAM 335)", text - below
            if (image == "main-job") printf " mqtt=%d (TencentOS-tiny: text 31841, its MQTT codec and client 6.0 KB)", mqtt
            if (image == "coap") printf " coap=%d (TencentOS-tiny: objects 9706, without blocks and observing)", coap
            if (image == "tls-psk") printf " (TencentOS-tiny: text 72181)"
            if (image == "kernel-ipc") printf " kernel=%d (TencentOS-tiny: 4599, RAM 383)", text - below
            printf "\n"
        }'
done
