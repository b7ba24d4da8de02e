# cirrusfs: make deps, make, make demo, make check
MAKEFLAGS += --no-builtin-rules
CC ?= gcc
B ?= build
PKGS = fuse3 libvirt sqlite3 jansson libcrypto libnftables libnl-3.0 libnl-route-3.0
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
ifdef SAN
B = build/san
CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined
endif
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -pthread $(WARN) $(CFLAGS) $(shell pkg-config --cflags $(PKGS))
LIBS = $(shell pkg-config --libs $(PKGS)) -pthread

SRC = $(wildcard backends/*/*.c fs/*.c fs/*/*.c)
OBJ = $(SRC:%.c=$(B)/%.o)
TOOL_OBJ = $(patsubst %.c,$(B)/%.o,$(wildcard tools/*.c))
UNIT = $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all
all: $(B)/cirrusfs

$(B)/cirrusfs: $(TOOL_OBJ) $(B)/libcirrusfs.a
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(B)/libcirrusfs.a: $(OBJ)
	@rm -f $@
	ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/unit/%: tests/unit/%.c $(B)/libcirrusfs.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/libcirrusfs.a $(LIBS)

.PHONY: check-unit
check-unit: $(UNIT)
	@for t in $(UNIT); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build

-include $(OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(UNIT:=.d)
