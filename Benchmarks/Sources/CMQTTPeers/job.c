#include "mqtt_peers.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

double mqtt_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

void mqtt_job_begin(struct mqtt_job *job) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    job->cpu_user_s = -seconds(usage.ru_utime);
    job->cpu_sys_s = -seconds(usage.ru_stime);
    job->wall_s = -mqtt_now();
}

void mqtt_job_end(struct mqtt_job *job) {
    struct rusage usage;
    job->wall_s += mqtt_now();
    getrusage(RUSAGE_SELF, &usage);
    job->cpu_user_s += seconds(usage.ru_utime);
    job->cpu_sys_s += seconds(usage.ru_stime);
}

static int compare(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return difference < 0 ? -1 : difference > 0;
}

void mqtt_job_samples(struct mqtt_job *job, double *samples, int count) {
    qsort(samples, (size_t)count, sizeof *samples, compare);
    job->p50_us = samples[count / 2] * 1e6;
    job->p99_us = samples[(int)((double)count * 0.99)] * 1e6;
}

long mqtt_rss_kb(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;
    if (file && fscanf(file, "%ld %ld", &size, &resident) == 2) resident *= 4;
    if (file) fclose(file);
    return resident;
}

void mqtt_line_buffer(void) { setvbuf(stdout, NULL, _IOLBF, 0); }
