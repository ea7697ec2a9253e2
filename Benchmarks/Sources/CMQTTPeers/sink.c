#define _GNU_SOURCE
#include "mqtt_peers.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    SSL *ssl;
    int version;
    int is_accepted;
    uint8_t *in, *out;
    size_t in_count, in_size, out_count, out_size;
    /// What a blast still has to send.
    long blast_left;
    int blast_size, blast_qos;
    uint16_t next_id;
    /// Messages of a blast that are not acknowledged, and how many may be.
    int unacknowledged, window;
    int wants_room;
};

static void reserve(uint8_t **buffer, size_t *size, size_t needed) {
    if (*size >= needed) return;
    size_t grown = *size ? *size : 256;
    while (grown < needed) grown *= 2;
    *buffer = realloc(*buffer, grown);
    *size = grown;
}

static void put(struct client *client, const void *bytes, size_t count) {
    reserve(&client->out, &client->out_size, client->out_count + count);
    memcpy(client->out + client->out_count, bytes, count);
    client->out_count += count;
}

static void put_header(struct client *client, uint8_t first, size_t remaining) {
    uint8_t header[5] = {first};
    size_t count = 1;
    do {
        header[count++] = (uint8_t)((remaining & 0x7F) | (remaining > 0x7F ? 0x80 : 0));
        remaining >>= 7;
    } while (remaining);
    put(client, header, count);
}

static void put_publish(struct client *client, const char *topic, size_t topic_count, const uint8_t *payload, size_t count, int qos) {
    put_header(client, (uint8_t)(0x30 | qos << 1), 2 + topic_count + (qos ? 2u : 0u) + (client->version == 5 ? 1u : 0u) + count);
    uint8_t length[2] = {(uint8_t)(topic_count >> 8), (uint8_t)topic_count};
    put(client, length, 2);
    put(client, topic, topic_count);
    if (qos) {
        if (++client->next_id == 0) client->next_id = 1;
        uint8_t id[2] = {(uint8_t)(client->next_id >> 8), (uint8_t)client->next_id};
        put(client, id, 2);
    }
    if (client->version == 5) put(client, "", 1);
    put(client, payload, count);
}

static void put_answer(struct client *client, uint8_t first, const uint8_t *id) {
    uint8_t packet[4] = {first, 2, id[0], id[1]};
    put(client, packet, 4);
}

static void blast(struct client *client) {
    static uint8_t payload[1 << 16];
    while (client->blast_left > 0 && client->out_count < (1 << 18) && client->unacknowledged < client->window) {
        put_publish(client, "blast", 5, payload, (size_t)client->blast_size, client->blast_qos);
        client->blast_left--;
        if (client->blast_qos) client->unacknowledged++;
    }
}

static void subscribe(struct client *client, const uint8_t *body, size_t count) {
    size_t at = 2;
    if (client->version == 5) at += 1u + body[2];
    uint8_t codes[64];
    size_t codes_count = 0;
    while (at + 3 <= count && codes_count < sizeof codes) {
        size_t length = (size_t)body[at] << 8 | body[at + 1];
        char filter[128] = "";
        memcpy(filter, body + at + 2, length < 127 ? length : 127);
        codes[codes_count++] = body[at + 2 + length] & 3;
        long total = 0;
        int size = 0, qos = 0;
        if (sscanf(filter, "blast/%ld/%d/%d", &total, &size, &qos) == 3) {
            client->blast_left = total;
            client->blast_size = size < (1 << 16) ? size : 1 << 16;
            client->blast_qos = qos;
            client->unacknowledged = 0;
            client->window = client->version == 5 ? 100 : 1000;
        }
        at += length + 3;
    }
    put_header(client, 0x90, 2 + (client->version == 5 ? 1u : 0u) + codes_count);
    put(client, body, 2);
    if (client->version == 5) put(client, "", 1);
    put(client, codes, codes_count);
}

/// Returns -1 when the client has said goodbye.
static int handle(struct client *client, uint8_t first, const uint8_t *body, size_t count) {
    switch (first >> 4) {
    case 1:
        client->version = body[6];
        if (client->version == 5) put(client, "\x20\x03\0\0\0", 5); else put(client, "\x20\x02\0\0", 4);
        break;
    case 3: {
        size_t topic = (size_t)body[0] << 8 | body[1];
        int qos = first >> 1 & 3;
        if (qos == 1) put_answer(client, 0x40, body + 2 + topic);
        if (qos == 2) put_answer(client, 0x50, body + 2 + topic);
        if (topic == 6 && memcmp(body + 2, "echo/1", 6) == 0) {
            size_t at = 2 + topic + (qos ? 2u : 0u);
            if (client->version == 5) at += 1u + body[at];
            put_publish(client, "echo/1", 6, body + at, count - at, qos);
        }
        break;
    }
    case 4: case 7: client->unacknowledged--; break;
    case 5: put_answer(client, 0x62, body); break;
    case 6: put_answer(client, 0x70, body); break;
    case 8: subscribe(client, body, count); break;
    case 10:
        put_header(client, 0xB0, client->version == 5 ? 4 : 2);
        put(client, body, 2);
        if (client->version == 5) put(client, "\0\0", 2);
        break;
    case 12: put(client, "\xD0\0", 2); break;
    case 14: return -1;
    default: break;
    }
    return 0;
}

