# cirrusfs
#   make deps       installs what building, running and testing need (Debian 12)     make            build/cirrusfs
#   make demo       a mounted cloud with a guest that answers; make demo-down        make check      tests everything
#   make guest      build/guest/tiny.qcow2       make docs    docs/tree.md           make install    PREFIX= DESTDIR= (and uninstall)
#   make bench      figures beside their references; make bench-plot draws them
#   make deb        build/deb/cirrusfs_*.deb     make check-deb  installs it on a bare Debian in a directory, and mounts there
# V=1 shows the compiler's lines.  B=DIR builds elsewhere.  SAN=1 uses the sanitizers, in a directory of its own.
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
CC = gcc
B ?= build
O := $(B)$(if $(SAN),/san)
PREFIX ?= /usr/local
STORE ?= /var/lib/cirrusfs-demo
CLOUD ?= /cloud
J ?= 2
Q := $(if $(V),,@)

# For building; for running; for the tiny guest; for tests.
PACKAGES = build-essential pkg-config libfuse3-dev libvirt-dev libsqlite3-dev libjansson-dev libssl-dev libcurl4-openssl-dev libnftables-dev \
	libnl-3-dev libnl-route-3-dev libmicrohttpd-dev libarchive-dev libpng-dev libxml2-dev libxxhash-dev libzstd-dev \
	fuse3 libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils dnsmasq-base nftables iproute2 util-linux \
	procps psmisc passwd ca-certificates openssl \
	busybox-static cpio dosfstools e2fsprogs fdisk mtools syslinux syslinux-common zstd \
	curl openssh-client rsync vim valgrind python3 python3-prometheus-client sqlite3 strace bash-completion mandoc
GUEST_USER = libvirt-qemu
KERNEL = linux-image-cloud-amd64

PKGS = fuse3 libvirt sqlite3 jansson libcrypto libcurl libnftables libnl-3.0 libnl-route-3.0 libmicrohttpd libarchive libpng libxml-2.0 libxxhash libzstd
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
ifdef SAN
CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined
endif
# Asked once, and only when something is compiled: make deps comes before there is a pkg-config.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -pthread $(WARN) $(CPPFLAGS) $(CFLAGS) $(PKG_CFLAGS)
LIBS = $(PKG_LIBS) -pthread

