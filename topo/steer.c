// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rules, paths of ports, and counts: read from the whole, or changed as one (steer_change.c). */
#include "topo/steer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "topo/steer_change.h"
#include "topo/tor.h"

/* ---- flows that were moved ---- */

/*
 * As the programs write too: never fewer than there are. A flow that comes meanwhile is counted
 * after it is in the map, so that the exchange fails or is followed by that. Those that the map
 * forgot by itself are found missing here only.
 */
unsigned int steer_moved(struct steer *s)
{
	uint32_t before = __atomic_load_n(&s->state->moved, __ATOMIC_ACQUIRE), n = 0;
	struct steer_key key, next;
	bool more = before && !bpf_map_get_next_key(s->moved, NULL, &next);

	for (; more; n++) {
		key = next;
		more = !bpf_map_get_next_key(s->moved, &key, &next);
	}
	__atomic_compare_exchange_n(&s->state->moved, &before, n, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_RELAXED);
	return n;
}

/* Another chance for flows of a port; of one that may send any source, for all. */
static void forget_moved_of_port(struct steer *s, unsigned int port)
{
	bool any = s->now.port[port].flags & TOR_SPOOF, more;
	struct steer_key key, next;

	more = s->state->moved && !bpf_map_get_next_key(s->moved, NULL, &next);
	while (more) {
		key = next;
		more = !bpf_map_get_next_key(s->moved, &key, &next);
		if (key.protocol ? any || key.saddr == s->now.port[port].addr : key.sport == port)
			bpf_map_delete_elem(s->moved, &key);
	}
	steer_moved(s);
}

static void forget_moved(struct steer *s, const struct steer_key *key)
{
	if (s->state->moved)
		bpf_map_delete_elem(s->moved, key);
}

/* ---- rules ---- */

static int too_many_groups(const struct steer *s)
{
	return rack_say("%s would have more than %d groups of ports, the most that there can be; "
			"nothing was changed",
			s->rack->name, STEER_GROUPS_MAX);
}

/* The value that says what the rule does; a group gets a slot. */
static int value_of(const struct steer *s, struct steer_whole *next, const struct steer_rule *rule,
		    uint32_t *value)
{
	struct steer_group group = {.count = rule->count};
	int at = -1;

	*value = rule->path << STEER_PATH_SHIFT;
	if (rule->count < 2) {
		*value |= rule->count ? rule->port[0] : STEER_BY_MAC;
		return 0;
	}
	memcpy(group.port, rule->port, rule->count * sizeof(rule->port[0]));
	for (int i = STEER_GROUP_SLOTS - 1; i >= 0; i--) {
		if (!next->group[i].count)
			at = i;
	}
	for (int i = 0; i < STEER_GROUP_SLOTS; i++) {
		if (!memcmp(&next->group[i], &group, sizeof(group)))
			at = i;
	}
	if (at < 0)
		return too_many_groups(s);
	next->group[at] = group;
	*value |= STEER_GROUP | (uint32_t)at;
	return 0;
}

static int by_key_last_first(const void *a, const void *b)
{
	const struct steer_entry *x = a, *y = b;

	return steer_by_key(a, b) ?: (x->order < y->order) - (x->order > y->order);
}

/* By key, of each flow the rule added last. */
static void sort_entries(struct steer_whole *w)
{
	size_t n = 0;

	qsort(w->entry, w->count, sizeof(*w->entry), by_key_last_first);
	for (size_t i = 0; i < w->count; i++) {
		if (!n || steer_by_key(&w->entry[n - 1], &w->entry[i]))
			w->entry[n++] = w->entry[i];
	}
	w->count = n;
}

/* As it would be with the rules. */
static int add_rules(struct steer_whole *next, const struct steer *s,
		     const struct steer_rule *rules, size_t count)
{
	bool used[STEER_GROUP_SLOTS];
	int ret = 0;

	if (steer_whole_copy(next, s, count))
		return -1;
	for (size_t i = 0; i < next->count; i++)
		next->entry[i].order = 0;
	for (size_t i = 0; i < count; i++)
		next->entry[next->count++] =
			(struct steer_entry){.key = rules[i].key, .order = i + 1};
	sort_entries(next);
	if (next->count > STEER_FLOWS_MAX)
		ret = rack_say("the steering table of %s would have %zu flows and has room for %d; "
			       "nothing was changed",
			       s->rack->name, next->count, STEER_FLOWS_MAX);
	for (size_t i = 0; i < next->count && !ret; i++) {
		struct steer_entry *e = &next->entry[i];

		if (e->order)
			ret = value_of(s, next, &rules[e->order - 1], &e->value);
	}
	if (!ret && steer_groups_used(next, used) > STEER_GROUPS_MAX)
		ret = too_many_groups(s);
	if (ret)
		steer_whole_free(next);
	return ret;
}

int steer_may_add(struct steer *s, const struct steer_rule *rules, size_t count)
{
	struct steer_whole next;
	int ret = add_rules(&next, s, rules, count);

	if (!ret)
		steer_whole_free(&next);
	return ret;
}

