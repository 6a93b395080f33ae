// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which programs are attached in a rack, and what is known of their verdicts. */
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "bpf/watch.h"
#include "topo/stats_internal.h"
#include "topo/watch.h"

#define ALL_KNOWN ((1 << STATS_VERDICTS) - 1)
#define MAPS_MAX 16 /* of one program; ours have fewer */

/* ---- names ---- */

const char *stats_verdict_name(enum stats_hook hook, unsigned int verdict)
{
	static const char *const xdp[] = {"ABORTED", "DROP", "PASS", "TX", "REDIRECT"};
	static const char *const tc[] = {"OK", "SHOT", "STOLEN", "REDIRECT"};

	if (hook == STATS_XDP)
		return verdict < STATS_VERDICTS ? xdp[verdict] : NULL;
	return verdict <= STATS_REDIRECT ? tc[verdict] : NULL;
}

const char *stats_hook_name(enum stats_hook hook)
{
	static const char *const names[] = {"xdp", "tc-ingress", "tc-egress"};

	return names[hook];
}

const char *stats_attached_name(uint8_t attached)
{
	static const char *const names[] = {"none", "native", "generic", "offloaded", "several"};

	return attached < sizeof(names) / sizeof(*names) ? names[attached] : "?";
}

const char *stats_place(char text[32], const struct rack *rack, const struct stats_program *p)
{
	const char *node = rack->nodes[p->node].name;

	if (p->places > 1)
		snprintf(text, 32, "%u %s", p->places, p->side == STATS_PORT ? "ports" : "nodes");
	else
		snprintf(text, 32, p->side == STATS_PORT ? "port %s" : "%s " RACK_IFACE, node);
	return text;
}

const char *stats_reason_name(enum tor_reason reason)
{
	static const char *const names[] = {
#define X(id, name, text) name,
		TOR_REASONS(X)
#undef X
	};

	return names[reason];
}

const char *stats_elec_reason_name(enum elec_reason reason)
{
	static const char *const names[] = {
#define X(id, name, program, verdict, text) name,
		ELEC_REASONS(X)
#undef X
	};

	return names[reason];
}

/* ---- verdicts of our own ---- */

/* What bpf/reasons.h calls them, at each hook; what is only noted is no verdict. */
static void count_replica(struct stats_program *p, const struct stats_replica *r)
{
	enum { any, ack, quorum, tc };
	enum { pass, tx, drop, note };
	static const uint8_t program[] = {
#define X(id, name, program, verdict, text) program,
		ELEC_REASONS(X)
#undef X
	};
	static const uint8_t verdict[] = {
#define X(id, name, program, verdict, text) verdict,
		ELEC_REASONS(X)
#undef X
	};
	static const uint8_t in_xdp[] = {[pass] = XDP_PASS, [tx] = XDP_TX, [drop] = XDP_DROP};
	static const uint8_t in_tc[] = {[pass] = STATS_OK, [tx] = STATS_OK, [drop] = STATS_STOLEN};

	for (unsigned int i = 0; i < ELEC_R_COUNT; i++) {
		if (verdict[i] == note || (program[i] == tc) != (p->hook != STATS_XDP))
			continue;
		p->verdict[p->hook == STATS_XDP ? in_xdp[verdict[i]] : in_tc[verdict[i]]] +=
			r->reasons[i];
	}
	p->known |= p->hook == STATS_XDP ? ALL_KNOWN & ~(1 << XDP_ABORTED) : ALL_KNOWN;
}

