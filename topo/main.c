// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The rack command: one table of subcommands, from which its usage is printed. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "topo/rack.h"
#include "topo/steer_help.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments;
	const char *help; /* lines after the first: when it is asked for */
} commands[] = {
	{"up", cmd_up, "FILE [--xdp native|generic]", "build the rack that FILE describes"},
	{"down", cmd_down, "RACK... | --all", "remove racks and everything that runs in them"},
	{"ls", cmd_ls, "[RACK]", "list racks, or the nodes and processes of one"},
	{"exec", cmd_exec, "RACK NODE [--] COMMAND...", "run COMMAND in a node (r0, c0, ..., tor)"},
	{"shell", cmd_shell, "RACK|FILE [NODE]",
	 "a prompt in a node (c0 if there is one); a rack built for it goes with it"},
	{"run", cmd_run,
	 "RACK|FILE [--offload SET]... [--ops N] [--clients N] [--value-bytes N] [--xdp MODE]",
	 "the same load with each SET of offloads, one table"},
	{"run", cmd_run, "EXPERIMENT [--out DIR] [--seed N] [--offload SET]... [--force]",
	 "what an experiment's file says, with each SET of offloads: a folder of results"},
	{"check", cmd_check, "DIR", "the verdicts over an experiment's folder, again"},
	{"doctor", cmd_doctor, "[RACK] [--json] [--clean]",
	 "what this machine can do, or what is wrong with a rack, and how to mend it; --clean "
	 "removes what dead racks left"},
	{"report", cmd_report, "DIR [--around TIME]...",
	 "its report.html, again; with the packets around a time since the load began"},
	{"fault", cmd_fault,
	 "RACK add [--from N] [--to N] [--kind K] [--every K|--nth K|--probability P] [--seed S] "
	 "[--between T1 T2] ACTION | ls | rm ID | clear | partition [--one-way] N,N / N,N | heal",
	 "ACTION on packets in the switch: drop, duplicate, corrupt, delay D [jitter J], reorder "
	 "K, rate R"},
	{"show", cmd_show, "RACK [--dot]",
	 "a drawing: nodes, programs, processes, faults; --dot for graphviz"},
	{"top", cmd_top, "RACK [--interval SECONDS] [--once | --count N]",
	 "what happens in a rack, live; lines when not on a terminal"},
	{"capture", cmd_capture, "RACK [NODE] [-w FILE|-] [-c FRAMES] [--for SECONDS] [--both]",
	 "frames at the switch's ports, a line each, or a file for Wireshark"},
	{"stats", cmd_stats, "RACK --json [--for SECONDS] [--links on|off]",
	 "everything that is counted; --for looks so long first, --links on counts from now on"},
	{"steer", cmd_steer,
	 "RACK path NODE|FLOW PATH [--guard TIME] [--share N%] | add FLOW [TO [PATH]] | load FILE "
	 "| rm FLOW|all | ls",
	 "PATH through the switch of a node's frames or a flow's (udp:r0:1000:r1:2000): tc, xdp, "
	 "bridge, afxdp\n\n" STEER_HELP},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *current;
static bool cannot_be; /* what was typed */

static void say(const char *fmt, va_list args)
{
	fputs("rack: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

int rack_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	return -1;
}

int rack_cannot_be(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	cannot_be = true;
	return -1;
}

int rack_usage(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "rack %s: ", current->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	if (strchr(current->help, '\n'))
		fprintf(stderr, "; see `rack %s --help`\n", current->name);
	else
		fprintf(stderr, "; usage: rack %s %s\n", current->name, current->arguments);
	return 2;
}

int rack_privileged(void)
{
	if (geteuid())
		return rack_say("%s needs root: run it with sudo", current->name);
	return 0;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static int print_help(void)
{
	printf("usage: rack %s %s\n%s\n", current->name, current->arguments, current->help);
	return 0;
}

int rack_do(const struct rack_verb *verbs, int argc, char **argv)
{
	struct rack *rack;
	int ret;

	for (int i = 1; i < argc; i++) {
		if (is_help(argv[i]))
			return print_help();
	}
	if (argc < 3)
		return rack_usage("want RACK and what to do");
	for (; verbs->name; verbs++) {
		if (strcmp(verbs->name, argv[2]))
			continue;
		if (rack_privileged() || rack_find(&rack, argv[1]))
			return 1;
		ret = verbs->run(rack, argv + 3);
		rack_free(rack);
		return ret;
	}
	return rack_usage("there is no `%s %.40s`", current->name, argv[2]);
}

static void print_usage(FILE *to)
{
	fputs("usage: rack COMMAND ...\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++) {
		fprintf(to, "  %s %s\n      %.*s\n", commands[i].name, commands[i].arguments,
			(int)strcspn(commands[i].help, "\n"), commands[i].help);
	}
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int ret;

	if (!strcmp(name, "help") || is_help(name)) {
		print_usage(stdout);
		return 0;
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(name, commands[i].name))
			continue;
		current = &commands[i];
		if (argc > 2 && is_help(argv[2]))
			return print_help();
		ret = current->run(argc - 1, argv + 1);
		return ret == 1 && cannot_be ? 2 : ret;
	}
	if (name[0])
		fprintf(stderr, "rack: there is no command '%s'\n", name);
	print_usage(stderr);
	return 2;
}
