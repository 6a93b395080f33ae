// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack steer RACK path: a node or a flow gets another path, with a guard over it or without. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/fault.h"
#include "topo/interrupt.h"
#include "topo/steer.h"
#include "topo/steer_guard.h"
#include "topo/steer_verbs.h"

#define GUARD_MIN_NS 200000000ull
#define GUARD_MAX_NS 3600000000000ull

/* What a request changes. Compared as bytes: all of it is set, or 0. */
struct setting {
	struct steer_port_path path; /* of a node */
	uint32_t table;		     /* ... that has rules */
	uint32_t has_rule;	     /* a flow */
	struct steer_rule rule;
};

/* One request: a node's path, or a flow's. */
struct switching {
	const struct rack *rack;
	const struct rack_node *node; /* whose path, or that sends the flow */
	bool is_flow;
	struct steer_key key; /* of the flow */
	char name[STEER_FLOW_TEXT_MAX];
	unsigned int path;
	uint64_t guard_ns;	    /* 0: none */
	unsigned int share;	    /* of 65536; 0: all at once */
	unsigned int node_path;	    /* of the node, before */
	unsigned int rules, follow; /* of the node, when it has any, and how many take its path */
	struct setting was, now;    /* before, and as this command left it */
	struct guard_sample before;
};

/* ---- from words ---- */

/* All of them are no share: that goes at once. */
static int share_parse(unsigned int *share, const char *text, char *error, size_t size)
{
	double percent;
	int used = 0;

	if (sscanf(text, "%lf%%%n", &percent, &used) != 1 || !used || text[used] ||
	    !(percent > 0) || percent > 100) {
		snprintf(error, size, "'%.40s' is no share, as 10%% is", text);
		return -1;
	}
	*share = percent * 65536 / 100;
	*share = percent == 100 ? 0 : *share ?: 1;
	return 0;
}

static int options_parse(struct switching *w, char **argv, char *error, size_t size)
{
	bool shared = false;

	for (; argv[0]; argv += 2) {
		bool guard = !strcmp(argv[0], "--guard");

		if (!guard && strcmp(argv[0], "--share")) {
			snprintf(error, size, "'%.40s' is too much", argv[0]);
			return -1;
		}
		if (!argv[1]) {
			snprintf(error, size, "%s wants a value", argv[0]);
			return -1;
		}
		shared |= !guard;
		if (!guard && share_parse(&w->share, argv[1], error, size))
			return -1;
		if (guard && fault_time_parse(&w->guard_ns, argv[1], GUARD_MIN_NS, GUARD_MAX_NS)) {
			snprintf(error, size, "'%.40s' is no time for a guard, 200ms to 3600s",
				 argv[1]);
			return -1;
		}
	}
	if (shared && w->is_flow) {
		snprintf(error, size, "a share is of a node's flows, and this is one flow");
		return -1;
	}
	return 0;
}

static int switching_parse(struct switching *w, char **argv, char *error, size_t size)
{
	char *flow[] = {argv[0], NULL};
	struct steer_rule rule;

	if (!argv[0] || !argv[1]) {
		snprintf(error, size, "path wants a node or a flow, and a path");
		return -1;
	}
	w->node = rack_node(w->rack, argv[0]);
	w->is_flow = !w->node && strchr(argv[0], ':');
	if (!w->node && !w->is_flow) {
		snprintf(error, size, "'%.40s' names no port of %s: nodes are, e.g. %s", argv[0],
			 w->rack->name, w->rack->nodes[0].name);
		return -1;
	}
	if (w->is_flow) {
		if (steer_rule_parse(&rule, w->rack, flow, error, size))
			return -1;
		w->key = rule.key;
		w->node = &w->rack->nodes[steer_source(w->rack, &w->key)];
		steer_flow_text(&w->key, w->rack, w->name, sizeof(w->name));
	} else {
		snprintf(w->name, sizeof(w->name), "%s", w->node->name);
	}
	return steer_path_parse(&w->path, argv[1], error, size)
		       ?: options_parse(w, argv + 2, error, size);
}

