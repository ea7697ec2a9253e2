#define _GNU_SOURCE
#include "CKernelPeers.h"
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

void *peer_mutex_new(enum peer_mutex kind) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (kind != PEER_NORMAL) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    if (kind == PEER_INHERITING) pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    pthread_mutex_init(mutex, &attributes);
    return mutex;
}

void peer_mutex_pairs(void *mutex, long count, long *counter) {
    volatile long *guarded = counter;
    for (long i = 0; i < count; i++) {
        pthread_mutex_lock(mutex);
        *guarded = *guarded + 1;
        pthread_mutex_unlock(mutex);
    }
}

void *peer_sem_new(unsigned value) {
    sem_t *sem = malloc(sizeof *sem);
    sem_init(sem, 0, value);
    return sem;
}

void peer_sem_pairs(void *sem, long count) {
    for (long i = 0; i < count; i++) {
        sem_wait(sem);
        sem_post(sem);
    }
}

void peer_sem_post_wait(void *posted, void *waited, long count) {
    for (long i = 0; i < count; i++) {
        sem_post(posted);
        sem_wait(waited);
    }
}

void peer_sem_wait_post(void *waited, void *posted, long count) {
    for (long i = 0; i < count; i++) {
        sem_wait(waited);
        sem_post(posted);
    }
}

void *peer_rwlock_new(void) {
    pthread_rwlock_t *lock = malloc(sizeof *lock);
    pthread_rwlock_init(lock, NULL);
    return lock;
}

void peer_rwlock_read_pairs(void *lock, long count) {
    for (long i = 0; i < count; i++) {
        pthread_rwlock_rdlock(lock);
        pthread_rwlock_unlock(lock);
    }
}

void peer_rwlock_write_pairs(void *lock, long count) {
    for (long i = 0; i < count; i++) {
        pthread_rwlock_wrlock(lock);
        pthread_rwlock_unlock(lock);
    }
}

struct flags {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t bits;
};

void *peer_flags_new(void) {
    struct flags *flags = calloc(1, sizeof *flags);
    pthread_mutex_init(&flags->mutex, NULL);
    pthread_cond_init(&flags->changed, NULL);
    return flags;
}

void peer_flags_pairs(void *place, long count) {
    struct flags *flags = place;
    for (long i = 0; i < count; i++) {
        pthread_mutex_lock(&flags->mutex);
        flags->bits |= 1;
        pthread_cond_broadcast(&flags->changed);
        pthread_mutex_unlock(&flags->mutex);
        pthread_mutex_lock(&flags->mutex);
        while (!(flags->bits & 1)) pthread_cond_wait(&flags->changed, &flags->mutex);
        flags->bits = 0;
        pthread_mutex_unlock(&flags->mutex);
    }
}

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    long capacity, head, count;
    long items[];
};

void *peer_ring_new(long capacity) {
    struct ring *ring = calloc(1, sizeof *ring + (size_t)capacity * sizeof(long));
    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->filled, NULL);
    pthread_cond_init(&ring->emptied, NULL);
    ring->capacity = capacity;
    return ring;
}

static void ring_send(struct ring *ring, long item) {
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == ring->capacity) pthread_cond_wait(&ring->emptied, &ring->mutex);
    long place = ring->head + ring->count;
    ring->items[place < ring->capacity ? place : place - ring->capacity] = item;
    ring->count++;
    pthread_cond_signal(&ring->filled);
    pthread_mutex_unlock(&ring->mutex);
}

static long ring_receive(struct ring *ring) {
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == 0) pthread_cond_wait(&ring->filled, &ring->mutex);
    long item = ring->items[ring->head];
    ring->head = ring->head + 1 == ring->capacity ? 0 : ring->head + 1;
    ring->count--;
    pthread_cond_signal(&ring->emptied);
    pthread_mutex_unlock(&ring->mutex);
    return item;
}

void peer_ring_pairs(void *ring, long count) {
    for (long i = 0; i < count; i++) {
        ring_send(ring, i);
        if (ring_receive(ring) != i) abort();
    }
}

void peer_ring_send(void *ring, long count) {
    for (long i = 0; i < count; i++) ring_send(ring, i);
}

void peer_ring_receive(void *ring, long count) {
    for (long i = 0; i < count; i++)
        if (ring_receive(ring) != i) abort();
}

int peer_mq_new(long capacity) {
    char name[64];
    static int number;
    snprintf(name, sizeof name, "/apus-bench-%d-%d", getpid(), number++);
    struct mq_attr attributes = {.mq_maxmsg = capacity, .mq_msgsize = sizeof(long)};
    int queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    mq_unlink(name);
    return queue;
}

void peer_mq_send(int queue, long count) {
    for (long i = 0; i < count; i++) mq_send(queue, (char *)&i, sizeof i, 0);
}

void peer_mq_receive(int queue, long count) {
    long item;
    for (long i = 0; i < count; i++) mq_receive(queue, (char *)&item, sizeof item, NULL);
}

void peer_mq_pairs(int queue, long count) {
    long item;
    for (long i = 0; i < count; i++) {
        mq_send(queue, (char *)&i, sizeof i, 0);
        mq_receive(queue, (char *)&item, sizeof item, NULL);
    }
}

void peer_malloc_pairs(long count, long bytes) {
    for (long i = 0; i < count; i++) {
        void *volatile block = malloc((size_t)bytes);
        free(block);
    }
}

int peer_timerfd_new(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); }

void peer_timerfd_pairs(int timer, long count) {
    struct itimerspec start = {.it_value.tv_sec = 1000}, stop = {0};
    for (long i = 0; i < count; i++) {
        timerfd_settime(timer, 0, &start, NULL);
        timerfd_settime(timer, 0, &stop, NULL);
    }
}

int64_t peer_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
