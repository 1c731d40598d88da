/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1.h"

uint16_t h1_fault_status(enum h1_fault fault)
{
	static const uint16_t statuses[H1_FAULT_MAX] = {
#define H1_STATUS(name, status, text) [H1_FAULT_##name] = status,
	    H1_FAULTS(H1_STATUS)
#undef H1_STATUS
	};

	return statuses[fault];
}

const char *h1_fault_text(enum h1_fault fault)
{
	static const char *const texts[H1_FAULT_MAX] = {
#define H1_TEXT(name, status, text) [H1_FAULT_##name] = text,
	    H1_FAULTS(H1_TEXT)
#undef H1_TEXT
	};

	return texts[fault];
}
