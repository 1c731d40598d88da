/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a tree of nodes against the grammar: unknown and repeated keys, wrong types, values out of
 * range, what is not built yet; fills in fallbacks. What only several values together tell is for
 * conf_build.c and conf_lint.c.
 */
#include <stdio.h>

#include "base/bug.h"
#include "conf/conf_internal.h"

/* What a message calls a value: its key, the list it is an item of, or the name that the operator
 * gave it. */
struct conf_label {
	char text[128];
};

static const struct conf_label conf_label_file = {"the file"};

static struct conf_label conf_label_make(struct str name, const char *prefix)
{
	struct conf_label label;

	snprintf(label.text, sizeof(label.text), "%s%s", prefix, CONF_QUOTE(name));
	return label;
}

static void conf_check_node(struct conf_context *context, const struct conf_shape *shape,
			    struct conf_node *node, const struct conf_label *label, bool *ret_ok);

static const char *conf_node_noun(const struct conf_node *node)
{
	static const char *const nouns[] = {
	    [CONF_NODE_SCALAR] = "a single value",
	    [CONF_NODE_LIST] = "a list",
	    [CONF_NODE_MAPPING] = "a mapping",
	};

	return nouns[node->kind];
}

static bool conf_node_is_null(const struct conf_node *node)
{
	return node->kind == CONF_NODE_SCALAR && node->is_plain &&
	       (node->text.len == 0 || str_is_equal(node->text, STR("~")) ||
		str_is_equal(node->text, STR("null")));
}

/* ---- Mappings ---- */

static size_t conf_keys_count(const struct conf_key *keys)
{
	size_t n = 0;

	while (keys[n].name)
		n++;
	return n;
}

static const struct conf_key *conf_keys_find(const struct conf_key *keys, struct str name)
{
	for (; keys->name; keys++)
		if (str_is_equal(str_from(keys->name), name))
			return keys;
	return NULL;
}

static bool conf_keys_have_unbuilt(const struct conf_key *keys, const char *name)
{
	const struct conf_key *key = conf_keys_find(keys, str_from(name));

	return key && !key->shape;
}

/* "a, b and c" of what may be given. */
static void conf_keys_print(const struct conf_key *keys, FILE *out)
{
	const struct conf_key *last = NULL;

	for (const struct conf_key *key = keys; key->name; key++)
		if (key->shape)
			last = key;
	for (const struct conf_key *key = keys; key->name; key++)
		if (key->shape)
			fprintf(out, "%s%s",
				key == keys   ? ""
				: key == last ? " and "
					      : ", ",
				key->name);
}

static void conf_complain_key(struct conf_context *context, const struct conf_shape *shape,
			      const struct conf_node *key, const struct conf_label *label)
{
	const char *where = shape->title ? shape->title : label->text;
	struct conf_nearest nearest = conf_nearest_start(key->text);
	char known[512] = "";
	FILE *out;

	for (const struct conf_key *at = shape->keys; at->name; at++)
		conf_nearest_offer(&nearest, at->name);
	if (nearest.name) {
		conf_diag_add(
		    context->diag, key->mark, "unknown key %s in %s; did you mean \"%s\"%s?",
		    CONF_QUOTE(key->text), where, nearest.name,
		    conf_keys_have_unbuilt(shape->keys, nearest.name) ? " (not built yet)" : "");
		return;
	}
	out = fmemopen(known, sizeof(known), "w");
	if (out) {
		conf_keys_print(shape->keys, out);
		fclose(out);
	}
	conf_diag_add(context->diag, key->mark, "unknown key %s in %s; it takes %s",
		      CONF_QUOTE(key->text), where, known);
}

static void conf_check_entry(struct conf_context *context, const struct conf_shape *shape,
			     struct conf_node *node, struct conf_node *child,
			     const struct conf_node **first_keys, const struct conf_label *parent)
{
	const struct conf_key *key = conf_keys_find(shape->keys, child->key->text);
	struct conf_label label;
	size_t i;
	bool ok;

	if (child->key->has_controls) {
		conf_diag_add(context->diag, child->key->mark,
			      "a value may not hold control characters or line ends");
		return;
	}
	if (!key) {
		conf_complain_key(context, shape, child->key, parent);
		return;
	}
	i = (size_t)(key - shape->keys);
	if (first_keys[i]) {
		conf_diag_add(context->diag, child->key->mark,
			      "\"%s\" is given twice; the first is on line %u", key->name,
			      first_keys[i]->mark.line);
		return;
	}
	first_keys[i] = child->key;
	if (!key->shape) {
		conf_diag_add(context->diag, child->key->mark,
			      "\"%s\" is not built yet; take it out", key->name);
		return;
	}
	label = conf_label_make(str_from(key->name), "");
	conf_check_node(context, key->shape, child, &label, &ok);
	if (ok)
		node->slots[i] = child;
}

