#include "paho_script.h"
#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct wait { sem_t done; int result; };

static void succeeded(void *context, MQTTAsync_successData *data) {
    (void)data;
    sem_post(&((struct wait *)context)->done);
}
static void succeeded5(void *context, MQTTAsync_successData5 *data) {
    (void)data;
    sem_post(&((struct wait *)context)->done);
}
static void failed(void *context, MQTTAsync_failureData *data) {
    ((struct wait *)context)->result = data && data->code ? data->code : -1;
    sem_post(&((struct wait *)context)->done);
}
static void failed5(void *context, MQTTAsync_failureData5 *data) {
    ((struct wait *)context)->result = data && data->code ? data->code : -1;
    sem_post(&((struct wait *)context)->done);
}
static int arrived(void *context, char *topic, int length, MQTTAsync_message *message) {
    (void)context; (void)length;
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static int finish(struct wait *wait, int result) {
    if (result != MQTTASYNC_SUCCESS) return result;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    while (sem_timedwait(&wait->done, &end)) return -100;
    return wait->result;
}

static void add_integer(MQTTProperties *properties, enum MQTTPropertyCodes code, int value) {
    MQTTProperty property = {.identifier = code};
    switch (MQTTProperty_getType(code)) {
    case MQTTPROPERTY_TYPE_BYTE: property.value.byte = (unsigned char)value; break;
    case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER: property.value.integer2 = (unsigned short)value; break;
    default: property.value.integer4 = (unsigned)value; break;
    }
    MQTTProperties_add(properties, &property);
}

static void add_text(MQTTProperties *properties, enum MQTTPropertyCodes code, const char *text, const char *value) {
    MQTTProperty property = {.identifier = code};
    property.value.data.data = (char *)text;
    property.value.data.len = (int)strlen(text);
    if (value) {
        property.value.value.data = (char *)value;
        property.value.value.len = (int)strlen(value);
    }
    MQTTProperties_add(properties, &property);
}

static void respond(MQTTAsync_responseOptions *options, struct wait *wait, int version) {
    MQTTAsync_responseOptions empty = MQTTAsync_responseOptions_initializer;
    *options = empty;
    options->context = wait;
    if (version == 5) {
        options->onSuccess5 = succeeded5;
        options->onFailure5 = failed5;
    } else {
        options->onSuccess = succeeded;
        options->onFailure = failed;
    }
}

int paho_script(int port, int version) {
    char address[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    struct wait wait = {.result = 0};
    sem_init(&wait.done, 0, 0);
    MQTTAsync client = NULL;
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    create.MQTTVersion = version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    int result = MQTTAsync_createWithOptions(&client, address, "peer", MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (result) return result;
    MQTTAsync_setCallbacks(client, &wait, NULL, arrived, NULL);

    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions options5 = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer, will_properties = MQTTProperties_initializer;
    if (version == 5) options = options5;
    options.context = &wait;
    options.keepAliveInterval = 30;
    options.username = "user";
    options.password = "word";
    options.will = &will;
    will.topicName = "will/topic";
    will.message = "gone";
    will.qos = 1;
    will.retained = 1;
    if (version == 5) {
        options.onSuccess5 = succeeded5;
        options.onFailure5 = failed5;
        options.cleanstart = 1;
        add_integer(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, 60);
        add_integer(&properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, 20);
        add_integer(&properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, 5000);
        add_integer(&properties, MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, 3);
        add_text(&properties, MQTTPROPERTY_CODE_USER_PROPERTY, "a", "b");
        options.connectProperties = &properties;
        add_integer(&will_properties, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, 9);
        options.willProperties = &will_properties;
    } else {
        options.onSuccess = succeeded;
        options.onFailure = failed;
        options.cleansession = 1;
    }
    if ((result = finish(&wait, MQTTAsync_connect(client, &options)))) return result;

    MQTTAsync_responseOptions response;
    respond(&response, &wait, version);
    if (version == 5) {
        response.subscribeOptions.noLocal = 1;
        response.subscribeOptions.retainAsPublished = 1;
        response.subscribeOptions.retainHandling = 2;
        MQTTProperties list = MQTTProperties_initializer;
        add_integer(&list, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, 300);
        response.properties = list;
    }
    if ((result = finish(&wait, MQTTAsync_subscribe(client, "some/+/filter", 2, &response)))) return result;

    for (int qos = 0; qos <= 2; qos++) {
        respond(&response, &wait, version);
        MQTTAsync_message message = MQTTAsync_message_initializer;
        message.payload = "payload";
        message.payloadlen = 7;
        message.qos = qos;
        message.retained = qos == 1;
        if (version == 5) {
            MQTTProperties list = MQTTProperties_initializer;
            add_integer(&list, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, 1);
            add_text(&list, MQTTPROPERTY_CODE_CONTENT_TYPE, "text", NULL);
            add_text(&list, MQTTPROPERTY_CODE_RESPONSE_TOPIC, "answer/here", NULL);
            add_text(&list, MQTTPROPERTY_CODE_CORRELATION_DATA, "12345", NULL);
            add_text(&list, MQTTPROPERTY_CODE_USER_PROPERTY, "name", "value");
            message.properties = list;
        }
        if ((result = finish(&wait, MQTTAsync_sendMessage(client, "some/topic", &message, &response)))) return result;
    }

    respond(&response, &wait, version);
    if ((result = finish(&wait, MQTTAsync_unsubscribe(client, "some/+/filter", &response)))) return result;

    MQTTAsync_disconnectOptions bye = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions bye5 = MQTTAsync_disconnectOptions_initializer5;
    if (version == 5) bye = bye5;
    bye.context = &wait;
    if (version == 5) bye.onSuccess5 = succeeded5; else bye.onSuccess = succeeded;
    if (version == 5) bye.reasonCode = MQTTREASONCODE_DISCONNECT_WITH_WILL_MESSAGE;
    result = finish(&wait, MQTTAsync_disconnect(client, &bye));
    MQTTAsync_destroy(&client);
    return result;
}
