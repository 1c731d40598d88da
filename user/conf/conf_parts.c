/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What listeners, routes and origins have alike in a snapshot: networks, files, socket options,
 * and mappings that may be a mere "on".
 */
#include "conf/conf_internal.h"

const struct conf_node *conf_switched(struct conf_context *context, const struct conf_node *node,
				      const struct conf_shape *shape)
{
	if (!node || node->kind != CONF_NODE_SCALAR)
		return node;
	return node->number ? conf_check_empty(context, shape) : NULL;
}

bool conf_was_given(const struct conf_node *node, const char *key)
{
	for (const struct conf_node *child = node->first; child; child = child->next)
		if (str_is_equal(child->key->text, str_from(key)))
			return true;
	return false;
}

static void conf_net_fill(struct conf_context *context, struct conf_net *net,
			  const struct conf_node *node)
{
	if (conf_net_parse(node->text, net))
		return; /* not after the check */
	if (conf_net_mask(net))
		conf_diag_add(context->diag, node->mark,
			      "%s has bits beyond its prefix; did you mean \"%s\"?",
			      CONF_QUOTE(node->text), conf_net_format(net).text);
}

void conf_nets_fill(struct conf_context *context, struct conf_nets *nets,
		    const struct conf_node *node)
{
	const struct conf_node *item;
	size_t n = conf_items(node, &item);

	if (n == 0)
		return;
	nets->nets = conf_keep(context, n, sizeof(*nets->nets));
	for (; nets->nets && nets->n_nets < n; item = item->next)
		conf_net_fill(context, &nets->nets[nets->n_nets++], item);
}

const char **conf_texts_at(struct conf_context *context, const struct conf_node *node,
			   const char *key, size_t *ret_n)
{
	const struct conf_node *item;
	size_t n = conf_items(conf_at(node, key), &item), n_texts = 0;
	const char **texts = n ? conf_keep(context, n, sizeof(*texts)) : NULL;

	for (; texts && n_texts < n; item = item->next)
		texts[n_texts++] = conf_keep_text(context, item->text);
	*ret_n = n_texts;
	return texts;
}

static struct conf_file conf_file_make(struct conf_context *context, const struct conf_node *node)
{
	return (struct conf_file){.path = conf_keep_text(context, node->text), .mark = node->mark};
}

struct conf_file conf_file_at(struct conf_context *context, const struct conf_node *node,
			      const char *key)
{
	const struct conf_node *value = conf_at(node, key);

	return value ? conf_file_make(context, value)
		     : (struct conf_file){.mark = conf_mark_at(node, key)};
}

bool conf_certificate_fill(struct conf_context *context, struct conf_certificate *certificate,
			   const struct conf_node *node)
{
	bool is_mapping = node->kind == CONF_NODE_MAPPING;
	const struct conf_node *chain = is_mapping ? conf_at(node, "chain") : node;
	const struct conf_node *key = is_mapping ? conf_at(node, "key") : NULL;

	if (!chain)
		return false;
	certificate->chain = conf_file_make(context, chain);
	certificate->key = key ? conf_file_make(context, key) : certificate->chain;
	if (is_mapping) {
		certificate->passphrase = conf_file_at(context, node, "passphrase");
		certificate->ocsp = conf_file_at(context, node, "ocsp");
	}
	return true;
}

uint32_t conf_seconds_at(const struct conf_node *node, const char *key)
{
	return (uint32_t)((conf_number_at(node, key) + 999) / 1000);
}

void conf_socket_fill(struct conf_context *context, struct conf_socket *options,
		      const struct conf_node *node)
{
	const struct conf_node *keepalive =
	    conf_switched(context, conf_at(node, "keepalive"), &conf_shape_keepalive);

	options->keepalive_idle_s = conf_seconds_at(keepalive, "idle");
	options->keepalive_interval_s = conf_seconds_at(keepalive, "interval");
	options->keepalive_count = (uint32_t)conf_number_at(keepalive, "count");
	options->user_timeout_ms = (uint32_t)conf_number_at(node, "user_timeout");
	options->receive_buffer_bytes = (uint32_t)conf_number_at(node, "receive_buffer");
	options->send_buffer_bytes = (uint32_t)conf_number_at(node, "send_buffer");
	options->fast_open = conf_number_at(node, "fast_open") != 0;
}
