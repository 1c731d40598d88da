/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side of the steer lane: loads the programs, pins maps and links, chooses a hook per
 * device, attaches. For the privileged broker only. What it pins stays when the process goes;
 * plane_open() adopts it again.
 */
#ifndef PENSTOCK_PLANE_PLANE_H
#define PENSTOCK_PLANE_PLANE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "conf/conf.h"

struct plane;

/* What a call that failed wants to tell: terminated, cut where it is too long. */
struct plane_error {
	char text[512];
};

/*
 * Loads the programs, or adopts the maps under conf->pin_dir where their layout is ours (an update
 * of the programs keeps the flows). Mounts nothing but a missing bpffs. 0 or -errno with
 * `ret_error` in words, with the mend.
 */
int plane_open(const struct conf *conf, struct plane **ret_plane,
	       struct plane_error *ret_error) MUST_CHECK;

/* Closes descriptors; what is pinned stays. Takes NULL. */
void plane_free(struct plane *plane);

/*
 * Attaches to all devices that `conf` wants, and gives the present programs to those attached
 * already. All or nothing as far as the kernel lets us: on failure what was new is undone. Detaches
 * nothing, so the configuration before still works; plane_settle() follows when it is known which
 * one is to be.
 */
int plane_attach(struct plane *plane, const struct conf *conf,
		 struct plane_error *ret_error) MUST_CHECK;

/*
 * As plane_attach(), and detaches what neither `conf` nor an open flow needs. Where `conf` steers
 * nothing, that is everything.
 */
int plane_settle(struct plane *plane, const struct conf *conf,
		 struct plane_error *ret_error) MUST_CHECK;

/* Of the map "services", "servers", "flows" or "counters"; stays the plane's; -ENOENT. */
int plane_map_fd(const struct plane *plane, const char *name);

/* {"devices": [{"name", "hook": "xdp"|"tc", "reason", "attach": "link"|"filter"}], "pin_dir": …}.
 * malloc()ed. */
char *plane_describe(const struct plane *plane) MUST_CHECK;

/* Detaches and unpins everything under conf->pin_dir: the end of the steer lane on this host. 0 or
 * -errno. */
int plane_remove(const struct conf *conf, struct plane_error *ret_error) MUST_CHECK;

/* ---- the splice lane's kernel side: the program and the maps of the sockmap relay ---- */

struct plane_splice;

/*
 * Loads the program, pins it and the maps under `pin_dir` (NULL: nothing is pinned), makes a ring
 * for each of `n_rings` threads, and proves the whole with connections over loopback: what this
 * kernel does not do right is not used. 0 or -errno with `ret_error` in words.
 */
int plane_splice_open(const char *pin_dir, unsigned int n_rings, struct plane_splice **ret_splice,
		      struct plane_error *ret_error) MUST_CHECK;

/* Takes the pins away, too: without the process that relays they are of no use. Takes NULL. */
void plane_splice_free(struct plane_splice *splice);

/* Of the map "splice_src", "splice_tgt", "splice_ids" or "splice_dirs"; stays the plane's;
 * -ENOENT. */
int plane_splice_map_fd(const struct plane_splice *splice, const char *name);

/* The events for thread `index`; stays the plane's; -ENOENT. */
int plane_splice_ring_fd(const struct plane_splice *splice, unsigned int index);

/* ---- the live table of open connections, of every lane but the steered ---- */

struct plane_live;

/* Makes the map and pins it under `pin_dir` as "streams". 0 or -errno with `ret_error` in words. */
int plane_live_open(const char *pin_dir, struct plane_live **ret_live,
		    struct plane_error *ret_error) MUST_CHECK;

/* Takes the pin away, too. Takes NULL. */
void plane_live_free(struct plane_live *live);

/* Stays the plane's. */
int plane_live_map_fd(const struct plane_live *live);

#endif
