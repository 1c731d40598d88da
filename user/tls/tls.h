/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on both hops. A plain struct io becomes a TLS one; after the handshake the keys go to the
 * kernel where it can take them, else to records in user space, and the SSL object is freed. The
 * code above cannot tell the difference but by io->ops->name and io->why_not_kernel. Logs nothing.
 */
#ifndef PENSTOCK_TLS_TLS_H
#define PENSTOCK_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "penstock/reasons.h"

struct tls_server_ctx; /* the certificates and rules of one listener; shared by threads */
struct tls_client_ctx; /* the rules of one origin; shared by threads */

/* Finds a file of the configuration: a descriptor that stays the callee's, or -errno. */
struct tls_files {
	int (*find)(void *argument, const char *path);
	int (*find_log)(void *argument, const char *path); /* to append; NULL: none is written */
	void *argument;
};

/*
 * Once per process, before threads and before the sandbox (it opens sockets to probe the kernel).
 * `kernel_tls_allowed` false turns every hand-over off. Called with CAP_NET_ADMIN, it has the
 * kernel load its tls module; without, a module that is not there yet is missing. 0 or -errno.
 */
int tls_init(bool kernel_tls_allowed) MUST_CHECK;

/*
 * In a thread that makes handshakes beside others, before its first: it shares less of OpenSSL
 * then, and takes no file for that. Where memory runs out, or the host has settings of its own for
 * OpenSSL's algorithms, it shares as before.
 */
void tls_thread_init(void);

/* NULL where the kernel can do TLS (probed at tls_init()), else why not: "no tls module in this
 * kernel", ... */
const char *tls_kernel_missing(void);

/* NULL with errors in `diag`, at the marks of the files: unreadable, not PEM, key does not match,
 * expired, ... */
struct tls_server_ctx *tls_server_ctx_new(const struct conf_server_tls *conf,
					  const struct tls_files *files,
					  struct conf_diag *diag) MUST_CHECK;
void tls_server_ctx_free(struct tls_server_ctx *ctx);

/* The path of the key log that this context writes; NULL: none. */
const char *tls_server_ctx_key_log(const struct tls_server_ctx *ctx);

/* What is to be known of a certificate, for people. */
struct tls_certificate_facts {
	const char *file; /* as long as the configuration */
	char names[256]; /* "a.example, *.a.example"; ends in "…" where there is no room */
	char key[32]; /* "ECDSA P-256", "RSA 2048" */
	int64_t not_before_s, not_after_s; /* since 1970 */
	bool is_stapled; /* has an OCSP response that is valid now */
};

size_t tls_server_ctx_n_certificates(const struct tls_server_ctx *ctx);

/* `i` as the configuration has them. */
void tls_server_ctx_describe(const struct tls_server_ctx *ctx, size_t i,
			     struct tls_certificate_facts *ret_facts);

/* When revocation lists of an authority will all have run out, the first of them; since 1970. 0:
 * there are none, or they have no end. */
int64_t tls_server_ctx_lists_until(const struct tls_server_ctx *ctx);

/* The file that tls_client_ctx_new() looks up where verification is on and conf->ca.path is NULL.
 */
const char *tls_system_ca_path(void);

struct tls_client_ctx *tls_client_ctx_new(const struct conf_client_tls *conf,
					  const struct tls_files *files,
					  struct conf_diag *diag) MUST_CHECK;
void tls_client_ctx_free(struct tls_client_ctx *ctx);

/* The certificate that is shown to servers; false where there is none. */
bool tls_client_ctx_describe(const struct tls_client_ctx *ctx,
			     struct tls_certificate_facts *ret_facts);

/* A digest of whom it trusts and of the certificate that it shows. Sessions and connections of an
 * origin that were made under another are not used any more. */
uint64_t tls_client_ctx_scope(const struct tls_client_ctx *ctx);

/*
 * Turns a plain, connected io into a TLS one; nothing is sent yet. The io keeps what it needs of
 * the context, which may be freed meanwhile. `loop` is the thread's. 0 or -ENOMEM.
 */
int tls_start_server(struct io *io, struct tls_server_ctx *ctx, struct loop *loop) MUST_CHECK;

/*
 * `host` is verified (name, or address) and sent as SNI (names only) unless the configuration gives
 * a server_name. As tls_start_server(), and -EINVAL where there is no name to verify.
 */
int tls_start_client(struct io *io, struct tls_client_ctx *ctx, const char *host,
		     struct loop *loop) MUST_CHECK;

/*
 * Sessions with one server, for one thread: what a handshake leaves, so that the next is short. A
 * few are kept, each at most for an hour and never beyond a reload. NULL: no memory.
 */
