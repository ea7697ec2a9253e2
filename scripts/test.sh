#!/usr/bin/env bash
# The tests, the documentation, the examples, the tests under the sanitizers, and the sizes of the firmware.
# APUS_SKIP_SANITIZERS=1 leaves the sanitizers out, for a quick run by hand.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "Build"
swift build --build-tests
swift build
# What counts its allocations does so as users build it.
swift build -c release --product mqtt-allocations

step "Tests"
# More at once than this would be late for peers that wait for them.
SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4 swift test --skip-build --parallel

step "Documentation"
scripts/build-docs.sh

step "Examples"
scripts/check-readme.sh
touch Examples/Package.swift
swift build --package-path Examples

if [ -z "${APUS_SKIP_SANITIZERS:-}" ]; then
    # Mosquitto cannot load a plugin that is built with a sanitizer: the broker gets the plain one.
    plugin=$(pwd)/.build/debug/libHubPlugin.so

    # At the same time, so that a core is not idle while the other one links.
    step "Build with both sanitizers"
    swift build --build-tests --sanitize=thread --scratch-path .build/tsan > .build/tsan.log 2>&1 &
    thread=$!
    swift build --build-tests --sanitize=address --scratch-path .build/asan -Xswiftc -use-ld=lld
    wait $thread || { cat .build/tsan.log; exit 1; }

    # Of what one thread does for long, without a C library, they have nothing to say.
    single='nothingIsLostInvented|WhereverTheInputIsCut|whatIsRememberedIsBounded|goesThroughTheTranscript|nineTenthsOf'
    single+='|howItIsCut|bodiesOfAllSizes|messageIDsAreNotUsedAgain'
    # Nor of programs that run what other tests run in this process, and of the same once for each modem.
    single+='|CommandTests|ThroughEveryModem'
    # Each runs one test after the other, so that both have a core.
    step "Tests under both sanitizers"
    under_thread_sanitizer() {
        APUS_HUB_PLUGIN=$plugin TSAN_OPTIONS="halt_on_error=1" \
            swift test --skip-build --no-parallel --sanitize=thread --scratch-path .build/tsan --skip "FirmwareTests|ModemConformanceTests|$single"
    }
    under_address_sanitizer() {
        asan=(swift test --skip-build --no-parallel --sanitize=address --scratch-path .build/asan --disable-xctest
            -Xswiftc -use-ld=lld)
        # Of the modules by themselves nothing may be left at the end. A device that is cut off in the middle may leave its last objects.
        # What is freed is soon used again, so that tests of what is left can look at the size of the process.
        ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=2" "${asan[@]}" \
            --filter '^(Kernel|SAL|ATAdapter|SecureTransport|MQTTClient|CoAPClient|QCloudIoTHub)Tests' --skip "$single" &&
            APUS_HUB_PLUGIN=$plugin ASAN_OPTIONS="detect_leaks=0" "${asan[@]}" --filter '^IntegrationTests'
    }
    under_thread_sanitizer > .build/tsan.log 2>&1 &
    thread=$!
    failed=
    under_address_sanitizer || failed+=" address"
    step "Tests under the thread sanitizer"
    wait $thread || failed+=" thread"
    cat .build/tsan.log
    if [ -n "$failed" ]; then echo "The tests failed under the sanitizer of:$failed" >&2; exit 1; fi
fi

step "Flash and RAM of the firmware, in bytes"
scripts/firmware-size.sh
echo "(TencentOS-tiny's image for the same job: text 31841, and 11.4 KB of RAM beside its heap pool)"
