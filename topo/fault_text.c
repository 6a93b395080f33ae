// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rules as words. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "topo/fault.h"

static const char *const kind_names[TOR_KIND_COUNT] = {
	[TOR_KIND_OTHER] = "other",
#define X(id, name, type) [WIRE_##id] = name,
	WIRE_KINDS(X)
#undef X
		[WIRE_FRAGMENT] = "fragment",
	[TOR_KIND_ARP] = "arp",
};

static const char *const action_names[] = {
#define X(id, name) name,
	TOR_ACTIONS(X)
#undef X
};

const char *fault_kind_name(unsigned int kind)
{
	return kind < TOR_KIND_COUNT ? kind_names[kind] : "*";
}

const char *fault_action_name(unsigned int action)
{
	return action < TOR_ACT_COUNT ? action_names[action] : "?";
}

const char *fault_node_name(const struct rack *rack, unsigned int index)
{
	return index < rack->count ? rack->nodes[index].name : "*";
}

static void put_time(FILE *f, uint64_t ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
	int i = 0;

	while (ns % units[i].ns)
		i++;
	fprintf(f, "%" PRIu64 "%s", ns / units[i].ns, units[i].name);
}

void fault_text(const struct tor_rule *rule, const struct rack *rack, char *text, size_t size)
{
	FILE *f = fmemopen(text, size, "w");

	if (!f)
		return;
	fprintf(f, "--from %s --to %s --kind %s", fault_node_name(rack, rule->from),
		fault_node_name(rack, rule->to), fault_kind_name(rule->kind));
	if (rule->which == TOR_EVERY || rule->which == TOR_NTH)
		fprintf(f, " --%s %llu", rule->which == TOR_EVERY ? "every" : "nth", rule->k);
	if (rule->which == TOR_PROBABILITY)
		fprintf(f, " --probability %.6g", ldexp(rule->k, -64));
	if (rule->seed)
		fprintf(f, " --seed %llu", rule->seed);
	if (rule->begin_ns > rule->added_ns || rule->end_ns != UINT64_MAX) {
		fputs(" --between ", f);
		put_time(f, rule->begin_ns - rule->added_ns);
		fputc(' ', f);
		put_time(f, rule->end_ns - rule->added_ns);
	}
	fprintf(f, " %s", fault_action_name(rule->action));
	if (rule->action == TOR_ACT_DELAY) {
		fputc(' ', f);
		put_time(f, rule->delay_ns);
		if (rule->jitter_ns) {
			fputs(" jitter ", f);
			put_time(f, rule->jitter_ns);
		}
	}
	if (rule->action == TOR_ACT_REORDER)
		fprintf(f, " %llu", rule->amount);
	if (rule->action == TOR_ACT_RATE)
		fprintf(f, " %llubit", rule->amount);
	fclose(f);
}
