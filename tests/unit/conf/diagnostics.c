/* SPDX-License-Identifier: Apache-2.0 */
/* See diagnostics.h. */
#include "diagnostics.h"

#include <stdlib.h>
#include <string.h>

void check_row(const struct row *row, bool is_refused)
{
	struct conf_diag *diag = conf_diag_new("f");
	char *copy = malloc(row->len_bytes + !row->len_bytes); /* exact, for ASan */
	struct conf *conf;
	bool ok;

	assert_non_null(diag);
	assert_non_null(copy);
	memcpy(copy, row->text, row->len_bytes);
	conf = conf_parse(copy, row->len_bytes, "f", diag);
	free(copy);
	ok = strcmp(conf_diag_text(diag), row->diagnostics) == 0 && !conf == is_refused &&
	     !conf == (conf_diag_errors(diag) > 0);
	if (!ok)
		print_error("%s: %s, wanted:\n%sgot:\n%s", row->name, conf ? "taken" : "refused",
			    row->diagnostics, conf_diag_text(diag));
	conf_unref(conf);
	conf_diag_free(diag);
	if (!ok)
		fail();
}

void check_rows_in(const struct row *rows, size_t n, bool is_refused)
{
	for (size_t i = 0; i < n; i++)
		check_row(&rows[i], is_refused);
}
