// The parts of mbedTLS that SecureTransport uses, and wrappers for what Swift cannot import (macros, private fields of 3.x).
#ifndef APUS_CMBEDTLS_H
#define APUS_CMBEDTLS_H
#include <mbedtls/version.h>
#include <mbedtls/aes.h>
#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

#if defined(__linux__)
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <string.h>
#include "pbes2.h"

/// The description of the last alert that the peer sent, or -1.
static inline int cmbedtls_last_alert(const mbedtls_ssl_context *ssl) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    if (ssl->in_msgtype == MBEDTLS_SSL_MSG_ALERT && ssl->in_msg != NULL) return ssl->in_msg[1];
#endif
    return -1;
}

static inline int cmbedtls_handshake_is_over(const mbedtls_ssl_context *ssl) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#else
    return mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)ssl);
#endif
}

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

static inline int cmbedtls_defaults(mbedtls_ssl_config *config, int isServer, int isDatagram) {
    int result = mbedtls_ssl_config_defaults(config, isServer ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
        isDatagram ? MBEDTLS_SSL_TRANSPORT_DATAGRAM : MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (result != 0) return result;
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    return 0;
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

/// Whether two sessions have the same master secret: the later one has resumed the earlier one then.
static inline int cmbedtls_same_session(const mbedtls_ssl_session *a, const mbedtls_ssl_session *b) {
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return memcmp(a->master, b->master, sizeof a->master) == 0;
#else
    return memcmp(a->MBEDTLS_PRIVATE(master), b->MBEDTLS_PRIVATE(master), sizeof a->MBEDTLS_PRIVATE(master)) == 0;
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

static inline void cmbedtls_use_drbg(mbedtls_ssl_config *config, mbedtls_ctr_drbg_context *random) {
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, random);
}

static inline int cmbedtls_seed(mbedtls_ctr_drbg_context *random, mbedtls_entropy_context *entropy) {
    return mbedtls_ctr_drbg_seed(random, mbedtls_entropy_func, entropy, NULL, 0);
}

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
