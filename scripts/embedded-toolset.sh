#!/usr/bin/env bash
# Writes the toolset for Embedded Swift on a Cortex-M4 to .build/embedded.json and prints its path. It has absolute paths in it, since
# the firmware package builds with it too. For size, the Swift optimizer neither inlines what grows nor doubles loop headers: LLVM, which
# sees what a function costs on this machine, inlines what gets smaller by it when it links.
# With an argument it is a toolset of its own, in .build/embedded-ARGUMENT.json:
#   tasks: for images whose tasks share references, which are counted by atomic instructions then; and for speed, functions of the kernel are inlined.
#   psk, certificates, full: with the TLS that the configuration of mbedTLS of that name has (Firmware/mbedtls); full also with MQTT 5.0.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fetch-mbedtls.sh >&2
scripts/fetch-cjson.sh >&2
mkdir -p .build
name=embedded${1:+-$1}
kind='"-Xfrontend", "-assume-single-threaded", "-Xllvm", "-sil-disable-pass=inline", '
configuration=login
case ${1:-} in
    "") ;;
    tasks) kind= ;;
    psk) configuration=psk kind+='"-D", "TLS", ' ;;
    certificates) configuration=certificates kind+='"-D", "TLS", "-D", "CERTIFICATES", ' ;;
    full) configuration=full kind+='"-D", "TLS", "-D", "CERTIFICATES", "-D", "DTLS", "-D", "MQTT5", ' ;;
    *) echo "usage: scripts/embedded-toolset.sh [tasks|psk|certificates|full]" >&2; exit 2 ;;
esac
# The package manager does not notice when one of these changes, but when a flag does.
stamp=$(cat Firmware/mbedtls/*.h Sources/CMbedTLS/*.h Sources/CMbedTLS/module.modulemap | cksum | cut -d ' ' -f 1)
cat > ".build/$name.json.new" <<EOF
{
  "schemaVersion": "1.0",
  "swiftCompiler": {
    "extraCLIOptions": [
      "-enable-experimental-feature", "Embedded", "-enable-experimental-feature", "Volatile", "-wmo", "-Osize",
      "-enforce-exclusivity=unchecked", $kind"-Xfrontend", "-function-sections",
      "-Xfrontend", "-enable-lexical-lifetimes=false", "-Xfrontend", "-disable-stack-protector", "-Xllvm", "-sil-disable-pass=loop-rotate",
      "-Xcc", "-mfloat-abi=soft", "-Xcc", "-fno-pic", "-Xcc", "-DAPUS_HEADERS=$stamp", "-Xcc", "-isystem$PWD/.build/vendor/mbedtls/include",
      "-Xcc", "-isystem$PWD/.build/vendor",
      "-Xcc", "-DMBEDTLS_CONFIG_FILE=\"$PWD/Firmware/mbedtls/$configuration.h\"",
      "-use-ld=lld", "-Xclang-linker", "-nostdlib"
    ]
  },
  "cCompiler": {
    "extraCLIOptions": [
      "-Oz", "-mfloat-abi=soft", "-ffunction-sections", "-fdata-sections", "-ffreestanding", "-fno-pic"
    ]
  },
  "linker": {
    "extraCLIOptions": [
      "-T", "$PWD/Firmware/mps2-an386.ld", "-e", "Reset_Handler", "--gc-sections", "-static", "--no-pie", "--icf=all"
    ]
  }
}
EOF
# Touched only when it changes, so that builds stay incremental.
cmp -s ".build/$name.json.new" ".build/$name.json" || cp ".build/$name.json.new" ".build/$name.json"
rm ".build/$name.json.new"
echo "$PWD/.build/$name.json"