static struct conf_node *conf_fallback(struct conf_context *context, const struct conf_key *key)
{
	const struct conf_label label = conf_label_make(str_from(key->name), "");
	struct conf_node *node;
	bool ok;

	if (key->fallback[0] == 0)
		return conf_check_empty(context, key->shape);
	node = arena_new(context->scratch, struct conf_node);
	if (!node) {
		conf_out_of_memory(context);
		return NULL;
	}
	node->kind = CONF_NODE_SCALAR;
	node->is_plain = true;
	node->text = str_from(key->fallback);
	conf_check_node(context, key->shape, node, &label, &ok);
	BUG_ON(!ok);
	return node;
}

/* Line 0 marks what stands nowhere in the text: conf_check_empty() asks for no key. */
static void conf_check_absent(struct conf_context *context, const struct conf_shape *shape,
			      struct conf_node *node, const struct conf_node *const *first_keys,
			      const struct conf_label *label)
{
	for (size_t i = 0; shape->keys[i].name; i++) {
		const struct conf_key *key = &shape->keys[i];

		if (first_keys[i])
			continue;
		if (key->fallback)
			node->slots[i] = conf_fallback(context, key);
		else if (key->example && node->mark.line)
			conf_diag_add(context->diag, node->mark,
				      "%s needs \"%s\"; for example %s: %s",
				      shape->title ? shape->title : label->text, key->name,
				      key->name, key->example);
	}
}

static bool conf_check_mapping(struct conf_context *context, const struct conf_shape *shape,
			       struct conf_node *node, const struct conf_label *label)
{
	size_t n_keys = conf_keys_count(shape->keys);
	const struct conf_node **first_keys =
	    arena_array(context->scratch, const struct conf_node *, n_keys);

	node->slots = arena_array(context->scratch, struct conf_node *, n_keys);
	if (!first_keys || !node->slots) {
		conf_out_of_memory(context);
		return false;
	}
	node->shape = shape;
	for (struct conf_node *child = node->first; child; child = child->next)
		conf_check_entry(context, shape, node, child, first_keys, label);
	conf_check_absent(context, shape, node, first_keys, label);
	return true;
}

struct conf_node *conf_check_empty(struct conf_context *context, const struct conf_shape *shape)
{
	struct conf_node *node = arena_new(context->scratch, struct conf_node);

	if (!node) {
		conf_out_of_memory(context);
		return NULL;
	}
	node->kind = CONF_NODE_MAPPING;
	return conf_check_mapping(context, shape, node, &conf_label_file) ? node : NULL;
}

/* ---- Lists and names ---- */

static bool conf_check_count(struct conf_context *context, const struct conf_shape *shape,
			     const struct conf_node *node, const struct conf_label *label)
{
	if (shape->kind == CONF_SHAPE_LIST && node->n_children == 0)
		conf_diag_add(context->diag, node->mark, "%s is empty; it needs %s", label->text,
			      shape->item->noun);
	else if (node->n_children > shape->max_items)
		conf_diag_add(context->diag, node->mark, "%s has %zu items; at most %zu are taken",
			      label->text, node->n_children, shape->max_items);
	else
		return true;
	return false;
}

/* Wrong items are taken out of the list: they were reported. */
static bool conf_check_list(struct conf_context *context, const struct conf_shape *shape,
			    struct conf_node *node, const struct conf_label *label)
{
	struct conf_label item_label;
	struct conf_node **link = &node->first;
	bool ok;

	if (!conf_check_count(context, shape, node, label))
		return false;
	snprintf(item_label.text, sizeof(item_label.text), "an item of %.100s", label->text);
	for (struct conf_node *item = node->first; item; item = item->next) {
		conf_check_node(context, shape->item, item, &item_label, &ok);
		if (ok)
			link = &item->next;
		else
			*link = item->next;
	}
	return true;
}

static bool conf_check_named(struct conf_context *context, const struct conf_shape *shape,
			     struct conf_node *node, const struct conf_label *label)
{
	struct conf_label item_label;
	bool ok;

	if (!conf_check_count(context, shape, node, label))
		return false;
	for (struct conf_node *item = node->first; item; item = item->next) {
		const char *wrong = shape->check(item->key->text);

		if (wrong)
			conf_diag_add(context->diag, item->key->mark, "%s %s",
				      CONF_QUOTE(item->key->text), wrong);
		item_label = conf_label_make(item->key->text, "");
		/* A bad item stays, with bad slots: its name still answers references. */
		conf_check_node(context, shape->item, item, &item_label, &ok);
	}
	return true;
}

