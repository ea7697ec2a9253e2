#!/usr/bin/env bash
# Gets the source of Debian's mbedTLS and builds it for a Cortex-M4 in each configuration of Firmware/mbedtls, into .build/vendor.
# Does nothing when that is there; needs the network only the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

vendor=$PWD/.build/vendor
source=$vendor/mbedtls
configurations=(login psk certificates full)
mkdir -p "$vendor"

if [ ! -e "$source/library/sha256.c" ]; then
    echo "Fetching the source of mbedTLS"
    # The archive that this system installs from, with its sources; the system's own configuration stays as it is.
    lists=$vendor/apt
    mkdir -p "$lists/lists/partial"
    uri=$({ cat /etc/apt/sources.list 2>/dev/null || true; cat /etc/apt/sources.list.d/* 2>/dev/null || true; } |
        awk '/^URIs:/ && /debian/ && !/security/ { print $2; exit } /^deb / && /debian/ && !/security/ { print $2; exit }')
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" > "$lists/sources.list"
    apt=(apt-get -q -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$lists/lists" -o APT::Sandbox::User=root)
    "${apt[@]}" update > "$lists/log" 2>&1 || { cat "$lists/log" >&2; exit 1; }
    (cd "$lists" && "${apt[@]}" source --download-only mbedtls >> log 2>&1) || { cat "$lists/log" >&2; exit 1; }
    rm -rf "$source"
    mkdir -p "$source"
    tar -xf "$lists"/mbedtls_*.orig.tar.* -C "$source" --strip-components 1
fi

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
