/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bundles and replies travel: a head packet, then packets of some entries each, their names in
 * the data and their descriptors in one SCM_RIGHTS message. Both ends are the same binary, so
 * integers are in host order; still every length and count is checked, since the reply comes from a
 * process that may have been taken over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bundle/bundle.h"

#define WIRE_BUNDLE_MAGIC 0x50734231u /* "PsB1" */
#define WIRE_REPLY_MAGIC 0x50735231u /* "PsR1" */
/* Below the kernel's SCM_MAX_FD (253, net/scm.h). */
#define WIRE_PACKET_FDS 64

struct wire_head {
	uint32_t magic;
	uint32_t message; /* enum bundle_message */
	uint64_t generation;
	uint64_t n_entries;
};

struct wire_entry {
	uint32_t kind;
	uint32_t index;
	uint32_t name_len;
};

struct wire_reply {
	uint32_t magic;
	uint32_t taken;
	uint64_t generation;
	uint64_t text_len;
};

#define WIRE_PACKET_BYTES (WIRE_PACKET_FDS * (sizeof(struct wire_entry) + BUNDLE_NAME_MAX))

struct wire_packet {
	size_t len_bytes;
	size_t n_fds;
	int fds[WIRE_PACKET_FDS];
	char data[WIRE_PACKET_BYTES];
};

union wire_control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * WIRE_PACKET_FDS)];
};

static int wire_send(int socket_fd, const void *data, size_t len_bytes, const int *fds,
		     size_t n_fds)
{
	union wire_control control = {0};
	struct iovec part = {.iov_base = (void *)data, .iov_len = len_bytes};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *rights = &control.align;

		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return (size_t)n == len_bytes ? 0 : -EIO;
}

static void wire_close_fds(struct wire_packet *packet, size_t first)
{
	for (size_t i = first; i < packet->n_fds; i++)
		close(packet->fds[i]);
	packet->n_fds = 0;
}

/* Takes every descriptor that came, so that none is lost whatever else is wrong. */
static void wire_take_fds(struct msghdr *message, struct wire_packet *packet)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n_fds && packet->n_fds < WIRE_PACKET_FDS; i++)
			memcpy(&packet->fds[packet->n_fds++], CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
	}
}

/* One packet, whole. On success its descriptors are the caller's. */
static int wire_recv(int socket_fd, struct wire_packet *packet)
{
	union wire_control control;
	struct iovec part = {.iov_base = packet->data, .iov_len = sizeof(packet->data)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t n;

	packet->n_fds = 0;
	do
		n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	wire_take_fds(&message, packet);
	packet->len_bytes = (size_t)n;
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		wire_close_fds(packet, 0);
		return -EPROTO;
	}
	/* SOCK_SEQPACKET tells an empty packet and the end apart in no way; we never send an empty
	 * one. */
	if (n == 0 && packet->n_fds == 0)
		return -EPIPE;
	return 0;
}

/* Bytes that the entry takes in a packet. */
static size_t wire_entry_size(const struct bundle_entry *entry)
{
	return sizeof(struct wire_entry) + strlen(entry->name);
}

static void wire_put_entry(struct wire_packet *packet, const struct bundle_entry *entry)
{
	struct wire_entry wire = {
	    .kind = entry->kind, .index = entry->index, .name_len = (uint32_t)strlen(entry->name)};

	memcpy(packet->data + packet->len_bytes, &wire, sizeof(wire));
	memcpy(packet->data + packet->len_bytes + sizeof(wire), entry->name, wire.name_len);
	packet->len_bytes += wire_entry_size(entry);
	packet->fds[packet->n_fds++] = entry->fd;
}

static int wire_send_entries(int socket_fd, const struct bundle *bundle, struct wire_packet *packet)
{
	size_t next = 0;

	while (next < bundle->n_entries) {
		int err;

		packet->len_bytes = 0;
		packet->n_fds = 0;
		while (next < bundle->n_entries && packet->n_fds < WIRE_PACKET_FDS)
			wire_put_entry(packet, &bundle->entries[next++]);
		err = wire_send(socket_fd, packet->data, packet->len_bytes, packet->fds,
				packet->n_fds);
		if (err)
			return err;
	}
	return 0;
}

static int wire_send_bundle(int socket_fd, enum bundle_message message, const struct bundle *bundle)
{
	struct wire_head head = {.magic = WIRE_BUNDLE_MAGIC,
				 .message = message,
				 .generation = bundle->generation,
				 .n_entries = bundle->n_entries};
	struct wire_packet *packet = malloc(sizeof(*packet));
	int err = -ENOMEM;

	if (packet)
		err = wire_send(socket_fd, &head, sizeof(head), NULL, 0);
	if (!err)
		err = wire_send_entries(socket_fd, bundle, packet);
	free(packet);
	return err;
}

int bundle_send(int socket_fd, const struct bundle *bundle)
{
	return wire_send_bundle(socket_fd, BUNDLE_MESSAGE_BUNDLE, bundle);
}

int bundle_send_names(int socket_fd, const struct bundle *bundle)
{
	return wire_send_bundle(socket_fd, BUNDLE_MESSAGE_NAMES, bundle);
}

int bundle_send_drain(int socket_fd)
{
	struct wire_head head = {.magic = WIRE_BUNDLE_MAGIC, .message = BUNDLE_MESSAGE_DRAIN};

	return wire_send(socket_fd, &head, sizeof(head), NULL, 0);
}

