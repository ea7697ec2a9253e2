/* All that the modules can be built with for firmware: DTLS too. Swift is to be told: -D TLS -D CERTIFICATES -D DTLS. */
#include "certificates.h"
#define MBEDTLS_SSL_PROTO_DTLS
#define MBEDTLS_SSL_DTLS_ANTI_REPLAY
#define MBEDTLS_SSL_DTLS_HELLO_VERIFY
