/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices, addresses, routes and neighbours by rtnetlink. The file system /sys is not asked: it may
 * show another network namespace. Changes nothing but neighbour entries.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plane/plane_internal.h"

#define NET_BUFFER_BYTES 32768 /* what the kernel fills at most in one go of a dump */

/* Sends one request and feeds its answers to `callback`. 0 or -errno; the kernel's refusal is an
 * -errno too. */
static int net_talk(struct nlmsghdr *request, mnl_cb_t callback, void *argument)
{
	struct mnl_socket *socket = mnl_socket_open(NETLINK_ROUTE);
	char *buffer = malloc(NET_BUFFER_BYTES);
	int more = MNL_CB_OK;
	int err = 0;

	if (!socket || !buffer) {
		err = socket ? -ENOMEM : -errno;
		goto out;
	}
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
		err = -errno;
		goto out;
	}
	while (!err && more > MNL_CB_STOP) {
		ssize_t len_bytes = mnl_socket_recvfrom(socket, buffer, NET_BUFFER_BYTES);

		if (len_bytes < 0)
			err = -errno;
		else
			more = mnl_cb_run(buffer, (size_t)len_bytes, 1,
					  mnl_socket_get_portid(socket), callback, argument);
		if (!err && more < 0)
			err = -errno;
		/* A single answer, without an acknowledgement behind it, is the end. */
		if (!err && !(request->nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK)))
			break;
	}
out:
	free(buffer);
	if (socket)
		mnl_socket_close(socket);
	return err;
}

static struct nlmsghdr *net_request(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	return request;
}

/* Room for one more at the end of an array that grows by doubling. */
static void *net_grow(void *array, size_t n, size_t size_bytes)
{
	if (n & (n - 1))
		return array;
	return realloc(array, (n ? 2 * n : 1) * size_bytes);
}

/* Attributes by type; those past the end of the table are not for us. */
struct net_attrs {
	const struct nlattr *by_type[64];
};

static int net_on_attr(const struct nlattr *attr, void *argument)
{
	struct net_attrs *attrs = argument;

	if (mnl_attr_get_type(attr) < ARRAY_LEN(attrs->by_type))
		attrs->by_type[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static struct net_attrs net_attrs_of(const struct nlmsghdr *header, size_t header_bytes)
{
	struct net_attrs attrs = {.by_type = {NULL}};

	mnl_attr_parse(header, (unsigned int)header_bytes, net_on_attr, &attrs);
	return attrs;
}

/* NULL: not there, or not four bytes. */
static const void *net_attr_word(const struct net_attrs *attrs, size_t type)
{
	const struct nlattr *attr = attrs->by_type[type];

	return attr && mnl_attr_get_payload_len(attr) == 4 ? mnl_attr_get_payload(attr) : NULL;
}

/* "" where it is not there. */
static void net_attr_text(const struct net_attrs *attrs, size_t type, char *text, size_t size_bytes)
{
	const struct nlattr *attr = attrs->by_type[type];

	if (attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		snprintf(text, size_bytes, "%s", mnl_attr_get_str(attr));
	else
		text[0] = '\0';
}

static int net_on_link(const struct nlmsghdr *header, void *argument)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(header);
	struct net_attrs attrs = net_attrs_of(header, sizeof(*link));
	struct net_attrs info = {.by_type = {NULL}};
	struct net_table *table = argument;
	struct net_device *device = net_grow(table->devices, table->n_devices, sizeof(*device));

	if (!device)
		return MNL_CB_ERROR;
	table->devices = device;
	device += table->n_devices++;
	*device = (struct net_device){
	    .ifindex = (unsigned int)link->ifi_index,
	    .is_ethernet = link->ifi_type == ARPHRD_ETHER,
	    .is_loopback = link->ifi_type == ARPHRD_LOOPBACK,
	    .is_hardware = attrs.by_type[IFLA_PARENT_DEV_NAME] != NULL, /* Linux 5.14 */
	};
	net_attr_text(&attrs, IFLA_IFNAME, device->name, sizeof(device->name));
	if (attrs.by_type[IFLA_LINKINFO])
		mnl_attr_parse_nested(attrs.by_type[IFLA_LINKINFO], net_on_attr, &info);
	net_attr_text(&info, IFLA_INFO_KIND, device->kind, sizeof(device->kind));
	return MNL_CB_OK;
}

static int net_on_address(const struct nlmsghdr *header, void *argument)
{
	const struct ifaddrmsg *message = mnl_nlmsg_get_payload(header);
	struct net_attrs attrs = net_attrs_of(header, sizeof(*message));
	const void *local = net_attr_word(&attrs, IFA_LOCAL);
	struct net_table *table = argument;
	struct net_address *address;

	if (!local)
		return MNL_CB_OK;
	address = net_grow(table->addresses, table->n_addresses, sizeof(*address));
	if (!address)
		return MNL_CB_ERROR;
	table->addresses = address;
	address += table->n_addresses++;
	address->ifindex = message->ifa_index;
	memcpy(&address->addr, local, 4);
	return MNL_CB_OK;
}

static void net_add_default(struct net_table *table, unsigned int ifindex)
{
	for (size_t i = 0; i < table->n_defaults; i++)
		if (table->default_ifindexes[i] == ifindex)
			return;
	if (table->n_defaults < ARRAY_LEN(table->default_ifindexes))
		table->default_ifindexes[table->n_defaults++] = ifindex;
}

static void net_add_next_hops(struct net_table *table, const struct nlattr *attr)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(attr);
	int left_bytes = mnl_attr_get_payload_len(attr);

	for (; RTNH_OK(hop, left_bytes);
	     left_bytes -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
		net_add_default(table, (unsigned int)hop->rtnh_ifindex);
}

static int net_on_default(const struct nlmsghdr *header, void *argument)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(header);
	struct net_attrs attrs = net_attrs_of(header, sizeof(*route));
	const uint32_t *ifindex = net_attr_word(&attrs, RTA_OIF);

	if (route->rtm_dst_len || route->rtm_table != RT_TABLE_MAIN ||
	    route->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	if (ifindex)
		net_add_default(argument, *ifindex);
	if (attrs.by_type[RTA_MULTIPATH])
		net_add_next_hops(argument, attrs.by_type[RTA_MULTIPATH]);
	return MNL_CB_OK;
}

static int net_dump(uint16_t type, unsigned char family, size_t header_bytes, mnl_cb_t callback,
		    struct net_table *table)
{
	char buffer[256];
	struct nlmsghdr *request = net_request(buffer, type, NLM_F_DUMP);
	struct rtgenmsg *header = mnl_nlmsg_put_extra_header(request, header_bytes);

	header->rtgen_family = family; /* each of the headers starts with it */
	return net_talk(request, callback, table);
}

int net_table_read(struct net_table *ret_table)
{
	struct net_table table = {.devices = NULL};
	int err = net_dump(RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg), net_on_link, &table);

	if (!err)
		err = net_dump(RTM_GETADDR, AF_INET, sizeof(struct ifaddrmsg), net_on_address,
			       &table);
	if (!err)
		err = net_dump(RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), net_on_default, &table);
	if (err) {
		net_table_done(&table);
		return err;
	}
	*ret_table = table;
	return 0;
}

