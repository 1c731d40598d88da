/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves splice(2) on this kernel before bytes of clients go that way: a pattern and its end, from
 * one connection over loopback through a pipe into another. Where what comes out differs, all is
 * copied.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Not a multiple of a page. */
#define PROOF_BYTES ((1 << 20) + 1)
#define PROOF_PORTION_BYTES 16384
/* Nothing has moved for so long, over loopback: it will not. */
#define PROOF_PATIENCE_MS 10000

/* client -> [from pipe to] -> origin; -1 where not open. */
struct proof {
	int client, from, to, origin;
	struct relay_pipe *pipe;
	size_t sent_bytes, piped_bytes, received_bytes;
	bool from_ended, origin_ended;
	const char *wrong; /* what was seen */
};

/* Written once by relay_pipe_prove(), before threads. */
static char pipe_refusal[128];

const char *relay_pipe_why_not(void)
{
	return pipe_refusal[0] ? pipe_refusal : NULL;
}

static unsigned char proof_byte(size_t at)
{
	return (unsigned char)(at * 31 + (at >> 12));
}

/* Two ends of a connection. */
static bool proof_connect(int *ret_client, int *ret_server)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *addr = (struct sockaddr *)&here;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(here);

	*ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener >= 0 && *ret_client >= 0 && bind(listener, addr, len) == 0 &&
	    listen(listener, 1) == 0 && getsockname(listener, addr, &len) == 0 &&
	    connect(*ret_client, addr, len) == 0 && fcntl(*ret_client, F_SETFL, O_NONBLOCK) == 0)
		*ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (listener >= 0)
		close(listener);
	return *ret_server >= 0;
}

/* Each step: true where something moved. */
static bool proof_step(struct proof *proof, ssize_t n, const char *what)
{
	if (n < 0 && errno != EAGAIN && errno != EINTR && !proof->wrong)
		proof->wrong = what;
	return n > 0;
}

static bool proof_send(struct proof *proof)
{
	unsigned char portion[PROOF_PORTION_BYTES];
	size_t len_bytes = MIN(sizeof(portion), PROOF_BYTES - proof->sent_bytes);
	ssize_t n;

	if (!len_bytes)
		return false;
	for (size_t i = 0; i < len_bytes; i++)
		portion[i] = proof_byte(proof->sent_bytes + i);
	n = send(proof->client, portion, len_bytes, MSG_NOSIGNAL);
	if (n > 0)
		proof->sent_bytes += (size_t)n;
	if (proof->sent_bytes == PROOF_BYTES)
		shutdown(proof->client, SHUT_WR);
	return proof_step(proof, n, "nothing could be sent");
}

static bool proof_splice(struct proof *proof)
{
	ssize_t in = -1, out = -1;

	errno = EAGAIN;
	if (!proof->from_ended)
		in = splice(proof->from, NULL, proof->pipe->write_fd, NULL, RELAY_PIPE_BYTES,
			    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	proof->from_ended |= in == 0;
	if (in > 0)
		proof->piped_bytes += (size_t)in;
	if (proof_step(proof, in, "it could not be taken from a socket") || proof->piped_bytes) {
		out = splice(proof->pipe->read_fd, NULL, proof->to, NULL, proof->piped_bytes,
			     SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		(void)proof_step(proof, out, "it could not be given to a socket");
	}
	if (out > 0)
		proof->piped_bytes -= (size_t)out;
	if (proof->from_ended && !proof->piped_bytes)
		shutdown(proof->to, SHUT_WR);
	return in >= 0 || out > 0;
}

static bool proof_receive(struct proof *proof)
{
	unsigned char portion[PROOF_PORTION_BYTES];
	ssize_t n = recv(proof->origin, portion, sizeof(portion), 0);

	proof->origin_ended |= n == 0;
	for (ssize_t i = 0; i < n; i++)
		if (portion[i] != proof_byte(proof->received_bytes++) && !proof->wrong)
			proof->wrong = "other bytes came out than went in";
	return proof_step(proof, n, "nothing could be received");
}

/* Until one of the four can go on. */
static void proof_wait(struct proof *proof)
{
	struct pollfd fds[] = {
	    {proof->sent_bytes < PROOF_BYTES ? proof->client : -1, POLLOUT, 0},
	    {proof->from_ended || proof->piped_bytes ? -1 : proof->from, POLLIN, 0},
	    {proof->piped_bytes ? proof->to : -1, POLLOUT, 0},
	    {proof->origin, POLLIN, 0},
	};
	int n = poll(fds, ARRAY_LEN(fds), PROOF_PATIENCE_MS);

	if (n == 0 || (n < 0 && errno != EINTR))
		proof->wrong = "it stands still";
}

static void proof_run(struct proof *proof)
{
	while (!proof->origin_ended && !proof->wrong) {
		bool moved = proof_send(proof);

		moved |= proof_splice(proof);
		moved |= proof_receive(proof);
		if (!moved && !proof->origin_ended && !proof->wrong)
			proof_wait(proof);
	}
	if (!proof->wrong && proof->received_bytes != PROOF_BYTES)
		proof->wrong = "its end came before the last byte";
}

static void proof_close(const struct proof *proof)
{
	const int fds[] = {proof->client, proof->from, proof->to, proof->origin};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	relay_pipe_give(proof->pipe, false);
}

void relay_pipe_prove(void)
{
	struct proof proof = {.client = -1, .from = -1, .to = -1, .origin = -1};

	pipe_refusal[0] = 0;
	proof.pipe = relay_pipe_take();
	/* Without loopback or descriptors nothing is known to be wrong. */
	if (proof.pipe && proof_connect(&proof.client, &proof.from) &&
	    proof_connect(&proof.to, &proof.origin))
		proof_run(&proof);
	if (proof.wrong)
		snprintf(pipe_refusal, sizeof(pipe_refusal), "the self-test of splice failed: %s",
			 proof.wrong);
	proof_close(&proof);
}
