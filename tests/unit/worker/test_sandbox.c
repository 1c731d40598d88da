/* SPDX-License-Identifier: Apache-2.0 */
/* A child enters the sandbox and tries what it must still be able to do, and what it must not. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/bpf.h>

#include "base/compiler.h"
#include "worker/sandbox.h"

static bool refused(long result)
{
	return result == -1 && errno == EPERM;
}

/* What a child says with its exit status: 0, or the line where something was not as it must be. */
#define CHILD_CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, \
				strerror(errno)); \
			return 1; \
		} \
	} while (0)

static int child_status(int (*child)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int enter(void)
{
	struct sandbox_error error;
	int err = sandbox_enter(NULL, &error);

	if (err)
		fprintf(stderr, "%s\n", error.text);
	return err;
}

static int read_status_line(int fd, const char *name, unsigned long long *ret_value)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	const char *line;

	if (n <= 0)
		return -EIO;
	text[n] = 0;
	line = strstr(text, name);
	if (!line)
		return -ENOENT;
	*ret_value = strtoull(line + strlen(name), NULL, strncmp(name, "\nCap", 4) ? 10 : 16);
	return 0;
}

static int child_facts(void)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	bool was_root = geteuid() == 0;
	unsigned long long value = 9;
	struct rlimit core;

	CHILD_CHECK(enter() == 0);
	CHILD_CHECK(read_status_line(fd, "\nSeccomp:", &value) == 0 && value == 2);
	CHILD_CHECK(read_status_line(fd, "\nNoNewPrivs:", &value) == 0 && value == 1);
	CHILD_CHECK(read_status_line(fd, "\nCapEff:", &value) == 0 && value == 0);
	CHILD_CHECK(read_status_line(fd, "\nCapPrm:", &value) == 0 && value == 0);
	CHILD_CHECK(read_status_line(fd, "\nCapInh:", &value) == 0 && value == 0);
	CHILD_CHECK(read_status_line(fd, "\nCapAmb:", &value) == 0 && value == 0);
	if (was_root) {
		CHILD_CHECK(read_status_line(fd, "\nCapBnd:", &value) == 0 && value == 0);
		CHILD_CHECK(getuid() != 0 && geteuid() != 0 && getgid() != 0);
	}
	CHILD_CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	return 0;
}

static int child_forbidden(void)
{
	char *const arguments[] = {(char *)"true", NULL};
	struct sockaddr_un path = {.sun_family = AF_UNIX,
				   .sun_path = "/tmp/penstock-forbidden-socket"};
	int fd;

	CHILD_CHECK(enter() == 0);
	CHILD_CHECK(refused(execve("/bin/true", arguments, NULL)));
	CHILD_CHECK(refused(open("/tmp/penstock-forbidden", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	CHILD_CHECK(refused(open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
	CHILD_CHECK(refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
	CHILD_CHECK(refused(socket(AF_NETLINK, SOCK_RAW, 0)));
	CHILD_CHECK(refused(socket(AF_PACKET, SOCK_RAW, 0)));
	CHILD_CHECK(refused(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHILD_CHECK(fd >= 0);
	CHILD_CHECK(refused(bind(fd, (struct sockaddr *)&path, sizeof(path))));
	CHILD_CHECK(refused(listen(fd, 1)));
	CHILD_CHECK(refused(fork()));
	CHILD_CHECK(refused(kill(getppid(), 0)));
	CHILD_CHECK(refused(syscall(SYS_tgkill, getppid(), getppid(), 0)));
	CHILD_CHECK(refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)));
	CHILD_CHECK(refused(
	    (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
	CHILD_CHECK(refused(syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0)));
	CHILD_CHECK(refused(syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0)));
	CHILD_CHECK(refused(ioctl(0, TIOCSTI, "x")));
	CHILD_CHECK(refused(setuid(0)));
	CHILD_CHECK(refused(chmod("/tmp", 0777)));
	CHILD_CHECK(refused(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1, 1})));
	return 0;
}

static void *thread_main(void *argument)
{
	*(int *)argument = 7;
	return NULL;
}

static int child_allowed(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN};
	pthread_t thread;
	struct stat st;
	int seen = 0, fd, epoll_fd, pipe_fds[2];
	void *memory;

	CHILD_CHECK(enter() == 0);
	CHILD_CHECK(pthread_create(&thread, NULL, thread_main, &seen) == 0);
	CHILD_CHECK(pthread_join(thread, NULL) == 0 && seen == 7);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHILD_CHECK(fd >= 0);
	CHILD_CHECK(bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	to.sin_port = htons(1);
	CHILD_CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1 && errno != EPERM);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	CHILD_CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
	CHILD_CHECK(epoll_wait(epoll_fd, &event, 1, 0) >= 0);
	CHILD_CHECK(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0);
	CHILD_CHECK(fcntl(pipe_fds[0], F_SETPIPE_SZ, 65536) > 0);
	CHILD_CHECK(fstat(fd, &st) == 0);
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHILD_CHECK(memory != MAP_FAILED);
	CHILD_CHECK(prctl(PR_SET_NAME, "test", 0, 0, 0) == 0);
	/* No such map: not refused by the filter. */
	CHILD_CHECK(syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, NULL, 0) == -1 && errno != EPERM);
	return 0;
}

static int child_abort(void)
{
	CHILD_CHECK(enter() == 0);
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void test_facts(void **state UNUSED)
{
	assert_int_equal(child_status(child_facts), 0);
}

static void test_forbidden(void **state UNUSED)
{
	assert_int_equal(child_status(child_forbidden), 0);
}

static void test_allowed(void **state UNUSED)
{
	assert_int_equal(child_status(child_allowed), 0);
}

static void test_abort_ends_the_process(void **state UNUSED)
{
	int status = child_status(child_abort);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_false(WCOREDUMP(status));
}

static int child_unknown_user(void)
{
	struct sandbox_error error = {.text = ""};

	CHILD_CHECK(sandbox_enter("penstock-nobody-has-this", &error) == -ENOENT);
	CHILD_CHECK(strstr(error.text, "penstock-nobody-has-this"));
	CHILD_CHECK(sandbox_enter("root", &error) == -EINVAL);
	return 0;
}

static void test_unknown_user(void **state UNUSED)
{
	if (geteuid() != 0) {
		print_message("skipped: only root changes its user\n");
		skip();
	}
	assert_int_equal(child_status(child_unknown_user), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_facts),	 cmocka_unit_test(test_forbidden),
	    cmocka_unit_test(test_allowed),	 cmocka_unit_test(test_abort_ends_the_process),
	    cmocka_unit_test(test_unknown_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
