/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the broker, for its own files. */
#ifndef PENSTOCK_BROKER_BROKER_INTERNAL_H
#define PENSTOCK_BROKER_BROKER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/loop.h"
#include "broker/broker.h"
#include "plane/plane.h"

/* ---- broker_listen.c: listening sockets, kept over reloads by their bind text ---- */

struct listeners {
	struct list all;
	size_t n_threads; /* sockets per address */
};

void listeners_init(struct listeners *listeners, size_t n_threads);

/* Closes all; UNIX sockets are removed. */
void listeners_done(struct listeners *listeners);

/*
 * Opens what `conf` wants and is not open yet. All errors go to `diag`; on failure nothing has
 * changed. After success either listeners_commit() or listeners_undo() must follow. `patience_ms`:
 * how long an address in use is tried again.
 */
int listeners_prepare(struct listeners *listeners, const struct conf *conf,
		      unsigned int patience_ms, struct conf_diag *diag) MUST_CHECK;

/* Closes what the last listeners_prepare() found no longer wanted. */
void listeners_commit(struct listeners *listeners);

/* Closes what the last listeners_prepare() opened. */
void listeners_undo(struct listeners *listeners);

/* Adds copies of the descriptors that are wanted. 0 or -errno. */
int listeners_add_to(const struct listeners *listeners, struct bundle *bundle) MUST_CHECK;

/* A listening UNIX socket with these permissions; what a process that is gone left at the path is
 * removed. -errno. */
int listen_unix(const char *path, mode_t mode) MUST_CHECK;

/* ---- broker_runtime.c: the runtime folder ---- */

struct runtime {
	char *dir; /* NULL: not opened */
	int lock_fd;
	int admin_fd;
	int control_fd;
};

/* Makes the folder, takes its lock, opens the sockets. 0 or -errno with an error in `diag`. */
int runtime_open(struct runtime *runtime, const char *dir, struct conf_diag *diag) MUST_CHECK;

/* Removes the sockets. Right for a runtime that was never opened but is zeroed. */
void runtime_close(struct runtime *runtime);

/* ---- broker_log.c: files that the worker writes ---- */

/* Opens the key logs of `conf` for the bundle, and makes those that are not there. 0, or -errno
 * with an error in `diag`. */
int broker_open_logs(const struct conf *conf, struct bundle *bundle,
		     struct conf_diag *diag) MUST_CHECK;

/* ---- broker_watch.c: files of the configuration that change ---- */

struct file_watch;

/* `on_change` is told once for all that changed within a moment, with the first of them. NULL: no
 * memory. */
struct file_watch *file_watch_new(struct loop *loop,
				  void (*on_change)(void *argument, const char *path),
				  void *argument) MUST_CHECK;
void file_watch_free(struct file_watch *watch);

/* Watches the files of this bundle, and no others. 0, or -errno: then none is watched. */
int file_watch_set(struct file_watch *watch, const struct bundle *bundle) MUST_CHECK;

/* As file_watch_set(), but these paths: also where the bundle has no such file, and one may come.
 */
int file_watch_set_paths(struct file_watch *watch, const struct bundle *bundle,
			 const char *const *paths, size_t n_paths) MUST_CHECK;
void file_watch_clear(struct file_watch *watch);

/* ---- broker_plane.c: the steer lane's kernel side ---- */

/* Where `conf` steers: programs loaded and attached, maps and description in the bundle. `plane` is
 * opened at need. */
int broker_plane_prepare(struct plane **plane, const struct conf *conf, struct bundle *bundle,
			 struct conf_diag *diag) MUST_CHECK;

/* After the worker has taken `conf`, or refused another: attachments become what `conf` wants. */
void broker_plane_settle(struct plane *plane, const struct conf *conf);

/* ---- broker_splice.c: the splice lane's kernel side ---- */

/* Where `conf` may use the sockmap relay: its maps in the bundle, or why there are none. `splice`
 * is opened at need. 0, or -errno with an error in `diag` where the bundle takes nothing more. */
int broker_splice_prepare(struct plane_splice **splice, const struct conf *conf,
			  unsigned int n_threads, struct bundle *bundle,
			  struct conf_diag *diag) MUST_CHECK;

/* The live table in the bundle; `live` is made with the first configuration. 0 or -errno as above.
 */
int broker_live_prepare(struct plane_live **live, const struct conf *conf, bool is_first,
			struct bundle *bundle, struct conf_diag *diag) MUST_CHECK;

/* ---- broker_generation.c ---- */

/* What the broker holds of the host over all generations. */
struct host {
	struct runtime runtime;
	struct listeners listeners;
	struct plane *plane; /* NULL: nothing steers, or did */
	struct plane_splice *splice; /* NULL: no sockmap relay */
	struct plane_live *live; /* NULL: the worker keeps its table to itself */
};

void host_init(struct host *host);
void host_done(struct host *host);

/* A configuration and the bundle with all that it needs. Zeroed: none. */
struct generation {
	struct conf *conf;
	struct bundle *bundle;
};

/* Of broker_load.c: as broker_load(), with the text of a bundle. */
int broker_load_again(const struct bundle *before, const char *config_path, uint64_t number,
		      struct conf_diag *diag, struct conf **ret_conf,
		      struct bundle **ret_bundle) MUST_CHECK;

void generation_free(struct generation *generation);

/*
 * Reads the configuration, or takes the text of `current` again, and opens what it names.
 * `current`: what runs now, its conf NULL at the start. On failure, with errors in `diag`, the
 * listeners are as before; after success listeners_commit() or listeners_undo() must follow.
 */
