/* What firmware uses of mbedTLS: HMAC-SHA256 for logins, base64 for device secrets. */
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER
#define MBEDTLS_MD_C
#define MBEDTLS_BASE64_C
