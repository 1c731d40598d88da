/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker as a child process. It is our own program started anew, so that it shares no memory
 * with the broker and holds no descriptor but its socket. It is not tied to our life: when the
 * socket closes it drains by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/broker_internal.h"

#define CHILD_SEND_TIMEOUT_S 10
#define CHILD_EXEC_FAILED 127

static const char *const child_arguments[] = {"penstock: worker", "worker", "--fd", "3", NULL};

/* Signals of a terminal or a service manager reach the whole group; the worker hears of them from
 * us alone. */
static void child_set_signals(void)
{
	sigset_t none;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Whoever takes the worker over shall not read the terminal of who started us. */
static void child_leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
}

/* The kernel would make pages of 2 MiB of heaps that hold some 100 KiB, as khugepaged comes by. */
static void child_refuse_huge_pages(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

_Noreturn static void child_exec(int socket_fd)
{
	child_set_signals();
	child_leave_terminal();
	child_refuse_huge_pages();
	unsetenv("NOTIFY_SOCKET");
	if (socket_fd == BROKER_WORKER_FD)
		fcntl(socket_fd, F_SETFD, 0);
	else if (dup2(socket_fd, BROKER_WORKER_FD) < 0)
		_exit(CHILD_EXEC_FAILED);
	/* Before Linux 5.11 this fails, and O_CLOEXEC everywhere has the same effect. */
	close_range(BROKER_WORKER_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	execv("/proc/self/exe", (char *const *)child_arguments);
	fprintf(stderr, "penstock: cannot start the worker: %s\n", strerror(errno));
	_exit(CHILD_EXEC_FAILED);
}

int child_start(struct child *child)
{
	const struct timeval timeout = {.tv_sec = CHILD_SEND_TIMEOUT_S};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	/* A worker that stopped reading must not stop us. */
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (pid == 0)
		child_exec(pair[1]);
	close(pair[1]);
	*child = (struct child){.pid = pid, .socket_fd = pair[0], .started_ms = clock_now_ms()};
	return 0;
}

void child_kill(const struct child *child)
{
	if (child->pid > 0)
		kill(child->pid, SIGKILL);
}

bool child_has_ended(struct child *child, int *ret_status)
{
	if (child->pid <= 0 || waitpid(child->pid, ret_status, WNOHANG) != child->pid)
		return false;
	child->pid = 0;
	return true;
}

const char *child_describe_end(int status, char text[64])
{
	if (WIFSIGNALED(status))
		snprintf(text, 64, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, 64, "exit status %d", WEXITSTATUS(status));
	return text;
}
