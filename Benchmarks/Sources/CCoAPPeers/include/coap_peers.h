#pragma once
#include <stdint.h>

/// What a client is to do, and what came of it.
struct coap_job {
    const char *host;
    int port;
    /// con, non, down, up or memory; session and resumed over DTLS.
    const char *mode;
    /// How many requests are under way, and how many there are in all. With `memory`, all are under way.
    int inflight, count;
    /// Whether it is over DTLS.
    int is_secure;

    double wall_s, cpu_user_s, cpu_sys_s, bytes_per_request;
};

/// The size of the large resource; it is moved in blocks of 1,024 bytes.
enum { COAP_LARGE = 1 << 20, COAP_BLOCK = 1024 };

/// A server at a bound UDP socket that keeps nothing: it answers GET of `bench/small` with 16 bytes, in the acknowledgement if that is due; serves 1 MiB of
/// `bench/large` by Block2 and takes as much by Block1; what is asked of `bench/silent` is never answered. Never returns.
void coap_sink_run(int fd);

/// What both ends of DTLS know.
#define COAP_PSK_IDENTITY "bench"
#define COAP_PSK_KEY "a key of 16 byte"

/// The same over DTLS 1.2, by OpenSSL. It agrees to TLS_PSK_WITH_AES_128_CCM_8 alone, so that all clients do the same work, wants cookies, and resumes
/// sessions by ticket. Never returns.
void coap_dtls_sink_run(int fd);

/// Passes datagrams on between a bound UDP socket and a port of this host, and counts what passes. Never returns.
void coap_relay_run(int fd, int port);
/// How many round trips the latest client of the relay at `port` has made: datagrams of the server that came after some of the client's; -1 if it is silent.
int coap_relay_trips(int port);

/// No library at all: prepared datagrams, a system call for each of them, or for as many as there are at once. Returns 0, or -1 if the job is none it can do.
int coap_raw(struct coap_job *job, int is_batched);
/// libcoap, on one thread, with its own loop.
int coap_libcoap(struct coap_job *job);

/// The time of this process, and its memory in kilobytes.
void coap_job_begin(struct coap_job *job);
void coap_job_end(struct coap_job *job);
long coap_rss_kb(void);
/// How many bytes of the heap are in use.
double coap_heap_bytes(void);
/// Each line is written as it is finished.
void coap_line_buffer(void);