SRC := $(wildcard backends/*/*.c fs/*.c fs/*/*.c)
OBJ := $(SRC:%.c=$(O)/%.o)
TOOL_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tools/*.c))
UNIT := $(patsubst tests/unit/%.c,$(O)/unit/%,$(wildcard tests/unit/test_*.c))
MOUNT_TESTS := $(filter-out %/lib.sh,$(wildcard tests/mount/*.sh))
# Whole networks and guests: one at a time, they look at the clock.
ALONE := $(O)/unit/test_net_root
GUEST_TESTS := $(filter-out %/lib.sh %/build-guest.sh %/build-debian.sh %/cloud-init.sh,$(wildcard tests/guest/*.sh))

.PHONY: all
all: $(O)/cirrusfs

$(O)/cirrusfs: $(TOOL_OBJ) $(O)/libcirrusfs.a
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/libcirrusfs.a: $(OBJ)
	@rm -f $@
	$(if $(V),,@echo "  AR   $@")
	$(Q)ar rcs $@ $^

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC   $<")
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/unit/%: tests/unit/%.c $(O)/libcirrusfs.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(O)/libcirrusfs.a $(LIBS)

# What tests preload and run beside the program.
TEST_TOOLS := $(O)/tests/powercut.so $(O)/tests/fsx
$(O)/tests/%.so: tests/%.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g -fPIC -shared -pthread $(WARN) -o $@ $<

$(O)/tests/%: tests/%.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g $(WARN) -o $@ $<

# ---- what the machine must have.  Nothing is done, and apt is not asked, when all of it is there.
.PHONY: deps
deps:
	@missing=$$(for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$p; done); \
	user=$$(getent passwd $(GUEST_USER) || true); \
	[ -n "$$missing" ] || [ -z "$$user" ] || exit 0; \
	[ "$$(id -u)" = 0 ] || { echo "make deps installs packages: run it as root (missing: $${missing:-the user $(GUEST_USER)})" >&2; exit 1; }; \
	if [ -n "$$missing" ]; then \
		echo "installing $$missing"; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -q update && apt-get -q install -y --no-install-recommends $$missing; \
	fi || exit 1; \
	getent passwd $(GUEST_USER) >/dev/null || { \
		echo "adding the user $(GUEST_USER), as which guests run"; \
		groupadd --system --force kvm && \
		useradd --system --user-group --groups kvm --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin $(GUEST_USER); }

# The guest's kernel is fetched from Debian; the lists may be missing, or older than what is on the servers.
.PHONY: guest
guest:
	@B=$(B) tests/guest/build-guest.sh || { [ "$$(id -u)" = 0 ] && echo "guest: once more, with fresh package lists" && \
		apt-get -q update && B=$(B) tests/guest/build-guest.sh; }

# ---- the two commands of README.md.  What comes after deps is a make of its own: only then there is a pkg-config.
SUBMAKE = $(MAKE) --no-print-directory
PARALLEL = $(if $(findstring -j,$(MAKEFLAGS)),,-j$$(nproc))
ROOT = [ "$$(id -u)" = 0 ] || { echo "make $@ installs packages, mounts and runs guests: it must be run as root (sudo make $@)" >&2; exit 1; }
DEMO = STORE='$(STORE)' CLOUD='$(CLOUD)' CIRRUSFS='$(abspath $(O))/cirrusfs' TINY='$(abspath $(B))/guest/tiny.qcow2' tools/demo.sh

.PHONY: demo demo-down
demo:
	@$(ROOT)
	@$(SUBMAKE) deps
	@$(SUBMAKE) $(PARALLEL) all guest
	@$(DEMO) up

demo-down:
	@$(ROOT)
	@[ -x $(O)/cirrusfs ] || [ ! -e '$(STORE)' ] || { $(SUBMAKE) deps && $(SUBMAKE) $(PARALLEL) all; }
	@$(DEMO) down

export CIRRUSFS ?= $(abspath $(O))/cirrusfs
export TINY ?= $(abspath $(B))/guest/tiny.qcow2
export TOOLS ?= $(abspath $(O))/tests

.PHONY: check check-build check-unit check-mount check-guest check-docs
check:
	@$(ROOT)
	@$(SUBMAKE) deps
	@$(SUBMAKE) $(PARALLEL) check-build
	@tests/run -j $(J) $(filter-out $(ALONE),$(UNIT)) tests/docs.sh $(MOUNT_TESTS) -- $(ALONE) $(GUEST_TESTS)

check-build: all guest $(UNIT) $(TEST_TOOLS)

check-unit: $(UNIT)
	@tests/run -j $(J) $(UNIT)

check-mount: all guest $(TEST_TOOLS)
	@tests/run -j $(J) $(MOUNT_TESTS)

check-guest: all guest
	@tests/run $(GUEST_TESTS)

# A distribution's own cloud-init in a real Debian: minutes under emulation, and needs mmdebstrap; not part of check.
.PHONY: check-cloud-init
check-cloud-init: all guest
	@B=$(B) tests/guest/build-debian.sh
	@VERBOSE=1 tests/run tests/guest/cloud-init.sh

# A real Swift on loopback, by its own protocol and by S3, as the place of objects; its packages are 39 MB on disk, so it is no part of check.
.PHONY: check-remote
check-remote:
	@$(ROOT)
	@$(SUBMAKE) deps PACKAGES='$(PACKAGES) python3-swift memcached'
	@$(SUBMAKE) $(PARALLEL) all $(O)/remote
	@REMOTE='$(abspath $(O))/remote' tests/run tests/objects/swift.sh

$(O)/remote: tests/objects/remote.c $(O)/libcirrusfs.a
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libcirrusfs.a $(LIBS)

check-docs: all
	@tests/run tests/docs.sh

# Unit tests under valgrind, but for those that run guests and whole networks: they are at the mercy of the clock.
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --num-callers=30 \
	--suppressions=tests/valgrind.supp
.PHONY: check-valgrind
check-valgrind: all $(UNIT)
	@RUNNER='$(VALGRIND)' tests/run -j $(J) $(filter-out %/test_net_root %/test_hyper,$(UNIT))

# Mounted trees and garbage with the address and undefined-behaviour sanitizers; GARBAGE=2000 writes into every writable file.
.PHONY: check-san
check-san: all guest $(TEST_TOOLS)
	@$(SUBMAKE) SAN=1 $(PARALLEL) all
	@GARBAGE=$(or $(GARBAGE),200) CIRRUSFS='$(abspath $(B))/san/cirrusfs' ASAN_OPTIONS=use_sigaltstack=0:detect_leaks=0 \
		tests/run -j $(J) $(MOUNT_TESTS)

# Each of tests/fuzz/fuzz_*.c FUZZ_RUNS times, by libFuzzer; one alone: make fuzz FUZZ=fuzz_ctl.  What is found stands in build/fuzz/found.
# The line "options:" in a file's head is for libFuzzer.
FUZZ_RUNS ?= 1000000
FUZZ ?= $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CC = clang
FUZZ_FLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined
.PHONY: fuzz fuzz-build
fuzz: fuzz-build
	@mkdir -p $(B)/fuzz/found
	@for t in $(FUZZ); do \
		echo "$$t: $(FUZZ_RUNS) runs"; \
		$(B)/fuzz/$$t -runs=$(FUZZ_RUNS) -artifact_prefix=$(B)/fuzz/found/$$t- $$(sed -n 's/.*options: \([^*]*\).*/\1/p' tests/fuzz/$$t.c) \
			> $(B)/fuzz/$$t.log 2>&1 || { tail -n 40 $(B)/fuzz/$$t.log; exit 1; }; \
		tail -n 1 $(B)/fuzz/$$t.log; \
	done