int steer_add(struct steer *s, const struct steer_rule *rules, size_t count)
{
	struct steer_whole next;

	if (add_rules(&next, s, rules, count) || steer_change(s, &next))
		return -1;
	for (size_t i = 0; i < count; i++)
		forget_moved(s, &rules[i].key);
	steer_moved(s);
	return 0;
}

int steer_remove(struct steer *s, const struct steer_key *key)
{
	const struct steer_entry *there = steer_entry_of(&s->now, key);
	struct steer_whole next;
	size_t at;

	if (!there)
		return rack_say("that flow has no rule (`rack steer %s ls` lists them)",
				s->rack->name);
	if (steer_whole_copy(&next, s, 0))
		return -1;
	at = there - s->now.entry;
	next.count--;
	memmove(&next.entry[at], &next.entry[at + 1], (next.count - at) * sizeof(*next.entry));
	if (steer_change(s, &next))
		return -1;
	forget_moved(s, key);
	steer_moved(s);
	return 0;
}

int steer_remove_all(struct steer *s)
{
	struct steer_whole next, was;
	int ret;

	if (steer_whole_copy(&was, s, 0))
		return -1;
	if (steer_whole_copy(&next, s, 0)) {
		steer_whole_free(&was);
		return -1;
	}
	next.count = 0;
	ret = steer_change(s, &next);
	for (size_t i = 0; i < was.count && !ret; i++)
		forget_moved(s, &was.entry[i].key);
	steer_moved(s);
	steer_whole_free(&was);
	return ret;
}

static void rule_of(const struct steer *s, const struct steer_entry *e, struct steer_rule *rule)
{
	*rule = (struct steer_rule){.key = e->key,
				    .path = e->value >> STEER_PATH_SHIFT & STEER_PATH_MASK};
	if (e->value & STEER_GROUP) {
		const struct steer_group *group = &s->now.group[e->value & STEER_TO];

		rule->count = group->count;
		memcpy(rule->port, group->port, sizeof(rule->port));
	} else if ((e->value & STEER_TO) != STEER_BY_MAC) {
		rule->count = 1;
		rule->port[0] = e->value & STEER_TO;
	}
}

bool steer_find(struct steer *s, const struct steer_key *key, struct steer_rule *rule)
{
	const struct steer_entry *e = steer_entry_of(&s->now, key);

	if (e)
		rule_of(s, e, rule);
	return e;
}

int steer_list(struct steer *s, struct steer_rule **rules, size_t *count)
{
	struct steer_rule *list = calloc(s->now.count + 1, sizeof(*list));

	if (!list)
		return rack_say("no memory");
	for (size_t i = 0; i < s->now.count; i++)
		rule_of(s, &s->now.entry[i], &list[i]);
	*rules = list;
	*count = s->now.count;
	return 0;
}

/* ---- ports ---- */

void steer_port_path(const struct steer *s, unsigned int port, struct steer_port_path *path)
{
	*path = (struct steer_port_path){s->now.port[port].path, s->now.port[port].share_path,
					 s->now.port[port].share};
}

bool steer_has_table(const struct steer *s, unsigned int port)
{
	return s->now.port[port].flags & TOR_TABLE;
}

int steer_set_port_path(struct steer *s, unsigned int index, const struct steer_port_path *path)
{
	struct steer_whole next;

	if (steer_whole_copy(&next, s, 0))
		return -1;
	next.port[index].path = path->path;
	next.port[index].share_path = path->share_path;
	next.port[index].share = path->share;
	if (steer_change(s, &next))
		return -1;
	forget_moved_of_port(s, index);
	return 0;
}

/* ---- counts ---- */

int steer_counts_open(const struct steer_state **out, const struct rack *rack)
{
	*out = tor_shared(rack, "steer_state", sizeof(**out), PROT_READ);
	return *out ? 0 : -1;
}

void steer_counts_close(const struct steer_state *state)
{
	munmap((void *)state, sizeof(*state));
}

const struct steer_state *steer_counts(const struct steer *s)
{
	return s->state;
}

int steer_verdicts(struct steer *s, unsigned int port, struct tor_counts *counts)
{
	int cpus = libbpf_num_possible_cpus();
	struct tor_counts *each = cpus > 0 ? calloc(cpus, sizeof(*each)) : NULL;
	int ret = -1;

	memset(counts, 0, sizeof(*counts));
	if (!each)
		rack_say("no memory");
	else if (bpf_map_lookup_elem(s->counts, &port, each))
		rack_say("cannot read the counts of %s: %s", s->rack->name, strerror(errno));
	else
		ret = 0;
	for (int cpu = 0; cpu < cpus && !ret; cpu++) {
		for (int reason = 0; reason < TOR_R_COUNT; reason++)
			counts->by_reason[reason] += each[cpu].by_reason[reason];
	}
	free(each);
	return ret;
}
