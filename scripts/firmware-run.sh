#!/usr/bin/env bash
# Runs a firmware image in QEMU, its first UART on this terminal:
#   scripts/firmware-run.sh IMAGE [--uart1 pty|unix:PATH|tcp:PORT|DEVICE] [--seconds N] [--steady]
# IMAGE is a name (hello, main-job) or the path of an ELF file. The second UART is a new pseudo-terminal, whose name QEMU prints, or
# connects to a socket that something listens on (unix:PATH, or tcp:PORT of this machine), or is a terminal (/dev/pts/N).
# With --steady the image's time is counted in instructions, 32 ns each, whatever else the machine does.
# Ends as the image ends: 0, or 1 after a fault; 124 when the seconds are over.
set -euo pipefail

usage() {
    echo "usage: scripts/firmware-run.sh IMAGE [--uart1 pty|unix:PATH|tcp:PORT|DEVICE] [--seconds N] [--steady]" >&2
    exit 2
}

[ $# -gt 0 ] || usage
image=$1
shift
[ -e "$image" ] || image=$(cd "$(dirname "$0")/.." && pwd)/Firmware/.build/images/$image.elf
[ -e "$image" ] || { echo "there is no image $image; build the images with: make firmware" >&2; exit 1; }

second=null
limit=()
clock=()
while [ $# -gt 0 ]; do
    if [ "$1" = --steady ]; then
        clock=(-icount shift=5)
        shift
        continue
    fi
    [ $# -gt 1 ] || usage
    case $1 in
        --uart1)
            case $2 in
                pty | unix:?* | /dev/?*) second=$2 ;;
                tcp:?*) second=tcp:127.0.0.1:${2#tcp:},nodelay=on ;;
                *) usage ;;
            esac ;;
        --seconds) limit=(timeout --foreground --kill-after 5 "$2") ;;
        *) usage ;;
    esac
    shift 2
done

exec "${limit[@]}" qemu-system-arm -M mps2-an386 -display none -monitor none -semihosting-config enable=on,target=native \
    "${clock[@]}" -kernel "$image" -serial stdio -serial "$second"
