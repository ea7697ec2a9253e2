#if defined(__linux__)
#define _GNU_SOURCE
#include "include/CKernel.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

__thread struct ckernel_thread ckernel_thread_record __attribute__((tls_model("initial-exec")));
static void (*ckernel_thread_ended)(struct ckernel_thread *thread);

static pthread_key_t at_exit;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
/// The real-time signals' numbers are known at run time only; this one is far from those that debuggers and C libraries take.
static int interrupt_signal;

static void thread_ended(void *record) {
    struct ckernel_thread *thread = record;
    if ((thread->held || thread->waiter) && ckernel_thread_ended) ckernel_thread_ended(thread);
}

static void nothing(int signal) { (void)signal; }

static void prepare(void) {
    pthread_key_create(&at_exit, thread_ended);
    interrupt_signal = SIGRTMAX - 5;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = nothing;
    action.sa_flags = SA_RESTART;
    sigaction(interrupt_signal, &action, NULL);
}

void ckernel_thread_prepare(struct ckernel_thread *thread) {
    pthread_once(&prepared, prepare);
    thread->tid = (uint32_t)syscall(SYS_gettid);
    thread->priority = 10;
    pthread_setspecific(at_exit, thread);
    // Threads of Dispatch, and those that they start, block all signals.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, interrupt_signal);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

int ckernel_futex_lock_pi(const void *word, const volatile struct timespec *deadline) {
    static volatile bool is_old;
    for (;;) {
        long result;
        if (!is_old) {
            result = syscall(SYS_futex, word, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, deadline, NULL, 0);
            if (result != 0 && errno == ENOSYS) {
                is_old = true;
                continue;
            }
        } else {
            // Linux before 5.14 takes the time of day only: in slices, since that may be set meanwhile.
            struct timespec now, until;
            clock_gettime(CLOCK_MONOTONIC, &now);
            int64_t left = ((int64_t)deadline->tv_sec - now.tv_sec) * 1000000000 + deadline->tv_nsec - now.tv_nsec;
            bool is_slice = left > 100000000;
            if (is_slice) left = 100000000;
            if (left < 0) left = 0;
            clock_gettime(CLOCK_REALTIME, &until);
            int64_t nanoseconds = until.tv_nsec + left;
            until.tv_sec += nanoseconds / 1000000000;
            until.tv_nsec = nanoseconds % 1000000000;
            result = syscall(SYS_futex, word, FUTEX_LOCK_PI_PRIVATE, 0, &until, NULL, 0);
            if (result != 0 && errno == ETIMEDOUT && is_slice) continue;
        }
        if (result == 0) return 0;
        if (errno != EINTR && errno != EAGAIN) return errno;
    }
}

void ckernel_at_thread_end(void (*ended)(struct ckernel_thread *thread)) { ckernel_thread_ended = ended; }

// The two functions of Swift's runtime that withTaskCancellationHandler calls.
typedef __attribute__((swiftcall)) void (*cancellation_handler)(__attribute__((swift_context)) void *context);
extern __attribute__((swiftcall)) void *swift_task_addCancellationHandler(cancellation_handler handler, void *context);
extern __attribute__((swiftcall)) void swift_task_removeCancellationHandler(void *record);

static void (*on_cancellation)(void *waiter);
static __attribute__((swiftcall)) void cancelled(__attribute__((swift_context)) void *waiter) { on_cancellation(waiter); }

void ckernel_at_cancellation(void (*handler)(void *waiter)) { on_cancellation = handler; }
void *ckernel_add_cancellation_handler(void *waiter) { return swift_task_addCancellationHandler(cancelled, waiter); }
static __attribute__((swiftcall)) void cancelled_other(__attribute__((swift_context)) void *context) {
    struct ckernel_cancellable *cancellable = context;
    cancellable->cancelled(cancellable->owner);
}
void *ckernel_add_cancellable(struct ckernel_cancellable *cancellable) { return swift_task_addCancellationHandler(cancelled_other, cancellable); }
void ckernel_remove_cancellation_handler(void *record) { swift_task_removeCancellationHandler(record); }

// What UnsafeContinuation.resume() calls.
extern __attribute__((swiftcall)) void swift_continuation_resume(void *task);

void ckernel_resume(void *continuation) { swift_continuation_resume(continuation); }

void ckernel_set_name(const char *name) {
    char first[16];
    strncpy(first, name, 15);
    first[15] = 0;
    pthread_setname_np(pthread_self(), first);
}

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

int ckernel_epoll_wait(int epoll, struct epoll_event *events, int count, int64_t nanoseconds) {
    static volatile bool is_old;
    if (nanoseconds <= 0) return epoll_wait(epoll, events, count, nanoseconds < 0 ? -1 : 0);
    if (!is_old) {
        struct timespec timeout = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
        int result = (int)syscall(SYS_epoll_pwait2, epoll, events, count, &timeout, NULL, 0);
        if (result >= 0 || errno != ENOSYS) return result;
        // Linux before 5.11 counts milliseconds.
        is_old = true;
    }
    int64_t milliseconds = (nanoseconds + 999999) / 1000000;
    return epoll_wait(epoll, events, count, milliseconds > 86400000 ? 86400000 : (int)milliseconds);
}

void ckernel_interrupt(uint32_t tid) { syscall(SYS_tgkill, getpid(), tid, interrupt_signal); }
#endif
