// The peers of the kernel benchmark, with their loops in C: each function does a thing so many times.
#ifndef APUS_CKERNELPEERS_H
#define APUS_CKERNELPEERS_H
#include <stdint.h>

enum peer_mutex { PEER_NORMAL, PEER_RECURSIVE, PEER_INHERITING };

void *_Nonnull peer_mutex_new(enum peer_mutex kind);
void peer_mutex_pairs(void *_Nonnull mutex, long count, long *_Nonnull counter);

void *_Nonnull peer_sem_new(unsigned value);
void peer_sem_pairs(void *_Nonnull sem, long count);
void peer_sem_post_wait(void *_Nonnull posted, void *_Nonnull waited, long count);
void peer_sem_wait_post(void *_Nonnull waited, void *_Nonnull posted, long count);

void *_Nonnull peer_rwlock_new(void);
void peer_rwlock_read_pairs(void *_Nonnull lock, long count);
void peer_rwlock_write_pairs(void *_Nonnull lock, long count);

/// Flags under a mutex with a condition variable.
void *_Nonnull peer_flags_new(void);
void peer_flags_pairs(void *_Nonnull flags, long count);

/// A ring of words under a mutex with two condition variables.
void *_Nonnull peer_ring_new(long capacity);
void peer_ring_pairs(void *_Nonnull ring, long count);
void peer_ring_send(void *_Nonnull ring, long count);
void peer_ring_receive(void *_Nonnull ring, long count);

/// A POSIX message queue of words; below 0 if the system gives none.
int peer_mq_new(long capacity);
void peer_mq_pairs(int queue, long count);
void peer_mq_send(int queue, long count);
void peer_mq_receive(int queue, long count);

void peer_malloc_pairs(long count, long bytes);
int peer_timerfd_new(void);
void peer_timerfd_pairs(int timer, long count);
int64_t peer_now(void);
#endif
