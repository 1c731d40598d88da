/* SPDX-License-Identifier: Apache-2.0 */
/* How families of metrics and their samples are written. */
#ifndef PENSTOCK_ADMIN_ADMIN_METRICS_INTERNAL_H
#define PENSTOCK_ADMIN_ADMIN_METRICS_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/compiler.h"

#define METRICS_LABELS_MAX 8

struct metrics {
	FILE *out;
	json_t *seen; /* labels of the family: none may come twice */
	const char *name; /* of the family */
	bool failed; /* a sample found no memory */
};

struct metrics_labels {
	size_t n;
	struct {
		const char *name;
		const char *value;
	} labels[METRICS_LABELS_MAX];
};

/* One number of each thing of a kind: `key` is its place in the status document. */
struct metrics_family {
	const char *key;
	const char *name;
	const char *type;
	const char *help;
};

/* The samples that follow are of this family; its `key` is not looked at. */
void metrics_begin(struct metrics *metrics, const struct metrics_family *family);

/* NULL stands for no label. The value is not copied. */
void metrics_label(struct metrics_labels *labels, const char *name, const char *value);

/* A text of `object`, which may lack it. */
void metrics_label_text(struct metrics_labels *labels, const char *name, const json_t *object,
			const char *key);

/* What is the same as a sample before, as of a certificate that is named twice, is left out. */
void metrics_sample(struct metrics *metrics, const struct metrics_labels *labels, json_int_t value);

/* The number that `object` has at the family's key; no sample without it. */
void metrics_one(struct metrics *metrics, const struct metrics_family *family,
		 const struct metrics_labels *labels, const json_t *object);

/* Is that text of `object` this word? */
bool metrics_is(const json_t *object, const char *key, const char *word);

#endif
