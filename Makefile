# SPDX-License-Identifier: BSD-2-Clause
# A front door to Meson. The targets that demonstrate and test install what is missing; "make" and "make install" name it.

BUILD ?= build
DIR ?= .
export DIR

all: $(BUILD)/build.ninja
	@[ -z '$(PREFIX)' ] || grep -qxF 'prefix = $(PREFIX)' $(BUILD)/meson-private/cmd_line.txt || \
		meson configure $(BUILD) --prefix='$(PREFIX)'
	@ninja -C $(BUILD) programs

# What is measured and tested is -O2; what is installed has no use for -g.
$(BUILD)/build.ninja:
	@tools/packages --missing build
	@meson setup $(BUILD) -Dtests=disabled -Ddebug=false -Doptimization=2 $(if $(PREFIX),--prefix='$(PREFIX)')

# Read a real directory through the window and compare every byte.
demo:
	@tools/packages build
	@$(MAKE) --no-print-directory all
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
	@tools/packages builds
	@tools/check-long

# The library and the programs for other machines, C libraries, compilers and projects.
check-builds:
	@tools/packages builds
	@tools/check-builds $(BUILDS)

# The programs' tests in chroots of newer Debians, whose C libraries and compilers differ. As root.
check-suites:
	@tools/check-suites $(SUITES)

fuzz:
	@tools/packages check
	@tools/fuzz

# The tarball of the last commit, the same bytes wherever it is made.
dist:
	@tools/dist

# Debian's packages of the last commit, in build-deb.
deb:
	@tools/deb

# The same in clean chroots of Debian 12, 13 and forky: lintian, installed and purged, their tests. As root.
check-deb:
	@tools/packages peers
	@tools/check-deb $(SUITES)

install: all
	@meson install -C $(BUILD) --strip

clean:
	rm -rf $(BUILD) build-check build-deb build-dist

.PHONY: all demo bench test check check-builds check-deb check-peers check-suites check-vm check-long deb dist fuzz install clean
