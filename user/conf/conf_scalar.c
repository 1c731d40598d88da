/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds single values against the grammar: words, numbers, durations, texts. What a text may look
 * like is told in conf_value.c.
 */
#include <errno.h>
#include <stdio.h>

#include "base/bug.h"
#include "conf/conf_internal.h"

static const struct conf_word *conf_words_find(const struct conf_word *words, struct str name)
{
	for (; words && words->name; words++)
		if (str_is_equal(str_from(words->name), name))
			return words;
	return NULL;
}

static void conf_words_print(const struct conf_word *words, FILE *out)
{
	const struct conf_word *last = NULL;

	for (const struct conf_word *word = words; word->name; word++)
		if (!word->not_yet)
			last = word;
	for (const struct conf_word *word = words; word->name; word++)
		if (!word->not_yet)
			fprintf(out, "%s%s",
				word == words  ? ""
				: word == last ? " or "
					       : ", ",
				word->name);
}

static void conf_complain_word(struct conf_context *context, const struct conf_shape *shape,
			       const struct conf_node *node, const char *label)
{
	struct conf_nearest nearest = conf_nearest_start(node->text);
	char known[1024] = ""; /* all ciphers of TLS fit */
	FILE *out;

	for (const struct conf_word *word = shape->words; word->name; word++)
		conf_nearest_offer(&nearest, word->name);
	if (nearest.name) {
		const struct conf_word *word =
		    conf_words_find(shape->words, str_from(nearest.name));

		conf_diag_add(
		    context->diag, node->mark, "%s does not take %s; did you mean \"%s\"%s?", label,
		    CONF_QUOTE(node->text), nearest.name, word->not_yet ? " (not built yet)" : "");
		return;
	}
	out = fmemopen(known, sizeof(known), "w");
	if (out) {
		conf_words_print(shape->words, out);
		fclose(out);
	}
	conf_diag_add(context->diag, node->mark, "%s does not take %s; it takes %s", label,
		      CONF_QUOTE(node->text), known);
}

/* YAML readers differ on whether a plain `on` is a word or a truth value, so both spellings are
 * one. */
static struct str conf_word_of_truth(const struct conf_node *node)
{
	if (node->is_plain && str_is_equal(node->text, STR("true")))
		return STR("on");
	if (node->is_plain && str_is_equal(node->text, STR("false")))
		return STR("off");
	return node->text;
}

static bool conf_check_word(struct conf_context *context, const struct conf_shape *shape,
			    struct conf_node *node, const char *label)
{
	const struct conf_word *word = conf_words_find(shape->words, conf_word_of_truth(node));

	if (!word) {
		conf_complain_word(context, shape, node, label);
		return false;
	}
	if (word->not_yet) {
		conf_diag_add(context->diag, node->mark, "%s: \"%s\" is not built yet", label,
			      word->name);
		return false;
	}
	node->number = word->value;
	return true;
}

static bool conf_check_number(struct conf_context *context, const struct conf_shape *shape,
			      struct conf_node *node, const char *label)
{
	const struct conf_word *word = conf_words_find(shape->words, node->text);
	int err;

	if (word) {
		node->number = word->value;
		return true;
	}
	err = node->is_plain ? conf_number_parse(node->text, &node->number) : -EINVAL;
	if (err == -EINVAL)
		conf_diag_add(context->diag, node->mark, "%s must be %s, not %s%s", label,
			      shape->noun, CONF_QUOTE(node->text),
			      node->is_plain ? "" : " in quotes");
	else if (err || node->number < shape->min || node->number > shape->max)
		conf_diag_add(context->diag, node->mark,
			      "%s must be from %lld to %lld, not " STR_FMT, label,
			      (long long)shape->min, (long long)shape->max, STR_ARG(node->text));
	else
		return true;
	return false;
}

static bool conf_check_quantity(struct conf_context *context, const struct conf_shape *shape,
				struct conf_node *node, const char *label)
{
	const struct conf_word *word = conf_words_find(shape->words, conf_word_of_truth(node));
	const struct conf_quantity *quantity = shape->quantity;
	int err;

	if (word) {
		node->number = word->value;
		return true;
	}
	err = conf_quantity_parse(quantity, node->text, &node->number);
	if (err == -ENODATA)
		conf_diag_add(context->diag, node->mark,
			      "%s has no unit; write for example \"%.20s%s\" (%s)", label,
			      node->text.ptr, quantity->hint, quantity->names);
	else if (err == -EINVAL)
		conf_diag_add(context->diag, node->mark, "%s must be %s%s%s, not %s", label,
			      quantity->like, shape->words ? ", or " : "",
			      shape->words ? shape->words->name : "", CONF_QUOTE(node->text));
	else if (err || node->number < shape->min || node->number > shape->max)
		conf_diag_add(context->diag, node->mark, "%s must be from %s to %s, not %s", label,
			      conf_quantity_format(quantity, shape->min).text,
			      conf_quantity_format(quantity, shape->max).text,
			      CONF_QUOTE(node->text));
	else
		return true;
	return false;
}

static bool conf_check_text(struct conf_context *context, const struct conf_shape *shape,
			    struct conf_node *node)
{
	const char *wrong = shape->check(node->text);

	if (wrong)
		conf_diag_add(context->diag, node->mark, "%s %s", CONF_QUOTE(node->text), wrong);
	return !wrong;
}

bool conf_check_scalar(struct conf_context *context, const struct conf_shape *shape,
		       struct conf_node *node, const char *label)
{
	if (node->has_controls && !shape->takes_controls) {
		conf_diag_add(context->diag, node->mark,
			      "a value may not hold control characters or line ends");
		return false;
	}
	switch (shape->kind) {
	case CONF_SHAPE_TEXT:
		return conf_check_text(context, shape, node);
	case CONF_SHAPE_WORD:
		return conf_check_word(context, shape, node, label);
	case CONF_SHAPE_NUMBER:
		return conf_check_number(context, shape, node, label);
	case CONF_SHAPE_QUANTITY:
		return conf_check_quantity(context, shape, node, label);
	default:
		BUG_ON(true);
	}
}
