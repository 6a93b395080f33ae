// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Every change is one of a whole: the ports and the table as they are to be.
 *
 *   what they need is made -> groups and table filled -> ports -> rules taken out of the table
 *   -> programs that began before have ended -> what nothing needs any more goes
 */
#include "topo/steer.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "topo/steer_afxdp.h"
#include "topo/steer_paths.h"
#include "topo/tor.h"

struct entry {
	struct steer_key key;
	uint32_t value;
	uint32_t order; /* among those added: the last of a flow counts */
};

/* The table, by key. */
struct table_of {
	struct entry *entry;
	size_t count;
};

struct steer {
	const struct rack *rack;
	int lock, table, groups, ports, counts, moved;
	struct steer_state *state;
	struct tor_port *port; /* as they are */
	struct table_of now;
	struct steer_group group[STEER_GROUPS_MAX];
};

static int failed(const struct steer *s, const char *what)
{
	return rack_say("cannot %s of %s: %s", what, s->rack->name, strerror(errno));
}

/* ---- as it is ---- */

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct steer_key));
}

static int read_table(struct steer *s)
{
	struct steer_key *keys = calloc(STEER_FLOWS_MAX, sizeof(*keys));
	uint32_t *values = calloc(STEER_FLOWS_MAX, sizeof(*values)), count = STEER_FLOWS_MAX, out;
	int ret = -1;

	s->now.entry = calloc(STEER_FLOWS_MAX, sizeof(*s->now.entry));
	if (!keys || !values || !s->now.entry) {
		rack_say("no memory");
		goto out;
	}
	if (bpf_map_lookup_batch(s->table, NULL, &out, keys, values, &count, NULL) &&
	    errno != ENOENT) {
		failed(s, "read the steering table");
		goto out;
	}
	for (uint32_t i = 0; i < count; i++)
		s->now.entry[i] = (struct entry){keys[i], values[i], 0};
	s->now.count = count;
	qsort(s->now.entry, count, sizeof(*s->now.entry), by_key);
	ret = 0;
out:
	free(keys);
	free(values);
	return ret;
}

static int read_all(struct steer *s)
{
	for (uint32_t i = 0; i < s->rack->count; i++) {
		if (bpf_map_lookup_elem(s->ports, &i, &s->port[i]))
			return failed(s, "read the ports");
	}
	for (uint32_t i = 0; i < STEER_GROUPS_MAX; i++) {
		if (bpf_map_lookup_elem(s->groups, &i, &s->group[i]))
			return failed(s, "read the groups");
	}
	return read_table(s);
}

void steer_close(struct steer *s)
{
	const int fds[] = {s->table, s->groups, s->ports, s->counts, s->moved, s->lock};

	if (s->state)
		munmap(s->state, sizeof(*s->state));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(s->port);
	free(s->now.entry);
	free(s);
}

int steer_open(struct steer **out, const struct rack *rack)
{
	struct steer *s = calloc(1, sizeof(*s));

	if (!s)
		return rack_say("no memory");
	s->rack = rack;
	s->lock = s->table = s->groups = s->ports = s->counts = s->moved = -1;
	s->port = calloc(rack->count, sizeof(*s->port));
	if (!s->port) {
		rack_say("no memory");
		goto fail;
	}
	if ((s->lock = tor_lock(rack)) < 0 || (s->table = tor_pinned(rack, "steer_table")) < 0 ||
	    (s->groups = tor_pinned(rack, "steer_groups")) < 0 ||
	    (s->ports = tor_pinned(rack, "tor_ports")) < 0 ||
	    (s->counts = tor_pinned(rack, "tor_counts")) < 0 ||
	    (s->moved = tor_pinned(rack, "tor_moved")) < 0 ||
	    !(s->state =
		      tor_shared(rack, "steer_state", sizeof(*s->state), PROT_READ | PROT_WRITE)) ||
	    read_all(s))
		goto fail;
	*out = s;
	return 0;
fail:
	steer_close(s);
	return -1;
}

/* ---- what ports and rules need ---- */

static unsigned int source_of(const struct steer *s, const struct steer_key *key)
{
	return ntohl(key->saddr) - s->rack->subnet - 1;
}

