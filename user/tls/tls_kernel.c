/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for the kernel: of a finished handshake, and the next ones of a connection that it has. The
 * kernel's side is Documentation/networking/tls.rst; Linux 6.1 is the oldest that counts. What it
 * can do was found out by tls_kernel_probe.c.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/socket.h>

#include "stats/stats.h"
#include "tls/tls_internal.h"

union crypto_info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes_128;
	struct tls12_crypto_info_aes_gcm_256 aes_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

static socklen_t kernel_fill_info(union crypto_info *info, const struct tls_keys *keys,
				  const struct tls_direction_keys *own,
				  const unsigned char sequence[8], const unsigned char *explicit_iv)
{
	switch (keys->cipher) {
	case TLS_CIPHER_AES_GCM_128:
		memcpy(info->aes_128.key, own->key, sizeof(info->aes_128.key));
		memcpy(info->aes_128.salt, own->iv, sizeof(info->aes_128.salt));
		memcpy(info->aes_128.iv, explicit_iv, sizeof(info->aes_128.iv));
		memcpy(info->aes_128.rec_seq, sequence, sizeof(info->aes_128.rec_seq));
		return sizeof(info->aes_128);
	case TLS_CIPHER_AES_GCM_256:
		memcpy(info->aes_256.key, own->key, sizeof(info->aes_256.key));
		memcpy(info->aes_256.salt, own->iv, sizeof(info->aes_256.salt));
		memcpy(info->aes_256.iv, explicit_iv, sizeof(info->aes_256.iv));
		memcpy(info->aes_256.rec_seq, sequence, sizeof(info->aes_256.rec_seq));
		return sizeof(info->aes_256);
	default:
		memcpy(info->chacha.key, own->key, sizeof(info->chacha.key));
		memcpy(info->chacha.iv, own->iv, sizeof(info->chacha.iv));
		memcpy(info->chacha.rec_seq, sequence, sizeof(info->chacha.rec_seq));
		return sizeof(info->chacha);
	}
}

int tls_kernel_install(int fd, int option, const struct tls_keys *keys,
		       const struct tls_direction_keys *own)
{
	union crypto_info info = {.info = {.version = keys->version, .cipher_type = keys->cipher}};
	unsigned char sequence[8], random_iv[8];
	const unsigned char *explicit_iv = own->iv + 4;
	socklen_t len;
	int err;

	for (size_t i = 0; i < sizeof(sequence); i++)
		sequence[i] = (unsigned char)(own->next_record >> (56 - 8 * i));
	if (keys->version ==
	    TLS_1_2_VERSION) { /* the explicit nonce of GCM (RFC 5288, 3) goes on from any value */
		if (RAND_bytes(random_iv, sizeof(random_iv)) != 1)
			return -EIO;
		explicit_iv = random_iv;
	}
	len = kernel_fill_info(&info, keys, own, sequence, explicit_iv);
	err = setsockopt(fd, SOL_TLS, option, &info, len) ? -errno : 0;
	OPENSSL_cleanse(&info, sizeof(info));
	return err;
}

int tls_kernel_attach(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) ? -errno : 0;
}

static const char *offer_explain(int err)
{
	switch (err) {
	case -ENOTCONN:
		return "the peer had closed its side already";
	case -ENOENT:
		return "the tls module is no longer there";
	case -EBUSY:
	case -EEXIST:
		return "the socket has another upper layer protocol";
	case -ENOMEM:
		return "the kernel had no memory for TLS";
	default:
		return "the kernel refused this connection's keys";
	}
}

/* A direction that has no keys stays as it was, so each can fail for itself. */
static const char *offer_directions(struct tls_stream *stream, const struct tls_keys *keys,
				    unsigned int directions)
{
	int err = 0;

	if (directions & TLS_KERNEL_SEND) {
		err = tls_kernel_install(stream->fd, TLS_TX, keys, &keys->of[stream->side]);
		if (!err)
			stream->in_kernel |= TLS_KERNEL_SEND;
	}
	if (!err && (directions & TLS_KERNEL_RECEIVE)) {
		err = tls_kernel_install(stream->fd, TLS_RX, keys,
					 &keys->of[tls_stream_peer(stream)]);
		if (!err)
			stream->in_kernel |= TLS_KERNEL_RECEIVE;
	}
	return err ? offer_explain(err) : NULL;
}

