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

void ckernel_set_name(const char *name) {
    char first[16];
    strncpy(first, name, 15);
    first[15] = 0;
    pthread_setname_np(pthread_self(), first);
}

void ckernel_interrupt(uint32_t tid) { syscall(SYS_tgkill, getpid(), tid, interrupt_signal); }
#endif
