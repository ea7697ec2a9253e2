#!/bin/sh
# Makes what a local hub needs, with the openssl command. What exists already is kept.
#
#   make-hub-identities.sh DIRECTORY                          everything of a hub's first start
#   make-hub-identities.sh DIRECTORY certificate PRODUCT NAME a certificate for one more device
#
#   DIRECTORY/registry.json                        products and devices, with their secrets
#   DIRECTORY/ca.crt ca.key                        the certificate authority; give ca.crt to the devices
#   DIRECTORY/server.crt server.key                for localhost, 127.0.0.1, ::1, hub.apus.test and HUB_SERVER_NAMES
#   DIRECTORY/devices/PRODUCT/NAME_cert.crt        a device's certificate, common name PRODUCTNAME,
#   DIRECTORY/devices/PRODUCT/NAME_private.key     and its key
#
# All files are readable by their owner only. Keys are on the curve P-256, or RSA with 2048 bits with HUB_KEYS=rsa.
# HUB_SERVER_NAMES adds names to the server's certificate: "DNS:hub.example,IP:192.0.2.7".
set -eu
umask 077

directory=${1:?usage: make-hub-identities.sh DIRECTORY [certificate PRODUCT NAME]}
product=APUSDEMO01
command -v openssl >/dev/null || {
    echo "the command openssl is missing; install it with: apt-get install openssl" >&2
    exit 1
}

# What openssl says matters only if it fails.
openssl_quietly() {
    said=$(openssl "$@" 2>&1) || {
        printf 'openssl %s: %s\n' "$1" "$said" >&2
        exit 1
    }
}

make_key() { # FILE
    case ${HUB_KEYS:-ec} in
    ec) openssl_quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" ;;
    rsa) openssl_quietly genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" ;;
    *)
        echo "HUB_KEYS must be ec or rsa" >&2
        exit 1
        ;;
    esac
}

# The certificate is moved into place last, so that an interrupted run is repeated by the next one.
make_certificate() { # CERTIFICATE KEY COMMON-NAME EXTENSIONS
    make_key "$2"
    openssl_quietly req -new -key "$2" -subj "/CN=$3" -out "$1.request"
    printf '%s\n' "$4" >"$1.extensions"
    openssl_quietly x509 -req -in "$1.request" -CA "$directory/ca.crt" -CAkey "$directory/ca.key" \
        -set_serial "0x00$(openssl rand -hex 15)" -sha256 -days 3650 -extfile "$1.extensions" -out "$1.new"
    rm -f "$1.request" "$1.extensions"
    mv "$1.new" "$1"
}

make_device_certificate() { # PRODUCT NAME
    mkdir -p "$directory/devices/$1"
    [ -e "$directory/devices/$1/$2_cert.crt" ] || make_certificate \
        "$directory/devices/$1/$2_cert.crt" "$directory/devices/$1/$2_private.key" "$1$2" \
        "basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth"
}

mkdir -p "$directory"
if [ ! -e "$directory/ca.crt" ]; then
    make_key "$directory/ca.key"
    openssl_quietly req -x509 -new -key "$directory/ca.key" -sha256 -days 3650 -subj "/O=Apus/CN=Local hub CA" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -out "$directory/ca.crt.new"
    mv "$directory/ca.crt.new" "$directory/ca.crt"
fi

if [ "${2-}" = certificate ]; then
    make_device_certificate "$3" "$4"
    exit
fi

[ -e "$directory/server.crt" ] || make_certificate "$directory/server.crt" "$directory/server.key" hub.apus.test \
    "basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,DNS:hub.apus.test${HUB_SERVER_NAMES:+,$HUB_SERVER_NAMES}"

if [ ! -e "$directory/registry.json" ]; then
    make_device_certificate "$product" certificate-01
    {
        printf '{"products":[{"productId":"%s","productSecret":"%s","devices":[\n' "$product" "$(openssl rand -hex 12)"
        for name in gateway-01 modem-01 firmware-01 coap-01 coap-dtls-01 coap-modem-01; do
            printf '{"deviceName":"%s","type":"key","deviceSecret":"%s","enabled":true},\n' \
                "$name" "$(openssl rand -base64 16)"
        done
        printf '{"deviceName":"certificate-01","type":"certificate","enabled":true}\n]}]}\n'
    } >"$directory/registry.json.new"
    mv "$directory/registry.json.new" "$directory/registry.json"
fi
