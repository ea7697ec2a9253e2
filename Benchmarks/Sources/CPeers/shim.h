#include <MQTTAsync.h>
#include <mosquitto.h>

/// MQTTAsync's initializers are macros in braces.
static inline MQTTAsync_connectOptions peers_paho_connect_options(void) {
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    return options;
}
static inline MQTTAsync_responseOptions peers_paho_response_options(void) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    return options;
}
