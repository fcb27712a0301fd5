/* An engine that costs almost nothing: OpenAI's answers over HTTP/1.1, from memory, without parsing the request.
 *
 * usage: engine PORT CHUNKS MODE
 *   CHUNKS 0: a JSON answer; otherwise a stream of so many content events, a usage event and [DONE]
 *   MODE "whole": the stream in one write; "apart": one event a turn of the loop, so that a proxy sees each by itself
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, EVENTS = 256, MOST_CHUNKS = 1000 };

struct connection {
    int fd;
    int head_length;     /* bytes of the request's head so far */
    long body_left;      /* bytes of the request's body still to come */
    int next_part;       /* part of the answer to send next; -1 while none is due */
    struct connection *previous, *next; /* of those that have parts to send */
    char head[HEAD_BYTES + 1];
};

static char *parts[MOST_CHUNKS + 3];
static size_t part_lengths[MOST_CHUNKS + 3];
static int part_count;
static int epoll;
static struct connection *sending;

static void add_part(const char *text, size_t length) {
    parts[part_count] = memcpy(malloc(length), text, length);
    part_lengths[part_count++] = length;
}

static void add_chunk(const char *text, const char *after) {
    char line[2048];
    int length = snprintf(line, sizeof line, "%zx\r\n%s\r\n%s", strlen(text), text, after);
    add_part(line, (size_t)length);
}

static void build_json(void) {
    const char *body = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
                       "\"message\":{\"role\":\"assistant\",\"content\":\"Sixteen tokens of an answer without any content at all, as a "
                       "benchmark's answers do.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,"
                       "\"completion_tokens\":16,\"total_tokens\":28}}";
    char answer[2048];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                          strlen(body), body);
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
             "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n",
             chunks, 12 + chunks);
    add_chunk(usage, "");
    add_chunk("data: [DONE]\n\n", "0\r\n\r\n");
}

static void join_parts(void) {
    size_t total = 0;
    for (int i = 0; i < part_count; i++) total += part_lengths[i];
    char *whole = malloc(total), *end = whole;
    for (int i = 0; i < part_count; i++) end = (char *)memcpy(end, parts[i], part_lengths[i]) + part_lengths[i];
    parts[0] = whole;
    part_lengths[0] = total;
    part_count = 1;
}

static void leave_sending(struct connection *c) {
    if (c->next_part < 0) return;
    if (c->previous) c->previous->next = c->next;
    else sending = c->next;
    if (c->next) c->next->previous = c->previous;
    c->next_part = -1;
}

static void drop(struct connection *c) {
    leave_sending(c);
    close(c->fd);
    free(c);
}

/* Sends one part. Answers are small against a socket's buffer, so a part that does not fit means a dead peer. */
static int send_part(struct connection *c) {
    size_t length = part_lengths[c->next_part];
    if (send(c->fd, parts[c->next_part], length, MSG_NOSIGNAL) != (ssize_t)length) return -1;
    if (++c->next_part == part_count) leave_sending(c);
    return 0;
}

static int begin_answer(struct connection *c) {
    c->next_part = 0;
    c->previous = NULL;
    c->next = sending;
    if (sending) sending->previous = c;
    sending = c;
    return send_part(c);
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

int main(int count, char **arguments) {
    if (count != 4 || atoi(arguments[2]) > MOST_CHUNKS) return 2;
    int chunks = atoi(arguments[2]);
    if (chunks == 0) build_json();
    else build_stream(chunks);
    if (strcmp(arguments[3], "whole") == 0) join_parts();
    int listener = listen_on(atoi(arguments[1]));
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, sending ? 0 : -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else accept_one(listener);
        }
        for (struct connection *c = sending, *next; c; c = next) {
            next = c->next;
            if (send_part(c) < 0) drop(c);
        }
    }
}
