/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plain io to a TLS one: start, handshake, and the decision who does the records from then
 * on. Moves no application data.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "stats/alerts.h"
#include "stats/stats.h"
#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"
#include "tls/tls_peer_internal.h"
#include "tls/tls_tickets.h"

#define ERROR_TEXT_MAX 512

int tls_init(bool kernel_tls_allowed)
{
	unsigned char seed;
	int err;

	tls_memory_init(!TLS_MEMORY_IS_WATCHED);
	/* Reads the host's OpenSSL settings and seeds the generator while files can still be
	 * opened. */
	if (OPENSSL_init_ssl(0, NULL) != 1 || RAND_bytes(&seed, sizeof(seed)) != 1)
		return -ENOTSUP;
	tls_kdf_init();
	err = tls_bio_init();
	if (!err)
		err = tls_record_init();
	if (!err)
		err = tls_keys_init();
	if (!err)
		err = tls_tickets_init();
	if (!err)
		err = tls_pins_init();
	if (!err)
		tls_kernel_probe(kernel_tls_allowed);
	return err;
}

struct tls_stream *tls_stream_of(const struct io *io)
{
	return io->ops && io->ops->close == tls_stream_close ? io->impl : NULL;
}

void tls_stream_set_error(struct tls_stream *stream, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	free(stream->error_text);
	stream->error_text = strdup(text);
}

void tls_stream_set_fault(struct tls_stream *stream, enum close_reason fault)
{
	if (stream->fault != CLOSE_DONE)
		return;
	stream->fault = fault;
	if (fault == CLOSE_TLS_TRUNCATED)
		stats_inc(STAT_TLS_TRUNCATIONS);
}

void tls_count_alert(const struct tls_stream *stream, bool sent, unsigned int number)
{
	if (stream && stream->side == TLS_SIDE_SERVER)
		alerts_count(sent, number);
}

void tls_stream_drop_secrets(struct tls_stream *stream)
{
	if (!stream->shake)
		return;
	OPENSSL_clear_free(stream->shake->secrets, sizeof(*stream->shake->secrets));
	stream->shake->secrets = NULL;
}

void tls_stream_drop_ssl(struct tls_stream *stream)
{
	if (stream->ssl) {
		SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(stream->ssl);
		stream->ssl = NULL;
	}
	if (!stream->shake)
		return;
	tls_stream_drop_secrets(stream);
	tls_late_free(stream);
	tls_server_ctx_free(stream->shake->server);
	free(stream->shake->expected_name);
	free(stream->shake);
	stream->shake = NULL;
}

void tls_stream_free(struct tls_stream *stream)
{
	if (!stream)
		return;
	if (stream->waits_for_bulk)
		stats_inc(STAT_KTLS_REFUSED);
	tls_records_free(stream->records);
	OPENSSL_clear_free(stream->rekey, sizeof(*stream->rekey));
	tls_stream_drop_ssl(stream);
	tls_peer_free(stream->peer);
	free(stream->in.data);
	free(stream->out.data);
	free(stream->name);
	free(stream->error_text);
	free(stream);
}

void tls_stream_close(struct io *io)
{
	tls_stream_free(io->impl);
	io->impl = NULL;
	close(io->watch.fd);
}

/* Gathers what the hand-over needs. 0 or -ENOMEM. */
static int start_secrets(struct tls_stream *stream)
{
	stream->shake->secrets = OPENSSL_zalloc(sizeof(*stream->shake->secrets));
	if (!stream->shake->secrets)
		return -ENOMEM;
	stream->shake->exact_reads = (stream->wanted & TLS_KERNEL_RECEIVE) &&
				     !(stream->wanted & TLS_KERNEL_WAITS) && !tls_kernel_missing();
	SSL_set_msg_callback(stream->ssl, tls_keys_on_message);
	SSL_set_msg_callback_arg(stream->ssl, stream);
	return 0;
}

