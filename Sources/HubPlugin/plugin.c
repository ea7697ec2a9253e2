// The hub's side of a Mosquitto broker: who may log in, with which TLS-PSK key, and who may use which topic.
//
//   plugin /path/to/libHubPlugin.so
//   plugin_opt_registry /path/to/registry.json      the devices (registry.h); changes are seen within 100 ms
//   plugin_opt_cloud_user NAME                      optional: a user without limits, client ID "hub-cloud"; until it has
//                                                   subscribed, devices find the connection closed
//   plugin_opt_cloud_password TEXT
//   plugin_opt_max_payload N                        optional: the longest payload that a device may send, in bytes
//   plugin_opt_parent_pid N                         optional: the broker ends itself when this is not its parent
//
// Each login, refusal and disconnection is published as JSON on `$hub/event`, which only the cloud user can read, and
// refusals are also written to the broker's log. The cloud user says on `$hub/sub-devices/GATEWAY` which devices are online
// behind a gateway; their topics are the gateway's too, until its connection ends.
//
// What a refused device sees: Mosquitto 2.0.11 turns MOSQ_ERR_AUTH into CONNACK code 5 ("not authorized") and any other
// error into a closed connection; no plugin can cause code 4. A refused SUBSCRIBE is answered with 0x80, a refused
// PUBLISH is acknowledged if its QoS is 1, and dropped.
#include <cjson/cJSON.h>
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "handshakes.h"
#include "login.h"
#include "reasons.h"
#include "subdevices.h"
#include "topics.h"

static const char cloud_client_id[] = "hub-cloud";
static const char event_topic[] = "$hub/event";
static const char subdevices_topic[] = "$hub/sub-devices/";

struct hub {
    mosquitto_plugin_id_t *plugin;
    struct hub_registry registry;
    struct hub_handshakes handshakes;
    struct hub_subdevices subdevices;
    char *cloud_user, *cloud_password;  // NULL for none
    struct mosquitto *cloud;            // once it has subscribed
    pid_t parent;
    uint32_t max_payload;
    int tls_index;  // of OpenSSL, see on_tls_freed
};

/// Copies what a peer said, with everything but printable ASCII made visible as `?`.
static void copy_printable(char *copy, size_t size, const char *text) {
    size_t length = 0;
    for (; text && text[length] && length + 1 < size; length++) {
        copy[length] = text[length] >= ' ' && text[length] <= '~' ? text[length] : '?';
    }
    copy[length] = 0;
}

/// Tells the simulator what happened. `client` is NULL if it was the hub's own doing.
static void report(
    struct mosquitto *client, const char *event, const char *client_id, const char *reason, const char *detail) {
    char id[128], about[256];
    const char *address = client ? mosquitto_client_address(client) : NULL;
    copy_printable(id, sizeof id, client_id);
    copy_printable(about, sizeof about, detail);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "event", event);
    cJSON_AddNumberToObject(json, "broker", getpid());
    cJSON_AddStringToObject(json, "client", id);
    cJSON_AddStringToObject(json, "address", address ? address : "");
    if (reason) cJSON_AddStringToObject(json, "reason", reason);
    if (detail) cJSON_AddStringToObject(json, "detail", about);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text) mosquitto_broker_publish_copy(NULL, event_topic, (int)strlen(text), text, 1, false, NULL);
    free(text);
}

static void refuse(struct mosquitto *client, const char *client_id, const char *reason, const char *detail) {
    char id[128];
    copy_printable(id, sizeof id, client_id);
    // A device may publish as fast as it likes, the log must not grow as fast.
    bool frequent = strcmp(reason, HUB_PUBLISH_NOT_ALLOWED) == 0 || strcmp(reason, HUB_PAYLOAD_TOO_LARGE) == 0;
    mosquitto_log_printf(frequent ? MOSQ_LOG_DEBUG : MOSQ_LOG_NOTICE, "Hub refuses %s: %s", id, reason);
    report(client, "refused", client_id, reason, detail);
}

