#define _GNU_SOURCE
#include "coap_peers.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WINDOW = 1024, DATAGRAM = 1280 };

static int connected(const struct coap_job *job) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {2, 0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)job->port)};
    inet_pton(AF_INET, job->host, &address.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/// A GET of `bench/small` with a token of four bytes.
static const uint8_t prepared[] = "\x44\x01\0\0\0\0\0\0\xB5" "bench\x05" "small";
enum { REQUEST = sizeof prepared - 1 };

static uint8_t requests[WINDOW][REQUEST], answers[WINDOW][DATAGRAM];

/// Numbers the request of a place of the window: a message ID of its own, and a token that leads back to the place.
static void number(int place, int sequence) {
    uint8_t *request = requests[place];
    request[2] = (uint8_t)(sequence >> 8);
    request[3] = (uint8_t)sequence;
    request[4] = (uint8_t)(sequence >> 24);
    request[5] = (uint8_t)(sequence >> 16);
    request[6] = (uint8_t)(place >> 8);
    request[7] = (uint8_t)place;
}

/// The place that an answer belongs to.
static int place_of(const uint8_t *answer, size_t count, int window, int is_confirmable) {
    int place = count < 8 ? window : answer[6] << 8 | answer[7];
    if (place >= window || answer[1] != 0x45 || memcmp(answer + 4, requests[place] + 4, 4)
        || (is_confirmable && memcmp(answer + 2, requests[place] + 2, 2))) {
        fprintf(stderr, "an answer to nothing\n");
        exit(1);
    }
    return place;
}

static void small(struct coap_job *job, int is_confirmable, int is_batched) {
    int fd = connected(job), window = job->inflight < WINDOW ? job->inflight : WINDOW;
    struct iovec out_parts[WINDOW], in_parts[WINDOW];
    static struct mmsghdr out[WINDOW], in[WINDOW];
    for (int place = 0; place < window; place++) {
        memcpy(requests[place], prepared, REQUEST);
        if (!is_confirmable) requests[place][0] |= 1 << 4;
        in_parts[place] = (struct iovec){answers[place], DATAGRAM};
        in[place].msg_hdr = (struct msghdr){.msg_iov = &in_parts[place], .msg_iovlen = 1};
        out[place].msg_hdr = (struct msghdr){.msg_iov = &out_parts[place], .msg_iovlen = 1};
    }
    int sequence = 0, left = job->count;
    coap_job_begin(job);
    for (; sequence < window && sequence < job->count; sequence++) {
        number(sequence, sequence);
        if (send(fd, requests[sequence], REQUEST, 0) < 0) fail("send");
    }
    while (left > 0 && !is_batched) {
        ssize_t count = recv(fd, answers[0], DATAGRAM, 0);
        if (count < 0) fail("recv");
        int place = place_of(answers[0], (size_t)count, window, is_confirmable);
        left--;
        if (sequence == job->count) continue;
        number(place, sequence++);
        if (send(fd, requests[place], REQUEST, 0) < 0) fail("send");
    }
    while (left > 0) {
        int received = recvmmsg(fd, in, (unsigned)window, MSG_WAITFORONE, NULL), batch = 0;
        if (received < 0) fail("recvmmsg");
        left -= received;
        for (int index = 0; index < received; index++) {
            int place = place_of(answers[index], in[index].msg_len, window, is_confirmable);
            if (sequence == job->count) continue;
            number(place, sequence++);
            out_parts[batch++] = (struct iovec){requests[place], REQUEST};
        }
        for (int sent = 0; sent < batch;) {
            int more = sendmmsg(fd, out + sent, (unsigned)(batch - sent), 0);
            if (more < 0) fail("sendmmsg");
            sent += more;
        }
    }
    coap_job_end(job);
    close(fd);
}

/// One block after the other, as the standard has it.
static void large(struct coap_job *job, int is_up) {
    int fd = connected(job);
    static uint8_t request[DATAGRAM], answer[DATAGRAM], body[COAP_LARGE];
    uint8_t token = 0;
    uint16_t id = 0;
    const unsigned last = COAP_LARGE / COAP_BLOCK - 1;
    coap_job_begin(job);
    for (int left = job->count; left > 0; left--) {
        for (unsigned block = 0; block <= last; block++) {
            id++;
            memcpy(request, is_up ? "\x41\x03\0\0\0\xB5" "bench\x05" "large\xD2\x03" : "\x41\x01\0\0\0\xB5" "bench\x05" "large\xC2", is_up ? 19 : 18);
            size_t count = is_up ? 19 : 18;
            uint32_t value = block << 4 | (is_up && block < last ? 8u : 0u) | 6u;
            request[2] = (uint8_t)(id >> 8);
            request[3] = (uint8_t)id;
            request[4] = ++token;
            request[count++] = (uint8_t)(value >> 8);
            request[count++] = (uint8_t)value;
            if (is_up) {
                request[count++] = 0xFF;
                memcpy(request + count, body + block * COAP_BLOCK, COAP_BLOCK);
                count += COAP_BLOCK;
            }
            if (send(fd, request, count, 0) < 0) fail("send");
            ssize_t taken = recv(fd, answer, sizeof answer, 0);
            if (taken < 5 || memcmp(answer + 2, request + 2, 3) || answer[1] >> 5 != 2) fail("recv");
            if (!is_up && taken > COAP_BLOCK) memcpy(body + block * COAP_BLOCK, answer + taken - COAP_BLOCK, COAP_BLOCK);
        }
    }
    coap_job_end(job);
    close(fd);
}

int coap_raw(struct coap_job *job, int is_batched) {
    if (!strcmp(job->mode, "con")) small(job, 1, is_batched);
    else if (!strcmp(job->mode, "non")) small(job, 0, is_batched);
    else if (!strcmp(job->mode, "down") && !is_batched) large(job, 0);
    else if (!strcmp(job->mode, "up") && !is_batched) large(job, 1);
    else return -1;
    return 0;
}