/* ---- settings ---- */

static void setting_read(struct setting *now, const struct switching *w, struct steer *s)
{
	memset(now, 0, sizeof(*now));
	if (w->is_flow) {
		now->has_rule = steer_find(s, &w->key, &now->rule);
	} else {
		steer_port_path(s, w->node->index, &now->path);
		now->table = steer_has_table(s, w->node->index);
	}
}

/* `share` of 65536 flows on the path that is asked for; 0: all. A rule keeps its ports. */
static struct setting wanted(const struct switching *w, unsigned int share)
{
	struct setting to = w->was;

	if (w->is_flow) {
		to.has_rule = true;
		to.rule.key = w->key;
		to.rule.path = w->path + 1;
	} else if (share) {
		to.path = (struct steer_port_path){w->was.path.path, w->path, share};
	} else {
		to.path = (struct steer_port_path){.path = w->path};
	}
	return to;
}

static int setting_put(struct switching *w, struct steer *s, const struct setting *to)
{
	bool table[RACK_NODES_MAX];
	int ret;

	steer_tables(s, w->rack, table);
	if (!w->is_flow)
		ret = steer_set_port_path(s, w->node->index, &to->path);
	else if (to->has_rule)
		ret = steer_add(s, &to->rule, 1);
	else
		ret = steer_remove(s, &w->key);
	if (ret)
		return -1;
	setting_read(&w->now, w, s);
	steer_say_tables(s, w->rack, table);
	return 0;
}

/* Of a node that has rules: does its path concern any? */
static int check_rules(struct switching *w, struct steer *s)
{
	struct steer_rule *rules;
	size_t count;

	if (!w->was.table)
		return 0;
	if (steer_list(s, &rules, &count))
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (rules[i].key.saddr == w->node->addr) {
			w->rules++;
			w->follow +=
				!rules[i].path && (w->path != TOR_PATH_BRIDGE || !rules[i].count);
		}
	}
	free(rules);
	if (w->share)
		return rack_say("%s has rules, and what is in none takes the bridge: a share is of "
				"a node that has none; nothing was changed",
				w->name);
	if (!w->follow)
		return rack_say("%s has rules, none of which would take the path %s from it, and "
				"what is in none takes the bridge; nothing was changed",
				w->name, steer_path_name(w->path));
	return 0;
}

static void say_rules(const struct switching *w)
{
	if (w->rules)
		printf("%s has %u rules, %u of which take its path; what is in none takes the "
		       "bridge\n",
		       w->name, w->rules, w->follow);
}

static int begin(struct switching *w, struct steer *s)
{
	struct steer_port_path node;
	struct setting to;

	steer_port_path(s, w->node->index, &node);
	w->node_path = node.path;
	setting_read(&w->was, w, s);
	w->now = w->was;
	if (!w->is_flow)
		return check_rules(w, s);
	to = wanted(w, 0);
	if (to.rule.count && w->path == TOR_PATH_BRIDGE)
		return rack_say("the flow's rule names a port, and the bridge sends a frame "
				"where its MAC says: remove the rule first");
	return steer_may_add(s, &to.rule, 1);
}

/* ---- with a guard: the lock is held only while it looks at, or changes, something ---- */

/* With the lock, when it is still as this command left it; 1: it is not. */
static int again(struct switching *w, struct steer **s)
{
	struct setting now;

	if (steer_open(s, w->rack))
		return -1;
	setting_read(&now, w, *s);
	if (!memcmp(&now, &w->now, sizeof(now)))
		return 0;
	steer_close(*s);
	rack_say("another command changed %s meanwhile: it is left as that one made it", w->name);
	return 1;
}

static int put_again(struct switching *w, const struct setting *to)
{
	struct steer *s;
	int ret = again(w, &s);

	if (ret)
		return ret;
	ret = setting_put(w, s, to);
	steer_close(s);
	return ret;
}

