/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program, three roles: the command line for people, the broker (`run`), and the worker, which
 * the broker starts as `worker --fd N` and which nobody else should.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "admin/admin.h"
#include "base/log.h"
#include "cli/cli.h"
#include "worker/worker.h"

static json_t *main_status(void *argument)
{
	return worker_status(argument);
}

static json_t *main_flows(void *argument)
{
	return worker_flows(argument);
}

static json_t *main_drain(void *argument, const char *origin, const char *server, bool is_on)
{
	return worker_drain_server(argument, origin, server, is_on);
}

/* Without the runtime socket the worker goes on: it serves its clients, only nobody can look
 * inside. */
static void main_on_started(void *argument, struct worker *worker, struct loop *loop, int admin_fd)
{
	const struct admin_handlers handlers = {
	    .status = main_status, .flows = main_flows, .drain = main_drain, .argument = worker};
	struct admin **admin = argument;

	*admin = admin_new(loop, admin_fd, &handlers);
	if (!*admin)
		log_warn("no runtime socket", LOG_TEXT("reason", strerror(errno)));
}

static void main_on_stopping(void *argument)
{
	struct admin **admin = argument;

	admin_free(*admin);
	*admin = NULL;
}

static int main_worker(const char *fd_text)
{
	struct admin *admin = NULL;
	const struct worker_hooks hooks = {
	    .on_started = main_on_started, .on_stopping = main_on_stopping, .argument = &admin};
	char *end;
	long fd = strtol(fd_text, &end, 10);

	if (*end || fd < 3 || fd > 65535 || fcntl((int)fd, F_SETFD, FD_CLOEXEC))
		return EXIT_FAILURE;
	prctl(PR_SET_NAME, "penstock-worker");
	return worker_main((int)fd, &hooks);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "worker") == 0 && strcmp(argv[2], "--fd") == 0)
		return main_worker(argv[3]);
	return cli_main(argc, argv);
}
