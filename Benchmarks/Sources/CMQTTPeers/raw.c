#define _GNU_SOURCE
#include "mqtt_peers.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(const struct mqtt_job *job) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)job->port)};
    inet_pton(AF_INET, job->host, &address.sin_addr);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void write_all(int fd, const uint8_t *bytes, size_t count) {
    while (count) {
        ssize_t sent = write(fd, bytes, count);
        if (sent <= 0) { perror("write"); exit(1); }
        bytes += sent;
        count -= (size_t)sent;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t count) {
    while (count) {
        ssize_t taken = read(fd, bytes, count);
        if (taken <= 0) { perror("read"); exit(1); }
        bytes += taken;
        count -= (size_t)taken;
    }
}

static int connected(const struct mqtt_job *job) {
    int fd = open_socket(job);
    uint8_t answer[5];
    if (job->version == 5) {
        write_all(fd, (const uint8_t *)"\x10\x10\0\4MQTT\5\2\0\x3C\0\0\3raw", 18);
        read_all(fd, answer, 5);
    } else {
        write_all(fd, (const uint8_t *)"\x10\x0F\0\4MQTT\4\2\0\x3C\0\3raw", 17);
        read_all(fd, answer, 4);
    }
    return fd;
}

/// A PUBLISH with room for its packet identifier; returns how many bytes it has, and where the identifier is.
static size_t make_publish(const struct mqtt_job *job, const char *topic, uint8_t *packet, size_t *id) {
    size_t name = strlen(topic), properties = job->version == 5 ? 1 : 0;
    size_t remaining = 2 + name + (job->qos ? 2 : 0) + properties + (size_t)job->size, at = 0, rest = remaining;
    packet[at++] = (uint8_t)(0x30 | job->qos << 1);
    do {
        packet[at++] = (uint8_t)((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0));
        rest >>= 7;
    } while (rest);
    packet[at++] = (uint8_t)(name >> 8);
    packet[at++] = (uint8_t)name;
    memcpy(packet + at, topic, name);
    at += name;
    *id = at;
    if (job->qos) at += 2;
    if (properties) packet[at++] = 0;
    memset(packet + at, 'x', (size_t)job->size);
    return at + (size_t)job->size;
}

static void publish(struct mqtt_job *job) {
    int fd = connected(job);
    size_t id, size = 0;
    uint8_t one[1 << 17];
    size = make_publish(job, "bench/topic", one, &id);
    int window = job->inflight;
    uint8_t *packets = malloc(size * (size_t)window), *acks = malloc(4 * (size_t)window);
    for (int index = 0; index < window; index++) {
        memcpy(packets + size * (size_t)index, one, size);
        if (job->qos) {
            packets[size * (size_t)index + id] = (uint8_t)((index + 1) >> 8);
            packets[size * (size_t)index + id + 1] = (uint8_t)(index + 1);
        }
    }
    mqtt_job_begin(job);
    for (int left = job->count; left > 0;) {
        int batch = left < window ? left : window;
        write_all(fd, packets, size * (size_t)batch);
        if (job->qos) read_all(fd, acks, 4 * (size_t)batch);
        if (job->qos == 2) {
            for (int index = 0; index < batch; index++) acks[4 * index] = 0x62;
            write_all(fd, acks, 4 * (size_t)batch);
            read_all(fd, acks, 4 * (size_t)batch);
        }
        left -= batch;
    }
    // All has arrived when this is answered.
    write_all(fd, (const uint8_t *)"\xC0\0", 2);
    read_all(fd, acks, 2);
    mqtt_job_end(job);
    close(fd);
}

static void receive(struct mqtt_job *job) {
    int fd = connected(job);
    char filter[64];
    int name = snprintf(filter, sizeof filter, "blast/%d/%d/%d", job->count, job->size, job->qos);
    uint8_t packet[96] = {0x82, (uint8_t)(5 + name + (job->version == 5 ? 1 : 0)), 0, 1};
    int at = 4;
    if (job->version == 5) packet[at++] = 0;
    packet[at++] = 0;
    packet[at++] = (uint8_t)name;
    memcpy(packet + at, filter, (size_t)name);
    packet[at + name] = (uint8_t)job->qos;
    static uint8_t input[1 << 18], answers[1 << 18];
    size_t have = 0;
    int left = job->count;
    mqtt_job_begin(job);
    write_all(fd, packet, (size_t)(at + name + 1));
    // With QoS 2, until all are released.
    while (left > 0) {
        ssize_t count = read(fd, input + have, sizeof input - have);
        if (count <= 0) { perror("read"); exit(1); }
        have += (size_t)count;
        size_t begin = 0, answered = 0;
        while (have - begin >= 2) {
            size_t length = 0, header = 1;
            int shift = 0, whole = 0;
            while (begin + header < have && header < 5) {
                uint8_t byte = input[begin + header++];
                length |= (size_t)(byte & 0x7F) << shift;
                shift += 7;
                if (byte < 0x80) { whole = 1; break; }
            }
            if (!whole || have - begin < header + length) break;
            const uint8_t *body = input + begin + header;
            uint8_t first = input[begin];
            if (first >> 4 == 3) {
                size_t topic = (size_t)body[0] << 8 | body[1];
                if (job->qos) {
                    answers[answered++] = job->qos == 1 ? 0x40 : 0x50;
                    answers[answered++] = 2;
                    answers[answered++] = body[2 + topic];
                    answers[answered++] = body[3 + topic];
                }
                if (job->qos < 2) left--;
            } else if (first >> 4 == 6) {
                answers[answered++] = 0x70;
                answers[answered++] = 2;
                answers[answered++] = body[0];
                answers[answered++] = body[1];
                left--;
            }
            begin += header + length;
        }
        if (begin < have) memmove(input, input + begin, have - begin);
        have -= begin;
        if (answered) write_all(fd, answers, answered);
    }
    mqtt_job_end(job);
    close(fd);
}

static void round_trips(struct mqtt_job *job) {
    int fd = connected(job);
    size_t id;
    static uint8_t packet[1 << 17], input[1 << 17];
    size_t size = make_publish(job, "echo/1", packet, &id);
    size_t answer = size + (job->qos ? 4 : 0);
    double *samples = malloc(sizeof *samples * (size_t)job->count);
    mqtt_job_begin(job);
    for (int index = 0; index < job->count; index++) {
        if (job->qos) {
            packet[id] = (uint8_t)((index % 60000 + 1) >> 8);
            packet[id + 1] = (uint8_t)(index % 60000 + 1);
        }
        double start = mqtt_now();
        write_all(fd, packet, size);
        read_all(fd, input, answer);
        samples[index] = mqtt_now() - start;
        if (job->qos == 1) {
            uint8_t ack[4] = {0x40, 2, input[4 + id], input[5 + id]};
            write_all(fd, ack, 4);
        }
    }
    mqtt_job_end(job);
    mqtt_job_samples(job, samples, job->count);
    close(fd);
}

static void connections(struct mqtt_job *job) {
    long before = mqtt_rss_kb();
    mqtt_job_begin(job);
    for (int index = 0; index < job->conns; index++) connected(job);
    mqtt_job_end(job);
    job->kb_per_conn = (double)(mqtt_rss_kb() - before) / job->conns;
}

static void connects(struct mqtt_job *job) {
    double *samples = malloc(sizeof *samples * (size_t)job->count);
    mqtt_job_begin(job);
    for (int index = 0; index < job->count; index++) {
        double start = mqtt_now();
        int fd = connected(job);
        write_all(fd, (const uint8_t *)"\xE0\0", 2);
        close(fd);
        samples[index] = mqtt_now() - start;
    }
    mqtt_job_end(job);
    mqtt_job_samples(job, samples, job->count);
}

int mqtt_raw(struct mqtt_job *job) {
    if (job->tls_ca) return -1;
    if (!strcmp(job->mode, "pub")) publish(job);
    else if (!strcmp(job->mode, "sub")) receive(job);
    else if (!strcmp(job->mode, "rtt") && job->qos < 2) round_trips(job);
    else if (!strcmp(job->mode, "conns")) connections(job);
    else if (!strcmp(job->mode, "connect")) connects(job);
    else return -1;
    return 0;
}
