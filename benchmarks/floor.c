// The lower bound of any fan-out: the same bytes to every client with one send each, and nothing else.
// usage: floor PORT-FILE. Each order on standard input is a length (4 bytes, little-endian) and the bytes to send to all.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char OPENING[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

static int listener_on_a_free_port(const char *port_file) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) exit(1);
    getsockname(listener, (struct sockaddr *)&address, &size);
    FILE *file = fopen(port_file, "w");
    if (!file) exit(1);
    fprintf(file, "%d\n", ntohs(address.sin_port));
    fclose(file);
    return listener;
}

static int read_all(unsigned char *to, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = read(STDIN_FILENO, to + done, size - done);
        if (got <= 0) return 0;
        done += got;
    }
    return 1;
}

// Block on a full client, as nothing may be lost here; return 0 if the client is gone.
static int send_all(int client, const unsigned char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(client, bytes + done, size - done, MSG_NOSIGNAL);
        if (sent < 0) return errno == EINTR ? 1 : 0;
        done += sent;
    }
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    int listener = listener_on_a_free_port(arguments[1]), *clients = NULL;
    size_t present = 0, room = 0, capacity = 0;
    unsigned char *bytes = NULL;
    struct pollfd watched[2] = {{.fd = listener, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(watched, 2, -1) >= 0) {
        if (watched[0].revents) {
            int client = accept(listener, NULL, NULL), yes = 1;
            if (client < 0) continue;
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            if (present == room && !(clients = realloc(clients, (room = room * 2 + 64) * sizeof *clients))) return 1;
            clients[present++] = client;
            send_all(client, (const unsigned char *)OPENING, sizeof OPENING - 1);
        }
        if (watched[1].revents) {
            unsigned char head[4];
            if (!read_all(head, 4)) return 0;
            size_t size = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
            if (size > capacity && !(bytes = realloc(bytes, capacity = size))) return 1;
            if (!read_all(bytes, size)) return 0;
            for (size_t i = 0; i < present;) {
                if (send_all(clients[i], bytes, size)) i++;
                else close(clients[i]), clients[i] = clients[--present];
            }
        }
    }
    return 1;
}
