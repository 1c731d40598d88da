# SPDX-License-Identifier: Apache-2.0
# Tests that run in the guest, too: without sanitizers, which make an emulated machine crawl.

VM_TEST_NAMES   := stream chain keys
VM_TESTS        := $(VM_TEST_NAMES:%=$(BUILD)/vm/bin/test_tls_%)
VM_TEST_HELPERS := tests/unit/tls/lab.c

.PHONY: vm-binaries
vm-binaries: $(BUILD)/penstock $(VM_TESTS)

$(VM_TESTS): $(BUILD)/vm/bin/test_tls_%: tests/unit/tls/test_%.c $(VM_TEST_HELPERS) $(BUILD)/obj/libpenstock.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ $< $(VM_TEST_HELPERS) \
	    $(BUILD)/obj/libpenstock.a $(LDFLAGS) -lcmocka $(OUR_LIBS)

-include $(VM_TESTS:=.d)