static struct tls_stream *start_stream(const struct io *io, SSL_CTX *ssl_ctx, enum tls_side side,
				       uint8_t wanted)
{
	struct tls_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->fd = io->watch.fd;
	stream->side = side;
	stream->wanted = wanted;
	stream->shake = calloc(1, sizeof(*stream->shake));
	stream->ssl = SSL_new(ssl_ctx);
	if (!stream->shake || !stream->ssl || SSL_set_app_data(stream->ssl, stream) != 1 ||
	    tls_bio_attach(stream) || start_secrets(stream)) {
		tls_stream_free(stream);
		return NULL;
	}
	if (side == TLS_SIDE_SERVER)
		SSL_set_accept_state(stream->ssl);
	else
		SSL_set_connect_state(stream->ssl);
	return stream;
}

static void start_io(struct io *io, struct tls_stream *stream)
{
	io->ops = &tls_openssl_ops;
	io->impl = stream;
	io->why_not_kernel = "the handshake is not complete";
}

int tls_start_server(struct io *io, struct tls_server_ctx *ctx, struct loop *loop UNUSED)
{
	struct tls_stream *stream = start_stream(io, tls_server_ctx_first(ctx), TLS_SIDE_SERVER,
						 tls_server_ctx_kernel(ctx));

	if (!stream)
		return -ENOMEM;
	stream->shake->server = tls_server_ctx_ref(ctx);
	start_io(io, stream);
	return 0;
}

/* Whom to expect: an address is compared as one and is no SNI (RFC 6066, 3). */
static int start_expect(struct tls_stream *stream, const char *name, bool verifies)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(stream->ssl);
	bool is_address = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;

	ERR_clear_error();
	if (!*name)
		return verifies ? -EINVAL : 0; /* OpenSSL would take any name */
	stream->shake->expected_name = strdup(name);
	if (!stream->shake->expected_name)
		return -ENOMEM;
	if (is_address)
		return 0;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (verifies && X509_VERIFY_PARAM_set1_host(param, name, 0) != 1)
		return -ENOMEM;
	return SSL_set_tlsext_host_name(stream->ssl, name) == 1 ? 0 : -ENOMEM;
}

int tls_start_client(struct io *io, struct tls_client_ctx *ctx, const char *host,
		     struct loop *loop UNUSED)
{
	const char *name = tls_client_ctx_server_name(ctx);
	struct tls_stream *stream =
	    start_stream(io, tls_client_ctx_ssl(ctx), TLS_SIDE_CLIENT, tls_client_ctx_kernel(ctx));
	int err;

	if (!stream)
		return -ENOMEM;
	err = start_expect(stream, name ? name : host, tls_client_ctx_verifies(ctx));
	if (err) {
		tls_stream_free(stream);
		return err;
	}
	start_io(io, stream);
	return 0;
}

void tls_answer_alpn(struct io *io, const char *const *names, size_t n_names)
{
	struct tls_stream *stream = tls_stream_of(io);

	stream->shake->answers_alpn = true;
	stream->shake->alpn = names;
	stream->shake->n_alpn = n_names;
}

