/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, their options, and what is said to those who mistype. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "broker/broker.h"
#include "cli/cli_internal.h"

#ifndef PENSTOCK_VERSION
#define PENSTOCK_VERSION "unknown"
#endif

struct cli_command {
	const char *name;
	const char *usage; /* what follows the name */
	const char *letters; /* of the options that it takes, as in cli_options_known */
	int max_words;
	const char *help;
	const char *example;
	int (*run)(const struct cli_options *options);
};

static const struct cli_command cli_commands[] = {
    {"run", "[-c FILE]", "c", 0, "run in the foreground", "penstock run -c ./penstock.yaml",
     cli_run},
    {"check", "[-c FILE]", "c", 0, "look for errors in a configuration and the files it names",
     "penstock check -c ./penstock.yaml", cli_check},
    {"status", "[--json] [-c FILE | --runtime-dir DIR]", "cdj", 0,
     "what runs: listeners, lanes, offloads, origins, counters",
     "penstock status --json | jq .generation", cli_status},
    {"flows", "[--json] [-c FILE | --runtime-dir DIR]", "cdj", 0,
     "what is open now: every connection and steered flow", "penstock flows", cli_flows},
    {"metrics", "[-c FILE | --runtime-dir DIR]", "cd", 0,
     "counters, origins, expiry of certificates, as Prometheus takes them",
     "penstock metrics | grep expiry", cli_metrics},
    {"drain", "[--undo] [--json] [-c FILE | --runtime-dir DIR] ORIGIN SERVER", "cdju", 2,
     "give a server nothing new, until --undo; what it has goes on",
     "penstock drain shop 198.51.100.9:8443", cli_drain},
    {"reload", "[-c FILE | --runtime-dir DIR]", "cd", 0,
     "make the running daemon read its configuration again", "penstock check && penstock reload",
     cli_reload},
    {"steer", "remove [-c FILE]", "c", 1,
     "detach and remove the steer programs, which outlive the daemon", "penstock steer remove",
     cli_steer},
    {"schema", "", "", 0, "print the JSON Schema of the configuration, for editors",
     "penstock schema >penstock.schema.json", cli_schema},
    {"version", "", "", 0, "print the version", "penstock version", cli_version},
    {"help", "[COMMAND]", "", 1, "print this, or more about a command", "penstock help drain",
     cli_help},
};

enum cli_option {
	CLI_CONFIG = 'c',
	CLI_RUNTIME_DIR = 'd',
	CLI_JSON = 'j',
	CLI_UNDO = 'u',
	CLI_HELP = 'h'
};

static const struct option cli_long_options[] = {
    {"config", required_argument, NULL, CLI_CONFIG},
    {"runtime-dir", required_argument, NULL, CLI_RUNTIME_DIR},
    {"json", no_argument, NULL, CLI_JSON},
    {"undo", no_argument, NULL, CLI_UNDO},
    {"help", no_argument, NULL, CLI_HELP},
    {NULL, 0, NULL, 0},
};

static const struct {
	char letter;
	const char *usage, *help;
} cli_options_known[] = {
    {CLI_CONFIG, "-c, --config FILE", "the configuration (" CLI_DEFAULT_CONFIG ")"},
    {CLI_RUNTIME_DIR, "--runtime-dir DIR",
     "where the daemon's sockets are, if the configuration does not tell"},
    {CLI_JSON, "--json", "JSON instead of tables"},
    {CLI_UNDO, "--undo", "put the server back in service"},
};

static void cli_print_options(FILE *out, const char *letters)
{
	if (*letters)
		fputc('\n', out);
	for (size_t i = 0; i < ARRAY_LEN(cli_options_known); i++)
		if (strchr(letters, cli_options_known[i].letter))
			fprintf(out, "  %-19s  %s\n", cli_options_known[i].usage,
				cli_options_known[i].help);
}

static void cli_print_usage(FILE *out, const char *before, const struct cli_command *command)
{
	fprintf(out, "%spenstock %s%s%s\n", before, command->name, *command->usage ? " " : "",
		command->usage);
}

static void cli_print_help(FILE *out)
{
	fprintf(out, "penstock: a reverse proxy for Linux that keeps traffic in the kernel\n\n"
		     "Usage: penstock COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(cli_commands); i++) {
		cli_print_usage(out, "  ", &cli_commands[i]);
		fprintf(out, "        %s\n", cli_commands[i].help);
	}
	cli_print_options(out, "cd");
	fputs("\nMore: penstock help COMMAND, penstock(8), penstock.yaml(5)\n", out);
}