static ssize_t take(struct client *client, uint8_t *bytes, size_t count) {
    if (!client->ssl) return read(client->fd, bytes, count);
    int taken = SSL_read(client->ssl, bytes, (int)count);
    if (taken > 0) return taken;
    errno = SSL_get_error(client->ssl, taken) == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
    return errno == EAGAIN ? -1 : 0;
}

static ssize_t give(struct client *client, const uint8_t *bytes, size_t count) {
    if (!client->ssl) return send(client->fd, bytes, count, MSG_NOSIGNAL);
    int given = SSL_write(client->ssl, bytes, (int)(count < 16384 ? count : 16384));
    if (given <= 0) errno = EAGAIN;
    return given;
}

static int flush(struct client *client, int epoll) {
    size_t sent = 0;
    for (;;) {
        blast(client);
        if (sent == client->out_count) break;
        ssize_t count = give(client, client->out + sent, client->out_count - sent);
        if (count < 0) {
            if (errno != EAGAIN) return -1;
            break;
        }
        sent += (size_t)count;
        if (sent == client->out_count) sent = client->out_count = 0;
    }
    if (sent) {
        memmove(client->out, client->out + sent, client->out_count - sent);
        client->out_count -= sent;
    }
    int wants_room = client->out_count > 0;
    if (wants_room != client->wants_room) {
        struct epoll_event event = {.events = EPOLLIN | (wants_room ? (uint32_t)EPOLLOUT : 0u), .data.ptr = client};
        epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
        client->wants_room = wants_room;
    }
    if (client->out_size > 4096 && client->out_count == 0 && client->blast_left == 0) {
        free(client->out);
        client->out = NULL;
        client->out_size = 0;
    }
    return 0;
}

static int receive(struct client *client) {
    static uint8_t shared[1 << 18];
    for (;;) {
        uint8_t *input = shared;
        size_t have = client->in_count;
        if (have) memcpy(shared, client->in, have);
        ssize_t count = take(client, shared + have, sizeof shared - have);
        if (count == 0) return -1;
        if (count < 0) return errno == EAGAIN ? 0 : -1;
        have += (size_t)count;
        size_t at = 0;
        while (have - at >= 2) {
            size_t length = 0, header = 1;
            int shift = 0, whole = 0;
            while (at + header < have && header < 5) {
                uint8_t byte = input[at + header++];
                length |= (size_t)(byte & 0x7F) << shift;
                shift += 7;
                if (byte < 0x80) { whole = 1; break; }
            }
            if (!whole || have - at < header + length) break;
            if (handle(client, input[at], input + at + header, length)) return -1;
            at += header + length;
        }
        size_t rest = have - at;
        if (rest) {
            reserve(&client->in, &client->in_size, rest);
            memcpy(client->in, input + at, rest);
        } else if (client->in) {
            free(client->in);
            client->in = NULL;
            client->in_size = 0;
        }
        client->in_count = rest;
        if (!client->ssl && (size_t)count < sizeof shared / 2) return 0;
    }
}

static void end(struct client *client) {
    if (client->ssl) SSL_free(client->ssl);
    close(client->fd);
    free(client->in);
    free(client->out);
    free(client);
}

void mqtt_sink_run(int listener, const char *certificate, const char *key) {
    struct rlimit limit = {1 << 16, 1 << 16};
    setrlimit(RLIMIT_NOFILE, &limit);
    SSL_CTX *context = NULL;
    if (certificate) {
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
        if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
            fprintf(stderr, "sink: the certificate %s cannot be read\n", certificate);
            exit(1);
        }
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int index = 0; index < count; index++) {
            struct client *client = events[index].data.ptr;
            if (!client) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                int on = 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                client = calloc(1, sizeof *client);
                client->fd = fd;
                if (context) {
                    client->ssl = SSL_new(context);
                    SSL_set_fd(client->ssl, fd);
                    SSL_set_accept_state(client->ssl);
                }
                event.data.ptr = client;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            if (receive(client) || flush(client, epoll)) end(client);
        }
    }
}
