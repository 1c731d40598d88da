/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot: made by conf_parse(), shared by reference, freed with the last one. The stages of
 * the parse are in the other files of this folder.
 */
#include "conf/conf.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "conf/conf_internal.h"

struct conf_snapshot {
	struct conf conf; /* first: a struct conf * is one of these */
	atomic_uint n_refs;
	struct arena arena;
	struct conf_file *files; /* in the order of the text */
	size_t n_files;
};

void conf_out_of_memory(struct conf_context *context)
{
	conf_diag_add(context->diag, (struct conf_mark){0}, "out of memory");
}

void *conf_keep(struct conf_context *context, size_t n, size_t size_bytes)
{
	void *memory = arena_alloc(context->keep, MAX(n, 1) * size_bytes);

	if (!memory)
		conf_out_of_memory(context);
	return memory;
}

const char *conf_keep_text(struct conf_context *context, struct str text)
{
	const char *copy = arena_strdup(context->keep, text);

	if (!copy)
		conf_out_of_memory(context);
	return copy;
}

/* ---- Files that are named ---- */

static int conf_file_compare(const void *a_, const void *b_)
{
	const struct conf_file *a = a_, *b = b_;

	if (a->mark.line != b->mark.line)
		return a->mark.line < b->mark.line ? -1 : 1;
	return a->mark.column < b->mark.column ? -1 : a->mark.column > b->mark.column;
}

/* Counts alone where there is no room yet. */
struct conf_collection {
	struct conf_file *files;
	size_t n_files;
};

static void conf_collect(struct conf_collection *collection, const struct conf_file *file)
{
	if (!file->path)
		return;
	if (collection->files)
		collection->files[collection->n_files] = *file;
	collection->n_files++;
}

static void conf_collect_certificate(struct conf_collection *collection,
				     const struct conf_certificate *certificate)
{
	conf_collect(collection, &certificate->chain);
	if (certificate->key.path != certificate->chain.path)
		conf_collect(collection, &certificate->key);
	conf_collect(collection, &certificate->passphrase);
	conf_collect(collection, &certificate->ocsp);
}

static void conf_collect_server_tls(struct conf_collection *collection,
				    const struct conf_server_tls *tls)
{
	for (size_t i = 0; i < tls->n_certificates; i++)
		conf_collect_certificate(collection, &tls->certificates[i]);
	conf_collect(collection, &tls->tickets.keys);
	conf_collect(collection, &tls->client.ca);
	conf_collect(collection, &tls->client.crl);
}

static void conf_collect_client_tls(struct conf_collection *collection,
				    const struct conf_client_tls *tls)
{
	conf_collect(collection, &tls->ca);
	if (tls->certificate)
		conf_collect_certificate(collection, tls->certificate);
}

static void conf_collect_all(struct conf_collection *collection, const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].tls)
			conf_collect_server_tls(collection, conf->listeners[i].tls);
	for (size_t i = 0; i < conf->n_origins; i++)
		if (conf->origins[i]->tls)
			conf_collect_client_tls(collection, conf->origins[i]->tls);
}

static void conf_collect_files(struct conf_context *context, struct conf_snapshot *snapshot)
{
	struct conf_collection collection = {.files = NULL};

	conf_collect_all(&collection, context->conf);
	collection.files = conf_keep(context, collection.n_files, sizeof(*collection.files));
	if (!collection.files)
		return;
	collection.n_files = 0;
	conf_collect_all(&collection, context->conf);
	snapshot->files = collection.files;
	snapshot->n_files = collection.n_files;
	qsort(snapshot->files, snapshot->n_files, sizeof(*snapshot->files), conf_file_compare);
}

int conf_each_file(const struct conf *conf,
		   int (*visit)(void *argument, const struct conf_file *file), void *argument)
{
	const struct conf_snapshot *snapshot = (const struct conf_snapshot *)conf;
	int ret = 0;

	for (size_t i = 0; i < snapshot->n_files && ret == 0; i++)
		ret = visit(argument, &snapshot->files[i]);
	return ret;
}

/* ---- Parse ---- */

static void conf_parse_stages(struct conf_context *context, struct conf_snapshot *snapshot,
			      struct str text)
{
	struct conf_node *root = conf_tree_read(context, text);

	if (!root || !conf_check(context, &conf_shape_file, root))
		return;
	context->file = root;
	conf_build_globals(context);
	conf_origins_build(context);
	conf_build_listeners(context);
	conf_lint(context);
	conf_collect_files(context, snapshot);
	conf_origins_done(context);
}

struct conf *conf_parse_files(const char *text, size_t len_bytes, const char *file_name,
			      struct conf_diag *diag,
			      int (*visit)(void *argument, const struct conf_file *file),
			      void *argument)
{
	struct conf_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	size_t n_errors = conf_diag_errors(diag);
	struct arena scratch;
	struct conf_context context = {.diag = diag, .scratch = &scratch};

	if (!snapshot) {
		conf_out_of_memory(&context);
		return NULL;
	}
	atomic_init(&snapshot->n_refs, 1);
	arena_init(&snapshot->arena, 0);
	arena_init(&scratch, 0);
	context.keep = &snapshot->arena;
	context.conf = &snapshot->conf;
	snapshot->conf.file_name = conf_keep_text(&context, str_from(file_name));
	conf_parse_stages(&context, snapshot, (struct str){text, len_bytes});
	arena_reset(&scratch);
	if (conf_diag_errors(diag) == n_errors)
		return &snapshot->conf;
	if (visit)
		(void)conf_each_file(&snapshot->conf, visit, argument);
	conf_unref(&snapshot->conf);
	return NULL;
}

struct conf *conf_parse(const char *text, size_t len_bytes, const char *file_name,
			struct conf_diag *diag)
{
	return conf_parse_files(text, len_bytes, file_name, diag, NULL, NULL);
}

struct conf *conf_ref(struct conf *conf)
{
	atomic_fetch_add_explicit(&((struct conf_snapshot *)conf)->n_refs, 1, memory_order_relaxed);
	return conf;
}

void conf_unref(struct conf *conf)
{
	struct conf_snapshot *snapshot = (struct conf_snapshot *)conf;

	if (!conf || atomic_fetch_sub_explicit(&snapshot->n_refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_reset(&snapshot->arena);
	free(snapshot);
}

/* ---- Words ---- */

const char *conf_lane_word(enum conf_lane lane)
{
	static const char *const words[] = {
	    [CONF_LANE_STEER] = "steer",
	    [CONF_LANE_SPLICE] = "splice",
	    [CONF_LANE_TERMINATE] = "terminate",
	};

	return lane < CONF_LANE_MAX ? words[lane] : "none";
}

const char *conf_relay_word(enum conf_relay relay)
{
	static const char *const words[] = {
	    [CONF_RELAY_AUTO] = "auto",
	    [CONF_RELAY_COPY] = "copy",
	    [CONF_RELAY_PIPE] = "pipe",
	    [CONF_RELAY_SOCKMAP] = "sockmap",
	};

	return relay < CONF_RELAY_MAX ? words[relay] : "none";
}
