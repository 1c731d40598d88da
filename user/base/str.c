/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/compiler.h"

#define STR_DISTANCE_MAX_LEN 63

size_t str_distance(struct str a, struct str b)
{
	size_t row[STR_DISTANCE_MAX_LEN + 1];

	if (a.len > STR_DISTANCE_MAX_LEN || b.len > STR_DISTANCE_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t substitution = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);

			diagonal = row[j];
			row[j] = MIN(substitution, MIN(row[j - 1], diagonal) + 1);
		}
	}
	return row[b.len];
}
