#!/usr/bin/env bash
# Gets the source of Debian's mbedTLS and builds it for a Cortex-M4 in each configuration of Firmware/mbedtls, into .build/vendor.
# Does nothing when that is there; needs the network only the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

vendor=$PWD/.build/vendor
source=$vendor/mbedtls
configurations=(login psk certificates full)
scripts/fetch-source.sh mbedtls "$(. /etc/os-release && echo "$VERSION_CODENAME")" mbedtls

# By the compiler that comes with Swift, for link-time optimisation together with it.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
headers=$(dirname "$(arm-none-eabi-gcc -print-file-name=libc_nano.a)")/../include
compile() {
    "$tools/clang" -c -Oz -flto --target=armv7em-none-none-eabi -mcpu=cortex-m4 -mfloat-abi=soft -ffunction-sections -fdata-sections \
        -std=c99 -isystem "$headers" -I"$source/include" -DMBEDTLS_CONFIG_FILE="\"$PWD/Firmware/mbedtls/$configuration.h\"" \
        -o "$library/$(basename "$1" .c).o" "$1"
}
export -f compile
export tools headers source library configuration
for configuration in "${configurations[@]}"; do
    library=$vendor/cortex-m4/$configuration
    newest=$(ls -t "$0" Firmware/mbedtls/*.h | head -1)
    [ -e "$library/libmbedcrypto.a" ] && [ "$library/libmbedcrypto.a" -nt "$newest" ] && continue
    rm -rf "$library"
    mkdir -p "$library"
    # What a configuration leaves out are empty files then; what needs a system is in none.
    for file in "$source"/library/*.c; do
        case $(basename "$file" .c) in net_sockets | timing | threading | entropy_poll | psa_* | certs | error | version_features) ;; *) echo "$file" ;; esac
    done | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
    "$tools/llvm-ar" rcs "$library/libmbedcrypto.a" "$library"/*.o
    # The module map links these too.
    "$tools/llvm-ar" rcs "$library/libmbedtls.a"
    "$tools/llvm-ar" rcs "$library/libmbedx509.a"
done