int generation_prepare(struct host *host, const char *config_path, uint64_t number,
		       const struct generation *current, bool same_text, struct conf_diag *diag,
		       struct generation *ret_generation) MUST_CHECK;

/* ---- broker_child.c: the worker process ---- */

struct child {
	pid_t pid; /* 0: none runs */
	int socket_fd;
	uint64_t started_ms;
};

/* fork() and exec() of our own program. 0 or -errno. */
int child_start(struct child *child) MUST_CHECK;

/* SIGKILL; the end is seen as any other. */
void child_kill(const struct child *child);

/* Has it ended? `ret_status` as of waitpid(). */
bool child_has_ended(struct child *child, int *ret_status);

/* "exit status 1", "signal 9 (Killed)". */
const char *child_describe_end(int status, char text[64]);

/* ---- broker_control.c: commands over the broker's socket ---- */

struct control;

/* `listen_fd` stays the caller's. `on_reload` is called when a client asks for a reload. NULL: no
 * memory. */
struct control *control_new(struct loop *loop, int listen_fd, void (*on_reload)(void *argument),
			    void *argument) MUST_CHECK;
void control_free(struct control *control);

/* Those who asked up to now are answered by the next control_answer(). */
void control_begin(struct control *control);

void control_answer(struct control *control, const char *text);

/* ---- broker_notify.c ---- */

/* Tells the service manager ("READY=1"; systemd.exec(5), $NOTIFY_SOCKET), where there is one. Never
 * waits. */
void notify(const char *format, ...) PRINTF_LIKE(1, 2);

/* ---- broker_util.c ---- */

/* One log line for each line of `text`. */
void log_lines(enum log_level level, const char *message, const char *text);

/* The lines of both texts, each once: both processes parse the same text and warn of the same.
 * malloc()ed; NULL: no memory. */
char *text_merge(const char *ours, const char *theirs) MUST_CHECK;

/* As many as we may have: every connection of the worker, which inherits the limit, takes two. */
void raise_open_files(void);

/* ---- broker_socket.c ---- */

/* Of listeners whose configuration says nothing. */
#define BROKER_BACKLOG 4096

/* Of a listening socket, also one in use; what is 0 goes back to the host's setting. */
void broker_socket_set_options(int fd, const struct conf_socket *options, bool is_unix);

/* ---- broker.c ---- */

/* How long the worker may take to answer a bundle. */
#define BROKER_REPLY_TIMEOUT_MS 30000

enum broker_state {
	BROKER_STARTING, /* a fresh worker was offered a bundle: RUNNING, or the end */
	BROKER_RUNNING, /* until a reload (OFFERING), or the worker's death (BACKOFF) */
	BROKER_OFFERING, /* a running worker was offered the next bundle: RUNNING, or BACKOFF */
	BROKER_BACKOFF, /* no worker, the listeners stay open: STARTING after a while */
	BROKER_DRAINING, /* told to stop: the end when the worker has ended */
};

struct broker {
	const char *config_path;
	enum broker_state state;
	bool is_ending; /* the loop is told to stop */
	int exit_status;
	struct loop *loop;
	struct watch signal_watch;
	struct watch child_watch; /* fd -1: not watched */
	struct timer reply_timer;
	struct timer restart_timer;
	struct timer kill_timer;
	struct host host;
	struct control *control;
	struct child child;
	unsigned int short_lives; /* workers in a row that died young */
	uint64_t last_number; /* of the newest bundle */
	bool reload_wanted;
	bool files_changed; /* a reload of the same text is wanted */
	struct file_watch *file_watch;
	struct file_watch *names_watch;
	struct generation current;
	struct generation next; /* conf NULL: nothing is on offer */
	struct conf_diag *next_diag; /* its warnings */
};

/* The loop ends, and with it the process. */
void broker_stop(struct broker *broker, int exit_status);

/* ---- broker_names.c: /etc/hosts and /etc/resolv.conf ---- */

#define BROKER_NAMES_FILES 2
extern const char *const broker_names_files[BROKER_NAMES_FILES];

/* Is a server a host name? */
bool broker_has_names(const struct conf *conf);

/* Of broker_load.c: adds those that the host has. 0 or -errno. */
int broker_load_names(struct bundle *bundle) MUST_CHECK;

/* For the configuration in force. */
void broker_watch_names(struct broker *broker);

/* To a worker that serves. */
void broker_send_names(struct broker *broker);
void broker_on_names(void *argument, const char *path);

/* ---- broker_reload.c ---- */

/* Reads the configuration, or takes the text in force, and opens what it names into `next`. 0, or
 * -errno with the reasons in `diag`. */
int broker_prepare(struct broker *broker, bool same_text, struct conf_diag *diag) MUST_CHECK;
void broker_drop_next(struct broker *broker);
void broker_configure_log(const struct conf *conf);

/* Offers `next`, or `current` where there is none, to the worker. */
void broker_offer(struct broker *broker);
bool broker_awaits_reply(const struct broker *broker);
void broker_on_reply(struct broker *broker, const struct bundle_reply *reply);

/* What is on offer comes to nothing; "why" lines in `text`. */
void broker_refused(struct broker *broker, const char *text);

/* "taken N" and the warnings, or "refused" and the reasons, to whoever asked for this reload. */
void broker_answer(struct broker *broker, const char *verdict, const char *text);

/* Does what was asked for, if now is the time. */
void broker_reload(struct broker *broker);
void broker_on_reload(void *argument);
void broker_on_files(void *argument, const char *path);

#endif
