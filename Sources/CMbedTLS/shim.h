// The parts of mbedTLS that SecureTransport uses, and wrappers for what Swift cannot import (macros, private fields of 3.x).
#ifndef APUS_CMBEDTLS_H
#define APUS_CMBEDTLS_H
// mbedTLS 3 has no getter for some of what is needed here; what is read of its fields is read in this file only.
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/version.h>
#include <stddef.h>
#include <mbedtls/aes.h>
#include <mbedtls/base64.h>
#include <mbedtls/ccm.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/gcm.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/pk.h>
#if defined(__linux__)
#include <stdlib.h>
#include <string.h>
#else
// Firmware's C library has these, but Swift does not see its headers.
void *calloc(size_t, size_t);
void free(void *);
int memcmp(const void *, const void *, size_t);
void *memcpy(void *, const void *, size_t);
#endif

/// Encrypts or decrypts whole blocks in place.
static inline int cmbedtls_aes_cbc(int mode, const unsigned char *key, size_t keyCount, unsigned char vector[16], unsigned char *bytes,
    size_t count) {
    mbedtls_aes_context context;
    mbedtls_aes_init(&context);
    unsigned int bits = (unsigned int)keyCount * 8;
    int result = mode == MBEDTLS_AES_ENCRYPT ? mbedtls_aes_setkey_enc(&context, key, bits) : mbedtls_aes_setkey_dec(&context, key, bits);
    if (result == 0) result = mbedtls_aes_crypt_cbc(&context, mode, count, vector, bytes, bytes);
    mbedtls_aes_free(&context);
    return result;
}

// What a configuration leaves out of mbedTLS is left out here.
#if defined(MBEDTLS_SSL_TLS_C)
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/x509.h>

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
// What is told by other numbers there.
#define MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN (-0x6E00)
#define MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE (-0x7A00)
#endif
#if !defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
#define MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET (-0x7B00)
#endif

/// The description of the last alert that the peer sent, or -1.
static inline int cmbedtls_last_alert(const mbedtls_ssl_context *ssl) {
    if (ssl->in_msgtype == MBEDTLS_SSL_MSG_ALERT && ssl->in_msg != NULL) return ssl->in_msg[1];
    return -1;
}

/// Whether this mbedTLS has TLS 1.3.
static inline int cmbedtls_has_tls13(void) {
#if defined(MBEDTLS_SSL_PROTO_TLS1_3) && MBEDTLS_VERSION_NUMBER >= 0x03060000
    return 1;
#else
    return 0;
#endif
}

/// Whether an EC key may be elsewhere.
static inline int cmbedtls_has_external_ec_keys(void) { return MBEDTLS_VERSION_NUMBER < 0x03000000; }

/// Whether this mbedTLS has connection IDs (RFC 9146); those of version 2.28 are of an earlier draft.
static inline int cmbedtls_has_connection_ids(void) {
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03000000
    return 1;
#else
    return 0;
#endif
}

/// How long the connection IDs are that the sessions of a configuration have.
static inline int cmbedtls_use_connection_ids(mbedtls_ssl_config *config, size_t count) {
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_ssl_conf_cid(config, count, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE);
#else
    (void)config, (void)count;
    return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE;
#endif
}

/// Offers or takes connection IDs in the next handshake; the session's own is `bytes`.
static inline int cmbedtls_set_connection_id(mbedtls_ssl_context *ssl, const unsigned char *bytes, size_t count) {
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_ssl_set_cid(ssl, MBEDTLS_SSL_CID_ENABLED, bytes, count);
#else
    (void)ssl, (void)bytes, (void)count;
    return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE;
#endif
}

/// Whether the two ends have agreed on connection IDs.
static inline int cmbedtls_uses_connection_ids(mbedtls_ssl_context *ssl) {
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03000000
    int isEnabled = 0;
    return mbedtls_ssl_get_peer_cid(ssl, &isEnabled, NULL, NULL) == 0 && isEnabled == MBEDTLS_SSL_CID_ENABLED;
#else
    (void)ssl;
    return 0;
#endif
}

#if defined(MBEDTLS_X509_CRT_PARSE_C)
#include <mbedtls/x509_crt.h>
#if defined(MBEDTLS_PKCS5_C) && MBEDTLS_VERSION_NUMBER < 0x03050000
#define CMBEDTLS_NEEDS_PBES2
#include "pbes2.h"
#endif

