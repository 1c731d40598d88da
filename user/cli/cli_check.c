/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock check`: everything that a start does but for what changes the host. `penstock steer`:
 * its one undoing. */
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"
#include "plane/plane.h"
#include "tls/tls.h"

static int check_find_file(void *argument, const char *path)
{
	return bundle_find(argument, BUNDLE_FILE, path, 0);
}

/* Builds every TLS context and throws it away: certificates, keys and authorities are read for
 * that. */
static void check_tls(const struct conf *conf, struct bundle *bundle, struct conf_diag *diag)
{
	const struct tls_files files = {.find = check_find_file, .argument = bundle};

	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].tls)
			tls_server_ctx_free(
			    tls_server_ctx_new(conf->listeners[i].tls, &files, diag));
	for (size_t i = 0; i < conf->n_origins; i++)
		if (conf->origins[i]->tls)
			tls_client_ctx_free(
			    tls_client_ctx_new(conf->origins[i]->tls, &files, diag));
}

static void check_describe_route(const struct conf_route *route)
{
	char match[CONF_MATCH_TEXT_MAX];

	printf("    %-9s %s -> %s%s\n", conf_lane_word(route->lane),
	       conf_route_format_match(route, match), route->origin->name,
	       route->origin->tls && !route->origin->tls->verify ? " (not verified)" : "");
}

/* Names made from an address say it already. */
static bool check_name_says_udp(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, "/udp") == 0;
}

static void check_describe(const struct conf *conf)
{
	printf("%s: OK\n", conf->file_name);
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		printf("  %s%s%s\n", listener->name,
		       listener->transport == CONF_TRANSPORT_UDP &&
			       !check_name_says_udp(listener->name)
			   ? " udp"
			   : "",
		       listener->tls ? " tls" : "");
		for (size_t j = 0; j < listener->n_routes; j++)
			check_describe_route(&listener->routes[j]);
	}
}

static int check_file(const char *path, struct conf_diag *diag)
{
	struct bundle *bundle = NULL;
	struct conf *conf = NULL;
	int status = EXIT_FAILURE;

	if (broker_load(path, 1, diag, &conf, &bundle) == 0)
		check_tls(conf, bundle, diag);
	fputs(conf_diag_text(diag), stderr);
	if (conf && conf_diag_errors(diag) == 0) {
		check_describe(conf);
		status = EXIT_SUCCESS;
	}
	bundle_free(bundle);
	conf_unref(conf);
	return status;
}

int cli_check(const struct cli_options *options)
{
	const char *path = cli_config_path(options);
	struct conf_diag *diag = conf_diag_new(path);
	int status;

	if (!diag || tls_init(false)) {
		fputs("penstock: no memory\n", stderr);
		status = EXIT_FAILURE;
	} else {
		status = check_file(path, diag);
	}
	if (diag)
		conf_diag_free(diag);
	return status;
}

int cli_steer(const struct cli_options *options)
{
	struct plane_error error = {.text = ""};
	struct conf *conf;
	int err;

	if (options->n_words != 1 || strcmp(options->words[0], "remove") != 0) {
		fputs("Usage: penstock steer remove [-c FILE]\n", stderr);
		return CLI_EXIT_USAGE;
	}
	conf = cli_load_conf(cli_config_path(options));
	if (!conf)
		return EXIT_FAILURE;
	err = plane_remove(conf, &error);
	if (err)
		fprintf(stderr, "penstock: %s\n", error.text);
	else
		printf("nothing of the steer lane is left under %s\n", conf->pin_dir);
	conf_unref(conf);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