static void need(struct steer_needs *n, unsigned int port, unsigned int path)
{
	if (path != TOR_PATH_XDP && path != TOR_PATH_AFXDP)
		return;
	n->port[port] |= path == TOR_PATH_XDP ? STEER_NEEDS_XDP : STEER_NEEDS_AFXDP;
	if (path == TOR_PATH_XDP)
		n->xdp = true;
	else
		n->afxdp = true;
}

static int needs_of(struct steer_needs *n, const struct steer *s, const struct tor_port *port,
		    const struct table_of *table)
{
	*n = (struct steer_needs){.port = calloc(s->rack->count, 1)};
	if (!n->port)
		return rack_say("no memory");
	for (unsigned int i = 0; i < s->rack->count; i++) {
		if (port[i].flags & TOR_TABLE)
			continue;
		need(n, i, port[i].path);
		if (port[i].share)
			need(n, i, port[i].share_path);
	}
	for (size_t i = 0; i < table->count; i++) {
		unsigned int from = source_of(s, &table->entry[i].key);
		unsigned int path = table->entry[i].value >> STEER_PATH_SHIFT & STEER_PATH_MASK;

		need(n, from, path ? path - 1 : port[from].path);
	}
	return 0;
}

/* ---- a change ---- */

static int write_table(struct steer *s, const struct table_of *next)
{
	struct steer_key *keys = calloc(next->count + 1, sizeof(*keys));
	uint32_t *values = calloc(next->count + 1, sizeof(*values)), n = 0;
	size_t at = 0;
	int ret = -1;

	if (!keys || !values) {
		rack_say("no memory");
		goto out;
	}
	for (size_t i = 0; i < next->count; i++) {
		const struct entry *e = &next->entry[i];

		while (at < s->now.count && by_key(&s->now.entry[at], e) < 0)
			at++;
		if (at < s->now.count && !by_key(&s->now.entry[at], e) &&
		    s->now.entry[at].value == e->value)
			continue;
		keys[n] = e->key;
		values[n++] = e->value;
	}
	if (n && bpf_map_update_batch(s->table, keys, values, &n, NULL))
		failed(s, "fill the steering table");
	else
		ret = 0;
out:
	free(keys);
	free(values);
	return ret;
}

static const struct entry *find(const struct table_of *t, const struct steer_key *key)
{
	return t->count ? bsearch(key, t->entry, t->count, sizeof(*t->entry), by_key) : NULL;
}

static void take_out(struct steer *s, const struct table_of *from, const struct table_of *keep)
{
	for (size_t i = 0; i < from->count; i++) {
		if (!find(keep, &from->entry[i].key))
			bpf_map_delete_elem(s->table, &from->entry[i].key);
	}
}

static int write_groups(struct steer *s)
{
	for (uint32_t i = 0; i < STEER_GROUPS_MAX; i++) {
		if (bpf_map_update_elem(s->groups, &i, &s->group[i], BPF_ANY))
			return failed(s, "write the groups");
	}
	return 0;
}

static int write_ports(struct steer *s, const struct tor_port *port)
{
	for (uint32_t i = 0; i < s->rack->count; i++) {
		if (!memcmp(&port[i], &s->port[i], sizeof(port[i])))
			continue;
		if (bpf_map_update_elem(s->ports, &i, &port[i], BPF_EXIST))
			return failed(s, "write the ports");
		s->port[i] = port[i];
	}
	return 0;
}

static void drop_groups(struct steer *s)
{
	bool used[STEER_GROUPS_MAX] = {false};

	for (size_t i = 0; i < s->now.count; i++) {
		if (s->now.entry[i].value & STEER_GROUP)
			used[s->now.entry[i].value & STEER_TO] = true;
	}
	for (uint32_t i = 0; i < STEER_GROUPS_MAX; i++) {
		if (!used[i])
			s->group[i].count = 0;
	}
	write_groups(s);
}

