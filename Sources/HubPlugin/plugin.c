#include <mosquitto_broker.h>
