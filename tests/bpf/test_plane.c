// SPDX-License-Identifier: Apache-2.0
/*
 * The plane against the kernel: what is pinned and attached, adopted, replaced, undone and removed.
 * Packets are for test_steer.c and tests/net.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node.h"
#include "plane/plane_internal.h"
#include "steer.skel.h"
#include "wanted.h"

static struct node node;

static bool is_pinned(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", wanted_pin_dir(), name);
	return access(path, F_OK) == 0;
}

static int open_pin(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", wanted_pin_dir(), name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

static struct plane *open_plane(const struct conf *conf)
{
	struct plane_error error = {.text = ""};
	struct plane *plane = NULL;

	if (plane_open(conf, &plane, &error))
		fail_msg("%s", error.text);
	return plane;
}

static void attach(struct plane *plane, const struct conf *conf)
{
	struct plane_error error = {.text = ""};

	if (plane_settle(plane, conf, &error))
		fail_msg("%s", error.text);
}

/* Takes everything away again. */
static void finish(struct plane *plane, struct conf *conf)
{
	struct plane_error error = {.text = ""};

	plane_free(plane);
	assert_int_equal(plane_remove(conf, &error), 0);
	assert_int_equal(access(wanted_pin_dir(), F_OK), -1);
	conf_unref(conf);
}

static json_t *describe(const struct plane *plane)
{
	char *text = plane_describe(plane);
	json_t *root = json_loads(text, 0, NULL);

	assert_non_null(root);
	free(text);
	return root;
}

/* Says some note what we look for? */
static bool has_note(const struct plane *plane, const char *words)
{
	json_t *root = describe(plane), *note;
	bool has = false;
	size_t i;

	json_array_foreach(json_object_get(root, "notes"), i, note) has |=
	    strstr(json_string_value(note), words) != NULL;
	json_decref(root);
	return has;
}

/* Of the device's entry; "" where there is none. */
static const char *device_says(const struct plane *plane, const char *name, const char *key)
{
	static char text[256];
	json_t *root = describe(plane), *device;
	size_t i;

	text[0] = '\0';
	json_array_foreach(
	    json_object_get(root, "devices"), i,
	    device) if (strcmp(json_string_value(json_object_get(device, "name")), name) == 0)
	    snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(device, key)));
	json_decref(root);
	return text;
}

static uint32_t link_program_id(const char *pin)
{
	struct bpf_link_info info = {.type = 0};
	uint32_t len_bytes = sizeof(info);
	int fd = open_pin(pin);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len_bytes), 0);
	close(fd);
	return info.prog_id;
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {.type = 0};
	uint32_t len_bytes = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len_bytes), 0);
	return info.id;
}

/* tcx came with Linux 6.6; asked after attaching. */
static bool kernel_has_tcx(void)
{
	return is_pinned("link_tc_c0");
}

/* ---- opening ---- */

static void test_pins_and_names(void **state)
{
	static const char *const names[] = {"services", "servers",   "flows",	 "counters",
					    "layout",	"steer_xdp", "steer_tc", "xdp_devices"};
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(is_pinned(names[i]));
	assert_true(plane_map_fd(plane, "flows") >= 0);
	assert_int_equal(plane_map_fd(plane, "nothing"), -ENOENT);
	finish(plane, conf);
}

static void test_adoption_keeps_maps(void **state)
{
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	uint32_t flows_id = map_id(plane_map_fd(plane, "flows"));
	uint32_t devices_id = map_id(plane_map_fd(plane, "xdp_devices"));
	struct flow_key key = {.protocol = 17}, found;

	(void)state;
	assert_int_equal(bpf_map_update_elem(plane_map_fd(plane, "flows"), &key,
					     &(struct flow_value){.packets = 5}, BPF_ANY),
			 0);
	plane_free(plane);
	plane = open_plane(conf);
	assert_int_equal(map_id(plane_map_fd(plane, "flows")), flows_id);
	assert_int_equal(map_id(plane_map_fd(plane, "xdp_devices")), devices_id);
	assert_int_equal(bpf_map_get_next_key(plane_map_fd(plane, "flows"), NULL, &found), 0);
	assert_memory_equal(&found, &key, sizeof(key));
	assert_false(has_note(plane, "layout"));
	finish(plane, conf);
}