void net_table_done(struct net_table *table)
{
	free(table->devices);
	free(table->addresses);
	*table = (struct net_table){.devices = NULL};
}

const struct net_device *net_table_find(const struct net_table *table, unsigned int ifindex)
{
	for (size_t i = 0; i < table->n_devices; i++)
		if (table->devices[i].ifindex == ifindex)
			return &table->devices[i];
	return NULL;
}

const struct net_device *net_table_find_name(const struct net_table *table, const char *name)
{
	for (size_t i = 0; i < table->n_devices; i++)
		if (strcmp(table->devices[i].name, name) == 0)
			return &table->devices[i];
	return NULL;
}

static int net_on_route(const struct nlmsghdr *header, void *argument)
{
	const struct rtmsg *message = mnl_nlmsg_get_payload(header);
	struct net_attrs attrs = net_attrs_of(header, sizeof(*message));
	const uint32_t *ifindex = net_attr_word(&attrs, RTA_OIF);
	const void *gateway = net_attr_word(&attrs, RTA_GATEWAY);
	struct net_route *route = argument;

	route->is_local = message->rtm_type == RTN_LOCAL;
	route->is_unicast = message->rtm_type == RTN_UNICAST;
	if (ifindex)
		route->ifindex = *ifindex;
	if (gateway)
		memcpy(&route->next_hop, gateway, 4);
	return MNL_CB_OK;
}

int net_route_find(struct in_addr to, struct net_route *ret_route)
{
	struct net_route route = {.next_hop = to};
	char buffer[256];
	struct nlmsghdr *request = net_request(buffer, RTM_GETROUTE, 0);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	int err;

	header->rtm_family = AF_INET;
	header->rtm_dst_len = 32;
	mnl_attr_put_u32(request, RTA_DST, to.s_addr);
	err = net_talk(request, net_on_route, &route);
	if (!err)
		*ret_route = route;
	return err;
}

static int net_neighbour_send(uint16_t type, uint16_t flags, unsigned int ifindex,
			      struct in_addr addr, uint8_t neighbour_flags, uint32_t extended_flags)
{
	char buffer[256];
	struct nlmsghdr *request = net_request(buffer, type, NLM_F_ACK | flags);
	struct ndmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));

	header->ndm_family = AF_INET;
	header->ndm_ifindex = (int)ifindex;
	header->ndm_flags = neighbour_flags;
	mnl_attr_put_u32(request, NDA_DST, addr.s_addr);
	if (extended_flags)
		mnl_attr_put_u32(request, NDA_FLAGS_EXT, extended_flags);
	return net_talk(request, NULL, NULL);
}

int net_neighbour_hold(unsigned int ifindex, struct in_addr addr)
{
	int err = net_neighbour_send(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, addr,
				     NTF_USE, NTF_EXT_MANAGED);

	if (err == -EINVAL)
		err = net_neighbour_send(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, addr,
					 NTF_USE, 0);
	return err;
}

void net_neighbour_release(unsigned int ifindex, struct in_addr addr)
{
	(void)!net_neighbour_send(RTM_DELNEIGH, 0, ifindex, addr, 0, 0);
}
