/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos with a fault each, and what is said of them. */
#ifndef PENSTOCK_TESTS_HELLO_MAKER_H
#define PENSTOCK_TESTS_HELLO_MAKER_H

#include <stddef.h>
#include <stdint.h>

#include "classify/classify.h"
#include "penstock/limits.h"

#define DATA(literal) literal, sizeof(literal) - 1

struct maker {
	uint8_t bytes[PENSTOCK_MAX_CLIENT_HELLO_BYTES + 4096];
	size_t len_bytes;
};

struct made {
	struct maker extensions;
	struct maker message;
	struct maker wire;
	struct client_hello hello;
};

/* From a copy of the exact size, so that ASan sees every byte too many. */
enum classify_verdict classify(const uint8_t *data, size_t len_bytes,
			       struct client_hello *ret_hello);
size_t needed(const uint8_t *data, size_t len_bytes);

/* NEED_MORE for every part, CLIENT_HELLO for the whole and for what follows it. */
void check_hello_cuts(const uint8_t *data, size_t len_bytes);

void put(struct maker *maker, const void *data, size_t len_bytes);
void put_u8(struct maker *maker, size_t value);
void put_u16(struct maker *maker, size_t value);
void put_extension(struct maker *maker, uint16_t type, const void *data, size_t len_bytes);

/* The message without records around it. `extensions` NULL: the field is not there. */
void make_message(struct maker *maker, const struct maker *extensions);
void make_records(struct maker *wire, const struct maker *message, size_t record_bytes);

/* Setup and teardown: the state is a struct made. */
int make_new(void **state);
int make_free(void **state);

enum classify_verdict classify_made(struct made *made);
enum classify_verdict classify_extension(struct made *made, uint16_t type, const void *data,
					 size_t len_bytes);
enum classify_verdict classify_sni(struct made *made, const char *name, size_t len);

#endif
