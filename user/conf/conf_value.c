/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a single value may look like: numbers, durations, names, addresses, domains, paths. Pure.
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

/* ---- Numbers ---- */

int conf_number_parse(struct str text, int64_t *ret_number)
{
	int64_t number = 0;
	int err = 0;

	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -EINVAL;
		if (number > (INT64_MAX - 9) / 10)
			err = -ERANGE;
		else
			number = number * 10 + (text.ptr[i] - '0');
	}
	if (!err)
		*ret_number = number;
	return err;
}

static const struct conf_unit {
	const char *name;
	int64_t ms;
} conf_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

int conf_duration_parse(struct str text, int64_t *ret_ms)
{
	size_t n_digits = 0;
	int64_t number = 0;
	int err;

	while (n_digits < text.len && text.ptr[n_digits] >= '0' && text.ptr[n_digits] <= '9')
		n_digits++;
	if (n_digits == 0)
		return -EINVAL;
	if (n_digits == text.len)
		return -ENODATA;
	err = conf_number_parse((struct str){text.ptr, n_digits}, &number);
	for (size_t i = 0; i < ARRAY_LEN(conf_units); i++) {
		struct str unit = {text.ptr + n_digits, text.len - n_digits};

		if (!str_is_equal(unit, str_from(conf_units[i].name)))
			continue;
		if (err || number > INT64_MAX / conf_units[i].ms)
			return -ERANGE;
		*ret_ms = number * conf_units[i].ms;
		return 0;
	}
	return -EINVAL;
}

struct conf_duration_text conf_duration_format(int64_t ms)
{
	struct conf_duration_text duration;
	size_t i = 0;

	while (ms % conf_units[i].ms)
		i++;
	snprintf(duration.text, sizeof(duration.text), "%lld%s", (long long)(ms / conf_units[i].ms),
		 conf_units[i].name);
	return duration;
}

/* ---- Names ---- */

static bool conf_is_word_char(char c)
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

/* ---- Addresses ---- */

int conf_ports_parse(struct str text, uint16_t *ret_min, uint16_t *ret_max)
{
	const char *dash = text.len ? memchr(text.ptr, '-', text.len) : NULL;
	int64_t min, max;
	size_t n_min;

	if (!dash)
		return -EINVAL;
	n_min = (size_t)(dash - text.ptr);
	if (conf_number_parse((struct str){text.ptr, n_min}, &min) ||
	    conf_number_parse((struct str){dash + 1, text.len - n_min - 1}, &max))
		return -EINVAL;
	if (min < 1024 || max > 65535)
		return -ERANGE;
	if (min > max)
		return -EDOM;
	*ret_min = (uint16_t)min;
	*ret_max = (uint16_t)max;
	return 0;
}

const char *conf_check_ports(struct str text)
{
	uint16_t min, max;

	switch (conf_ports_parse(text, &min, &max)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "is not within 1024-65535";
	case -EDOM:
		return "ends before it begins";
	default:
		return "is not a range of ports; write for example \"61000-65535\"";
	}
}

/* Letters: a name to look up, as far as one can tell. */
static bool conf_is_host_name(struct str text)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	size_t len = colon ? (size_t)(colon - text.ptr) : text.len;
	bool has_letter = false;

	for (size_t i = 0; i < len; i++) {
		if (!conf_is_word_char(text.ptr[i]) && text.ptr[i] != '.')
			return false;
		has_letter |= isalpha((unsigned char)text.ptr[i]) != 0;
	}
	return has_letter;
}

static bool conf_is_port_range(struct str text)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	size_t left = colon ? (size_t)(text.ptr + text.len - colon) : 0;

	return colon && memchr(colon, '-', left) && strspn(colon + 1, "0123456789-") + 1 >= left;
}

const char *conf_check_bind(struct str text)
{
	struct addr addr;
	int err = addr_parse(text, &addr);

	if (err == -ERANGE)
		return "has no port from 1 to 65535";
	if (!err)
		return addr.sa.sa_family == AF_UNIX
			   ? "is a UNIX socket: listening there is not built yet"
			   : NULL;
	if (conf_is_port_range(text))
		return "has a range of ports: that is not built yet";
	if (conf_is_host_name(text) && memchr(text.ptr, ':', text.len))
		return "names a host; give an address of this host, such as "
		       "\"192.0.2.1:443\", or \":443\" for all";
	return "is not an address with a port; write for example \":443\", "
	       "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"";
}

const char *conf_check_server(struct str text)
{
	struct addr addr;
	int err = addr_parse(text, &addr);

	if (err == -ERANGE)
		return "has no port from 1 to 65535";
	if (err && conf_is_host_name(text))
		return "names a host: looking names up is not built yet; give an address and port "
		       "such as \"192.0.2.1:8200\"";
	if (!err && text.ptr[0] != ':')
		return NULL;
	return "is not an address with a port; write for example \"192.0.2.1:8200\" or "
	       "\"[2001:db8::1]:8200\"";
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
