/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rack run: the same load with different offloads, one table. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/offloads.h"
#include "topo/child.h"
#include "topo/experiment_run.h"
#include "topo/interrupt.h"
#include "topo/progress.h"
#include "topo/run.h"
#include "topo/table.h"
#include "topo/yaml.h"

#define RUNS_MAX 16
#define ENOUGH 0.9 /* of what the load implies, or the offload was not at work */

enum reason_program { any, ack, quorum, tc };
enum reason_verdict { pass, tx, drop, note };

static const struct {
	const char *name, *text;
	enum reason_program program;
	enum reason_verdict verdict;
} reasons[ELEC_R_COUNT] = {
#define X(id, name, program, verdict, text) [ELEC_R_##id] = {name, text, program, verdict},
	ELEC_REASONS(X)
#undef X
};

struct settings {
	const char *file;
	const char *ops, *clients, *value_bytes;
	const char *load_option;       /* the last one given that is not for experiments */
	const char *experiment_option; /* ... that is for experiments only */
	struct experiment_options experiment;
	uint64_t seed;
	bool is_experiment, has_xdp;
	enum rack_xdp xdp;
	unsigned int runs;
	struct {
		const char *name;
		unsigned int set;
	} offload[RUNS_MAX];
};

/* ---- the command line ---- */

static bool is_number(const char *text, unsigned long long min, unsigned long long max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && value >= min && value <= max;
}

static int add_offload(struct settings *s, const char *name)
{
	if (s->runs == RUNS_MAX)
		return rack_usage("more than %d times --offload", RUNS_MAX);
	if (!elec_offload_parse(name, &s->offload[s->runs].set))
		return rack_usage("--offload '%s': want " ELEC_OFFLOAD_NAMES, name);
	s->offload[s->runs++].name = name;
	return 0;
}

/* 0: go on, else the exit status. */
static int parse(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"offload", required_argument, NULL, 'o'},
		{"ops", required_argument, NULL, 'n'},
		{"clients", required_argument, NULL, 'c'},
		{"value-bytes", required_argument, NULL, 'v'},
		{"xdp", required_argument, NULL, 'x'},
		{"out", required_argument, NULL, 'O'},
		{"seed", required_argument, NULL, 's'},
		{"force", no_argument, NULL, 'f'},
		{},
	};
	enum yaml_kind kind;
	int option, ret = 0;

	opterr = optind = 0;
	while (!ret && (option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			ret = add_offload(s, optarg);
			break;
		case 'n':
			s->load_option = "--ops";
			s->ops = optarg;
			if (!is_number(optarg, 1, INT64_MAX))
				ret = rack_usage("--ops '%s': want a number from 1", optarg);
			break;
		case 'c':
			s->load_option = "--clients";
			s->clients = optarg;
			if (!is_number(optarg, 1, 4096))
				ret = rack_usage("--clients '%s': want 1 to 4096", optarg);
			break;
		case 'v':
			s->load_option = "--value-bytes";
			s->value_bytes = optarg;
			if (!is_number(optarg, 1, 8192))
				ret = rack_usage("--value-bytes '%s': want 1 to 8192", optarg);
			break;
		case 'x':
			s->load_option = "--xdp";
			s->has_xdp = true;
			if (rack_xdp_parse(&s->xdp, optarg))
				ret = rack_usage("--xdp '%s': want native or generic", optarg);
			break;
		case 'O':
			s->experiment_option = "--out";
			s->experiment.folder = optarg;
			break;
		case 's':
			s->experiment_option = "--seed";
			if (!is_number(optarg, 0, INT64_MAX))
				ret = rack_usage("--seed '%s': want a number from 0", optarg);
			s->seed = strtoull(optarg, NULL, 10);
			s->experiment.wish.seed = &s->seed;
			break;
		case 'f':
			s->experiment_option = "--force";
			s->experiment.force = true;
			break;
		case ':':
			return rack_usage("%s wants a value", argv[optind - 1]);
		default:
			return rack_usage("no option '%s'", argv[optind - 1]);
		}
	}
	if (ret)
		return ret;
	if (optind + 1 != argc)
		return rack_usage(optind < argc ? "one RACK or FILE at a time"
						: "which RACK or FILE?");
	s->file = argv[optind];
	kind = yaml_file_key(s->file, EXPERIMENT_KEY);
	s->is_experiment = kind == YAML_MAPPING || kind == YAML_OTHER ||
			   (kind == YAML_BROKEN && yaml_file_line(s->file, EXPERIMENT_KEY, 1));
	if (s->is_experiment && s->load_option)
		return rack_usage("%s: what an experiment does stands in its file", s->load_option);
	/* what is wrong with the file is told when it is loaded */
	if (!s->is_experiment && s->experiment_option &&
	    (kind == YAML_NOTHING || rack_is_name(s->file)))
		return rack_usage("%s is for experiments, and %s is none", s->experiment_option,
				  s->file);
	if (!s->runs && !s->is_experiment)
		ret = add_offload(s, "none") ?: add_offload(s, "all");
	return ret;
}

