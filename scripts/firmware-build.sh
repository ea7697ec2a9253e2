#!/usr/bin/env bash
# Builds the firmware images into Firmware/.build/images, as ELF files.
set -euo pipefail
cd "$(dirname "$0")/.."
toolset=$(scripts/embedded-toolset.sh)
cortex=(-mcpu=cortex-m4 -mthumb -mfloat-abi=soft)
# The C library and the compiler's own routines, by their full paths: the Swift driver knows no bare-metal library folders.
libraries=(-Xlinker "$PWD/.build/vendor/cortex-m4/libmbedcrypto.a" -Xlinker "$(arm-none-eabi-gcc "${cortex[@]}" -print-file-name=libc_nano.a)"
    -Xlinker "$(arm-none-eabi-gcc "${cortex[@]}" -print-libgcc-file-name)")
# How LLVM weighs size when it links; each was measured on main-job.
size=()
for option in inline-call-penalty=18 arm-promote-constant split-spill-mode=size tail-merge-size=2; do size+=(-Xlinker -mllvm -Xlinker "-$option"); done
mkdir -p Firmware/.build/images
# The package manager does not notice files that were added to a package it depends on by path, unless it plans anew.
touch Firmware/Package.swift
build() {
    local image=$1 toolset=$2 scratch=$3
    # Link-time optimisation takes a tenth off an image.
    swift build --package-path Firmware --scratch-path "$scratch" -c release --triple armv7em-none-none-eabi --toolset "$toolset" \
        --experimental-lto-mode full --product "$image" "${libraries[@]}" "${size[@]}"
    cp "$scratch/armv7em-none-none-eabi/release/$image" "Firmware/.build/images/$image.elf"
}
for image in hello faults publish main-job; do build "$image" "$toolset" Firmware/.build; done
tasks=$(scripts/embedded-toolset.sh tasks)
for image in kernel-minimum kernel-ipc kernel-bench kernel-tests; do build "$image" "$tasks" Firmware/.build/tasks; done
