// The TLS-PSK identity of each connection that has begun its handshake and not yet logged in.
#ifndef HUB_HANDSHAKES_H
#define HUB_HANDSHAKES_H

#include <stdbool.h>
#include <stddef.h>

#include "registry.h"

enum { HUB_HANDSHAKE_BUCKETS = 1024, HUB_HANDSHAKES_MAX = 65536 };

struct hub_handshake {
    const void *client;
    char identity[HUB_CLIENT_ID_MAX + 1];
    struct hub_handshake *next;
};

struct hub_handshakes {
    struct hub_handshake *buckets[HUB_HANDSHAKE_BUCKETS];
    size_t count;
};

/// Remembers the identity of a connection. Returns false if there are too many.
bool hub_handshake_begin(struct hub_handshakes *handshakes, const void *client, const char *identity);

/// Forgets the connection. Returns whether it was there, and its identity.
bool hub_handshake_end(struct hub_handshakes *handshakes, const void *client, char identity[HUB_CLIENT_ID_MAX + 1]);

#endif