/* ---- the tables ---- */

static uint64_t absorbed(const struct run_result *r)
{
	return r->counts[ELEC_R_ABSORBED] + r->counts[ELEC_R_OK_AGAIN];
}

static int print_runs(const struct settings *s, const struct run_result *results)
{
	static const char *const headings[] = {
		"",	    "",	      "p50",   "p99",	 "max",	     "CPU us",
		"",	    "acked",  "acked", "clones", "acks", /* second line: */
		"offload",  "ops/s",  "us",    "us",	 "us",	     "per op",
		"Prepares", "in XDP", "again", "in TC",	 "absorbed",
	};
	struct table t = {.columns = 11, .left = 1};

	for (size_t i = 0; i < sizeof(headings) / sizeof(*headings); i++)
		table_cell(&t, "%s", headings[i]);
	for (unsigned int i = 0; i < s->runs; i++) {
		const struct run_result *r = &results[i];

		table_cell(&t, "%s", s->offload[i].name);
		table_cell(&t, "%.0f", r->ops_per_s);
		table_cell(&t, "%.1f", r->latency_us.p50);
		table_cell(&t, "%.1f", r->latency_us.p99);
		table_cell(&t, "%.1f", r->latency_us.max);
		table_cell(&t, "%.1f", r->cpu_us_per_op);
		table_cell(&t, "%" PRIu64, r->prepares);
		table_cell(&t, "%" PRIu64, r->counts[ELEC_R_ACK]);
		table_cell(&t, "%" PRIu64, r->counts[ELEC_R_ACK_AGAIN]);
		table_cell(&t, "%" PRIu64, r->counts[ELEC_R_TC_CLONE]);
		table_cell(&t, "%" PRIu64, absorbed(r));
	}
	return table_print(&t, stdout);
}

/* What XDP passed to user space and why: each reason that occurred in any run. */
static int print_reasons(const struct settings *s, const struct run_result *results)
{
	struct table t = {.columns = s->runs + 2, .left = 1 | 1u << (s->runs + 1)};

	for (unsigned int id = 0; id < ELEC_R_COUNT; id++) {
		uint64_t sum = 0;

		for (unsigned int i = 0; i < s->runs; i++)
			sum += results[i].counts[id];
		if (!sum || reasons[id].verdict != pass || reasons[id].program == tc)
			continue;
		if (!t.cells) {
			table_cell(&t, "passed to user space");
			for (unsigned int i = 0; i < s->runs; i++)
				table_cell(&t, "%s", s->offload[i].name);
			table_cell(&t, "reason");
		}
		table_cell(&t, "%s", reasons[id].name);
		for (unsigned int i = 0; i < s->runs; i++)
			table_cell(&t, "%" PRIu64, results[i].counts[id]);
		table_cell(&t, "%s", reasons[id].text);
	}
	if (t.cells)
		putchar('\n');
	return table_print(&t, stdout);
}

/* ---- the verdict ---- */

static bool falls_short(const char *offload, const char *what, uint64_t count, uint64_t implied)
{
	if ((double)count >= ENOUGH * (double)implied)
		return false;
	rack_say("%s: %" PRIu64 " %s, but the load implies %" PRIu64
		 ": the offload was not at work (see the reasons above)",
		 offload, count, what, implied);
	return true;
}

