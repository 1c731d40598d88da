/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What listeners, routes and origins have alike in a snapshot: networks, socket options, and
 * mappings that may be a mere "on".
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
	options->fast_open = conf_number_at(node, "fast_open") != 0;
}
