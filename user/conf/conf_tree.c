/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text -> a tree of nodes with marks. Built from libyaml's events, not its loader, so that
 * size and depth have bounds while reading, and each complaint has the mark of what it is about.
 * Knows nothing of the grammar.
 *
 * Less than YAML: one document, UTF-8 without control characters, no aliases (a few lines could
 * stand for millions of nodes, or for a loop), no tags (types are the grammar's), keys are scalars.
 */
#include <yaml.h>

#include "conf/conf_internal.h"
#include "penstock/limits.h"

struct conf_tree {
	struct conf_context *context;
	yaml_parser_t parser;
	struct str text;
	size_t n_nodes;
	size_t depth;
	struct conf_tree_level {
		struct conf_node *node;
		struct conf_node *last; /* child */
		struct conf_node *key; /* of a mapping: waits for its value */
	} levels[CONF_MAX_DEPTH];
	struct conf_node *root;
};

static struct conf_mark conf_tree_mark(const yaml_mark_t *mark)
{
	return (struct conf_mark){.line = (uint32_t)mark->line + 1,
				  .column = (uint32_t)mark->column + 1};
}

/* What libyaml would refuse too, but without saying where. */
static bool conf_tree_check_bytes(struct conf_context *context, struct str text)
{
	struct conf_mark mark = {1, 1};

	for (size_t i = 0; i < text.len; mark.column++) {
		const unsigned char *c = (const unsigned char *)text.ptr + i;
		uint32_t code;
		size_t len = utf8_decode((struct str){text.ptr + i, text.len - i}, &code);

		if (len == 0) {
			conf_diag_add(context->diag, mark,
				      "byte 0x%02x is not UTF-8; save the file as UTF-8", *c);
			return false;
		}
		if ((*c < ' ' && *c != '\t' && *c != '\n' && *c != '\r') || *c == 0x7f) {
			conf_diag_add(context->diag, mark, "control character 0x%02x; take it out",
				      *c);
			return false;
		}
		if (*c == '\n')
			mark = (struct conf_mark){mark.line + 1, 0};
		i += len;
	}
	return true;
}

static bool conf_tree_fail(struct conf_tree *tree, const yaml_mark_t *mark, const char *message)
{
	conf_diag_add(tree->context->diag, conf_tree_mark(mark), "%s", message);
	return false;
}

static bool conf_tree_fail_syntax(struct conf_tree *tree)
{
	const yaml_parser_t *parser = &tree->parser;
	const char *problem = parser->problem ? parser->problem : "cannot be read";
	size_t index = parser->problem_mark.index;
	bool is_tab = index < tree->text.len && tree->text.ptr[index] == '\t';

	if (parser->error == YAML_MEMORY_ERROR)
		conf_out_of_memory(tree->context);
	else
		conf_diag_add(tree->context->diag, conf_tree_mark(&parser->problem_mark),
			      "not valid YAML: %s%s%s%s", parser->context ? parser->context : "",
			      parser->context ? ", " : "", problem,
			      is_tab ? "; indent with spaces, not tabs" : "");
	return false;
}

/* Puts a finished scalar or a begun collection where it belongs. */
static bool conf_tree_attach(struct conf_tree *tree, struct conf_node *node,
			     const yaml_mark_t *mark)
{
	struct conf_tree_level *level;

	if (tree->depth == 0) {
		tree->root = node;
		return true;
	}
	level = &tree->levels[tree->depth - 1];
	if (level->node->kind == CONF_NODE_MAPPING && !level->key) {
		if (node->kind != CONF_NODE_SCALAR)
			return conf_tree_fail(tree, mark,
					      "a key must be a word, not a list or mapping");
		level->key = node;
		return true;
	}
	node->key = level->key;
	level->key = NULL;
	if (level->last)
		level->last->next = node;
	else
		level->node->first = node;
	level->last = node;
	level->node->n_children++;
	return true;
}

static struct conf_node *conf_tree_add(struct conf_tree *tree, enum conf_node_kind kind,
				       const yaml_mark_t *mark)
{
	struct conf_node *node;

	if (++tree->n_nodes > CONF_MAX_NODES) {
		conf_tree_fail(tree, mark, "more values than a configuration may have (500000)");
		return NULL;
	}
	node = arena_new(tree->context->scratch, struct conf_node);
	if (!node) {
		conf_out_of_memory(tree->context);
		return NULL;
	}
	node->kind = kind;
	node->mark = conf_tree_mark(mark);
	return conf_tree_attach(tree, node, mark) ? node : NULL;
}

static bool conf_tree_check_decoration(struct conf_tree *tree, const yaml_event_t *event,
				       const void *tag)
{
	if (tag)
		return conf_tree_fail(tree, &event->start_mark,
				      "tags (\"!…\") are not taken; leave it out");
	return true;
}

static bool conf_tree_begin(struct conf_tree *tree, const yaml_event_t *event,
			    enum conf_node_kind kind)
{
	struct conf_node *node;

	if (tree->depth == CONF_MAX_DEPTH)
		return conf_tree_fail(tree, &event->start_mark,
				      "nested deeper than any configuration needs");
	node = conf_tree_add(tree, kind, &event->start_mark);
	if (!node)
		return false;
	tree->levels[tree->depth++] = (struct conf_tree_level){.node = node};
	return true;
}

static bool conf_tree_has_controls(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return true;
	return false;
}

static bool conf_tree_add_scalar(struct conf_tree *tree, const yaml_event_t *event)
{
	struct str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
	struct conf_node *node;
	const char *copy;

	node = conf_tree_add(tree, CONF_NODE_SCALAR, &event->start_mark);
	if (!node)
		return false;
	copy = arena_strdup(tree->context->scratch, text);
	if (!copy) {
		conf_out_of_memory(tree->context);
		return false;
	}
	node->text = (struct str){copy, text.len};
	node->has_controls = conf_tree_has_controls(text);
	node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return true;
}

/* False: over, with an error or without. */
static bool conf_tree_take(struct conf_tree *tree, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (tree->root)
			return conf_tree_fail(tree, &event->start_mark,
					      "a second document; one file holds one");
		return true;
	case YAML_MAPPING_START_EVENT:
		return conf_tree_check_decoration(tree, event, event->data.mapping_start.tag) &&
		       conf_tree_begin(tree, event, CONF_NODE_MAPPING);
	case YAML_SEQUENCE_START_EVENT:
		return conf_tree_check_decoration(tree, event, event->data.sequence_start.tag) &&
		       conf_tree_begin(tree, event, CONF_NODE_LIST);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		tree->depth--;
		return true;
	case YAML_SCALAR_EVENT:
		return conf_tree_check_decoration(tree, event, event->data.scalar.tag) &&
		       conf_tree_add_scalar(tree, event);
	case YAML_ALIAS_EVENT:
		return conf_tree_fail(tree, &event->start_mark,
				      "aliases (\"*name\") are not taken; write the value out");
	case YAML_STREAM_END_EVENT:
		return false;
	default:
		return true;
	}
}

