#define _GNU_SOURCE
#include "coap_peers.h"
#include "sink.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, DATAGRAM = COAP_SINK_DATAGRAM };

/// What a request asks for; the blocks are 1 << 24 where there is none.
struct request {
    const uint8_t *name;
    size_t name_count;
    uint32_t block1, block2;
};

static const uint32_t none = 1 << 24;

static uint32_t number(const uint8_t *bytes, size_t count) {
    uint32_t value = 0;
    while (count--) value = value << 8 | *bytes++;
    return value;
}

/// Reads the options; returns -1 if there is something wrong with them.
static int parse(const uint8_t *at, const uint8_t *end, struct request *request) {
    unsigned option = 0;
    *request = (struct request){(const uint8_t *)"", 0, none, none};
    while (at < end && *at != 0xFF) {
        size_t parts[2] = {(size_t)(*at >> 4), (size_t)(*at & 15)};
        at++;
        for (int index = 0; index < 2; index++) {
            size_t extension = parts[index] == 13 ? 1 : parts[index] == 14 ? 2 : 0;
            if (parts[index] == 15 || (size_t)(end - at) < extension) return -1;
            if (extension) parts[index] = number(at, extension) + (extension == 1 ? 13u : 269u);
            at += extension;
        }
        option += (unsigned)parts[0];
        if ((size_t)(end - at) < parts[1]) return -1;
        switch (option) {
        case 11: request->name = at; request->name_count = parts[1]; break;
        case 23: request->block2 = number(at, parts[1] < 4 ? parts[1] : 3); break;
        case 27: request->block1 = number(at, parts[1] < 4 ? parts[1] : 3); break;
        default: break;
        }
        at += parts[1];
    }
    return 0;
}

static int is_named(const struct request *request, const char *name) {
    return request->name_count == strlen(name) && !memcmp(request->name, name, request->name_count);
}

/// An option of a number up to 12 above the one before, with a value of 0 to 3 bytes.
static uint8_t *put_option(uint8_t *at, unsigned delta, uint32_t value) {
    int count = value > 0xFFFF ? 3 : value > 0xFF ? 2 : value ? 1 : 0;
    *at++ = (uint8_t)(delta << 4 | (unsigned)count);
    while (count--) *at++ = (uint8_t)(value >> 8 * count);
    return at;
}

size_t coap_sink_answer(const uint8_t *in, size_t in_count, uint8_t *out) {
    static uint16_t next_id;
    struct request request;
    if (in_count < 4) return 0;
    uint8_t type = in[0] >> 4 & 3, method = in[1];
    size_t token = in[0] & 15u;
    if (in_count < 4 + token || in[0] >> 6 != 1 || token > 8 || type > 1 || method == 0) return 0;
    if (parse(in + 4 + token, in + in_count, &request) || is_named(&request, "silent")) return 0;
    uint16_t id = type ? ++next_id : (uint16_t)(in[2] << 8 | in[3]);
    out[0] = (uint8_t)(1 << 6 | (type ? 1u : 2u) << 4 | token);
    out[2] = (uint8_t)(id >> 8);
    out[3] = (uint8_t)id;
    memcpy(out + 4, in + 4, token);
    uint8_t *at = out + 4 + token;
    if (method == 1 && is_named(&request, "small")) {
        out[1] = 0x45;
        // Content-Format 0, and the payload.
        memcpy(at, "\xC0\xFF" "22.5 degrees    ", 18);
        at += 18;
    } else if (method == 1 && is_named(&request, "large")) {
        uint32_t block = request.block2 == none ? 0 : request.block2 >> 4;
        if (block >= COAP_LARGE / COAP_BLOCK) return 0;
        out[1] = 0x45;
        at = put_option(at, 12, 42);
        at = put_option(at, 11, block << 4 | (block + 1 < COAP_LARGE / COAP_BLOCK ? 8u : 0u) | 6u);
        // Size2, in the first.
        if (block == 0) at = put_option(at, 5, COAP_LARGE);
        *at++ = 0xFF;
        memset(at, 'x', COAP_BLOCK);
        at += COAP_BLOCK;
    } else if (method == 3 && is_named(&request, "large") && request.block1 != none) {
        out[1] = request.block1 & 8 ? 0x5F : 0x44;
        // Block1, 27, has its delta in two bytes.
        *at = 0xD0;
        at[1] = 27 - 13;
        int count = request.block1 > 0xFFFF ? 3 : request.block1 > 0xFF ? 2 : request.block1 ? 1 : 0;
        *at |= (uint8_t)count;
        at += 2;
        while (count--) *at++ = (uint8_t)(request.block1 >> 8 * count);
    } else {
        out[1] = 0x84;
    }
    return (size_t)(at - out);
}

void coap_sink_run(int fd) {
    static uint8_t in[BATCH][DATAGRAM], out[BATCH][DATAGRAM];
    static struct sockaddr_in peers[BATCH];
    struct iovec in_parts[BATCH], out_parts[BATCH];
    struct mmsghdr received[BATCH], sent[BATCH];
    memset(received, 0, sizeof received);
    memset(sent, 0, sizeof sent);
    int room = 1 << 22;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    for (int index = 0; index < BATCH; index++) {
        in_parts[index] = (struct iovec){in[index], DATAGRAM};
        received[index].msg_hdr = (struct msghdr){.msg_name = &peers[index], .msg_iov = &in_parts[index], .msg_iovlen = 1};
    }
    for (;;) {
        for (int index = 0; index < BATCH; index++) received[index].msg_hdr.msg_namelen = sizeof peers[0];
        int count = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL), answers = 0;
        // What an earlier answer met on its way is told here.
        for (int index = 0; index < count; index++) {
            size_t bytes = coap_sink_answer(in[index], received[index].msg_len, out[answers]);
            if (!bytes) continue;
            out_parts[answers] = (struct iovec){out[answers], bytes};
            sent[answers].msg_hdr = (struct msghdr){
                .msg_name = &peers[index], .msg_namelen = sizeof peers[0], .msg_iov = &out_parts[answers], .msg_iovlen = 1};
            answers++;
        }
        for (int done = 0; done < answers;) {
            int more = sendmmsg(fd, sent + done, (unsigned)(answers - done), 0);
            done += more > 0 ? more : 1;
        }
    }
}
