/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of ours against a peer by plain OpenSSL, to write tests with. On a kernel with TLS the
 * same cases run over its records instead of ours; PENSTOCK_WANT_KERNEL_TLS=1 makes it a failure
 * where they do not.
 */
#ifndef PENSTOCK_TESTS_UNIT_TLS_SESSION_H
#define PENSTOCK_TESTS_UNIT_TLS_SESSION_H

#include "lab.h"
#include "tls/tls_internal.h"

#define SESSION_HOST "origin.example"

extern struct lab_identity session_site, session_stranger, session_expired;
extern bool session_by_kernel;

struct session {
	struct lab_end end;
	struct conf_diag *diag;
	struct tls_server_ctx *server;
	struct tls_client_ctx *client;
	SSL_CTX *peer_ctx;
	SSL *peer;
	int peer_fd;
	enum tls_progress progress;
};

/* What ours is in the next session; changed by a test before session_open(). */
struct session_ours {
	enum conf_kernel_tls kernel, receive, send;
	bool waits; /* for bulk */
	bool small_buffers;
	bool no_verify;
	const char *host;
	const char *server_name;
	struct conf_tls_policy policy;
};
extern struct session_ours session_ours;

/* Setup of each test: nothing is asked for. */
int session_reset(void **state);

/* Of all of them: certificates and files. */
int session_make_world(void **state);
int session_end_world(void **state);

void session_open_ours(struct session *session, bool as_server, int fd);
void session_open(struct session *session, const struct lab_peer_wish *peer);
void session_close(struct session *session);

#define session_assert_open(session) \
	do { \
		if ((session)->progress != TLS_READY) \
			fail_msg("handshake: %s", tls_error(&(session)->end.io)); \
	} while (0)

/* One direction of a transfer, and what it says at the end. */
struct flow {
	uint64_t done, total;
};

/* A step of at most so many bytes; what is read is compared. False: nothing moved. */
bool session_peer_read(struct session *session, struct flow *flow, size_t step);
bool session_peer_write(struct session *session, struct flow *flow, size_t step);
bool session_our_read(struct session *session, struct flow *flow, size_t step);

/* In two or three parts, so that records are made of several. */
bool session_our_write(struct session *session, struct flow *flow, size_t step);

/* Both ways at once, in steps of the given sizes. */
void session_transfer(struct session *session, uint64_t total, size_t our_step, size_t peer_step);

/* The name that the peer asked for, as it is taken; NULL: none. */
void session_assert_name(struct session *session, const char *name);

/* The records are done by whom they should. */
void session_assert_path(const struct session *session);

/* The end of our stream reaches the peer as a clean one. */
void session_end_ours(struct session *session);

/* What io_recv() says that is not -EAGAIN. */
ssize_t session_recv_end(struct session *session);
void session_receive(struct session *session, char *data, size_t len_bytes);

/* A word each way. */
void session_ping_pong(struct session *session);

/* 0: the kernel, 1: sending alone, 2: receiving alone, 3: user space. */
void session_set_mode(int mode);

struct session_case {
	int version;
	const char *cipher;
	const char *version_word, *words[2];
};
#define SESSION_N_CASES 6
extern const struct session_case session_matrix[SESSION_N_CASES];

#endif
