/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus: families, labels, samples. What is counted is not here. */
#include <stdlib.h>
#include <string.h>

#include "admin/admin_metrics_internal.h"

void metrics_begin(struct metrics *metrics, const struct metrics_family *family)
{
	metrics->name = family->name;
	json_object_clear(metrics->seen);
	fprintf(metrics->out, "# HELP penstock_%s %s\n# TYPE penstock_%s %s\n", family->name,
		family->help, family->name, family->type);
}

void metrics_label(struct metrics_labels *labels, const char *name, const char *value)
{
	if (!value || labels->n == METRICS_LABELS_MAX)
		return;
	labels->labels[labels->n].name = name;
	labels->labels[labels->n].value = value;
	labels->n++;
}

void metrics_label_text(struct metrics_labels *labels, const char *name, const json_t *object,
			const char *key)
{
	metrics_label(labels, name, json_string_value(json_object_get(object, key)));
}

bool metrics_is(const json_t *object, const char *key, const char *word)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value && strcmp(value, word) == 0;
}

static void metrics_put_value(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
}

/* "{name="value",…}", or "" without any. NULL: no memory. */
static char *metrics_labels_text(const struct metrics_labels *labels)
{
	char *text = NULL;
	size_t len_bytes;
	FILE *out = open_memstream(&text, &len_bytes);

	if (!out)
		return NULL;
	for (size_t i = 0; i < labels->n; i++) {
		fprintf(out, "%s%s=\"", i ? "," : "{", labels->labels[i].name);
		metrics_put_value(out, labels->labels[i].value);
		fputc('"', out);
	}
	if (labels->n)
		fputc('}', out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

void metrics_sample(struct metrics *metrics, const struct metrics_labels *labels, json_int_t value)
{
	char *text = metrics_labels_text(labels);

	if (text && json_object_get(metrics->seen, text)) {
		free(text);
		return;
	}
	if (!text || json_object_set_new(metrics->seen, text, json_true()))
		metrics->failed = true;
	else
		fprintf(metrics->out, "penstock_%s%s %" JSON_INTEGER_FORMAT "\n", metrics->name,
			text, value);
	free(text);
}

void metrics_one(struct metrics *metrics, const struct metrics_family *family,
		 const struct metrics_labels *labels, const json_t *object)
{
	const json_t *value = json_object_get(object, family->key);

	if (json_is_integer(value))
		metrics_sample(metrics, labels, json_integer_value(value));
	else if (json_is_boolean(value))
		metrics_sample(metrics, labels, json_is_true(value));
}
