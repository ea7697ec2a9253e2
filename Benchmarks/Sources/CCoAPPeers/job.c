#include "coap_peers.h"
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

void coap_job_begin(struct coap_job *job) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    job->cpu_user_s = -seconds(usage.ru_utime);
    job->cpu_sys_s = -seconds(usage.ru_stime);
    job->wall_s = -now();
}

void coap_job_end(struct coap_job *job) {
    struct rusage usage;
    job->wall_s += now();
    getrusage(RUSAGE_SELF, &usage);
    job->cpu_user_s += seconds(usage.ru_utime);
    job->cpu_sys_s += seconds(usage.ru_stime);
}

long coap_rss_kb(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;
    if (file && fscanf(file, "%ld %ld", &size, &resident) == 2) resident *= 4;
    if (file) fclose(file);
    return resident;
}

double coap_heap_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return (double)(info.uordblks + info.hblkhd);
}

void coap_line_buffer(void) { setvbuf(stdout, NULL, _IOLBF, 0); }
