// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/experiment_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/reasons.h"
#include "topo/child.h"
#include "topo/interrupt.h"
#include "topo/json.h"
#include "topo/leave.h"
#include "topo/progress.h"
#include "topo/trial.h"

/* Debian's, which has the modules of packages.txt. */
#define PYTHON "/usr/bin/python3"

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Of one moment, as closely as the two can be read. */
static void write_clock(FILE *out)
{
	uint64_t best = UINT64_MAX, monotonic = 0, realtime = 0;

	for (int i = 0; i < 5; i++) {
		uint64_t before = now_ns(CLOCK_MONOTONIC), real = now_ns(CLOCK_REALTIME);
		uint64_t took = now_ns(CLOCK_MONOTONIC) - before;

		if (took >= best)
			continue;
		best = took;
		monotonic = before + took / 2;
		realtime = real;
	}
	fprintf(out, ",\"clock\":{\"monotonic_ns\":%" PRIu64 ",\"realtime_ns\":%" PRIu64 "}",
		monotonic, realtime);
}

/* What the names of counters mean: the list of bpf/reasons.h. */
static void write_reasons(FILE *out)
{
	static const char *const reasons[][3] = {
#define X(id, name, program, verdict, text) {name, #verdict, text},
		ELEC_REASONS(X)
#undef X
	};

	fputs(",\"reasons\":{", out);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		fprintf(out, "%s\"%s\":{\"verdict\":\"%s\",\"text\":", i ? "," : "", reasons[i][0],
			reasons[i][1]);
		json_string(out, reasons[i][2]);
		fputs("}", out);
	}
	fputs("}", out);
}

static int write_head(const struct experiment *e, const char *folder)
{
	char path[2 * RACK_PATH_MAX];
	FILE *out;
	int bad;

	snprintf(path, sizeof(path), "%s/parts/experiment.json", folder);
	out = fopen(path, "we");
	if (!out)
		return rack_say("cannot write %s: %s", path, strerror(errno));
	fputs("{\"name\":", out);
	json_string(out, e->name);
	fputs(",\"about\":", out);
	json_string(out, e->about);
	fprintf(out, ",\"seed\":%" PRIu64 ",\"attach\":\"%s\"", e->seed,
		rack_xdp_name(e->rack->xdp));
	write_clock(out);
	write_reasons(out);
	fputs(",\"expect\":{", out);
	for (int i = 0; i < EXPERIMENT_CHECK_COUNT; i++)
		fprintf(out, "%s\"%s\":%s", i ? "," : "", experiment_check_names[i],
			e->expect[i] ? "true" : "false");
	fputs("}}\n", out);
	bad = ferror(out);
	if (fclose(out) || bad)
		return rack_say("cannot write %s: %s", path, strerror(errno));
	return 0;
}

/*
 * build/NAME with these arguments, NULL behind the last; its exit status. One that has to
 * come to its end does so whatever is typed meanwhile.
 */
static int run_script(const char *name, const char *const *arguments, bool to_its_end)
{
	char buf[RACK_PATH_MAX], script[RACK_PATH_MAX + 16];
	const char *argv[SCRIPT_ARGUMENTS_MAX + 3] = {PYTHON, script};
	const char *programs = child_programs(buf);
	int status = -1;
	pid_t pid;

	if (!programs)
		return EXIT_FAILURE;
	snprintf(script, sizeof(script), "%s/%s", programs, name);
	for (int i = 0; i < SCRIPT_ARGUMENTS_MAX && arguments[i]; i++)
		argv[2 + i] = arguments[i];
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (to_its_end) {
			signal(SIGINT, SIG_IGN);
			signal(SIGTERM, SIG_IGN);
		}
		execv(PYTHON, (char *const *)argv);
		rack_say("cannot start %s: %s", PYTHON, strerror(errno));
		_exit(EXIT_FAILURE);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int check_folder(const char *folder)
{
	char *path;
	int error = 0;

	if (asprintf(&path, "%s/summary.json", folder) < 0)
		return rack_say("no memory");
	if (access(path, F_OK))
		error = errno;
	free(path);
	if (error == ENOENT || error == ENOTDIR)
		return rack_cannot_be("%s is no experiment's folder: it has no summary.json",
				      folder);
	return 0; /* any other trouble shows when it is read */
}

int experiment_check(const char *folder)
{
	if (check_folder(folder))
		return EXIT_FAILURE;
	return run_script("results.py", (const char *[]){"check", folder, NULL}, false);
}

int experiment_report(const char *folder, const char *const *arguments)
{
	if (check_folder(folder))
		return EXIT_FAILURE;
	return run_script("report.py", arguments, false);
}

/* Results, verdicts, pictures: 0 if the verdicts are as expected. */
static int finish(const struct experiment *e, const char *folder)
{
	int ret;

	progress_show("%s: judging", e->name);
	ret = run_script("results.py", (const char *[]){"finish", folder, NULL}, true);
	/* without pictures it is not worth less */
	run_script("report.py", (const char *[]){folder, NULL}, true);
	return ret;
}

/* On a rack that is up; -1: not all of it was done. */
static int run_each(const struct experiment *e, const char *folder, int interrupt)
{
	char buf[RACK_PATH_MAX];
	struct trial_options o = {.experiment = e,
				  .programs = child_programs(buf),
				  .folder = folder,
				  .interrupt = interrupt};
	struct rack *rack = NULL;
	int ret = 0;

	if (!o.programs || rack_find(&rack, e->rack->name))
		return -1;
	o.rack = rack;
	for (; !ret && o.run < e->offloads; o.run++)
		ret = trial_run(&o);
	rack_free(rack);
	return ret;
}

/* Somebody else's rules would be in it, and a rack that is in use is somebody else's. */
static int check_absent(const struct experiment *e)
{
	if (rack_state(e->rack->name) != RACK_ABSENT)
		return rack_say("rack %s is up: an experiment wants one of its own; `rack down %s` "
				"removes it",
				e->rack->name, e->rack->name);
	return 0;
}

int experiment_run(const char *path, const struct experiment_options *o)
{
	char folder[RACK_PATH_MAX], copy[2 * RACK_PATH_MAX];
	struct experiment *e = NULL;
	bool made = false;
	int ret = -1, interrupt;

	if (experiment_load(&e, path, &o->wish))
		return 2;
	if (o->folder)
		snprintf(folder, sizeof(folder), "%s", o->folder);
	else
		snprintf(folder, sizeof(folder), "results/%s-%" PRIu64, e->name, e->seed);
	if (check_absent(e) || leave_open(folder, o->force))
		goto out;
	snprintf(copy, sizeof(copy), "%s/experiment.yaml", folder);
	if (leave_copy(path, copy) || write_head(e, folder))
		goto out;
	interrupt = interrupt_open();
	if (interrupt < 0 || rack_up(e->rack, &made))
		goto out;
	ret = run_each(e, folder, interrupt);
	if (rack_down(e->rack->name))
		ret = -1;
	if (finish(e, folder))
		ret = -1;
out:
	experiment_free(e);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
