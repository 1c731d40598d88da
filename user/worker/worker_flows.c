/* SPDX-License-Identifier: Apache-2.0 */
/* The document of `penstock flows`: every open connection, and every steered flow, as they are now.
 */
#include <string.h>

#include "base/clock.h"
#include "penstock/limits.h"
#include "worker/worker_internal.h"

static const char *flows_engine(uint8_t engine)
{
	static const char *const words[] = {
	    [STREAM_ENGINE_NONE] = "none",
	    [STREAM_ENGINE_COPY] = "copy",
	    [STREAM_ENGINE_PIPE] = "pipe",
	    [STREAM_ENGINE_SOCKMAP] = "sockmap",
	};

	return engine < ARRAY_LEN(words) ? words[engine] : "none";
}

static const char *flows_tls(unsigned int tls)
{
	static const char *const words[] = {
	    [STREAM_TLS_NONE] = "none",
	    [STREAM_TLS_USER] = "userspace",
	    [STREAM_TLS_KERNEL_SEND] = "ktls-send",
	    [STREAM_TLS_KERNEL_RECEIVE] = "ktls-receive",
	    [STREAM_TLS_KERNEL] = "ktls",
	};

	return tls < ARRAY_LEN(words) ? words[tls] : "none";
}

static json_t *flows_addr(const uint8_t bytes[16], uint16_t port)
{
	struct addr addr = {.in6 = {.sin6_family = AF_INET6}, .len = sizeof(addr.in6)};
	struct addr in = {.in = {.sin_family = AF_INET}, .len = sizeof(in.in)};
	char text[ADDR_TEXT_MAX];

	memcpy(&addr.in6.sin6_addr, bytes, 16);
	addr.in6.sin6_port = htons(port);
	if (IN6_IS_ADDR_UNSPECIFIED(&addr.in6.sin6_addr) && port == 0)
		return json_null();
	if (!IN6_IS_ADDR_V4MAPPED(&addr.in6.sin6_addr))
		return json_string(addr_format(&addr, text));
	memcpy(&in.in.sin_addr, bytes + 12, 4);
	in.in.sin_port = htons(port);
	return json_string(addr_format(&in, text));
}

/* The configuration may have changed since the connection came: then its names are not known any
 * more. */
static const char *flows_listener_name(const struct conf *conf, const struct stream_value *stream)
{
	return stream->listener < conf->n_listeners ? conf->listeners[stream->listener].name : "";
}

static double flows_seconds_since(uint64_t then_ns, uint64_t now_us)
{
	uint64_t then_us = then_ns / 1000;

	return then_us < now_us ? (double)(now_us - then_us) / 1e6 : 0.0;
}

static json_t *flows_entry(const struct conf *conf, const struct stream_value *stream,
			   uint64_t now_us)
{
	char why[sizeof(stream->why)];

	memcpy(why, stream->why, sizeof(why));
	why[sizeof(why) - 1] = 0;
	return json_pack(
	    "{s:I, s:s, s:s, s:o, s:o, s:s, s:s, s:I, s:I, s:f, s:f, s:i, s:i, s:s, s:s, s:s}",
	    "id", (json_int_t)stream->id, "lane",
	    stream->lane == STREAM_LANE_TERMINATE ? "terminate" : "splice", "listener",
	    flows_listener_name(conf, stream), "client",
	    flows_addr(stream->client_addr, stream->client_port), "origin",
	    flows_addr(stream->origin_addr, stream->origin_port), "engine_up",
	    flows_engine(stream->engine_up), "engine_down", flows_engine(stream->engine_down),
	    "bytes_up", (json_int_t)stream->bytes_up, "bytes_down", (json_int_t)stream->bytes_down,
	    "age_s", flows_seconds_since(stream->created_ns, now_us), "idle_s",
	    flows_seconds_since(stream->active_ns, now_us), "client_rtt_us",
	    (int)stream->client_rtt_us, "origin_rtt_us", (int)stream->origin_rtt_us,
	    "why_not_faster", why, "client_tls", flows_tls(stream->tls & 15), "origin_tls",
	    flows_tls(stream->tls >> 4));
}

static json_t *flows_steered(struct steer *steer)
{
	json_t *status = steer ? steer_status(steer) : NULL;
	json_t *table = json_incref(json_object_get(status, "flow_table"));

	json_decref(status);
	return table ? table : json_array();
}

json_t *worker_flows_json(const struct flows *flows, const struct conf *conf, struct steer *steer)
{
	json_t *streams = json_array();
	uint64_t now_us = clock_now_us();
	struct stream_value stream;

	for (uint32_t i = 0; i < PENSTOCK_MAX_STREAMS; i++)
		if (flows_read(flows, i, &stream))
			json_array_append_new(streams, flows_entry(conf, &stream, now_us));
	return json_pack("{s:o, s:o}", "streams", streams, "steered", flows_steered(steer));
}
