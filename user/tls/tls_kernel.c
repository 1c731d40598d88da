/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for the kernel. Its side is Documentation/networking/tls.rst; Linux 6.1 is the oldest that
 * counts. What it can do was found out by tls_kernel_probe.c, what it gets is decided by
 * tls_handover.c.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/socket.h>

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
const char *tls_kernel_offer(struct tls_stream *stream, const struct tls_keys *keys)
{
	int err = tls_kernel_attach(stream->fd);

	if (!err && (stream->wanted & TLS_KERNEL_SEND)) {
		err = tls_kernel_install(stream->fd, TLS_TX, keys, &keys->of[stream->side]);
		if (!err)
			stream->in_kernel |= TLS_KERNEL_SEND;
	}
	if (!err && (stream->wanted & TLS_KERNEL_RECEIVE)) {
		err = tls_kernel_install(stream->fd, TLS_RX, keys,
					 &keys->of[tls_stream_peer(stream)]);
		if (!err)
			stream->in_kernel |= TLS_KERNEL_RECEIVE;
	}
	return err ? offer_explain(err) : NULL;
}
