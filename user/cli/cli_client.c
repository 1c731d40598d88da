/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to a running daemon: finding its folder, one question, one answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"

#define CLI_ANSWER_MAX (64 * 1024 * 1024)
#define CLI_READ_BYTES 65536
/* Longer than the broker waits for its worker. */
#define CLI_TIMEOUT_S 45

const char *cli_config_path(const struct cli_options *options)
{
	return options->config ? options->config : CLI_DEFAULT_CONFIG;
}

struct conf *cli_load_conf(const char *path)
{
	struct conf_diag *diag = conf_diag_new(path);
	struct conf *conf;

	if (!diag) {
		fputs("penstock: no memory\n", stderr);
		return NULL;
	}
	conf = broker_parse(path, diag);
	if (!conf)
		fputs(conf_diag_text(diag), stderr);
	conf_diag_free(diag);
	return conf;
}

/* As given, or as the configuration says, or the default. NULL: said why. */
static char *cli_runtime_dir(const struct cli_options *options)
{
	struct conf *conf;
	char *dir;

	if (options->runtime_dir)
		return strdup(options->runtime_dir);
	if (!options->config && access(CLI_DEFAULT_CONFIG, R_OK))
		return strdup(CLI_DEFAULT_RUNTIME_DIR);
	conf = cli_load_conf(cli_config_path(options));
	if (!conf) {
		fputs("penstock: --runtime-dir DIR finds the daemon without a configuration\n",
		      stderr);
		return NULL;
	}
	dir = strdup(conf->runtime_dir);
	conf_unref(conf);
	return dir;
}

static const char *cli_connect_mend(int err)
{
	switch (err) {
	case ENOENT:
	case ECONNREFUSED:
		return "is the daemon running? -c FILE or --runtime-dir DIR says where to look";
	case EACCES:
	case EPERM:
		return "only root and the user of the daemon may ask";
	default:
		return "-c FILE or --runtime-dir DIR says where to look";
	}
}

static int cli_connect(const char *dir, const char *socket_name)
{
	const struct timeval timeout = {.tv_sec = CLI_TIMEOUT_S};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n = snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", dir, socket_name);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(un.sun_path)) {
		fprintf(stderr, "penstock: the path of the runtime folder is too long: %s\n", dir);
		return -ENAMETOOLONG;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	n = errno;
	fprintf(stderr, "penstock: cannot reach the daemon at %s: %s\n  %s\n", un.sun_path,
		strerror(n), cli_connect_mend(n));
	close(fd);
	return -n;
}

/* Until the other side closes. NULL and errno. */
static char *cli_read_all(int fd)
{
	char *text = NULL;
	size_t len = 0;

	for (;;) {
		char *grown = len < CLI_ANSWER_MAX ? realloc(text, len + CLI_READ_BYTES + 1) : NULL;
		ssize_t n;

		if (!grown) {
			errno = ENOMEM;
			break;
		}
		text = grown;
		n = read(fd, text + len, CLI_READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
		text[len] = 0;
		if (n == 0)
			return text;
	}
	free(text);
	return NULL;
}

static char *cli_converse(int fd, const char *line)
{
	char *answer = NULL;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line))
		answer = cli_read_all(fd);
	if (!answer)
		fprintf(stderr, "penstock: the daemon does not answer: %s\n",
			errno == EAGAIN ? "timed out" : strerror(errno));
	else if (!*answer)
		fputs("penstock: the daemon closed without an answer; its log says more\n", stderr);
	return answer;
}

char *cli_ask(const struct cli_options *options, const char *socket_name, const char *line)
{
	char *dir = cli_runtime_dir(options);
	char *answer = NULL;
	int fd;

	if (!dir)
		return NULL;
	fd = cli_connect(dir, socket_name);
	if (fd >= 0) {
		answer = cli_converse(fd, line);
		close(fd);
	}
	free(dir);
	return answer;
}

int cli_reload(const struct cli_options *options)
{
	char *answer = cli_ask(options, BROKER_CONTROL_SOCKET, "reload\n");
	bool is_taken = answer && strncmp(answer, "taken ", 6) == 0;
	char *rest = answer ? strchr(answer, '\n') : NULL;

	if (is_taken && rest) {
		*rest++ = 0;
		printf("generation %s is in force\n", answer + 6);
	} else if (answer && strncmp(answer, "refused\n", 8) == 0) {
		rest = answer + 8;
		fputs("penstock: refused; what ran before goes on\n", stderr);
	} else {
		rest = answer;
	}
	if (rest)
		cli_print_safe(stderr, rest);
	free(answer);
	return is_taken ? EXIT_SUCCESS : EXIT_FAILURE;
}
