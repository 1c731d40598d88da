/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel can do, tried once at the start over loopback: each version and cipher carries
 * bytes at the sizes where kernels have failed before, by copying and by splice(2), and they are
 * compared. One wrong byte, and the kernel does no records at all. Knows no connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

enum { CAN_12, CAN_13, CAN_VERSION_MAX };
enum { CAN_AES_128, CAN_AES_256, CAN_CHACHA, CAN_CIPHER_MAX };

#define PROBE_MAX_BYTES (1 << 20)
/* Nothing has come for so long, over loopback: it will not. */
#define PROBE_PATIENCE_MS 2000

/* Written once by tls_kernel_probe(), before threads. */
static struct {
	const char *missing;
	bool can[CAN_VERSION_MAX][CAN_CIPHER_MAX];
	bool can_rekey;
} kernel = {.missing = "not probed"};

static char probe_complaint[160];

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

bool tls_kernel_can(uint16_t version, uint16_t cipher)
{
	return !kernel.missing && *kernel_can(version, cipher);
}

bool tls_kernel_can_rekey(void)
{
	return kernel.can_rekey;
}

/* Two ends of a connection, -1 where not open, and a pipe at each for splice(2). */
struct probe {
	int from, to;
	int from_pipe[2], to_pipe[2];
	size_t piped_bytes; /* in from_pipe */
	char *sent, *received; /* PROBE_MAX_BYTES each */
};

static int probe_connect(struct probe *probe)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *addr = (struct sockaddr *)&here;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(here);
	int err = 0;

	probe->from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || probe->from < 0 || bind(listener, addr, len) || listen(listener, 1) ||
	    getsockname(listener, addr, &len) || connect(probe->from, addr, len))
		err = -errno;
	if (!err) {
		probe->to = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		err = probe->to < 0 || fcntl(probe->from, F_SETFL, O_NONBLOCK) ? -errno : 0;
	}
	if (listener >= 0)
		close(listener);
	return err;
}

static void probe_close(struct probe *probe)
{
	if (probe->from >= 0)
		close(probe->from);
	if (probe->to >= 0)
		close(probe->to);
	probe->from = probe->to = -1;
}

/* Sending on one end and receiving on the other can be installed, and so on this kernel be used. */
static bool probe_install(struct probe *probe, const struct tls_keys *keys)
{
	return !tls_kernel_install(probe->from, TLS_TX, keys, &keys->of[0]) &&
	       !tls_kernel_install(probe->to, TLS_RX, keys, &keys->of[0]);
}

/* Bytes given, 0 for none now, -1. */
static ssize_t probe_give(struct probe *probe, size_t at, size_t len_bytes, bool by_splice)
{
	struct iovec part = {probe->sent + at, MIN(len_bytes - at, (size_t)65536)};
	int one = 1;
	ssize_t n;

	if (!by_splice)
		return send(probe->from, probe->sent + at, len_bytes - at, MSG_NOSIGNAL);
	if (!probe->piped_bytes) {
		n = vmsplice(probe->from_pipe[1], &part, 1, SPLICE_F_NONBLOCK);
		if (n <= 0)
			return n;
		probe->piped_bytes = (size_t)n;
	}
	n = splice(probe->from_pipe[0], NULL, probe->from, NULL, probe->piped_bytes,
		   SPLICE_F_NONBLOCK);
	if (n > 0)
		probe->piped_bytes -= (size_t)n;
	else if (n < 0 && errno == EAGAIN) /* as in tls_kernel_io.c */
		return setsockopt(probe->from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return n;
}

static ssize_t probe_take(const struct probe *probe, size_t at, size_t len_bytes, bool by_splice)
{
	ssize_t n;

	if (!by_splice)
		return recv(probe->to, probe->received + at, len_bytes - at, 0);
	n = splice(probe->to, NULL, probe->to_pipe[1], NULL, MIN(len_bytes - at, (size_t)65536),
		   SPLICE_F_NONBLOCK);
	return n <= 0 ? n : read(probe->to_pipe[0], probe->received + at, (size_t)n);
}

/* Both ends by turns, since the buffers between them may hold less than all. True: it came as it
 * was sent. */
static bool probe_carry(struct probe *probe, size_t len_bytes, bool by_splice)
{
	size_t given = 0, taken = 0;

	memset(probe->received, 0, len_bytes);
	while (taken < len_bytes) {
		struct pollfd come = {.fd = probe->to, .events = POLLIN};
		ssize_t n = 0;

		if (given < len_bytes) {
			n = probe_give(probe, given, len_bytes, by_splice);
			if (n < 0 && errno != EAGAIN)
				return false;
			given += n > 0 ? (size_t)n : 0;
		}
		n = probe_take(probe, taken, len_bytes, by_splice);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		taken += n > 0 ? (size_t)n : 0;
		if (n < 0 && poll(&come, 1, PROBE_PATIENCE_MS) != 1)
			return false;
	}
	return memcmp(probe->sent, probe->received, len_bytes) == 0;
}

/* NULL, or what went wrong. */
static const char *probe_sizes(struct probe *probe, const struct tls_keys *keys)
{
	static const struct {
		size_t len_bytes;
		bool by_splice;
	} tries[] = {
	    {65535, false}, {65536, false}, {65537, false},	      {131072, false},
	    {65537, true},  {131072, true}, {PROBE_MAX_BYTES, false},
	};
	const char *cipher = keys->cipher == TLS_CIPHER_AES_GCM_128   ? "AES-128-GCM"
			     : keys->cipher == TLS_CIPHER_AES_GCM_256 ? "AES-256-GCM"
								      : "CHACHA20-POLY1305";

	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		if (probe_carry(probe, tries[i].len_bytes, tries[i].by_splice))
			continue;
		snprintf(probe_complaint, sizeof(probe_complaint),
			 "the self-test failed: %zu bytes by %s did not come back as they were "
			 "(TLS 1.%d, %s)",
			 tries[i].len_bytes, tries[i].by_splice ? "splice" : "copying",
			 keys->version == TLS_1_3_VERSION ? 3 : 2, cipher);
		return probe_complaint;
	}
	return NULL;
}

