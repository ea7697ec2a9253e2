#include "mqtt_peers.h"
#include <mosquitto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state { int is_connected, under_way, received; };

static void on_connect(struct mosquitto *client, void *context, int code) {
    (void)client;
    ((struct state *)context)->is_connected = code == 0;
}
static void on_publish(struct mosquitto *client, void *context, int id) {
    (void)client; (void)id;
    ((struct state *)context)->under_way--;
}
static void on_message(struct mosquitto *client, void *context, const struct mosquitto_message *message) {
    (void)client; (void)message;
    ((struct state *)context)->received++;
}

/// One turn by poll: libmosquitto's own loop cannot wait for descriptors over 1,023.
static void turn(struct mosquitto *client, int milliseconds) {
    struct pollfd poller = {mosquitto_socket(client), POLLIN, 0};
    if (mosquitto_want_write(client)) poller.events |= POLLOUT;
    if (poll(&poller, 1, milliseconds) > 0) {
        if (poller.revents & POLLOUT) mosquitto_loop_write(client, 1);
        if (poller.revents & (POLLIN | POLLHUP)) mosquitto_loop_read(client, 1);
    }
    mosquitto_loop_misc(client);
}

static struct mosquitto *connected(const struct mqtt_job *job, struct state *state, int number) {
    char name[32];
    snprintf(name, sizeof name, "bench%d", number);
    struct mosquitto *client = mosquitto_new(name, true, state);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_publish_callback_set(client, on_publish);
    mosquitto_message_callback_set(client, on_message);
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, job->version == 5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    mosquitto_max_inflight_messages_set(client, 0);
    if (job->tls_ca) mosquitto_tls_set(client, job->tls_ca, NULL, NULL, NULL, NULL);
    state->is_connected = 0;
    if (mosquitto_connect(client, job->host, job->port, 60) != MOSQ_ERR_SUCCESS) { fprintf(stderr, "libmosquitto cannot connect\n"); exit(1); }
    while (!state->is_connected) turn(client, 100);
    return client;
}

static void done(struct mosquitto *client) {
    mosquitto_disconnect(client);
    turn(client, 10);
    mosquitto_destroy(client);
}

int mqtt_mosquitto(struct mqtt_job *job) {
    static uint8_t payload[1 << 17];
    memset(payload, 'x', sizeof payload);
    mosquitto_lib_init();
    struct state state = {0};
    if (!strcmp(job->mode, "conns")) {
        struct state *states = calloc((size_t)job->conns, sizeof *states);
        long before = mqtt_rss_kb();
        mqtt_job_begin(job);
        for (int index = 0; index < job->conns; index++) connected(job, &states[index], index);
        mqtt_job_end(job);
        job->kb_per_conn = (double)(mqtt_rss_kb() - before) / job->conns;
        return 0;
    }
    if (!strcmp(job->mode, "connect")) {
        double *samples = malloc(sizeof *samples * (size_t)job->count);
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            double start = mqtt_now();
            done(connected(job, &state, index));
            samples[index] = mqtt_now() - start;
        }
        mqtt_job_end(job);
        mqtt_job_samples(job, samples, job->count);
        return 0;
    }
    struct mosquitto *client = connected(job, &state, 0);
    if (!strcmp(job->mode, "pub")) {
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            while (state.under_way >= job->inflight) mosquitto_loop(client, 100, 1);
            state.under_way++;
            mosquitto_publish(client, NULL, "bench/topic", job->size, payload, job->qos, false);
        }
        while (state.under_way > 0) mosquitto_loop(client, 100, 1);
        mqtt_job_end(job);
    } else if (!strcmp(job->mode, "sub")) {
        char filter[64];
        snprintf(filter, sizeof filter, "blast/%d/%d/%d", job->count, job->size, job->qos);
        mqtt_job_begin(job);
        mosquitto_subscribe(client, NULL, filter, job->qos);
        while (state.received < job->count) mosquitto_loop(client, 100, 1);
        mqtt_job_end(job);
    } else if (!strcmp(job->mode, "rtt")) {
        double *samples = malloc(sizeof *samples * (size_t)job->count);
        mosquitto_subscribe(client, NULL, "echo/1", job->qos);
        for (int index = 0; index < 20; index++) mosquitto_loop(client, 1, 1);
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            double start = mqtt_now();
            mosquitto_publish(client, NULL, "echo/1", job->size, payload, job->qos, false);
            while (state.received <= index) mosquitto_loop(client, 100, 1);
            samples[index] = mqtt_now() - start;
        }
        mqtt_job_end(job);
        mqtt_job_samples(job, samples, job->count);
    } else {
        return -1;
    }
    done(client);
    return 0;
}
