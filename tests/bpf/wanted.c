// SPDX-License-Identifier: Apache-2.0
/* See wanted.h. */
#include "wanted.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *wanted_pin_dir(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "/sys/fs/bpf/penstock-test-%d", (int)getpid());
	return path;
}

struct conf *wanted(const char *format, ...)
{
	struct conf_diag *diag = conf_diag_new("test");
	char text[65536];
	struct conf *conf;
	va_list args;
	int len;

	len = snprintf(text, sizeof(text), "process: {pin_dir: %s}\n", wanted_pin_dir());
	va_start(args, format);
	len += vsnprintf(text + len, sizeof(text) - (size_t)len, format, args);
	va_end(args);
	conf = conf_parse(text, (size_t)len, "test", diag);
	if (!conf) {
		fprintf(stderr, "%s\n%s\n", text, conf_diag_text(diag));
		abort();
	}
	conf_diag_free(diag);
	return conf;
}

struct conf *wanted_service(const char *steer)
{
	return wanted("listeners:\n"
		      "  - {name: web, bind: \"198.51.100.1:80\", routes: [{steer: web}]}\n"
		      "origins: {web: {servers: [\"203.0.113.2:8080\"]}}\n"
		      "steer: {%s}\n",
		      steer);
}
