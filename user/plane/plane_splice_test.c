/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves the sockmap relay on this kernel before anything is trusted to it, with two connections
 * over loopback: bytes that wait when the sockets are put into the maps, both directions, the
 * bound, and a half-close. Kernels differ here, and none of them says so.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "penstock/abi.h"
#include "plane/plane_internal.h"

#define PROOF_PATIENCE_MS 1000

/* client <-> [client_side origin_side] <-> origin */
struct proof {
	const struct splice_maps *maps;
	struct plane_error *error;
	int client, client_side, origin_side, origin;
	uint64_t cookies[2]; /* of client_side and origin_side */
};

static int proof_fail(struct proof *proof, int err, const char *what)
{
	return plane_fail(proof->error, err, "the self-test of sockmap failed: %s: %s", what,
			  strerror(-err));
}

/* Two ends of a TCP connection over loopback. 0 or -errno. */
static int proof_connect(int *ret_one, int *ret_other)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = 0;

	*ret_one = -1;
	*ret_other = -1;
	if (listener < 0)
		return -errno;
	*ret_one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_one < 0 || bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(*ret_one, (struct sockaddr *)&addr, len))
		err = -errno;
	if (!err) {
		*ret_other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		err = *ret_other < 0 ? -errno : 0;
	}
	close(listener);
	return err;
}

/* As some agents and distributions have it. Relays take what a sockmap does not. */
static bool proof_is_mptcp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       protocol == IPPROTO_MPTCP;
}

static int proof_connect_both(struct proof *proof)
{
	socklen_t len = sizeof(uint64_t);
	int err = proof_connect(&proof->client, &proof->client_side);

	if (!err)
		err = proof_connect(&proof->origin, &proof->origin_side);
	if (!err &&
	    (getsockopt(proof->client_side, SOL_SOCKET, SO_COOKIE, &proof->cookies[0], &len) ||
	     getsockopt(proof->origin_side, SOL_SOCKET, SO_COOKIE, &proof->cookies[1], &len)))
		err = -errno;
	if (!err && proof_is_mptcp(proof->client_side))
		return plane_fail(proof->error, -EOPNOTSUPP,
				  "sockets are made MPTCP here, which no sockmap takes");
	return err ? proof_fail(proof, err, "connecting over loopback") : 0;
}

static int proof_write_dir(struct proof *proof, uint32_t index, uint32_t window_bytes)
{
	struct splice_dir dir = {.window_bytes = window_bytes};

	return bpf_map_update_elem(proof->maps->dirs, &index, &dir, BPF_ANY) ? -errno : 0;
}

static int proof_put(int map_fd, uint64_t cookie, int fd)
{
	uint64_t value = (uint64_t)fd;

	return bpf_map_update_elem(map_fd, &cookie, &value, BPF_ANY) ? -errno : 0;
}

static int proof_insert(struct proof *proof)
{
	const int sides[2] = {proof->client_side, proof->origin_side};
	const int on = 1;
	int err = 0;

	for (uint32_t i = 0; i < 2 && !err; i++) {
		err = proof_write_dir(proof, i, 1 << 16);
		if (!err && bpf_map_update_elem(proof->maps->ids, &proof->cookies[i], &i, BPF_ANY))
			err = -errno;
		if (!err)
			err = proof_put(proof->maps->tgt, proof->cookies[i], sides[1 - i]);
	}
	for (int i = 0; i < 2 && !err; i++)
		err = proof_put(proof->maps->src, proof->cookies[i], sides[i]);
	for (int i = 0; i < 2 && !err; i++)
		if (setsockopt(sides[i], SOL_SOCKET, SO_RCVLOWAT, &on, sizeof(on)))
			err = -errno;
	return err ? proof_fail(proof, err, "putting sockets into the maps") : 0;
}

static int proof_send(struct proof *proof, int fd, const char *text)
{
	ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);

	return n == (ssize_t)strlen(text) ? 0 : proof_fail(proof, n < 0 ? -errno : -EIO, "sending");
}

static int proof_expect(struct proof *proof, int fd, const char *text, const char *what)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char buffer[32] = "";
	size_t len = 0;

	while (len < strlen(text)) {
		ssize_t n;

		if (poll(&wait, 1, PROOF_PATIENCE_MS) != 1)
			return proof_fail(proof, -ETIMEDOUT, what);
		n = recv(fd, buffer + len, strlen(text) - len, MSG_DONTWAIT);
		if (n <= 0)
			return proof_fail(proof, n < 0 ? -errno : -EPIPE, what);
		len += (size_t)n;
	}
	return memcmp(buffer, text, len) == 0 ? 0 : proof_fail(proof, -EIO, what);
}

/* With a window of nothing, all stays where it came in. */
static int proof_bound(struct proof *proof)
{
	struct splice_dir dir;
	uint32_t index = 0;
	int err = proof_write_dir(proof, index, 0);

	if (err)
		return proof_fail(proof, err, "closing the window");
	err = proof_send(proof, proof->client, "held");
	if (!err)
		err = proof_expect(proof, proof->client_side, "held",
				   "bytes past the window were not left to the process");
	if (err)
		return err;
	if (bpf_map_lookup_elem(proof->maps->dirs, &index, &dir) || dir.passed_bytes != 4)
		return proof_fail(proof, -EIO, "bytes past the window were not counted");
	return 0;
}

/* The end of one direction must leave the other one whole. */
static int proof_half_close(struct proof *proof)
{
	struct pollfd wait = {.fd = proof->client_side, .events = POLLRDHUP};
	int err;

	if (shutdown(proof->client, SHUT_WR))
		return proof_fail(proof, -errno, "ending a stream");
	if (poll(&wait, 1, PROOF_PATIENCE_MS) != 1 || (wait.revents & (POLLERR | POLLHUP)))
		return proof_fail(proof, -ETIMEDOUT, "the end of a stream was not seen");
	err = proof_send(proof, proof->origin, "after");
	if (!err)
		err = proof_expect(proof, proof->client, "after",
				   "the other direction did not outlive the end of one");
	return err;
}

static int proof_run(struct proof *proof)
{
	int err = proof_connect_both(proof);

	if (!err)
		err = proof_send(proof, proof->client, "early");
	if (!err)
		err = proof_insert(proof);
	if (!err)
		err = proof_expect(proof, proof->origin, "early",
				   "bytes that waited were not sent on");
	if (!err)
		err = proof_send(proof, proof->origin, "back");
	if (!err)
		err = proof_expect(proof, proof->client, "back", "bytes were not sent back");
	if (!err)
		err = proof_bound(proof);
	return err ? err : proof_half_close(proof);
}

/* The sockets leave the maps when they are closed. */
static void proof_clean(struct proof *proof)
{
	const int fds[] = {proof->client, proof->client_side, proof->origin_side, proof->origin};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (uint32_t i = 0; i < 2; i++) {
		bpf_map_delete_elem(proof->maps->ids, &proof->cookies[i]);
		(void)!proof_write_dir(proof, i, 0);
	}
}

int plane_splice_prove(const struct splice_maps *maps, struct plane_error *error)
{
	struct proof proof = {.maps = maps,
			      .error = error,
			      .client = -1,
			      .client_side = -1,
			      .origin_side = -1,
			      .origin = -1};
	int err = proof_run(&proof);

	proof_clean(&proof);
	return err;
}
