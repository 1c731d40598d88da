/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte accounts of a stream in the sockmap: what its sockets say that they took and wrote, and
 * what the program says that it handed over or left. Moves no bytes.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "stats/stats.h"

/* How often a count is read again when it moves meanwhile. */
#define SOCKMAP_READ_TRIES 16

/* ---- what a socket says of itself ---- */

static int socket_info(int fd, struct tcp_info *ret_info)
{
	socklen_t len = sizeof(*ret_info);

	memset(ret_info, 0, sizeof(*ret_info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret_info, &len) ? -errno : 0;
}

int sockmap_socket_written(int fd, bool is_exact, uint64_t *ret_bytes)
{
	struct tcp_info before, after;
	int queued_bytes;
	int err = socket_info(fd, &before);

	for (int i = 0; i < SOCKMAP_READ_TRIES && !err; i++) {
		if (ioctl(fd, SIOCOUTQ, &queued_bytes))
			return -errno;
		*ret_bytes = before.tcpi_bytes_acked + (uint64_t)queued_bytes;
		if (!is_exact)
			return 0;
		err = socket_info(fd, &after);
		if (!err && after.tcpi_bytes_acked == before.tcpi_bytes_acked)
			return 0;
		before = after;
	}
	return err ? err : -EAGAIN;
}

int sockmap_socket_taken(int fd, uint64_t *ret_taken_bytes, int *ret_unread_bytes)
{
	struct tcp_info before, after;
	int err = socket_info(fd, &before);

	for (int i = 0; i < SOCKMAP_READ_TRIES && !err; i++) {
		if (ioctl(fd, SIOCINQ, ret_unread_bytes))
			return -errno;
		err = socket_info(fd, &after);
		if (!err && after.tcpi_bytes_received == before.tcpi_bytes_received) {
			*ret_taken_bytes = after.tcpi_bytes_received - (uint64_t)*ret_unread_bytes;
			return 0;
		}
		before = after;
	}
	return err ? err : -EAGAIN;
}

int sockmap_socket_received_all(int fd, uint64_t *ret_bytes)
{
	struct tcp_info info;
	int err = socket_info(fd, &info);

	if (err)
		return err;
	switch (info.tcpi_state) {
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_CLOSING:
	case BPF_TCP_TIME_WAIT:
	case BPF_TCP_CLOSE:
		*ret_bytes = info.tcpi_bytes_received - 1; /* it counts the FIN */
		return 0;
	default:
		return -EAGAIN;
	}
}

int sockmap_socket_error(const struct io *io)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(io->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -errno;
	return error ? -error : -ECONNRESET;
}

const char *sockmap_socket_why_not(const struct io *io)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	if (!io_is_plain(io) || getsockopt(io->watch.fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len))
		protocol = 0;
	if (protocol == IPPROTO_MPTCP)
		return "MPTCP cannot be in a sockmap";
	return protocol == IPPROTO_TCP ? NULL : "only plain TCP can be in a sockmap";
}

/* ---- what the program and we say to each other ---- */

uint64_t carried_passed(const struct relay_carried *carried)
{
	return atomic_load((const _Atomic uint64_t *)&carried->shared->passed_bytes);
}

uint64_t carried_redirected(const struct relay_carried *carried)
{
	return atomic_load((const _Atomic uint64_t *)&carried->shared->redirected_bytes);
}

void carried_publish(struct relay_carried *carried)
{
	atomic_store((_Atomic uint64_t *)&carried->shared->consumed_bytes, carried->read_bytes);
	carried->is_flushed = false;
}

bool carried_is_idle(const struct relay_dir *dir)
{
	return dir->kept_len == 0 && carried_passed(dir->carried) == dir->carried->read_bytes;
}

int carried_written(const struct relay_dir *dir, bool is_exact, uint64_t *ret_bytes)
{
	uint64_t base_bytes = dir->carried->to_base;
	int err = sockmap_socket_written(dir->to->watch.fd, is_exact, ret_bytes);

	/* An inexact count may be smaller than the base. */
	*ret_bytes -= MIN(*ret_bytes, base_bytes);
	return err;
}

int carried_flush(struct relay_dir *dir)
{
	struct relay_carried *carried = dir->carried;
	uint64_t handed_bytes = carried_redirected(carried) + carried->sent_bytes;
	uint64_t written_bytes = 0;
	int err;

	if (carried->is_flushed)
		return 0;
	err = carried_written(dir, false, &written_bytes);
	if (err)
		return err;
	if (written_bytes < handed_bytes)
		return -EAGAIN;
	carried->is_flushed = !carried_is_idle(dir); /* idle, the program may hand over more */
	return 0;
}

/* An inexact count may be smaller than one that came before it. */
void carried_note_written(struct relay_dir *dir, uint64_t written_bytes)
{
	struct relay_carried *carried = dir->carried;
	uint64_t by_kernel;

	if (written_bytes < carried->written_bytes)
		return;
	carried->written_bytes = written_bytes;
	dir->delivered_bytes = carried->delivered_base + written_bytes;
	by_kernel = written_bytes - MIN(written_bytes, carried->sent_bytes);
	if (by_kernel <= carried->counted_bytes)
		return;
	stats_add(STAT_RELAY_SOCKMAP_BYTES, (int64_t)(by_kernel - carried->counted_bytes));
	carried->counted_bytes = by_kernel;
}

void carried_count(struct relay_dir *dir)
{
	struct relay_carried *carried = dir->carried;
	uint64_t written_bytes = 0;

	if (dir->from_ended) /* its counts are final, and our FIN would count as a byte */
		return;
	dir->received_bytes =
	    carried->received_base + carried_redirected(carried) + carried->read_bytes;
	if (carried_written(dir, false, &written_bytes) == 0)
		carried_note_written(dir, written_bytes);
}

int carried_missing(const struct relay_dir *dir, uint64_t *ret_bytes)
{
	const struct relay_carried *carried = dir->carried;
	struct tcp_info info;
	uint64_t received_bytes, seen_bytes;
	int err = socket_info(dir->from->watch.fd, &info);

	if (err)
		return err;
	received_bytes = info.tcpi_bytes_received - carried->from_base;
	if (sockmap_socket_received_all(dir->from->watch.fd, &received_bytes) == 0)
		received_bytes -= carried->from_base;
	seen_bytes = carried_redirected(carried) + carried_passed(carried);
	*ret_bytes = received_bytes > seen_bytes ? received_bytes - seen_bytes : 0;
	return 0;
}

void carried_kick(const struct relay_dir *dir)
{
	relay_set_low_water(dir->from->watch.fd, 1);
}
