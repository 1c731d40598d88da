# SPDX-License-Identifier: Apache-2.0
# Tests that run in the guest, too: without sanitizers, which make an emulated machine crawl.

VM_TESTS := $(patsubst %.c,$(BUILD)/vm/bin/%,$(wildcard tests/bpf/test_steer*.c tests/unit/relay/test_*.c \
            tests/unit/tls/test_*.c))

.PHONY: vm-binaries
vm-binaries: $(BUILD)/penstock $(BUILD)/bench/load $(VM_TESTS)

define vm_test
$(1): $(1:$(BUILD)/vm/bin/%=%).c $(filter $(dir $(1:$(BUILD)/vm/bin/%=%))%,$(TEST_HELPERS)) \
      $(BUILD)/obj/libpenstock.a $(wildcard $(dir $(1:$(BUILD)/vm/bin/%=%))*.h tests/unit/*.h)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(OUR_CPPFLAGS) $$(OUR_CFLAGS) $(CFLAGS) -o $$@ $$(filter-out %.h,$$^) $(LDFLAGS) -lcmocka $$(OUR_LIBS)
endef
$(foreach test,$(VM_TESTS),$(eval $(call vm_test,$(test))))

# The same with OpenSSL 3.5 of Debian 13, through its own loader; nothing where it cannot be fetched.
NEWER      := $(abspath $(BUILD))/vm/openssl-3.5
NEWER_LIBS  = $(NEWER)/usr/lib/x86_64-linux-gnu
NEWER_LINK  = -Wl,--dynamic-linker=$(NEWER_LIBS)/ld-linux-x86-64.so.2 -Wl,--disable-new-dtags -Wl,-rpath,$(NEWER_LIBS)

$(NEWER)/ready:
	$(Q)BUILD='$(BUILD)' tools/vm/fetch openssl-3.5 >/dev/null || [ $$? -eq 77 ]

$(BUILD)/vm/bin/openssl-3.5/penstock: $(BUILD)/penstock $(NEWER)/ready
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)[ ! -e $(NEWER)/ready ] || $(CC) $(CFLAGS) $(NEWER_LINK) -o $@ $(BUILD)/obj/user/main.o \
	    $(BUILD)/obj/libpenstock.a $(LDFLAGS) $(OUR_LIBS)
vm-binaries: $(BUILD)/vm/bin/openssl-3.5/penstock
