/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar as a JSON Schema (draft 2020-12), for editors. It is as strict as a schema can be
 * without repeating the parser: what several keys are together, and what addresses look like in
 * full, only the parser says.
 */
#include <jansson.h>
#include <stdio.h>

#include "conf/conf_internal.h"

static json_t *conf_schema_of(const struct conf_shape *shape);

/* jansson's setters take NULL for a value and return -1, so one `failed` sums up a whole object. */
struct conf_schema_object {
	json_t *json;
	bool failed;
};

static void conf_schema_set(struct conf_schema_object *object, const char *key, json_t *value)
{
	object->failed |= json_object_set_new(object->json, key, value) != 0;
}

static json_t *conf_schema_finish(struct conf_schema_object *object)
{
	if (!object->failed)
		return object->json;
	json_decref(object->json);
	return NULL;
}

static struct conf_schema_object conf_schema_begin(const char *type)
{
	struct conf_schema_object object = {.json = json_object()};

	if (type)
		conf_schema_set(&object, "type", json_string(type));
	return object;
}

/* ---- Scalars ---- */

static bool conf_schema_append(json_t *array, json_t *value)
{
	return json_array_append_new(array, value) == 0;
}

/* A plain `off` is false to many YAML readers. */
static json_t *conf_schema_words(const struct conf_word *words)
{
	struct conf_schema_object object = conf_schema_begin(NULL);
	json_t *values = json_array();

	for (; words->name; words++) {
		if (words->not_yet)
			continue;
		object.failed |= !conf_schema_append(values, json_string(words->name));
		if (strcmp(words->name, "on") == 0 || strcmp(words->name, "off") == 0)
			object.failed |=
			    !conf_schema_append(values, json_boolean(words->name[1] == 'n'));
	}
	conf_schema_set(&object, "enum", values);
	return conf_schema_finish(&object);
}

static json_t *conf_schema_any_of(json_t *const *schemas, size_t n)
{
	struct conf_schema_object object = conf_schema_begin(NULL);
	json_t *values = json_array();

	for (size_t i = 0; i < n; i++)
		object.failed |= !conf_schema_append(values, schemas[i]);
	conf_schema_set(&object, "anyOf", values);
	return conf_schema_finish(&object);
}

static json_t *conf_schema_integer(const struct conf_shape *shape)
{
	struct conf_schema_object object = conf_schema_begin("integer");

	conf_schema_set(&object, "minimum", json_integer(shape->min));
	conf_schema_set(&object, "maximum", json_integer(shape->max));
	return conf_schema_finish(&object);
}

static json_t *conf_schema_number(const struct conf_shape *shape)
{
	json_t *number = conf_schema_integer(shape);

	if (!shape->words)
		return number;
	return conf_schema_any_of((json_t *const[]){number, conf_schema_words(shape->words)}, 2);
}

static bool conf_quantity_is_bare(const struct conf_quantity *quantity)
{
	for (const struct conf_unit *unit = quantity->units; unit->name; unit++)
		if (unit->name[0] == 0)
			return true;
	return false;
}

/* "^[0-9]+(ms|s|m|h)$" */
static json_t *conf_schema_pattern(const struct conf_quantity *quantity)
{
	struct conf_schema_object object = conf_schema_begin("string");
	char pattern[64] = "^[0-9]+(";
	size_t len = strlen(pattern);

	for (const struct conf_unit *unit = quantity->units; unit->name; unit++)
		if (unit->name[0] && len < sizeof(pattern))
			len += (size_t)snprintf(pattern + len, sizeof(pattern) - len, "%s%s",
						unit == quantity->units ? "" : "|", unit->name);
	if (len < sizeof(pattern))
		snprintf(pattern + len, sizeof(pattern) - len, ")%s$",
			 conf_quantity_is_bare(quantity) ? "?" : "");
	conf_schema_set(&object, "pattern", json_string(pattern));
	return conf_schema_finish(&object);
}

static json_t *conf_schema_quantity(const struct conf_shape *shape)
{
	struct conf_schema_object object = {.json = conf_schema_pattern(shape->quantity)};

	if (conf_quantity_is_bare(shape->quantity))
		object.json = conf_schema_any_of(
		    (json_t *const[]){object.json, conf_schema_integer(shape)}, 2);
	conf_schema_set(&object, "title", json_string(shape->quantity->title));
	object.json = conf_schema_finish(&object);
	if (!shape->words)
		return object.json;
	return conf_schema_any_of((json_t *const[]){object.json, conf_schema_words(shape->words)},
				  2);
}

