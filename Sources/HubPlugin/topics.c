#include "topics.h"

#include <stdio.h>
#include <string.h>

#include "registry.h"

enum { UP = 1, DOWN = 2, LAST_LEVEL = 4 };

/// What comes before `${productID}/${deviceName}` in a system topic, which way its messages go, and whether one more
/// level follows.
static const struct {
    const char *prefix;
    int flags;
} system_topics[] = {
    {"$shadow/operation/", UP},
    {"$shadow/operation/result/", DOWN},
    {"$template/operation/", UP},
    {"$template/operation/result/", DOWN},
    {"$ota/report/", UP},
    {"$ota/update/", DOWN},
    {"$gateway/operation/", UP},
    {"$gateway/operation/result/", DOWN},
    {"$rrpc/rxd/", DOWN | LAST_LEVEL},
    {"$rrpc/txd/", UP | LAST_LEVEL},
    {"$sys/operation/", UP},
    {"$sys/operation/result/", DOWN},
    {"$broadcast/rxd/", DOWN},
    {"$config/operation/", UP},
    {"$config/operation/result/", DOWN},
    {"$config/report/", UP},  // the older names of these two
    {"$config/update/", DOWN},
    {"$log/operation/", UP},
    {"$log/operation/result/", DOWN},
    {"$resource/up/service/", UP},
    {"$resource/down/service/", DOWN},
    {"$thing/up/property/", UP},
    {"$thing/down/property/", DOWN},
    {"$thing/up/event/", UP},
    {"$thing/down/event/", DOWN},
    {"$thing/up/action/", UP},
    {"$thing/down/action/", DOWN},
    {"$thing/up/service/", UP},
    {"$thing/down/service/", DOWN},
    {"$thing/up/raw/", UP},
    {"$thing/down/raw/", DOWN},
};

/// What follows `${productID}/${deviceName}` in `topic`, or NULL if it does not begin so.
static const char *after_device(const char *client_id, const char *topic) {
    size_t length = strlen(client_id);
    if (length <= HUB_PRODUCT_ID_LENGTH || length > HUB_CLIENT_ID_MAX) return NULL;
    if (strncmp(topic, client_id, HUB_PRODUCT_ID_LENGTH) != 0 || topic[HUB_PRODUCT_ID_LENGTH] != '/') return NULL;
    topic += HUB_PRODUCT_ID_LENGTH + 1;
    length -= HUB_PRODUCT_ID_LENGTH;
    return strncmp(topic, client_id + HUB_PRODUCT_ID_LENGTH, length) == 0 ? topic + length : NULL;
}

static bool is_system_topic(const char *client_id, const char *topic, int direction) {
    for (size_t i = 0; i < sizeof system_topics / sizeof *system_topics; i++) {
        size_t length = strlen(system_topics[i].prefix);
        if (!(system_topics[i].flags & direction) || strncmp(topic, system_topics[i].prefix, length) != 0) continue;
        const char *rest = after_device(client_id, topic + length);
        if (!rest) continue;
        if (!(system_topics[i].flags & LAST_LEVEL)) return *rest == 0;
        return rest[0] == '/' && rest[1] != 0 && rest[1] != '#' && !strchr(rest + 1, '/');
    }
    return false;
}

bool hub_topic_publish(const char *client_id, const char *topic) {
    if (topic[0] == '$') return is_system_topic(client_id, topic, UP);
    const char *rest = after_device(client_id, topic);
    return rest && rest[0] == '/' && rest[1] != 0 && strcmp(rest, "/control") != 0;
}

bool hub_topic_subscribe(const char *client_id, const char *filter) {
    if (filter[0] == '$') return is_system_topic(client_id, filter, DOWN);
    const char *rest = after_device(client_id, filter);
    return rest && rest[0] == '/' && rest[1] != 0 && strcmp(rest, "/event") != 0;
}
