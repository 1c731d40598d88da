/* SPDX-License-Identifier: Apache-2.0 */
/* What connections of one listener or origin share: rules, certificates, and whom they trust. */
#ifndef PENSTOCK_TLS_TLS_CTX_INTERNAL_H
#define PENSTOCK_TLS_TLS_CTX_INTERNAL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "base/compiler.h"
#include "conf/conf.h"
#include "tls/tls.h"

/* tls_ctx.c, tls_server_ctx.c, tls_client_ctx.c */

/* An SSL_CTX with what is the same for all; NULL: no memory. */
SSL_CTX *tls_ctx_new_common(bool is_server, const struct conf_tls_policy *policy) MUST_CHECK;

/* TLS_KERNEL_* of the configuration's three words. */
uint8_t tls_ctx_wanted(enum conf_kernel_tls both, enum conf_kernel_tls receive,
		       enum conf_kernel_tls send, bool waits);

/* The context of the first certificate, with which every handshake starts. */
SSL_CTX *tls_server_ctx_first(struct tls_server_ctx *ctx);
struct tls_server_ctx *tls_server_ctx_ref(struct tls_server_ctx *ctx);
uint8_t tls_server_ctx_kernel(const struct tls_server_ctx *ctx); /* TLS_KERNEL_* that are wanted */
bool tls_server_ctx_wants_der(const struct tls_server_ctx *ctx);

SSL_CTX *tls_client_ctx_ssl(struct tls_client_ctx *ctx);
uint8_t tls_client_ctx_kernel(const struct tls_client_ctx *ctx);

bool tls_client_ctx_verifies(const struct tls_client_ctx *ctx);
const char *tls_client_ctx_server_name(const struct tls_client_ctx *ctx);
bool tls_client_ctx_keeps_sessions(const struct tls_client_ctx *ctx);

/* tls_pem.c: files of the configuration. Errors go to `diag` at the file's mark. */

struct tls_pem {
	char *data; /* wiped when freed */
	size_t len_bytes;
	struct stat st;
};

/* `secret`: what it holds that nobody else may read, "private key"; NULL: nothing such. */
int tls_pem_read(const struct conf_file *file, const struct tls_files *files, const char *secret,
		 struct conf_diag *diag, struct tls_pem *ret_pem) MUST_CHECK;
void tls_pem_done(struct tls_pem *pem);

/* Adds what OpenSSL last complained about; empties its error queue. */
void tls_pem_complain(struct conf_diag *diag, const struct conf_file *file, const char *what);

/* After the last block was read: empties the error queue of what only says "no further block". True
 * where something else is wrong. */
bool tls_pem_has_error(void);

/* tls_certificate.c: a certificate of either side. */

struct tls_staple {
	unsigned char *der; /* NULL: nothing to staple */
	size_t len_bytes;
	time_t until; /* 0: it does not say */
};

struct tls_certificate {
	const struct conf_certificate *conf; /* as long as the snapshot */
	X509 *leaf;
	STACK_OF(X509) * above;
	EVP_PKEY *key;
	struct tls_staple staple; /* server side */
};

/* 0, or -errno with errors in `diag`; warnings may be there in both cases. */
int tls_certificate_load(const struct conf_certificate *conf, const struct tls_files *files,
			 struct conf_diag *diag,
			 struct tls_certificate *ret_certificate) MUST_CHECK;

/* Gives it to the context beside those of other kinds of keys; references are taken. 0, or -EINVAL
 * with an error in `diag`. */
int tls_certificate_use(const struct tls_certificate *certificate, SSL_CTX *ssl_ctx,
			struct conf_diag *diag) MUST_CHECK;
void tls_certificate_done(struct tls_certificate *certificate);

/* tls_certificate_check.c */

/* Times and chain; only warns. */
void tls_certificate_check(const struct tls_certificate *certificate, struct conf_diag *diag);

/* Lower case, without a final dot. False where it cannot be a host name. */
bool tls_name_normalize(const char *name, size_t len_bytes, char ret_name[TLS_NAME_MAX]);

/* Visits the DNS names, normalized, also with "*." before; where there are none, the common name
 * (as RFC 6125, 6.4.4 has it). A non-zero return stops and is returned. */
int tls_certificate_each_name(const X509 *leaf, int (*visit)(void *argument, const char *name),
			      void *argument);

/* Since 1970; 0 where it is no time. */
int64_t tls_time_seconds(const ASN1_TIME *when);

void tls_certificate_describe(const struct tls_certificate *certificate,
			      struct tls_certificate_facts *ret_facts);

/* All of them with ", " between; ends in "…" where there is no room. Returns `text`. */
const char *tls_certificate_names(const X509 *leaf, char *text, size_t size_bytes);

/* tls_staple.c */

/* Of the file conf->ocsp. One that is not of use is warned of and left out. 0, or -errno with an
 * error in `diag`. */
int tls_staple_load(const struct tls_certificate *certificate, const struct tls_files *files,
		    struct conf_diag *diag, struct tls_staple *ret_staple) MUST_CHECK;
bool tls_staple_is_valid(const struct tls_staple *staple);
void tls_staple_done(struct tls_staple *staple);

/* tls_server_names.c */

struct tls_server_name {
	char *name; /* lower case; may start with "*." */
	size_t certificate;
};

struct tls_server_names {
	struct tls_server_name *all;
	size_t n_all;
};

/* The names of a certificate. tls_server_names_sort() must follow the last. 0 or -ENOMEM. */
int tls_server_names_add(struct tls_server_names *names, size_t certificate,
			 const X509 *leaf) MUST_CHECK;
void tls_server_names_sort(struct tls_server_names *names);

/* For `name` (lower case): exact, else by wildcard; the first of several certificates. NULL: there
 * is none. */
const struct tls_server_name *tls_server_names_pick(const struct tls_server_names *names,
						    const char *name);
void tls_server_names_done(struct tls_server_names *names);

/* tls_verify.c */

/* The authorities in a file, with a reference for the caller; the store may be another's too. NULL:
 * reported. */
X509_STORE *tls_trust_load(const struct conf_file *file, const struct tls_files *files,
			   struct conf_diag *diag) MUST_CHECK;

/* As tls_trust_load(), but a store that the caller may add to. */
X509_STORE *tls_trust_load_own(const struct conf_file *file, const struct tls_files *files,
			       struct conf_diag *diag) MUST_CHECK;

/* Adds whom the store trusts. 0 or -ENOMEM. */
int tls_trust_digest(X509_STORE *store, EVP_MD_CTX *digest) MUST_CHECK;

/* tls_pin.c */

int tls_pins_init(void) MUST_CHECK;

/* The context asks for the configuration's pins; nothing where there are none. After
 * SSL_CTX_set_verify(). 0 or -ENOMEM. */
int tls_pins_set(SSL_CTX *ssl_ctx, const struct conf_client_tls *conf) MUST_CHECK;

#endif
