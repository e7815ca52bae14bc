# SPDX-License-Identifier: BSD-2-Clause
# A front door to Meson that also installs what is missing; everything else is in meson.build.

BUILD ?= build
DIR ?= .
export DIR

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) programs

$(BUILD)/build.ninja:
	@tools/packages build
	@meson setup $(BUILD) -Dtests=disabled

# Read a real directory through the window and compare every byte.
demo: all
	@"$(BUILD)/oriel" demo -- "$$DIR"

bench: all
	@$(BUILD)/oriel bench map

# What two minutes suffice for, with gcc: after each change.
test:
	@tools/packages test
	@tools/check quick

# Everything that must hold before a change lands; it begins with the same.
check:
	@tools/packages check
	@tools/check

# The same against peers of others: QEMU, virtiofsd, user-mode Linux and more, from Debian's packages. As root.
check-peers:
	@tools/packages peers
	@tools/check-peers $(PEERS)

# Linux in "oriel run", in a machine that QEMU interprets, and what that costs. As root.
check-vm:
	@tools/packages peers
	@tools/check-vm $(VM)

# Each fuzz target for half an hour, two at a time, and more of what the others do.
check-long:
	@tools/packages peers
	@tools/check-long

# The programs' tests in chroots of newer Debians, whose C libraries and compilers differ. As root.
check-suites:
	@tools/check-suites $(SUITES)

fuzz:
	@tools/packages check
	@tools/fuzz

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) build-check

.PHONY: all demo bench test check check-peers check-vm check-long fuzz install clean
