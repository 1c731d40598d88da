/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of a listener's context, for the files that build it and those that serve handshakes
 * from it. */
#ifndef PENSTOCK_TLS_TLS_SERVER_INTERNAL_H
#define PENSTOCK_TLS_TLS_SERVER_INTERNAL_H

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"
#include "tls/tls_peer_internal.h"
#include "tls/tls_tickets.h"

/* Kinds of keys of which one SSL_CTX holds one certificate each. */
enum tls_key_kind { TLS_KEY_EC, TLS_KEY_RSA, TLS_KEY_OTHER, TLS_KEY_KIND_MAX };

/* Certificates of the same names: which one a client gets is up to the signatures that it takes. */
struct tls_server_group {
	const struct tls_certificate *of_kind[TLS_KEY_KIND_MAX];
	size_t n_certificates;
	SSL_CTX *ssl_ctx;
};

struct tls_server_ctx {
	atomic_uint refs;
	uint8_t kernel; /* TLS_KERNEL_* */
	bool strict_sni;
	struct tls_certificate *certificates; /* in the order of the configuration */
	size_t n_certificates;
	struct tls_server_group *groups;
	size_t n_groups;
	size_t first_group; /* with the first certificate: for names that none is for */
	struct tls_server_names names; /* to groups, once the context is built */
	unsigned char *alpn; /* in wire form, the preferred first; NULL: not answered */
	size_t alpn_len;
	int key_log_fd; /* -1: none */
	const char *key_log_path; /* as long as the configuration; NULL: none */
	bool has_tickets;
	uint32_t ticket_lifetime_s;
	struct tls_ticket_keys ticket_keys;
	struct tls_client_auth *client_auth; /* NULL: no certificate is asked for */
	unsigned char scope[32]; /* sessions of contexts with another one are not taken */
};

/* tls_server_shake.c: makes the group's SSL_CTX choose as `ctx` has it. */
void tls_server_shake_init(const struct tls_server_ctx *ctx, struct tls_server_group *group);

#endif
