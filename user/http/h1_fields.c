/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_internal.h"

#define H1_LENGTH_DIGITS_MAX 18 /* less than INT64_MAX */

struct str h1_field_name(const struct h1_head *head, const struct h1_field *field)
{
	return (struct str){head->data + field->line, field->name_len};
}

struct str h1_field_value(const struct h1_head *head, const struct h1_field *field)
{
	return (struct str){head->data + field->value, field->value_len};
}

/* "_" counts as "-": some origins cannot tell the two apart. `word` is lower case. */
static bool h1_name_is(struct str name, struct str word)
{
	if (name.len != word.len)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i] == '_' ? '-' : ascii_lower(name.ptr[i]);

		if (c != word.ptr[i])
			return false;
	}
	return true;
}

static enum h1_name h1_name_if(struct str name, struct str word, enum h1_name meaning)
{
	return str_is_equal_nocase(name, word) ? meaning : H1_NAME_OTHER;
}

/* Any X-Forwarded-… is taken for ours: For, Proto, Host, Port, Server, Prefix, Ssl, Client-Cert. */
static enum h1_name h1_name_of_forwarding(struct str name)
{
	struct str start = {name.ptr, sizeof("x-forwarded-") - 1};

	if (name.len > start.len && h1_name_is(start, STR("x-forwarded-")))
		return H1_NAME_FORWARDED;
	if (h1_name_is(name, STR("x-real-ip")))
		return H1_NAME_FORWARDED;
	return H1_NAME_OTHER;
}

static enum h1_name h1_name_classify(struct str name)
{
	char first = ascii_lower(name.ptr[0]);

	if (first == 'x')
		return h1_name_of_forwarding(name);
	switch (name.len) {
	case 2:
		return h1_name_if(name, STR("te"), H1_NAME_HOP);
	case 4:
		return h1_name_if(name, STR("host"), H1_NAME_HOST);
	case 6:
		return h1_name_if(name, STR("expect"), H1_NAME_EXPECT);
	case 7:
		return h1_name_if(name, first == 'u' ? STR("upgrade") : STR("trailer"),
				  H1_NAME_HOP);
	case 9:
		return h1_name_if(name, STR("forwarded"), H1_NAME_FORWARDED);
	case 10:
		if (first == 'c')
			return h1_name_if(name, STR("connection"), H1_NAME_CONNECTION);
		return h1_name_if(name, STR("keep-alive"), H1_NAME_HOP);
	case 11:
		return h1_name_is(name, STR("client-cert")) ? H1_NAME_FORWARDED : H1_NAME_OTHER;
	case 14:
		return h1_name_if(name, STR("content-length"), H1_NAME_CONTENT_LENGTH);
	case 16:
		return h1_name_if(name, STR("proxy-connection"), H1_NAME_HOP);
	case 17:
		if (first == 'c')
			return h1_name_is(name, STR("client-cert-chain")) ? H1_NAME_FORWARDED
									  : H1_NAME_OTHER;
		return h1_name_if(name, STR("transfer-encoding"), H1_NAME_TRANSFER_ENCODING);
	default:
		return H1_NAME_OTHER;
	}
}

static struct str h1_trim(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	return (struct str){from, (size_t)(to - from)};
}

int h1_list_each(struct str list, int (*visit)(void *argument, struct str element), void *argument)
{
	const char *p = list.ptr, *end = list.ptr + list.len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *stop = comma ? comma : end;
		struct str element = h1_trim(p, stop);
		int result = element.len ? visit(argument, element) : 0;

		if (result)
			return result;
		p = stop + 1;
	}
	return 0;
}

struct h1_connection_walk {
	struct h1_head *head;
	struct h1_seen *seen;
};

static int h1_note_connection_option(void *argument, struct str option)
{
	struct h1_connection_walk *walk = argument;

	if (str_is_equal_nocase(option, STR("close"))) {
		walk->seen->says_close = true;
		return 0;
	}
	if (str_is_equal_nocase(option, STR("keep-alive"))) {
		walk->seen->says_keep_alive = true;
		return 0;
	}
	if (!h1_is_token(option))
		return H1_FAULT_CONNECTION;
	switch (h1_name_classify(option)) {
	case H1_NAME_HOST:
	case H1_NAME_CONTENT_LENGTH:
	case H1_NAME_TRANSFER_ENCODING:
		return H1_FAULT_CONNECTION;
	default:
		walk->head->lists_names = true;
		return 0;
	}
}

static enum h1_fault h1_note_length(struct h1_head *head, struct str value)
{
	uint64_t length = 0;

	if (value.len == 0 || value.len > H1_LENGTH_DIGITS_MAX)
		return H1_FAULT_LENGTH;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return H1_FAULT_LENGTH;
		length = length * 10 + (uint64_t)(value.ptr[i] - '0');
	}
	head->content_length = length;
	head->has_content_length = true;
	return H1_FAULT_NONE;
}

static enum h1_fault h1_note_field(struct h1_head *head, const struct h1_field *field,
				   struct h1_seen *seen)
{
	struct str value = h1_field_value(head, field);

