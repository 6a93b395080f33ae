# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# paxrack. `make help` lists the targets; V=1 shows every command.

# Debian's own tools and python, whatever else is installed.
export PATH := /usr/sbin:/usr/bin:/sbin:/bin:$(PATH)
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL)$(MAKE_RESTARTS),0)
ifeq ($(filter -j% --jobs%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
endif
ifneq ($(V),1)
Q := @
say = @printf '  %-6s %s\n' $(1) $(2)
endif

B := build
O := $(B)/obj
CFLAGS ?= -O2 -g
ALL_CFLAGS = $(CFLAGS) -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -I$(B) -MMD -MP
FUZZ_FLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -I. -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

GUARDED := $(O)/replica/guard.o $(O)/replica/privilege.o
REPLICA := $(patsubst %.c,$(O)/%.o,$(filter-out replica/main.c replica/client.c replica/print_journal.c \
	replica/guard.c replica/privilege.c \
	$(wildcard replica/test_*.c replica/fuzz_*.c),$(wildcard replica/*.c))) $(O)/vr.pb.o $(O)/bpf/load.o
SIM := $(patsubst %.c,$(O)/%.o,$(filter-out $(wildcard sim/test_*.c),$(wildcard sim/*.c)))
RACE := $(patsubst %.c,$(O)/%.o,$(wildcard race/*.c) bpf/load.c \
	$(addprefix replica/,elec.c elec_attach.c elec_kernel.c neighbour.c wire.c))
FUZZ := $(patsubst %.c,$(O)/%.o,$(wildcard pytests/fuzz/*.c)) $(O)/bpf/load.o
NETNS := $(patsubst %.c,$(O)/%.o,$(filter-out $(wildcard netns/test_*.c),$(wildcard netns/*.c)))
TOPO := $(patsubst %.c,$(O)/%.o,$(filter-out $(wildcard topo/test_*.c),$(wildcard topo/*.c))) \
	$(O)/bpf/load.o $(addprefix $(O)/,replica/privilege.o replica/status_read.o replica/message.o replica/message_normal.o replica/wire.o vr.pb.o)
UNITS := $(patsubst %.c,$(B)/%,$(notdir $(wildcard replica/test_*.c netns/test_*.c topo/test_*.c sim/test_*.c)))
BPF := $(patsubst bpf/%.bpf.c,$(B)/%.bpf.o,$(wildcard bpf/*.bpf.c))
FUZZERS := decode journal core
BENCH := $(B)/loop $(patsubst bench/%.bpf.c,$(B)/bench/%.bpf.o,$(wildcard bench/*.bpf.c))
SCRIPTS := $(patsubst topo/%.py,$(B)/%.py,$(wildcard topo/*.py))
PROGRAMS := $(B)/rack $(B)/replica $(B)/client $(B)/journal $(B)/sim

.PHONY: all run experiments test kill-test bench-rack bench-wire sim sim-planted race test-kernel bench conformance mutants fuzz fuzz-decode shell format clean help programs units
all: deps-build deps-report ## build everything into build/ (installs missing packages)
	$(Q)$(MAKE) programs

run: all ## a rack of three replicas: the same load without and with the offloads, one table
	$(Q)$(B)/rack run topo/rack3.yaml --offload none --offload all

test: deps-build deps-report deps-test deps-browser ## every test; JUNIT=file writes JUnit XML, T=expression selects
	$(Q)$(MAKE) programs units
	$(Q)python3 -m pytest pytests $(if $(T),-k '$(T)') $(if $(JUNIT),--junitxml='$(JUNIT)')

SEEDS ?= 200
REPLICAS ?= 3,5
OFFLOAD ?= all,none
sim: deps-build ## SEEDS=n SEED=first REPLICAS=3,5 OFFLOAD=all,none: clusters in virtual time, faults of all kinds
	$(Q)$(MAKE) $(B)/sim
	$(Q)$(B)/sim --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) --replicas $(REPLICAS) --offload $(OFFLOAD)

race: deps-build ## user space against the loaded programs on two CPUs for TIME=60 seconds, then planted races
	$(Q)$(MAKE) $(B)/race
	$(Q)tools/race $(or $(TIME),60)

sim-planted: deps-build ## does the simulator find the mistakes in sim/planted/ within 2,000 seeds each? T=names selects
	$(Q)$(MAKE) $(B)/sim
	$(Q)tools/planted 2000 $(T)

experiments: all ## every experiment of topo/experiments/, one table; SEED=n
	$(Q)tools/experiments $(B) $(or $(SEED),1) $(wildcard topo/experiments/*.yaml)

conformance: deps-build deps-test ## the packet cases on every executor: a table; OBJECT=file PROFILE=file: not on ours
	$(Q)$(MAKE) $(BPF)
	$(Q)python3 -m pytest -q pytests/conformance/test_conformance.py --conformance $(if $(OBJECT),--object '$(OBJECT)') \
		$(if $(PROFILE),--profile '$(PROFILE)') $(if $(T),-k '$(T)') $(if $(JUNIT),--junitxml='$(JUNIT)')

test-kernel: deps-build deps-test deps-kernel ## vm/tests on Debian 12's own kernel, in qemu; KERNEL=package or its file
	$(Q)$(MAKE) programs units
	$(Q)vm/test-kernel $(B) $(KERNEL)

mutants: deps-build deps-test ## the packet cases against our programs with one defect each; T='NAME NAME' selects
	$(Q)cd pytests && python3 -m conformance.mutants $(T)

fuzz: deps-build ## random packets against the model: TIME=s SEED=n JOBS=n, AT=n for one story
	$(Q)$(MAKE) $(B)/fuzz
	$(Q)$(B)/fuzz $(if $(TIME),--time $(TIME)) $(if $(SEED),--seed $(SEED)) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(AT),--at $(AT))

fuzz-decode: deps-build deps-fuzz ## libFuzzer on message decoder, journal reader and core for TIME=60 seconds
	$(Q)$(MAKE) $(if $(Q),-s) $(FUZZERS:%=$(B)/fuzz_%)
	$(Q)tools/fuzz-decode $(B) $(or $(TIME),60) $(FUZZERS)

bench: deps-build deps-test ## every figure of speed beside its floor; QUICK=1 for the targets alone
	$(Q)$(MAKE) programs $(BENCH)
	$(Q)python3 bench/consensus.py $(if $(QUICK),--quick)

kill-test: all deps-test ## SIGKILL to any process at KILLS=200 random moments of up, run, down: is anything left? SEED=n
	$(Q)tools/kill-test $(B) $(or $(KILLS),200) $(SEED)

bench-rack: deps-build deps-test deps-bench-rack ## racks of 4, 128, 1000 servers up and down, beside ip -batch and Mininet
	$(Q)$(MAKE) programs
	$(Q)python3 bench/rack.py

.PHONY: bench-growth soak
bench-growth: deps-build deps-test deps-bench ## speed against value size, replicas and clients: tables, docs/growth-*.svg
	$(Q)$(MAKE) programs $(BENCH)
	$(Q)python3 bench/growth.py

.PHONY: bench-egress
bench-egress: deps-build deps-test deps-bench-egress ## every path of rack steer, native and generic, 1 and 2 queues: one table; RUNS=n
	$(Q)$(MAKE) programs $(BENCH) $(B)/packets
	$(Q)python3 bench/egress.py

soak: deps-build deps-test ## full load for MINUTES=10: memory and latency at start and end
	$(Q)$(MAKE) programs $(BENCH)
	$(Q)python3 bench/soak.py $(or $(MINUTES),10)

bench-wire: deps-build deps-test ## how late the switch releases packets that a fault rule delays
	$(Q)$(MAKE) programs
	$(Q)python3 pytests/bench_wire.py

shell: all ## a prompt inside the rack
	$(Q)$(B)/rack shell topo/rack3.yaml

deps-%: # what packages.txt lists under this name
	$(Q)tools/packages $*

programs: $(PROGRAMS) $(SCRIPTS) $(BPF) $(B)/py/vr_pb2.py
units: $(addprefix $(B)/,$(notdir $(UNITS))) $(B)/fuzz $(B)/race

$(B)/replica: $(O)/replica/main.o $(GUARDED) $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-nanopb -lbpf -lelf -lcap -lseccomp
$(B)/client: $(O)/replica/client.o $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-nanopb -lbpf -lelf
$(B)/journal: $(O)/replica/print_journal.o $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-nanopb -lbpf -lelf
$(B)/%.py: topo/%.py
	$(call say,COPY,$<)
	$(Q)cp $< $@
$(B)/rack: $(TOPO) $(NETNS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ -lmnl -lcyaml -lyaml -lbpf -lelf -lcap -lseccomp -lm -lncursesw -ltinfo -lprotobuf-nanopb
$(B)/packets: $(O)/bench/packets.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^
$(B)/loop: $(O)/bench/loop.o $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-nanopb -lbpf -lelf
# What sim/wrap*.c define as __wrap_NAME is called in place of NAME.
WRAPS = $$(nm $(O)/sim/wrap*.o | sed -n 's/.* T __wrap_/-Wl,--wrap=/p')
$(B)/sim: $(SIM) $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WRAPS) -lprotobuf-nanopb -lbpf -lelf
$(B)/test_plan: $(O)/sim/test_plan.o $(filter-out $(O)/sim/main.o,$(SIM)) $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WRAPS) -lprotobuf-nanopb -lbpf -lelf -lcmocka
$(B)/race: $(RACE)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ -lbpf -lelf
$(B)/fuzz: $(FUZZ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lelf
$(B)/test_%: $(O)/replica/test_%.o $(GUARDED) $(REPLICA)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-nanopb -lbpf -lelf -lcap -lseccomp -lcmocka

# The core takes its large pieces of memory from fuzz_core.c.
$(B)/fuzz_core: FUZZ_LINK = -Wl,--wrap=malloc,--wrap=calloc,--wrap=free
FUZZED := wire message message_normal vr.pb crc32c app kv $(basename $(notdir $(wildcard replica/journal*.c replica/vr*.c)))
$(B)/fuzz_%: $(O)/fuzz/fuzz_%.o $(FUZZED:%=$(O)/fuzz/%.o)
	$(call say,LINK,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer $(FUZZ_LINK) -o $@ $^ -lprotobuf-nanopb
$(O)/fuzz/%.o: replica/%.c | $(B)/vr.pb.h
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(ALL_CFLAGS) $(FUZZ_FLAGS) -c -o $@ $<
$(O)/fuzz/vr.pb.o: $(B)/vr.pb.c
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(ALL_CFLAGS) $(FUZZ_FLAGS) -c -o $@ $<

$(O)/%.o: %.c | $(B)/vr.pb.h $(BPF:.bpf.o=.skel.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(B)/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(BPF_CFLAGS) -c -o $@ $<
$(B)/bench/%.bpf.o: bench/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(BPF_CFLAGS) -c -o $@ $<
$(B)/%.skel.h: $(B)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)bpftool gen skeleton $< name $*_bpf > $@

$(B)/vr.pb.c $(B)/vr.pb.h &: replica/vr.proto $(wildcard replica/vr.options)
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(B)
	$(Q)protoc --nanopb_out=-Ireplica:$(B) -I replica $<
$(O)/vr.pb.o: $(B)/vr.pb.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(B)/py/vr_pb2.py: replica/vr.proto
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(@D)
	$(Q)protoc --python_out=$(@D) -I replica $<

format: ## clang-format over the C sources
	$(Q)clang-format -i $(wildcard netns/*.[ch] bench/*.c replica/*.[ch] topo/*.[ch] bpf/*.[ch] sim/*.[ch] pytests/fuzz/*.[ch] race/*.[ch])
clean: ## remove build/
	rm -rf $(B)
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

-include $(shell find $(B) -name '*.d' 2>/dev/null)
