/* SPDX-License-Identifier: Apache-2.0 */
/* From the path of a configuration to a snapshot and a bundle with every file that it names, open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker_internal.h"
#include "penstock/limits.h"
#include "tls/tls.h"

static const struct conf_mark nowhere = {0, 0};

/* A regular file; nothing that could block, answer twice differently, or become our terminal. */
static int load_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	return fd;
}

static const char *load_error(int err)
{
	return err == -EINVAL ? "not a regular file" : strerror(-err);
}

static int load_text(const char *path, struct conf_diag *diag, char **ret_text, size_t *ret_len)
{
	int fd = load_open(path);
	int err = fd;

	if (fd >= 0) {
		err = bundle_read(fd, PENSTOCK_MAX_CONFIG_BYTES, ret_text, ret_len);
		close(fd);
	}
	if (err == -EFBIG)
		conf_diag_add(diag, nowhere, "larger than %d bytes", PENSTOCK_MAX_CONFIG_BYTES);
	else if (err)
		conf_diag_add(diag, nowhere, "cannot read the configuration: %s", load_error(err));
	return err;
}

struct load {
	struct bundle *bundle;
	struct conf_diag *diag;
};

static void load_complain(struct conf_diag *diag, const struct conf_file *file, int err)
{
	conf_diag_add(diag, file->mark, "cannot read %s: %s", file->path, load_error(err));
}

/* Goes on after an error, so that all are told. */
static int load_file(void *argument, const struct conf_file *file)
{
	struct load *load = argument;
	int fd;

	if (bundle_find(load->bundle, BUNDLE_FILE, file->path, 0) >= 0)
		return 0;
	fd = load_open(file->path);
	if (fd < 0) {
		load_complain(load->diag, file, fd);
		return 0;
	}
	return bundle_add(load->bundle, BUNDLE_FILE, file->path, 0, fd);
}

/* The system's authorities, where an origin is verified against no others. */
static int load_system_ca(const struct conf *conf, struct load *load)
{
	for (size_t i = 0; i < conf->n_origins; i++) {
		const struct conf_client_tls *tls = conf->origins[i]->tls;

		if (tls && tls->verify && !tls->ca.path)
			return load_file(load, &(struct conf_file){.path = tls_system_ca_path(),
								   .mark = tls->mark});
	}
	return 0;
}

/* Without them DNS alone is asked, at the servers that are known. */
int broker_load_names(struct bundle *bundle)
{
	int err = 0;

	for (size_t i = 0; i < BROKER_NAMES_FILES && !err; i++) {
		int fd = load_open(broker_names_files[i]);

		if (fd >= 0)
			err = bundle_add(bundle, BUNDLE_FILE, broker_names_files[i], 0, fd);
	}
	return err;
}

static int load_files(const struct conf *conf, struct bundle *bundle, struct conf_diag *diag)
{
	struct load load = {.bundle = bundle, .diag = diag};
	int err = conf_each_file(conf, load_file, &load);

	if (!err)
		err = load_system_ca(conf, &load);
	if (!err)
		err = broker_has_names(conf) ? broker_load_names(bundle) : 0;
	if (err)
		conf_diag_add(diag, nowhere, "cannot hold the files open: %s", strerror(-err));
	return conf_diag_errors(diag) ? -EINVAL : 0;
}

/* In a sealed copy, so that both processes read the same whatever happens to the file meanwhile. */
static int load_bundle(const char *path, const char *text, size_t len_bytes,
		       const struct conf *conf, struct conf_diag *diag, struct bundle *bundle)
{
	int err = bundle_add_data(bundle, BUNDLE_CONFIG, path, text, len_bytes);

	if (err) {
		conf_diag_add(diag, nowhere, "cannot hold the text: %s", strerror(-err));
		return err;
	}
	return load_files(conf, bundle, diag);
}

/* The text is refused already: only says which of its files could not be read either. */
static int load_look_at(void *argument, const struct conf_file *file)
{
	int fd = load_open(file->path);

	if (fd < 0)
		load_complain(argument, file, fd);
	else
		close(fd);
	return 0;
}

static struct conf *load_parse(const char *path, bool with_files, struct conf_diag *diag,
			       char **ret_text, size_t *ret_len)
{
	struct conf *conf;

	if (load_text(path, diag, ret_text, ret_len))
		return NULL;
	conf = conf_parse_files(*ret_text, *ret_len, path, diag, with_files ? load_look_at : NULL,
				diag);
	if (!conf)
		free(*ret_text);
	return conf;
}

struct conf *broker_parse(const char *config_path, struct conf_diag *diag)
{
	char *text;
	size_t len_bytes;
	struct conf *conf = load_parse(config_path, false, diag, &text, &len_bytes);

	if (conf)
		free(text);
	return conf;
}

/* Takes the text and the configuration. */
static int load_finish(struct conf *conf, char *text, size_t len_bytes, const char *path,
		       uint64_t generation, struct conf_diag *diag, struct conf **ret_conf,
		       struct bundle **ret_bundle)
{
	struct bundle *bundle = bundle_new(generation);
	int err = bundle ? load_bundle(path, text, len_bytes, conf, diag, bundle) : -ENOMEM;

	free(text);
	if (err) {
		bundle_free(bundle);
		conf_unref(conf);
		return err;
	}
	*ret_conf = conf;
	*ret_bundle = bundle;
	return 0;
}

int broker_load(const char *config_path, uint64_t generation, struct conf_diag *diag,
		struct conf **ret_conf, struct bundle **ret_bundle)
{
	char *text;
	size_t len_bytes;
	struct conf *conf = load_parse(config_path, true, diag, &text, &len_bytes);

	return conf ? load_finish(conf, text, len_bytes, config_path, generation, diag, ret_conf,
				  ret_bundle)
		    : -EINVAL;
}

int broker_load_again(const struct bundle *before, const char *config_path, uint64_t number,
		      struct conf_diag *diag, struct conf **ret_conf, struct bundle **ret_bundle)
{
	const struct bundle_entry *entry = bundle_first(before, BUNDLE_CONFIG);
	int err = entry ? 0 : -ENOENT;
	struct conf *conf;
	size_t len_bytes;
	char *text;

	if (!err)
		err = bundle_read(entry->fd, PENSTOCK_MAX_CONFIG_BYTES, &text, &len_bytes);
	if (err) {
		conf_diag_add(diag, nowhere, "cannot read the configuration in force: %s",
			      strerror(-err));
		return err;
	}
	conf = conf_parse(text, len_bytes, config_path, diag);
	if (!conf) {
		free(text);
		return -EINVAL;
	}
	return load_finish(conf, text, len_bytes, config_path, number, diag, ret_conf, ret_bundle);
}