/* Per Prepare one ack and one clone for each follower, and all acks but one absorbed. */
static bool is_short(const struct settings *s, unsigned int run, const struct run_result *r,
		     const struct rack *rack)
{
	const char *name = s->offload[run].name;
	unsigned int set = s->offload[run].set;
	uint64_t followers = rack->replicas - 1;
	bool bad = false;

	if (!r->prepares) {
		rack_say("%s: no replica sent a Prepare: there is nothing to judge by", name);
		return true;
	}
	if (set & ELEC_OFFLOAD_BROADCAST)
		bad |= falls_short(name, "clones in TC", r->counts[ELEC_R_TC_CLONE],
				   r->prepares * followers);
	if (set & ELEC_OFFLOAD_ACK)
		bad |= falls_short(name, "Prepares acked in XDP", r->counts[ELEC_R_ACK],
				   r->prepares * followers);
	/* an ack out of user space may answer several Prepares: nobody knows how many to expect */
	if (set & ELEC_OFFLOAD_QUORUM && set & ELEC_OFFLOAD_ACK && followers)
		bad |= falls_short(name, "acks absorbed by XDP", absorbed(r),
				   r->prepares * (followers - 1));
	return bad;
}

/* ---- the command ---- */

static int check_rack(const struct rack *rack)
{
	if (!rack->clients)
		return rack_say("rack %s has no client node: add `clients: 1` to its file",
				rack->name);
	for (unsigned int i = 0; i < rack->count; i++) {
		if (!rack->nodes[i].here)
			return rack_say(
				"%s is on another host: start replicas there by `rack exec`",
				rack->nodes[i].name);
		if (rack->nodes[i].command)
			return rack_say("%s has a command of its own, and run starts ours only",
					rack->nodes[i].name);
	}
	return 0;
}

static int run_all(const struct settings *s, const struct rack *rack, int interrupt)
{
	struct run_result *results = calloc(s->runs, sizeof(*results));
	char buf[RACK_PATH_MAX];
	struct run_options o = {.rack = rack,
				.programs = child_programs(buf),
				.ops = s->ops,
				.clients = s->clients,
				.value_bytes = s->value_bytes,
				.interrupt = interrupt};
	bool bad = false;
	int ret = -1;

	if (!results)
		rack_say("no memory");
	if (!results || !o.programs || check_rack(rack))
		goto out;
	for (unsigned int i = 0; i < s->runs; i++) {
		o.offload = s->offload[i].name;
		o.offloads = s->offload[i].set;
		if (run_load(&o, &results[i]))
			goto out;
	}
	printf("%s: %u replicas, %s XDP, %s operations by %s clients, half SET half GET, "
	       "%s-byte values\n\n",
	       rack->name, rack->replicas, rack_xdp_name(rack->xdp), s->ops, s->clients,
	       s->value_bytes);
	if (print_runs(s, results) || print_reasons(s, results)) {
		rack_say("cannot write the table: %s", strerror(errno));
		goto out;
	}
	for (unsigned int i = 0; i < s->runs; i++)
		bad |= is_short(s, i, &results[i], rack);
	ret = bad ? -1 : 0;
out:
	free(results);
	return ret;
}

static int run_experiment(struct settings *s)
{
	const char *offload[RUNS_MAX];

	for (unsigned int i = 0; i < s->runs; i++)
		offload[i] = s->offload[i].name;
	s->experiment.wish.offload = offload;
	s->experiment.wish.offloads = s->runs;
	return experiment_run(s->file, &s->experiment);
}

int cmd_run(int argc, char **argv)
{
	struct settings s = {.ops = "20000", .clients = "4", .value_bytes = "64"};
	struct rack *described = NULL, *rack = NULL;
	bool made = false;
	int ret, interrupt;

	ret = parse(&s, argc, argv);
	if (ret)
		return ret;
	if (rack_privileged())
		return EXIT_FAILURE;
	if (s.is_experiment)
		return run_experiment(&s);
	if (rack_is_name(s.file) && rack_state(s.file) == RACK_UP)
		ret = rack_find(&described, s.file);
	else
		ret = rack_load(&described, s.file) ? 2 : 0;
	if (ret)
		return ret == 2 ? 2 : EXIT_FAILURE;
	if (s.has_xdp)
		rack_set_xdp(described, s.xdp);
	/* From here on a signal ends the run, and what was made goes away again */
	interrupt = interrupt_open();
	ret = interrupt < 0 ? -1 : rack_up(described, &made);
	/* a rack that was up already is used as it is, and stays */
	if (!ret)
		ret = rack_find(&rack, described->name);
	if (!ret)
		ret = run_all(&s, rack, interrupt);
	if (made && rack_down(described->name))
		ret = -1;
	rack_free(rack);
	rack_free(described);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
