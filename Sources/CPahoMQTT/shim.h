#include <MQTTAsync.h>
