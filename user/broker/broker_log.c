/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the worker appends to and cannot open: key logs. Nobody but root may read them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker_internal.h"

#define LOG_MODE 0600

/* A regular file of ours, which no link makes another. The descriptor or -errno. */
static int log_open(const char *path)
{
	int fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK,
	    LOG_MODE);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1 || fchmod(fd, LOG_MODE)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int broker_open_logs(const struct conf *conf, struct bundle *bundle, struct conf_diag *diag)
{
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_server_tls *tls = conf->listeners[i].tls;
		const struct conf_file *file = tls ? &tls->key_log : NULL;
		int fd, err;

		if (!file || !file->path || bundle_find(bundle, BUNDLE_LOG, file->path, 0) >= 0)
			continue;
		fd = log_open(file->path);
		err = fd < 0 ? fd : bundle_add(bundle, BUNDLE_LOG, file->path, 0, fd);
		if (!err)
			continue;
		conf_diag_add(diag, file->mark, "cannot append to \"%s\": %s", file->path,
			      err == -EINVAL ? "not a plain file of its own" : strerror(-err));
		return err;
	}
	return 0;
}
