/* SPDX-License-Identifier: Apache-2.0 */
/* The bundle in memory. How it travels is in bundle_wire.c. */
#include "bundle/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE_GROW_ENTRIES 32
#define BUNDLE_READ_BYTES 16384

struct bundle *bundle_new(uint64_t generation)
{
	struct bundle *bundle = calloc(1, sizeof(*bundle));

	if (bundle)
		bundle->generation = generation;
	return bundle;
}

void bundle_free(struct bundle *bundle)
{
	if (!bundle)
		return;
	for (size_t i = 0; i < bundle->n_entries; i++) {
		if (bundle->entries[i].fd >= 0)
			close(bundle->entries[i].fd);
		free(bundle->entries[i].name);
	}
	free(bundle->entries);
	free(bundle);
}

static int bundle_grow(struct bundle *bundle)
{
	struct bundle_entry *entries;

	if (bundle->n_entries >= BUNDLE_ENTRIES_MAX)
		return -E2BIG;
	if (bundle->n_entries % BUNDLE_GROW_ENTRIES)
		return 0;
	entries = reallocarray(bundle->entries, bundle->n_entries + BUNDLE_GROW_ENTRIES,
			       sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	bundle->entries = entries;
	return 0;
}

int bundle_add(struct bundle *bundle, enum bundle_kind kind, const char *name, uint32_t index,
	       int fd)
{
	char *copy = NULL;
	int err = strlen(name) > BUNDLE_NAME_MAX ? -ENAMETOOLONG : bundle_grow(bundle);

	if (err)
		goto fail;
	copy = strdup(name);
	err = -ENOMEM;
	if (!copy)
		goto fail;
	bundle->entries[bundle->n_entries++] =
	    (struct bundle_entry){.kind = kind, .index = index, .name = copy, .fd = fd};
	return 0;

fail:
	close(fd);
	return err;
}

static int bundle_write_all(int fd, const char *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = write(fd, data, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int bundle_add_data(struct bundle *bundle, enum bundle_kind kind, const char *name,
		    const void *data, size_t len_bytes)
{
	int fd = memfd_create("penstock", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	err = bundle_write_all(fd, data, len_bytes);
	if (!err &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return bundle_add(bundle, kind, name, 0, fd);
}

const struct bundle_entry *bundle_first(const struct bundle *bundle, enum bundle_kind kind)
{
	for (size_t i = 0; i < bundle->n_entries; i++)
		if (bundle->entries[i].kind == kind)
			return &bundle->entries[i];
	return NULL;
}

static struct bundle_entry *bundle_lookup(const struct bundle *bundle, enum bundle_kind kind,
					  const char *name, uint32_t index)
{
	for (size_t i = 0; i < bundle->n_entries; i++) {
		struct bundle_entry *entry = &bundle->entries[i];

		if (entry->kind == kind && entry->index == index && entry->fd >= 0 &&
		    strcmp(entry->name, name) == 0)
			return entry;
	}
	return NULL;
}

int bundle_find(const struct bundle *bundle, enum bundle_kind kind, const char *name,
		uint32_t index)
{
	const struct bundle_entry *entry = bundle_lookup(bundle, kind, name, index);

	return entry ? entry->fd : -ENOENT;
}

int bundle_take(struct bundle *bundle, enum bundle_kind kind, const char *name, uint32_t index)
{
	struct bundle_entry *entry = bundle_lookup(bundle, kind, name, index);
	int fd;

	if (!entry)
		return -ENOENT;
	fd = entry->fd;
	entry->fd = -1;
	return fd;
}

/* Makes room for one more read and the end mark; what would be past the limit by a byte is enough
 * to see it. */
static int bundle_make_room(char **data, size_t *room_bytes, size_t len_bytes)
{
	size_t wanted = len_bytes + BUNDLE_READ_BYTES + 1;
	char *grown;

	if (wanted <= *room_bytes)
		return 0;
	wanted = len_bytes * 2 + BUNDLE_READ_BYTES + 1;
	grown = realloc(*data, wanted);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*room_bytes = wanted;
	return 0;
}

int bundle_read(int fd, size_t max_bytes, char **ret_data, size_t *ret_len_bytes)
{
	size_t len = 0, room = 0;
	char *data = NULL;
	struct stat st;
	int err = fstat(fd, &st) ? -errno : 0;

	if (!err && !S_ISREG(st.st_mode))
		err = -EINVAL;
	while (!err) {
		ssize_t n;

		err = bundle_make_room(&data, &room, len);
		if (err)
			break;
		n = pread(fd, data + len, BUNDLE_READ_BYTES, (off_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break;
		}
		len += (size_t)n;
		if (len > max_bytes)
			err = -EFBIG;
	}
	if (err) {
		free(data);
		return err;
	}
	data[len] = 0;
	*ret_data = data;
	*ret_len_bytes = len;
	return 0;
}