static inline int cmbedtls_pk_parse_plain_key(mbedtls_pk_context *key, const unsigned char *bytes, size_t count,
    const unsigned char *password, size_t passwordCount, mbedtls_ctr_drbg_context *random) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    (void)random;
    return mbedtls_pk_parse_key(key, bytes, count, password, passwordCount);
#else
    return mbedtls_pk_parse_key(key, bytes, count, password, passwordCount, mbedtls_ctr_drbg_random, random);
#endif
}

/// Reads a private key, PEM with a zero behind it or DER.
static inline int cmbedtls_pk_parse_key(mbedtls_pk_context *key, const unsigned char *bytes, size_t count,
    const unsigned char *password, size_t passwordCount, mbedtls_ctr_drbg_context *random) {
    int result = cmbedtls_pk_parse_plain_key(key, bytes, count, password, passwordCount, random);
#if defined(CMBEDTLS_NEEDS_PBES2)
    if (result == 0 || passwordCount == 0) return result;
    mbedtls_pem_context pem;
    mbedtls_pem_init(&pem);
    size_t used = 0, keyCount = 0;
    unsigned char *copy = NULL, *der = NULL;
    int other = MBEDTLS_ERR_PEM_NO_HEADER_FOOTER_PRESENT;
    if (count > 0 && bytes[count - 1] == 0)
        other = mbedtls_pem_read_buffer(&pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----", bytes, NULL, 0, &used);
    size_t derCount = other == 0 ? pem.buflen : count;
    if ((copy = (unsigned char *)malloc(derCount)) != NULL) {
        memcpy(copy, other == 0 ? pem.buf : bytes, derCount);
        int decrypted;
        der = cmbedtls_pbes2_decrypt(copy, derCount, password, passwordCount, &keyCount, &decrypted);
        if (der != NULL) {
            mbedtls_pk_free(key);
            mbedtls_pk_init(key);
            result = cmbedtls_pk_parse_plain_key(key, der, keyCount, NULL, 0, random);
        } else if (decrypted != MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE) {
            result = decrypted;
        }
        mbedtls_platform_zeroize(copy, derCount);
        free(copy);
    }
    mbedtls_pem_free(&pem);
#endif
    return result;
}

/// Whether `key` is the private half of the certificate's key.
static inline int cmbedtls_key_matches(mbedtls_x509_crt *certificate, mbedtls_pk_context *key,
    mbedtls_ctr_drbg_context *random) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    (void)random;
    return mbedtls_pk_check_pair(&certificate->pk, key);
#else
    return mbedtls_pk_check_pair(&certificate->pk, key, mbedtls_ctr_drbg_random, random);
#endif
}

/// Signs a digest with a key that is elsewhere; returns the length of the signature, or an error.
typedef int cmbedtls_sign_t(void *owner, mbedtls_md_type_t hash, const unsigned char *digest, size_t count,
    unsigned char *signature, size_t capacity);

#if MBEDTLS_VERSION_NUMBER < 0x03000000
#include <mbedtls/pk_internal.h>
#else
#include <psa/crypto.h>
#endif

/// What stands for a key that is elsewhere.
typedef struct {
    void *owner;
    cmbedtls_sign_t *sign;
    size_t bits;
} cmbedtls_signer;

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
static size_t cmbedtls_signer_length(void *signer) { return (((cmbedtls_signer *)signer)->bits + 7) / 8; }
static int cmbedtls_signer_sign_rsa(void *context, int (*random)(void *, unsigned char *, size_t), void *randomContext, mbedtls_md_type_t hash,
    unsigned int count, const unsigned char *digest, unsigned char *signature) {
    (void)random;
    (void)randomContext;
    cmbedtls_signer *signer = (cmbedtls_signer *)context;
    int result = signer->sign(signer->owner, hash, digest, count, signature, cmbedtls_signer_length(signer));
    if (result < 0) return result;
    return (size_t)result == cmbedtls_signer_length(signer) ? 0 : MBEDTLS_ERR_PK_INVALID_ALG;
}
#else
static void *cmbedtls_signer_allocate(void) { return calloc(1, sizeof(cmbedtls_signer)); }
static void cmbedtls_signer_free(void *signer) { free(signer); }
static size_t cmbedtls_signer_bits(const void *signer) { return ((const cmbedtls_signer *)signer)->bits; }
static int cmbedtls_signer_is_rsa(mbedtls_pk_type_t type) { return type == MBEDTLS_PK_RSA; }
static int cmbedtls_signer_is_ec(mbedtls_pk_type_t type) { return type == MBEDTLS_PK_ECKEY || type == MBEDTLS_PK_ECDSA; }
static int cmbedtls_signer_sign(void *context, mbedtls_md_type_t hash, const unsigned char *digest, size_t count,
    unsigned char *signature, size_t *signatureCount, int (*random)(void *, unsigned char *, size_t), void *randomContext) {
    (void)random;
    (void)randomContext;
    cmbedtls_signer *signer = (cmbedtls_signer *)context;
    int result = signer->sign(signer->owner, hash, digest, count, signature, MBEDTLS_PK_SIGNATURE_MAX_SIZE);
    if (result <= 0) return result < 0 ? result : MBEDTLS_ERR_PK_INVALID_ALG;
    *signatureCount = (size_t)result;
    return 0;
}