static void conf_tree_run(struct conf_tree *tree)
{
	yaml_event_t event;
	bool goes_on;

	do {
		if (!yaml_parser_parse(&tree->parser, &event)) {
			conf_tree_fail_syntax(tree);
			return;
		}
		goes_on = conf_tree_take(tree, &event);
		yaml_event_delete(&event);
	} while (goes_on);
}

struct conf_node *conf_tree_read(struct conf_context *context, struct str text)
{
	struct conf_tree tree = {.context = context, .text = text};
	size_t n_errors = conf_diag_errors(context->diag);

	if (text.len > PENSTOCK_MAX_CONFIG_BYTES) {
		conf_diag_add(context->diag, (struct conf_mark){0},
			      "larger than a configuration may be (%d bytes)",
			      PENSTOCK_MAX_CONFIG_BYTES);
		return NULL;
	}
	if (!conf_tree_check_bytes(context, text))
		return NULL;
	if (!yaml_parser_initialize(&tree.parser)) {
		conf_out_of_memory(context);
		return NULL;
	}
	yaml_parser_set_encoding(&tree.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&tree.parser, (const unsigned char *)text.ptr, text.len);
	conf_tree_run(&tree);
	yaml_parser_delete(&tree.parser);
	if (conf_diag_errors(context->diag) != n_errors)
		return NULL;
	if (!tree.root)
		conf_diag_add(context->diag, (struct conf_mark){1, 1},
			      "the file is empty; it needs \"listeners\"");
	return tree.root;
}
