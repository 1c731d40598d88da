/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of session tickets, for the server side. */
#ifndef PENSTOCK_TLS_TLS_TICKETS_H
#define PENSTOCK_TLS_TLS_TICKETS_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <time.h>

#include "tls/tls_internal.h"

/* A key of the ring seals for so long, and opens for as long again. */
#define TLS_TICKET_TURN_S 86400

#define TLS_TICKET_KEYS_MAX 64

/* As it stands in a file. */
struct tls_ticket_key {
	unsigned char name[16];
	unsigned char mac[32]; /* HMAC with SHA-256 */
	unsigned char cipher[32]; /* AES-256-CBC */
};

/* Of a file: the first seals, all open. None: the ring of the process does. */
struct tls_ticket_keys {
	struct tls_ticket_key *all;
	size_t n_keys;
};

/* Made here, and turned as time goes by. Zeroed: no key yet. */
struct tls_ticket_ring {
	struct tls_ticket_key now, previous;
	time_t made_s; /* `now` */
	bool has_key, has_previous;
};

/* Before threads. 0, or -ENOTSUP where OpenSSL lacks the cipher. */
int tls_tickets_init(void) MUST_CHECK;

/* 0, or -EIO without randomness. */
int tls_ticket_ring_seal(struct tls_ticket_ring *ring, time_t now_s,
			 struct tls_ticket_key *ret_key) MUST_CHECK;

/* As tls_ticket_ring_seal(), or -ENOENT where no key has that name (or none that young). */
int tls_ticket_ring_open(struct tls_ticket_ring *ring, time_t now_s, const unsigned char *name,
			 struct tls_ticket_key *ret_key, bool *ret_renew) MUST_CHECK;

/* 0, or -errno with an error in `diag`. */
int tls_ticket_keys_load(const struct conf_file *file, const struct tls_files *files,
			 struct conf_diag *diag, struct tls_ticket_keys *ret_keys) MUST_CHECK;

/* Wipes them. */
void tls_ticket_keys_done(struct tls_ticket_keys *keys);

/* The body of OpenSSL's callback; any thread. */
int tls_ticket_take(const struct tls_ticket_keys *keys, unsigned char *name, unsigned char *iv,
		    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal) MUST_CHECK;

#endif
