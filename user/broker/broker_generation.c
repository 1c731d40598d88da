/* SPDX-License-Identifier: Apache-2.0 */
/* One generation of the configuration with everything that it needs of the host, opened: all of it,
 * or nothing. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cpu.h"
#include "broker/broker_internal.h"

/* How long a port that another process is just leaving is waited for at a start. */
#define BIND_PATIENCE_MS 2000

static const struct conf_mark nowhere = {0, 0};

void host_init(struct host *host)
{
	*host = (struct host){0};
	listeners_init(&host->listeners, 1);
}

void host_done(struct host *host)
{
	listeners_done(&host->listeners);
	runtime_close(&host->runtime);
	plane_free(host->plane);
	plane_splice_free(host->splice);
	plane_live_free(host->live);
}

void generation_free(struct generation *generation)
{
	bundle_free(generation->bundle);
	conf_unref(generation->conf);
	*generation = (struct generation){0};
}

static const char *sockets_mend(int err)
{
	switch (err) {
	case -EMFILE:
		return "; raise the limit of open files (LimitNOFILE= of the unit, or ulimit -n): "
		       "each port is a socket of each thread, three times while a reload lasts";
	case -E2BIG:
		return "; each port is a socket of each thread: bind fewer, or lower "
		       "process.threads";
	default:
		return "";
	}
}

static int generation_add_sockets(const struct host *host, struct bundle *bundle,
				  struct conf_diag *diag)
{
	int fd = fcntl(host->runtime.admin_fd, F_DUPFD_CLOEXEC, 0);
	int err = fd < 0 ? -errno : bundle_add(bundle, BUNDLE_ADMIN, "admin", 0, fd);

	if (!err)
		err = listeners_add_to(&host->listeners, bundle);
	if (err)
		conf_diag_add(diag, nowhere, "cannot hand the sockets on: %s%s", strerror(-err),
			      sockets_mend(err));
	return err;
}

static bool text_differs(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

static void warn_if_fixed(bool differs, const char *what, struct conf_diag *diag)
{
	if (differs)
		conf_diag_warn(diag, nowhere, "a new %s takes effect at the next start", what);
}

static void generation_warn_of_fixed(const struct conf *now, const struct conf *next,
				     struct conf_diag *diag)
{
	warn_if_fixed(text_differs(now->runtime_dir, next->runtime_dir), "runtime_dir", diag);
	warn_if_fixed(text_differs(now->pin_dir, next->pin_dir), "pin_dir", diag);
	warn_if_fixed(text_differs(now->user, next->user), "user", diag);
	warn_if_fixed(now->threads != next->threads, "number of threads", diag);
	warn_if_fixed(now->max_connections != next->max_connections, "process.max_connections",
		      diag);
}

/* What only the first configuration decides. */
static int host_open(struct host *host, const struct conf *conf, struct conf_diag *diag)
{
	listeners_init(&host->listeners, conf->threads ? conf->threads : cpu_count());
	return runtime_open(&host->runtime, conf->runtime_dir, diag);
}

static int generation_open(struct generation *generation, struct host *host,
			   const struct conf *current, struct conf_diag *diag)
{
	int err = 0;

	if (current)
		generation_warn_of_fixed(current, generation->conf, diag);
	else
		err = host_open(host, generation->conf, diag);
	if (!err)
		err = listeners_prepare(&host->listeners, generation->conf,
					current ? 0 : BIND_PATIENCE_MS, diag);
	if (err)
		return err;
	err = generation_add_sockets(host, generation->bundle, diag);
	if (!err)
		err = broker_open_logs(generation->conf, generation->bundle, diag);
	if (!err)
		err =
		    broker_plane_prepare(&host->plane, generation->conf, generation->bundle, diag);
	if (!err)
		err = broker_splice_prepare(&host->splice, generation->conf,
					    (unsigned int)host->listeners.n_threads,
					    generation->bundle, diag);
	if (!err)
		err = broker_live_prepare(&host->live, generation->conf, !current,
					  generation->bundle, diag);
	if (err)
		listeners_undo(&host->listeners);
	return err;
}

int generation_prepare(struct host *host, const char *config_path, uint64_t number,
		       const struct generation *current, bool same_text, struct conf_diag *diag,
		       struct generation *ret_generation)
{
	struct generation generation = {0};
	int err = same_text ? broker_load_again(current->bundle, config_path, number, diag,
						&generation.conf, &generation.bundle)
			    : broker_load(config_path, number, diag, &generation.conf,
					  &generation.bundle);

	if (!err)
		err = generation_open(&generation, host, current->conf, diag);
	if (err) {
		generation_free(&generation);
		return err;
	}
	*ret_generation = generation;
	return 0;
}
