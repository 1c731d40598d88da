/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker hands to the worker over one SOCK_SEQPACKET pair: a generation number and named
 * descriptors. The worker answers each bundle that is a configuration with one reply. Nothing else
 * goes from the worker to the broker.
 */
#ifndef PENSTOCK_BUNDLE_BUNDLE_H
#define PENSTOCK_BUNDLE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Bytes of a name without its end; entries of one bundle. */
#define BUNDLE_NAME_MAX 1024
#define BUNDLE_ENTRIES_MAX 16384
#define BUNDLE_REPLY_MAX 8192

enum bundle_kind {
	BUNDLE_CONFIG, /* the YAML text; the name is the file's, for diagnostics */
	BUNDLE_FILE, /* a file that the configuration names, by its path */
	BUNDLE_LISTENER, /* a listening TCP or UNIX socket, by its bind text; index: the thread */
	BUNDLE_MAP, /* a pinned BPF map, by its name */
	BUNDLE_ADMIN, /* the listening admin socket */
	BUNDLE_PLANE, /* JSON text: how and why the steer programs are attached */
	BUNDLE_LOG, /* a file that is written to, at its end, by its path */
	BUNDLE_KIND_MAX
};

struct bundle_entry {
	enum bundle_kind kind;
	uint32_t index;
	char *name;
	int fd;
};

struct bundle {
	uint64_t generation;
	struct bundle_entry *entries;
	size_t n_entries;
};

/* Each a BUNDLE_FILE that comes where a server is a host name, if the host has it. */
#define BUNDLE_HOSTS_PATH "/etc/hosts"
#define BUNDLE_RESOLV_PATH "/etc/resolv.conf"

enum bundle_message {
	BUNDLE_MESSAGE_BUNDLE,
	BUNDLE_MESSAGE_DRAIN,
	BUNDLE_MESSAGE_NAMES, /* with the two files above alone, as they are now; not answered */
	BUNDLE_MESSAGE_MAX
};

struct bundle *bundle_new(uint64_t generation) MUST_CHECK;

/* Closes the descriptors that it still holds. Takes NULL. */
void bundle_free(struct bundle *bundle);

/* The bundle owns `fd` from now on, also on failure. 0, -ENOMEM, -ENAMETOOLONG, -E2BIG. */
int bundle_add(struct bundle *bundle, enum bundle_kind kind, const char *name, uint32_t index,
	       int fd) MUST_CHECK;

/* As bundle_add() with a sealed memory file that holds `data`. */
int bundle_add_data(struct bundle *bundle, enum bundle_kind kind, const char *name,
		    const void *data, size_t len_bytes) MUST_CHECK;

/* The first entry of that kind; NULL. */
const struct bundle_entry *bundle_first(const struct bundle *bundle, enum bundle_kind kind);

/* The descriptor, still the bundle's; -ENOENT. */
int bundle_find(const struct bundle *bundle, enum bundle_kind kind, const char *name,
		uint32_t index);

/* As bundle_find(), and the caller's from now on. */
int bundle_take(struct bundle *bundle, enum bundle_kind kind, const char *name,
		uint32_t index) MUST_CHECK;

/* All of a memory or regular file, from its start whatever its offset. `ret_data` is malloc()ed and
 * terminated. 0, -EFBIG past `max_bytes`, -EINVAL where it is no such file, -errno. */
int bundle_read(int fd, size_t max_bytes, char **ret_data, size_t *ret_len_bytes) MUST_CHECK;

/* Blocking. 0 or -errno. */
int bundle_send(int socket_fd, const struct bundle *bundle) MUST_CHECK;
int bundle_send_names(int socket_fd, const struct bundle *bundle) MUST_CHECK;
/* The second time it means: end at once. */
int bundle_send_drain(int socket_fd) MUST_CHECK;

/* Waits for one whole message; every field is checked. `ret_bundle` is set for
 * BUNDLE_MESSAGE_BUNDLE and BUNDLE_MESSAGE_NAMES, else NULL. 0, -EPIPE where the other side is
 * gone, -EPROTO, -errno. After a failure the socket is of no more use. */
int bundle_recv(int socket_fd, enum bundle_message *ret_message,
		struct bundle **ret_bundle) MUST_CHECK;

struct bundle_reply {
	uint64_t generation;
	bool taken;
	char text[BUNDLE_REPLY_MAX]; /* why it was refused, or warnings; terminated; cut where it is
					too long */
};

int bundle_reply_send(int socket_fd, const struct bundle_reply *reply) MUST_CHECK;

/* One reply, as bundle_recv(). Control characters in the text, but for the end of a line, come out
 * as '?'. */
int bundle_reply_recv(int socket_fd, struct bundle_reply *ret_reply) MUST_CHECK;

#endif
