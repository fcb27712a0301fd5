/* An engine that costs almost nothing: OpenAI's answers over HTTP/1.1, from memory, without parsing the request.
 *
 * usage: engine PORT CHUNKS MODE [FIRST_US GAP_US]
 *   CHUNKS 0: a JSON answer; otherwise a stream of so many content events, a usage event and [DONE]
 *   MODE "whole": the answer in one write, with 16 completion tokens if it is JSON
 *        "apart": one event a turn of the loop, so that a proxy sees each by itself
 *        "paced": the first event FIRST_US after the request, the others GAP_US after the previous one is due
 *        "spread": as "whole", JSON only; 1 to 16 completion tokens in turn, so that reservations and usage differ
 * Every answer has 12 prompt tokens. `GET /minutes` prints the requests and their tokens by the UTC minute in which they
 * arrived: [[minute since 1970, requests, tokens], ..]. That is the truth which limits are compared with.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
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

enum { HEAD_BYTES = 16384, EVENTS = 256, MOST_CHUNKS = 1000, PROMPT_TOKENS = 12, SPREAD = 16, MOST_MINUTES = 256 };

struct connection {
    int fd;
    int head_length;     /* bytes of the request's head so far */
    long body_left;      /* bytes of the request's body still to come */
    int next_part, end_part; /* of the answer; next_part is -1 while nothing is due */
    int64_t due;         /* "paced": when the next part is to be sent */
    struct queue *queue; /* that holds this connection */
    struct connection *previous, *next;
    char head[HEAD_BYTES + 1];
};

/* Connections that have parts to send. Each queue has one delay, so it is in the order of `due`. */
struct queue {
    int64_t delay_us;
    struct connection *first, *last;
};

struct minute {
    long number, requests, tokens;
};

static char *parts[MOST_CHUNKS + 3];
static size_t part_lengths[MOST_CHUNKS + 3];
static int part_count, completion_tokens, epoll, spread;
static struct queue before_first, between;
static struct minute minutes[MOST_MINUTES];
static int minute_count;

static int64_t microseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void add_part(const char *text, size_t length) {
    parts[part_count] = memcpy(malloc(length), text, length);
    part_lengths[part_count++] = length;
}

static void add_chunk(const char *text, const char *after) {
    char line[2048];
    int length = snprintf(line, sizeof line, "%zx\r\n%s\r\n%s", strlen(text), text, after);
    add_part(line, (size_t)length);
}

static void build_json(int tokens) {
    const char *format = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
                         "\"message\":{\"role\":\"assistant\",\"content\":\"Sixteen tokens of an answer without any content at all, as a "
                         "benchmark's answers do.\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,"
                         "\"completion_tokens\":%d,\"total_tokens\":%d}}";
    char body[1024], answer[2048];
    int size = snprintf(body, sizeof body, format, PROMPT_TOKENS, tokens, PROMPT_TOKENS + tokens);
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s",
                          size, body);
    add_part(answer, (size_t)length);
}

