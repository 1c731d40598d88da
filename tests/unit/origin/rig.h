/* SPDX-License-Identifier: Apache-2.0 */
/* An origin of a few listeners on loopback, and wishes for connections to it. */
#ifndef TEST_ORIGIN_RIG_H
#define TEST_ORIGIN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../await.h"
#include "origin/origin.h"
#include "server/server.h"

#define RIG_SERVERS 4

struct fixture {
	struct loop *loop;
	struct origin_table *table;
	struct conf conf;
	struct conf_origin origin;
	struct conf_origin *origins[1];
	struct conf_server servers[RIG_SERVERS];
	struct tls_client_ctx *contexts[1];
	int listeners[RIG_SERVERS];
};

struct wish {
	struct origin_request request;
	struct origin_conn *conn;
	enum close_reason reason;
	int answers;
	char detail[256];
};

int rig_listen(struct addr *ret_addr, int backlog);
void rig_setup(struct fixture *fixture, size_t n_servers);
void rig_teardown(struct fixture *fixture);
struct origin_view *rig_view(struct fixture *fixture);
void rig_on_ready(struct origin_request *request, struct origin_conn *conn,
		  enum close_reason reason, const char *detail);

/* Closes a server's listener: connections to it are refused. */
void rig_refuse(struct fixture *fixture, size_t server);

/* Only asks. The wish is filled with zeros first, but for `client`. */
void rig_ask(struct fixture *fixture, struct origin_view *view, struct wish *wish,
	     const struct addr *client);

/* Turns the loop until it is answered. */
void rig_await(struct fixture *fixture, struct wish *wish);
void rig_turn(struct fixture *fixture, int n);
void rig_acquire(struct fixture *fixture, struct origin_view *view, struct wish *wish);

/* Asks, waits, discards; which server it was. Fails without a connection. */
size_t rig_visit(struct fixture *fixture, struct origin_view *view, const struct addr *client);

size_t rig_server_of(const struct fixture *fixture, const struct origin_conn *conn);

/* What all threads know of a server; to be given back. */
struct server *rig_shared(const struct fixture *fixture, size_t server);

#endif