static const mbedtls_pk_info_t cmbedtls_signer_rsa = {.type = MBEDTLS_PK_RSA_ALT, .name = "RSA", .get_bitlen = cmbedtls_signer_bits,
    .can_do = cmbedtls_signer_is_rsa, .sign_func = cmbedtls_signer_sign, .ctx_alloc_func = cmbedtls_signer_allocate,
    .ctx_free_func = cmbedtls_signer_free};
static const mbedtls_pk_info_t cmbedtls_signer_ec = {.type = MBEDTLS_PK_ECKEY, .name = "EC", .get_bitlen = cmbedtls_signer_bits,
    .can_do = cmbedtls_signer_is_ec, .sign_func = cmbedtls_signer_sign, .ctx_alloc_func = cmbedtls_signer_allocate,
    .ctx_free_func = cmbedtls_signer_free};
#endif

/// Frees a key that may be one that is elsewhere.
static inline void cmbedtls_free_key(mbedtls_pk_context *key) {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    // Of a key that is elsewhere the library frees its own part only, whose first member is ours.
    void *signer = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA_ALT ? *(void **)key->pk_ctx : NULL;
    mbedtls_pk_free(key);
    free(signer);
#else
    mbedtls_pk_free(key);
#endif
}

/// Makes `key` one that is elsewhere, of the kind of the certificate's.
static inline int cmbedtls_use_signer(mbedtls_pk_context *key, const mbedtls_x509_crt *certificate, void *owner, cmbedtls_sign_t *sign) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    int isRSA = mbedtls_pk_can_do(&certificate->pk, MBEDTLS_PK_RSA);
    if (!isRSA && !mbedtls_pk_can_do(&certificate->pk, MBEDTLS_PK_ECDSA)) return MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE;
    int result = mbedtls_pk_setup(key, isRSA ? &cmbedtls_signer_rsa : &cmbedtls_signer_ec);
    if (result != 0) return result;
    cmbedtls_signer *signer = (cmbedtls_signer *)key->pk_ctx;
    signer->owner = owner;
    signer->sign = sign;
    signer->bits = mbedtls_pk_get_bitlen(&certificate->pk);
    return 0;
#else
    // An EC key that is elsewhere is a driver of the library's PSA interface there.
    if (!mbedtls_pk_can_do(&certificate->pk, MBEDTLS_PK_RSA)) return MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE;
    cmbedtls_signer *signer = (cmbedtls_signer *)calloc(1, sizeof *signer);
    if (signer == NULL) return MBEDTLS_ERR_PK_ALLOC_FAILED;
    signer->owner = owner;
    signer->sign = sign;
    signer->bits = mbedtls_pk_get_bitlen(&certificate->pk);
    int result = mbedtls_pk_setup_rsa_alt(key, signer, NULL, cmbedtls_signer_sign_rsa, cmbedtls_signer_length);
    if (result != 0) free(signer);
    return result;
#endif
}

static inline int cmbedtls_sign(mbedtls_pk_context *key, mbedtls_md_type_t hash, const unsigned char *digest, size_t count,
    unsigned char *signature, size_t capacity, size_t *signatureCount, mbedtls_ctr_drbg_context *random) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    if (capacity < MBEDTLS_PK_SIGNATURE_MAX_SIZE) return MBEDTLS_ERR_PK_BAD_INPUT_DATA;
    return mbedtls_pk_sign(key, hash, digest, count, signature, signatureCount, mbedtls_ctr_drbg_random, random);
#else
    return mbedtls_pk_sign(key, hash, digest, count, signature, capacity, signatureCount, mbedtls_ctr_drbg_random, random);
#endif
}