fuzz-build:
	@$(SUBMAKE) $(PARALLEL) CC=$(FUZZ_CC) CFLAGS='$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link' B=$(B)/fuzz $(B)/fuzz/libcirrusfs.a
	@$(SUBMAKE) $(PARALLEL) CC=$(FUZZ_CC) CFLAGS='$(FUZZ_FLAGS) -fsanitize=fuzzer' B=$(B)/fuzz $(FUZZ:%=$(B)/fuzz/%)

$(O)/fuzz_%: tests/fuzz/fuzz_%.c $(O)/libcirrusfs.a
	$(if $(V),,@echo "  LD   $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libcirrusfs.a $(LIBS)

.PHONY: bench
bench: all guest
	@mkdir -p $(O)/bench
	@{ B='$(abspath $(O))' bash tests/bench/run.sh; BENCH='$(abspath $(O))/bench' bash tests/bench/guest.sh; B='$(abspath $(B))' bash tests/bench/objects.sh; } | tee $(O)/bench/last.tsv
	@sed "s/^/$$(git describe --always --dirty)\t/" $(O)/bench/last.tsv >> $(O)/bench/results.tsv

# A picture of all that was measured here, over commits.
.PHONY: bench-plot
bench-plot:
	@tests/bench/plot.sh $(O)/bench/results.tsv $(O)/bench/ratios.svg

# What documents say of the program's tables is printed by the program: docs/tree.md, and the settings in docs/operating.md.
.PHONY: docs
docs: $(O)/cirrusfs
	$(O)/cirrusfs help tree > docs/tree.md.new
	@mv docs/tree.md.new docs/tree.md
	$(O)/cirrusfs help settings > $(O)/settings.md
	@sed -e '/^| key | default/,/^$$/ { /^| key | default/r $(O)/settings.md' -e '/^|/d; }' docs/operating.md > docs/operating.md.new
	@mv docs/operating.md.new docs/operating.md

.PHONY: man
man: $(O)/man/cirrusfs.1
$(O)/man/cirrusfs.1: $(O)/cirrusfs
	@mkdir -p $(@D) && rm -f $(@D)/*
	$(if $(V),,@echo "  MAN  $(@D)")
	$(Q)for p in $$($< help man); do $< help man $$p > $(@D)/$$p || exit 1; done

# ---- all that is installed: what is below $(TREE) is what is below $(PREFIX), so that uninstall removes the same.
TREE = $(O)/tree
.PHONY: install uninstall tree
tree: all man
	@rm -rf $(TREE)
	@install -D -m 755 $(O)/cirrusfs $(TREE)/bin/cirrusfs
	@for p in $(O)/man/*; do install -D -m 644 $$p $(TREE)/share/man/man$${p##*.}/$${p##*/}; done
	@install -D -m 644 tools/cirrusfs.bash $(TREE)/share/bash-completion/completions/cirrusfs
	@install -d $(TREE)/lib/systemd/system $(TREE)/share/doc/cirrusfs
	@sed 's|@BINDIR@|$(PREFIX)/bin|' tools/cirrusfs.service.in > $(TREE)/lib/systemd/system/cirrusfs.service
	@install -m 644 README.md LICENSE $(wildcard docs/*.md) $(TREE)/share/doc/cirrusfs
	@chmod -R u=rwX,go=rX $(TREE)

install: tree
	@find $(TREE) -type f | while read -r f; do \
		m=644; [ ! -x "$$f" ] || m=755; install -v -D -m $$m "$$f" "$(DESTDIR)$(PREFIX)/$${f#$(TREE)/}" || exit 1; done

# Stores, and whatever runs, are left alone.
uninstall: tree
	@find $(TREE) -type f | while read -r f; do rm -fv "$(DESTDIR)$(PREFIX)/$${f#$(TREE)/}"; done
	@rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(PREFIX)/share/doc/cirrusfs"

# ---- a Debian package, made from a copy of the sources with tools/debian beside them
DEB = $(B)/deb
ABOUT = $$(sed -n 's/^\#define CIRRUSFS_$(1) "\(.*\)".*/\1/p' fs/cloud.h)
.PHONY: deb check-deb
deb:
	@$(SUBMAKE) deps PACKAGES='$(PACKAGES) debhelper'
	@rm -rf $(DEB) && mkdir -p $(DEB)/cirrusfs
	@cp -R Makefile README.md LICENSE backends docs fs tools $(DEB)/cirrusfs && cp -R tools/debian $(DEB)/cirrusfs
	@sed 's/^$$/./; s/^/ /' LICENSE >> $(DEB)/cirrusfs/debian/copyright
	@printf 'cirrusfs (%s) bookworm; urgency=medium\n\n  * As it stands in the sources.\n\n -- cirrusfs <cirrusfs@localhost>  %s\n' \
		"$(call ABOUT,VERSION)" "$$(date -uRd "$(call ABOUT,DATE)")" > $(DEB)/cirrusfs/debian/changelog
	cd $(DEB)/cirrusfs && env -u MAKEFLAGS -u MAKELEVEL -u CIRRUSFS -u TINY dpkg-buildpackage -b -us -uc -j$$(nproc)
	@rm -rf $(DEB)/cirrusfs && ls $(DEB)/*.deb

# Downloads a bare Debian (some 600 MB with what the package needs), so it is not part of make check.
check-deb:
	@$(ROOT)
	@$(SUBMAKE) deps PACKAGES='$(PACKAGES) debhelper lintian mmdebstrap'
	@$(SUBMAKE) deb guest
	@DEBS=$(abspath $(DEB)) tests/run tests/deb.sh

.PHONY: clean
clean:
	rm -rf $(B)

-include $(OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(UNIT:=.d)
