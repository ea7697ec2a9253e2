#!/usr/bin/env bash
# Builds mbedTLS 3.6 from the source package of the next Debian into .build/vendor, and runs SecureTransport's tests with it: the sources are the
# same, and must do the same.
set -euo pipefail
cd "$(dirname "$0")/.."

# The compiler is the toolchain's, which has no need of the system's.
PATH=$(dirname "$(readlink -f "$(command -v swift)")"):$PATH

version=3.6
vendor=$PWD/.build/vendor
source=$vendor/mbedtls-$version
scripts/fetch-source.sh mbedtls trixie "mbedtls-$version"

# Version 3.6 is built without its TLS 1.3 first, and then must do all that 2.28 does; then with it, for the tests of that.
for build in tls12 tls13; do
    library=$vendor/host-$version-$build
    mkdir -p "$library"
    printf '#define MBEDTLS_THREADING_C\n#define MBEDTLS_THREADING_PTHREAD\n' > "$library/config.h"
    [ $build = tls13 ] || echo '#undef MBEDTLS_SSL_PROTO_TLS1_3' >> "$library/config.h"
    if [ ! -e "$library/libmbedcrypto.a" ] || [ "$0" -nt "$library/libmbedcrypto.a" ]; then
        echo "Building mbedTLS $version ($build)"
        compile() {
            clang -c -O2 -std=c99 -D_GNU_SOURCE -DMBEDTLS_USER_CONFIG_FILE="\"$library/config.h\"" -I"$source/include" -I"$source/library" \
                -I"$source/3rdparty/everest/include" -I"$source/3rdparty/everest/include/everest" -I"$source/3rdparty/p256-m/p256-m" \
                -I"$source/3rdparty/p256-m/p256-m/include" -o "$library/$(basename "$1" .c).o" "$1"
        }
        export -f compile
        source=$source library=$library xargs -P "$(nproc)" -I{} bash -c 'compile {}' < <(ls "$source"/library/*.c)
        rm -f "$library"/*.a
        llvm-ar rcs "$library/libmbedcrypto.a" "$library"/*.o
        # The module map links these too.
        llvm-ar rcs "$library/libmbedtls.a"
        llvm-ar rcs "$library/libmbedx509.a"
    fi
    # The system's libraries are looked for where pkg-config says, which the linker is told first; so pkg-config says it.
    for package in libcjson libcoap-3-gnutls; do
        sed "s|^Libs: |Libs: -L$library |" "$(ls /usr/lib/*/pkgconfig/$package.pc)" > "$library/$package.pc"
    done
    export PKG_CONFIG_PATH=$library
    flags=(--scratch-path ".build/mbedtls-$version-$build" -Xcc "-I$source/include" -Xcc "-DMBEDTLS_USER_CONFIG_FILE=\"$library/config.h\""
        -Xlinker "-L$library")
    filter='^SecureTransportTests'
    [ $build = tls12 ] || filter='^SecureTransportTests.TLS13Tests'
    swift build --build-tests "${flags[@]}"
    SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4 swift test --skip-build "${flags[@]}" --filter "$filter"
done