/// Whether the certificate says for which names its owner may sign certificates (RFC 5280, 4.2.1.10): mbedTLS knows nothing of that.
static inline int cmbedtls_has_name_constraints(const mbedtls_x509_crt *certificate) {
    static const unsigned char identifier[] = {0x06, 0x03, 0x55, 0x1D, 0x1E};
    const unsigned char *bytes = certificate->v3_ext.p;
    for (size_t i = 0; i + sizeof identifier <= certificate->v3_ext.len; i++) {
        if (memcmp(bytes + i, identifier, sizeof identifier) == 0) return 1;
    }
    return 0;
}

static inline void cmbedtls_use_profile(mbedtls_ssl_config *config, const mbedtls_x509_crt_profile *profile) {
    mbedtls_ssl_conf_cert_profile(config, profile);
}

static inline void cmbedtls_set_verify(mbedtls_ssl_context *ssl, int (*verify)(void *, mbedtls_x509_crt *, int, uint32_t *), void *context) {
    mbedtls_ssl_set_verify(ssl, verify, context);
}

/// `name` ends with a zero.
static inline int cmbedtls_set_hostname(mbedtls_ssl_context *ssl, const unsigned char *name) {
    return mbedtls_ssl_set_hostname(ssl, (const char *)name);
}

/// Says that the name is looked at otherwise.
static inline void cmbedtls_need_no_hostname(mbedtls_ssl_context *ssl) {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_ssl_set_hostname(ssl, NULL);
#else
    (void)ssl;
#endif
}
#endif

#if defined(MBEDTLS_ECP_C)
/// The curves that are offered and taken, the fastest first: the library's own list begins with its slowest.
static inline void cmbedtls_use_curves(mbedtls_ssl_config *config) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    static const mbedtls_ecp_group_id curves[] = {
#if defined(MBEDTLS_ECP_DP_SECP256R1_ENABLED)
        MBEDTLS_ECP_DP_SECP256R1,
#endif
#if defined(MBEDTLS_ECP_DP_CURVE25519_ENABLED)
        MBEDTLS_ECP_DP_CURVE25519,
#endif
#if defined(MBEDTLS_ECP_DP_SECP384R1_ENABLED)
        MBEDTLS_ECP_DP_SECP384R1,
#endif
#if defined(MBEDTLS_ECP_DP_SECP521R1_ENABLED)
        MBEDTLS_ECP_DP_SECP521R1,
#endif
        MBEDTLS_ECP_DP_NONE};
    mbedtls_ssl_conf_curves(config, curves);
#else
    static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    mbedtls_ssl_conf_groups(config, groups);
#endif
}
#endif

#if defined(MBEDTLS_KEY_EXCHANGE_WITH_CERT_ENABLED) || defined(MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED)
/// The hashes that a handshake may be signed with: not SHA-1, which the library takes too.
static inline void cmbedtls_use_hashes(mbedtls_ssl_config *config) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE};
    mbedtls_ssl_conf_sig_hashes(config, hashes);
#else
    (void)config;  // It takes none of SHA-1 by itself.
#endif
}
#endif

static inline int cmbedtls_use_protocols(mbedtls_ssl_config *config, const char **protocols) {
#if defined(MBEDTLS_SSL_ALPN)
    return mbedtls_ssl_conf_alpn_protocols(config, protocols);
#else
    (void)config;
    (void)protocols;
    return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE;
#endif
}

