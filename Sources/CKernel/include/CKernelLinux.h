#ifndef APUS_CKERNEL_LINUX_H
#define APUS_CKERNEL_LINUX_H
#if defined(__linux__)
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/// What the kernel keeps of each thread.
struct ckernel_thread {
    /// The kernel's number of the thread, as it stands in a priority-inheriting futex; 0 until the record is used.
    uint32_t tid;
    /// 0 (highest) to 31; others change it: see ckernel_priority.
    uint8_t priority;
    /// The mutexes that the thread holds, the last one first: each holds a pointer to the next.
    void *_Nullable held;
    /// The Waiter of the thread, once it has waited.
    void *_Nullable waiter;
    /// The KernelTask that the thread is, or null.
    void *_Nullable task;
    /// The EventLoop that runs on the thread, or null.
    void *_Nullable loop;
};

extern __thread struct ckernel_thread ckernel_thread_record __attribute__((tls_model("initial-exec")));

/// Has `ended` called at the end of each thread that holds mutexes or has a waiter.
void ckernel_at_thread_end(void (*_Nonnull ended)(struct ckernel_thread *_Nonnull thread));

void ckernel_thread_prepare(struct ckernel_thread *_Nonnull thread);

/// The record of the calling thread.
static inline struct ckernel_thread *_Nonnull ckernel_this_thread(void) {
    struct ckernel_thread *_Nonnull thread = &ckernel_thread_record;
    if (__builtin_expect(thread->tid == 0, 0)) ckernel_thread_prepare(thread);
    return thread;
}

static inline uint8_t ckernel_priority(const struct ckernel_thread *_Nonnull thread) { return __atomic_load_n(&thread->priority, __ATOMIC_RELAXED); }

static inline void ckernel_set_priority(struct ckernel_thread *_Nonnull thread, uint8_t priority) {
    __atomic_store_n(&thread->priority, priority, __ATOMIC_RELAXED);
}

/// Waits while `*word` is `expected`, until the deadline on CLOCK_MONOTONIC unless that is null. Returns 0 or an errno.
static inline int ckernel_futex_wait(const void *_Nonnull word, uint32_t expected, const struct timespec *_Nullable deadline) {
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline, NULL, FUTEX_BITSET_MATCH_ANY) == 0 ? 0 : errno;
}

/// Wakes up to `count` waiters of `word`.
static inline void ckernel_futex_wake(const void *_Nonnull word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/// Locks a priority-inheriting futex; the deadline is on CLOCK_MONOTONIC, and may be changed meanwhile: see ckernel_interrupt. Returns 0 or
/// an errno.
int ckernel_futex_lock_pi(const void *_Nonnull word, const volatile struct timespec *_Nonnull deadline);

/// Unlocks a priority-inheriting futex that has waiters.
static inline int ckernel_futex_unlock_pi(const void *_Nonnull word) {
    return syscall(SYS_futex, word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0 ? 0 : errno;
}

/// Has a thread that waits in ckernel_futex_lock_pi look at its deadline again: a signal without effect interrupts the wait, which the
/// system then starts anew.
void ckernel_interrupt(uint32_t tid);

static inline void ckernel_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline int64_t ckernel_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/// Has `cancelled` called with the argument of ckernel_add_cancellation_handler when a task is cancelled.
void ckernel_at_cancellation(void (*_Nonnull cancelled)(void *_Nonnull waiter));

/// As the standard library's withTaskCancellationHandler, but without its closures, each of which is a switch of executors. Between the two
/// calls the task must not end, and takes and gives back what it allocates in order.
void *_Nonnull ckernel_add_cancellation_handler(void *_Nonnull waiter);
void ckernel_remove_cancellation_handler(void *_Nonnull record);

/// As ckernel_add_cancellation_handler, for something else than a waiter: `cancelled` is called with `owner`.
struct ckernel_cancellable {
    void (*_Nonnull cancelled)(void *_Nonnull owner);
    void *_Nonnull owner;
};
void *_Nonnull ckernel_add_cancellable(struct ckernel_cancellable *_Nonnull cancellable);

/// As UnsafeContinuation<Void, Never>.resume(), which is compiled into its user: its look at the continuation then seems to the thread sanitizer
/// to race with the task, which may go on before the call returns.
void ckernel_resume(void *_Nonnull continuation);

/// epoll_wait with a timeout in nanoseconds; below 0 for ever.
int ckernel_epoll_wait(int epoll, struct epoll_event *_Nonnull events, int count, int64_t nanoseconds);

/// Gives a thread the real-time policy SCHED_FIFO. Returns 0 or an errno.
static inline int ckernel_set_realtime(pthread_t thread, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return pthread_setschedparam(thread, SCHED_FIFO, &parameters);
}

/// Names the calling thread: the first 15 bytes.
void ckernel_set_name(const char *_Nonnull name);
#endif
#endif
