// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack steer: paths and flows of a rack that is up, one table of verbs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/steer.h"
#include "topo/steer_verbs.h"

void steer_tables(struct steer *s, const struct rack *rack, bool table[RACK_NODES_MAX])
{
	for (unsigned int i = 0; i < rack->count; i++)
		table[i] = steer_has_table(s, i);
}

void steer_say_tables(struct steer *s, const struct rack *rack, const bool before[RACK_NODES_MAX])
{
	bool any = false;

	for (unsigned int i = 0; i < rack->count; i++) {
		if (before[i] || !steer_has_table(s, i))
			continue;
		printf("%s%s", any ? " " : "now steered by rules: ", rack->nodes[i].name);
		any = true;
	}
	if (any)
		printf("; what is in none of them takes the bridge\n");
}

static int change(const struct rack *rack, const struct steer_rule *rules, size_t count)
{
	bool table[RACK_NODES_MAX];
	struct steer *s;
	int ret;

	if (steer_open(&s, rack))
		return 1;
	steer_tables(s, rack, table);
	ret = steer_add(s, rules, count);
	if (!ret)
		steer_say_tables(s, rack, table);
	steer_close(s);
	return ret ? 1 : 0;
}

static int add(const struct rack *rack, char **argv)
{
	char error[STEER_SENTENCE_MAX];
	struct steer_rule rule;

	if (steer_rule_parse(&rule, rack, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	return change(rack, &rule, 1);
}

static int load(const struct rack *rack, char **argv)
{
	char error[STEER_SENTENCE_MAX];
	struct steer_rule *rules;
	size_t count;
	int ret;

	if (!argv[0] || argv[1])
		return rack_usage("load wants one FILE");
	ret = steer_file_parse(&rules, &count, rack, argv[0], error, sizeof(error));
	if (ret) {
		ret > 0 ? rack_cannot_be("%s", error) : rack_say("%s", error);
		return 1;
	}
	ret = change(rack, rules, count);
	free(rules);
	if (!ret)
		printf("%zu rules\n", count);
	return ret;
}

static int rm(const struct rack *rack, char **argv)
{
	char error[STEER_SENTENCE_MAX];
	struct steer_rule rule;
	struct steer *s;
	bool all;
	int ret;

	if (!argv[0] || argv[1])
		return rack_usage("rm wants one FLOW, or all");
	all = !strcmp(argv[0], "all");
	if (!all && steer_rule_parse(&rule, rack, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	if (steer_open(&s, rack))
		return 1;
	ret = all ? steer_remove_all(s) : steer_remove(s, &rule.key);
	steer_close(s);
	return ret ? 1 : 0;
}

static const struct rack_verb verbs[] = {
	{"path", steer_verb_path}, {"add", add}, {"load", load}, {"rm", rm},
	{"ls", steer_verb_ls},	   {},
};

int cmd_steer(int argc, char **argv)
{
	return rack_do(verbs, argc, argv);
}
