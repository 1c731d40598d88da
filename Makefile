# SPDX-License-Identifier: Apache-2.0
# Everything generated goes to build/. `make help` lists the targets; V=1 shows the commands.

BUILD   ?= build
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
PREFIX  ?= /usr/local

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

PKGS := libbpf openssl yaml-0.1 jansson libmnl libcap-ng libseccomp libsystemd
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wundef -Wformat=2 -Wvla $(if $(WERROR),-Werror)
CFLAGS   ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -Iuser -Iinclude -I$(BUILD)/bpf $(PKG_CFLAGS)
BASE_CFLAGS := -std=gnu17 -fno-omit-frame-pointer -fstack-protector-strong $(WARNINGS) -pthread
LDLIBS  += $(PKG_LIBS) -pthread

SRCS     := $(sort $(wildcard user/*/*.c))
BPF_SRCS := $(sort $(wildcard bpf/*.bpf.c))
SKELS    := $(BPF_SRCS:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
OBJS     := $(SRCS:%.c=$(BUILD)/obj/%.o)
LIB      := $(BUILD)/libpenstock.a

.PHONY: help all clean
help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

all: $(BUILD)/penstock ## build the daemon

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Iinclude -Ibpf -I/usr/include/$(shell $(CC) -print-multiarch) \
	    -MMD -MP -MF $@.d -MT $@ -c $< -o $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@

$(BUILD)/obj/%.o: %.c | $(SKELS)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/penstock: $(BUILD)/obj/user/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)

clean: ## remove build/
	rm -rf $(BUILD)

-include $(OBJS:.o=.d) $(BUILD)/obj/user/main.d $(SKELS:.skel.h=.bpf.o.d)