static void test_other_layout_is_replaced(void **state)
{
	struct steer_layout layout = {.abi_version = PENSTOCK_ABI_VERSION + 1};
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	uint32_t flows_id = map_id(plane_map_fd(plane, "flows")), key = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(plane_map_fd(plane, "layout"), &key, &layout, BPF_ANY),
			 0);
	plane_free(plane);
	plane = open_plane(conf);
	assert_int_not_equal(map_id(plane_map_fd(plane, "flows")), flows_id);
	assert_true(has_note(plane, "have been replaced"));
	/* What is pinned now is the new one. */
	plane_free(plane);
	plane = open_plane(conf);
	assert_false(has_note(plane, "have been replaced"));
	finish(plane, conf);
}

static void test_map_of_another_shape_is_replaced(void **state)
{
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	int fd;

	(void)state;
	plane_free(plane);
	fd = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "flows", 16, 64, 1024, NULL);
	assert_true(fd >= 0);
	assert_int_equal(pin_replace(wanted_pin_dir(), "flows", fd), 0);
	close(fd);
	plane = open_plane(conf);
	assert_true(has_note(plane, "have been replaced"));
	finish(plane, conf);
}

/* A reason was added: the counters have another size, which costs the counters alone. */
static void test_counters_of_another_size(void **state)
{
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	uint32_t flows_id = map_id(plane_map_fd(plane, "flows"));
	int fd;

	(void)state;
	plane_free(plane);
	fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "counters", 4, 8, 3, NULL);
	assert_true(fd >= 0);
	assert_int_equal(pin_replace(wanted_pin_dir(), "counters", fd), 0);
	close(fd);
	plane = open_plane(conf);
	assert_int_equal(map_id(plane_map_fd(plane, "flows")), flows_id);
	assert_true(has_note(plane, "counters"));
	finish(plane, conf);
}

/* What a process left that was killed between making a pin and putting it in place. */
static void test_unfinished_pins_go(void **state)
{
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);

	(void)state;
	assert_int_equal(pin_replace(wanted_pin_dir(), "new_flows", plane_map_fd(plane, "flows")),
			 0);
	assert_true(is_pinned("new_flows"));
	plane_free(plane);
	plane = open_plane(conf);
	assert_false(is_pinned("new_flows"));
	finish(plane, conf);
}

static void test_pin_dir_must_be_a_bpf_file_system(void **state)
{
	struct plane_error error = {.text = ""};
	struct conf *conf = wanted_service("");
	struct plane *plane = NULL;
	struct conf elsewhere = *conf;

	(void)state;
	elsewhere.pin_dir = "/tmp/penstock-no-bpffs";
	assert_int_equal(plane_open(&elsewhere, &plane, &error), -EINVAL);
	assert_non_null(strstr(error.text, "mount -t bpf bpf /tmp"));
	assert_null(plane);
	conf_unref(conf);
}

/* ---- attaching ---- */

static void test_attach_and_programs_change(void **state)
{
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	uint32_t first_id;

	(void)state;
	attach(plane, conf);
	assert_string_equal(device_says(plane, "c0", "hook"), "tc");
	assert_non_null(strstr(device_says(plane, "s0", "reason"), "veth"));
	if (!kernel_has_tcx()) {
		assert_string_equal(device_says(plane, "c0", "attach"), "filter");
		assert_true(is_pinned("filter_tc_c0") && is_pinned("filter_tc_s0"));
		finish(plane, conf);
		return;
	}
	assert_string_equal(device_says(plane, "c0", "attach"), "link");
	first_id = link_program_id("link_tc_c0");
	assert_int_equal(link_program_id("link_tc_s0"), first_id);
	/* The next process brings its own programs; the links stay. */
	plane_free(plane);
	plane = open_plane(conf);
	attach(plane, conf);
	assert_int_not_equal(link_program_id("link_tc_c0"), first_id);
	assert_int_equal(link_program_id("link_tc_s0"), link_program_id("link_tc_c0"));
	finish(plane, conf);
}

