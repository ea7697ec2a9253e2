#include "registry.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long file_max = 64 << 20;

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/// Decodes base64, with or without its padding, to 1 to HUB_KEY_MAX bytes. Returns 0 for anything else.
static size_t decode_secret(const char *text, unsigned char key[HUB_KEY_MAX]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t digits = strspn(text, alphabet), padding = strlen(text) - digits;
    if (digits == 0 || digits > HUB_KEY_MAX * 4 / 3 || digits % 4 == 1 || padding != strspn(text + digits, "=")) {
        return 0;
    }
    size_t missing = (4 - digits % 4) % 4;
    if (padding != 0 && padding != missing) return 0;

    unsigned char padded[HUB_KEY_MAX * 4 / 3], decoded[HUB_KEY_MAX];
    memcpy(padded, text, digits);
    memset(padded + digits, '=', missing);
    // EVP_DecodeBlock counts the padding as bytes of zero.
    int length = EVP_DecodeBlock(decoded, padded, (int)(digits + missing));
    size_t result = length < 0 ? 0 : (size_t)length - missing;
    memcpy(key, decoded, result);
    OPENSSL_cleanse(padded, sizeof padded);
    OPENSSL_cleanse(decoded, sizeof decoded);
    return result;
}

static const char *string_member(const cJSON *object, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static bool valid_name(const char *text, size_t least, size_t most, const char *characters) {
    size_t length = strlen(text);
    return length >= least && length <= most && strspn(text, characters) == length;
}

#define UPPER_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/// Fills in one device; returns what is wrong with it, or NULL.
static const char *read_device(const char *product_id, const cJSON *json, struct hub_device *device) {
    const char *name = string_member(json, "deviceName"), *type = string_member(json, "type");
    if (!valid_name(product_id, HUB_PRODUCT_ID_LENGTH, HUB_PRODUCT_ID_LENGTH, UPPER_AND_DIGITS)) {
        return "productId must be 10 of A-Z, 0-9";
    }
    if (!valid_name(name, 1, HUB_DEVICE_NAME_MAX, UPPER_AND_DIGITS "abcdefghijklmnopqrstuvwxyz_-")) {
        return "deviceName must be 1 to 48 of A-Z, a-z, 0-9, _ and -";
    }
    snprintf(device->client_id, sizeof device->client_id, "%s%s", product_id, name);
    device->enabled = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "enabled"));
    device->has_certificate = strcmp(type, "certificate") == 0;
    if (device->has_certificate) return NULL;
    if (strcmp(type, "key") != 0) return "type must be \"key\" or \"certificate\"";
    device->key_length = decode_secret(string_member(json, "deviceSecret"), device->key);
    return device->key_length > 0 ? NULL : "deviceSecret must be base64 of 1 to 48 bytes";
}

static int compare_devices(const void *a, const void *b) {
    return strcmp(((const struct hub_device *)a)->client_id, ((const struct hub_device *)b)->client_id);
}

/// Turns the file's text into `registry->devices`, all or nothing.
static bool read_devices(struct hub_registry *registry, const char *text, char *error, size_t error_size) {
    cJSON *json = cJSON_Parse(text);
    const cJSON *products = cJSON_GetObjectItemCaseSensitive(json, "products"), *product, *entry;
    if (!cJSON_IsArray(products)) {
        snprintf(error, error_size, json ? "has no array \"products\"" : "is not JSON");
        cJSON_Delete(json);
        return false;
    }
    size_t total = 0, count = 0;
    cJSON_ArrayForEach(product, products) {
        total += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(product, "devices"));
    }
    struct hub_device *devices = calloc(total > 0 ? total : 1, sizeof *devices);
    const char *fault = devices ? NULL : "does not fit into memory";
    cJSON_ArrayForEach(product, products) {
        cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(product, "devices")) {
            if (!fault) fault = read_device(string_member(product, "productId"), entry, &devices[count++]);
        }
    }
    cJSON_Delete(json);
    if (!fault) {
        qsort(devices, count, sizeof *devices, compare_devices);
        for (size_t i = 1; i < count && !fault; i++) {
            if (compare_devices(&devices[i - 1], &devices[i]) == 0) fault = "names a device twice";
        }
    }
    if (fault) {
        snprintf(error, error_size, "device number %zu: %s", count, fault);
        free(devices);
        return false;
    }
    hub_registry_free(registry);
    registry->devices = devices;
    registry->count = count;
    return true;
}

bool hub_registry_refresh(struct hub_registry *registry, char *error, size_t error_size) {
    struct stat state;
    error[0] = 0;
    if (stat(registry->path, &state) != 0) {
        snprintf(error, error_size, "%s", strerror(errno));
        return false;
    }
    if (same_file(&state, &registry->state)) return false;
    // What is read below is at least as new as this, so that a change in between is seen at the next call.
    registry->state = state;

    FILE *file = fopen(registry->path, "re");
    char *text = file && state.st_size <= file_max ? malloc((size_t)state.st_size + 1) : NULL;
    bool replaced = false;
    if (text) {
        text[fread(text, 1, (size_t)state.st_size, file)] = 0;
        replaced = read_devices(registry, text, error, error_size);
        OPENSSL_cleanse(text, (size_t)state.st_size);
        free(text);
    } else {
        snprintf(error, error_size, "%s", file ? "is too large" : strerror(errno));
    }
    if (file) fclose(file);
    return replaced;
}

const struct hub_device *hub_registry_find(const struct hub_registry *registry, const char *client_id) {
    struct hub_device wanted;
    if (strlen(client_id) > HUB_CLIENT_ID_MAX) return NULL;
    strcpy(wanted.client_id, client_id);
    return bsearch(&wanted, registry->devices, registry->count, sizeof wanted, compare_devices);
}

bool hub_registry_has_product(const struct hub_registry *registry, const char *client_id) {
    if (strlen(client_id) < HUB_PRODUCT_ID_LENGTH) return false;
    for (size_t i = 0; i < registry->count; i++) {
        if (strncmp(registry->devices[i].client_id, client_id, HUB_PRODUCT_ID_LENGTH) == 0) return true;
    }
    return false;
}

void hub_registry_free(struct hub_registry *registry) {
    if (registry->devices) OPENSSL_cleanse(registry->devices, registry->count * sizeof *registry->devices);
    free(registry->devices);
    registry->devices = NULL;
    registry->count = 0;
}
