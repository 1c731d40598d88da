/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers, bare and with units: durations, sizes, bandwidths, rates, shares. Pure.
 */
#include <errno.h>
#include <stdio.h>

#include "conf/conf_internal.h"

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

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define UNITS(...) ((const struct conf_unit[]){__VA_ARGS__, {.name = NULL}})

const struct conf_quantity conf_quantity_duration = {
    .title = "duration",
    .like = "a duration such as \"500ms\", \"5s\", \"1m\" or \"2h\"",
    .hint = "s",
    .names = "units are ms, s, m and h",
    .units = UNITS({"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}),
};

const struct conf_quantity conf_quantity_size = {
    .title = "size",
    .like = "a size such as \"64KiB\", \"1MiB\", or a number of bytes",
    .units = UNITS({"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB}, {"", 1}),
};

const struct conf_quantity conf_quantity_bandwidth = {
    .title = "bandwidth",
    .like = "bytes a second such as \"512KiB\" or \"10MiB\"",
    .units = UNITS({"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB}, {"", 1}, {"GiB/s", GIB},
		   {"MiB/s", MIB}, {"KiB/s", KIB}),
};

const struct conf_quantity conf_quantity_rate = {
    .title = "rate",
    .like = "a number a second, such as \"100/s\" or 100",
    .units = UNITS({"/s", 1}, {"", 1}),
};

const struct conf_quantity conf_quantity_percent = {
    .title = "share",
    .like = "a share such as \"50%\"",
    .hint = "%",
    .names = "the unit is %",
    .units = UNITS({"%", 1}),
};

int conf_quantity_parse(const struct conf_quantity *quantity, struct str text, int64_t *ret_number)
{
	size_t n_digits = 0;
	struct str unit;
	int64_t number = 0;
	int err;

	while (n_digits < text.len && text.ptr[n_digits] >= '0' && text.ptr[n_digits] <= '9')
		n_digits++;
	if (n_digits == 0)
		return -EINVAL;
	err = conf_number_parse((struct str){text.ptr, n_digits}, &number);
	unit = (struct str){text.ptr + n_digits, text.len - n_digits};
	for (const struct conf_unit *known = quantity->units; known->name; known++) {
		if (!str_is_equal(unit, str_from(known->name)))
			continue;
		if (err || number > INT64_MAX / known->factor)
			return -ERANGE;
		*ret_number = number * known->factor;
		return 0;
	}
	return unit.len ? -EINVAL : -ENODATA;
}

struct conf_quantity_text conf_quantity_format(const struct conf_quantity *quantity, int64_t number)
{
	const struct conf_unit *unit = quantity->units;
	struct conf_quantity_text quantity_text;

	while (number % unit->factor)
		unit++;
	snprintf(quantity_text.text, sizeof(quantity_text.text), "%lld%s",
		 (long long)(number / unit->factor), unit->name);
	return quantity_text;
}
