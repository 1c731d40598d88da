# SPDX-License-Identifier: Apache-2.0
# Everything generated goes to build/. `make help` lists the targets.
#
# Knobs: V=1 shows the commands, WERROR=1 makes warnings errors, CC=clang compiles with clang, BUILD=DIR builds
# elsewhere, CFLAGS/CPPFLAGS/LDFLAGS add to ours. A change of any of them rebuilds what it touches.

BUILD   ?= build
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG   ?= clang
PYTHON  ?= /usr/bin/python3
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
CFLAGS  ?= -O2 -g

PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/penstock
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system

VERSION := 0.1.0-dev

Q    := $(if $(V),,@)
say   = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

# Asked once, and only when something is compiled: `make deps` may have to come first.
PKGS       := libbpf openssl yaml-0.1 jansson libmnl libcap-ng libseccomp libcares
PKG_CFLAGS  = $(eval PKG_CFLAGS := $(call pkg_config,--cflags))$(PKG_CFLAGS)
PKG_LIBS    = $(eval PKG_LIBS := $(call pkg_config,--libs))$(PKG_LIBS)
pkg_config  = $(shell pkg-config $(1) $(PKGS) 2>/dev/null || echo missing)
need_pkgs   = $(if $(filter missing,$(PKG_CFLAGS)),$(error packages are missing: run 'make deps' first))

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wundef -Wformat=2 -Wvla -Wwrite-strings -Wimplicit-fallthrough -Wno-string-concatenation \
            $(if $(WERROR),-Werror)
OUR_CPPFLAGS = -D_GNU_SOURCE -DPENSTOCK_VERSION='"$(VERSION)"' -Iuser -Iinclude -I$(BUILD)/bpf $(PKG_CFLAGS) $(CPPFLAGS)
OUR_CFLAGS   = -std=gnu17 -fno-omit-frame-pointer -fstack-protector-strong -pthread $(WARNINGS)
OUR_LIBS     = $(PKG_LIBS) -pthread -lm

# gcc's -Wconversion does not see through the code that -fsanitize adds.
SANITIZE   := -O1 -g -DPENSTOCK_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-conversion
FUZZ_FLAGS := -O1 -g -DPENSTOCK_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all

