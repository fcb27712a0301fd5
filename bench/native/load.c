/* Load of one kind of request, in a closed or an open loop.
 *
 * usage: load [-r RATE] [-k KEYS] [-g GAP_US] [-n REQUESTS] PORT CONNECTIONS SECONDS < REQUEST     (the bytes of one HTTP/1.1 request)
 *   without -r  closed loop: each connection has one request in flight at any time
 *   -r RATE     open loop: so many requests a second are due at fixed times, on whichever connection is idle. A request that
 *               has to wait for a connection is measured from the time when it was due.
 *   -k KEYS     "######" in the request becomes a number below KEYS, another one in each request
 *   -g GAP_US   counts gaps between events that are longer
 *   -n REQUESTS ends after so many, if that is before SECONDS
 * After SECONDS it begins no more requests and waits at most 5 s for those in flight.
 * prints: {"seconds": .., "statuses": {"200": ..}, "broken": .., "unsent": .., "bytes": .., "late_gaps": ..,
 *          "latency_us": [p50, p99, most], "first_us": [..], "gap_us": [..]}
 * `unsent` are requests of an open loop that found no idle connection until the end;
 * `broken` are connections that ended during a request, and requests that did not end in time; `bytes` are those of all
 * bodies, to see that answers are whole; `first_us` is the time to the first byte of a body; a gap is the time between
 * arrivals of a body's bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 8192, EVENTS = 256, MOST_REQUEST_BYTES = 1 << 26, MOST_STATUS = 600, DRAIN_US = 5000000, KEY_DIGITS = 6 };
enum state { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, TRAILER };

struct connection {
    int fd, busy;
    char *request; /* its own copy if each request has another key */
    size_t sent;
    int64_t began, arrived; /* when the request was due; when bytes of the body came last */
    enum state state;
    int status, head_length, line_length;
    long left; /* of the body, or of the chunk with its line end */
    struct connection *next_idle;
    char head[HEAD_BYTES + 1];
};

struct samples {
    uint32_t *values;
    long count, room;
};

static int port, epoll, in_flight;
static char *request, *key_digits;
static size_t request_length;
static long keys, begun, most = LONG_MAX, statuses[MOST_STATUS], broken, unsent, body_bytes, late_gaps;
static double rate;
static int64_t gap_limit = INT64_MAX, end;
static struct samples latencies, firsts, gaps;
static struct connection *first_idle, *last_idle;

static int64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void add_sample(struct samples *samples, int64_t value) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? 2 * samples->room : 1 << 16;
        samples->values = realloc(samples->values, (size_t)samples->room * sizeof *samples->values);
    }
    samples->values[samples->count++] = (uint32_t)(value < 0 ? 0 : value);
}

/* --- requests */