struct tls_sessions;
struct tls_sessions *tls_sessions_new(void) MUST_CHECK;

/* Takes NULL. */
void tls_sessions_free(struct tls_sessions *sessions);

/* After tls_start_client(), before the handshake: offers a session that is kept, and keeps new ones
 * as they come. `sessions` outlives the io. Nothing where the configuration keeps none. */
void tls_resume(struct io *io, struct tls_client_ctx *ctx, struct tls_sessions *sessions);

enum tls_progress {
	TLS_AGAIN, /* call again at the next event */
	TLS_READY, /* application data may flow; the keys were handed over */
	TLS_FAILED,
	TLS_UNVERIFIED, /* client side: the peer's certificate is not acceptable */
};

/*
 * A TLS io, once ready, differs from a plain one in this: after io_send() said -EAGAIN, the next
 * io_send() begins with the same bytes, because a record may be made of them already.
 */

/* Drives the handshake. On TLS_FAILED and TLS_UNVERIFIED an alert was sent where one is due, and
 * tls_error() says why. */
enum tls_progress tls_handshake(struct io *io) MUST_CHECK;

/*
 * A server's answer to ALPN in place of the listener's own: the first of `names` that the client
 * offers, or none. Before the handshake; the names outlive it.
 */
void tls_answer_alpn(struct io *io, const char *const *names, size_t n_names);

/* Why io_recv() or io_send() said -EPROTO: TLS_TRUNCATED, TLS_KEY_UPDATE, or TLS_BROKEN. DONE where
 * it did not. */
enum close_reason tls_close_reason(const struct io *io);

/* What happened, for logs and error pages of the operator; valid until the io is closed. */
const char *tls_error(const struct io *io);

/* Why a handshake failed, in kinds that are worth counting; tls_error() has the words. */
enum tls_fault {
	TLS_FAULT_NONE,
	TLS_FAULT_UNTRUSTED, /* no trusted authority stands above the certificate */
	TLS_FAULT_EXPIRED, /* or not valid yet */
	TLS_FAULT_NAME,
	TLS_FAULT_PIN,
	TLS_FAULT_REVOKED,
	TLS_FAULT_MISSING, /* no certificate was shown */
	TLS_FAULT_CERTIFICATE, /* anything else about it: purpose, depth, signature, constraints */
	TLS_FAULT_ALERT, /* the peer refused */
	TLS_FAULT_PROTOCOL,
	TLS_FAULT_CLOSED, /* the peer closed, or the connection broke */
};

/* After TLS_FAILED or TLS_UNVERIFIED. */
enum tls_fault tls_fault(const struct io *io);

#define TLS_NAME_MAX 256

struct tls_facts {
	const char *version; /* "TLSv1.3" */
	const char *cipher;
	bool resumed;
	bool kernel_receive;
	bool kernel_send;
};

enum tls_san_kind { TLS_SAN_DNS, TLS_SAN_EMAIL, TLS_SAN_URI, TLS_SAN_IP };

struct tls_san {
	enum tls_san_kind kind;
	const char *text;
};

/* A client's certificate that was accepted. Texts have no control characters, and are ASCII but for
 * the common names, which are UTF-8. */
struct tls_peer {
	const char *subject; /* all of it, as RFC 2253 writes it */
	const char *issuer;
	const char *common_name; /* "" where there is none */
	const char *issuer_name; /* the issuer's common name, likewise */
	const char *serial; /* hexadecimal digits */
	const char *not_before; /* "2026-01-31T12:00:00Z" */
	const char *not_after;
	char fingerprint[65]; /* SHA-256 of the DER form, lower-case hexadecimal digits */
	const struct tls_san *sans; /* names that hold control characters are left out */
	size_t n_sans;
	bool has_more_sans; /* than are told: there is a bound */
	bool is_resumed; /* shown in an earlier handshake of the session */
	const unsigned char *der; /* NULL where no route tells it */
	size_t der_bytes;
	const struct tls_der { /* that the client sent above it; none in resumed sessions */
		const unsigned char *der;
		size_t der_bytes;
	} * above;
	size_t n_above;
};

/* After TLS_READY: the client's certificate, once, for the caller to free; NULL where none was
 * shown. */
struct tls_peer *tls_take_peer(struct io *io);

/* In or after the handshake: the name that the client asked for, lower case, once, for the caller
 * to free; NULL where it asked for none. */
char *tls_take_name(struct io *io);

/* Takes NULL. */
void tls_peer_free(struct tls_peer *peer);

/* After TLS_READY: what the handshake told. Copied, so it outlives the SSL object. */
void tls_get_facts(const struct io *io, struct tls_facts *ret_facts);

#endif
