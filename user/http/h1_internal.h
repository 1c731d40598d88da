/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside http/: the header lines that requests and responses have in common, and scanning.
 */
#ifndef PENSTOCK_HTTP_H1_INTERNAL_H
#define PENSTOCK_HTTP_H1_INTERNAL_H

#include "http/h1.h"

/* RFC 9110 section 5.6.2. */
bool h1_is_token_char(char c);
bool h1_is_token(struct str text);

/* The first byte that is not of a token, or `end`. */
const char *h1_skip_token(const char *p, const char *end);

/* The first control character other than HTAB (DEL is one), or `end`. */
const char *h1_find_control(const char *p, const char *end);

/*
 * Finds the end of the line at `p`. H1_NEED_MORE; H1_DONE: `ret_cr` is its CR, LF follows;
 * H1_REFUSED: a LF without CR, or a control character.
 */
enum h1_progress h1_find_line_end(const char *p, const char *end, enum h1_fault control_fault,
				  const char **ret_cr, enum h1_fault *ret_fault);

/* "HTTP/1.1", "HTTP/1.0": the eight bytes at `p`. Minor versions above 1 count as 1 (RFC 9110
 * section 6.2). */
enum h1_fault h1_parse_version(struct str text, uint8_t *ret_minor);

/* What the header lines said, for the owner of the head to judge. */
struct h1_seen {
	struct str host;
	unsigned int n_hosts;
	unsigned int n_lengths;
	unsigned int n_codings;
	bool says_close;
	bool says_keep_alive;
	bool expects_continue;
};

/* Nothing was parsed yet. Leaves what parsing sets in any case, and the fields, which are many. */
void h1_head_init(struct h1_head *head, const char *data);

/*
 * Parses header lines from `p` up to and with the empty line into `head` (data and minor are set).
 * On H1_DONE the common rules hold: one length, one coding, never both.
 */
enum h1_progress h1_parse_fields(struct h1_head *head, const char *p, const char *end,
				 struct h1_seen *ret_seen, enum h1_fault *ret_fault);

struct str h1_field_name(const struct h1_head *head, const struct h1_field *field);
struct str h1_field_value(const struct h1_head *head, const struct h1_field *field);

/* Calls for each element of a comma-separated list; 0, or what `visit` returned. Empty elements are
 * skipped. */
int h1_list_each(struct str list, int (*visit)(void *argument, struct str element), void *argument);

/* A header of our own hop, or one that Connection names. */
bool h1_field_is_hop_by_hop(const struct h1_head *head, const struct h1_field *field);

char *h1_put(char *out, struct str text);

/* Copies the header lines for which `keep` holds, neighbours in one go. */
char *h1_put_fields(char *out, const struct h1_head *head,
		    bool (*keep)(const void *argument, const struct h1_head *head,
				 const struct h1_field *field),
		    const void *argument);

#endif
