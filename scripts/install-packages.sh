#!/usr/bin/env bash
# Installs the Debian packages that building, testing and the demo need, if any is missing. Run as root for that.
set -euo pipefail

packages=(
    make git openssl gnutls-bin iproute2 python3-venv xxd ser2net
    libmbedtls-dev libcjson-dev libsqlite3-dev libwslay-dev libhttp-parser-dev libmicrohttpd-dev curl
    rabbitmq-server mosquitto mosquitto-dev libmosquitto-dev mosquitto-clients libssl-dev libpaho-mqtt-dev libcoap3-dev libcoap3-bin
    qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi dpkg-dev
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Missing packages: ${missing[*]}" >&2
    echo "Install them with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The broker is started by what needs it, not by the system.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -q -y --no-install-recommends "${missing[@]}"
