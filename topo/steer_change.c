// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Every change is one of a whole: the ports and the table as they are to be.
 *
 *   what they need is made -> groups and table filled -> ports -> rules taken out of the table
 *   -> programs that began before have ended -> what nothing needs any more goes
 */
#include "topo/steer_change.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "topo/steer.h"
#include "topo/steer_paths.h"
#include "topo/tor.h"

static int failed(const struct steer *s, const char *what)
{
	return rack_say("cannot %s of %s: %s", what, s->rack->name, strerror(errno));
}

/* ---- as it is ---- */

int steer_by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct steer_key));
}

void steer_whole_free(struct steer_whole *w)
{
	free(w->port);
	free(w->entry);
	*w = (struct steer_whole){};
}

int steer_whole_copy(struct steer_whole *copy, const struct steer *s, size_t more)
{
	size_t ports = s->rack->count * sizeof(*copy->port);

	*copy = s->now;
	copy->port = malloc(ports);
	copy->entry = malloc((s->now.count + more + 1) * sizeof(*copy->entry));
	if (!copy->port || !copy->entry) {
		steer_whole_free(copy);
		return rack_say("no memory");
	}
	memcpy(copy->port, s->now.port, ports);
	memcpy(copy->entry, s->now.entry, s->now.count * sizeof(*copy->entry));
	return 0;
}

const struct steer_entry *steer_entry_of(const struct steer_whole *w, const struct steer_key *key)
{
	return bsearch(key, w->entry, w->count, sizeof(*w->entry), steer_by_key);
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
		s->now.entry[i] = (struct steer_entry){keys[i], values[i], 0};
	s->now.count = count;
	qsort(s->now.entry, count, sizeof(*s->now.entry), steer_by_key);
	ret = 0;
out:
	free(keys);
	free(values);
	return ret;
}

