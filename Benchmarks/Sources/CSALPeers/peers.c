#define _GNU_SOURCE
#include "include/CSALPeers.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t peer_cpu(pthread_t thread) {
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0) return 0;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void add(int epoll, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void *serve(void *argument) {
    struct peer_server *server = argument;
    static __thread char buffer[65536];
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(server->epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == server->stop) return NULL;
            if (fd == server->listener) {
                int accepted;
                while ((accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    no_delay(accepted);
                    add(server->epoll, accepted, EPOLLIN);
                }
                continue;
            }
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got <= 0) {
                if (got == 0 || errno != EAGAIN) close(fd);
                continue;
            }
            server->bytes += got;
            if (!server->isSink && write(fd, buffer, (size_t)got) != got) close(fd);
        }
    }
}

struct peer_server *peer_server_start(int isSink) {
    struct peer_server *server = calloc(1, sizeof *server);
    server->isSink = isSink;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    bind(server->listener, (struct sockaddr *)&address, sizeof address);
    listen(server->listener, 1024);
    getsockname(server->listener, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->stop = eventfd(0, EFD_CLOEXEC);
    add(server->epoll, server->listener, EPOLLIN);
    add(server->epoll, server->stop, EPOLLIN);
    pthread_create(&server->thread, NULL, serve, server);
    return server;
}

void peer_server_stop(struct peer_server *server) {
    eventfd_write(server->stop, 1);
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->epoll);
    close(server->stop);
    free(server);
}

static int connect_to(uint16_t port, int flags) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);
    if (fd < 0) return -1;
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (errno == EINTR) continue;
        close(fd);
        return -1;
    }
    no_delay(fd);
    (void)flags;
    return fd;
}

int64_t peer_echo(uint16_t port, int connections, int size, int64_t rounds) {
    char buffer[65536];
    memset(buffer, 'x', sizeof buffer);
    int epoll = epoll_create1(EPOLL_CLOEXEC), missing[4096];
    int fds[4096];
    for (int i = 0; i < connections; i++) {
        fds[i] = connect_to(port, 0);
        missing[i] = size;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    int64_t start = peer_cpu(pthread_self()), left = rounds;
    for (int i = 0; i < connections; i++) (void)!write(fds[i], buffer, (size_t)size);
    struct epoll_event events[256];
    while (left > 0) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int at = (int)events[i].data.u32;
            ssize_t got = read(fds[at], buffer, sizeof buffer);
            if (got <= 0) abort();
            missing[at] -= (int)got;
            if (missing[at] > 0) continue;
            missing[at] = size;
            left--;
            (void)!write(fds[at], buffer, (size_t)size);
        }
    }
    int64_t cpu = peer_cpu(pthread_self()) - start;
    for (int i = 0; i < connections; i++) close(fds[i]);
    close(epoll);
    return cpu;
}

int64_t peer_send(uint16_t port, int64_t bytes) {
    static char buffer[65536];
    int fd = connect_to(port, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t start = peer_cpu(pthread_self());
    add(epoll, fd, EPOLLOUT);
    struct epoll_event event;
    while (bytes > 0) {
        ssize_t sent = send(fd, buffer, bytes < (int64_t)sizeof buffer ? (size_t)bytes : sizeof buffer, MSG_DONTWAIT);
        if (sent > 0) bytes -= sent; else epoll_wait(epoll, &event, 1, -1);
    }
    int64_t cpu = peer_cpu(pthread_self()) - start;
    close(fd);
    close(epoll);
    return cpu;
}

struct peer_process peer_process_start(uint16_t port, int count) {
    int pipes[2];
    struct peer_process process = {.pid = -1, .port = port};
    if (pipe2(pipes, O_CLOEXEC) != 0) return process;
    process.pid = fork();
    if (process.pid == 0) {
        int made = 0;
        if (port == 0) {
            port = peer_server_start(1)->port;
        } else {
            while (made < count && connect_to(port, 0) >= 0) made++;
        }
        struct peer_process answer = {.port = port, .count = made};
        (void)!write(pipes[1], &answer, sizeof answer);
        for (;;) pause();
    }
    struct peer_process answer = {0};
    (void)!read(pipes[0], &answer, sizeof answer);
    process.port = answer.port;
    process.count = answer.count;
    process.pipe = pipes[0];
    close(pipes[1]);
    return process;
}

void peer_process_end(struct peer_process process) {
    kill(process.pid, SIGKILL);
    waitpid(process.pid, NULL, 0);
    close(process.pipe);
}

int64_t peer_heap(void) {
    struct mallinfo2 info = mallinfo2();
    return (int64_t)(info.uordblks + info.hblkhd);
}

void peer_print_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

int64_t peer_raise_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (int64_t)limit.rlim_cur;
}