static bool has_filter(void)
{
	return system("tc filter show dev c0 ingress | grep -q steer_tc") == 0;
}

/* What kernels without tcx get. */
static void test_filter(void **state)
{
	struct plane_device device = {.ifindex = node.c0, .name = "c0"};
	struct conf *conf = wanted_service("");
	struct plane *plane = open_plane(conf);
	int program_fd = bpf_program__fd(plane->skel->progs.steer_tc);
	enum hook_change change;

	(void)state;
	assert_int_equal(hook_filter_attach(wanted_pin_dir(), &device, program_fd, &change), 0);
	assert_int_equal(change, HOOK_CREATED);
	assert_true(has_filter() && is_pinned("filter_tc_c0"));
	assert_int_equal(hook_filter_attach(wanted_pin_dir(), &device, program_fd, &change), 0);
	assert_int_equal(change, HOOK_UPDATED);
	hook_tc_detach(wanted_pin_dir(), "c0");
	assert_false(has_filter() || is_pinned("filter_tc_c0"));
	hook_tc_detach(wanted_pin_dir(), "c0");
	/* And removal finds it by its mark. */
	assert_int_equal(hook_filter_attach(wanted_pin_dir(), &device, program_fd, &change), 0);
	finish(plane, conf);
	assert_false(has_filter());
}

static void test_device_made_anew(void **state)
{
	struct conf *conf = wanted("listeners:\n"
				   "  - {bind: \"192.0.2.1:80\", routes: [{steer: web}]}\n"
				   "origins: {web: {servers: [\"203.0.113.2:8080\"]}}\n");
	struct plane *plane = open_plane(conf);

	(void)state;
	node_run("ip link add v.0 type veth peer name v1 && ip link set v.0 up && "
		 "ip addr add 192.0.2.1/24 dev v.0");
	attach(plane, conf);
	assert_true(is_pinned("link_tc_v:0") || is_pinned("filter_tc_v:0"));
	assert_string_equal(device_says(plane, "v.0", "hook"), "tc");
	node_run(
	    "ip link del v.0 && ip link add v.0 type veth peer name v1 && ip link set v.0 up && "
	    "ip addr add 192.0.2.1/24 dev v.0");
	attach(plane, conf);
	if (is_pinned("link_tc_v:0"))
		assert_int_equal(link_program_id("link_tc_v:0"), link_program_id("link_tc_s0"));
	node_run("ip link del v.0");
	finish(plane, conf);
}

static void expect_refusal(const struct conf *conf, struct plane *plane, int err, const char *words)
{
	struct plane_error error = {.text = ""};

	assert_int_equal(plane_attach(plane, conf, &error), err);
	if (!strstr(error.text, words))
		fail_msg("\"%s\" does not say \"%s\"", error.text, words);
}

/* The first device takes XDP, the second cannot: nothing of the attempt remains. */
static void test_failure_is_undone(void **state)
{
	struct conf *conf = wanted_service("hook: xdp, devices: [s0, b0]");
	struct plane *plane = open_plane(conf);

	(void)state;
	node_run("ip link add b0 type bridge && ip link set b0 up");
	expect_refusal(conf, plane, -EOPNOTSUPP, "XDP to b0: its driver has no XDP");
	assert_false(is_pinned("link_xdp_s0") || is_pinned("link_tc_s0") ||
		     is_pinned("link_tc_b0"));
	node_run("ip link del b0");
	finish(plane, conf);
}

