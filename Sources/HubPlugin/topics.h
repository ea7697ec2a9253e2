// Which topics belong to a device.
#ifndef HUB_TOPICS_H
#define HUB_TOPICS_H

#include <stdbool.h>

/// Whether the device may publish to `topic`.
bool hub_topic_publish(const char *client_id, const char *topic);

/// Whether the device may subscribe to `filter`, or be sent a message on that topic.
bool hub_topic_subscribe(const char *client_id, const char *filter);

#endif