int tls_stream_choose_alpn(const struct tls_stream *stream, const unsigned char *offered,
			   size_t offered_len, const unsigned char **ret_chosen,
			   unsigned char *ret_len)
{
	for (size_t i = 0; i < stream->shake->n_alpn; i++)
		for (size_t at = 0; at < offered_len; at += offered[at] + 1u) {
			size_t len = offered[at];

			if (len != strlen(stream->shake->alpn[i]) || at + 1 + len > offered_len ||
			    memcmp(stream->shake->alpn[i], offered + at + 1, len) != 0)
				continue;
			*ret_chosen = offered + at + 1;
			*ret_len = (unsigned char)len;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_NOACK;
}

void tls_resume(struct io *io, struct tls_client_ctx *ctx, struct tls_sessions *sessions)
{
	struct tls_stream *stream = tls_stream_of(io);

	BUG_ON(!stream || stream->side != TLS_SIDE_CLIENT);
	if (!tls_client_ctx_keeps_sessions(ctx))
		return;
	stream->shake->sessions = sessions;
	stream->shake->sessions_scope = tls_client_ctx_scope(ctx);
	tls_session_offer(stream);
}

static enum tls_progress shake_failed(struct tls_stream *stream, enum tls_progress failure,
				      enum tls_fault fault)
{
	stream->state = TLS_STATE_FAILED;
	stream->shake->failure = failure;
	stream->shake->fault = fault;
	tls_stream_drop_secrets(stream);
	tls_sessions_clear(stream->shake->sessions); /* one of them may be the cause */
	if (stream->side == TLS_SIDE_CLIENT && fault != TLS_FAULT_ALERT)
		tls_fault_count_origin(fault);
	if (stream->side == TLS_SIDE_SERVER && failure == TLS_UNVERIFIED)
		tls_fault_count_client(fault);
	return failure;
}

static enum tls_progress shake_unverified(struct tls_stream *stream)
{
	long result = SSL_get_verify_result(stream->ssl);
	enum tls_fault fault = tls_fault_of_verify(result);
	bool is_name = fault == TLS_FAULT_NAME;

	/* Our own callbacks have said more. */
	if (!stream->error_text)
		tls_stream_set_error(
		    stream, "certificate not accepted: %s%s%s%s",
		    X509_verify_cert_error_string(result), is_name ? " (expected \"" : "",
		    is_name ? stream->shake->expected_name : "", is_name ? "\")" : "");
	return shake_failed(stream, TLS_UNVERIFIED, fault);
}

void tls_stream_set_alert(struct tls_stream *stream, int description)
{
	tls_stream_set_error(stream, "the peer sent the alert \"%s\"",
			     tls_alert_words(description));
	if (stream->side == TLS_SIDE_CLIENT)
		tls_fault_count_origin(TLS_FAULT_ALERT);
}

/* What is neither the certificate's nor the socket's fault: the peer's refusal, or our own. */
static enum tls_progress shake_refused(struct tls_stream *stream, unsigned long code)
{
	int alert = tls_alert_of_error(code);

	if (stream->shake->refused)
		tls_stream_set_error(stream, "%s", stream->shake->refused);
	else if (alert >= 0)
		tls_stream_set_alert(stream, alert);
	else
		tls_stream_set_error(stream, "TLS handshake: %s", tls_openssl_reason());
	return shake_failed(stream, TLS_FAILED,
			    alert >= 0 && !stream->shake->refused ? TLS_FAULT_ALERT
								  : TLS_FAULT_PROTOCOL);
}

/* Words for what OpenSSL, the socket or our own callbacks have against going on. */
static enum tls_progress shake_explain(struct tls_stream *stream)
{
	unsigned long code = ERR_peek_error();
	bool is_silent = !code || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;

	/* What went wrong in the verification may stand before it: a signature that is not right.
	 */
	if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
	    SSL_get_verify_result(stream->ssl) != X509_V_OK)
		return shake_unverified(stream);
	if (ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		tls_stream_set_error(stream, "the client showed no certificate");
		return shake_failed(stream, TLS_UNVERIFIED, TLS_FAULT_MISSING);
	}
	if (stream->shake->refused || !is_silent)
		return shake_refused(stream, code);
	if (stream->socket_error)
		tls_stream_set_error(stream, "%s during the TLS handshake",
				     strerror(stream->socket_error));
	else
		tls_stream_set_error(stream,
				     "the peer closed the connection during the TLS handshake");
	return shake_failed(stream, TLS_FAILED, TLS_FAULT_CLOSED);
}

static enum tls_progress shake(struct tls_stream *stream)
{
	int ret;