static void count_switch(struct stats_program *p, const struct stats *s, unsigned int nodes)
{
	static const uint8_t verdict[TOR_R_COUNT] = {
		[TOR_R_REDIRECT] = STATS_REDIRECT, [TOR_R_HELD] = STATS_REDIRECT,
		[TOR_R_HAIRPIN] = STATS_SHOT,	   [TOR_R_NO_PORT] = STATS_SHOT,
		[TOR_R_SHORT] = STATS_SHOT,	   [TOR_R_VLAN_DEPTH] = STATS_SHOT,
		[TOR_R_SPOOF_MAC] = STATS_SHOT,	   [TOR_R_SPOOF_IP] = STATS_SHOT,
		[TOR_R_SPOOF_IP6] = STATS_SHOT,	   [TOR_R_SPOOF_ARP] = STATS_SHOT,
		[TOR_R_FAULT] = STATS_SHOT, /* others are left to the bridge: STATS_OK */
	};

	for (unsigned int i = 0; i < nodes; i++) {
		for (unsigned int reason = 0; reason < TOR_R_COUNT; reason++) {
			if (reason != TOR_R_XDP && reason != TOR_R_AFXDP) /* tor_steer's */
				p->verdict[verdict[reason]] += s->node[i].reasons[reason];
		}
	}
	p->known = ALL_KNOWN;
}

/* Native programs only: generic ones run behind the device. */
static void count_device(struct stats_program *p, const struct stats_end *end)
{
	for (unsigned int i = 0; i < end->queues; i++) {
		const struct look_queue *q = &end->queue[i];

		p->verdict[XDP_DROP] += q->xdp_drops;
		p->verdict[XDP_TX] += q->xdp_tx + q->xdp_tx_errors;
		p->verdict[XDP_REDIRECT] += q->xdp_redirect;
		p->verdict[XDP_PASS] +=
			q->packets - q->xdp_drops - q->xdp_tx - q->xdp_tx_errors - q->xdp_redirect;
	}
	p->known |= ALL_KNOWN & ~(1 << XDP_ABORTED);
}

/* ---- who they are ---- */

/* The switch's own that are attached to ports. */
struct ids {
	uint32_t ingress, pass, steer;
};

static uint32_t pinned_program(const struct rack *rack, const char *name)
{
	int fd = stats_pinned(rack, "bpf/tor", name);
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size))
		info.id = 0;
	if (fd >= 0)
		close(fd);
	return info.id;
}

/* Name and counters; false: it is gone meanwhile. *counts: does it use map `map`? */
static bool read_info(struct stats_program *p, uint32_t map, bool *uses)
{
	uint32_t maps[MAPS_MAX] = {};
	struct bpf_prog_info info = {.nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)maps};
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(p->id);
	bool there = fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size);

	*uses = false;
	if (there) {
		snprintf(p->name, sizeof(p->name), "%s", info.name);
		p->runs = info.run_cnt;
		p->run_ns = info.run_time_ns;
		for (uint32_t i = 0; map && i < info.nr_map_ids && i < MAPS_MAX; i++)
			*uses |= maps[i] == map;
	}
	if (fd >= 0)
		close(fd);
	return there;
}

static int add_program(struct stats *s, const struct rack *rack, const struct ids *ids,
		       struct stats_program *p)
{
	const struct rack_node *node = &rack->nodes[p->node];
	struct stats_program *more;
	char pins[32];
	bool replicas;
	int counts;

	snprintf(pins, sizeof(pins), "bpf/%s", node->name);
	counts = stats_pinned(rack, pins, "elec_counts");
	if (!read_info(p, stats_map_id(counts), &replicas))
		p->id = 0;
	if (counts >= 0)
		close(counts);
	if (!p->id)
		return 0;
	p->counts = replicas || p->id == ids->ingress;
	p->ours = p->counts || p->id == ids->pass || p->id == ids->steer;
	if (replicas)
		count_replica(p, &s->replica[node->number]);
	else if (p->id == ids->ingress)
		count_switch(p, s, rack->count);
	more = stats_grow(s->program, s->programs, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->program = more;
	s->program[s->programs++] = *p;
	return 0;
}

static struct stats_program *find(struct stats *s, uint32_t id, enum stats_hook hook)
{
	for (size_t i = 0; i < s->programs; i++) {
		if (s->program[i].id == id && s->program[i].hook == hook)
			return &s->program[i];
	}
	return NULL;
}

static int at_place(struct stats *s, const struct rack *rack, const struct ids *ids, uint32_t id,
		    enum stats_hook hook, unsigned int node, enum stats_side side)
{
	const struct stats_end *end = &s->node[node].end[side];
	struct stats_program new = {
		.id = id, .hook = hook, .attached = end->link.attached, .side = side, .node = node};
	struct stats_program *p = find(s, id, hook);
	int ret = 0;

