// What a C program does with epoll, read and write, and nothing else: the measure for the sockets of SAL.
#pragma once
#include <pthread.h>
#include <stdint.h>

/// The processor time that `thread` has used, in nanoseconds.
int64_t peer_cpu(pthread_t thread);

/// A server on loopback in a thread of its own: it echoes, or, if it is a sink, only reads.
struct peer_server {
    pthread_t thread;
    int listener, epoll, stop;
    uint16_t port;
    int isSink;
    volatile int64_t bytes;
};
struct peer_server *_Nonnull peer_server_start(int isSink);
void peer_server_stop(struct peer_server *_Nonnull server);

/// Sends `size` bytes over each of `connections` connections to a server that echoes, waits for them, and again, `rounds` times in all. Returns the
/// processor time of the calling thread, in nanoseconds.
int64_t peer_echo(uint16_t port, int connections, int size, int64_t rounds);

/// Sends `bytes` to a server, and returns the processor time of the calling thread when all of it is with the system.
int64_t peer_send(uint16_t port, int64_t bytes);

/// A process of its own that opens `count` connections to `port`, or, if `port` is 0, has a server that accepts them; until it is ended.
struct peer_process {
    int pid, pipe;
    uint16_t port;
    int count;
};
struct peer_process peer_process_start(uint16_t port, int count);
void peer_process_end(struct peer_process process);

/// Prints each line at once, wherever to.
void peer_print_lines(void);

/// How many bytes of the heap are in use.
int64_t peer_heap(void);

/// Allows as many descriptors as the system lets this process have; returns how many.
int64_t peer_raise_limit(void);
