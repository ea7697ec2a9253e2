/* mbedTLS for firmware without TLS: HMAC-SHA256 for logins, base64 for device secrets. */
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER
#define MBEDTLS_MD_C
#define MBEDTLS_BASE64_C
/* AES-CBC, whose tables are in the flash; none of it is in an image that does not use it. */
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_CIPHER_MODE_CBC
/* AES-CCM, which OSCORE takes, and the general interface to ciphers that it takes; as little of an image. */
#define MBEDTLS_CCM_C
#define MBEDTLS_CIPHER_C
/* Random numbers, from a source of noise that the firmware has. */
/* ctr_drbg.c forgets to include this. */
#include <limits.h>
#define MBEDTLS_CTR_DRBG_C
#define MBEDTLS_NO_PLATFORM_ENTROPY
