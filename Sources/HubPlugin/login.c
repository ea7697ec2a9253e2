#include "login.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reasons.h"

/// The longest keep-alive that the hub takes, in seconds.
static const int keep_alive_max = 900;
static const char digits[] = "0123456789";

/// Splits `text` at semicolons into at most `most` fields; returns how many there are, `most + 1` for too many.
static int split(const char *text, const char *fields[], size_t lengths[], int most) {
    for (int count = 0;; count++) {
        if (count == most) return most + 1;
        fields[count] = text;
        lengths[count] = strcspn(text, ";");
        text += lengths[count];
        if (*text++ == 0) return count + 1;
    }
}

static bool only(const char *characters, const char *text, size_t length) {
    return length > 0 && strspn(text, characters) >= length;
}

/// `${clientID};${sdkappid};${connid};${expiry}`; a device with a certificate may leave out the last field, then
/// `expiry` is as if it never came.
static const char *check_username(
    const struct hub_login *login, const struct hub_device *device, unsigned long long *expiry) {
    static const char letters_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const char *fields[4];
    size_t lengths[4];
    if (!login->username) return HUB_MALFORMED_USERNAME;
    int count = split(login->username, fields, lengths, 4);
    if (count != 4 && !(count == 3 && device->has_certificate)) return HUB_MALFORMED_USERNAME;
    if (lengths[0] != strlen(login->client_id) || memcmp(fields[0], login->client_id, lengths[0]) != 0) {
        return HUB_WRONG_CLIENT_ID;
    }
    if (!only(digits, fields[1], lengths[1])) return HUB_MALFORMED_USERNAME;
    if (lengths[2] != 5 || !only(letters_and_digits, fields[2], 5)) return HUB_MALFORMED_USERNAME;
    *expiry = ULLONG_MAX;
    if (count == 3) return NULL;
    // 19 digits always fit into 64 bits.
    if (lengths[3] > 19 || !only(digits, fields[3], lengths[3])) return HUB_MALFORMED_USERNAME;
    *expiry = strtoull(fields[3], NULL, 10);
    return NULL;
}

/// `hex(HMAC(key, username));hmacsha256` or `…;hmacsha1`.
static const char *check_password(const struct hub_login *login, const struct hub_device *device) {
    const char *fields[2];
    size_t lengths[2];
    if (split(login->password, fields, lengths, 2) != 2) return HUB_MALFORMED_PASSWORD;
    const EVP_MD *digest;
    if (strcmp(fields[1], "hmacsha256") == 0) {
        digest = EVP_sha256();
    } else if (strcmp(fields[1], "hmacsha1") == 0) {
        digest = EVP_sha1();
    } else {
        return HUB_MALFORMED_PASSWORD;
    }
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    char text[EVP_MAX_MD_SIZE * 2 + 1];
    if (!HMAC(
            digest, device->key, (int)device->key_length, (const unsigned char *)login->username,
            strlen(login->username), code, &length)) {
        return HUB_BAD_SIGNATURE;
    }
    for (unsigned int i = 0; i < length; i++) snprintf(text + 2 * i, 3, "%02x", code[i]);
    bool equal = lengths[0] == 2 * length && CRYPTO_memcmp(text, fields[0], lengths[0]) == 0;
    OPENSSL_cleanse(text, sizeof text);
    return equal ? NULL : HUB_BAD_SIGNATURE;
}

const char *hub_device_check(
    const struct hub_registry *registry, const struct hub_device *found, const char *client_id) {
    if (found) return found->enabled ? NULL : HUB_DEVICE_DISABLED;
    return hub_registry_has_product(registry, client_id) ? HUB_UNKNOWN_DEVICE : HUB_UNKNOWN_PRODUCT;
}

const char *hub_login_check(const struct hub_registry *registry, const struct hub_login *login) {
    const struct hub_device *device = hub_registry_find(registry, login->client_id);
    const char *reason = hub_device_check(registry, device, login->client_id);
    if (reason) return reason;
    if (login->protocol_level != 4) return HUB_WRONG_PROTOCOL;
    if (login->keep_alive > keep_alive_max) return HUB_LONG_KEEP_ALIVE;

    if (login->psk_identity && strcmp(login->psk_identity, login->client_id) != 0) return HUB_WRONG_PSK_IDENTITY;
    if (device->has_certificate) {
        if (!login->certificate_name) return HUB_CERTIFICATE_NEEDED;
        if (strcmp(login->certificate_name, login->client_id) != 0) return HUB_WRONG_CERTIFICATE;
    } else if (login->certificate_name) {
        return HUB_CERTIFICATE_NOT_ALLOWED;
    }

    unsigned long long expiry;
    reason = check_username(login, device, &expiry);
    if (reason) return reason;
    // For a device with a certificate, that is the proof, whatever the password; for a pre-shared key, too, without one.
    if (!device->has_certificate && login->password) reason = check_password(login, device);
    if (!device->has_certificate && !login->password && !login->psk_identity) reason = HUB_MISSING_PASSWORD;
    if (reason) return reason;
    return expiry < (unsigned long long)login->now ? HUB_EXPIRED : NULL;
}