/* Without these the connection ends where the peer changes its keys, as on older kernels. */
static void offer_keep_secrets(struct tls_stream *stream, const struct tls_keys *keys)
{
	if (keys->version != TLS_1_3_VERSION || !tls_kernel_can_rekey())
		return;
	stream->rekey = OPENSSL_zalloc(sizeof(*stream->rekey));
	if (!stream->rekey)
		return;
	stream->rekey->md = keys->md;
	stream->rekey->cipher = keys->cipher;
	stream->rekey->len_bytes = stream->secrets->of[0].len_bytes;
	for (int side = 0; side < TLS_SIDE_MAX; side++)
		memcpy(stream->rekey->secret[side], stream->secrets->of[side].secret,
		       stream->rekey->len_bytes);
}

static const char *offer_keys(struct tls_stream *stream, unsigned int directions)
{
	struct tls_keys keys;
	const char *why;
	int err;

	if (tls_keys_derive(stream->ssl, stream->secrets, &keys))
		return "no keys for this version and cipher that the kernel could take";
	if (tls_kernel_can(keys.version, keys.cipher)) {
		err = tls_kernel_attach(stream->fd);
		why = err ? offer_explain(err) : offer_directions(stream, &keys, directions);
	} else {
		why = "this kernel does not have this version and cipher";
	}
	if (stream->in_kernel)
		offer_keep_secrets(stream, &keys);
	if (stream->in_kernel == (TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE))
		tls_late_keep(stream, &keys);
	stream->control.is_13 = keys.version == TLS_1_3_VERSION;
	stream->control.is_client = stream->side == TLS_SIDE_CLIENT;
	OPENSSL_cleanse(&keys, sizeof(keys));
	return why;
}

const char *tls_kernel_offer(struct tls_stream *stream)
{
	const SSL_SESSION *session = SSL_get_session(stream->ssl);
	const char *why;

	if (SSL_has_pending(stream->ssl) || stream->in.len_bytes || stream->out.len_bytes)
		return "data came with the handshake and is in user space already";
	if (session &&
	    SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED)
		return "the peer asked for small records (max_fragment_length), which the kernel "
		       "does not make";
	why = offer_keys(stream, stream->wanted);
	if (!why && stream->wanted != (TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE))
		why = "one direction is turned off in the configuration";
	return why;
}

int tls_kernel_rekey(struct tls_stream *stream, enum tls_side side)
{
	struct tls_rekey *rekey = stream->rekey;
	struct tls_keys keys = {.version = TLS_1_3_VERSION};
	int err;

	if (!rekey)
		return -EBUSY;
	keys.cipher = rekey->cipher;
	err = tls_keys_next_secret(rekey->md, rekey->secret[side], rekey->len_bytes,
				   rekey->secret[side]);
	if (!err)
		err = tls_keys_expand_13(rekey->md, rekey->secret[side], rekey->len_bytes,
					 tls_keys_len(rekey->cipher), &keys.of[side]);
	if (!err)
		err = tls_kernel_install(stream->fd, side == stream->side ? TLS_TX : TLS_RX, &keys,
					 &keys.of[side]);
	OPENSSL_cleanse(&keys, sizeof(keys));
	return err;
}

void tls_stream_settle(struct tls_stream *stream, struct io *io)
{
	static const struct io_ops *const ops[] = {
	    [0] = &tls_openssl_ops,
	    [TLS_KERNEL_SEND] = &tls_kernel_send_ops,
	    [TLS_KERNEL_RECEIVE] = &tls_kernel_receive_ops,
	    [TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE] = &tls_kernel_ops,
	};

	io->ops = ops[stream->in_kernel];
	stats_inc(io->ops == &tls_kernel_ops ? STAT_KTLS_HANDOVERS : STAT_KTLS_REFUSED);
	tls_stream_drop_secrets(stream);
	if (!(stream->in_kernel & TLS_KERNEL_RECEIVE)) {
		stream->exact_reads = false;
		SSL_set_msg_callback(stream->ssl, tls_keys_on_message);
		SSL_set_msg_callback_arg(stream->ssl, stream);
	}
	if (io->ops == &tls_kernel_ops && !stream->late)
		tls_stream_drop_ssl(stream);
}