SRCS         := $(sort $(wildcard user/*/*.c))
BPF_SRCS     := $(sort $(wildcard bpf/*.bpf.c))
SKELS        := $(BPF_SRCS:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
TEST_SRCS    := $(sort $(wildcard tests/unit/*/*.c tests/unit/*.c tests/bpf/*.c))
TEST_MAINS   := $(filter $(addsuffix /test_%,$(sort $(patsubst %/,%,$(dir $(TEST_SRCS))))),$(TEST_SRCS))
TEST_HELPERS := $(filter-out $(TEST_MAINS),$(TEST_SRCS))
FUZZ_SRCS    := $(sort $(wildcard tests/fuzz/fuzz_*.c))

TESTS   := $(TEST_MAINS:%.c=$(BUILD)/asan/%)
FUZZERS := $(FUZZ_SRCS:%.c=$(BUILD)/fuzz/%)

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

.PHONY: help
help: ## list the targets (default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
	@echo 'Knobs: V=1, WERROR=1, CC=clang, BUILD=DIR, CFLAGS, DESTDIR, PREFIX; see HACKING.md.'

# ---- building ------------------------------------------------------------------------------------------------------

.PHONY: all deps
all: $(BUILD)/penstock ## build the daemon

deps: ## install the Debian packages that are missing
	$(Q)tools/deps build test lint bench

# A file whose content is $(2): rewritten, and so newer than what was made from it, only when that changed.
define stamp
$(1): FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$$(subst ','\'',$(2))' | cmp -s - $$@ || printf '%s\n' '$$(subst ','\'',$(2))' >$$@
endef
.PHONY: FORCE
FORCE:

BPF_FLAGS = -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Iinclude -Ibpf -I/usr/include/$(shell uname -m)-linux-gnu

$(eval $(call stamp,$(BUILD)/bpf/flags,$(CLANG) $(BPF_FLAGS)))

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c $(BUILD)/bpf/flags
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_FLAGS) -MMD -MP -MF $@.d -MT $@ -c $< -o $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* >$@.tmp && mv $@.tmp $@

# All of user/ compiled in one way: $(1) folder below $(BUILD), $(2) compiler, $(3) its flags.
define variant
$(call stamp,$(BUILD)/$(1)/flags,$(2) $$(OUR_CPPFLAGS) $$(OUR_CFLAGS) $(3))

$(BUILD)/$(1)/%.o: %.c $(BUILD)/$(1)/flags | $(SKELS)
	$$(call need_pkgs)
	$$(call say,CC,$$@)
	@mkdir -p $$(@D)
	$(Q)$(2) $$(OUR_CPPFLAGS) $$(OUR_CFLAGS) $(3) -MMD -MP -c $$< -o $$@

$(call stamp,$(BUILD)/$(1)/members,$(SRCS))

$(BUILD)/$(1)/libpenstock.a: $(SRCS:%.c=$(BUILD)/$(1)/%.o) $(BUILD)/$(1)/members
	$$(call say,AR,$$@)
	$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)

-include $(patsubst %.c,$(BUILD)/$(1)/%.d,$(SRCS) user/main.c $(4))
endef

$(eval $(call variant,obj,$(CC),$(CFLAGS),))
$(eval $(call variant,asan,$(CC),$(SANITIZE),$(TEST_SRCS) tests/net/open_sandbox.c))
$(eval $(call variant,fuzz,$(CLANG),$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SRCS)))
-include $(SKELS:.skel.h=.bpf.o.d)

$(BUILD)/penstock: $(BUILD)/obj/user/main.o $(BUILD)/obj/libpenstock.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(OUR_LIBS)

# ---- tests ---------------------------------------------------------------------------------------------------------

# A folder's files that are not test_*.c are helpers of its tests: an archive, so that a test takes only what it names.
# What a test or a helper defines wins over the library: that is how fakes get in.
helper_archive = $(patsubst %,$(BUILD)/asan/%/helpers.a,$(filter $(1),$(patsubst %/,%,$(sort $(dir $(TEST_HELPERS))))))

define helpers
$(BUILD)/asan/$(1)/helpers.a: $(patsubst %.c,$(BUILD)/asan/%.o,$(filter $(1)/%,$(TEST_HELPERS)))
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach folder,$(patsubst %/,%,$(sort $(dir $(TEST_HELPERS)))),$(eval $(call helpers,$(folder))))

define test_binary
$(1): $(1).o $(call helper_archive,$(patsubst $(BUILD)/asan/%/,%,$(dir $(1)))) $(BUILD)/asan/libpenstock.a
	$$(call say,LD,$$@)
	$(Q)$(CC) $(SANITIZE) -o $$@ $$^ $(LDFLAGS) -lcmocka $$(OUR_LIBS)
endef
$(foreach test,$(TESTS),$(eval $(call test_binary,$(test))))

# The daemon under sanitizers; what it defines itself wins over the library.
$(BUILD)/asan/penstock: $(addprefix $(BUILD)/asan/,user/main.o tests/net/open_sandbox.o libpenstock.a)
	$(call say,LD,$@)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LDFLAGS) $(OUR_LIBS)

$(FUZZERS): %: %.o $(BUILD)/fuzz/libpenstock.a
	$(call say,LD,$@)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LDFLAGS) $(OUR_LIBS)

.PHONY: test-binaries fuzz-binaries check test unit vm-test vm-accept fuzz bench bench-calls bench-engines demo
test-binaries: $(TESTS) $(BUILD)/asan/penstock
fuzz-binaries: $(FUZZERS)

RUN_TESTS = BUILD='$(BUILD)' PYTHON='$(PYTHON)' VM_KERNELS='$(VM_KERNELS)' $(PYTHON) tools/run-tests
AS_ROOT   = tools/as-root

check: ## unit tests, fuzz corpora and lint: no root, fast
	+$(Q)$(RUN_TESTS) build unit corpus tools lint

unit: ## unit tests alone; ONLY=PATTERN picks some
	+$(Q)$(RUN_TESTS) build:test-binaries unit

# MORE_SUITES: what CI adds (tools/run-tests --help).
test: ## all tests, the VM's included (root)
	$(Q)tools/deps --if-missing build test lint
	+$(Q)$(AS_ROOT) env $(RUN_TESTS) build build:vm-binaries unit corpus tools lint bpf net vm $(MORE_SUITES)

include tools/vm/vm.mk
vm-test: ## the tests that need another kernel, in QEMU
	$(Q)tools/deps --if-missing build test
	+$(Q)$(AS_ROOT) env $(RUN_TESTS) build:vm-binaries vm

vm-accept: ## take what a request costs now, in instructions, as what it may cost
	+$(Q)$(MAKE) --no-print-directory all $(BUILD)/bench/load
	$(Q)$(AS_ROOT) env BUILD='$(BUILD)' $(PYTHON) tools/bench/vm.py accept

fuzz: ## run every fuzzer for FUZZ_SECONDS (10)
	+$(Q)$(RUN_TESTS) build:fuzz-binaries fuzz

demo: ## all three lanes in network namespaces, with real origins (root)
	$(Q)tools/deps --if-missing build demo
	+$(Q)$(MAKE) --no-print-directory all
	$(Q)$(AS_ROOT) env BUILD='$(BUILD)' DEMO_HOLD='$(DEMO_HOLD)' $(PYTHON) tools/demo

include tools/bench/bench.mk
bench: ## measure against HAProxy and nginx; BENCH="id id", BENCH_RUNS=N (root)
	$(Q)tools/deps --if-missing build bench
	+$(Q)$(MAKE) --no-print-directory all $(BUILD)/bench/load
	$(Q)$(AS_ROOT) env BUILD='$(BUILD)' BENCH='$(BENCH)' BENCH_RUNS='$(BENCH_RUNS)' \
	    PEER_HAPROXY='$(PEER_HAPROXY)' PEER_NGINX='$(PEER_NGINX)' PENSTOCK_RELAY='$(PENSTOCK_RELAY)' \
	    PENSTOCK_KERNEL_TLS='$(PENSTOCK_KERNEL_TLS)' $(PYTHON) tools/bench

bench-calls: ## what penstock, HAProxy and nginx ask of the kernel, counted; BENCH="id id" (root, perf)
	$(Q)tools/deps --if-missing build bench
	+$(Q)$(MAKE) --no-print-directory all $(BUILD)/bench/load
	$(Q)$(AS_ROOT) env BUILD='$(BUILD)' BENCH='$(BENCH)' PEER_HAPROXY='$(PEER_HAPROXY)' \
	    PEER_NGINX='$(PEER_NGINX)' PENSTOCK_RELAY='$(PENSTOCK_RELAY)' $(PYTHON) tools/bench/calls.py

bench-engines: ## the relay engines beside each other; BENCH="id id", BENCH_RUNS=N (root)
	$(Q)tools/deps --if-missing build bench
	+$(Q)$(MAKE) --no-print-directory all $(BUILD)/bench/load
	$(Q)$(AS_ROOT) env BUILD='$(BUILD)' BENCH='$(BENCH)' BENCH_RUNS='$(BENCH_RUNS)' $(PYTHON) tools/bench/engines.py

# ---- lint ----------------------------------------------------------------------------------------------------------

FOLDERS     = $(wildcard bpf include tests tools user contrib)
C_FILES     = $(sort $(shell find $(FOLDERS) -name '*.[ch]'))
SCRIPTS     = $(sort $(wildcard .ci/*) $(shell find $(FOLDERS) -type f ! -name '*.[ch]'))
SHELL_FILES = $(shell grep -lIE -m1 '^\#!.*/(env )?(ba)?sh( |$$)' $(SCRIPTS))
PY_FILES    = $(shell grep -lIE -m1 '^\#!.*python3' $(SCRIPTS)) $(filter %.py,$(SCRIPTS))
MAN_FILES   = $(sort $(wildcard man/*.[1-9]))

TIDY_STAMPS := $(patsubst %.c,$(BUILD)/lint/%.tidy,$(SRCS) $(wildcard user/main.c))
LINTS       := lint-format lint-layers lint-tidy lint-cppcheck lint-shell lint-man lint-python

.PHONY: lint $(LINTS) format compdb
lint: ## every linter, one after the other
	+$(Q)$(RUN_TESTS) build:all lint

lint-format:
	$(Q)clang-format --dry-run -Werror $(C_FILES)

lint-layers:
	$(Q)$(PYTHON) tools/layers --self-test
	$(Q)$(PYTHON) tools/layers

lint-tidy: $(TIDY_STAMPS)

# Deeper, the analyzer takes minutes and finds nothing more.
TIDY_FLAGS := -Xclang -analyzer-config -Xclang max-nodes=10000

# Made again when the object was: the same files and flags matter.
$(BUILD)/lint/%.tidy: %.c $(BUILD)/obj/%.o .clang-tidy
	$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(OUR_CPPFLAGS) $(filter-out -W%,$(OUR_CFLAGS)) $(TIDY_FLAGS) 2>$@.log \
	    || { cat $@.log; exit 1; }
	$(Q)touch $@

lint-cppcheck:
	$(Q)cppcheck --quiet --error-exitcode=1 -j2 --std=c11 \
	    --enable=warning,performance,portability --inline-suppr --library=tools/lint/cppcheck.cfg \
	    --suppressions-list=tools/lint/cppcheck.txt \
	    -D_GNU_SOURCE -Iuser -Iinclude user

lint-shell:
	$(Q)$(if $(SHELL_FILES),shellcheck $(SHELL_FILES))

lint-man:
	$(Q)$(if $(MAN_FILES),mandoc -T lint -W warning $(MAN_FILES))

lint-python:
	$(Q)$(PYTHON) -m pyflakes $(PY_FILES)

format: ## clang-format all C files
	$(Q)clang-format -i $(C_FILES)

compdb: ## build/compile_commands.json, for editors
	@mkdir -p $(BUILD)
	$(Q)$(PYTHON) tools/compdb '$(subst ','\'',$(CC) $(OUR_CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS))' \
	    $(SRCS) $(wildcard user/main.c) $(TEST_SRCS) $(FUZZ_SRCS) >$(BUILD)/compile_commands.json

# ---- install -------------------------------------------------------------------------------------------------------

.PHONY: install clean
install: all ## into DESTDIR/PREFIX: daemon, man pages, example, systemd unit
	install -D -m 755 $(BUILD)/penstock $(DESTDIR)$(SBINDIR)/penstock
	for page in $(MAN_FILES); do \
	    install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; done
	install -D -m 644 examples/penstock.yaml $(DESTDIR)$(DOCDIR)/penstock.yaml
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|@SBINDIR@|$(SBINDIR)|; s|@SYSCONFDIR@|$(SYSCONFDIR)|' contrib/systemd/penstock.service.in \
	    >$(DESTDIR)$(UNITDIR)/penstock.service

clean: ## remove build/
	rm -rf $(BUILD)
