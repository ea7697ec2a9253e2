#define _GNU_SOURCE
#include "coap_peers.h"
#include "sink.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, DATAGRAM = 2048, MTU = 1400, SESSIONS = 1024 };

struct session {
    SSL *ssl;
    struct sockaddr_in peer;
};

/// By the client's port; and in the order they came, of which the oldest goes when there are too many.
static struct session *by_port[65536];
static uint16_t order[SESSIONS];
static int next_order;

static int socket_fd;
/// The datagram that OpenSSL has not taken yet.
static const uint8_t *pending;
static size_t pending_count;

static int bio_read(BIO *bio, char *bytes, int room) {
    BIO_clear_retry_flags(bio);
    if (!pending) {
        BIO_set_retry_read(bio);
        return -1;
    }
    int count = (int)pending_count < room ? (int)pending_count : room;
    memcpy(bytes, pending, (size_t)count);
    pending = NULL;
    return count;
}

static int bio_write(BIO *bio, const char *bytes, int count) {
    struct session *session = BIO_get_data(bio);
    // One that is lost is the client's to ask for again.
    sendto(socket_fd, bytes, (size_t)count, 0, (struct sockaddr *)&session->peer, sizeof session->peer);
    return count;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio; (void)number; (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU: return MTU;
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD: return 28;
    default: return 0;
    }
}

/// Cookies need no secret where no one pretends to be somebody else.
static int make_cookie(SSL *ssl, unsigned char *cookie, unsigned *count) {
    struct session *session = SSL_get_app_data(ssl);
    memcpy(cookie, &session->peer.sin_port, 2);
    memset(cookie + 2, 'c', 14);
    *count = 16;
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, unsigned count) {
    unsigned char expected[16];
    unsigned expected_count;
    make_cookie(ssl, expected, &expected_count);
    return count == expected_count && !memcmp(cookie, expected, count);
}

static unsigned find_key(SSL *ssl, const char *identity, unsigned char *key, unsigned room) {
    (void)ssl;
    size_t count = strlen(COAP_PSK_KEY);
    if (strcmp(identity, COAP_PSK_IDENTITY) || room < count) return 0;
    memcpy(key, COAP_PSK_KEY, count);
    return (unsigned)count;
}

static SSL_CTX *make_context(void) {
    SSL_CTX *context = SSL_CTX_new(DTLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION)
        || !SSL_CTX_set_cipher_list(context, "PSK-AES128-CCM8")) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_psk_server_callback(context, find_key);
    SSL_CTX_set_options(context, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_cookie_generate_cb(context, make_cookie);
    SSL_CTX_set_cookie_verify_cb(context, check_cookie);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

static void end_session(uint16_t port) {
    struct session *session = by_port[port];
    if (!session) return;
    SSL_free(session->ssl);
    free(session);
    by_port[port] = NULL;
}

static void begin_session(SSL_CTX *context, BIO_METHOD *method, const struct sockaddr_in *peer) {
    struct session *session = calloc(1, sizeof *session);
    BIO *bio = BIO_new(method);
    session->ssl = SSL_new(context);
    session->peer = *peer;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_app_data(session->ssl, session);
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_mtu(session->ssl, MTU);
    SSL_set_accept_state(session->ssl);
    if (order[next_order] != peer->sin_port) end_session(order[next_order]);
    order[next_order] = peer->sin_port;
    next_order = (next_order + 1) % SESSIONS;
    by_port[peer->sin_port] = session;
}

static void take(SSL_CTX *context, BIO_METHOD *method, const struct sockaddr_in *peer, const uint8_t *bytes, size_t count) {
    uint8_t in[DATAGRAM], out[COAP_SINK_DATAGRAM];
    uint16_t port = peer->sin_port;
    // A handshake that begins anew: epoch 0 (RFC 6347, 4.1).
    int begins = count > 13 && bytes[0] == 22 && !bytes[3] && !bytes[4];
    if (begins && by_port[port] && SSL_is_init_finished(by_port[port]->ssl)) end_session(port);
    if (!by_port[port]) {
        if (!begins) return;
        begin_session(context, method, peer);
    }
    SSL *ssl = by_port[port]->ssl;
    pending = bytes;
    pending_count = count;
    ERR_clear_error();
    for (;;) {
        int read = SSL_read(ssl, in, sizeof in);
        if (read <= 0) {
            if (SSL_get_error(ssl, read) != SSL_ERROR_WANT_READ) end_session(port);
            break;
        }
        size_t answered = coap_sink_answer(in, (size_t)read, out);
        if (answered) SSL_write(ssl, out, (int)answered);
    }
    pending = NULL;
}

void coap_dtls_sink_run(int fd) {
    static uint8_t in[BATCH][DATAGRAM];
    static struct sockaddr_in peers[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr received[BATCH];
    SSL_CTX *context = make_context();
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "a datagram");
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    socket_fd = fd;
    int room = 1 << 22;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    memset(received, 0, sizeof received);
    for (int index = 0; index < BATCH; index++) {
        parts[index] = (struct iovec){in[index], DATAGRAM};
        received[index].msg_hdr = (struct msghdr){.msg_name = &peers[index], .msg_iov = &parts[index], .msg_iovlen = 1};
    }
    for (;;) {
        for (int index = 0; index < BATCH; index++) received[index].msg_hdr.msg_namelen = sizeof peers[0];
        int count = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL);
        for (int index = 0; index < count; index++) take(context, method, &peers[index], in[index], received[index].msg_len);
    }
}
