/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes that an origin hears where it asked for them: who the client is, in a PROXY
 * protocol header, before TLS. */
#include <errno.h>

#include "classify/proxy_protocol.h"
#include "origin/origin_internal.h"

int origin_send_proxy_header(const struct conf_origin *conf, const struct proxy_facts *facts,
			     int fd)
{
	uint8_t version = conf->proxy_protocol == CONF_PROXY_PROTOCOL_V1 ? 1 : 2;
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES];
	ssize_t sent;
	int len;

	if (conf->proxy_protocol == CONF_PROXY_PROTOCOL_OFF)
		return 0;
	if (!facts)
		return -ENOMEM;
	len = proxy_protocol_write(version, facts, data, sizeof(data));
	if (len < 0)
		return len;
	/* Nothing was sent on this socket yet, and the least send buffer (tcp_wmem) holds a page.
	 */
	sent = send(fd, data, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return -errno;
	return sent == len ? 0 : -ENOBUFS;
}
