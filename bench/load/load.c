// SPDX-License-Identifier: Apache-2.0
//
// A load generator for mutual TLS: sends each request of a file exactly once and checks the status of each answer.
//
//   load kept|new CONNECTIONS HOST PORT CERTIFICATE KEY TRUST PATH TYPE REQUESTS STATUS [ANSWERS]
//
// kept   CONNECTIONS connections are opened first; then the clock starts, and each asks again and again
// new    each request opens a connection of its own, full handshake, closed after the answer; CONNECTIONS at a time
//
// REQUESTS holds the bodies, each after its length (4 bytes, big-endian); ANSWERS gets the answers' bodies in the same
// order and form. Sessions are never resumed. One line of JSON on stdout; exit code 1 when a single request failed.

#define _GNU_SOURCE  // strcasestr

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX_BYTES = 65536, HEAD_MAX_BYTES = 1024, CONNECTIONS_MAX = 1024, PATIENCE_S = 30 };

typedef struct { const unsigned char *bytes; uint32_t length; } Body;
typedef struct { SSL *tls; int socket; } Link;

static struct {
    int kept, port, wanted_status;
    const char *host, *path, *type;
    Body *requests, *answers;
    double *seconds;  // per request; negative when it failed
    size_t count;
} job;
static SSL_CTX *context;
static pthread_barrier_t ready, go;
static atomic_size_t next_request;
static atomic_int resumed, first_failure_told;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(2);
}

// --- connections ---------------------------------------------------------------------------------------------------

static int tcp_connect(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)job.port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int yes = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || inet_pton(AF_INET, job.host, &to.sin_addr) != 1) die("HOST is not an IPv4 address");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(s, (struct sockaddr *)&to, sizeof to) == 0) return s;
    close(s);
    return -1;
}

static int link_open(Link *link) {
    link->socket = tcp_connect();
    if (link->socket < 0) return 0;
    link->tls = SSL_new(context);
    SSL_set_fd(link->tls, link->socket);
    if (SSL_connect(link->tls) != 1) return 0;
    if (SSL_session_reused(link->tls)) atomic_fetch_add(&resumed, 1);
    return 1;
}

static void link_close(Link *link) {
    if (link->tls) {
        SSL_shutdown(link->tls);
        SSL_free(link->tls);
    }
    if (link->socket >= 0) close(link->socket);
    *link = (Link){NULL, -1};
}

// --- one request -----------------------------------------------------------------------------------------------------

static int send_request(Link *link, const Body *body) {
    unsigned char out[HEAD_MAX_BYTES + ANSWER_MAX_BYTES];
    int head = snprintf((char *)out, HEAD_MAX_BYTES,
                        "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: %s\r\n"
                        "Content-Transfer-Encoding: base64\r\nContent-Length: %u\r\n\r\n",
                        job.path, job.host, job.port, job.type, body->length);
    if (head >= HEAD_MAX_BYTES || body->length > ANSWER_MAX_BYTES) die("a request that is too long");
    memcpy(out + head, body->bytes, body->length);
    int whole = head + (int)body->length;
    return SSL_write(link->tls, out, whole) == whole;
}

// Reads one answer with a Content-Length; returns its status, or 0 when there is none.
static int read_answer(Link *link, Body *kept) {
    static _Thread_local char in[ANSWER_MAX_BYTES + 1];
    int have = 0, whole = ANSWER_MAX_BYTES, status = 0;
    char *body = NULL;
    while (!body || have < whole) {
        int got = have < ANSWER_MAX_BYTES ? SSL_read(link->tls, in + have, ANSWER_MAX_BYTES - have) : 0;
        if (got <= 0) return 0;
        have += got;
        in[have] = 0;
        if (body || !(body = strstr(in, "\r\n\r\n"))) continue;
        body += 4;
        char *length = strcasestr(in, "\r\ncontent-length:");
        if (sscanf(in, "HTTP/1.1 %d", &status) != 1) return 0;
        if (status != 204 && (!length || length > body)) return 0;
        whole = (int)(body - in) + (status == 204 ? 0 : atoi(length + 17));
    }
    if (status != job.wanted_status && !atomic_exchange(&first_failure_told, 1))
        fprintf(stderr, "load: status %d: %.200s\n", status, body);
    kept->length = (uint32_t)(whole - (body - in));
    unsigned char *copy = malloc(kept->length + 1);
    memcpy(copy, body, kept->length);
    kept->bytes = copy;
    return status;
}

