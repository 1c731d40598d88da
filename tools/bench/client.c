/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the load tool: N connections in a closed loop (the next request goes out when the
 * response is complete), a warm-up, then the measured window, then one line of JSON. Every response
 * is checked for its length and its first bytes; a connection that ends or answers wrongly is an
 * error, is counted and is made anew.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ERRORS_MAX 1000u
#define ANSWER_BYTES 128u /* to a request with a body */

enum answer { ANSWER_ENDLESS, ANSWER_MESSAGE, ANSWER_HTTP };

struct mode {
	const char *name;
	enum answer answer;
	bool one_exchange; /* a new connection for every exchange; its latency counts from connect()
			    */
	bool resumes; /* TLS: a session is offered, and must be resumed */
	bool has_body; /* of a request */
};

static const struct mode modes[] = {
    {.name = "bulk", .answer = ANSWER_ENDLESS},
    {.name = "rr", .answer = ANSWER_MESSAGE},
    {.name = "short", .answer = ANSWER_MESSAGE, .one_exchange = true},
    {.name = "http", .answer = ANSWER_HTTP},
    {.name = "http-short", .answer = ANSWER_HTTP, .one_exchange = true},
    {.name = "http-resume", .answer = ANSWER_HTTP, .one_exchange = true, .resumes = true},
    {.name = "put", .answer = ANSWER_HTTP, .has_body = true},
};

struct conn {
	struct link link;
	bool connected;
	uint64_t started_ns; /* of the exchange under way */
	size_t head_len;
	size_t body_left; /* of a response whose head is complete */
	size_t unsent; /* of a request's body */
	bool in_body;
	char head[HEAD_BYTES];
};

struct client {
	const struct mode *mode;
	struct sockaddr_in address;
	unsigned int n_conns;
	unsigned int n_idle; /* that are open and silent meanwhile */
	double warmup_s;
	double duration_s;
	size_t body_bytes;
	const char *server_name;
	SSL_CTX *tls;
	struct usage_pids pids;
	struct conn *conns;
	int epoll_fd;
	char request[256];
	size_t request_len;
	bool measuring;
	uint64_t bytes;
	uint64_t exchanges;
	unsigned int errors;
	struct histogram latency;
};

static char scratch[SCRATCH_BYTES];

static int conn_open(struct client *client, struct conn *conn)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = conn};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	conn->connected = false;
	conn->head_len = 0;
	conn->in_body = false;
	conn->unsent = 0;
	ret = link_init(&conn->link, fd, client->tls, client->server_name);
	if (ret < 0)
		return ret;
	conn->started_ns = clock_ns();
	if (connect(fd, (struct sockaddr *)&client->address, sizeof(client->address)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* An error ends the run only where it comes too often: the harness reads the count. */
static int conn_reopen(struct client *client, struct conn *conn, bool failed)
{
	link_done(&conn->link);
	if (failed && ++client->errors >= ERRORS_MAX)
		return -EIO;
	return conn_open(client, conn);
}

/* As much of a request's body as the connection takes now. */
static int send_body(struct client *client, struct conn *conn)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
	size_t len = conn->unsent < sizeof(scratch) ? conn->unsent : sizeof(scratch);
	ssize_t n = link_write(&conn->link, scratch, len);

	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (n > 0 && client->measuring)
		client->bytes += (size_t)n;
	conn->unsent -= n > 0 ? (size_t)n : 0;
	event.events |= conn->unsent > 0 ? EPOLLOUT : 0u;
	return epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, conn->link.fd, &event) < 0 ? -errno : 0;
}

static int send_request(struct client *client, struct conn *conn)
{
	ssize_t n = link_write(&conn->link, client->request, client->request_len);

	if (n < 0)
		return (int)n;
	if ((size_t)n != client->request_len)
		return -EMSGSIZE;
	conn->unsent = client->mode->has_body ? client->body_bytes : 0;
	return conn->unsent > 0 ? send_body(client, conn) : 0;
}

static int conn_connected(struct client *client, struct conn *conn)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
	int ret = link_handshake(&conn->link);

	if (ret < 0 && ret != -EAGAIN)
		return ret;
	if (epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, conn->link.fd, &event) < 0)
		return -errno;
	if (ret == -EAGAIN)
		return 0;
	if (link_was_refused(&conn->link))
		return -EKEYREJECTED;
	conn->connected = true;
	if (!client->mode->one_exchange)
		conn->started_ns = clock_ns();
	return send_request(client, conn);
}

/* Returns 1 when the connection was replaced, 0, or -errno. */
static int exchange_done(struct client *client, struct conn *conn)
{
	uint64_t now_ns = clock_ns();

	if (client->measuring) {
		histogram_add(&client->latency, now_ns - conn->started_ns);
		client->exchanges++;
	}
	if (client->mode->one_exchange) {
		int ret = conn_reopen(client, conn, false);

		return ret < 0 ? ret : 1;
	}
	conn->started_ns = now_ns;
	return send_request(client, conn);
}

