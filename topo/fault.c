// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Rules in the ToR's maps, and the two processes that go with them.
 *
 *   add      processes -> slot filled, not in force -> ports flagged -> in force
 *   remove   not in force -> ports -> wait for programs that still run -> processes
 *
 * so that a rule is in force only while its processes run. One command at a time.
 */
#include "topo/fault.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "topo/daemon.h"
#include "topo/fault_log.h"
#include "topo/tor.h"
#include "topo/wire.h"
#include "topo/seconds.h"

#define LOG_END_MS 5000
#define WIRE_END_MS                                                                                \
	((FAULT_DELAY_MAX_NS * 2 * TOR_RULES_MAX + TOR_RATE_QUEUE_NS + TOR_REORDER_NS) / 1000000)

struct fault {
	const struct rack *rack;
	int lock;
	int rules, counts, cut, flows, ports;
	struct tor_fault_state *state;
	struct tor_rule rule[TOR_RULES_MAX]; /* as they were when it was opened */
};

static int failed(const struct fault *f, const char *what)
{
	return rack_say("cannot %s of %s: %s", what, f->rack->name, strerror(errno));
}

/* ---- the maps ---- */

static void fault_close(struct fault *f)
{
	const int fds[] = {f->rules, f->counts, f->cut, f->flows, f->ports, f->lock};

	if (f->state)
		munmap(f->state, sizeof(*f->state));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static int fault_open(struct fault *f, const struct rack *rack)
{
	*f = (struct fault){rack, -1, -1, -1, -1, -1, -1, NULL, {}};
	if ((f->lock = tor_lock(rack)) < 0 || (f->rules = tor_pinned(f->rack, "tor_rules")) < 0 ||
	    (f->counts = tor_pinned(f->rack, "tor_fault_counts")) < 0 ||
	    (f->cut = tor_pinned(f->rack, "tor_cut")) < 0 ||
	    (f->flows = tor_pinned(f->rack, "tor_flows")) < 0 ||
	    (f->ports = tor_pinned(f->rack, "tor_ports")) < 0 ||
	    !(f->state = tor_shared(f->rack, "tor_fault_state", sizeof(*f->state),
				    PROT_READ | PROT_WRITE)))
		goto fail;
	for (uint32_t i = 0; i < TOR_RULES_MAX; i++) {
		if (bpf_map_lookup_elem(f->rules, &i, &f->rule[i])) {
			failed(f, "read the rules");
			goto fail;
		}
	}
	return 0;
fail:
	fault_close(f);
	return -1;
}

static int write_rule(struct fault *f, uint32_t slot, const struct tor_rule *rule)
{
	if (bpf_map_update_elem(f->rules, &slot, rule, BPF_ANY))
		return failed(f, "write a rule");
	f->rule[slot] = *rule;
	return 0;
}

static int zero_counts(struct fault *f, uint32_t id)
{
	static const struct tor_fault_counts none;

	return bpf_map_update_elem(f->counts, &id, &none, BPF_ANY) ? failed(f, "reset the counts")
								   : 0;
}

/* The counts by link and kind of a rule that is gone. */
static void forget_flows(struct fault *f, uint32_t serial)
{
	struct tor_flow_key key, next;
	bool more = !bpf_map_get_next_key(f->flows, NULL, &next);

	while (more) {
		key = next;
		more = !bpf_map_get_next_key(f->flows, &key, &next);
		if (key.serial == serial)
			bpf_map_delete_elem(f->flows, &key);
	}
}

static bool is_empty(const struct tor_cut *row)
{
	uint64_t any = 0;

	for (int i = 0; i < TOR_CUT_WORDS; i++)
		any |= row->to[i];
	return !any;
}

/* TOR_FAULTS, TOR_DETOUR of a port. */
static unsigned int concerned(const struct fault *f, uint32_t port)
{
	unsigned int flags = 0;
	struct tor_cut row;

	for (int i = 0; i < TOR_RULES_MAX; i++) {
		const struct tor_rule *rule = &f->rule[i];

		if (!rule->serial || (rule->from != TOR_ANY && rule->from != port))
			continue;
		flags |= TOR_FAULTS;
		if (rule->action == TOR_ACT_DUPLICATE || fault_makes_wait(rule))
			flags |= TOR_DETOUR;
	}
	if (f->state->partition && !bpf_map_lookup_elem(f->cut, &port, &row) && !is_empty(&row))
		flags |= TOR_FAULTS;
	return flags;
}

/* Frames from the other ports cost what they cost without any rule. */
static int flag_ports(struct fault *f)
{
	for (uint32_t i = 0; i < f->rack->count; i++) {
		struct tor_port port;
		unsigned int flags;

		if (bpf_map_lookup_elem(f->ports, &i, &port))
			return failed(f, "read the ports");
		flags = (port.flags & ~(TOR_FAULTS | TOR_DETOUR)) | concerned(f, i);
		if (flags == port.flags)
			continue;
		port.flags = flags;
		if (bpf_map_update_elem(f->ports, &i, &port, BPF_EXIST))
			return failed(f, "write the ports");
	}
	return 0;
}

/* ---- the processes ---- */

static int start_daemon(const struct fault *f, const char *name, daemon_fn run)
{
	return daemon_find(f->rack, name) ? 0 : daemon_start(f->rack, name, run);
}

/* One that is about to end, as a command that was killed told it, is waited for. */
static int start_wire(const struct fault *f)
{
	if (f->state->ending)
		daemon_end(f->rack, WIRE_NAME, WIRE_DRAIN, WIRE_END_MS);
	f->state->ending = 0;
	return start_daemon(f, WIRE_NAME, wire_run);
}

static void end_unneeded(const struct fault *f)
{
	bool log = f->state->partition, wire = false;

	for (int i = 0; i < TOR_RULES_MAX; i++) {
		log |= f->rule[i].serial != 0;
		wire |= f->rule[i].serial && fault_makes_wait(&f->rule[i]);
	}
	if (!wire) {
		f->state->ending = 1;
		daemon_end(f->rack, WIRE_NAME, WIRE_DRAIN, WIRE_END_MS);
	}
	if (!log)
		daemon_end(f->rack, FAULT_LOG_NAME, SIGTERM, LOG_END_MS);
}

/* ---- rules ---- */

/* Its times count from now on. */
static int put_in_force(struct fault *f, uint32_t slot, const struct tor_rule *rule)
{
	struct tor_rule r = *rule;

	r.serial = 0;
	if (write_rule(f, slot, &r) || zero_counts(f, slot + 1))
		return -1;
	r.serial = ++f->state->serial;
	f->rule[slot].serial = r.serial; /* concerns its ports already */
	if (flag_ports(f))
		return -1;
	if (slot >= f->state->slots)
		f->state->slots = slot + 1;
	r.added_ns = now_ns();
	r.begin_ns += r.added_ns;
	r.end_ns = rule->end_ns == UINT64_MAX ? UINT64_MAX : rule->end_ns + r.added_ns;
	return write_rule(f, slot, &r);
}

static int retire(struct fault *f, uint32_t slot)
{
	static const struct tor_rule none;
	uint32_t serial = f->rule[slot].serial;
	int ret = write_rule(f, slot, &none);

	if (ret)
		return ret;
	while (f->state->slots && !f->rule[f->state->slots - 1].serial)
		f->state->slots--;
	ret = flag_ports(f);
	tor_wait_for_programs();
	forget_flows(f, serial);
	return ret;
}

int fault_add(const struct rack *rack, const struct tor_rule *rule, unsigned int *id)
{
	struct fault f;
	uint32_t slot = 0;
	int ret = -1;

	if (fault_open(&f, rack))
		return -1;
	while (slot < TOR_RULES_MAX && f.rule[slot].serial)
		slot++;
	if (slot == TOR_RULES_MAX) {
		rack_say("%s has %d rules, the most that there can be", rack->name, TOR_RULES_MAX);
		goto out;
	}
	if (start_daemon(&f, FAULT_LOG_NAME, fault_log_run) ||
	    (fault_makes_wait(rule) && start_wire(&f)) || put_in_force(&f, slot, rule)) {
		f.rule[slot].serial = 0;
		flag_ports(&f);
		end_unneeded(&f);
		goto out;
	}
	*id = slot + 1;
	ret = 0;
out:
	fault_close(&f);
	return ret;
}

int fault_remove(const struct rack *rack, unsigned int id)
{
	struct fault f;
	int ret;

	if (fault_open(&f, rack))
		return -1;
	if (id < 1 || id > TOR_RULES_MAX || !f.rule[id - 1].serial)
		ret = rack_say("%s has no rule %u (`rack fault %s ls` lists them)", rack->name, id,
			       rack->name);
	else
		ret = retire(&f, id - 1);
	if (!ret)
		end_unneeded(&f);
	fault_close(&f);
	return ret;
}

int fault_clear(const struct rack *rack)
{
	struct fault f;
	int ret = 0;

	if (fault_open(&f, rack))
		return -1;
	for (uint32_t slot = 0; slot < TOR_RULES_MAX && !ret; slot++) {
		if (f.rule[slot].serial)
			ret = retire(&f, slot);
	}
	if (!ret)
		end_unneeded(&f);
	fault_close(&f);
	return ret;
}

/* ---- partitions ---- */

static int write_rows(struct fault *f, const struct fault_matrix *m)
{
	static const struct tor_cut none;

	for (uint32_t i = 0; i < f->rack->count; i++) {
		if (bpf_map_update_elem(f->cut, &i, m ? &m->row[i] : &none, BPF_ANY))
			return failed(f, "write the partition");
	}
	return 0;
}

int fault_partition(const struct rack *rack, const struct fault_matrix *m)
{
	struct fault f;
	uint32_t before;
	int ret;

	if (fault_open(&f, rack))
		return -1;
	before = f.state->partition;
	ret = start_daemon(&f, FAULT_LOG_NAME, fault_log_run) ?: write_rows(&f, m);
	if (!ret) {
		zero_counts(&f, 0);
		f.state->partition = ++f.state->serial;
		ret = flag_ports(&f);
	}
	tor_wait_for_programs();
	if (!ret && before)
		forget_flows(&f, before);
	fault_close(&f);
	return ret;
}

int fault_heal(const struct rack *rack)
{
	struct fault f;
	uint32_t before;
	int ret;

	if (fault_open(&f, rack))
		return -1;
	before = f.state->partition;
	f.state->partition = 0;
	ret = write_rows(&f, NULL) ?: flag_ports(&f);
	tor_wait_for_programs();
	if (before)
		forget_flows(&f, before);
	if (!ret)
		end_unneeded(&f);
	fault_close(&f);
	return ret;
}

/* ---- how it stands ---- */

int fault_status(const struct rack *rack, struct fault_status *s)
{
	struct fault f;
	int ret = -1;

	if (fault_open(&f, rack))
		return -1;
	s->matrix.row = calloc(rack->count, sizeof(*s->matrix.row));
	if (!s->matrix.row) {
		rack_say("no memory");
		goto out;
	}
	memcpy(s->rule, f.rule, sizeof(s->rule));
	s->state = *f.state;
	s->log = daemon_find(rack, FAULT_LOG_NAME);
	s->wire = daemon_find(rack, WIRE_NAME);
	ret = wire_late(rack, s->late_us);
	for (uint32_t i = 0; i <= TOR_RULES_MAX && !ret; i++)
		ret = bpf_map_lookup_elem(f.counts, &i, &s->counts[i]);
	for (uint32_t i = 0; i < rack->count && !ret; i++)
		ret = bpf_map_lookup_elem(f.cut, &i, &s->matrix.row[i]);
	if (ret) {
		failed(&f, "read the counters");
		free(s->matrix.row);
	}
out:
	fault_close(&f);
	return ret;
}
