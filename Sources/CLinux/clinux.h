// What the Glibc overlay of Swift leaves out, and wrappers for what Swift cannot call (variadic functions, macros).
#ifndef APUS_CLINUX_H
#define APUS_CLINUX_H

#if defined(__linux__)
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/// Makes `fd` non-blocking and keeps it from child processes.
static inline int clinux_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL, 0);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static inline int clinux_set_close_on_exec(int fd) { return fcntl(fd, F_SETFD, FD_CLOEXEC); }

static inline char **clinux_environment(void) {
    extern char **environ;
    return environ;
}

static inline int clinux_open(const char *path, int flags, int mode) { return open(path, flags, mode); }

static inline int clinux_open_at(int folder, const char *name, int flags, int mode) { return openat(folder, name, flags, mode); }

/// CLOCK_MONOTONIC in nanoseconds.
static inline int64_t clinux_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/// Declared by the system's header for GNU sources only.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);

/// Makes a write to a closed pipe or socket an error only.
static inline void clinux_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

/// The type of a stream's socket: non-blocking, and not for child processes.
static inline int clinux_stream_type(void) { return SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC; }

/// As clinux_stream_type, for datagrams.
static inline int clinux_datagram_type(void) { return SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC; }

/// Declared by the system's header for GNU sources only.
int accept4(int listener, struct sockaddr *peer, socklen_t *size, int flags);

static inline int clinux_accept(int listener, struct sockaddr *peer, socklen_t *size) {
    return accept4(listener, peer, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/// What the system's header has as mmsghdr, for GNU sources only.
struct clinux_message {
    struct msghdr header;
    unsigned int length;
};

int recvmmsg(int fd, struct clinux_message *messages, unsigned int count, int flags, struct timespec *timeout);

/// Lets the process have so many descriptors, as far as the system permits.
static inline void clinux_limit_descriptors(unsigned long count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline int clinux_errno(void) { return errno; }
#endif

#endif
