// Which sub-devices are online behind which gateway: the simulator says so on `$hub/sub-devices/GATEWAY`.
#ifndef HUB_SUBDEVICES_H
#define HUB_SUBDEVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "registry.h"

struct hub_gateway {
    struct hub_gateway *next;
    char client_id[HUB_CLIENT_ID_MAX + 1];
    char (*devices)[HUB_CLIENT_ID_MAX + 1];
    size_t count;
};

struct hub_subdevices {
    struct hub_gateway *gateways;
};

/// Replaces the sub-devices of a gateway by those of `text`: client IDs, a line each. Returns false without memory.
bool hub_subdevices_set(struct hub_subdevices *subdevices, const char *gateway, const char *text, size_t length);

/// Whether `allowed` holds for a sub-device of the gateway and this topic.
bool hub_subdevices_any(
    const struct hub_subdevices *subdevices, const char *gateway, const char *topic,
    bool (*allowed)(const char *client_id, const char *topic));

void hub_subdevices_free(struct hub_subdevices *subdevices);

#endif
