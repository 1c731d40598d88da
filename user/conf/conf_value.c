/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a single text may look like: names, domains, paths, bytes. Pure. Numbers are in
 * conf_quantity.c, addresses in conf_address.c.
 */
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "conf/conf_internal.h"

#define CONF_QUOTE_MAX_LEN 80
#define CONF_NAME_MAX_LEN 63
#define CONF_PREFIX_MAX_LEN 4096
#define CONF_DOMAIN_MAX_LEN 253 /* RFC 1035 section 2.3.4, without the root's dot */

/* ---- Messages ---- */

static bool conf_is_control(struct str text, size_t i)
{
	const unsigned char *c = (const unsigned char *)text.ptr + i;

	if (*c < ' ' || *c == 0x7f)
		return true;
	/* The C1 controls are U+0080 to U+009F: the bytes 0xc2 0x80 to 0xc2 0x9f. */
	return (*c == 0xc2 && i + 1 < text.len && c[1] < 0xa0) ||
	       (*c < 0xa0 && i > 0 && c[-1] == 0xc2);
}

struct conf_quoted conf_quote(struct str text)
{
	struct conf_quoted quoted;
	size_t used = 0;

	quoted.text[used++] = '"';
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		/* Cut before a character, not within one. */
		if (used > CONF_QUOTE_MAX_LEN && (c & 0xc0) != 0x80) {
			memcpy(quoted.text + used, "…", 3);
			used += 3;
			break;
		}
		if (conf_is_control(text, i))
			used += (size_t)snprintf(quoted.text + used, 5, "\\x%02x", c);
		else
			quoted.text[used++] = (char)c;
	}
	quoted.text[used++] = '"';
	quoted.text[used] = 0;
	return quoted;
}

struct conf_nearest conf_nearest_start(struct str wrong)
{
	return (struct conf_nearest){.wrong = wrong, .distance = SIZE_MAX};
}

void conf_nearest_offer(struct conf_nearest *nearest, const char *name)
{
	struct str wrong = nearest->wrong, right = str_from(name);
	size_t distance = str_distance(wrong, right);

	/* "cert" for "certificates", "timeout" for "timeouts" */
	if (MIN(wrong.len, right.len) >= 3 &&
	    (str_starts_with(right, wrong) || str_starts_with(wrong, right)))
		distance = 1;
	if (distance < nearest->distance &&
	    distance <= MIN(wrong.len, right.len) / 3 + (wrong.len > 1)) {
		nearest->distance = distance;
		nearest->name = name;
	}
}

/* ---- Names ---- */

bool conf_is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

const char *conf_check_name(struct str text)
{
	if (text.len == 0 || text.len > CONF_NAME_MAX_LEN)
		return "is not a name; take 1 to 63 of the characters a-z A-Z 0-9 - _ and dot";
	for (size_t i = 0; i < text.len; i++)
		if (!conf_is_word_char(text.ptr[i]) && text.ptr[i] != '.')
			return "is not a name; take 1 to 63 of the characters a-z A-Z 0-9 - _ and "
			       "dot";
	return NULL;
}

/* What useradd(8) takes. */
const char *conf_check_user(struct str text)
{
	bool ok = text.len > 0 && text.len <= 32 &&
		  (islower((unsigned char)text.ptr[0]) || text.ptr[0] == '_');

	for (size_t i = 0; ok && i < text.len; i++)
		ok = conf_is_word_char(text.ptr[i]);
	return ok ? NULL : "is not the name of a user";
}

const char *conf_check_path(struct str text)
{
	if (text.len == 0)
		return "is not the name of a file";
	return text.len < 4096 ? NULL : "is longer than the name of a file may be";
}

const char *conf_check_directory(struct str text)
{
	if (text.len == 0 || text.ptr[0] != '/')
		return "is not an absolute path; begin it with \"/\"";
	/* A socket goes below it, and its path has room for 107 bytes (unix(7)). */
	if (text.len > 80)
		return "is longer than the 80 bytes that a path may have here";
	return conf_check_path(text);
}

const char *conf_check_device(struct str text)
{
	bool ok = text.len > 0 && text.len < IFNAMSIZ;

	for (size_t i = 0; ok && i < text.len; i++)
		ok = text.ptr[i] > ' ' && text.ptr[i] != '/' && text.ptr[i] != ':';
	return ok ? NULL : "is not the name of a network device; `ip link` shows them";
}

/* ---- Domains and paths ---- */

