// SPDX-License-Identifier: Apache-2.0
/* A steer with the maps of a node, and what tests of it write and count there. */
#ifndef TESTS_BPF_TABLES_H
#define TESTS_BPF_TABLES_H

#include "node.h"
#include "steer/steer_internal.h"
#include "wanted.h"

extern struct node tables_node;
extern struct loop *loop;
extern struct steer *steer;

/* Descriptors of the maps. */
int services_fd(void);
int servers_fd(void);
int flows_fd(void);

/* Another one, with the same maps. */
struct steer *new_steer(void);

/* A TCP service at 198.51.100.1:PORT, as many as there are texts of servers, NULL at the end. */
struct conf *services_of(const char *servers, ...);

/* Frees `conf`. */
void publish(struct conf *conf);

size_t count_entries(int fd);

/* Of each test, and of all of them. */
int tables_setup(void **state);
int tables_teardown(void **state);
int tables_group_setup(void **state);
int tables_group_teardown(void **state);

#endif