static const char *path_before(const struct switching *w)
{
	if (!w->is_flow)
		return steer_path_name(w->was.path.path);
	return steer_path_name(w->was.rule.path ? w->was.rule.path - 1 : w->node_path);
}

static int go_back(struct switching *w, const char *why)
{
	int ret;

	if (!memcmp(&w->now, &w->was, sizeof(w->was)))
		return -1;
	ret = put_again(w, &w->was);
	if (ret < 0)
		rack_say("%s cannot go back: %s", w->name, why);
	if (ret)
		return -1;
	if (w->is_flow && !w->was.has_rule)
		printf("%s has no rule again: %s\n", w->name, why);
	else
		printf("%s is back on %s: %s\n", w->name, path_before(w), why);
	return -1;
}

static int measure(const struct switching *w, struct guard_sample *sample, const char *when,
		   int interrupt)
{
	const struct steer_state *state;
	int ret = steer_counts_open(&state, w->rack);

	if (ret)
		return -1;
	ret = guard_measure(sample, w->rack, w->node, state, w->guard_ns, interrupt);
	steer_counts_close(state);
	if (!ret)
		guard_print(when, sample);
	return ret;
}

/* To `share` of 65536 flows, 0: all; -1: it is as it was, or another's. */
static int guarded(struct switching *w, unsigned int share, int interrupt)
{
	const char *name = steer_path_name(w->path);
	struct setting to = wanted(w, share);
	char why[STEER_SENTENCE_MAX], when[64];
	struct guard_sample after;
	int ret;

	ret = put_again(w, &to);
	if (ret > 0)
		return -1;
	if (ret) {
		snprintf(why, sizeof(why), "it cannot be put on %s", name);
		return go_back(w, why);
	}
	if (share)
		snprintf(when, sizeof(when), "%.1f %% on %s", share * 100.0 / 65536, name);
	else
		snprintf(when, sizeof(when), "on %s", name);
	ret = measure(w, &after, when, interrupt);
	if (!ret && !guard_worse(&w->before, &after, why, sizeof(why)))
		return 0;
	if (ret)
		snprintf(why, sizeof(why), "it was %s", ret > 0 ? "interrupted" : "not measured");
	return go_back(w, why);
}

static int with_guard(struct switching *w)
{
	int interrupt = interrupt_open(), ret;
	struct steer *s;

	if (interrupt < 0)
		return -1;
	/* Who stops listening to what is said has not asked for the worse path. */
	signal(SIGPIPE, SIG_IGN);
	printf("measuring all that %s sends%s, for %g s each\n", w->node->name,
	       w->is_flow ? ", the flow and what is beside it" : "", w->guard_ns / 1e9);
	say_rules(w);
	fflush(stdout);
	ret = measure(w, &w->before, "before", interrupt);
	if (ret > 0)
		printf("%s was not changed: it was interrupted\n", w->name);
	if (!ret && !w->before.frames)
		printf("%s sends nothing: there is nothing to compare with\n", w->node->name);
	if (!ret && w->share)
		ret = guarded(w, w->share, interrupt);
	if (!ret)
		ret = guarded(w, 0, interrupt);
	if (!ret)
		ret = again(w, &s);
	if (!ret) {
		steer_close(s);
		printf("%s stays on %s\n", w->name, steer_path_name(w->path));
	}
	close(interrupt);
	return ret;
}

int steer_verb_path(const struct rack *rack, char **argv)
{
	struct switching w = {.rack = rack};
	char error[STEER_SENTENCE_MAX];
	struct setting to;
	struct steer *s;
	int ret;

	if (switching_parse(&w, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	if (steer_open(&s, rack))
		return 1;
	ret = begin(&w, s);
	if (!ret && !w.guard_ns) {
		to = wanted(&w, w.share);
		ret = setting_put(&w, s, &to);
		if (!ret)
			say_rules(&w);
	}
	steer_close(s);
	if (!ret && w.guard_ns)
		ret = with_guard(&w);
	return ret ? 1 : 0;
}