const char *conf_check_domain(struct str text)
{
	size_t label_len = 0;

	if (text.len == 0 || text.len > CONF_DOMAIN_MAX_LEN)
		return "is not a domain name";
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] >= 0x80)
			return "is not ASCII; write its \"xn--\" form";
		if (text.ptr[i] == ':')
			return "has a port; give the name alone";
		if (text.ptr[i] == '*')
			return "has a \"*\", which is not taken here";
		if (text.ptr[i] != '.' && !conf_is_word_char(text.ptr[i]))
			return "is not a domain name";
		label_len = text.ptr[i] == '.' ? 0 : label_len + 1;
		if (label_len > 63 || (label_len == 0 && (i == 0 || text.ptr[i - 1] == '.')))
			return "is not a domain name";
	}
	return label_len ? NULL : "ends with a dot; leave that out";
}

const char *conf_check_pattern(struct str text)
{
	if (str_is_equal(text, STR("*")))
		return "matches everything; leave the key out instead";
	if (str_starts_with(text, STR("*.")))
		text = (struct str){text.ptr + 2, text.len - 2};
	if (text.len && memchr(text.ptr, '*', text.len))
		return "has a \"*\" elsewhere than as its whole first label, as in "
		       "\"*.example.com\"";
	return conf_check_domain(text);
}

/* A request's path is cleaned before it is compared: a prefix that cleaning changes would match
 * nothing. */
static const char *conf_check_clean(struct str path)
{
	size_t start = 1;

	for (size_t i = 1; i <= path.len; i++) {
		struct str segment = {path.ptr + start, i - start};

		if (i < path.len && path.ptr[i] != '/')
			continue;
		if ((segment.len == 0 && i < path.len) || str_is_equal(segment, STR(".")) ||
		    str_is_equal(segment, STR("..")))
			return "has an empty, \".\" or \"..\" segment, which is taken out of "
			       "requests before they are compared";
		start = i + 1;
	}
	return NULL;
}

const char *conf_check_prefix(struct str text)
{
	if (text.len == 0 || text.ptr[0] != '/')
		return "is not a path; begin it with \"/\"";
	if (text.len > CONF_PREFIX_MAX_LEN)
		return "is longer than a path may be here (4096 bytes)";
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '*')
			return "has a \"*\": a path is a prefix already, patterns are not taken";
		if (text.ptr[i] == '?' || text.ptr[i] == '#')
			return "has a query or fragment; give the path alone";
		if ((unsigned char)text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] >= 0x7f)
			return "has a character that a path in a request cannot have; write it as "
			       "%XX";
	}
	return conf_check_clean(text);
}

/* ---- Bytes ---- */

/* RFC 7301 section 3.1: 1 to 255 bytes. Those that exist are printable. */
const char *conf_check_alpn(struct str text)
{
	bool ok = text.len > 0 && text.len <= 255;

	for (size_t i = 0; ok && i < text.len; i++)
		ok = text.ptr[i] > ' ' && text.ptr[i] < 0x7f;
	return ok ? NULL
		  : "is not the name of a protocol in ALPN; write for example \"h2\" or "
		    "\"http/1.1\"";
}

static int conf_hex_digit(char c)
{
	c = ascii_lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What follows a backslash: how many characters of it, 0 where there is no such escape. */
static size_t conf_escape_parse(struct str text, char *ret_byte)
{
	static const char names[] = "rnt\\", bytes[] = "\r\n\t\\";
	const char *found = text.len ? memchr(names, text.ptr[0], sizeof(names) - 1) : NULL;
	int high, low;

	if (found) {
		*ret_byte = bytes[found - names];
		return 1;
	}
	if (text.len < 3 || text.ptr[0] != 'x')
		return 0;
	high = conf_hex_digit(text.ptr[1]);
	low = conf_hex_digit(text.ptr[2]);
	if (high < 0 || low < 0)
		return 0;
	*ret_byte = (char)(high << 4 | low);
	return 3;
}

ssize_t conf_bytes_parse(struct str text, char *ret_bytes)
{
	ssize_t n = 0;

	for (size_t i = 0; i < text.len; i++, n++) {
		size_t used;

		ret_bytes[n] = text.ptr[i];
		if (text.ptr[i] != '\\')
			continue;
		used = conf_escape_parse((struct str){text.ptr + i + 1, text.len - i - 1},
					 &ret_bytes[n]);
		if (used == 0)
			return -EINVAL;
		i += used;
	}
	return n;
}

const char *conf_check_bytes(struct str text)
{
	char bytes[CONF_MAX_BYTES];

	if (text.len == 0)
		return "is empty; leave the key out";
	if (text.len > sizeof(bytes))
		return "is longer than may be sent or expected (1024 bytes)";
	if (conf_bytes_parse(text, bytes) < 0)
		return "has a \"\\\" that is none of \\r, \\n, \\t, \\\\ and \\xHH";
	return NULL;
}