static void build_stream(int chunks) {
    const char *head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    add_part(head, strlen(head));
    for (int i = 0; i < chunks; i++) {
        char event[1024];
        snprintf(event, sizeof event,
                 "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
                 "\"delta\":{\"content\":\"token%d \"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                 i);
        add_chunk(event, "");
    }
    char usage[512];
    snprintf(usage, sizeof usage,
             "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],"
             "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n",
             PROMPT_TOKENS, chunks, PROMPT_TOKENS + chunks);
    add_chunk(usage, "");
    add_chunk("data: [DONE]\n\n", "0\r\n\r\n");
}

/* Makes one part of the first `count` parts, for a single write. */
static void join_parts(int count) {
    size_t total = 0;
    for (int i = 0; i < count; i++) total += part_lengths[i];
    char *joined = malloc(total), *end = joined;
    for (int i = 0; i < count; i++) end = (char *)memcpy(end, parts[i], part_lengths[i]) + part_lengths[i];
    parts[0] = joined;
    part_lengths[0] = total;
    for (int i = count; i < part_count; i++) {
        parts[i - count + 1] = parts[i];
        part_lengths[i - count + 1] = part_lengths[i];
    }
    part_count -= count - 1;
}

static void leave(struct connection *c) {
    if (!c->queue) return;
    if (c->previous) c->previous->next = c->next;
    else c->queue->first = c->next;
    if (c->next) c->next->previous = c->previous;
    else c->queue->last = c->previous;
    c->queue = NULL;
}

static void enter(struct connection *c, struct queue *queue, int64_t since) {
    c->due = since + queue->delay_us;
    c->queue = queue;
    c->next = NULL;
    c->previous = queue->last;
    if (queue->last) queue->last->next = c;
    else queue->first = c;
    queue->last = c;
}

static void drop(struct connection *c) {
    leave(c);
    close(c->fd);
    free(c);
}

static int send_bytes(struct connection *c, const char *bytes, size_t length) {
    return send(c->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

/* Sends one part. Answers are small against a socket's buffer, so a part that does not fit means a dead peer. */
static int send_part(struct connection *c) {
    int part = c->next_part++;
    if (c->next_part < c->end_part) enter(c, &between, c->due);
    else c->next_part = -1;
    return send_bytes(c, parts[part], part_lengths[part]);
}

static void count_request(int tokens) {
    long number = microseconds(CLOCK_REALTIME) / 60000000;
    if (!minute_count || minutes[minute_count - 1].number != number) {
        if (minute_count == MOST_MINUTES) return;
        minutes[minute_count++].number = number;
    }
    minutes[minute_count - 1].requests++;
    minutes[minute_count - 1].tokens += PROMPT_TOKENS + tokens;
}

static int begin_answer(struct connection *c) {
    static int turn;
    if (c->queue) return -1; /* a client that does not wait for its answer */
    int64_t now = microseconds(CLOCK_MONOTONIC);
    c->next_part = spread ? turn : 0;
    c->end_part = spread ? turn + 1 : part_count;
    count_request(spread ? turn + 1 : completion_tokens);
    turn = (turn + 1) % SPREAD;
    if (!before_first.delay_us) {
        c->due = now;
        return send_part(c);
    }
    enter(c, &before_first, now);
    return 0;
}

static int send_minutes(struct connection *c) {
    char answer[32768], body[24576] = "[";
    int length = 1;
    for (int i = 0; i < minute_count; i++) {
        length += snprintf(body + length, sizeof body - (size_t)length, "%s[%ld, %ld, %ld]", i ? ", " : "", minutes[i].number,
                           minutes[i].requests, minutes[i].tokens);
    }
    length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s]",
                      length + 1, body);
    return send_bytes(c, answer, (size_t)length);
}

/* Takes bytes of requests; the client waits for each answer, so a chunk never holds two requests. */
static int take(struct connection *c, const char *bytes, long length) {
    if (c->body_left == 0) {
        long copied = length < HEAD_BYTES - c->head_length ? length : HEAD_BYTES - c->head_length;
        memcpy(c->head + c->head_length, bytes, (size_t)copied);
        c->head_length += (int)copied;
        c->head[c->head_length] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) return c->head_length == HEAD_BYTES ? -1 : 0;
        char *field = strcasestr(c->head, "\r\ncontent-length:");
        long body = field && field < end ? atol(field + 17) : 0;
        long seen = c->head_length - (end + 4 - c->head) + (length - copied);
        c->head_length = 0;
        if (strncmp(c->head, "GET /minutes ", 13) == 0) return send_minutes(c);
        if (seen >= body) return begin_answer(c);
        c->body_left = body - seen;
        return 0;
    }
    c->body_left -= length;
    return c->body_left > 0 ? 0 : begin_answer(c);
}

static void receive(struct connection *c) {
    static char buffer[262144];
    ssize_t length = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0) return;
    if (length == 0 || take(c, buffer, length) < 0) drop(c);
}

static void accept_one(int listener) {
    int fd = accept(listener, NULL, NULL), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->next_part = -1;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024)) {
        perror("engine");
        exit(1);
    }
    return fd;
}

/* Sends what is due: in "apart" one part a turn of each connection that had parts when the turn began. */
static void send_due(struct queue *queue) {
    int64_t now = microseconds(CLOCK_MONOTONIC);
    struct connection *last = queue->last;
    for (struct connection *c = queue->first, *next; c && c->due <= now; c = next) {
        int was_last = c == last;
        next = c->next;
        leave(c);
        if (send_part(c) < 0) drop(c);
        if (was_last) return;
    }
}

static int64_t first_due(const struct queue *queue) { return queue->first ? queue->first->due : INT64_MAX; }

static void wait_for_due(void) {
    struct pollfd ready = {.fd = epoll, .events = POLLIN};
    int64_t due = first_due(&before_first) < first_due(&between) ? first_due(&before_first) : first_due(&between);
    int64_t wait = due == INT64_MAX ? 1000000 : due - microseconds(CLOCK_MONOTONIC);
    if (wait <= 0) return;
    struct timespec time = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
    ppoll(&ready, 1, &time, NULL);
}

int main(int count, char **arguments) {
    if ((count != 4 && count != 6) || atoi(arguments[2]) > MOST_CHUNKS) return 2;
    const char *mode = arguments[3];
    int chunks = atoi(arguments[2]), paced = strcmp(mode, "paced") == 0;
    if (paced != (count == 6)) return 2;
    before_first.delay_us = paced ? atol(arguments[4]) : 0;
    between.delay_us = paced ? atol(arguments[5]) : 0;
    spread = strcmp(mode, "spread") == 0;
    completion_tokens = chunks ? chunks : SPREAD;
    if (spread) for (int tokens = 1; tokens <= SPREAD; tokens++) build_json(tokens);
    else if (chunks == 0) build_json(SPREAD);
    else build_stream(chunks);
    if (strcmp(mode, "whole") == 0) join_parts(part_count);
    if (paced) join_parts(2); /* an engine sends its head with the first event */
    prctl(PR_SET_TIMERSLACK, 1UL);
    int listener = listen_on(atoi(arguments[1]));
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event events[EVENTS];
        wait_for_due();
        int ready = epoll_wait(epoll, events, EVENTS, 0);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else accept_one(listener);
        }
        send_due(&before_first);
        send_due(&between);
    }
}