	tls_kdf_watch(stream->shake->secrets);
	ret = SSL_do_handshake(stream->ssl);
	tls_kdf_watch(NULL);
	if (ret == 1) {
		stream->state = TLS_STATE_FLUSHING;
		return TLS_READY;
	}
	switch (SSL_get_error(stream->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_AGAIN;
	default:
		return shake_explain(stream);
	}
}

/* A client's certificate is for routes and origins: without its facts nothing goes on. */
static int shake_note_peer(struct tls_stream *stream)
{
	int err = 0;

	if (stream->side != TLS_SIDE_SERVER || !SSL_get0_peer_certificate(stream->ssl))
		return 0;
	err = tls_peer_new(stream->ssl, tls_server_ctx_wants_der(stream->shake->server),
			   &stream->peer);
	if (err)
		tls_stream_set_error(stream, "the client's certificate cannot be kept: %s",
				     err == -E2BIG ? "it is too large" : strerror(-err));
	return err;
}

static void shake_note_facts(struct tls_stream *stream)
{
	stream->cipher = SSL_get_cipher_name(stream->ssl);
	stream->resumed = SSL_session_reused(stream->ssl) == 1;
}

/* Everything of the handshake is sent: whose records are they from here? */
static enum tls_progress shake_finish(struct tls_stream *stream, struct io *io)
{
	if (shake_note_peer(stream))
		return shake_failed(stream, TLS_FAILED, TLS_FAULT_PROTOCOL);
	shake_note_facts(stream);
	tls_server_ctx_free(stream->shake->server);
	stream->shake->server = NULL;
	free(stream->shake->expected_name);
	stream->shake->expected_name = NULL;
	tls_handover(stream, io);
	stream->state = TLS_STATE_READY;
	io->readable = true; /* data may have come with the last handshake record, without an event
				of its own */
	return TLS_READY;
}

enum tls_progress tls_handshake(struct io *io)
{
	struct tls_stream *stream = tls_stream_of(io);
	enum tls_progress progress = TLS_READY;
	int err;

	BUG_ON(!stream);
	if (stream->state == TLS_STATE_READY)
		return TLS_READY;
	if (stream->state == TLS_STATE_FAILED)
		return stream->shake->failure;
	/* The socket was emptied, and only became writable: as it is reported to be at first. */
	if (stream->state == TLS_STATE_SHAKING && stream->drained && !io->readable &&
	    !stream->out.len_bytes)
		return TLS_AGAIN;
	if (stream->state == TLS_STATE_SHAKING) {
		tls_call_begin(stream, io);
		progress = shake(stream);
		err = tls_call_end(stream, io, false);
		if (stream->drained)
			io->readable = false;
	} else {
		err = tls_out_flush(stream, io, false);
	}
	if (progress == TLS_FAILED || progress == TLS_UNVERIFIED)
		return progress;
	if (err && err != -EAGAIN) {
		tls_stream_set_error(stream, "%s during the TLS handshake", strerror(-err));
		return shake_failed(stream, TLS_FAILED, TLS_FAULT_CLOSED);
	}
	return progress == TLS_AGAIN || err ? TLS_AGAIN : shake_finish(stream, io);
}

enum close_reason tls_close_reason(const struct io *io)
{
	const struct tls_stream *stream = tls_stream_of(io);

	return stream ? stream->fault : CLOSE_DONE;
}

const char *tls_error(const struct io *io)
{
	const struct tls_stream *stream = tls_stream_of(io);

	return stream && stream->error_text ? stream->error_text : "";
}

struct tls_peer *tls_take_peer(struct io *io)
{
	struct tls_stream *stream = tls_stream_of(io);
	struct tls_peer *peer = stream ? stream->peer : NULL;

	if (stream)
		stream->peer = NULL;
	return peer;
}

char *tls_take_name(struct io *io)
{
	struct tls_stream *stream = tls_stream_of(io);
	char *name = stream ? stream->name : NULL;

	if (stream)
		stream->name = NULL;
	return name;
}

enum tls_fault tls_fault(const struct io *io)
{
	const struct tls_stream *stream = tls_stream_of(io);

	return stream && stream->shake ? stream->shake->fault : TLS_FAULT_NONE;
}

static const char *stream_version(const struct tls_stream *stream)
{
	if (stream->state != TLS_STATE_READY)
		return "";
	if (stream->ssl)
		return SSL_get_version(stream->ssl);
	return stream->control.is_13 ? "TLSv1.3" : "TLSv1.2";
}

void tls_get_facts(const struct io *io, struct tls_facts *ret_facts)
{
	const struct tls_stream *stream = tls_stream_of(io);
	*ret_facts = (struct tls_facts){.version = "", .cipher = ""};
	if (!stream)
		return;
	ret_facts->version = stream_version(stream);
	ret_facts->cipher = stream->cipher ? stream->cipher : "";
	ret_facts->resumed = stream->resumed;
	ret_facts->kernel_receive = stream->in_kernel & TLS_KERNEL_RECEIVE;
	ret_facts->kernel_send = stream->in_kernel & TLS_KERNEL_SEND;
}
