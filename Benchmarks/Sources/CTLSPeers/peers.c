#define _GNU_SOURCE
#include "include/CTLSPeers.h"
#include <errno.h>
#include <malloc.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/timing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const unsigned char psk[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

int64_t tls_peer_cpu(pthread_t thread) {
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0) return 0;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t tls_peer_heap(void) {
    struct mallinfo2 info = mallinfo2();
    return (int64_t)(info.uordblks + info.hblkhd);
}

void tls_peer_print_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

static void check(int result, const char *what) {
    if (result == 0) return;
    fprintf(stderr, "%s: -0x%x\n", what, (unsigned)-result);
    abort();
}

static int send_bytes(void *context, const unsigned char *bytes, size_t count) {
    ssize_t sent = send((int)(intptr_t)context, bytes, count, MSG_NOSIGNAL);
    return sent >= 0 ? (int)sent : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int receive_bytes(void *context, unsigned char *bytes, size_t count) {
    ssize_t got = read((int)(intptr_t)context, bytes, count);
    return got >= 0 ? (int)got : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static _Atomic int64_t traffic;

int64_t tls_peer_server_traffic(void) { return atomic_load(&traffic); }

static int server_send(void *context, const unsigned char *bytes, size_t count) {
    int sent = send_bytes(context, bytes, count);
    if (sent > 0) atomic_fetch_add(&traffic, sent);
    return sent;
}

static int server_receive(void *context, unsigned char *bytes, size_t count) {
    int got = receive_bytes(context, bytes, count);
    if (got > 0) atomic_fetch_add(&traffic, got);
    return got;
}

struct common {
    mbedtls_ssl_config config;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    int suites[2];
};

static void common_init(struct common *common, int isServer, int isDatagram) {
    // The list of the library begins with P-521.
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP384R1,
        MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE};
    mbedtls_ssl_config_init(&common->config);
    mbedtls_entropy_init(&common->entropy);
    mbedtls_ctr_drbg_init(&common->random);
    mbedtls_x509_crt_init(&common->chain);
    mbedtls_pk_init(&common->key);
    check(mbedtls_ctr_drbg_seed(&common->random, mbedtls_entropy_func, &common->entropy, NULL, 0), "seed");
    check(mbedtls_ssl_config_defaults(&common->config, isServer,
        isDatagram ? MBEDTLS_SSL_TRANSPORT_DATAGRAM : MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT), "defaults");
    mbedtls_ssl_conf_curves(&common->config, curves);
    mbedtls_ssl_conf_min_version(&common->config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_rng(&common->config, mbedtls_ctr_drbg_random, &common->random);
}

struct tls_peer_server {
    struct common common;
    mbedtls_ssl_ticket_context tickets;
    mbedtls_ssl_cache_context cache;
    pthread_t thread;
    int listener, epoll;
    uint16_t port;
};

struct session {
    mbedtls_ssl_context ssl;
    int fd;
};

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void *serve(void *argument) {
    struct tls_peer_server *server = argument;
    static unsigned char buffer[16384];
    struct epoll_event events[64];
    for (;;) {
        int count = epoll_wait(server->epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct session *session = events[i].data.ptr;
            if (session == NULL) {
                int fd;
                while ((fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    no_delay(fd);
                    struct session *accepted = calloc(1, sizeof *accepted);
                    accepted->fd = fd;
                    mbedtls_ssl_init(&accepted->ssl);
                    check(mbedtls_ssl_setup(&accepted->ssl, &server->common.config), "setup");
                    mbedtls_ssl_set_bio(&accepted->ssl, (void *)(intptr_t)fd, server_send, server_receive, NULL);
                    struct epoll_event event = {.events = EPOLLIN, .data.ptr = accepted};
                    epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            int result = session->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER ? 0 : mbedtls_ssl_handshake(&session->ssl);
            while (result == 0 || result > 0) {
                result = mbedtls_ssl_read(&session->ssl, buffer, sizeof buffer);
                if (result <= 0) break;
                int sent = 0, all = result;
                while (sent < all) {
                    int written = mbedtls_ssl_write(&session->ssl, buffer + sent, (size_t)(all - sent));
                    if (written > 0) sent += written;
                    else if (written != MBEDTLS_ERR_SSL_WANT_WRITE) break;
                }
            }
            if (result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_WANT_WRITE) {
                mbedtls_ssl_close_notify(&session->ssl);
                close(session->fd);
                mbedtls_ssl_free(&session->ssl);
                free(session);
            }
        }
    }
    return NULL;
}

struct tls_peer_server *tls_peer_server_start(enum tls_peer_kind kind, const char *chain, const char *key, int suite) {
    struct tls_peer_server *server = calloc(1, sizeof *server);
    common_init(&server->common, MBEDTLS_SSL_IS_SERVER, 0);
    server->common.suites[0] = suite;
    mbedtls_ssl_conf_ciphersuites(&server->common.config, server->common.suites);
    if (kind == TLS_PEER_CERTIFICATE) {
        check(mbedtls_x509_crt_parse_file(&server->common.chain, chain), "chain");
        check(mbedtls_pk_parse_keyfile(&server->common.key, key, NULL), "key");
        check(mbedtls_ssl_conf_own_cert(&server->common.config, &server->common.chain, &server->common.key), "own");
    } else {
        check(mbedtls_ssl_conf_psk(&server->common.config, psk, sizeof psk, (const unsigned char *)"device", 6), "psk");
    }
    mbedtls_ssl_ticket_init(&server->tickets);
    mbedtls_ssl_cache_init(&server->cache);
    check(mbedtls_ssl_ticket_setup(&server->tickets, mbedtls_ctr_drbg_random, &server->common.random, MBEDTLS_CIPHER_AES_256_GCM, 86400), "tickets");
    mbedtls_ssl_conf_session_tickets_cb(&server->common.config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &server->tickets);
    mbedtls_ssl_conf_session_cache(&server->common.config, &server->cache, mbedtls_ssl_cache_get, mbedtls_ssl_cache_set);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    bind(server->listener, (struct sockaddr *)&address, sizeof address);
    listen(server->listener, 1024);
    getsockname(server->listener, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &event);
    pthread_create(&server->thread, NULL, serve, server);
    return server;
}

uint16_t tls_peer_server_port(const struct tls_peer_server *server) { return server->port; }

struct tls_peer_client {
    struct common common;
    mbedtls_ssl_session session;
    int hasSession;
};

struct tls_peer_client *tls_peer_client_make(enum tls_peer_kind kind, const char *anchors, int suite, int isDatagram) {
    struct tls_peer_client *client = calloc(1, sizeof *client);
    common_init(&client->common, MBEDTLS_SSL_IS_CLIENT, isDatagram);
    mbedtls_ssl_conf_authmode(&client->common.config, MBEDTLS_SSL_VERIFY_REQUIRED);
    client->common.suites[0] = suite;
    if (suite != 0) mbedtls_ssl_conf_ciphersuites(&client->common.config, client->common.suites);
    if (kind == TLS_PEER_CERTIFICATE) {
        check(mbedtls_x509_crt_parse_file(&client->common.chain, anchors), "anchors");
        mbedtls_ssl_conf_ca_chain(&client->common.config, &client->common.chain, NULL);
    } else {
        check(mbedtls_ssl_conf_psk(&client->common.config, psk, sizeof psk, (const unsigned char *)"device", 6), "psk");
    }
    return client;
}

static void wait_for(int epoll, int fd, uint32_t events) {
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    epoll_wait(epoll, &event, 1, -1);
}

/// A connection whose handshake is over.
static struct session *open_session(struct tls_peer_client *client, uint16_t port, int epoll, int resumes) {
    struct session *session = calloc(1, sizeof *session);
    struct sockaddr_in address = loopback(port);
    session->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    no_delay(session->fd);
    struct epoll_event event = {.events = 0, .data.fd = session->fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, session->fd, &event);
    if (connect(session->fd, (struct sockaddr *)&address, sizeof address) != 0) wait_for(epoll, session->fd, EPOLLOUT);
    mbedtls_ssl_init(&session->ssl);
    check(mbedtls_ssl_setup(&session->ssl, &client->common.config), "setup");
    check(mbedtls_ssl_set_hostname(&session->ssl, "localhost"), "hostname");
    mbedtls_ssl_set_bio(&session->ssl, (void *)(intptr_t)session->fd, send_bytes, receive_bytes, NULL);
    if (resumes && client->hasSession) check(mbedtls_ssl_set_session(&session->ssl, &client->session), "set session");
    int result;
    while ((result = mbedtls_ssl_handshake(&session->ssl)) != 0) {
        if (result != MBEDTLS_ERR_SSL_WANT_READ) check(result, "handshake");
        wait_for(epoll, session->fd, EPOLLIN);
    }
    if (resumes) {
        if (client->hasSession) mbedtls_ssl_session_free(&client->session);
        mbedtls_ssl_session_init(&client->session);
        check(mbedtls_ssl_get_session(&session->ssl, &client->session), "get session");
        client->hasSession = 1;
    }
    return session;
}

/// Says goodbye, waits until the peer has ended too, and closes: so that nothing that was sent is lost, as a close with bytes to read would do.
static void close_session(struct session *session, int epoll) {
    char rest[256];
    mbedtls_ssl_close_notify(&session->ssl);
    shutdown(session->fd, SHUT_WR);
    for (;;) {
        ssize_t got = read(session->fd, rest, sizeof rest);
        if (got < 0 && errno == EAGAIN) wait_for(epoll, session->fd, EPOLLIN);
        else if (got <= 0) break;
    }
    close(session->fd);
    mbedtls_ssl_free(&session->ssl);
    free(session);
}

int64_t tls_peer_handshakes(struct tls_peer_client *client, uint16_t port, int count, int resumes) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (resumes) close_session(open_session(client, port, epoll, 1), epoll);
    int64_t start = tls_peer_cpu(pthread_self());
    for (int i = 0; i < count; i++) close_session(open_session(client, port, epoll, resumes), epoll);
    int64_t used = tls_peer_cpu(pthread_self()) - start;
    close(epoll);
    return used;
}

int64_t tls_peer_echo(struct tls_peer_client *client, uint16_t port, int size, int count) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct session *session = open_session(client, port, epoll, 0);
    static unsigned char buffer[16384];
    int64_t start = tls_peer_cpu(pthread_self());
    for (int i = 0; i < count; i++) {
        int sent = 0, got = 0;
        while (sent < size) {
            int result = mbedtls_ssl_write(&session->ssl, buffer + sent, (size_t)(size - sent));
            if (result > 0) sent += result;
            else wait_for(epoll, session->fd, EPOLLOUT);
        }
        while (got < size) {
            int result = mbedtls_ssl_read(&session->ssl, buffer, sizeof buffer);
            if (result > 0) got += result;
            else if (result == MBEDTLS_ERR_SSL_WANT_READ) wait_for(epoll, session->fd, EPOLLIN);
            else check(result, "read");
        }
    }
    int64_t used = tls_peer_cpu(pthread_self()) - start;
    close_session(session, epoll);
    close(epoll);
    return used;
}

int64_t tls_peer_hold(struct tls_peer_client *client, uint16_t port, int count) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t before = tls_peer_heap();
    struct session **sessions = calloc((size_t)count, sizeof *sessions);
    for (int i = 0; i < count; i++) sessions[i] = open_session(client, port, epoll, 0);
    int64_t used = tls_peer_heap() - before;
    for (int i = 0; i < count; i++) close_session(sessions[i], epoll);
    free(sessions);
    close(epoll);
    return used;
}

int64_t tls_peer_datagram_handshakes(struct tls_peer_client *client, uint16_t port, int count) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in address = loopback(port);
    int64_t start = tls_peer_cpu(pthread_self());
    for (int i = 0; i < count; i++) {
        struct session *session = calloc(1, sizeof *session);
        mbedtls_timing_delay_context timer;
        session->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(session->fd, (struct sockaddr *)&address, sizeof address);
        struct epoll_event event = {.events = 0, .data.fd = session->fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, session->fd, &event);
        mbedtls_ssl_init(&session->ssl);
        check(mbedtls_ssl_setup(&session->ssl, &client->common.config), "setup");
        mbedtls_ssl_set_bio(&session->ssl, (void *)(intptr_t)session->fd, send_bytes, receive_bytes, NULL);
        mbedtls_ssl_set_timer_cb(&session->ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
        int result;
        while ((result = mbedtls_ssl_handshake(&session->ssl)) != 0) {
            if (result != MBEDTLS_ERR_SSL_WANT_READ) check(result, "handshake");
            wait_for(epoll, session->fd, EPOLLIN);
        }
        mbedtls_ssl_close_notify(&session->ssl);
        close(session->fd);
        mbedtls_ssl_free(&session->ssl);
        free(session);
    }
    int64_t used = tls_peer_cpu(pthread_self()) - start;
    close(epoll);
    return used;
}