/* New keys on a connection that has some: right only if bytes still come through. */
static bool probe_rekey(struct probe *probe, struct tls_keys *keys)
{
	memset(keys->of[0].key, 0x5a, sizeof(keys->of[0].key));
	keys->of[0].next_record = 0;
	return probe_install(probe, keys) && probe_carry(probe, 65537, false);
}

/* NULL, or why the kernel is to do no records at all. */
static const char *probe_cipher(struct probe *probe, uint16_t version, uint16_t cipher)
{
	struct tls_keys keys = {.version = version, .cipher = cipher};
	const char *why = NULL;

	keys.of[0].next_record = 1;
	if (!probe_connect(probe) && !tls_kernel_attach(probe->from) &&
	    !tls_kernel_attach(probe->to) && probe_install(probe, &keys)) {
		why = probe_sizes(probe, &keys);
		*kernel_can(version, cipher) = why == NULL;
		if (!why && version == TLS_1_3_VERSION && cipher == TLS_CIPHER_AES_GCM_128)
			kernel.can_rekey = probe_rekey(probe, &keys);
	}
	probe_close(probe);
	return why;
}

static const char *probe_ciphers(struct probe *probe)
{
	static const uint16_t versions[] = {TLS_1_2_VERSION, TLS_1_3_VERSION};
	static const uint16_t ciphers[] = {TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
					   TLS_CIPHER_CHACHA20_POLY1305};
	const char *why = NULL;
	bool any = false;

	for (size_t v = 0; v < ARRAY_LEN(versions) && !why; v++)
		for (size_t c = 0; c < ARRAY_LEN(ciphers) && !why; c++) {
			why = probe_cipher(probe, versions[v], ciphers[c]);
			any |= *kernel_can(versions[v], ciphers[c]);
		}
	if (!why && !any)
		why = "the kernel has the tls module but took no keys in a test over loopback";
	return why;
}

static bool probe_open_pipes(struct probe *probe)
{
	return pipe2(probe->from_pipe, O_CLOEXEC | O_NONBLOCK) == 0 &&
	       pipe2(probe->to_pipe, O_CLOEXEC | O_NONBLOCK) == 0;
}

/* The bytes tell one place from another. */
static const char *probe_all(void)
{
	struct probe probe = {.from = -1, .to = -1, .from_pipe = {-1, -1}, .to_pipe = {-1, -1}};
	const char *why = "no memory or pipe for the self-test";

	probe.sent = malloc(PROBE_MAX_BYTES);
	probe.received = malloc(PROBE_MAX_BYTES);
	if (probe.sent && probe.received && probe_open_pipes(&probe)) {
		for (size_t i = 0; i < PROBE_MAX_BYTES; i++)
			probe.sent[i] = (char)(i ^ i >> 8 ^ i >> 16);
		why = probe_ciphers(&probe);
	}
	for (int i = 0; i < 2; i++) {
		close(probe.from_pipe[i]);
		close(probe.to_pipe[i]);
	}
	free(probe.sent);
	free(probe.received);
	return why;
}

/*
 * On a socket that is not connected the kernel looks for the module first: ENOENT where it is not
 * there, ENOTCONN where it is. A process with CAP_NET_ADMIN has it loaded by this very call.
 */
static const char *probe_module(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? -errno : tls_kernel_attach(fd);

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
	kernel.missing = allowed ? probe_module() : "turned off for the whole process";
	if (!kernel.missing)
		kernel.missing = probe_all();
}
