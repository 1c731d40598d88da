/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the load tool share: byte streams (link), the latency histogram, and the
 * account of CPU and memory. Everything here belongs to one thread. Functions return 0 or a count,
 * or -errno.
 */
#ifndef PENSTOCK_BENCH_LOAD_H
#define PENSTOCK_BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_S 1000000000ULL
#define MESSAGE_BYTES 64u /* of a ping-pong, and of the request that starts a bulk download */
#define HEAD_BYTES 4096u /* the longest HTTP head that we take */
#define SCRATCH_BYTES 262144u /* one shared buffer for every read */

int client_main(int argc, char **argv);
int origin_main(int argc, char **argv);

uint64_t clock_ns(void);

/* "192.0.2.1:80"; IPv4 only. */
int address_parse(const char *text, struct sockaddr_in *ret_address);

/* A non-blocking stream, plain (ssl is NULL) or TLS. */
struct link {
	int fd;
	SSL *ssl;
	bool offered; /* a session, to be resumed */
};

/* `resumes`: each connection offers a session of an earlier one, while there are tickets. */
SSL_CTX *link_client_context(const char *ca_file, bool resumes);
SSL_CTX *link_server_context(const char *pem_file);

/* Takes over the descriptor; `context` NULL: plain. `server_name` NULL: we are the server. */
int link_init(struct link *link, int fd, SSL_CTX *context, const char *server_name);
void link_done(struct link *link);

/* 0: done; -EAGAIN: call again when readable. Plain links are done at once. */
int link_handshake(struct link *link);

/* Was a session offered, and not resumed? */
bool link_was_refused(const struct link *link);

/* Bytes, 0 at the end of the stream, -EAGAIN, or another -errno. */
ssize_t link_read(struct link *link, void *data, size_t len_bytes);

/* As link_read(), for bytes that nobody looks at: a plain stream's are not even copied. */
ssize_t link_discard(struct link *link, void *data, size_t len_bytes);

ssize_t link_write(struct link *link, const void *data, size_t len_bytes);

/* Latencies in nanoseconds, kept to about 1.6 %. */
struct histogram {
	uint64_t counts[64 * 64];
	uint64_t total;
};

void histogram_add(struct histogram *histogram, uint64_t value_ns);
double histogram_percentile_us(const struct histogram *histogram, double percent);

/* Idle time of every core, run time and memory of some processes, at one moment. */
#define USAGE_CORES_MAX 256u
#define USAGE_PIDS_MAX 32u

struct usage {
	uint64_t time_ns;
	uint64_t idle_ns[USAGE_CORES_MAX];
	uint64_t steal_ns[USAGE_CORES_MAX];
	uint64_t own_ns; /* run time of all threads of the processes */
	unsigned int n_cores;
};

struct usage_pids {
	pid_t pids[USAGE_PIDS_MAX];
	unsigned int n_pids;
};

int usage_parse_pids(const char *text, struct usage_pids *ret_pids);
int usage_read(const struct usage_pids *pids, struct usage *ret_usage);

/* What the processes would free if they all ended (proportional set size): memory of their own, and
 * mapped files, to which libraries and mapped BPF maps count. */
struct usage_memory {
	uint64_t own_kib;
	uint64_t mapped_kib;
};

struct usage_memory usage_memory(const struct usage_pids *pids);

/* Connections that make one exchange and are silent from then on: MESSAGE_BYTES with an echo, or
 * over TLS an HTTP request. */
struct crowd {
	const struct sockaddr_in *address;
	unsigned int n_conns;
	SSL_CTX *tls; /* NULL: an echo, in the clear */
	const char *server_name;
	const char *request;
	size_t request_len;
	size_t body_bytes;
};

/* They stay open until the process ends. 0 or -errno. */
int crowd_open(const struct crowd *crowd);

#endif