/// Disconnects a device that may no longer come in.
static void kick_if_refused(const struct hub_registry *registry, const char *client_id) {
    const char *reason = hub_device_check(registry, hub_registry_find(registry, client_id), client_id);
    if (reason && mosquitto_kick_client_by_clientid(client_id, false) == MOSQ_ERR_SUCCESS) {
        refuse(NULL, client_id, reason, "was connected");
    }
}

/// Reads the registry again if it has changed; who was disabled or removed is disconnected.
static void refresh(struct hub *hub) {
    char error[256];
    struct hub_registry before = hub->registry;
    // The old devices are needed for the comparison: the refresh must not free them.
    hub->registry.devices = NULL;
    hub->registry.count = 0;
    if (hub_registry_refresh(&hub->registry, error, sizeof error)) {
        for (size_t i = 0; i < before.count; i++) kick_if_refused(&hub->registry, before.devices[i].client_id);
        hub_registry_free(&before);
        return;
    }
    hub->registry.devices = before.devices;
    hub->registry.count = before.count;
    if (error[0]) mosquitto_log_printf(MOSQ_LOG_ERR, "Hub registry %s: %s", hub->registry.path, error);
}

static int on_psk_key(int event, void *data, void *userdata) {
    (void)event;
    struct mosquitto_evt_psk_key *psk = data;
    struct hub *hub = userdata;
    refresh(hub);
    const struct hub_device *device = hub_registry_find(&hub->registry, psk->identity);
    const char *reason = hub_device_check(&hub->registry, device, psk->identity);
    if (!reason && device->has_certificate) reason = HUB_CERTIFICATE_NEEDED;
    if (!reason && psk->max_key_len < (int)(2 * device->key_length)) reason = HUB_PSK_HANDSHAKE_FAILED;
    if (!reason && !hub_handshake_begin(&hub->handshakes, psk->client, psk->identity)) reason = HUB_PSK_HANDSHAKE_FAILED;
    if (reason) {
        refuse(psk->client, psk->identity, reason, "TLS-PSK identity");
        return MOSQ_ERR_AUTH;
    }
    // The broker's buffer has room for max_key_len digits and a terminator.
    for (size_t i = 0; i < device->key_length; i++) snprintf(psk->key + 2 * i, 3, "%02x", device->key[i]);
    return MOSQ_ERR_SUCCESS;
}

/// The common name of the client's certificate, which the broker has verified. NULL if there is no certificate; empty
/// if the name is longer than any client ID or has a zero inside.
static const char *certificate_name(struct mosquitto *client, char name[HUB_CLIENT_ID_MAX + 2]) {
    X509 *certificate = mosquitto_client_certificate(client);
    if (!certificate) return NULL;
    X509_NAME *subject = X509_get_subject_name(certificate);
    int length = X509_NAME_get_text_by_NID(subject, NID_commonName, name, HUB_CLIENT_ID_MAX + 2);
    if (length < 0 || (size_t)length != strlen(name)) name[0] = 0;
    X509_free(certificate);
    return name;
}

static bool equal_secret(const char *a, const char *b) {
    size_t length = strlen(a);
    return length == strlen(b) && CRYPTO_memcmp(a, b, length) == 0;
}

static bool is_cloud(const char *client_id) { return strcmp(client_id, cloud_client_id) == 0; }

static int on_login(int event, void *data, void *userdata) {
    (void)event;
    struct mosquitto_evt_basic_auth *auth = data;
    struct hub *hub = userdata;
    refresh(hub);
    char identity[HUB_CLIENT_ID_MAX + 1], name[HUB_CLIENT_ID_MAX + 2];
    const char *client_id = mosquitto_client_id(auth->client), *reason;
    bool with_psk = hub_handshake_end(&hub->handshakes, auth->client, identity);
    // The broker keeps only few messages for a cloud that is not there yet: no device may send any. Neither this nor
    // a CONNACK code would be the device's fault, so the connection is just closed.
    if (hub->cloud_user && !hub->cloud && !is_cloud(client_id)) return MOSQ_ERR_UNKNOWN;
    if (is_cloud(client_id)) {
        bool right = hub->cloud_user && hub->cloud_password && auth->username && auth->password &&
                     strcmp(auth->username, hub->cloud_user) == 0 && equal_secret(auth->password, hub->cloud_password);
        if (right) return MOSQ_ERR_SUCCESS;
        reason = HUB_WRONG_CLOUD_PASSWORD;
    } else {
        struct hub_login login = {
            .client_id = client_id,
            .username = auth->username,
            .password = auth->password,
            .psk_identity = with_psk ? identity : NULL,
            .certificate_name = certificate_name(auth->client, name),
            .protocol_level = mosquitto_client_protocol_version(auth->client),
            .keep_alive = mosquitto_client_keepalive(auth->client),
            .now = time(NULL),
        };
        reason = hub_login_check(&hub->registry, &login);
    }
    if (reason) {
        refuse(auth->client, client_id, reason, auth->username);
        return MOSQ_ERR_AUTH;
    }
    report(auth->client, "login", client_id, NULL, NULL);
    return MOSQ_ERR_SUCCESS;
}