static inline int cmbedtls_defaults(mbedtls_ssl_config *config, int isServer, int isDatagram, int needsTLS13) {
#if MBEDTLS_VERSION_NUMBER >= 0x03060000 && defined(MBEDTLS_PSA_CRYPTO_C)
    if (psa_crypto_init() != PSA_SUCCESS) return MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
#endif
    if (needsTLS13 && !cmbedtls_has_tls13()) return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE;
    int result = mbedtls_ssl_config_defaults(config, isServer ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
        isDatagram ? MBEDTLS_SSL_TRANSPORT_DATAGRAM : MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (result != 0) return result;
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#else
    mbedtls_ssl_conf_min_tls_version(config, needsTLS13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
#endif
#if defined(MBEDTLS_SSL_PROTO_TLS1_3) && defined(MBEDTLS_SSL_SESSION_TICKETS) && defined(MBEDTLS_SSL_CLI_C) && MBEDTLS_VERSION_NUMBER >= 0x03060100
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
#if defined(MBEDTLS_ECP_C)
    cmbedtls_use_curves(config);
#endif
#if defined(MBEDTLS_KEY_EXCHANGE_WITH_CERT_ENABLED) || defined(MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED)
    cmbedtls_use_hashes(config);
#endif
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    return 0;
}

/// What mbedTLS has decrypted and nobody has taken: it stays where it is, so that it need not be copied. Ask for it when mbedtls_ssl_read for no bytes has
/// returned 0.
static inline const unsigned char *cmbedtls_plaintext(const mbedtls_ssl_context *ssl, size_t *count) {
    *count = ssl->in_offt != NULL ? ssl->in_msglen : 0;
    return ssl->in_offt;
}

/// Takes so many bytes of it, as mbedtls_ssl_read does, which copies them too.
static inline void cmbedtls_take(mbedtls_ssl_context *ssl, size_t count) {
    if (ssl->in_offt == NULL || count > ssl->in_msglen) return;
    mbedtls_platform_zeroize(ssl->in_offt, count);
    ssl->in_msglen -= count;
    if (ssl->in_msglen == 0) {
        ssl->in_offt = NULL;
        ssl->keep_current_message = 0;
    } else {
        ssl->in_offt += count;
    }
}

/// Tells the peer why the handshake fails, where mbedTLS does not.
static inline int cmbedtls_send_alert(mbedtls_ssl_context *ssl, unsigned char alert) {
    return mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
}

/// What the session was given as its own, see cmbedtls_set_user.
static inline void *cmbedtls_user(mbedtls_ssl_context *ssl) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return ssl->p_bio;
#else
    return mbedtls_ssl_get_user_data_p(ssl);
#endif
}

/// Gives the session an object of its own, which its input and output callbacks get too.
static inline void cmbedtls_set_user(mbedtls_ssl_context *ssl, void *user, mbedtls_ssl_send_t *send, mbedtls_ssl_recv_t *receive) {
    mbedtls_ssl_set_bio(ssl, user, send, receive, NULL);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_ssl_set_user_data_p(ssl, user);
#endif
}

/// Whether the two ends speak TLS 1.3, whose sessions can be resumed when a ticket has come, after the handshake.
static inline int cmbedtls_is_tls13(const mbedtls_ssl_context *ssl) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    (void)ssl;
    return 0;
#else
    return mbedtls_ssl_get_version_number(ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#endif
}

/// Whether two sessions have the same master secret: the later one has resumed the earlier one then.
static inline int cmbedtls_same_session(const mbedtls_ssl_session *a, const mbedtls_ssl_session *b) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return memcmp(a->master, b->master, sizeof a->master) == 0;
#else
    return a->tls_version == MBEDTLS_SSL_VERSION_TLS1_2 && memcmp(a->master, b->master, sizeof a->master) == 0;
#endif
}

static inline void cmbedtls_use_drbg(mbedtls_ssl_config *config, mbedtls_ctr_drbg_context *random) {
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, random);
}

#if defined(MBEDTLS_SSL_SRV_C)
#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crl.h>
#if MBEDTLS_VERSION_NUMBER < 0x03000000
#include <mbedtls/ssl_internal.h>
#endif

/// Keying material for an application (RFC 5705); `contextCount` below 0 is for no context.
static inline int cmbedtls_export(mbedtls_ssl_context *ssl, const char *label, const unsigned char *context, ptrdiff_t contextCount,
    unsigned char *key, size_t count) {
    size_t labelCount = strlen(label);
    if (contextCount > 0xFFFF) return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
#if defined(MBEDTLS_SSL_KEYING_MATERIAL_EXPORT)
    return mbedtls_ssl_export_keying_material(ssl, key, count, label, labelCount, context, contextCount < 0 ? 0 : (size_t)contextCount,
        contextCount >= 0);
#elif MBEDTLS_VERSION_NUMBER < 0x03000000 && defined(MBEDTLS_SSL_CONTEXT_SERIALIZATION)
    // The transform has the server's random first, the exporter the client's.
    if (ssl->session == NULL || ssl->transform == NULL) return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    size_t seedCount = 64 + (contextCount < 0 ? 0 : 2 + (size_t)contextCount);
    unsigned char *seed = (unsigned char *)malloc(seedCount);
    if (seed == NULL) return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    memcpy(seed, ssl->transform->randbytes + 32, 32);
    memcpy(seed + 32, ssl->transform->randbytes, 32);
    if (contextCount >= 0) {
        seed[64] = (unsigned char)(contextCount >> 8);
        seed[65] = (unsigned char)contextCount;
        memcpy(seed + 66, context, (size_t)contextCount);
    }
    const mbedtls_ssl_ciphersuite_t *suite = mbedtls_ssl_ciphersuite_from_id(ssl->session->ciphersuite);
    mbedtls_tls_prf_types prf = suite != NULL && suite->mac == MBEDTLS_MD_SHA384 ? MBEDTLS_SSL_TLS_PRF_SHA384 : MBEDTLS_SSL_TLS_PRF_SHA256;
    int result = mbedtls_ssl_tls_prf(prf, ssl->session->master, sizeof ssl->session->master, label, seed, seedCount, key, count);
    free(seed);
    (void)labelCount;
    return result;
#else
    (void)labelCount;
    (void)ssl, (void)context, (void)key, (void)count;
    return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE;
#endif
}

