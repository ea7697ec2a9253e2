#include "subdevices.h"

#include <stdlib.h>
#include <string.h>

/// The link to a gateway's entry, or to where it would be.
static struct hub_gateway **find(struct hub_gateway **link, const char *client_id) {
    while (*link && strcmp((*link)->client_id, client_id) != 0) link = &(*link)->next;
    return link;
}

static void remove_gateway(struct hub_gateway **link) {
    struct hub_gateway *gone = *link;
    if (!gone) return;
    *link = gone->next;
    free(gone->devices);
    free(gone);
}

bool hub_subdevices_set(struct hub_subdevices *subdevices, const char *gateway, const char *text, size_t length) {
    struct hub_gateway **link = find(&subdevices->gateways, gateway);
    remove_gateway(link);
    if (length == 0) return true;
    if (strlen(gateway) > HUB_CLIENT_ID_MAX) return false;

    size_t lines = 1;
    for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
    struct hub_gateway *entry = calloc(1, sizeof *entry);
    if (entry) entry->devices = calloc(lines, sizeof *entry->devices);
    if (!entry || !entry->devices) {
        free(entry);
        return false;
    }
    strcpy(entry->client_id, gateway);
    for (const char *end = text + length; text < end;) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((line_end ? line_end : end) - text);
        if (size > 0 && size <= HUB_CLIENT_ID_MAX) memcpy(entry->devices[entry->count++], text, size);
        text = line_end ? line_end + 1 : end;
    }
    entry->next = subdevices->gateways;
    subdevices->gateways = entry;
    return true;
}

bool hub_subdevices_any(
    const struct hub_subdevices *subdevices, const char *gateway, const char *topic,
    bool (*allowed)(const char *client_id, const char *topic)) {
    const struct hub_gateway *entry = subdevices->gateways;
    while (entry && strcmp(entry->client_id, gateway) != 0) entry = entry->next;
    if (!entry) return false;
    for (size_t i = 0; i < entry->count; i++) {
        if (allowed(entry->devices[i], topic)) return true;
    }
    return false;
}

void hub_subdevices_free(struct hub_subdevices *subdevices) {
    while (subdevices->gateways) remove_gateway(&subdevices->gateways);
}
