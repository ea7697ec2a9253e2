// The parts of mbedTLS that SecureTransport uses, and its macros that Swift cannot import.
#ifndef APUS_CMBEDTLS_H
#define APUS_CMBEDTLS_H
#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#endif