/// Takes what the cloud says of a gateway's sub-devices; nobody may see the message itself.
static bool take_subdevices(struct hub *hub, const struct mosquitto_evt_acl_check *check) {
    size_t length = sizeof subdevices_topic - 1;
    if (check->access != MOSQ_ACL_WRITE || strncmp(check->topic, subdevices_topic, length) != 0) return false;
    if (!hub_subdevices_set(&hub->subdevices, check->topic + length, check->payload, check->payloadlen)) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "Hub: the sub-devices of %s are lost", check->topic + length);
    }
    return true;
}

static bool may_publish(const struct hub *hub, const char *client_id, const char *topic) {
    return hub_topic_publish(client_id, topic) ||
           hub_subdevices_any(&hub->subdevices, client_id, topic, hub_topic_publish);
}

static bool may_subscribe(const struct hub *hub, const char *client_id, const char *filter) {
    return hub_topic_subscribe(client_id, filter) ||
           hub_subdevices_any(&hub->subdevices, client_id, filter, hub_topic_subscribe);
}

static int on_topic(int event, void *data, void *userdata) {
    (void)event;
    struct mosquitto_evt_acl_check *check = data;
    struct hub *hub = userdata;
    const char *client_id = mosquitto_client_id(check->client);
    if (!client_id) return MOSQ_ERR_ACL_DENIED;
    if (is_cloud(client_id)) {
        if (check->access == MOSQ_ACL_SUBSCRIBE) hub->cloud = check->client;
        return take_subdevices(hub, check) ? MOSQ_ERR_ACL_DENIED : MOSQ_ERR_SUCCESS;
    }
    if (check->access == MOSQ_ACL_UNSUBSCRIBE) return MOSQ_ERR_SUCCESS;
    const char *reason = NULL;
    if (check->access == MOSQ_ACL_WRITE) {
        if (check->payloadlen > hub->max_payload) reason = HUB_PAYLOAD_TOO_LARGE;
        if (!may_publish(hub, client_id, check->topic)) reason = HUB_PUBLISH_NOT_ALLOWED;
    } else if (!may_subscribe(hub, client_id, check->topic)) {
        reason = HUB_SUBSCRIBE_NOT_ALLOWED;
    }
    if (!reason) return MOSQ_ERR_SUCCESS;
    // A message that is not delivered (MOSQ_ACL_READ) is nothing that the device did.
    if (check->access != MOSQ_ACL_READ) refuse(check->client, client_id, reason, check->topic);
    return MOSQ_ERR_ACL_DENIED;
}

static int on_disconnect(int event, void *data, void *userdata) {
    (void)event;
    struct mosquitto_evt_disconnect *gone = data;
    struct hub *hub = userdata;
    if (gone->client == hub->cloud) hub->cloud = NULL;
    const char *client_id = mosquitto_client_id(gone->client);
    if (client_id && !is_cloud(client_id)) {
        hub_subdevices_set(&hub->subdevices, client_id, NULL, 0);
        report(gone->client, "disconnected", client_id, NULL, NULL);
    }
    return MOSQ_ERR_SUCCESS;
}

