// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The splice lane's fastest relay: what arrives on one socket is handed to the other inside the
 * kernel. Plain sockmap knows no back-pressure; here no more is handed over than the other socket
 * has room for, and the rest is left in the socket (SK_PASS), where the receive window closes as
 * usual and the daemon reads it. It does not end streams: the daemon sees FIN and RST.
 *
 * Order: bytes left to the daemon go before those that come after. So while the daemon has not
 * delivered what was left to it, everything is left to it. It, for its part, writes only when the
 * other socket has written all that was handed to it.
 */
#include "splice_maps.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The fields that are read of the kernel's own; placed by BTF. */
struct sock {
	int sk_wmem_queued;
	int sk_sndbuf;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 write_seq;
} __attribute__((preserve_access_index));

/*
 * Queued bytes count with the memory that holds them, which is at most about twice their size for
 * segments that are worth redirecting, and with a page where they are few.
 */
#define SPLICE_OVERHEAD_BYTES 4096

/*
 * Room for `len_bytes` more: within the window, and so that the kernel's writer does not find the
 * send buffer full. It would retry only a jiffy later, and what is left to the daemon would queue
 * behind.
 */
static __always_inline _Bool splice_peer_has_room(struct splice_dir *dir,
						  const struct tcp_sock *peer, __u32 len_bytes)
{
	__u32 write_seq = peer->write_seq;
	__u32 handed, written;
	__s64 memory;

	if (!dir->is_started) {
		dir->write_base = write_seq;
		dir->is_started = 1;
	}
	handed = (__u32)(dir->redirected_bytes + dir->passed_bytes);
	written = write_seq - dir->write_base;
	len_bytes += handed - written;
	memory = (__s64)peer->inet_conn.icsk_inet.sk.sk_wmem_queued + 2 * (__s64)len_bytes +
		 SPLICE_OVERHEAD_BYTES;
	return len_bytes <= dir->window_bytes &&
	       memory <= (__s64)peer->inet_conn.icsk_inet.sk.sk_sndbuf;
}

static __always_inline _Bool splice_may_redirect(struct splice_dir *dir, __u64 *cookie,
						 __u32 len_bytes)
{
	struct tcp_sock *peer;
	_Bool has_room = 0;
	void *sock;

	sock = bpf_map_lookup_elem(&splice_tgt, cookie);
	if (!sock)
		return 0;
	peer = bpf_skc_to_tcp_sock(sock);
	if (peer)
		has_room = splice_peer_has_room(dir, peer, len_bytes);
	bpf_sk_release(sock);
	return has_room && !dir->passes_all &&
	       *(volatile __u64 *)&dir->consumed_bytes == dir->passed_bytes;
}

/*
 * The daemon stores what it has consumed, then looks at what was passed; here it is the other way
 * round, and both have a full barrier between. So either it sees these bytes, or we see that it had
 * nothing left and has to be told.
 */
static __always_inline int splice_pass(struct splice_dir *dir, __u32 len_bytes)
{
	__u64 before = __sync_fetch_and_add(&dir->passed_bytes, (__u64)len_bytes);
	struct splice_event event = {.id = dir->id};
	__u32 ring_index = dir->ring;
	void *ring;

	if (*(volatile __u64 *)&dir->consumed_bytes != before)
		return SK_PASS;
	ring = bpf_map_lookup_elem(&splice_rings, &ring_index);
	if (ring)
		bpf_ringbuf_output(ring, &event, sizeof(event), 0); /* full: its timer sees it */
	return SK_PASS;
}

SEC("sk_skb/stream_verdict")
int splice_verdict(struct __sk_buff *skb)
{
	__u32 len_bytes = skb->len;
	struct splice_dir *dir;
	__u32 *found, index;
	__u64 cookie;

	/* A bare FIN. Redirected it would break the other socket's writer, and with it the other
	 * direction; there is nothing in it to lose. */
	if (!len_bytes)
		return SK_DROP;
	cookie = bpf_get_socket_cookie(skb);
	found = bpf_map_lookup_elem(&splice_ids, &cookie);
	if (!found)
		return SK_PASS;
	index = *found;
	dir = bpf_map_lookup_elem(&splice_dirs, &index);
	if (!dir)
		return SK_PASS;
	if (!splice_may_redirect(dir, &cookie, len_bytes))
		return splice_pass(dir, len_bytes);
	/* Counted before: the daemon must never see more written than was handed over. */
	dir->redirected_bytes += len_bytes;
	dir->segments++;
	dir->active_ns = bpf_ktime_get_coarse_ns();
	if (bpf_sk_redirect_hash(skb, &splice_tgt, &cookie, 0) == SK_PASS)
		return SK_PASS;
	dir->redirected_bytes -= len_bytes;
	return splice_pass(dir, len_bytes);
}