	if (!p) {
		ret = add_program(s, rack, ids, &new);
		p = ret ? NULL : find(s, id, hook);
	}
	if (!p)
		return ret;
	p->places++;
	if (hook == STATS_XDP && end->link.attached == XDP_ATTACHED_DRV && !p->counts)
		count_device(p, end);
	return 0;
}

/* ---- what went wrong ---- */

static int add_exception(struct stats *s, const struct rack *rack, const struct watch_key *key,
			 uint64_t count)
{
	struct stats_program *p = find(s, key->program, STATS_XDP);
	unsigned int node = key->ifindex - TOR_IFINDEX;
	struct stats_exception *more;

	if (!p || node >= rack->count) /* another rack's, or nobody's any more */
		return 0;
	if (key->action == XDP_ABORTED)
		p->verdict[XDP_ABORTED] += count;
	else
		p->failed += count;
	more = stats_grow(s->exception, s->exceptions, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->exception = more;
	s->exception[s->exceptions++] = (struct stats_exception){.program = key->program,
								 .action = key->action,
								 .error = key->error,
								 .side = p->side,
								 .node = node,
								 .to_ifindex = key->to_ifindex,
								 .count = count};
	return 0;
}

static int take_exceptions(struct stats *s, const struct rack *rack)
{
	int fd = stats_pinned(rack, WATCH_PINS, "watch_counts"), ret = 0;
	int link = stats_pinned(rack, WATCH_PINS, "watch_redirect_link"); /* made last */
	struct watch_key key;
	uint64_t count;

	s->watched = fd >= 0 && link >= 0;
	if (link >= 0)
		close(link);
	for (void *last = NULL; fd >= 0 && !ret && !bpf_map_get_next_key(fd, last, &key);
	     last = &key) {
		if (!bpf_map_lookup_elem(fd, &key, &count))
			ret = add_exception(s, rack, &key, count);
	}
	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < s->programs; i++) {
		struct stats_program *p = &s->program[i];

		if (p->hook != STATS_XDP)
			continue;
		if (s->watched)
			p->known |= 1 << XDP_ABORTED;
		/* a device counts what was aborted as dropped */
		if (!p->counts && p->verdict[XDP_DROP] >= p->verdict[XDP_ABORTED])
			p->verdict[XDP_DROP] -= p->verdict[XDP_ABORTED];
	}
	return ret;
}

int stats_take_programs(struct stats *s, const struct rack *rack)
{
	struct ids ids = {pinned_program(rack, "tor_ingress"), pinned_program(rack, "tor_pass"),
			  pinned_program(rack, "tor_steer")};
	int ret = 0;

	for (unsigned int side = 0; side < STATS_SIDES; side++) {
		for (unsigned int i = 0; !ret && i < rack->count; i++) {
			const struct stats_end *end = &s->node[i].end[side];

			if (end->link.xdp)
				ret = at_place(s, rack, &ids, end->link.xdp, STATS_XDP, i, side);
			for (unsigned int k = 0; !ret && k < end->ingress.count; k++)
				ret = at_place(s, rack, &ids, end->ingress.id[k], STATS_TC_INGRESS,
					       i, side);
			for (unsigned int k = 0; !ret && k < end->egress.count; k++)
				ret = at_place(s, rack, &ids, end->egress.id[k], STATS_TC_EGRESS, i,
					       side);
		}
	}
	ret = ret ?: take_exceptions(s, rack);
	return ret ? rack_say("no memory") : 0;
}