static inline int cmbedtls_cookie_setup(mbedtls_ssl_cookie_ctx *cookies, mbedtls_ctr_drbg_context *random) {
    return mbedtls_ssl_cookie_setup(cookies, mbedtls_ctr_drbg_random, random);
}

static inline void cmbedtls_use_cookies(mbedtls_ssl_config *config, mbedtls_ssl_cookie_ctx *cookies) {
    mbedtls_ssl_conf_dtls_cookies(config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check, cookies);
}

static inline int cmbedtls_ticket_setup(mbedtls_ssl_ticket_context *tickets, mbedtls_ctr_drbg_context *random, uint32_t seconds) {
    return mbedtls_ssl_ticket_setup(tickets, mbedtls_ctr_drbg_random, random, MBEDTLS_CIPHER_AES_256_GCM, seconds);
}

static inline void cmbedtls_use_tickets(mbedtls_ssl_config *config, mbedtls_ssl_ticket_context *tickets) {
    mbedtls_ssl_conf_session_tickets_cb(config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, tickets);
}

static inline void cmbedtls_use_cache(mbedtls_ssl_config *config, mbedtls_ssl_cache_context *cache) {
    mbedtls_ssl_conf_session_cache(config, cache, mbedtls_ssl_cache_get, mbedtls_ssl_cache_set);
}

/// The subject of the certificate, or its issuer, as text; returns its length.
static inline int cmbedtls_distinguished_name(const mbedtls_x509_crt *certificate, int isIssuer, char *text, size_t capacity) {
    return mbedtls_x509_dn_gets(text, capacity, isIssuer ? &certificate->issuer : &certificate->subject);
}
#endif

#if defined(MBEDTLS_X509_CRT_PARSE_C)
/// Fills the profile that this project accepts: SHA-256 and up, P-256 and up, RSA from 2,048 bits.
static inline void cmbedtls_fill_profile(mbedtls_x509_crt_profile *profile) {
    profile->allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384)
        | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512);
    profile->allowed_pks = 0xFFFFFFF;
    profile->allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1)
        | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1);
    profile->rsa_min_bitlen = 2048;
}

/// Whether the certificate has `address` (4 or 16 octets) as a subject alternative name of the type IP address.
static inline int cmbedtls_has_address(const mbedtls_x509_crt *certificate, const unsigned char *address, size_t count) {
    for (const mbedtls_x509_sequence *name = &certificate->subject_alt_names; name != NULL; name = name->next) {
        if ((name->buf.tag & 0x1F) == 7 && name->buf.len == count && memcmp(name->buf.p, address, count) == 0) return 1;
    }
    return 0;
}

/// Copies the n-th DNS name of the certificate, or the common name if it has none, to `text`; returns its length, 0 at the end.
static inline size_t cmbedtls_name(const mbedtls_x509_crt *certificate, int index, char *text, size_t capacity) {
    int found = 0;
    for (const mbedtls_x509_sequence *name = &certificate->subject_alt_names; name != NULL; name = name->next) {
        if ((name->buf.tag & 0x1F) != 2) continue;
        if (found++ != index) continue;
        size_t count = name->buf.len < capacity ? name->buf.len : capacity;
        memcpy(text, name->buf.p, count);
        return count;
    }
    if (found > 0 || index > 0) return 0;
    for (const mbedtls_x509_name *name = &certificate->subject; name != NULL; name = name->next) {
        if (name->oid.len == 3 && memcmp(name->oid.p, "\x55\x04\x03", 3) == 0) {
            size_t count = name->val.len < capacity ? name->val.len : capacity;
            memcpy(text, name->val.p, count);
            return count;
        }
    }
    return 0;
}
#endif
#endif
#endif
