# SPDX-License-Identifier: Apache-2.0
# Tests that run in the guest, too: without sanitizers, which make an emulated machine crawl.

VM_TESTS := $(addprefix $(BUILD)/vm/bin/tests/,bpf/test_steer unit/relay/test_relay unit/relay/test_sockmap \
            $(patsubst tests/%.c,%,$(wildcard tests/unit/tls/test_*.c)))

.PHONY: vm-binaries
vm-binaries: $(BUILD)/penstock $(VM_TESTS)

define vm_test
$(1): $(1:$(BUILD)/vm/bin/%=%).c $(filter $(dir $(1:$(BUILD)/vm/bin/%=%))%,$(TEST_HELPERS)) $(BUILD)/obj/libpenstock.a $(wildcard $(dir $(1:$(BUILD)/vm/bin/%=%))*.h)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(OUR_CPPFLAGS) $$(OUR_CFLAGS) $(CFLAGS) -o $$@ $$(filter-out %.h,$$^) $(LDFLAGS) -lcmocka $$(OUR_LIBS)
endef
$(foreach test,$(VM_TESTS),$(eval $(call vm_test,$(test))))
