/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which certificate a name gets: exact, else by wildcard. A sorted array; knows certificates by
 * their numbers only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_ctx_internal.h"

static int names_compare(const void *a, const void *b)
{
	const struct tls_server_name *one = a, *other = b;
	int order = strcmp(one->name, other->name);

	return order ? order
		     : (one->certificate > other->certificate) -
			   (one->certificate < other->certificate);
}

struct names_addition {
	struct tls_server_names *names;
	size_t certificate;
};

static int names_add(void *argument, const char *name)
{
	struct names_addition *addition = argument;
	struct tls_server_names *names = addition->names;
	struct tls_server_name *grown =
	    reallocarray(names->all, names->n_all + 1, sizeof(*names->all));

	if (!grown)
		return -ENOMEM;
	names->all = grown;
	grown[names->n_all] =
	    (struct tls_server_name){.name = strdup(name), .certificate = addition->certificate};
	if (!grown[names->n_all].name)
		return -ENOMEM;
	names->n_all++;
	return 0;
}

int tls_server_names_add(struct tls_server_names *names, size_t certificate, const X509 *leaf)
{
	struct names_addition addition = {names, certificate};

	return tls_certificate_each_name(leaf, names_add, &addition);
}

void tls_server_names_sort(struct tls_server_names *names)
{
	if (names->n_all)
		qsort(names->all, names->n_all, sizeof(*names->all), names_compare);
}

/* The first certificate for exactly this name, or NULL. */
static const struct tls_server_name *names_find(const struct tls_server_names *names,
						const char *name)
{
	size_t low = 0, high = names->n_all;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(names->all[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == names->n_all || strcmp(names->all[low].name, name) != 0)
		return NULL;
	return &names->all[low];
}

const struct tls_server_name *tls_server_names_pick(const struct tls_server_names *names,
						    const char *name)
{
	const struct tls_server_name *found = names_find(names, name);
	const char *dot = strchr(name, '.');
	char wildcard[TLS_NAME_MAX + 2];

	if (found || !dot || dot == name)
		return found;
	stpcpy(stpcpy(wildcard, "*"), dot);
	return names_find(names, wildcard);
}

void tls_server_names_done(struct tls_server_names *names)
{
	for (size_t i = 0; i < names->n_all; i++)
		free(names->all[i].name);
	free(names->all);
	*names = (struct tls_server_names){.all = NULL};
}
