/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when a file that the configuration names has changed: certificates, keys, authorities,
 * staples. Folders are watched, since files are mostly replaced by renaming another over them, or
 * by a link that points elsewhere; any event in one of them only means that all files are looked
 * at. What is above them is watched too, since folders are replaced in the same ways.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker_internal.h"

/* A certificate and its key are two files: what comes within this time is taken at once. */
#define WATCH_SETTLE_MS 500

#define WATCH_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR)

/* What tells one state of a file from another. */
struct file_state {
	dev_t device;
	ino_t inode;
	off_t len_bytes;
	struct timespec modified;
};

struct watched_file {
	char *path;
	struct file_state state; /* as it was last taken, or tried; zero: it could not be read */
};

struct file_watch {
	struct loop *loop;
	struct watch watch; /* fd -1: nothing is watched */
	struct timer settle_timer;
	struct watched_file *files;
	size_t n_files;
	void (*on_change)(void *argument, const char *path);
	void *argument;
};

static struct file_state watch_state(const struct stat *st)
{
	return (struct file_state){.device = st->st_dev,
				   .inode = st->st_ino,
				   .len_bytes = st->st_size,
				   .modified = st->st_mtim};
}

static bool watch_state_is_equal(const struct file_state *a, const struct file_state *b)
{
	return a->device == b->device && a->inode == b->inode && a->len_bytes == b->len_bytes &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec;
}

/* Notes the states as they are now; the first file that was another, or NULL. */
static const char *watch_find_change(struct file_watch *watch)
{
	const char *changed = NULL;

	for (size_t i = 0; i < watch->n_files; i++) {
		struct watched_file *file = &watch->files[i];
		struct file_state state = {.device = 0};
		struct stat st;

		if (!stat(file->path, &st))
			state = watch_state(&st);
		if (!changed && !watch_state_is_equal(&state, &file->state))
			changed = file->path;
		file->state = state;
	}
	return changed;
}

/* All folders on the way: any of them may be renamed, made anew, or a link that is turned. */
static int watch_add_way(struct file_watch *watch, const char *path)
{
	char name[PATH_MAX], *folder = name;
	int err = 0;

	if (strlen(path) >= sizeof(name))
		return -ENAMETOOLONG;
	snprintf(name, sizeof(name), "%s", path);
	do {
		folder = dirname(folder);
		if (inotify_add_watch(watch->watch.fd, folder, WATCH_EVENTS) < 0 && !err)
			err = -errno;
	} while (strcmp(folder, "/") != 0 && strcmp(folder, ".") != 0);
	return err;
}

/* The way by which the name is, and the one to the file that it leads to. */
static int watch_add_folders(struct file_watch *watch, const char *path)
{
	char real[PATH_MAX];
	int err = watch_add_way(watch, path), real_err = 0;

	/* One that is mounted over the name, as containers have them, is in a folder elsewhere. */
	if (inotify_add_watch(watch->watch.fd, path, IN_CLOSE_WRITE) < 0 && errno == ENOSPC)
		err = -ENOSPC;
	if (realpath(path, real))
		real_err = watch_add_way(watch, real);
	return real_err ? real_err : err;
}

/* Folders that were made since are other ones; those that are watched already stay so. What cannot
 * be watched now has a folder above that tells when it can. */
static void watch_renew_folders(struct file_watch *watch)
{
	for (size_t i = 0; i < watch->n_files; i++) {
		int err = watch_add_folders(watch, watch->files[i].path);

		(void)err;
	}
}

static void watch_on_settled(struct timer *timer)
{
	struct file_watch *watch = container_of(timer, struct file_watch, settle_timer);
	const char *changed;

	watch_renew_folders(watch); /* first: what changes behind the look has an event */
	changed = watch_find_change(watch);

	if (changed)
		watch->on_change(watch->argument, changed);
}

/* What the events say does not matter. A timer that runs is left alone: a folder in which something
 * happens all the time must not put it off for ever. */
static void watch_on_event(struct watch *inotify, uint32_t events UNUSED)
{
	struct file_watch *watch = container_of(inotify, struct file_watch, watch);
	char buffer[4096];

	while (read(inotify->fd, buffer, sizeof(buffer)) > 0)
		;
	if (!timer_is_armed(&watch->settle_timer))
		loop_timer_arm(watch->loop, &watch->settle_timer, WATCH_SETTLE_MS);
}

struct file_watch *file_watch_new(struct loop *loop,
				  void (*on_change)(void *argument, const char *path),
				  void *argument)
{
	struct file_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	*watch = (struct file_watch){
	    .loop = loop, .watch.fd = -1, .on_change = on_change, .argument = argument};
	timer_init(&watch->settle_timer, watch_on_settled);
	return watch;
}

void file_watch_clear(struct file_watch *watch)
{
	timer_cancel(&watch->settle_timer);
	if (watch->watch.fd >= 0) {
		loop_unwatch(watch->loop, &watch->watch);
		close(watch->watch.fd);
		watch->watch.fd = -1;
	}
	for (size_t i = 0; i < watch->n_files; i++)
		free(watch->files[i].path);
	free(watch->files);
	watch->files = NULL;
	watch->n_files = 0;
}

void file_watch_free(struct file_watch *watch)
{
	if (!watch)
		return;
	file_watch_clear(watch);
	free(watch);
}

/* `fd`: as it was taken; negative: there was none. */
static int watch_add(struct file_watch *watch, const char *path, int fd)
{
	struct watched_file *file = &watch->files[watch->n_files];
	struct stat st;

	file->path = strdup(path);
	if (!file->path)
		return -ENOMEM;
	watch->n_files++;
	if (fd >= 0 && !fstat(fd, &st))
		file->state = watch_state(&st);
	return watch_add_folders(watch, path);
}

static int watch_open(struct file_watch *watch, size_t n_files_max)
{
	watch->files = calloc(n_files_max + 1, sizeof(*watch->files));
	if (!watch->files)
		return -ENOMEM;
	watch->watch = (struct watch){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
				      .on_event = watch_on_event};
	if (watch->watch.fd < 0)
		return -errno;
	return loop_watch(watch->loop, &watch->watch, EPOLLIN);
}

static int watch_finish(struct file_watch *watch, int err)
{
	if (err) {
		file_watch_clear(watch);
		return err;
	}
	/* What changed since it was opened has no event any more. */
	loop_timer_arm(watch->loop, &watch->settle_timer, WATCH_SETTLE_MS);
	return 0;
}

int file_watch_set(struct file_watch *watch, const struct bundle *bundle)
{
	int err;

	file_watch_clear(watch);
	err = watch_open(watch, bundle->n_entries);
	for (size_t i = 0; i < bundle->n_entries && !err; i++)
		if (bundle->entries[i].kind == BUNDLE_FILE)
			err = watch_add(watch, bundle->entries[i].name, bundle->entries[i].fd);
	return watch_finish(watch, err);
}

int file_watch_set_paths(struct file_watch *watch, const struct bundle *bundle,
			 const char *const *paths, size_t n_paths)
{
	int err;

	file_watch_clear(watch);
	err = watch_open(watch, n_paths);
	for (size_t i = 0; i < n_paths && !err; i++)
		err = watch_add(watch, paths[i], bundle_find(bundle, BUNDLE_FILE, paths[i], 0));
	return watch_finish(watch, err);
}
