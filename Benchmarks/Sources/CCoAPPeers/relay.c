#include "coap_peers.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATAGRAM = 2048 };

/// A datagram of this byte alone asks how many there were; it is neither CoAP's nor DTLS's.
static const char question = '?';

static int connected(int port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {2, 0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

void coap_relay_run(int fd, int port) {
    char bytes[DATAGRAM];
    struct sockaddr_in client = {0}, from;
    int server = -1, trips = 0, was_client = 0;
    for (;;) {
        struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        poll(polled, 2, -1);
        if (polled[0].revents) {
            socklen_t size = sizeof from;
            ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
            if (count == 1 && bytes[0] == question) {
                sendto(fd, &trips, sizeof trips, 0, (struct sockaddr *)&from, size);
            } else if (count > 0) {
                if (from.sin_port != client.sin_port) {
                    if (server >= 0) close(server);
                    server = connected(port);
                    client = from;
                    trips = 0;
                }
                was_client = 1;
                send(server, bytes, (size_t)count, 0);
            }
        } else if (polled[1].revents) {
            ssize_t count = recv(server, bytes, sizeof bytes, 0);
            if (count <= 0) continue;
            trips += was_client;
            was_client = 0;
            sendto(fd, bytes, (size_t)count, 0, (struct sockaddr *)&client, sizeof client);
        }
    }
}

int coap_relay_trips(int port) {
    int fd = connected(port), trips = -1;
    send(fd, &question, 1, 0);
    if (recv(fd, &trips, sizeof trips, 0) != sizeof trips) trips = -1;
    close(fd);
    return trips;
}