static void flag_tables(const struct steer *s, struct tor_port *port, const struct table_of *table)
{
	for (unsigned int i = 0; i < s->rack->count; i++)
		port[i].flags &= ~TOR_TABLE;
	for (size_t i = 0; i < table->count; i++)
		port[source_of(s, &table->entry[i].key)].flags |= TOR_TABLE;
}

static bool comes_to_afxdp(const struct steer *s, const struct steer_needs *before,
			   const struct steer_needs *after)
{
	for (unsigned int i = 0; i < s->rack->count; i++) {
		if (after->port[i] & ~before->port[i] & STEER_NEEDS_AFXDP)
			return true;
	}
	return false;
}

/* From now on `port` and `next` are in force. next->entry is the steer's on success. */
static int change(struct steer *s, struct tor_port *port, struct table_of *next)
{
	struct steer_needs before = {}, after = {};
	int ret = -1;

	flag_tables(s, port, next);
	if (needs_of(&before, s, s->port, &s->now) || needs_of(&after, s, port, next))
		goto out;
	ret = steer_paths_prepare(s->rack, s->state, &after) ?: write_groups(s)
							  ?: write_table(s, next)
							  ?: write_ports(s, port);
	if (ret) {
		take_out(s, next, &s->now);
		steer_paths_settle(s->rack, s->state, &before);
		goto out;
	}
	/* Leaving the path has to work also when its process is stuck. */
	if (after.afxdp)
		ret = steer_afxdp_look(s->rack, s->state, comes_to_afxdp(s, &before, &after));
	take_out(s, &s->now, next);
	free(s->now.entry);
	s->now = *next;
	*next = (struct table_of){};
	tor_wait_for_programs();
	drop_groups(s);
	steer_paths_settle(s->rack, s->state, &after);
out:
	free(before.port);
	free(after.port);
	return ret;
}

static int copy_table(struct table_of *copy, const struct table_of *from, size_t more)
{
	copy->count = from->count;
	copy->entry = malloc((from->count + more + 1) * sizeof(*copy->entry));
	if (!copy->entry)
		return rack_say("no memory");
	memcpy(copy->entry, from->entry, from->count * sizeof(*copy->entry));
	return 0;
}

/* `next` is freed, unless it came into force. */
static int change_table(struct steer *s, struct table_of *next)
{
	struct tor_port *port = malloc(s->rack->count * sizeof(*port));
	int ret;

	if (!port) {
		free(next->entry);
		return rack_say("no memory");
	}
	memcpy(port, s->port, s->rack->count * sizeof(*port));
	ret = change(s, port, next);
	free(next->entry);
	free(port);
	return ret;
}

/* ---- rules ---- */

/* The value that says what the rule does; a group gets a place, without being written yet. */
static int value_of(struct steer *s, const struct steer_rule *rule, uint32_t *value)
{
	struct steer_group group = {.count = rule->count};
	int at = -1;

	*value = rule->path << STEER_PATH_SHIFT;
	if (rule->count < 2) {
		*value |= rule->count ? rule->port[0] : STEER_BY_MAC;
		return 0;
	}
	memcpy(group.port, rule->port, rule->count * sizeof(rule->port[0]));
	for (int i = STEER_GROUPS_MAX - 1; i >= 0; i--) {
		if (!s->group[i].count)
			at = i;
	}
	for (int i = 0; i < STEER_GROUPS_MAX; i++) {
		if (!memcmp(&s->group[i], &group, sizeof(group)))
			at = i;
	}
	if (at < 0)
		return rack_say("%s has %d groups of ports, the most that there can be; nothing "
				"was changed",
				s->rack->name, STEER_GROUPS_MAX);
	s->group[at] = group;
	*value |= STEER_GROUP | (uint32_t)at;
	return 0;
}

static int by_key_last_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return by_key(a, b) ?: (x->order < y->order) - (x->order > y->order);
}

/* By key, of each flow the rule added last. */
static void sort_table(struct table_of *t)
{
	size_t n = 0;

	qsort(t->entry, t->count, sizeof(*t->entry), by_key_last_first);
	for (size_t i = 0; i < t->count; i++) {
		if (!n || by_key(&t->entry[n - 1], &t->entry[i]))
			t->entry[n++] = t->entry[i];
	}
	t->count = n;
}