/* Cuts one entry off `data`. 0 or -EPROTO. */
static int wire_parse_entry(const char **data, size_t *len_bytes, struct wire_entry *ret_entry,
			    char name[BUNDLE_NAME_MAX + 1])
{
	if (*len_bytes < sizeof(*ret_entry))
		return -EPROTO;
	memcpy(ret_entry, *data, sizeof(*ret_entry));
	*data += sizeof(*ret_entry);
	*len_bytes -= sizeof(*ret_entry);
	if (ret_entry->kind >= BUNDLE_KIND_MAX || ret_entry->name_len > BUNDLE_NAME_MAX ||
	    ret_entry->name_len > *len_bytes || memchr(*data, 0, ret_entry->name_len))
		return -EPROTO;
	memcpy(name, *data, ret_entry->name_len);
	name[ret_entry->name_len] = 0;
	*data += ret_entry->name_len;
	*len_bytes -= ret_entry->name_len;
	return 0;
}

/* Moves the entries of a packet with their descriptors, one each, to the bundle. */
static int wire_add_entries(struct bundle *bundle, struct wire_packet *packet)
{
	const char *data = packet->data;
	size_t len_bytes = packet->len_bytes, used = 0;
	char name[BUNDLE_NAME_MAX + 1];
	int err = packet->n_fds ? 0 : -EPROTO;

	while (!err && used < packet->n_fds) {
		struct wire_entry entry;

		err = wire_parse_entry(&data, &len_bytes, &entry, name);
		if (err)
			break;
		err = bundle_add(bundle, (enum bundle_kind)entry.kind, name, entry.index,
				 packet->fds[used++]);
	}
	if (!err && len_bytes)
		err = -EPROTO;
	wire_close_fds(packet, used);
	return err;
}

static int wire_recv_entries(int socket_fd, struct wire_packet *packet, uint64_t n_entries,
			     struct bundle *bundle)
{
	while (bundle->n_entries < n_entries) {
		int err = wire_recv(socket_fd, packet);

		if (err)
			return err;
		err = wire_add_entries(bundle, packet);
		if (err)
			return err;
	}
	return bundle->n_entries == n_entries ? 0 : -EPROTO;
}

static int wire_parse_head(struct wire_packet *packet, struct wire_head *ret_head)
{
	bool may_hold;

	if (packet->n_fds || packet->len_bytes != sizeof(*ret_head)) {
		wire_close_fds(packet, 0);
		return -EPROTO;
	}
	memcpy(ret_head, packet->data, sizeof(*ret_head));
	may_hold = ret_head->message != BUNDLE_MESSAGE_DRAIN;
	if (ret_head->magic != WIRE_BUNDLE_MAGIC || ret_head->message >= BUNDLE_MESSAGE_MAX ||
	    ret_head->n_entries > BUNDLE_ENTRIES_MAX || (!may_hold && ret_head->n_entries))
		return -EPROTO;
	return 0;
}

static int wire_recv_bundle(int socket_fd, struct wire_packet *packet, const struct wire_head *head,
			    struct bundle **ret_bundle)
{
	struct bundle *bundle = bundle_new(head->generation);
	int err;

	if (!bundle)
		return -ENOMEM;
	err = wire_recv_entries(socket_fd, packet, head->n_entries, bundle);
	if (err) {
		bundle_free(bundle);
		return err;
	}
	*ret_bundle = bundle;
	return 0;
}

int bundle_recv(int socket_fd, enum bundle_message *ret_message, struct bundle **ret_bundle)
{
	struct wire_packet *packet = malloc(sizeof(*packet));
	struct bundle *bundle = NULL;
	struct wire_head head;
	int err = packet ? wire_recv(socket_fd, packet) : -ENOMEM;

	if (!err)
		err = wire_parse_head(packet, &head);
	if (!err && head.message != BUNDLE_MESSAGE_DRAIN)
		err = wire_recv_bundle(socket_fd, packet, &head, &bundle);
	free(packet);
	if (err)
		return err;
	*ret_message = (enum bundle_message)head.message;
	*ret_bundle = bundle;
	return 0;
}

int bundle_reply_send(int socket_fd, const struct bundle_reply *reply)
{
	char data[sizeof(struct wire_reply) + BUNDLE_REPLY_MAX];
	struct wire_reply wire = {.magic = WIRE_REPLY_MAGIC,
				  .taken = reply->taken,
				  .generation = reply->generation,
				  .text_len = strnlen(reply->text, BUNDLE_REPLY_MAX - 1)};

	memcpy(data, &wire, sizeof(wire));
	memcpy(data + sizeof(wire), reply->text, wire.text_len);
	return wire_send(socket_fd, data, sizeof(wire) + wire.text_len, NULL, 0);
}

/* The text ends up on terminals: nothing in it may steer one. */
static void wire_copy_text(char *to, const char *from, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++) {
		unsigned char c = (unsigned char)from[i];

		to[i] = (c < 0x20 && c != '\n') || c == 0x7f ? '?' : from[i];
	}
	to[len_bytes] = 0;
}

static int wire_parse_reply(const char *data, size_t len_bytes, struct bundle_reply *ret_reply)
{
	struct wire_reply wire;

	if (len_bytes < sizeof(wire))
		return -EPROTO;
	memcpy(&wire, data, sizeof(wire));
	if (wire.magic != WIRE_REPLY_MAGIC || wire.taken > 1 || wire.text_len >= BUNDLE_REPLY_MAX ||
	    wire.text_len != len_bytes - sizeof(wire))
		return -EPROTO;
	ret_reply->generation = wire.generation;
	ret_reply->taken = wire.taken;
	wire_copy_text(ret_reply->text, data + sizeof(wire), wire.text_len);
	return 0;
}

int bundle_reply_recv(int socket_fd, struct bundle_reply *ret_reply)
{
	char data[sizeof(struct wire_reply) + BUNDLE_REPLY_MAX];
	struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
	/* No room for control data: descriptors that somebody may send along are dropped by the
	 * kernel. */
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EPROTO;
	return wire_parse_reply(data, (size_t)n, ret_reply);
}
