// The rules of a device's login, without the broker: what a CONNECT says in, a reason to refuse it out.
#ifndef HUB_LOGIN_H
#define HUB_LOGIN_H

#include "registry.h"

struct hub_login {
    const char *client_id, *username, *password;  // NULL if absent
    const char *psk_identity;                     // of the TLS-PSK handshake, or NULL
    const char *certificate_name;                 // the common name of the verified client certificate, or NULL
    int protocol_level, keep_alive;
    long long now;  // seconds since 1970
};

/// Why the login is refused (reasons.h), or NULL if the device may come in.
const char *hub_login_check(const struct hub_registry *registry, const struct hub_login *login);

/// Why a device that is `found` or not is refused before anything else is checked, or NULL.
const char *hub_device_check(
    const struct hub_registry *registry, const struct hub_device *found, const char *client_id);

#endif
