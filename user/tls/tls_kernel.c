/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over: what this kernel can take, asked once, and the keys of one connection given to it.
 * The kernel's side is Documentation/networking/tls.rst; Linux 6.1 is the oldest that counts.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

enum { CAN_12, CAN_13, CAN_VERSION_MAX };
enum { CAN_AES_128, CAN_AES_256, CAN_CHACHA, CAN_CIPHER_MAX };

/* Written once by tls_kernel_probe(), before threads. */
static struct {
	const char *missing;
	bool can[CAN_VERSION_MAX][CAN_CIPHER_MAX];
} kernel = {.missing = "not probed"};

const char *tls_kernel_missing(void)
{
	return kernel.missing;
}

static bool *kernel_can(uint16_t version, uint16_t cipher)
{
	int at = cipher == TLS_CIPHER_AES_GCM_128   ? CAN_AES_128
		 : cipher == TLS_CIPHER_AES_GCM_256 ? CAN_AES_256
						    : CAN_CHACHA;

	return &kernel.can[version == TLS_1_3_VERSION ? CAN_13 : CAN_12][at];
}

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

/* One direction: `option` is TLS_TX or TLS_RX. 0 or -errno. */
static int kernel_install(int fd, int option, const struct tls_keys *keys,
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

static int kernel_attach(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) ? -errno : 0;
}

/*
 * A socket connected over loopback to a listener that never accepts, but must stay open: with it
 * the connection would go. 0 or -errno; what was opened is in ret_fds in both cases, else -1.
 */
static int probe_connect(int ret_fds[2])
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *addr = (struct sockaddr *)&here;
	socklen_t len = sizeof(here);

	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ret_fds[0] < 0 || ret_fds[1] < 0 || bind(ret_fds[1], addr, len) ||
	    listen(ret_fds[1], 1) || getsockname(ret_fds[1], addr, &len) ||
	    connect(ret_fds[0], addr, len))
		return -errno;
	return 0;
}

/* Can this version and cipher be installed both ways? */
static bool probe_cipher(uint16_t version, uint16_t cipher)
{
	static const struct tls_direction_keys any = {.next_record = 1};
	struct tls_keys keys = {.version = version, .cipher = cipher};
	int fds[2];
	bool can = !probe_connect(fds) && !kernel_attach(fds[0]) &&
		   !kernel_install(fds[0], TLS_TX, &keys, &any) &&
		   !kernel_install(fds[0], TLS_RX, &keys, &any);

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return can;
}

/*
 * On a socket that is not connected the kernel looks for the module first: ENOENT where it is not
 * there, ENOTCONN where it is. A process with CAP_NET_ADMIN has it loaded by this very call.
 */
static const char *probe_module(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? -errno : kernel_attach(fd);

	if (fd >= 0)
		close(fd);
	switch (err) {
	case 0:
	case -ENOTCONN:
		return NULL;
	case -ENOENT:
		return "no tls module in this kernel, or it is not loaded";
	default:
		return "this kernel or sandbox refuses TLS on sockets";
	}
}

void tls_kernel_probe(bool allowed)
{
	static const uint16_t versions[] = {TLS_1_2_VERSION, TLS_1_3_VERSION};
	static const uint16_t ciphers[] = {TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
					   TLS_CIPHER_CHACHA20_POLY1305};
	bool any = false;

	kernel.missing = allowed ? probe_module() : "turned off for the whole process";
	if (kernel.missing)
		return;
	for (size_t v = 0; v < ARRAY_LEN(versions); v++)
		for (size_t c = 0; c < ARRAY_LEN(ciphers); c++)
			any |= *kernel_can(versions[v], ciphers[c]) =
			    probe_cipher(versions[v], ciphers[c]);
	if (!any)
		kernel.missing =
		    "the kernel has the tls module but took no keys in a test over loopback";
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

/* Sending first: while that fails, the socket is still plain in both directions. */
static const char *offer_install(const struct tls_stream *stream, const struct tls_keys *keys,
				 int *ret_err)
{
	enum tls_side peer = stream->side == TLS_SIDE_SERVER ? TLS_SIDE_CLIENT : TLS_SIDE_SERVER;
	int err = kernel_attach(stream->fd);

	if (!err)
		err = kernel_install(stream->fd, TLS_TX, keys, &keys->of[stream->side]);
	if (err)
		return offer_explain(err);
	*ret_err = kernel_install(stream->fd, TLS_RX, keys, &keys->of[peer]);
	return *ret_err ? "the kernel took the keys of one direction only" : NULL;
}

const char *tls_kernel_offer(struct tls_stream *stream, int *ret_err)
{
	const SSL_SESSION *session = SSL_get_session(stream->ssl);
	struct tls_keys keys;
	const char *why;

	if (SSL_has_pending(stream->ssl) || stream->in.len_bytes || stream->out.len_bytes)
		return "data came with the handshake and is in user space already";
	if (session &&
	    SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED)
		return "the peer asked for small records (max_fragment_length), which the kernel "
		       "does not make";
	if (tls_keys_derive(stream->ssl, stream->secrets, &keys))
		return "no keys for this version and cipher that the kernel could take";
	if (*kernel_can(keys.version, keys.cipher))
		why = offer_install(stream, &keys, ret_err);
	else
		why = "this kernel does not have this version and cipher";
	if (!why)
		tls_late_keep(stream, &keys);
	OPENSSL_cleanse(&keys, sizeof(keys));
	return why;
}