/* ---- Any shape ---- */

static const struct conf_shape *conf_shape_for(const struct conf_shape *shape,
					       const struct conf_node *node)
{
	static const enum conf_node_kind kinds[] = {
	    [CONF_SHAPE_MAPPING] = CONF_NODE_MAPPING, [CONF_SHAPE_NAMED] = CONF_NODE_MAPPING,
	    [CONF_SHAPE_LIST] = CONF_NODE_LIST,	      [CONF_SHAPE_TEXT] = CONF_NODE_SCALAR,
	    [CONF_SHAPE_WORD] = CONF_NODE_SCALAR,     [CONF_SHAPE_NUMBER] = CONF_NODE_SCALAR,
	    [CONF_SHAPE_QUANTITY] = CONF_NODE_SCALAR,
	};

	if (shape->kind != CONF_SHAPE_EITHER)
		return kinds[shape->kind] == node->kind ? shape : NULL;
	return node->kind == CONF_NODE_SCALAR ? shape->scalar
	       : node->kind == CONF_NODE_LIST ? shape->list
					      : shape->mapping;
}

static bool conf_check_known(struct conf_context *context, const struct conf_shape *shape,
			     struct conf_node *node, const struct conf_label *label)
{
	switch (shape->kind) {
	case CONF_SHAPE_MAPPING:
		return conf_check_mapping(context, shape, node, label);
	case CONF_SHAPE_NAMED:
		return conf_check_named(context, shape, node, label);
	case CONF_SHAPE_LIST:
		return conf_check_list(context, shape, node, label);
	case CONF_SHAPE_TEXT:
	case CONF_SHAPE_WORD:
	case CONF_SHAPE_NUMBER:
	case CONF_SHAPE_QUANTITY:
		return conf_check_scalar(context, shape, node, label->text);
	case CONF_SHAPE_EITHER:
		break;
	}
	BUG_ON(true); /* an EITHER of an EITHER */
}

static void conf_check_node(struct conf_context *context, const struct conf_shape *shape,
			    struct conf_node *node, const struct conf_label *label, bool *ret_ok)
{
	const struct conf_shape *chosen = conf_shape_for(shape, node);

	*ret_ok = false;
	if (conf_node_is_null(node) && node->mark.line)
		conf_diag_add(context->diag, node->mark,
			      "%s has no value; give it %s or take it out", label->text,
			      shape->noun);
	else if (!chosen)
		conf_diag_add(context->diag, node->mark, "%s must be %s, not %s", label->text,
			      shape->noun, conf_node_noun(node));
	else
		*ret_ok = conf_check_known(context, chosen, node, label);
}

bool conf_check(struct conf_context *context, const struct conf_shape *shape,
		struct conf_node *node)
{
	bool ok;

	if (conf_node_is_null(node)) {
		conf_diag_add(context->diag, node->mark,
			      "the file is empty; it needs \"listeners\"");
		return false;
	}
	conf_check_node(context, shape, node, &conf_label_file, &ok);
	return ok;
}

/* ---- Reading what was checked ---- */

const struct conf_node *conf_at(const struct conf_node *node, const char *key)
{
	const struct conf_key *found;

	if (!node || !node->slots)
		return NULL;
	found = conf_keys_find(node->shape->keys, str_from(key));
	BUG_ON(!found);
	return node->slots[found - node->shape->keys];
}

int64_t conf_number_at(const struct conf_node *node, const char *key)
{
	const struct conf_node *value = conf_at(node, key);

	return value ? value->number : 0;
}

const char *conf_text_at(struct conf_context *context, const struct conf_node *node,
			 const char *key)
{
	const struct conf_node *value = conf_at(node, key);

	return value ? conf_keep_text(context, value->text) : NULL;
}

struct conf_mark conf_mark_at(const struct conf_node *node, const char *key)
{
	const struct conf_node *value = conf_at(node, key);

	return value && value->mark.line ? value->mark : node ? node->mark : (struct conf_mark){0};
}

size_t conf_items(const struct conf_node *node, const struct conf_node **ret_first)
{
	size_t n = 0;

	*ret_first = node;
	if (!node)
		return 0;
	if (node->kind != CONF_NODE_LIST)
		return 1;
	*ret_first = node->first;
	for (const struct conf_node *item = node->first; item; item = item->next)
		n++;
	return n;
}
