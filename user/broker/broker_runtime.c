/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime folder: a lock, so that it serves one broker only, and the two sockets that the CLI
 * talks to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker_internal.h"

#define RUNTIME_LOCK "lock"
#define RUNTIME_PATH_MAX 108 /* sun_path */

static const struct conf_mark nowhere = {0, 0};

static int runtime_path(char path[RUNTIME_PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(path, RUNTIME_PATH_MAX, "%s/%s", dir, name);

	return n < 0 || n >= RUNTIME_PATH_MAX ? -ENAMETOOLONG : 0;
}

static int runtime_fail(struct conf_diag *diag, const char *what, const char *path, int err)
{
	conf_diag_add(diag, nowhere, "cannot %s %s: %s%s", what, path, strerror(-err),
		      err == -EACCES || err == -EPERM || err == -ENOENT
			  ? "; give a folder of your own as runtime_dir, or start as root"
			  : "");
	return err;
}

static int runtime_make_dir(const char *dir, struct conf_diag *diag)
{
	struct stat st;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return runtime_fail(diag, "make the folder", dir, -errno);
	if (stat(dir, &st))
		return runtime_fail(diag, "look at", dir, -errno);
	return S_ISDIR(st.st_mode) ? 0 : runtime_fail(diag, "use", dir, -ENOTDIR);
}

static void runtime_tell_owner(int lock_fd, const char *dir, struct conf_diag *diag)
{
	char pid[16] = "";
	ssize_t n = pread(lock_fd, pid, sizeof(pid) - 1, 0);

	if (n > 0)
		pid[strcspn(pid, "\n")] = 0;
	conf_diag_add(
	    diag, nowhere,
	    "another penstock (pid %s) runs with the runtime folder %s; `penstock reload` gives it "
	    "a new configuration, and runtime_dir keeps two apart",
	    n > 0 ? pid : "unknown", dir);
}

static int runtime_lock(struct runtime *runtime, struct conf_diag *diag)
{
	char path[RUNTIME_PATH_MAX];
	int err = runtime_path(path, runtime->dir, RUNTIME_LOCK);

	if (err)
		return runtime_fail(diag, "use", runtime->dir, err);
	runtime->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (runtime->lock_fd < 0)
		return runtime_fail(diag, "open", path, -errno);
	if (flock(runtime->lock_fd, LOCK_EX | LOCK_NB)) {
		runtime_tell_owner(runtime->lock_fd, runtime->dir, diag);
		return -EBUSY;
	}
	if (ftruncate(runtime->lock_fd, 0) || dprintf(runtime->lock_fd, "%d\n", getpid()) < 0)
		return runtime_fail(diag, "write", path, -errno);
	return 0;
}

/* We hold the lock: whoever still listens there is the draining worker of a broker that is gone. */
static void runtime_remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
}

static int runtime_listen(const struct runtime *runtime, const char *name, mode_t mode,
			  struct conf_diag *diag)
{
	char path[RUNTIME_PATH_MAX];
	int fd = runtime_path(path, runtime->dir, name);

	if (fd)
		return runtime_fail(diag, "use", runtime->dir, fd);
	runtime_remove_stale(path);
	fd = listen_unix(path, mode);
	return fd < 0 ? runtime_fail(diag, "listen at", path, fd) : fd;
}

int runtime_open(struct runtime *runtime, const char *dir, struct conf_diag *diag)
{
	int err = runtime_make_dir(dir, diag);

	if (err)
		return err;
	*runtime = (struct runtime){.lock_fd = -1, .admin_fd = -1, .control_fd = -1};
	runtime->dir = strdup(dir);
	if (!runtime->dir)
		return runtime_fail(diag, "use", dir, -ENOMEM);
	err = runtime_lock(runtime, diag);
	if (err)
		goto fail;
	err = runtime->admin_fd = runtime_listen(runtime, BROKER_ADMIN_SOCKET, 0660, diag);
	if (err < 0)
		goto fail;
	err = runtime->control_fd = runtime_listen(runtime, BROKER_CONTROL_SOCKET, 0600, diag);
	if (err < 0)
		goto fail;
	return 0;

fail:
	runtime_close(runtime);
	return err;
}

static void runtime_remove(const struct runtime *runtime, int fd, const char *name)
{
	char path[RUNTIME_PATH_MAX];

	if (fd < 0)
		return;
	close(fd);
	if (!runtime_path(path, runtime->dir, name))
		unlink(path);
}

/* The lock file stays: removing it would let two brokers lock two files of one name. */
void runtime_close(struct runtime *runtime)
{
	if (!runtime->dir)
		return;
	runtime_remove(runtime, runtime->admin_fd, BROKER_ADMIN_SOCKET);
	runtime_remove(runtime, runtime->control_fd, BROKER_CONTROL_SOCKET);
	if (runtime->lock_fd >= 0)
		close(runtime->lock_fd);
	free(runtime->dir);
	*runtime = (struct runtime){.lock_fd = -1, .admin_fd = -1, .control_fd = -1};
}
