#include "handshakes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/// Where the link to the connection's entry is, or the empty end of its bucket.
static struct hub_handshake **link_of(struct hub_handshakes *handshakes, const void *client) {
    struct hub_handshake **link = &handshakes->buckets[((uintptr_t)client >> 4) % HUB_HANDSHAKE_BUCKETS];
    while (*link && (*link)->client != client) link = &(*link)->next;
    return link;
}

bool hub_handshake_begin(struct hub_handshakes *handshakes, const void *client, const char *identity) {
    if (strlen(identity) > HUB_CLIENT_ID_MAX) return false;
    struct hub_handshake **link = link_of(handshakes, client);
    if (!*link) {
        if (handshakes->count == HUB_HANDSHAKES_MAX || !(*link = calloc(1, sizeof **link))) return false;
        (*link)->client = client;
        handshakes->count++;
    }
    strcpy((*link)->identity, identity);
    return true;
}

bool hub_handshake_end(struct hub_handshakes *handshakes, const void *client, char identity[HUB_CLIENT_ID_MAX + 1]) {
    struct hub_handshake **link = link_of(handshakes, client), *found = *link;
    if (!found) return false;
    strcpy(identity, found->identity);
    *link = found->next;
    free(found);
    handshakes->count--;
    return true;
}
