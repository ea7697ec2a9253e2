#include <MQTTAsync.h>

// Initializers in braces do not reach Swift.
static inline MQTTAsync_createOptions cpaho_create_options(void) {
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    return options;
}

static inline MQTTAsync_connectOptions cpaho_connect_options(void) {
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    return options;
}

static inline MQTTAsync_disconnectOptions cpaho_disconnect_options(void) {
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
    return options;
}

static inline MQTTAsync_responseOptions cpaho_response_options(void) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    return options;
}

static inline MQTTAsync_SSLOptions cpaho_ssl_options(void) {
    MQTTAsync_SSLOptions options = MQTTAsync_SSLOptions_initializer;
    return options;
}
