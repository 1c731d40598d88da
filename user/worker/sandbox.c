/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's cage: identity, capabilities, process flags, system calls. What a call may do with a
 * descriptor is left to the kernel's own checks; the filter looks at arguments only where one call
 * is many (socket, bpf, prctl, ...), and never on the calls of the hot path, which the kernel then
 * lets pass without running the filter (since 5.11).
 */
#include "worker/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SANDBOX_USER "penstock"
#define SANDBOX_FALLBACK_USER "nobody"
/* The type without SOCK_NONBLOCK and SOCK_CLOEXEC (SOCK_TYPE_MASK of the kernel). */
#define SANDBOX_SOCKET_TYPE 0xf

/* Allowed whatever the arguments. */
static const int sandbox_calls[] = {
    /* bytes */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(splice),
    SCMP_SYS(sendfile),
    SCMP_SYS(pipe2),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(fstat),
    SCMP_SYS(memfd_create),
    SCMP_SYS(ftruncate),
    /* sockets: listening ones come from the broker, so no listen; bind is below */
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    /* waiting */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(nanosleep),
    SCMP_SYS(time),
    /* memory; what maps executable pages is below */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(munlock),
    /* threads */
    SCMP_SYS(futex),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getcpu),
    SCMP_SYS(gettid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* signals */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(signalfd4),
    /* what a process may know of itself and the host */
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
};

struct sandbox_rule {
	int call;
	unsigned int n_conditions;
	struct scmp_arg_cmp conditions[2];
};

#define IS(argument, value) \
	((struct scmp_arg_cmp){ \
	    .arg = (argument), .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)(value)})
#define HAS_BITS(argument, mask, value) \
	((struct scmp_arg_cmp){.arg = (argument), \
			       .op = SCMP_CMP_MASKED_EQ, \
			       .datum_a = (scmp_datum_t)(mask), \
			       .datum_b = (scmp_datum_t)(value)})

#define SOCKET(family, type) \
	{ \
		SCMP_SYS(socket), 2, \
		{ \
			IS(0, family), HAS_BITS(1, SANDBOX_SOCKET_TYPE, type) \
		} \
	}
#define BPF_COMMAND(command) \
	{ \
		SCMP_SYS(bpf), 1, \
		{ \
			IS(0, command) \
		} \
	}
#define FCNTL(command) \
	{ \
		SCMP_SYS(fcntl), 1, \
		{ \
			IS(1, command) \
		} \
	}

/* Allowed with these arguments only; several lines of one call are alternatives. */
static const struct sandbox_rule sandbox_rules[] = {
    SOCKET(AF_INET, SOCK_STREAM),
    SOCKET(AF_INET, SOCK_DGRAM),
    SOCKET(AF_INET6, SOCK_STREAM),
    SOCKET(AF_INET6, SOCK_DGRAM),
    SOCKET(AF_UNIX, SOCK_STREAM),

    /* Elements of maps that we were handed; no map or program is made, found by id or opened by
       path. */
    BPF_COMMAND(BPF_MAP_LOOKUP_ELEM),
    BPF_COMMAND(BPF_MAP_UPDATE_ELEM),
    BPF_COMMAND(BPF_MAP_DELETE_ELEM),
    BPF_COMMAND(BPF_MAP_GET_NEXT_KEY),
    BPF_COMMAND(BPF_MAP_LOOKUP_AND_DELETE_ELEM),
    BPF_COMMAND(BPF_MAP_LOOKUP_BATCH),
    BPF_COMMAND(BPF_MAP_LOOKUP_AND_DELETE_BATCH),
    BPF_COMMAND(BPF_MAP_UPDATE_BATCH),
    BPF_COMMAND(BPF_MAP_DELETE_BATCH),
    BPF_COMMAND(BPF_OBJ_GET_INFO_BY_FD),

    /* The source of connections to origins. No filter can look at the address, but its length: an
       IPv4 or IPv6 one. */
    {SCMP_SYS(bind), 1, {IS(2, sizeof(struct sockaddr_in))}},
    {SCMP_SYS(bind), 1, {IS(2, sizeof(struct sockaddr_in6))}},

    FCNTL(F_GETFD),
    FCNTL(F_SETFD),
    FCNTL(F_GETFL),
    FCNTL(F_SETFL),
    FCNTL(F_DUPFD),
    FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_SETPIPE_SZ),
    FCNTL(F_GETPIPE_SZ),
    FCNTL(F_ADD_SEALS),
    FCNTL(F_GET_SEALS),

    {SCMP_SYS(ioctl), 1, {IS(1, SIOCOUTQ)}},
    {SCMP_SYS(ioctl), 1, {IS(1, FIONREAD)}},
    {SCMP_SYS(mmap), 1, {HAS_BITS(2, PROT_EXEC, 0)}},
    {SCMP_SYS(mprotect), 1, {HAS_BITS(2, PROT_EXEC, 0)}},
    {SCMP_SYS(clone), 1, {HAS_BITS(0, CLONE_THREAD, CLONE_THREAD)}},
    {SCMP_SYS(prctl), 1, {IS(0, PR_SET_NAME)}},
    /* reading a limit of our own */
    {SCMP_SYS(prlimit64), 2, {IS(0, 0), IS(2, 0)}},
    /* fstat() of glibc 2.33 and later */
    {SCMP_SYS(newfstatat), 1, {HAS_BITS(3, AT_EMPTY_PATH, AT_EMPTY_PATH)}},
};