/// OpenSSL calls this for each TLS connection that is freed. The broker has no event for one whose handshake fails while
/// it is being accepted; its identity must not be left to the next client at the same address in memory.
static void on_tls_freed(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *userdata) {
    (void)parent;
    (void)pointer;
    (void)index;
    (void)number;
    struct hub *hub = userdata;
    char identity[HUB_CLIENT_ID_MAX + 1];
    // One of the connection's first few values is the broker's client.
    for (int i = 0; i < 8; i++) {
        struct mosquitto *client = CRYPTO_get_ex_data(data, i);
        if (client && hub_handshake_end(&hub->handshakes, client, identity)) {
            refuse(client, identity, HUB_PSK_HANDSHAKE_FAILED, "no CONNECT came: the key is probably wrong");
        }
    }
}

static int on_tick(int event, void *data, void *userdata) {
    (void)event;
    (void)data;
    struct hub *hub = userdata;
    refresh(hub);
    if (hub->parent > 0 && getppid() != hub->parent) raise(SIGTERM);
    return MOSQ_ERR_SUCCESS;
}

static const struct {
    int event;
    MOSQ_FUNC_generic_callback function;
} callbacks[] = {
    {MOSQ_EVT_PSK_KEY, on_psk_key},       {MOSQ_EVT_BASIC_AUTH, on_login}, {MOSQ_EVT_ACL_CHECK, on_topic},
    {MOSQ_EVT_DISCONNECT, on_disconnect}, {MOSQ_EVT_TICK, on_tick},
};

int mosquitto_plugin_version(int count, const int *versions) {
    for (int i = 0; i < count; i++) {
        if (versions[i] == 5) return 5;
    }
    return -1;
}

int mosquitto_plugin_init(
    mosquitto_plugin_id_t *identifier, void **userdata, struct mosquitto_opt *options, int option_count) {
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub) return MOSQ_ERR_NOMEM;
    *userdata = hub;
    hub->plugin = identifier;
    hub->tls_index = -1;
    hub->max_payload = UINT32_MAX;
    for (int i = 0; i < option_count; i++) {
        // The broker frees its options when it reads its configuration again.
        const char *key = options[i].key, *value = options[i].value;
        if (strcmp(key, "registry") == 0) {
            hub->registry.path = strdup(value);
        } else if (strcmp(key, "cloud_user") == 0) {
            hub->cloud_user = strdup(value);
        } else if (strcmp(key, "cloud_password") == 0) {
            hub->cloud_password = strdup(value);
        } else if (strcmp(key, "max_payload") == 0) {
            hub->max_payload = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(key, "parent_pid") == 0) {
            hub->parent = (pid_t)strtol(value, NULL, 10);
        } else {
            mosquitto_log_printf(MOSQ_LOG_ERR, "Hub: there is no option %s", key);
            return MOSQ_ERR_INVAL;
        }
    }
    char error[256] = "plugin_opt_registry is missing";
    if (!hub->registry.path || !hub_registry_refresh(&hub->registry, error, sizeof error)) {
        mosquitto_log_printf(
            MOSQ_LOG_ERR, "Hub registry %s: %s", hub->registry.path ? hub->registry.path : "", error);
        return MOSQ_ERR_INVAL;
    }
    hub->tls_index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, hub, NULL, NULL, on_tls_freed);
    if (hub->tls_index < 0) return MOSQ_ERR_NOMEM;
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        int result = mosquitto_callback_register(identifier, callbacks[i].event, callbacks[i].function, NULL, hub);
        if (result != MOSQ_ERR_SUCCESS) return result;
    }
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count) {
    (void)options;
    (void)option_count;
    struct hub *hub = userdata;
    if (!hub) return MOSQ_ERR_SUCCESS;
    if (hub->tls_index >= 0) CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL, hub->tls_index);
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        mosquitto_callback_unregister(hub->plugin, callbacks[i].event, callbacks[i].function, NULL);
    }
    for (size_t i = 0; i < HUB_HANDSHAKE_BUCKETS; i++) {
        for (struct hub_handshake *next, *entry = hub->handshakes.buckets[i]; entry; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    hub_subdevices_free(&hub->subdevices);
    hub_registry_free(&hub->registry);
    free(hub->registry.path);
    free(hub->cloud_user);
    free(hub->cloud_password);
    free(hub);
    return MOSQ_ERR_SUCCESS;
}
