#!/bin/sh
# Makes the certificates that the tests of TLS use, with the openssl command, in the directory given: NAME.crt (the chain), NAME.key.
set -eu
directory=${1:?usage: make-certificates.sh DIRECTORY}
mkdir -p "$directory"
cd "$directory"

cat > ca.cnf <<EOF
[ca]
default_ca = d
[d]
database = index
serial = serial
crlnumber = crlnumber
new_certs_dir = .
default_md = sha256
default_days = 3650
default_crl_days = 3650
policy = p
unique_subject = no
[p]
commonName = supplied
[req]
distinguished_name = n
[n]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[constrained]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
nameConstraints = critical,permitted;DNS:.allowed.example
[loose]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
nameConstraints = permitted;DNS:.allowed.example
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,DNS:hub.example,DNS:*.wild.example,DNS:x.allowed.example,IP:127.0.0.1,IP:::1
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
[other]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:other.example
[named]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:a.wild.example
[issuer-use]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyCertSign
subjectAltName = DNS:localhost
EOF
: > index
echo 1000 > serial
echo 01 > crlnumber

key() { # NAME KIND
    case $2 in
    ec) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" ;;
    p192) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime192v1 -out "$1.key" ;;
    rsa*) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:"${2#rsa}" -out "$1.key" ;;
    esac
}

sign() { # NAME ISSUER EXTENSIONS KIND [OPTION...]
    name=$1 issuer=$2 extensions=$3
    key "$name" "$4"
    shift 4
    openssl req -new -key "$name.key" -subj "/CN=$name" -config ca.cnf -out "$name.csr"
    openssl ca -batch -notext -config ca.cnf -extensions "$extensions" -cert "$issuer.crt" -keyfile "$issuer.key" -in "$name.csr" \
        -out "$name.crt" "$@"
}

root() { # NAME
    key "$1" ec
    openssl req -new -x509 -key "$1.key" -subj "/CN=$1" -days 3650 -config ca.cnf -extensions authority -out "$1.crt"
}

make() {
    root root
    root stranger
    sign middle root authority ec
    sign constrained root constrained ec
    sign loose root loose ec
    for kind in ec rsa2048; do sign "good-$kind" root server "$kind"; done
    sign by-middle middle server ec
    cp by-middle.crt without-middle.crt
    cp by-middle.key without-middle.key
    cat middle.crt >> by-middle.crt
    sign expired root server ec -startdate 20200101000000Z -enddate 20210101000000Z
    sign future root server ec -startdate 20900101000000Z -enddate 20910101000000Z
    sign other root other ec
    sign named root named ec
    sign strange stranger server ec
    sign for-clients root client ec
    sign for-issuers root issuer-use ec
    sign rsa1024 root server rsa1024
    sign p192 root server p192
    sign sha1 root server ec -md sha1
    sign revoked root server ec
    sign outside constrained server ec
    cat constrained.crt >> outside.crt
    sign loosely loose server ec
    cat loose.crt >> loosely.crt
    sign client root client ec
    sign client-rsa root client rsa2048
    sign strange-client stranger client ec
    openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout self.key -subj /CN=localhost -days 3650 \
        -config ca.cnf -extensions server -out self.crt
    openssl ca -config ca.cnf -cert root.crt -keyfile root.key -revoke revoked.crt
    openssl ca -config ca.cnf -cert root.crt -keyfile root.key -gencrl -out root.crl
    openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret -in client.key -out client-encrypted.key
    openssl x509 -in good-ec.crt -outform DER -out good-ec.der
    openssl pkey -in good-ec.key -outform DER -out good-ec.key.der
    openssl x509 -in root.crt -outform DER -out root.der
    # Its signature is that of another certificate.
    sign broken root server ec
    openssl x509 -in broken.crt -outform DER -out broken.der
    openssl x509 -in good-ec.crt -outform DER | tail -c 32 > signature
    head -c -32 broken.der | cat - signature | openssl x509 -inform DER -out broken.crt
    for kind in ec rsa2048; do openssl pkey -in "good-$kind.key" -pubout -out "good-$kind.pub"; done
}
make > log 2>&1 || { cat log >&2; exit 1; }
