// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rack fault: rules and partitions of a rack that is up, one table of verbs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/fault.h"

#define SENTENCE_MAX 512
#define TEXT_MAX 512

static int add(const struct rack *rack, char **argv)
{
	char error[SENTENCE_MAX], text[TEXT_MAX] = "";
	struct tor_rule rule;
	unsigned int id;

	if (fault_parse(&rule, rack, argv, error, sizeof(error)))
		return rack_usage("%s", error);
	if (fault_add(rack, &rule, &id))
		return 1;
	fault_text(&rule, rack, text, sizeof(text));
	printf("rule %u: %s\n", id, text);
	return 0;
}

static int rm(const struct rack *rack, char **argv)
{
	unsigned int id;
	int used = 0;

	if (!argv[0] || argv[1])
		return rack_usage("rm wants the number of one rule");
	if (sscanf(argv[0], "%4u%n", &id, &used) != 1 || argv[0][used] || argv[0][0] == '+')
		return rack_usage("'%.40s' is no number of a rule", argv[0]);
	return fault_remove(rack, id) ? 1 : 0;
}

static int clear(const struct rack *rack, char **argv)
{
	if (argv[0])
		return rack_usage("clear removes every rule, '%.40s' is too much", argv[0]);
	return fault_clear(rack) ? 1 : 0;
}

static int partition(const struct rack *rack, char **argv)
{
	bool one_way = argv[0] && !strcmp(argv[0], "--one-way");
	struct fault_matrix matrix;
	char error[SENTENCE_MAX];
	int ret;

	if (fault_matrix_parse(&matrix, rack, argv + one_way, one_way, error, sizeof(error)))
		return rack_usage("%s", error);
	ret = fault_partition(rack, &matrix) ? 1 : 0;
	free(matrix.row);
	return ret;
}

static int heal(const struct rack *rack, char **argv)
{
	if (argv[0])
		return rack_usage("heal ends the whole partition, '%.40s' is too much", argv[0]);
	return fault_heal(rack) ? 1 : 0;
}

static void print_cut(const struct rack *rack, const struct tor_cut *rows)
{
	for (unsigned int from = 0; from < rack->count; from++) {
		bool first = true;

		for (unsigned int to = 0; to < rack->count; to++) {
			if (!(rows[from].to[to / 64] >> (to % 64) & 1))
				continue;
			if (first)
				printf("%s does not reach", rack->nodes[from].name);
			printf("%c%s", first ? ' ' : ',', rack->nodes[to].name);
			first = false;
		}
		if (!first)
			putchar('\n');
	}
}

static void print_processes(const struct rack *rack, const struct fault_status *s, bool waits)
{
	char path[RACK_PATH_MAX];

	rack_path(path, rack->name, FAULT_LOG);
	if (s->log)
		printf("log: process %d writes %s", s->log, path);
	else
		printf("log: no process writes %s", path);
	if (s->state.log_lost)
		printf(", %" PRIu64 " verdicts were too many for it", (uint64_t)s->state.log_lost);
	if (s->state.numberless)
		printf(", %" PRIu64 " packets were not counted: too many links and kinds",
		       (uint64_t)s->state.numberless);
	putchar('\n');
	if (!waits)
		return;
	if (s->wire)
		printf("wire: process %d", s->wire);
	else
		printf("wire: no process is there, what has to wait is lost (another `fault add` "
		       "starts one)");
	printf(", got %" PRIu64 ", sent on %" PRIu64 ", lost %" PRIu64
	       ", late p50 %.1f us, p99 %.1f us, max %.1f us\n",
	       (uint64_t)(s->state.held - s->state.unheld), (uint64_t)s->state.released,
	       (uint64_t)s->state.unheld, s->late_us[0], s->late_us[1], s->late_us[2]);
}

static int ls(const struct rack *rack, char **argv)
{
	bool any = false, waits = false;
	struct fault_status s;
	char text[TEXT_MAX];

	if (argv[0])
		return rack_usage("ls lists everything, '%.40s' is too much", argv[0]);
	if (fault_status(rack, &s))
		return 1;
	for (unsigned int i = 0; i < TOR_RULES_MAX; i++) {
		const struct tor_rule *rule = &s.rule[i];

		if (!rule->serial)
			continue;
		if (!any)
			printf("%4s  %10s  %10s  %s\n", "rule", "seen", "taken", "what");
		any = true;
		waits |= fault_makes_wait(rule);
		text[0] = '\0';
		fault_text(rule, rack, text, sizeof(text));
		printf("%4u  %10" PRIu64 "  %10" PRIu64 "  %s\n", i + 1,
		       (uint64_t)s.counts[i + 1].seen, (uint64_t)s.counts[i + 1].taken, text);
	}
	if (s.state.partition) {
		printf("partition: %" PRIu64 " packets cut\n", (uint64_t)s.counts[0].taken);
		print_cut(rack, s.matrix.row);
	}
	if (any || s.state.partition)
		print_processes(rack, &s, waits);
	else
		printf("no rule and no partition\n");
	free(s.matrix.row);
	return 0;
}

static const struct rack_verb verbs[] = {
	{"add", add},	{"ls", ls}, {"rm", rm}, {"clear", clear}, {"partition", partition},
	{"heal", heal}, {},
};

int cmd_fault(int argc, char **argv)
{
	return rack_do(verbs, argc, argv);
}
