/* mbedTLS for firmware that is a TLS client with a pre-shared key. Swift is to be told too: -D TLS. */
#include "login.h"
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_ENCRYPT_THEN_MAC
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
#define MBEDTLS_KEY_EXCHANGE_PSK_ENABLED
/* Tencent's hub has nothing better than AES-CBC with HMAC-SHA1. */
#define MBEDTLS_SHA1_C
/* The longest records: received and sent. TLSConfiguration.recordLimit asks the server for no longer ones than the shorter of the two. */
#ifndef MBEDTLS_SSL_IN_CONTENT_LEN
#define MBEDTLS_SSL_IN_CONTENT_LEN 4096
#define MBEDTLS_SSL_OUT_CONTENT_LEN 1024
#endif
