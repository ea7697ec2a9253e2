// The devices that may log in, read from a JSON file.
//
//   { "products": [ { "productId": "Q7K2M9X4ZP", "productSecret": "…", "devices": [
//       { "deviceName": "pump-01", "type": "key", "deviceSecret": "AAECAwQFBgcICQoLDA0ODw==", "enabled": true },
//       { "deviceName": "pump-02", "type": "certificate", "enabled": true } ] } ] }
#ifndef HUB_REGISTRY_H
#define HUB_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum {
    HUB_PRODUCT_ID_LENGTH = 10,
    HUB_DEVICE_NAME_MAX = 48,
    HUB_CLIENT_ID_MAX = HUB_PRODUCT_ID_LENGTH + HUB_DEVICE_NAME_MAX,
    HUB_KEY_MAX = 48,
};

struct hub_device {
    char client_id[HUB_CLIENT_ID_MAX + 1];
    bool enabled;
    bool has_certificate;
    unsigned char key[HUB_KEY_MAX];
    size_t key_length;  // 0 for a device with a certificate
};

struct hub_registry {
    char *path;
    struct stat state;           // of the file that was read last
    struct hub_device *devices;  // sorted by client ID
    size_t count;
};

/// Reads the file if it has changed since the last call. On an error, which `error` then says, the devices stay as they
/// were. Returns whether they were replaced.
bool hub_registry_refresh(struct hub_registry *registry, char *error, size_t error_size);

/// The device, or NULL.
const struct hub_device *hub_registry_find(const struct hub_registry *registry, const char *client_id);

/// Whether any device belongs to the product that `client_id` begins with.
bool hub_registry_has_product(const struct hub_registry *registry, const char *client_id);

void hub_registry_free(struct hub_registry *registry);

#endif
