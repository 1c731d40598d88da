# SPDX-License-Identifier: Apache-2.0
# The load tool of `make bench`.

BENCH_SRCS := $(sort $(wildcard tools/bench/*.c))

$(BUILD)/bench/load: $(BENCH_SRCS) tools/bench/load.h
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE $(OUR_CFLAGS) $(CFLAGS) -o $@ $(BENCH_SRCS) $(LDFLAGS) -lssl -lcrypto
