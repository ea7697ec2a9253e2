// Private keys as OpenSSL 3 encrypts them: PKCS #8 with PBES2, PBKDF2 and AES-CBC (RFC 8018, 6.2), which mbedTLS reads from version 3.5 on only.
#ifndef APUS_CMBEDTLS_PBES2_H
#define APUS_CMBEDTLS_PBES2_H
#if defined(__linux__)
#include <mbedtls/aes.h>
#include <mbedtls/asn1.h>
#include <mbedtls/md.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>
#include <string.h>

static inline int cmbedtls_is_oid(const mbedtls_asn1_buf *oid, const char *bytes, size_t count) {
    return oid->len == count && memcmp(oid->p, bytes, count) == 0;
}

/// Reads SEQUENCE { OBJECT IDENTIFIER, ... }, leaves `p` at what follows the identifier and returns the end of the sequence; null if it is something else.
static inline unsigned char *cmbedtls_algorithm(unsigned char **p, const unsigned char *end, mbedtls_asn1_buf *oid) {
    size_t count;
    if (mbedtls_asn1_get_tag(p, end, &count, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0) return NULL;
    unsigned char *after = *p + count;
    if (mbedtls_asn1_get_tag(p, after, &oid->len, MBEDTLS_ASN1_OID) != 0) return NULL;
    oid->p = *p;
    *p += oid->len;
    return after;
}

/// Decrypts an EncryptedPrivateKeyInfo in place. Returns where the key is, and its length in `keyCount`; null if it is of another kind, in which case
/// `result` says so, or if the password is wrong.
static inline unsigned char *cmbedtls_pbes2_decrypt(unsigned char *der, size_t derCount, const unsigned char *password, size_t passwordCount,
    size_t *keyCount, int *result) {
    unsigned char *p = der, *scheme, *kdf, *cipher, key[32], vector[16], *salt;
    const unsigned char *end = der + derCount;
    mbedtls_asn1_buf oid;
    size_t count, saltCount;
    int iterations, bits = 0, unused;
    *result = MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
    if (mbedtls_asn1_get_tag(&p, end, &count, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0) return NULL;
    end = p + count;
    if ((scheme = cmbedtls_algorithm(&p, end, &oid)) == NULL) return NULL;
    *result = MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE;
    if (!cmbedtls_is_oid(&oid, "\x2A\x86\x48\x86\xF7\x0D\x01\x05\x0D", 9)) return NULL;
    if (mbedtls_asn1_get_tag(&p, scheme, &count, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0) return NULL;
    if ((kdf = cmbedtls_algorithm(&p, scheme, &oid)) == NULL || !cmbedtls_is_oid(&oid, "\x2A\x86\x48\x86\xF7\x0D\x01\x05\x0C", 9)) return NULL;
    if (mbedtls_asn1_get_tag(&p, kdf, &count, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0) return NULL;
    if (mbedtls_asn1_get_tag(&p, kdf, &saltCount, MBEDTLS_ASN1_OCTET_STRING) != 0) return NULL;
    salt = p;
    p += saltCount;
    if (mbedtls_asn1_get_int(&p, kdf, &iterations) != 0 || iterations < 1 || iterations > 10000000) return NULL;
    (void)mbedtls_asn1_get_int(&p, kdf, &unused);
    // The default is HMAC with SHA-1.
    mbedtls_md_type_t hash = MBEDTLS_MD_SHA1;
    if (p < kdf) {
        if (cmbedtls_algorithm(&p, kdf, &oid) == NULL || oid.len != 8 || memcmp(oid.p, "\x2A\x86\x48\x86\xF7\x0D\x02", 7) != 0) return NULL;
        switch (oid.p[7]) {
        case 7: hash = MBEDTLS_MD_SHA1; break;
        case 9: hash = MBEDTLS_MD_SHA256; break;
        case 10: hash = MBEDTLS_MD_SHA384; break;
        case 11: hash = MBEDTLS_MD_SHA512; break;
        default: return NULL;
        }
    }
    p = kdf;
    if ((cipher = cmbedtls_algorithm(&p, scheme, &oid)) == NULL || oid.len != 9 ||
        memcmp(oid.p, "\x60\x86\x48\x01\x65\x03\x04\x01", 8) != 0) return NULL;
    switch (oid.p[8]) {
    case 2: bits = 128; break;
    case 22: bits = 192; break;
    case 42: bits = 256; break;
    default: return NULL;
    }
    if (mbedtls_asn1_get_tag(&p, cipher, &count, MBEDTLS_ASN1_OCTET_STRING) != 0 || count != sizeof vector) return NULL;
    memcpy(vector, p, sizeof vector);
    p = scheme;
    *result = MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
    if (mbedtls_asn1_get_tag(&p, end, &count, MBEDTLS_ASN1_OCTET_STRING) != 0 || count == 0 || count % 16 != 0) return NULL;
    mbedtls_md_context_t md;
    mbedtls_aes_context aes;
    mbedtls_md_init(&md);
    mbedtls_aes_init(&aes);
    *result = mbedtls_md_setup(&md, mbedtls_md_info_from_type(hash), 1);
    if (*result == 0)
        *result = mbedtls_pkcs5_pbkdf2_hmac(&md, password, passwordCount, salt, saltCount, (unsigned)iterations, (uint32_t)bits / 8, key);
    if (*result == 0) *result = mbedtls_aes_setkey_dec(&aes, key, (unsigned)bits);
    if (*result == 0) *result = mbedtls_aes_crypt_cbc(&aes, MBEDTLS_AES_DECRYPT, count, vector, p, p);
    mbedtls_md_free(&md);
    mbedtls_aes_free(&aes);
    mbedtls_platform_zeroize(key, sizeof key);
    if (*result != 0) return NULL;
    // A wrong password shows at the padding, or at the latest in the key.
    size_t padding = p[count - 1];
    *result = MBEDTLS_ERR_PK_PASSWORD_MISMATCH;
    if (padding < 1 || padding > 16) return NULL;
    for (size_t i = 0; i < padding; i++) if (p[count - 1 - i] != padding) return NULL;
    *keyCount = count - padding;
    *result = 0;
    return p;
}
#endif
#endif
