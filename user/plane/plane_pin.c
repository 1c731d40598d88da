/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of pins. A pin is made beside its place and renamed into it, so no name ever holds
 * something half done.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "plane/plane_internal.h"

#define PIN_MOUNT_POINT "/sys/fs/bpf"
#define PIN_NEW "new_" /* before the name, until it is in place */

static void swap_characters(char *text, char from, char to)
{
	for (; *text; text++)
		if (*text == from)
			*text = to;
}

int pin_path(char path[PATH_MAX], const char *pin_dir, const char *prefix, const char *name)
{
	int len = snprintf(path, PATH_MAX, "%s/%s%s", pin_dir, prefix, name);

	if (len < 0 || len >= PATH_MAX)
		return -ENAMETOOLONG;
	swap_characters(path + strlen(pin_dir), '.', ':');
	return 0;
}

bool pin_device(const char *pin_name, const char *prefix, char ret_device[IF_NAMESIZE])
{
	size_t prefix_len = strlen(prefix);

	if (strncmp(pin_name, prefix, prefix_len) != 0 ||
	    strlen(pin_name) - prefix_len >= IF_NAMESIZE)
		return false;
	snprintf(ret_device, IF_NAMESIZE, "%s", pin_name + prefix_len);
	swap_characters(ret_device, ':', '.');
	return true;
}

static bool is_bpf_fs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

/* Each missing folder on the way. 0 or -errno. */
static int make_folders(const char *pin_dir)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", pin_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *at = path + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

static int unpin_unfinished(void *argument, const char *name)
{
	const char *pin_dir = *(const char **)argument;
	char path[PATH_MAX];

	if (strncmp(name, PIN_NEW, strlen(PIN_NEW)) == 0 && !pin_path(path, pin_dir, "", name))
		unlink(path);
	return 0;
}

int pin_dir_prepare(const char *pin_dir, struct plane_error *error)
{
	bool is_below_mount_point =
	    strncmp(pin_dir, PIN_MOUNT_POINT "/", strlen(PIN_MOUNT_POINT) + 1) == 0;
	int err;

	if (is_below_mount_point && !is_bpf_fs(PIN_MOUNT_POINT) &&
	    mount("bpf", PIN_MOUNT_POINT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return plane_fail(error, -errno, "cannot mount the BPF file system at %s: %s",
				  PIN_MOUNT_POINT, strerror(errno));
	if (!is_below_mount_point && !is_bpf_fs(pin_dir)) {
		char parent[PATH_MAX];
		char *slash;

		snprintf(parent, sizeof(parent), "%s", pin_dir);
		slash = strrchr(parent, '/');
		if (slash && slash != parent)
			*slash = '\0';
		if (!is_bpf_fs(parent))
			return plane_fail(error, -EINVAL,
					  "%s is on no BPF file system: mount -t bpf bpf %s",
					  pin_dir, parent);
	}
	err = make_folders(pin_dir);
	if (err)
		return plane_fail(error, err, "cannot make the folder %s: %s", pin_dir,
				  strerror(-err));
	return pin_each(pin_dir, unpin_unfinished, &pin_dir);
}

int pin_replace(const char *pin_dir, const char *name, int fd)
{
	char path[PATH_MAX], new_path[PATH_MAX];
	int err = pin_path(path, pin_dir, "", name);

	if (!err)
		err = pin_path(new_path, pin_dir, PIN_NEW, name);
	if (err)
		return err;
	unlink(new_path);
	if (bpf_obj_pin(fd, new_path))
		return -errno;
	if (rename(new_path, path) == 0)
		return 0;
	err = -errno;
	unlink(new_path);
	return err;
}

int pin_each(const char *pin_dir, int (*visit)(void *argument, const char *name), void *argument)
{
	DIR *folder = opendir(pin_dir);
	struct dirent *entry;
	int result = 0;

	if (!folder)
		return errno == ENOENT ? 0 : -errno;
	while (!result && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			result = visit(argument, entry->d_name);
	closedir(folder);
	return result;
}
