/* SPDX-License-Identifier: Apache-2.0 */
/* What both kinds of context have in common: protocol versions, ciphers, options. Knows no
 * certificates. */
#include <errno.h>
#include <openssl/err.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"

/*
 * AEAD with forward secrecy only, as in Mozilla's "intermediate" profile without its DHE suites.
 * The kernel can take over all of them. AES-128 first: it is the cheapest where there are AES
 * instructions.
 */
#define CIPHERS_12 \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

/* What is given is stronger than the level. */
static bool ctx_set_policy(SSL_CTX *ssl_ctx, const struct conf_tls_policy *policy)
{
	int level_min = policy->level == CONF_TLS_MODERN ? TLS1_3_VERSION : TLS1_2_VERSION;

	return SSL_CTX_set_min_proto_version(ssl_ctx, policy->min_version ? policy->min_version
									  : level_min) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl_ctx, policy->max_version) == 1 &&
	       SSL_CTX_set_cipher_list(ssl_ctx,
				       policy->ciphers_12 ? policy->ciphers_12 : CIPHERS_12) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl_ctx, policy->ciphers_13 ? policy->ciphers_13
								    : CIPHERS_13) == 1 &&
	       SSL_CTX_set1_groups_list(ssl_ctx, GROUPS) == 1;
}

/* `value` is level and number (SSL_CTX_set_info_callback(3)). */
static void ctx_on_info(const SSL *ssl, int where, int value)
{
	if ((where & SSL_CB_ALERT) == SSL_CB_ALERT)
		tls_count_alert(SSL_get_app_data(ssl), where & SSL_CB_WRITE, value & 0xff);
}

uint8_t tls_ctx_wanted(enum conf_kernel_tls both, enum conf_kernel_tls receive,
		       enum conf_kernel_tls send, bool waits)
{
	uint8_t wanted = 0;

	if (both == CONF_KERNEL_TLS_OFF)
		return 0;
	if (receive != CONF_KERNEL_TLS_OFF)
		wanted |= TLS_KERNEL_RECEIVE;
	if (send != CONF_KERNEL_TLS_OFF)
		wanted |= TLS_KERNEL_SEND;
	if (wanted && waits)
		wanted |= TLS_KERNEL_WAITS;
	return wanted;
}

SSL_CTX *tls_ctx_new_common(bool is_server, const struct conf_tls_policy *policy)
{
	/* NULL: the library context is that of the thread which uses it (tls_thread.c). */
	SSL_CTX *ssl_ctx = SSL_CTX_new_ex(NULL, tls_kdf_properties(),
					  is_server ? TLS_server_method() : TLS_client_method());

	if (!ssl_ctx)
		return NULL;
	if (!ctx_set_policy(ssl_ctx, policy)) {
		SSL_CTX_free(ssl_ctx);
		return NULL;
	}
	/*
	 * FIN without close_notify would break the sending side too, with an alert (decode_error)
	 * that the peer does not deserve; recv_explain() knows such an end all the same.
	 */
	SSL_CTX_set_options(ssl_ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* A client that puts ChaCha20 first has no AES instructions: it gets what it wants. */
	SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(ssl_ctx,
			 SSL_MODE_AUTO_RETRY); /* WANT_READ means that the socket has no more */
	SSL_CTX_set_read_ahead(ssl_ctx, 0);
	SSL_CTX_set_info_callback(ssl_ctx, ctx_on_info);
	SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	if (!tls_kdf_properties())
		SSL_CTX_set_keylog_callback(ssl_ctx, tls_keys_on_keylog);
	return ssl_ctx;
}
