#define _GNU_SOURCE
#include "mqtt_peers.h"
#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct state { sem_t room, done, arrived; int received, wanted; };

static void on_success(void *context, MQTTAsync_successData *data) { (void)data; sem_post((sem_t *)context); }
static void on_success5(void *context, MQTTAsync_successData5 *data) { (void)data; sem_post((sem_t *)context); }
static void on_failure(void *context, MQTTAsync_failureData *data) {
    (void)context;
    fprintf(stderr, "Paho failed: %d %s\n", data ? data->code : 0, data && data->message ? data->message : "");
    exit(1);
}
static void on_failure5(void *context, MQTTAsync_failureData5 *data) {
    (void)context;
    fprintf(stderr, "Paho failed: %d\n", data ? data->code : 0);
    exit(1);
}
static int on_message(void *context, char *topic, int length, MQTTAsync_message *message) {
    (void)length;
    struct state *state = context;
    if (++state->received == state->wanted) sem_post(&state->done);
    sem_post(&state->arrived);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}
static void wait_for(sem_t *semaphore) { while (sem_wait(semaphore)) {} }

static MQTTAsync connected(const struct mqtt_job *job, struct state *state, int number) {
    char name[32], address[96];
    snprintf(name, sizeof name, "bench%d", number);
    snprintf(address, sizeof address, "%s://%s:%d", job->tls_ca ? "ssl" : "tcp", job->host, job->port);
    MQTTAsync client = NULL;
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    create.MQTTVersion = job->version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    MQTTAsync_createWithOptions(&client, address, name, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    MQTTAsync_setCallbacks(client, state, NULL, on_message, NULL);
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    sem_t up;
    sem_init(&up, 0, 0);
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions options5 = MQTTAsync_connectOptions_initializer5;
    if (job->version == 5) {
        options = options5;
        options.onSuccess5 = on_success5;
        options.onFailure5 = on_failure5;
    } else {
        options.onSuccess = on_success;
        options.onFailure = on_failure;
    }
    options.maxInflight = 65535;
    options.context = &up;
    if (job->tls_ca) {
        tls.trustStore = job->tls_ca;
        options.ssl = &tls;
    }
    MQTTAsync_connect(client, &options);
    wait_for(&up);
    return client;
}

static void done(const struct mqtt_job *job, MQTTAsync client) {
    sem_t down;
    sem_init(&down, 0, 0);
    MQTTAsync_disconnectOptions bye = MQTTAsync_disconnectOptions_initializer;
    bye.context = &down;
    if (job->version == 5) bye.onSuccess5 = on_success5; else bye.onSuccess = on_success;
    MQTTAsync_disconnect(client, &bye);
    wait_for(&down);
    MQTTAsync_destroy(&client);
}

static void response(const struct mqtt_job *job, MQTTAsync_responseOptions *options, sem_t *semaphore) {
    MQTTAsync_responseOptions empty = MQTTAsync_responseOptions_initializer;
    *options = empty;
    options->context = semaphore;
    if (job->version == 5) options->onSuccess5 = on_success5; else options->onSuccess = on_success;
}

int mqtt_paho(struct mqtt_job *job) {
    static uint8_t payload[1 << 17];
    memset(payload, 'x', sizeof payload);
    struct state state = {.wanted = -1};
    sem_init(&state.room, 0, (unsigned)job->inflight);
    sem_init(&state.done, 0, 0);
    sem_init(&state.arrived, 0, 0);
    if (!strcmp(job->mode, "conns")) {
        long before = mqtt_rss_kb();
        mqtt_job_begin(job);
        for (int index = 0; index < job->conns; index++) connected(job, &state, index);
        mqtt_job_end(job);
        job->kb_per_conn = (double)(mqtt_rss_kb() - before) / job->conns;
        return 0;
    }
    if (!strcmp(job->mode, "connect")) {
        double *samples = malloc(sizeof *samples * (size_t)job->count);
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            double start = mqtt_now();
            done(job, connected(job, &state, index));
            samples[index] = mqtt_now() - start;
        }
        mqtt_job_end(job);
        mqtt_job_samples(job, samples, job->count);
        return 0;
    }
    MQTTAsync client = connected(job, &state, 0);
    MQTTAsync_responseOptions options;
    if (!strcmp(job->mode, "pub")) {
        response(job, &options, &state.room);
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            wait_for(&state.room);
            while (MQTTAsync_send(client, "bench/topic", job->size, payload, job->qos, 0, &options) != MQTTASYNC_SUCCESS) usleep(100);
        }
        for (int index = 0; index < job->inflight; index++) wait_for(&state.room);
        mqtt_job_end(job);
    } else if (!strcmp(job->mode, "sub")) {
        char filter[64];
        snprintf(filter, sizeof filter, "blast/%d/%d/%d", job->count, job->size, job->qos);
        state.wanted = job->count;
        mqtt_job_begin(job);
        MQTTAsync_responseOptions empty = MQTTAsync_responseOptions_initializer;
        MQTTAsync_subscribe(client, filter, job->qos, &empty);
        wait_for(&state.done);
        mqtt_job_end(job);
    } else if (!strcmp(job->mode, "rtt")) {
        double *samples = malloc(sizeof *samples * (size_t)job->count);
        sem_t subscribed;
        sem_init(&subscribed, 0, 0);
        response(job, &options, &subscribed);
        MQTTAsync_subscribe(client, "echo/1", job->qos, &options);
        wait_for(&subscribed);
        MQTTAsync_responseOptions empty = MQTTAsync_responseOptions_initializer;
        mqtt_job_begin(job);
        for (int index = 0; index < job->count; index++) {
            double start = mqtt_now();
            MQTTAsync_send(client, "echo/1", job->size, payload, job->qos, 0, &empty);
            wait_for(&state.arrived);
            samples[index] = mqtt_now() - start;
        }
        mqtt_job_end(job);
        mqtt_job_samples(job, samples, job->count);
    } else {
        return -1;
    }
    done(job, client);
    return 0;
}