static PRINTF_LIKE(3, 4) int sandbox_fail(struct sandbox_error *ret_error, int err,
					  const char *format, ...)
{
	char what[sizeof(ret_error->text) / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", what, strerror(-err));
	return err;
}

static const struct passwd *sandbox_find_user(const char *user)
{
	const struct passwd *found;

	if (user)
		return getpwnam(user);
	found = getpwnam(SANDBOX_USER);
	return found ? found : getpwnam(SANDBOX_FALLBACK_USER);
}

static int sandbox_change_user(const char *user, struct sandbox_error *ret_error)
{
	const struct passwd *found = sandbox_find_user(user);

	if (!found)
		return sandbox_fail(ret_error, -ENOENT, "user %s",
				    user ? user : SANDBOX_FALLBACK_USER);
	if (found->pw_uid == 0)
		return sandbox_fail(ret_error, -EINVAL, "user %s is root", found->pw_name);
	if (setgroups(0, NULL))
		return sandbox_fail(ret_error, -errno, "cannot leave the groups of root");
	if (setresgid(found->pw_gid, found->pw_gid, found->pw_gid))
		return sandbox_fail(ret_error, -errno, "cannot become group %u", found->pw_gid);
	if (setresuid(found->pw_uid, found->pw_uid, found->pw_uid))
		return sandbox_fail(ret_error, -errno, "cannot become user %s", found->pw_name);
	return 0;
}

/* The bounding set can be emptied only with CAP_SETPCAP, which leaving root takes away: it comes
 * first. */
static int sandbox_empty_bounding_set(struct sandbox_error *ret_error)
{
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0;
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_BOUNDS))
		return sandbox_fail(ret_error, -EPERM, "cannot empty the bounding set");
	return 0;
}

static int sandbox_drop_capabilities(struct sandbox_error *ret_error)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT))
		return sandbox_fail(ret_error, -EPERM, "cannot drop capabilities");
	capng_get_caps_process();
	if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return sandbox_fail(ret_error, -EPERM, "capabilities are left");
	return 0;
}

static int sandbox_set_flags(struct sandbox_error *ret_error)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return sandbox_fail(ret_error, -errno, "PR_SET_NO_NEW_PRIVS");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return sandbox_fail(ret_error, -errno, "PR_SET_DUMPABLE");
	if (setrlimit(RLIMIT_CORE, &none))
		return sandbox_fail(ret_error, -errno, "RLIMIT_CORE");
	return 0;
}

static int sandbox_add_rules(scmp_filter_ctx filter)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(sandbox_calls) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, sandbox_calls[i], 0);
	for (size_t i = 0; i < ARRAY_LEN(sandbox_rules) && !err; i++)
		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, sandbox_rules[i].call,
					     sandbox_rules[i].n_conditions,
					     sandbox_rules[i].conditions);
	/* abort() signals the own process only */
	if (!err)
		err =
		    seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, IS(0, getpid()));
	/* Its flags are in memory, where no filter can look; libc then takes clone. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return err;
}

/* libseccomp knows the native architecture only unless others are added: foreign calls kill the
 * process. */
static int sandbox_filter_calls(struct sandbox_error *ret_error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return sandbox_fail(ret_error, -ENOMEM, "system call filter");
	err = sandbox_add_rules(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err ? sandbox_fail(ret_error, err, "system call filter") : 0;
}

int sandbox_enter(const char *user, struct sandbox_error *ret_error)
{
	int err = sandbox_empty_bounding_set(ret_error);

	if (!err && geteuid() == 0)
		err = sandbox_change_user(user, ret_error);
	if (!err)
		err = sandbox_drop_capabilities(ret_error);
	if (!err)
		err = sandbox_set_flags(ret_error);
	if (!err)
		err = sandbox_filter_calls(ret_error);
	return err;
}