static int ask(Link *link, size_t i) {
    return send_request(link, &job.requests[i]) && read_answer(link, &job.answers[i]) == job.wanted_status;
}

static void *worker(void *unused) {
    Link link = {NULL, -1};
    if (job.kept && !link_open(&link)) die("cannot connect");
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&go);
    for (size_t i; (i = atomic_fetch_add(&next_request, 1)) < job.count;) {
        double begun = now();
        int good = (link.tls || link_open(&link)) && ask(&link, i);
        job.seconds[i] = good ? now() - begun : -1;
        if (!job.kept || !good) link_close(&link);
    }
    link_close(&link);
    return unused;
}

// --- files -----------------------------------------------------------------------------------------------------------

static void read_requests(const char *path) {
    struct stat info;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &info) || info.st_size < 4) die("cannot read REQUESTS");
    const unsigned char *all = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (all == MAP_FAILED) die("cannot map REQUESTS");
    size_t room = 0, size = (size_t)info.st_size;
    for (size_t at = 0; at < size; job.count++) {
        uint32_t length;
        if (at + 4 > size) die("REQUESTS is cut off");
        memcpy(&length, all + at, 4);
        length = ntohl(length);
        if (length > size - at - 4) die("REQUESTS is cut off");
        if (job.count == room) job.requests = realloc(job.requests, (room = room ? 2 * room : 1024) * sizeof(Body));
        job.requests[job.count] = (Body){all + at + 4, length};
        at += 4 + length;
    }
    job.answers = calloc(job.count, sizeof(Body));
    job.seconds = calloc(job.count, sizeof(double));
}

static void write_answers(const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file) die("cannot write ANSWERS");
    for (size_t i = 0; i < job.count; i++) {
        uint32_t length = htonl(job.answers[i].length);
        fwrite(&length, 4, 1, file);
        fwrite(job.answers[i].bytes, 1, job.answers[i].length, file);
    }
    if (fclose(file)) die("cannot write ANSWERS");
}

// --- the run ---------------------------------------------------------------------------------------------------------

static void make_context(const char *certificate, const char *key, const char *trust) {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(context, trust, NULL) != 1)
        die("cannot use CERTIFICATE, KEY or TRUST");
}

static int by_value(const void *left, const void *right) {
    double l = *(const double *)left, r = *(const double *)right;
    return (l > r) - (l < r);
}

static size_t report(double seconds) {
    size_t failures = 0;
    qsort(job.seconds, job.count, sizeof(double), by_value);
    while (failures < job.count && job.seconds[failures] < 0) failures++;
    const double *good = job.seconds + failures;
    size_t left = job.count - failures;
    printf("{\"count\":%zu,\"failures\":%zu,\"resumed\":%d,\"seconds\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           job.count, failures, atomic_load(&resumed), seconds, left ? good[left / 2] * 1e3 : 0,
           left ? good[left * 99 / 100] * 1e3 : 0);
    return failures;
}

int main(int argc, char **argv) {
    if (argc < 12 || (strcmp(argv[1], "kept") && strcmp(argv[1], "new")))
        die("usage: kept|new CONNECTIONS HOST PORT CERTIFICATE KEY TRUST PATH TYPE REQUESTS STATUS [ANSWERS]");
    signal(SIGPIPE, SIG_IGN);
    int connections = atoi(argv[2]);
    if (connections < 1 || connections > CONNECTIONS_MAX) die("CONNECTIONS is not 1 to 1024");
    job.kept = !strcmp(argv[1], "kept");
    job.host = argv[3], job.port = atoi(argv[4]), job.path = argv[8], job.type = argv[9];
    job.wanted_status = atoi(argv[11]);
    make_context(argv[5], argv[6], argv[7]);
    read_requests(argv[10]);
    pthread_t threads[CONNECTIONS_MAX];
    pthread_barrier_init(&ready, NULL, (unsigned)connections + 1);
    pthread_barrier_init(&go, NULL, (unsigned)connections + 1);
    for (int i = 0; i < connections; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL)) die("cannot start a thread");
    pthread_barrier_wait(&ready);
    double begun = now();
    pthread_barrier_wait(&go);
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    double seconds = now() - begun;
    if (argc > 12) write_answers(argv[12]);
    return report(seconds) ? 1 : 0;
}
