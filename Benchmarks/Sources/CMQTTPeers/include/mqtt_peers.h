#pragma once
#include <stdint.h>

/// What a client is to do, and what came of it.
struct mqtt_job {
    const char *host;
    int port;
    /// pub, rtt, sub, conns or connect.
    const char *mode;
    int qos, size, inflight, count, conns;
    /// 4 or 5.
    int version;
    /// The file with the certificates that are trusted; null for no TLS.
    const char *tls_ca;

    double wall_s, cpu_user_s, cpu_sys_s, p50_us, p99_us, kb_per_conn;
};

/// A broker that takes everything, acknowledges what wants it, and keeps nothing. A subscription to `blast/COUNT/SIZE/QOS` is answered with as many messages; what is
/// published to `echo/1` comes back. Serves whoever connects to the listening socket, and never returns. Over TLS if it has a certificate.
void mqtt_sink_run(int listener, const char *certificate, const char *key);

/// No library at all: prepared packets, one write for a window, large reads. Returns 0, or -1 if the job is none it can do.
int mqtt_raw(struct mqtt_job *job);
/// libmosquitto, on one thread, as its command-line clients use it.
int mqtt_mosquitto(struct mqtt_job *job);
/// Paho's MQTTAsync.
int mqtt_paho(struct mqtt_job *job);

/// The time of this process, and its memory in kilobytes.
void mqtt_job_begin(struct mqtt_job *job);
void mqtt_job_end(struct mqtt_job *job);
void mqtt_job_samples(struct mqtt_job *job, double *samples, int count);
double mqtt_now(void);
long mqtt_rss_kb(void);
/// Each line is written as it is finished.
void mqtt_line_buffer(void);
