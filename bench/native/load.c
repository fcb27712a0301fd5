/* Load in a closed loop: CONNECTIONS connections, each with one request in flight at any time, for SECONDS.
 *
 * usage: load PORT CONNECTIONS SECONDS < REQUEST     (the bytes of one HTTP/1.1 request)
 * prints: {"requests": .., "failed": .., "seconds": .., "p50_us": .., "p99_us": .., "bytes": ..}
 * `failed` are answers other than 200 and connections that broke; `bytes` are those of all bodies, to see that answers are whole.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 8192, EVENTS = 256, MOST_SAMPLES = 4000000 };
enum state { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, TRAILER };

struct connection {
    int fd;
    size_t sent;
    int64_t began;
    enum state state;
    int status, head_length, line_length;
    long left; /* of the body, or of the chunk with its line end */
    char head[HEAD_BYTES + 1];
};

static int port, epoll;
static char *request;
static size_t request_length;
static uint32_t *samples;
static long requests, failed, body_bytes;

static int64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void watch(struct connection *c, int operation, uint32_t events) {
    epoll_ctl(epoll, operation, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

static void push_request(struct connection *c) {
    ssize_t length = send(c->fd, request + c->sent, request_length - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (length > 0) c->sent += (size_t)length;
}

static void begin(struct connection *c) {
    c->sent = 0;
    c->began = microseconds();
    c->state = HEAD;
    c->head_length = c->line_length = 0;
    push_request(c);
    if (c->sent < request_length) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void connect_one(struct connection *c) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("load");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    begin(c);
}

static void reconnect(struct connection *c) {
    failed++;
    close(c->fd);
    connect_one(c);
}

/* The head of an answer, once it is whole: how its body ends. */
static int read_head(struct connection *c) {
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return 0;
    c->status = atoi(c->head + 9);
    char *field = strcasestr(c->head, "\r\ncontent-length:");
    c->state = field && field < end ? LENGTH : CHUNK_SIZE;
    c->left = c->state == LENGTH ? atol(field + 17) : 0;
    return (int)(end + 4 - c->head);
}

static long take_head(struct connection *c, const char *bytes, long length) {
    long copied = length < HEAD_BYTES - c->head_length ? length : HEAD_BYTES - c->head_length;
    memcpy(c->head + c->head_length, bytes, (size_t)copied);
    int before = c->head_length;
    c->head_length += (int)copied;
    c->head[c->head_length] = 0;
    int head = read_head(c);
    return head ? head - before : copied;
}

/* A line of chunked encoding, without its end; -1 while it is not whole. */
static long take_line(struct connection *c, const char *bytes, long length, long *used) {
    for (long i = 0; i < length; i++) {
        if (bytes[i] == '\n') {
            c->head[c->line_length] = 0;
            c->line_length = 0;
            *used = i + 1;
            return strtol(c->head, NULL, 16);
        }
        if (c->line_length < HEAD_BYTES) c->head[c->line_length++] = bytes[i];
    }
    *used = length;
    return -1;
}

/* Takes bytes of an answer. True when it is whole. */
static int take(struct connection *c, const char *bytes, long length) {
    while (length > 0 || (c->state == LENGTH && c->left == 0)) {
        long used = 0, size;
        switch (c->state) {
        case HEAD:
            used = take_head(c, bytes, length);
            break;
        case LENGTH:
            used = length < c->left ? length : c->left;
            body_bytes += used;
            if ((c->left -= used) == 0) return 1;
            break;
        case CHUNK_SIZE:
            size = take_line(c, bytes, length, &used);
            if (size == 0) c->state = TRAILER;
            if (size > 0) {
                body_bytes += size;
                c->left = size + 2;
                c->state = CHUNK_DATA;
            }
            break;
        case CHUNK_DATA:
            used = length < c->left ? length : c->left;
            if ((c->left -= used) == 0) c->state = CHUNK_SIZE;
            break;
        case TRAILER:
            if (take_line(c, bytes, length, &used) >= 0) return 1;
            break;
        }
        bytes += used;
        length -= used;
    }
    return 0;
}

static void receive(struct connection *c) {
    static char buffer[262144];
    ssize_t length = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length == 0) reconnect(c);
    if (length <= 0 || !take(c, buffer, length)) return;
    if (c->status != 200) failed++;
    if (requests < MOST_SAMPLES) samples[requests] = (uint32_t)(microseconds() - c->began);
    requests++;
    begin(c);
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void report(double seconds) {
    long count = requests < MOST_SAMPLES ? requests : MOST_SAMPLES;
    qsort(samples, (size_t)count, sizeof *samples, by_size);
    uint32_t p50 = count ? samples[count / 2] : 0, p99 = count ? samples[count * 99 / 100] : 0;
    printf("{\"requests\": %ld, \"failed\": %ld, \"seconds\": %.3f, \"p50_us\": %u, \"p99_us\": %u, \"bytes\": %ld}\n", requests, failed,
           seconds, p50, p99, body_bytes);
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]);
    request = malloc(1 << 26);
    request_length = fread(request, 1, 1 << 26, stdin);
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    epoll = epoll_create1(0);
    int64_t began = microseconds(), end = began + (int64_t)(atof(arguments[3]) * 1e6);
    for (int i = 0; i < connections; i++) connect_one(calloc(1, sizeof(struct connection)));
    while (microseconds() < end) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                push_request(c);
                if (c->sent == request_length) watch(c, EPOLL_CTL_MOD, EPOLLIN);
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
        }
    }
    report((double)(microseconds() - began) / 1e6);
    return 0;
}