/* Finds the length in a complete, terminated head of a 200 response. */
static int head_parse(const char *head, size_t *ret_length)
{
	const char *line = strcasestr(head, "\r\ncontent-length:");
	char *end;

	if (strncmp(head, "HTTP/1.1 200", 12) != 0 || !line)
		return -EBADMSG;
	*ret_length = strtoul(line + strlen("\r\ncontent-length:"), &end, 10);
	return *end == '\r' ? 0 : -EBADMSG;
}

/* Takes bytes of a response. Returns how many were used of an incomplete or complete one;
 * `*ret_complete` says which. */
static ssize_t take_http(struct client *client, struct conn *conn, const char *data, size_t len,
			 bool *ret_complete)
{
	size_t used = len < sizeof(conn->head) - 1 - conn->head_len
			  ? len
			  : sizeof(conn->head) - 1 - conn->head_len;
	size_t before = conn->head_len;
	char *end;
	int ret;

	*ret_complete = false;
	if (conn->in_body) {
		used = len < conn->body_left ? len : conn->body_left;
		conn->body_left -= used;
		*ret_complete = conn->body_left == 0;
		return (ssize_t)used;
	}
	memcpy(conn->head + before, data, used);
	conn->head_len += used;
	conn->head[conn->head_len] = '\0';
	end = strstr(conn->head, "\r\n\r\n");
	if (!end)
		return conn->head_len == sizeof(conn->head) - 1 ? -EBADMSG : (ssize_t)used;
	end[2] = '\0';
	ret = head_parse(conn->head, &conn->body_left);
	if (ret < 0 ||
	    conn->body_left != (client->mode->has_body ? ANSWER_BYTES : client->body_bytes))
		return -EBADMSG;
	conn->in_body = true;
	return (end + 4) - (conn->head + before);
}

static ssize_t take_message(struct client *client, struct conn *conn, const char *data, size_t len,
			    bool *ret_complete)
{
	size_t want = MESSAGE_BYTES - conn->head_len;
	size_t used = len < want ? len : want;

	if (memcmp(data, client->request + conn->head_len, used) != 0)
		return -EBADMSG;
	conn->head_len += used;
	*ret_complete = conn->head_len == MESSAGE_BYTES;
	return (ssize_t)used;
}

