#!/usr/bin/env bash
# Builds the firmware images into Firmware/.build/images, as ELF files.
set -euo pipefail
cd "$(dirname "$0")/.."
cortex=(-mcpu=cortex-m4 -mthumb -mfloat-abi=soft)
# The C library and the compiler's own routines, by their full paths: the Swift driver knows no bare-metal library folders.
libraries=(-Xlinker "$(arm-none-eabi-gcc "${cortex[@]}" -print-file-name=libc_nano.a)"
    -Xlinker "$(arm-none-eabi-gcc "${cortex[@]}" -print-libgcc-file-name)")
# How LLVM weighs size when it links; each was measured on main-job.
size=()
for option in inline-call-penalty=18 arm-promote-constant split-spill-mode=size tail-merge-size=2; do size+=(-Xlinker -mllvm -Xlinker "-$option"); done
mkdir -p Firmware/.build/images
# The package manager does not notice files that were added to a package it depends on by path, unless it plans anew.
touch Firmware/Package.swift
# build CONFIGURATION TOOLSET SCRATCH IMAGE [NAME]
build() {
    local configuration=$1 toolset=$2 scratch=$3 image=$4 name=${5:-$4}
    # Link-time optimisation takes a tenth off an image.
    swift build --package-path Firmware --scratch-path "$scratch" -c release --triple armv7em-none-none-eabi --toolset "$toolset" \
        --experimental-lto-mode full --product "$image" -Xlinker "$PWD/.build/vendor/cortex-m4/$configuration/libmbedcrypto.a" \
        -Xlinker "$PWD/.build/vendor/cortex-m4/libcjson.a" "${libraries[@]}" "${size[@]}"
    cp "$scratch/armv7em-none-none-eabi/release/$image" "Firmware/.build/images/$name.elf"
}
toolset=$(scripts/embedded-toolset.sh)
tasks=$(scripts/embedded-toolset.sh tasks)
psk=$(scripts/embedded-toolset.sh psk)
certificates=$(scripts/embedded-toolset.sh certificates)
# The compiler works on one core per image: so two are built at a time.
others() {
    for image in kernel-minimum kernel-ipc kernel-bench kernel-tests; do build login "$tasks" Firmware/.build/tasks "$image"; done
    build psk "$psk" Firmware/.build/psk main-job main-job-tls
    build psk "$psk" Firmware/.build/psk tls-client tls-psk
    build certificates "$certificates" Firmware/.build/certificates tls-client tls-certificates
}
log=Firmware/.build/others.log
(set -e; others) > "$log" 2>&1 &
for image in hello faults publish straight coap services main-job main-job-quectel; do build login "$toolset" Firmware/.build "$image"; done
wait $! && failed= || failed=1
cat "$log"
[ -z "$failed" ] || { echo "An image could not be built: see above." >&2; exit 1; }
