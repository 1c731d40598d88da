/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace of the test's own, with two devices and neighbours that never change, and the
 * steer programs loaded (not attached). The process stays in it.
 */
#ifndef TESTS_BPF_NODE_H
#define TESTS_BPF_NODE_H

#include <stdint.h>

#include "penstock/abi.h"
#include "penstock/reasons.h"

/* Who is where: the device "c0" leads to clients, "s0" to servers. */
#define NODE_CLIENT_NET_ADDR "198.51.100.1" /* /24, on c0 */
#define NODE_CLIENT "198.51.100.2"
#define NODE_SERVER_NET_ADDR "203.0.113.1" /* /24, on s0 */
#define NODE_SERVER "203.0.113.2"
#define NODE_SERVER_2 "203.0.113.3"
#define NODE_SERVER_SILENT "203.0.113.99" /* no neighbour entry */
#define NODE_SERVER_AWAY "192.88.99.1" /* no route */

extern const uint8_t node_c0_mac[6], node_s0_mac[6], node_client_mac[6], node_server_mac[6],
    node_server_2_mac[6];

struct node {
	struct steer
	    *skel; /* of bpf/steer.bpf.c; whoever includes it cannot include steer/steer.h */
	unsigned int c0, s0; /* interface indices */
};

/* The namespace and its devices alone. */
void node_enter(struct node *node);

/* Stops the process with a sentence where the machine does not let us. */
void node_start(struct node *node);
void node_stop(struct node *node);

/* Of the programs that are loaded; stay the node's. */
int node_map_fd(const struct node *node, const char *name);
int node_program_fd(const struct node *node, const char *name);

/* Runs a shell command; the test stops where it fails. */
void node_run(const char *command);

/* For kernel knobs: writes `text` into the file. */
void node_write(const char *path, const char *text);

/* Empties flows, services, servers and counters. */
void node_clear(struct node *node);

/* Sum over processors. */
uint64_t node_counter(const struct node *node, enum steer_counter counter);

#endif
