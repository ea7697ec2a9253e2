// A C program on mbedTLS with sockets, epoll and nothing else: the measure for SecureTransport, and the server for both.
#pragma once
#include <pthread.h>
#include <stdint.h>

enum tls_peer_kind { TLS_PEER_CERTIFICATE, TLS_PEER_PSK };

/// The processor time that `thread` has used, in nanoseconds.
int64_t tls_peer_cpu(pthread_t thread);
/// How many bytes of the heap are in use.
int64_t tls_peer_heap(void);
void tls_peer_print_lines(void);

/// A server on loopback in a thread of its own: it echoes. `chain` and `key` are files; for a pre-shared key they are not used. `suite` is the number of the
/// only suite that it agrees to, in mbedTLS's list.
struct tls_peer_server;
struct tls_peer_server *_Nonnull tls_peer_server_start(enum tls_peer_kind kind, const char *_Nonnull chain, const char *_Nonnull key, int suite);
uint16_t tls_peer_server_port(const struct tls_peer_server *_Nonnull server);

/// A client: trusts `anchors`, or has the key.
struct tls_peer_client;
struct tls_peer_client *_Nonnull tls_peer_client_make(enum tls_peer_kind kind, const char *_Nonnull anchors, int suite, int isDatagram);

/// Connects so many times, one after another; resumes the session before if `resumes`. Returns the processor time of the calling thread in nanoseconds.
int64_t tls_peer_handshakes(struct tls_peer_client *_Nonnull client, uint16_t port, int count, int resumes);
/// The same over datagrams.
int64_t tls_peer_datagram_handshakes(struct tls_peer_client *_Nonnull client, uint16_t port, int count);
/// How many bytes the servers have sent and received.
int64_t tls_peer_server_traffic(void);
/// Opens a connection, and sends `size` bytes and waits for them so many times. Returns the processor time.
int64_t tls_peer_echo(struct tls_peer_client *_Nonnull client, uint16_t port, int size, int count);
/// Opens so many connections and keeps them; returns how many bytes of heap they take.
int64_t tls_peer_hold(struct tls_peer_client *_Nonnull client, uint16_t port, int count);
