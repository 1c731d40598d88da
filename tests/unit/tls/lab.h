/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place to try TLS in: certificates made on the spot, files in memory, and two ends of a TCP
 * connection over loopback: one of ours (a struct io behind edge-triggered epoll, as in the
 * daemon), one of plain OpenSSL.
 */
#ifndef PENSTOCK_TESTS_UNIT_TLS_LAB_H
#define PENSTOCK_TESTS_UNIT_TLS_LAB_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/io.h"
#include "conf/conf.h"
#include "tls/tls.h"

/* tls_init(); true where the kernel has TLS. PENSTOCK_WANT_KERNEL_TLS=1: ends the program where
 * not. */
bool lab_init(void);

struct lab_identity {
	X509 *certificate;
	EVP_PKEY *key;
};

struct lab_identity_wish {
	const char *common_name;
	const char *alt_names; /* as in openssl.cnf: "DNS:a.example,IP:127.0.0.1"; NULL: none */
	const struct lab_identity *issuer; /* NULL: itself, as a CA */
	int days_from, days_to; /* from now; both 0: valid */
	bool is_rsa;
};

void lab_make_identity(const struct lab_identity_wish *wish, struct lab_identity *ret_identity);
void lab_free_identity(struct lab_identity *identity);

/* Files that tls_files finds. */
void lab_add_file(const char *path, const void *data, size_t len_bytes);
void lab_add_certificate(const char *path, const struct lab_identity *identity);
void lab_add_key(const char *path, const struct lab_identity *identity);
void lab_add_both(const char *path, const struct lab_identity *identity);
void lab_add_descriptor(const char *path, int fd);
void lab_set_file_mode(const char *path, unsigned int mode);
void lab_remove_files(void);
extern const struct tls_files lab_files;

/* Two connected, nonblocking TCP sockets. `small`: with the smallest buffers there are. */
void lab_connect(int ret_fds[2], bool small);

struct lab_end {
	struct io io;
	int epoll_fd;
};

/* Takes the descriptor. */
void lab_open_end(struct lab_end *end, int fd);

/* What happens to this descriptor ends a wait, too. */
void lab_watch_peer(struct lab_end *end, int fd);
void lab_close_end(struct lab_end *end);

/* Notes what epoll says; waits where `idle` is set. Fails the test when nothing happened for half a
 * minute. */
void lab_take_events(struct lab_end *end, bool idle);

/* Waits for something to happen at either; notes it. */
void lab_take_both(struct lab_end *one, struct lab_end *other);

/* A peer by plain OpenSSL; version 0 and cipher NULL: any. */
struct lab_peer_wish {
	bool is_server;
	int version;
	const char *cipher; /* "AES128", "AES256", "CHACHA", or as OpenSSL names it */
	const char *sni;
	const struct lab_identity *identity;
	const char *alpn; /* in wire form */
	const char *properties; /* of the algorithms that OpenSSL takes */
};

SSL_CTX *lab_make_peer_ctx(const struct lab_peer_wish *wish);
SSL *lab_make_peer(SSL_CTX *ctx, const struct lab_peer_wish *wish, int fd);

/* Drives both until ours is done (whatever the outcome) and theirs too, or failed. What ours said
 * then, tickets or an alert, has arrived. */
enum tls_progress lab_shake(struct lab_end *end, SSL *peer);

/* The stream that every transfer carries, from byte `at`. */
void lab_fill(char *data, size_t len_bytes, uint64_t at);

#endif
