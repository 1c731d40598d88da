/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside tls/: certificates of clients, what is asked of them and what they say. */
#ifndef PENSTOCK_TLS_TLS_PEER_INTERNAL_H
#define PENSTOCK_TLS_TLS_PEER_INTERNAL_H

#include "tls/tls_internal.h"

/* tls_client_auth.c: what one listener asks of its clients. */

struct tls_client_auth;

/* `ret_auth` is NULL where no certificate is asked for. 0, -ENOMEM, or another -errno with an error
 * in `diag`. */
int tls_client_auth_load(const struct conf_server_tls *conf, const struct tls_files *files,
			 struct conf_diag *diag, struct tls_client_auth **ret_auth) MUST_CHECK;

/* Takes NULL. */
void tls_client_auth_free(struct tls_client_auth *auth);

/* Makes the context ask; `auth` (NULL: nothing happens) outlives its handshakes. 0 or
 * -ENOMEM. */
int tls_client_auth_apply(const struct tls_client_auth *auth, SSL_CTX *ssl_ctx) MUST_CHECK;

/* Adds what a verification here depends on. Takes NULL. 0 or -ENOMEM. */
int tls_client_auth_digest(const struct tls_client_auth *auth, EVP_MD_CTX *digest) MUST_CHECK;

/* As tls_server_ctx_lists_until(). Takes NULL. */
int64_t tls_client_auth_lists_until(const struct tls_client_auth *auth);

/* Do headers tell of it? */
bool tls_client_auth_wants_der(const struct tls_client_auth *auth);

/* tls_revocation.c: lists of certificates that their issuers take back. */

struct tls_revocations {
	STACK_OF(X509_CRL) * lists; /* NULL: none were loaded */
};

/* All of a file, into an empty one. 0, -ENOMEM, or another -errno with an error in `diag`. */
int tls_revocations_load(struct tls_revocations *revocations, const struct conf_file *file,
			 const struct tls_files *files, struct conf_diag *diag) MUST_CHECK;
void tls_revocations_done(struct tls_revocations *revocations);

/* Makes verifications by the store look at the lists, and puts another in its place, without the
 * authorities that are revoked. Warns of those, and of lists that are missing. As
 * tls_revocations_load(). */
int tls_revocations_apply(const struct tls_revocations *revocations, const struct conf_file *file,
			  struct conf_diag *diag, X509_STORE **store) MUST_CHECK;

/* 0 or -ENOMEM. */
int tls_revocations_digest(const struct tls_revocations *revocations,
			   EVP_MD_CTX *digest) MUST_CHECK;

/* Is there an issuer whose lists have all run out? */
bool tls_revocations_have_run_out(const struct tls_revocations *revocations);

/* As tls_server_ctx_lists_until(). */
int64_t tls_revocations_until(const struct tls_revocations *revocations);

/* In a callback of a verification that has an objection: whether that is none, because it is only
 * that the list which the chain's last certificate would be on cannot be had. */
bool tls_revocations_forgive(X509_STORE_CTX *ctx);

/* tls_peer.c */

/* Of a certificate and those that came with it. 0, -E2BIG, -ENOMEM. */
int tls_peer_make(const X509 *leaf, const STACK_OF(X509) * above, bool wants_der,
		  struct tls_peer **ret_peer) MUST_CHECK;

/* Of a finished handshake in which one was shown, or in an earlier one of its session. 0, -E2BIG,
 * -ENOMEM. */
int tls_peer_new(SSL *ssl, bool wants_der, struct tls_peer **ret_peer) MUST_CHECK;

#endif