static void test_another_xdp_program(void **state)
{
	struct conf *conf = wanted_service("hook: xdp");
	struct plane *plane = open_plane(conf);
	int program_fd = bpf_program__fd(plane->skel->progs.steer_xdp);
	struct bpf_link_create_opts opts = {.sz = sizeof(opts), .flags = XDP_FLAGS_DRV_MODE};
	int link_fd = bpf_link_create(program_fd, (int)node.c0, BPF_XDP, &opts);

	(void)state;
	assert_true(link_fd >= 0);
	expect_refusal(conf, plane, -EBUSY, "another XDP program is there");
	assert_int_equal(bpf_link_detach(link_fd), 0);
	close(link_fd);
	attach(plane, conf);
	assert_true(is_pinned("link_xdp_c0") && is_pinned("link_xdp_s0"));
	assert_true(is_pinned("link_tc_c0") || is_pinned("filter_tc_c0"));
	finish(plane, conf);
}

/* A driver that refuses, where the choice is ours: all devices take tc, and each says why. */
static void test_fall_back(void **state)
{
	struct conf *conf = wanted_service("hook: xdp");
	struct plane *plane = open_plane(conf);
	struct plane_device devices[2] = {{.ifindex = 0}};
	struct plane_error error = {.text = ""};

	(void)state;
	node_run("ip link add b0 type bridge && ip link set b0 up");
	snprintf(devices[0].name, IF_NAMESIZE, "c0");
	snprintf(devices[1].name, IF_NAMESIZE, "b0");
	for (size_t i = 0; i < 2; i++) {
		devices[i].ifindex = if_nametoindex(devices[i].name);
		devices[i].wants_xdp = true;
		devices[i].may_fall_back = true;
	}
	assert_int_equal(plane_attach_devices(plane, conf, devices, 2, &error), 0);
	assert_string_equal(device_says(plane, "b0", "hook"), "tc");
	assert_string_equal(device_says(plane, "b0", "reason"), "its driver has no XDP");
	assert_string_equal(device_says(plane, "c0", "hook"), "tc");
	assert_non_null(strstr(device_says(plane, "c0", "reason"), "could not send out by b0"));
	assert_false(is_pinned("link_xdp_c0"));
	node_run("ip link del b0");
	finish(plane, conf);
}

static void test_refusals(void **state)
{
	struct conf *conf = wanted_service("devices: [lo]");
	struct plane *plane = open_plane(conf);
	struct conf *other;

	(void)state;
	expect_refusal(conf, plane, -EOPNOTSUPP, "lo carries no Ethernet frames");
	other = wanted_service("devices: [nope]");
	expect_refusal(other, plane, -ENODEV, "no device \"nope\"");
	conf_unref(other);
	other =
	    wanted("listeners:\n"
		   "  - {bind: \"192.0.2.99:80\", routes: [{steer: \"tcp://203.0.113.2:80\"}]}\n");
	expect_refusal(other, plane, -ENODEV, "name the devices");
	conf_unref(other);
	finish(plane, conf);
}

/* An address on the loopback comes in by the device of the default route. */
static void test_address_on_the_loopback(void **state)
{
	struct conf *conf =
	    wanted("listeners:\n"
		   "  - {bind: \"192.0.2.50:80\", routes: [{steer: \"tcp://203.0.113.2:80\"}]}\n");
	struct plane *plane = open_plane(conf);

	(void)state;
	node_run("ip addr add 192.0.2.50/32 dev lo && ip route add default via 198.51.100.2");
	attach(plane, conf);
	assert_string_equal(device_says(plane, "c0", "hook"), "tc");
	assert_string_equal(device_says(plane, "s0", "hook"), "tc");
	node_run("ip addr del 192.0.2.50/32 dev lo && ip route del default");
	finish(plane, conf);
}