/* Returns 1 when the connection was replaced, 0, or -errno. */
static int take(struct client *client, struct conn *conn, const char *data, size_t len)
{
	while (len > 0) {
		bool complete = false;
		ssize_t used = (ssize_t)len;
		int ret;

		if (client->mode->answer == ANSWER_HTTP)
			used = take_http(client, conn, data, len, &complete);
		else if (client->mode->answer == ANSWER_MESSAGE)
			used = take_message(client, conn, data, len, &complete);
		if (used < 0)
			return (int)used;
		data += used;
		len -= (size_t)used;
		if (!complete)
			continue;
		if (len > 0)
			return -EBADMSG; /* more than one response to one request */
		conn->head_len = 0;
		conn->in_body = false;
		ret = exchange_done(client, conn);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static int conn_read(struct client *client, struct conn *conn)
{
	ssize_t n;
	int ret;

	do {
		if (client->mode->answer == ANSWER_ENDLESS)
			n = link_discard(&conn->link, scratch, sizeof(scratch));
		else
			n = link_read(&conn->link, scratch, sizeof(scratch));
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n < 0 ? (int)n : -ECONNRESET;
		if (client->measuring && !client->mode->has_body)
			client->bytes += (size_t)n;
		ret = take(client, conn, scratch, (size_t)n);
		if (ret != 0)
			return ret < 0 ? ret : 0;
	} while (conn->link.ssl && SSL_pending(conn->link.ssl) > 0);
	return 0;
}

static int conn_event(struct client *client, struct conn *conn, uint32_t events)
{
	int ret = 0;

	if (!conn->connected)
		return conn_connected(client, conn);
	if (events & ~(uint32_t)EPOLLOUT)
		ret = conn_read(client, conn);
	if (ret == 0 && (events & EPOLLOUT) && conn->unsent > 0)
		ret = send_body(client, conn);
	return ret;
}

static int client_poll(struct client *client, uint64_t until_ns)
{
	struct epoll_event events[64];
	uint64_t now_ns;

	while ((now_ns = clock_ns()) < until_ns) {
		int timeout_ms = (int)((until_ns - now_ns) / 1000000 + 1);
		int n = epoll_wait(client->epoll_fd, events, 64, timeout_ms);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct conn *conn = events[i].data.ptr;
			int ret = conn_event(client, conn, events[i].events);

			if (ret < 0)
				ret = conn_reopen(client, conn, true);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static void print_cores(const char *name, const uint64_t *before, const uint64_t *after,
			const struct usage *end, uint64_t wall_ns, bool invert)
{
	printf("\"%s\": [", name);
	for (unsigned int i = 0; i < end->n_cores; i++) {
		uint64_t spent_ns = after[i] - before[i];

		if (invert)
			spent_ns = spent_ns < wall_ns ? wall_ns - spent_ns : 0;
		printf("%s%.6f", i ? ", " : "", (double)spent_ns / NS_PER_S);
	}
	printf("], ");
}

static void print_result(const struct client *client, const struct usage *start,
			 const struct usage *end)
{
	static const double percents[] = {50, 90, 99, 99.9};
	static const char *const names[] = {"p50_us", "p90_us", "p99_us", "p999_us"};
	uint64_t wall_ns = end->time_ns - start->time_ns;
	struct usage_memory memory = usage_memory(&client->pids);

	printf("{\"seconds\": %.6f, \"bytes\": %llu, \"exchanges\": %llu, \"errors\": %u, ",
	       (double)wall_ns / NS_PER_S, (unsigned long long)client->bytes,
	       (unsigned long long)client->exchanges, client->errors);
	for (unsigned int i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
		printf("\"%s\": %.3f, ", names[i],
		       histogram_percentile_us(&client->latency, percents[i]));
	print_cores("busy_s", start->idle_ns, end->idle_ns, end, wall_ns, true);
	print_cores("steal_s", start->steal_ns, end->steal_ns, end, wall_ns, false);
	printf("\"own_s\": %.6f, \"memory_kib\": %llu, \"mapped_kib\": %llu}\n",
	       (double)(end->own_ns - start->own_ns) / NS_PER_S, (unsigned long long)memory.own_kib,
	       (unsigned long long)memory.mapped_kib);
}

static int client_run(struct client *client)
{
	struct usage start, end;
	struct crowd crowd = {
	    .address = &client->address,
	    .n_conns = client->n_idle,
	    .tls = client->tls,
	    .server_name = client->server_name,
	    .request = client->request,
	    .request_len = client->request_len,
	    .body_bytes = client->body_bytes,
	};
	int ret = crowd_open(&crowd);

	for (unsigned int i = 0; i < client->n_conns && ret == 0; i++)
		ret = conn_open(client, &client->conns[i]);
	if (ret < 0)
		return ret;
	ret = client_poll(client, clock_ns() + (uint64_t)(client->warmup_s * 1e9));
	if (ret < 0)
		return ret;
	ret = usage_read(&client->pids, &start);
	if (ret < 0)
		return ret;
	client->measuring = true;
	ret = client_poll(client, clock_ns() + (uint64_t)(client->duration_s * 1e9));
	client->measuring = false;
	if (ret < 0)
		return ret;
	ret = usage_read(&client->pids, &end);
	if (ret < 0)
		return ret;
	if (client->exchanges + client->bytes == 0)
		return -ENODATA;
	print_result(client, &start, &end);
	return 0;
}

static const struct mode *mode_find(const char *name)
{
	for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

static int parse_options(struct client *client, int argc, char **argv)
{
	const char *ca_file = NULL;
	int option;

	while ((option = getopt(argc, argv, "m:c:i:w:d:b:t:s:p:")) != -1) {
		switch (option) {
		case 'm':
			client->mode = mode_find(optarg);
			break;
		case 'c':
			client->n_conns = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'i':
			client->n_idle = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			client->warmup_s = strtod(optarg, NULL);
			break;
		case 'd':
			client->duration_s = strtod(optarg, NULL);
			break;
		case 'b':
			client->body_bytes = strtoul(optarg, NULL, 10);
			break;
		case 't':
			ca_file = optarg;
			break;
		case 's':
			client->server_name = optarg;
			break;
		case 'p':
			if (usage_parse_pids(optarg, &client->pids) < 0)
				return -EINVAL;
			break;
		default:
			return -EINVAL;
		}
	}
	if (!client->mode || client->n_conns == 0 || optind + 1 != argc ||
	    (ca_file && !client->server_name))
		return -EINVAL;
	if (ca_file && !(client->tls = link_client_context(ca_file, client->mode->resumes)))
		return -EINVAL;
	return address_parse(argv[optind], &client->address);
}

static void make_request(struct client *client)
{
	int len = MESSAGE_BYTES;

	if (client->mode->has_body)
		len = snprintf(
		    client->request, sizeof(client->request),
		    "PUT /%u HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n", ANSWER_BYTES,
		    client->server_name ? client->server_name : "bench.test", client->body_bytes);
	else if (client->mode->answer == ANSWER_HTTP)
		len = snprintf(client->request, sizeof(client->request),
			       "GET /%zu HTTP/1.1\r\nHost: %s\r\n\r\n", client->body_bytes,
			       client->server_name ? client->server_name : "bench.test");
	else
		memset(client->request, 'p', MESSAGE_BYTES);
	client->request_len = (size_t)len;
}

int client_main(int argc, char **argv)
{
	static struct client client = {
	    .n_conns = 1, .warmup_s = 0.5, .duration_s = 2, .body_bytes = 128};
	int ret = parse_options(&client, argc, argv);

	if (ret < 0) {
		fprintf(stderr, "load: bad options\n");
		return 2;
	}
	make_request(&client);
	client.conns = calloc(client.n_conns, sizeof(*client.conns));
	client.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!client.conns || client.epoll_fd < 0)
		return 1;
	ret = client_run(&client);
	if (ret < 0)
		fprintf(stderr, "load: %s after %u errors\n", strerror(-ret), client.errors);
	return ret < 0;
}