static int cli_help_command(const struct cli_command *command)
{
	cli_print_usage(stdout, "Usage: ", command);
	printf("\n%s: %s\n", command->name, command->help);
	cli_print_options(stdout, command->letters);
	printf("\nExample: %s\n\nMore: penstock(8), penstock.yaml(5)\n", command->example);
	return EXIT_SUCCESS;
}

int cli_version(const struct cli_options *options UNUSED)
{
	puts("penstock " PENSTOCK_VERSION);
	return EXIT_SUCCESS;
}

int cli_schema(const struct cli_options *options UNUSED)
{
	char *schema = conf_schema();

	if (!schema) {
		fputs("penstock: no memory\n", stderr);
		return EXIT_FAILURE;
	}
	puts(schema);
	free(schema);
	return EXIT_SUCCESS;
}

int cli_run(const struct cli_options *options)
{
	return broker_run(cli_config_path(options));
}

static const struct cli_command *cli_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(cli_commands); i++)
		if (strcmp(cli_commands[i].name, name) == 0)
			return &cli_commands[i];
	return NULL;
}

/* The nearest command, where it is near enough to be meant. */
static const char *cli_nearest(const char *name)
{
	const char *nearest = NULL;
	size_t best = 3;

	for (size_t i = 0; i < ARRAY_LEN(cli_commands); i++) {
		size_t distance = str_distance(str_from(name), str_from(cli_commands[i].name));

		if (distance < best) {
			best = distance;
			nearest = cli_commands[i].name;
		}
	}
	return nearest;
}

static int cli_unknown(const char *name)
{
	const char *nearest = cli_nearest(name);

	fputs("penstock: there is no command '", stderr);
	cli_print_safe(stderr, name);
	if (nearest)
		fprintf(stderr, "'; did you mean '%s'?\n", nearest);
	else
		fputs("'; `penstock help` lists them\n", stderr);
	return CLI_EXIT_USAGE;
}

int cli_help(const struct cli_options *options)
{
	const struct cli_command *command;

	if (options->n_words == 0) {
		cli_print_help(stdout);
		return EXIT_SUCCESS;
	}
	command = cli_find(options->words[0]);
	return command ? cli_help_command(command) : cli_unknown(options->words[0]);
}

static int cli_misused(const struct cli_command *command)
{
	cli_print_usage(stderr, "Usage: ", command);
	return CLI_EXIT_USAGE;
}

/* 0, or -EINVAL where the command does not take what was given; getopt_long() has told what it did
 * not know. */
static int cli_parse(const struct cli_command *command, int argc, char **argv,
		     struct cli_options *options)
{
	int letter;

	while ((letter = getopt_long(argc, argv, "c:h", cli_long_options, NULL)) != -1) {
		if (letter == '?' || (letter != CLI_HELP && !strchr(command->letters, letter)))
			return -EINVAL;
		if (letter == CLI_HELP)
			options->help = true;
		else if (letter == CLI_CONFIG)
			options->config = optarg;
		else if (letter == CLI_RUNTIME_DIR)
			options->runtime_dir = optarg;
		else if (letter == CLI_JSON)
			options->json = true;
		else
			options->undo = true;
	}
	options->n_words = argc - optind;
	options->words = argv + optind;
	return options->n_words > command->max_words && !options->help ? -EINVAL : 0;
}

static bool cli_asks_for_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

int cli_main(int argc, char **argv)
{
	struct cli_options options = {0};
	const struct cli_command *command;
	static char program[] = "penstock";

	if (argc < 2) {
		cli_print_help(stderr);
		return CLI_EXIT_USAGE;
	}
	if (cli_asks_for_help(argv[1]))
		return cli_help(&options);
	if (strcmp(argv[1], "--version") == 0)
		return cli_version(&options);
	command = cli_find(argv[1]);
	if (!command)
		return cli_unknown(argv[1]);
	argv[1] = program; /* getopt_long() names it in what it says */
	if (cli_parse(command, argc - 1, argv + 1, &options))
		return cli_misused(command);
	if (options.help)
		return cli_help_command(command);
	return command->run(&options);
}
