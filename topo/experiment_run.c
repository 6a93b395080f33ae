// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/experiment_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
	fprintf(out,
		",\"seed\":%" PRIu64 ",\"attach\":\"%s\",\"clock\":{\"monotonic_ns\":%" PRIu64
		",\"realtime_ns\":%" PRIu64 "},\"expect\":{",
		e->seed, rack_xdp_name(e->rack->xdp), now_ns(CLOCK_MONOTONIC),
		now_ns(CLOCK_REALTIME));
	for (int i = 0; i < EXPERIMENT_CHECK_COUNT; i++)
		fprintf(out, "%s\"%s\":%s", i ? "," : "", experiment_check_names[i],
			e->expect[i] ? "true" : "false");
	fputs("}}\n", out);
	bad = ferror(out);
	if (fclose(out) || bad)
		return rack_say("cannot write %s: %s", path, strerror(errno));
	return 0;
}

int experiment_results(const char *verb, const char *folder)
{
	char buf[RACK_PATH_MAX], script[RACK_PATH_MAX + 16];
	const char *programs = child_programs(buf);
	int status = -1;
	pid_t pid;

	if (!programs)
		return EXIT_FAILURE;
	snprintf(script, sizeof(script), "%s/results.py", programs);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		execl(PYTHON, PYTHON, script, verb, folder, (char *)NULL);
		rack_say("cannot start %s: %s", PYTHON, strerror(errno));
		_exit(EXIT_FAILURE);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
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
	int ret = -1, interrupt, judged;

	if (experiment_load(&e, path, &o->wish))
		return EXIT_FAILURE;
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
	progress_show("%s: judging", e->name);
	judged = experiment_results("finish", folder);
	if (judged)
		ret = -1;
out:
	experiment_free(e);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