static void watch(struct connection *c, int operation, uint32_t events) {
    epoll_ctl(epoll, operation, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

static void set_key(struct connection *c) {
    static long next;
    long number = next++ % keys;
    char *digits = c->request + (key_digits - request);
    for (int i = KEY_DIGITS - 1; i >= 0; i--, number /= 10) digits[i] = (char)('0' + number % 10);
}

static void push_request(struct connection *c) {
    ssize_t length = send(c->fd, c->request + c->sent, request_length - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (length > 0) c->sent += (size_t)length;
}

static void begin(struct connection *c, int64_t due) {
    if (keys) set_key(c);
    c->busy = 1;
    c->sent = 0;
    c->began = due;
    c->arrived = 0;
    c->state = HEAD;
    c->head_length = c->line_length = 0;
    in_flight++;
    begun++;
    push_request(c);
    if (c->sent < request_length) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void put_idle(struct connection *c) {
    c->busy = 0;
    c->next_idle = NULL;
    if (last_idle) last_idle->next_idle = c;
    else first_idle = c;
    last_idle = c;
}

static struct connection *take_idle(void) {
    struct connection *c = first_idle;
    first_idle = c->next_idle;
    if (!first_idle) last_idle = NULL;
    return c;
}

/* The connection is free for another request. */
static void go_on(struct connection *c) {
    int64_t now = microseconds();
    if (rate == 0 && now < end && begun < most) begin(c, now);
    else put_idle(c);
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
}

static void reconnect(struct connection *c) {
    close(c->fd);
    connect_one(c);
    if (!c->busy) return;
    broken++;
    in_flight--;
    go_on(c);
}

/* --- answers */

/* The head of an answer, once it is whole: how its body ends. */
static int read_head(struct connection *c) {
    char *last = strstr(c->head, "\r\n\r\n");
    if (!last) return 0;
    c->status = atoi(c->head + 9);
    char *field = strcasestr(c->head, "\r\ncontent-length:");
    c->state = field && field < last ? LENGTH : CHUNK_SIZE;
    c->left = c->state == LENGTH ? atol(field + 17) : 0;
    return (int)(last + 4 - c->head);
}

static long take_head(struct connection *c, const char *bytes, long length) {
    long copied = length < HEAD_BYTES - c->head_length ? length : HEAD_BYTES - c->head_length;
    memcpy(c->head + c->head_length, bytes, (size_t)copied);
    int before = c->head_length;
    c->head_length += (int)copied;
    c->head[c->head_length] = 0;
    int head = read_head(c);
    if (!head && c->head_length == HEAD_BYTES) {
        fprintf(stderr, "load: the head of an answer is longer than %d bytes\n", HEAD_BYTES);
        exit(1);
    }
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

/* Bytes of the body came: the first ones, or those of a later event. */
static void note_arrival(struct connection *c, int64_t now) {
    if (c->arrived) {
        add_sample(&gaps, now - c->arrived);
        late_gaps += now - c->arrived > gap_limit;
    } else {
        add_sample(&firsts, now - c->began);
    }
    c->arrived = now;
}

static void receive(struct connection *c) {
    static char buffer[262144];
    ssize_t length = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0) return;
    if (length == 0 || !c->busy) {
        reconnect(c);
        return;
    }
    long before = body_bytes;
    int64_t now = microseconds();
    int whole = take(c, buffer, length);
    if (body_bytes > before) note_arrival(c, now);
    if (!whole) return;
    statuses[c->status > 0 && c->status < MOST_STATUS ? c->status : 0]++;
    add_sample(&latencies, now - c->began);
    in_flight--;
    go_on(c);
}

/* --- the run */

static void wait_until(int64_t due) {
    int64_t wait = due - microseconds();
    if (wait <= 0) return;
    struct timespec time = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
    ppoll(&(struct pollfd){.fd = epoll, .events = POLLIN}, 1, &time, NULL);
}

static void turn(void) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, 0);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            push_request(c);
            if (c->sent == request_length) watch(c, EPOLL_CTL_MOD, EPOLLIN);
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
    }
}

/* Begins the requests that are due and have a connection. Returns when to look again. */
static int64_t begin_due(int64_t began, long wanted) {
    while (begun < wanted && first_idle) {
        int64_t due = began + (int64_t)((double)begun * 1e6 / rate);
        if (due > microseconds()) return due;
        begin(take_idle(), due);
    }
    return microseconds() + 100000;
}

static void run(int64_t began) {
    long wanted = (long)((double)(end - began) * rate / 1e6);
    if (wanted > most) wanted = most;
    for (;;) {
        int64_t now = microseconds(), next = now + 100000;
        if (rate > 0) next = begin_due(began, wanted);
        int all_begun = rate > 0 ? begun >= wanted : now >= end || begun >= most;
        unsent = rate > 0 ? wanted - begun : 0;
        if ((all_begun && in_flight == 0) || now > end + DRAIN_US) return;
        wait_until(next);
        turn();
    }
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void print_samples(const char *name, struct samples *samples) {
    long count = samples->count;
    qsort(samples->values, (size_t)count, sizeof *samples->values, by_size);
    uint32_t p50 = count ? samples->values[count / 2] : 0, p99 = count ? samples->values[count * 99 / 100] : 0;
    printf(", \"%s\": [%u, %u, %u]", name, p50, p99, count ? samples->values[count - 1] : 0);
}

static void report(double seconds) {
    printf("{\"seconds\": %.3f, \"statuses\": {", seconds);
    const char *comma = "";
    for (int status = 0; status < MOST_STATUS; status++) {
        if (statuses[status]) printf("%s\"%d\": %ld", comma, status, statuses[status]), comma = ", ";
    }
    printf("}, \"broken\": %ld, \"unsent\": %ld, \"bytes\": %ld, \"late_gaps\": %ld", broken + in_flight, unsent, body_bytes,
           late_gaps);
    print_samples("latency_us", &latencies);
    print_samples("first_us", &firsts);
    print_samples("gap_us", &gaps);
    printf("}\n");
}

static void read_request(void) {
    request = malloc(MOST_REQUEST_BYTES);
    request_length = fread(request, 1, MOST_REQUEST_BYTES, stdin);
    key_digits = memmem(request, request_length, "######", KEY_DIGITS);
    if (keys && !key_digits) {
        fprintf(stderr, "load: -k needs ###### in the request\n");
        exit(2);
    }
}

int main(int count, char **arguments) {
    int option;
    while ((option = getopt(count, arguments, "r:k:g:n:")) != -1) {
        if (option == 'r') rate = atof(optarg);
        else if (option == 'k') keys = atol(optarg);
        else if (option == 'n') most = atol(optarg);
        else if (option == 'g') gap_limit = atol(optarg);
        else return 2;
    }
    if (count - optind != 3) return 2;
    port = atoi(arguments[optind]);
    read_request();
    prctl(PR_SET_TIMERSLACK, 1UL);
    epoll = epoll_create1(0);
    for (int i = 0; i < atoi(arguments[optind + 1]); i++) {
        struct connection *c = calloc(1, sizeof *c);
        c->request = keys ? memcpy(malloc(request_length), request, request_length) : request;
        connect_one(c);
        put_idle(c);
    }
    int64_t began = microseconds();
    end = began + (int64_t)(atof(arguments[optind + 2]) * 1e6);
    if (rate == 0) {
        while (first_idle && begun < most) begin(take_idle(), began);
    }
    run(began);
    report((double)(microseconds() - began) / 1e6);
    return 0;
}