int steer_add(struct steer *s, const struct steer_rule *rules, size_t count)
{
	struct table_of next;
	int ret = 0;

	if (copy_table(&next, &s->now, count))
		return -1;
	for (size_t i = 0; i < next.count; i++)
		next.entry[i].order = 0;
	for (size_t i = 0; i < count && !ret; i++) {
		struct entry *e = &next.entry[next.count++];

		*e = (struct entry){.key = rules[i].key, .order = i + 1};
		ret = value_of(s, &rules[i], &e->value);
	}
	sort_table(&next);
	if (!ret && next.count > STEER_FLOWS_MAX)
		ret = rack_say("the steering table of %s would have %zu flows and has room for %d; "
			       "nothing was changed",
			       s->rack->name, next.count, STEER_FLOWS_MAX);
	if (ret) {
		free(next.entry);
		return -1;
	}
	return change_table(s, &next);
}

int steer_remove(struct steer *s, const struct steer_key *key)
{
	const struct entry *there = find(&s->now, key);
	struct table_of next;
	size_t at;

	if (!there)
		return rack_say("that flow has no rule (`rack steer %s ls` lists them)",
				s->rack->name);
	if (copy_table(&next, &s->now, 0))
		return -1;
	at = there - s->now.entry;
	memmove(&next.entry[at], &next.entry[at + 1], (next.count - at - 1) * sizeof(*next.entry));
	next.count--;
	return change_table(s, &next);
}

int steer_remove_all(struct steer *s)
{
	struct table_of next;

	if (copy_table(&next, &s->now, 0))
		return -1;
	next.count = 0;
	return change_table(s, &next);
}

static void rule_of(const struct steer *s, const struct entry *e, struct steer_rule *rule)
{
	*rule = (struct steer_rule){.key = e->key,
				    .path = e->value >> STEER_PATH_SHIFT & STEER_PATH_MASK};
	if (e->value & STEER_GROUP) {
		const struct steer_group *group = &s->group[e->value & STEER_TO];

		rule->count = group->count;
		memcpy(rule->port, group->port, sizeof(rule->port));
	} else if ((e->value & STEER_TO) != STEER_BY_MAC) {
		rule->count = 1;
		rule->port[0] = e->value & STEER_TO;
	}
}

bool steer_find(struct steer *s, const struct steer_key *key, struct steer_rule *rule)
{
	const struct entry *e = find(&s->now, key);

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
	*path = (struct steer_port_path){s->port[port].path, s->port[port].share_path,
					 s->port[port].share};
}

bool steer_has_table(const struct steer *s, unsigned int port)
{
	return s->port[port].flags & TOR_TABLE;
}

/* Flows of the port, whose native redirects failed. */
static void forget_moved(struct steer *s, unsigned int port)
{
	struct steer_key key, next;
	bool more = !bpf_map_get_next_key(s->moved, NULL, &next);

	while (more) {
		key = next;
		more = !bpf_map_get_next_key(s->moved, &key, &next);
		if (key.saddr == s->rack->nodes[port].addr || (!key.protocol && key.sport == port))
			bpf_map_delete_elem(s->moved, &key);
	}
}

int steer_set_port_path(struct steer *s, unsigned int index, const struct steer_port_path *path)
{
	struct tor_port *port = malloc(s->rack->count * sizeof(*port));
	struct table_of next;
	int ret = -1;

	if (!port) {
		rack_say("no memory");
	} else if (!copy_table(&next, &s->now, 0)) {
		memcpy(port, s->port, s->rack->count * sizeof(*port));
		port[index].path = path->path;
		port[index].share_path = path->share_path;
		port[index].share = path->share;
		ret = change(s, port, &next);
		free(next.entry);
		forget_moved(s, index);
	}
	free(port);
	return ret;
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
		failed(s, "read the counts");
	else
		ret = 0;
	for (int cpu = 0; cpu < cpus && !ret; cpu++) {
		for (int reason = 0; reason < TOR_R_COUNT; reason++)
			counts->by_reason[reason] += each[cpu].by_reason[reason];
	}
	free(each);
	return ret;
}
