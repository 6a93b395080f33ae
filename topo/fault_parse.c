// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rules and groups from words. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/fault.h"
#include "topo/wire.h"

struct words {
	const struct rack *rack;
	char **at; /* the next one */
	char *error;
	size_t size;
};

static int __attribute__((format(printf, 2, 3))) refuse(struct words *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(w->error, w->size, fmt, args);
	va_end(args);
	return -1;
}

#define X(id, name, type) name ", "
static const char no_kind[] =
	"there is no kind '%.40s', only " WIRE_KINDS(X) "fragment, arp, other and *";
#undef X

/* ---- values ---- */

struct unit {
	const char *name;
	double factor;
};

static const struct unit times[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {}};
static const struct unit rates[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {}};

/* A number that begins with a digit, with a unit, rounded to the smallest of them. */
static int read_quantity(const char *text, const struct unit *units, double max, __u64 *value)
{
	char *end;
	double number;

	if (!text || text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
		return -1;
	number = strtod(text, &end);
	for (; units->name; units++) {
		if (strcmp(units->name, end))
			continue;
		number = nearbyint(number * units->factor);
		if (!(number <= max))
			return -1;
		*value = number;
		return 0;
	}
	return -1;
}

int fault_time_parse(uint64_t *ns, const char *text, uint64_t least, uint64_t most)
{
	__u64 value;

	if (read_quantity(text, times, most, &value) || value < least)
		return -1;
	*ns = value;
	return 0;
}

static int read_number(const char *text, uint64_t max, __u64 *value)
{
	unsigned long long number;
	char *end;

	if (!text || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end || errno || number > max)
		return -1;
	*value = number;
	return 0;
}

static int read_time(struct words *w, const char *what, uint64_t max_ns, __u64 *value)
{
	const char *text = *w->at;

	if (read_quantity(text, times, max_ns, value))
		return refuse(w, "%s '%.40s' is no time up to %.0f s, such as 200us", what,
			      text ?: "", max_ns / 1e9);
	w->at++;
	return 0;
}

/* ---- options ---- */

static int read_node(struct words *w, const char *option, uint16_t *index)
{
	const char *name = *w->at;
	struct rack_node *node;

	if (!name)
		return refuse(w, "%s wants a node", option);
	w->at++;
	if (!strcmp(name, "*")) {
		*index = TOR_ANY;
		return 0;
	}
	node = rack_node(w->rack, name);
	if (!node)
		return refuse(w, "%s has no node '%.40s' (`rack ls %s` lists them)", w->rack->name,
			      name, w->rack->name);
	*index = node->index;
	return 0;
}

static int read_kind(struct words *w, uint16_t *kind)
{
	const char *name = *w->at;

	if (!name)
		return refuse(w, "--kind wants a kind");
	w->at++;
	if (!strcmp(name, "*")) {
		*kind = TOR_ANY;
		return 0;
	}
	for (unsigned int i = 0; i < TOR_KIND_COUNT; i++) {
		if (!strcmp(name, fault_kind_name(i))) {
			*kind = i;
			return 0;
		}
	}
	return refuse(w, no_kind, name);
}

static int read_which(struct words *w, struct tor_rule *rule, const char *option,
		      enum tor_which which)
{
	const char *text = *w->at;
	double p;
	char *end;

	if (rule->which != TOR_ALL)
		return refuse(w, "only one of --every, --nth and --probability");
	if (!text)
		return refuse(w, "%s wants a number", option);
	w->at++;
	rule->which = which;
	if (which != TOR_PROBABILITY) {
		if (read_number(text, UINT64_MAX, &rule->k) || !rule->k)
			return refuse(w, "%s '%.40s' is no number from 1", option, text);
		return 0;
	}
	p = strtod(text, &end);
	if (end == text || *end || !(p > 0 && p <= 1))
		return refuse(w, "--probability '%.40s' is not above 0 and at most 1", text);
	/* A hash is below 2^64; what lies above the largest that fits has probability 1. */
	if (p == 1)
		rule->which = TOR_ALL;
	else
		rule->k = ldexp(p, 64);
	if (!rule->k && p != 1)
		return refuse(w, "--probability '%.40s' is never", text);
	return 0;
}

static int read_between(struct words *w, struct tor_rule *rule)
{
	const uint64_t max_ns = 1000000000ull * 1000000;

	if (read_time(w, "--between", max_ns, &rule->begin_ns) ||
	    read_time(w, "--between", max_ns, &rule->end_ns))
		return -1;
	if (rule->end_ns <= rule->begin_ns)
		return refuse(w, "--between: the second time has to be later than the first");
	return 0;
}

/* 0 and *was false: the next word is no option. */
static int read_option(struct words *w, struct tor_rule *rule, bool *was)
{
	const char *option = *w->at;

	*was = option && !strncmp(option, "--", 2);
	if (!*was)
		return 0;
	w->at++;
	if (!strcmp(option, "--from"))
		return read_node(w, option, &rule->from);
	if (!strcmp(option, "--to"))
		return read_node(w, option, &rule->to);
	if (!strcmp(option, "--kind"))
		return read_kind(w, &rule->kind);
	if (!strcmp(option, "--every"))
		return read_which(w, rule, option, TOR_EVERY);
	if (!strcmp(option, "--nth"))
		return read_which(w, rule, option, TOR_NTH);
	if (!strcmp(option, "--probability"))
		return read_which(w, rule, option, TOR_PROBABILITY);
	if (!strcmp(option, "--between"))
		return read_between(w, rule);
	if (!strcmp(option, "--seed")) {
		if (read_number(*w->at, UINT64_MAX, &rule->seed))
			return refuse(w, "--seed '%.40s' is no number from 0", *w->at ?: "");
		w->at++;
		return 0;
	}
	return refuse(w, "there is no option %.40s", option);
}

/* ---- actions ---- */

static int read_delay(struct words *w, struct tor_rule *rule)
{
	if (read_time(w, "delay", FAULT_DELAY_MAX_NS, &rule->delay_ns))
		return -1;
	if (!*w->at || strcmp(*w->at, "jitter"))
		return 0;
	w->at++;
	if (read_time(w, "jitter", FAULT_DELAY_MAX_NS, &rule->jitter_ns))
		return -1;
	if (rule->jitter_ns > rule->delay_ns)
		return refuse(w, "jitter is larger than the delay: packets cannot leave early");
	return 0;
}

static int read_action(struct words *w, struct tor_rule *rule)
{
	const char *name = *w->at;
	unsigned int action;

	if (!name)
		return refuse(w, "what is to be done: drop, duplicate, corrupt, delay D [jitter "
				 "J], reorder K or rate R?");
	for (action = 0; action <= TOR_ACT_RATE; action++) {
		if (!strcmp(name, fault_action_name(action)))
			break;
	}
	w->at++;
	rule->action = action;
	switch (action) {
	case TOR_ACT_DELAY:
		return read_delay(w, rule);
	case TOR_ACT_REORDER:
		if (read_number(*w->at, FAULT_REORDER_MAX, &rule->amount) || !rule->amount)
			return refuse(w, "reorder '%.40s' is not 1 to %d packets", *w->at ?: "",
				      FAULT_REORDER_MAX);
		w->at++;
		return 0;
	case TOR_ACT_RATE:
		if (read_quantity(*w->at, rates, 1e12, &rule->amount) ||
		    rule->amount < FAULT_RATE_MIN)
			return refuse(w, "rate '%.40s' is not 8kbit to 1000gbit, such as 10mbit",
				      *w->at ?: "");
		w->at++;
		return 0;
	case TOR_ACT_CORRUPT:
		if (rule->kind == TOR_KIND_ARP)
			return refuse(w, "ARP has no checksum: what is corrupt would be believed");
		return 0;
	case TOR_ACT_DROP:
	case TOR_ACT_DUPLICATE:
		return 0;
	default:
		return refuse(w, "there is no action '%.40s'", name);
	}
}

int fault_parse(struct tor_rule *out, const struct rack *rack, char **argv, char *error,
		size_t size)
{
	struct tor_rule rule = {
		.from = TOR_ANY, .to = TOR_ANY, .kind = TOR_ANY, .end_ns = UINT64_MAX};
	struct words w = {rack, argv, error, size};
	bool more;

	do {
		if (read_option(&w, &rule, &more))
			return -1;
	} while (more);
	if (read_action(&w, &rule))
		return -1;
	if (*w.at)
		return refuse(&w,
			      "'%.40s' is too much: options come before the action, one rule "
			      "has one action",
			      *w.at);
	if (rule.from == rule.to && rule.from != TOR_ANY)
		return refuse(&w, "--from and --to are the same node: it sends nothing to itself");
	if (fault_makes_wait(&rule) && rack->mtu > WIRE_MTU_MAX)
		return refuse(&w,
			      "links of %s have an MTU of %u: only packets up to %u bytes can be "
			      "made to wait",
			      rack->name, rack->mtu, WIRE_MTU_MAX);
	*out = rule;
	return 0;
}

bool fault_makes_wait(const struct tor_rule *rule)
{
	return rule->action == TOR_ACT_DELAY || rule->action == TOR_ACT_REORDER ||
	       rule->action == TOR_ACT_RATE;
}

/* ---- partitions ---- */

static int read_groups(struct words *w, int *group, int *groups)
{
	char *list, *name, *rest;
	bool empty = true;

	*groups = 1;
	for (; *w->at; w->at++) {
		if (!strcmp(*w->at, "/")) {
			if (empty)
				break;
			(*groups)++;
			empty = true;
			continue;
		}
		list = strdup(*w->at);
		if (!list)
			return refuse(w, "no memory");
		for (name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
			struct rack_node *node = rack_node(w->rack, name);

			if (!node)
				refuse(w, "%s has no node '%.40s' (`rack ls %s` lists them)",
				       w->rack->name, name, w->rack->name);
			else if (group[node->index])
				refuse(w, "%s stands in the groups twice", node->name);
			if (!node || group[node->index]) {
				free(list);
				return -1;
			}
			group[node->index] = *groups;
			empty = false;
		}
		free(list);
	}
	if (empty || *groups < 2)
		return refuse(w, "want two groups of nodes or more, such as r0,c0 / r1,r2");
	return 0;
}

int fault_matrix_parse(struct fault_matrix *m, const struct rack *rack, char **argv, bool one_way,
		       char *error, size_t size)
{
	struct words w = {rack, argv, error, size};
	int group[RACK_NODES_MAX] = {}, groups;

	if (read_groups(&w, group, &groups))
		return -1;
	m->row = calloc(rack->count, sizeof(*m->row));
	if (!m->row)
		return refuse(&w, "no memory");
	for (unsigned int from = 0; from < rack->count; from++) {
		for (unsigned int to = 0; to < rack->count; to++) {
			if (group[from] && group[to] &&
			    (one_way ? group[from] < group[to] : group[from] != group[to]))
				m->row[from].to[to / 64] |= 1ull << (to % 64);
		}
	}
	return 0;
}