static void test_overlapping_ports_are_noted(void **state)
{
	struct conf *conf = wanted_service("nat_ports: 50000-65000");
	struct plane *plane = open_plane(conf);

	(void)state;
	node_write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999");
	attach(plane, conf);
	assert_true(has_note(plane, "overlap net.ipv4.ip_local_port_range (32768-60999)"));
	node_write("/proc/sys/net/ipv4/ip_local_port_range", "32768 49999");
	attach(plane, conf);
	assert_false(has_note(plane, "overlap"));
	finish(plane, conf);
}

static void put_flow(struct plane *plane, uint8_t protocol, uint8_t seen)
{
	struct flow_key key = {.src_addr = {198, 51, 100, 2},
			       .dst_addr = {198, 51, 100, 1},
			       .src_port = 4000,
			       .dst_port = 80,
			       .protocol = protocol};
	struct flow_value value = {
	    .new_dst_addr = {203, 0, 113, 2}, .direction = FLOW_TO_ORIGIN, .tcp_seen = seen};
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	value.last_seen_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	assert_int_equal(bpf_map_update_elem(plane_map_fd(plane, "flows"), &key, &value, BPF_ANY),
			 0);
}

/* s0 is needed by no server any more, but by a flow; until that ends. */
static void test_open_flows_keep_their_device(void **state)
{
	struct conf *conf = wanted_service("");
	struct conf *moved = wanted(
	    "listeners:\n"
	    "  - {bind: \"198.51.100.1:80\", routes: [{steer: \"tcp://198.51.100.2:80\"}]}\n");
	struct plane *plane = open_plane(conf);
	struct plane_error error = {.text = ""};

	(void)state;
	attach(plane, conf);
	put_flow(plane, IPPROTO_TCP, FLOW_SEEN_SYN);
	attach(plane, moved);
	assert_non_null(strstr(device_says(plane, "s0", "reason"), "kept for flows"));
	put_flow(plane, IPPROTO_TCP, FLOW_SEEN_SYN | FLOW_SEEN_RST);
	/* Attaching alone takes nothing away. */
	assert_int_equal(plane_attach(plane, moved, &error), 0);
	assert_true(is_pinned("link_tc_s0") || is_pinned("filter_tc_s0"));
	attach(plane, moved);
	assert_string_equal(device_says(plane, "s0", "hook"), "");
	assert_false(is_pinned("link_tc_s0") || is_pinned("filter_tc_s0"));
	conf_unref(moved);
	finish(plane, conf);
}

static void test_removing_what_is_not_there(void **state)
{
	struct plane_error error = {.text = ""};
	struct conf *conf = wanted_service("");

	(void)state;
	assert_int_equal(plane_remove(conf, &error), 0);
	conf_unref(conf);
}

static int group_setup(void **state)
{
	(void)state;
	node_enter(&node);
	return 0;
}

/* What a test that failed has left. */
static int teardown(void **state)
{
	struct plane_error error;
	struct conf *conf = wanted_service("");

	(void)state;
	(void)!plane_remove(conf, &error);
	conf_unref(conf);
	return 0;
}

#define TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_pins_and_names),
	    TEST(test_adoption_keeps_maps),
	    TEST(test_other_layout_is_replaced),
	    TEST(test_map_of_another_shape_is_replaced),
	    TEST(test_counters_of_another_size),
	    TEST(test_unfinished_pins_go),
	    TEST(test_pin_dir_must_be_a_bpf_file_system),
	    TEST(test_attach_and_programs_change),
	    TEST(test_filter),
	    TEST(test_device_made_anew),
	    TEST(test_failure_is_undone),
	    TEST(test_another_xdp_program),
	    TEST(test_fall_back),
	    TEST(test_refusals),
	    TEST(test_address_on_the_loopback),
	    TEST(test_overlapping_ports_are_noted),
	    TEST(test_open_flows_keep_their_device),
	    TEST(test_removing_what_is_not_there),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