static json_t *conf_schema_text(const struct conf_shape *shape)
{
	struct conf_schema_object object = conf_schema_begin("string");

	conf_schema_set(&object, "pattern", json_string(shape->pattern));
	return conf_schema_finish(&object);
}

/* ---- Collections ---- */

static json_t *conf_schema_key(const struct conf_key *key)
{
	struct conf_schema_object object = {.json = key->shape ? conf_schema_of(key->shape)
							       : json_object()};
	char help[512];
	int64_t number;

	snprintf(help, sizeof(help), "%s%s", key->shape ? "" : "Not built yet. ", key->help);
	conf_schema_set(&object, "description", json_string(help));
	if (!key->shape)
		conf_schema_set(&object, "not", json_object());
	if (key->fallback && key->fallback[0])
		conf_schema_set(&object, "default",
				conf_number_parse(str_from(key->fallback), &number)
				    ? json_string(key->fallback)
				    : json_integer(number));
	return conf_schema_finish(&object);
}

static json_t *conf_schema_mapping(const struct conf_shape *shape)
{
	struct conf_schema_object object = conf_schema_begin("object");
	struct conf_schema_object properties = conf_schema_begin(NULL);
	json_t *required = json_array();

	for (const struct conf_key *key = shape->keys; key->name; key++) {
		conf_schema_set(&properties, key->name, conf_schema_key(key));
		if (key->example)
			object.failed |= !conf_schema_append(required, json_string(key->name));
	}
	conf_schema_set(&object, "properties", conf_schema_finish(&properties));
	conf_schema_set(&object, "required", required);
	conf_schema_set(&object, "additionalProperties", json_false());
	return conf_schema_finish(&object);
}

static json_t *conf_schema_list(const struct conf_shape *shape)
{
	struct conf_schema_object object = conf_schema_begin("array");

	conf_schema_set(&object, "items", conf_schema_of(shape->item));
	conf_schema_set(&object, "minItems", json_integer(1));
	conf_schema_set(&object, "maxItems", json_integer((json_int_t)shape->max_items));
	return conf_schema_finish(&object);
}

static json_t *conf_schema_named(const struct conf_shape *shape)
{
	struct conf_schema_object object = conf_schema_begin("object");
	struct conf_schema_object patterns = conf_schema_begin(NULL);

	conf_schema_set(&patterns, shape->pattern, conf_schema_of(shape->item));
	conf_schema_set(&object, "patternProperties", conf_schema_finish(&patterns));
	conf_schema_set(&object, "maxProperties", json_integer((json_int_t)shape->max_items));
	conf_schema_set(&object, "additionalProperties", json_false());
	return conf_schema_finish(&object);
}

static json_t *conf_schema_either(const struct conf_shape *shape)
{
	json_t *schemas[3];
	size_t n = 0;

	if (shape->scalar)
		schemas[n++] = conf_schema_of(shape->scalar);
	if (shape->list)
		schemas[n++] = conf_schema_of(shape->list);
	if (shape->mapping)
		schemas[n++] = conf_schema_of(shape->mapping);
	return conf_schema_any_of(schemas, n);
}

static json_t *conf_schema_of(const struct conf_shape *shape)
{
	switch (shape->kind) {
	case CONF_SHAPE_MAPPING:
		return conf_schema_mapping(shape);
	case CONF_SHAPE_NAMED:
		return conf_schema_named(shape);
	case CONF_SHAPE_LIST:
		return conf_schema_list(shape);
	case CONF_SHAPE_EITHER:
		return conf_schema_either(shape);
	case CONF_SHAPE_TEXT:
		return conf_schema_text(shape);
	case CONF_SHAPE_WORD:
		return conf_schema_words(shape->words);
	case CONF_SHAPE_NUMBER:
		return conf_schema_number(shape);
	case CONF_SHAPE_QUANTITY:
		return conf_schema_quantity(shape);
	}
	return NULL;
}

char *conf_schema(void)
{
	struct conf_schema_object object = {.json = conf_schema_of(&conf_shape_file)};
	json_t *json;
	char *text;

	conf_schema_set(&object, "$schema",
			json_string("https://json-schema.org/draft/2020-12/schema"));
	conf_schema_set(&object, "title", json_string("penstock.yaml"));
	json = conf_schema_finish(&object);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	return text;
}