static int read_all(struct steer *s)
{
	for (uint32_t i = 0; i < s->rack->count; i++) {
		if (bpf_map_lookup_elem(s->ports, &i, &s->now.port[i]))
			return failed(s, "read the ports");
	}
	for (uint32_t i = 0; i < STEER_GROUP_SLOTS; i++) {
		if (bpf_map_lookup_elem(s->groups, &i, &s->now.group[i]))
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
	steer_whole_free(&s->now);
	free(s);
}

int steer_open(struct steer **out, const struct rack *rack)
{
	struct steer *s = calloc(1, sizeof(*s));

	if (!s)
		return rack_say("no memory");
	s->rack = rack;
	s->lock = s->table = s->groups = s->ports = s->counts = s->moved = -1;
	s->now.port = calloc(rack->count, sizeof(*s->now.port));
	if (!s->now.port) {
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

static int needs_of(struct steer_needs *n, const struct rack *rack, const struct steer_whole *w)
{
	*n = (struct steer_needs){.port = calloc(rack->count, 1)};
	if (!n->port)
		return rack_say("no memory");
	for (unsigned int i = 0; i < rack->count; i++) {
		if (w->port[i].flags & TOR_TABLE)
			continue;
		need(n, i, w->port[i].path);
		if (w->port[i].share)
			need(n, i, w->port[i].share_path);
	}
	for (size_t i = 0; i < w->count; i++) {
		unsigned int from = steer_source(rack, &w->entry[i].key);
		unsigned int path = w->entry[i].value >> STEER_PATH_SHIFT & STEER_PATH_MASK;

		need(n, from, path ? path - 1 : w->port[from].path);
	}
	return 0;
}

/*
 * ---- a change ----
 *
 * What differs in `to` is written. -1: errno says why not.
 */

static int write_groups(struct steer *s, const struct steer_whole *from,
			const struct steer_whole *to)
{
	for (uint32_t i = 0; i < STEER_GROUP_SLOTS; i++) {
		if (memcmp(&from->group[i], &to->group[i], sizeof(to->group[i])) &&
		    bpf_map_update_elem(s->groups, &i, &to->group[i], BPF_ANY))
			return -1;
	}
	return 0;
}

static int write_table(struct steer *s, const struct steer_whole *from,
		       const struct steer_whole *to)
{
	struct steer_key *keys = calloc(to->count + 1, sizeof(*keys));
	uint32_t *values = calloc(to->count + 1, sizeof(*values)), n = 0;
	int ret = keys && values ? 0 : -1;

	for (size_t i = 0; i < to->count && !ret; i++) {
		const struct steer_entry *e = &to->entry[i], *was = steer_entry_of(from, &e->key);

		if (was && was->value == e->value)
			continue;
		keys[n] = e->key;
		values[n++] = e->value;
	}
	if (n && bpf_map_update_batch(s->table, keys, values, &n, NULL))
		ret = -1;
	free(keys);
	free(values);
	return ret;
}

static int write_ports(struct steer *s, const struct steer_whole *from,
		       const struct steer_whole *to)
{
	for (uint32_t i = 0; i < s->rack->count; i++) {
		if (memcmp(&from->port[i], &to->port[i], sizeof(to->port[i])) &&
		    bpf_map_update_elem(s->ports, &i, &to->port[i], BPF_EXIST))
			return -1;
	}
	return 0;
}

static void take_out(struct steer *s, const struct steer_whole *from, const struct steer_whole *to)
{
	for (size_t i = 0; i < from->count; i++) {
		if (!steer_entry_of(to, &from->entry[i].key))
			bpf_map_delete_elem(s->table, &from->entry[i].key);
	}
}

unsigned int steer_groups_used(const struct steer_whole *w, bool used[STEER_GROUP_SLOTS])
{
	unsigned int n = 0;

	memset(used, 0, STEER_GROUP_SLOTS * sizeof(*used));
	for (size_t i = 0; i < w->count; i++) {
		bool *group = &used[w->entry[i].value & STEER_TO];

		if (!(w->entry[i].value & STEER_GROUP))
			continue;
		n += !*group;
		*group = true;
	}
	return n;
}

static void drop_groups(struct steer *s, struct steer_whole *w)
{
	struct steer_whole before = *w;
	bool used[STEER_GROUP_SLOTS];

	steer_groups_used(w, used);
	for (uint32_t i = 0; i < STEER_GROUP_SLOTS; i++) {
		if (!used[i])
			w->group[i] = (struct steer_group){};
	}
	write_groups(s, &before, w);
}

static void flag_tables(const struct rack *rack, struct steer_whole *w)
{
	for (unsigned int i = 0; i < rack->count; i++)
		w->port[i].flags &= ~TOR_TABLE;
	for (size_t i = 0; i < w->count; i++)
		w->port[steer_source(rack, &w->entry[i].key)].flags |= TOR_TABLE;
}

/* The groups of both stand beside each other until no program can see the old ones. */
static int put(struct steer *s, const struct steer_whole *next)
{
	if (write_groups(s, &s->now, next))
		return failed(s, "write the groups");
	if (write_table(s, &s->now, next))
		return failed(s, "fill the steering table");
	return write_ports(s, &s->now, next) ? failed(s, "write the ports") : 0;
}

/* However far it came. A failure has been said: another one here, of what failed, tells no more. */
static void put_back(struct steer *s, const struct steer_whole *next,
		     const struct steer_needs *before)
{
	write_table(s, next, &s->now);
	write_ports(s, next, &s->now);
	take_out(s, next, &s->now);
	tor_wait_for_programs();
	write_groups(s, next, &s->now);
	steer_paths_settle(s->rack, s->state, before);
}

int steer_change(struct steer *s, struct steer_whole *next)
{
	struct steer_needs before = {}, after = {};
	int ret = -1;

	flag_tables(s->rack, next);
	if (needs_of(&before, s->rack, &s->now) || needs_of(&after, s->rack, next))
		goto out;
	ret = steer_paths_prepare(s->rack, s->state, &after) ?: put(s, next);
	if (ret) {
		put_back(s, next, &before);
		goto out;
	}
	take_out(s, &s->now, next);
	steer_whole_free(&s->now);
	s->now = *next;
	*next = (struct steer_whole){};
	tor_wait_for_programs();
	drop_groups(s, &s->now);
	steer_paths_settle(s->rack, s->state, &after);
out:
	steer_whole_free(next);
	free(before.port);
	free(after.port);
	return ret;
}