	switch (field->name) {
	case H1_NAME_HOST:
		seen->host = value;
		seen->n_hosts++;
		return H1_FAULT_NONE;
	case H1_NAME_CONTENT_LENGTH:
		return seen->n_lengths++ ? H1_FAULT_LENGTH_TWICE : h1_note_length(head, value);
	case H1_NAME_TRANSFER_ENCODING:
		if (seen->n_codings++)
			return H1_FAULT_CODING_TWICE;
		head->is_chunked = true;
		return str_is_equal_nocase(value, STR("chunked")) ? H1_FAULT_NONE
								  : H1_FAULT_CODING_UNKNOWN;
	case H1_NAME_CONNECTION: {
		struct h1_connection_walk walk = {head, seen};

		return (enum h1_fault)h1_list_each(value, h1_note_connection_option, &walk);
	}
	case H1_NAME_EXPECT:
		seen->expects_continue |= str_is_equal_nocase(value, STR("100-continue"));
		return H1_FAULT_NONE;
	default:
		return H1_FAULT_NONE;
	}
}

/* One line at `p`, which is not the empty one; `ret_next` is the line after it. */
static enum h1_progress h1_parse_field(struct h1_head *head, const char *p, const char *end,
				       const char **ret_next, enum h1_fault *ret_fault)
{
	const char *colon = h1_skip_token(p, end);
	const char *cr = NULL;
	enum h1_progress progress;
	struct h1_field *field;
	struct str value;

	if (colon == end)
		return H1_NEED_MORE;
	if (colon == p || *colon != ':') {
		bool is_folded = colon == p && (*p == ' ' || *p == '\t');

		*ret_fault = is_folded ? H1_FAULT_FIELD_FOLDED : H1_FAULT_FIELD_NAME;
		if (*colon == '\n')
			*ret_fault = H1_FAULT_LINE_END;
		return H1_REFUSED;
	}
	progress = h1_find_line_end(colon + 1, end, H1_FAULT_FIELD_VALUE, &cr, ret_fault);
	if (progress != H1_DONE)
		return progress;
	if (head->n_fields == PENSTOCK_MAX_HEADERS) {
		*ret_fault = H1_FAULT_TOO_MANY_FIELDS;
		return H1_REFUSED;
	}
	value = h1_trim(colon + 1, cr);
	field = &head->fields[head->n_fields++];
	*field = (struct h1_field){
	    .line = (uint16_t)(p - head->data),
	    .name_len = (uint16_t)(colon - p),
	    .value = (uint16_t)(value.ptr - head->data),
	    .value_len = (uint16_t)value.len,
	    .name = (uint8_t)h1_name_classify((struct str){p, (size_t)(colon - p)}),
	};
	*ret_next = cr + 2;
	return H1_DONE;
}

static enum h1_progress h1_finish_fields(struct h1_head *head, const struct h1_seen *seen,
					 const char *empty_line, enum h1_fault *ret_fault)
{
	head->fields_end = (uint16_t)(empty_line - head->data);
	head->len_bytes = (size_t)(empty_line - head->data) + 2;
	head->wants_close = seen->says_close || (head->minor == 0 && !seen->says_keep_alive);
	if (head->is_chunked && head->has_content_length)
		*ret_fault = H1_FAULT_LENGTH_AND_CODING;
	else if (head->is_chunked && head->minor == 0)
		*ret_fault = H1_FAULT_CODING_OLD;
	else
		return H1_DONE;
	return H1_REFUSED;
}

void h1_head_init(struct h1_head *head, const char *data)
{
	head->data = data;
	head->n_fields = 0;
	head->content_length = 0;
	head->has_content_length = false;
	head->is_chunked = false;
	head->lists_names = false;
}

enum h1_progress h1_parse_fields(struct h1_head *head, const char *p, const char *end,
				 struct h1_seen *ret_seen, enum h1_fault *ret_fault)
{
	*ret_seen = (struct h1_seen){.n_hosts = 0};
	for (;;) {
		enum h1_progress progress;
		enum h1_fault fault;

		if (p == end || (*p == '\r' && p + 1 == end))
			return H1_NEED_MORE;
		if (*p == '\r' && p[1] == '\n')
			return h1_finish_fields(head, ret_seen, p, ret_fault);
		progress = h1_parse_field(head, p, end, &p, ret_fault);
		if (progress != H1_DONE)
			return progress;
		fault = h1_note_field(head, &head->fields[head->n_fields - 1], ret_seen);
		if (fault) {
			*ret_fault = fault;
			return H1_REFUSED;
		}
	}
}

static int h1_is_option(void *argument, struct str option)
{
	return str_is_equal_nocase(*(const struct str *)argument, option);
}

static bool h1_is_named_by_connection(const struct h1_head *head, struct str name)
{
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct h1_field *field = &head->fields[i];

		if (field->name == H1_NAME_CONNECTION &&
		    h1_list_each(h1_field_value(head, field), h1_is_option, &name))
			return true;
	}
	return false;
}

bool h1_field_is_hop_by_hop(const struct h1_head *head, const struct h1_field *field)
{
	switch (field->name) {
	case H1_NAME_CONNECTION:
	case H1_NAME_TRANSFER_ENCODING:
	case H1_NAME_HOP:
		return true;
	default:
		return head->lists_names &&
		       h1_is_named_by_connection(head, h1_field_name(head, field));
	}
}
