// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 *   replicas      start, serve .................. events ........... agree, end
 *   clients                 the load, each its history to a file
 *   here                    what is due: begin, end, captures around it; progress
 *                                                             copy what they leave
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/cpu.h"
#include "topo/outcome.h"
#include "topo/progress.h"
#include "topo/trial_internal.h"

#define AGREE_MS 3000 /* for the replicas to have the same ops when all is over */
#define LOOK_MS 20
#define PROGRESS_MS 200
#define GIVE_UP_S 30 /* a client's patience, beyond the load's own time */
#define LINE_MAX_BYTES 65536

static bool is_interrupted(const struct trial *t)
{
	struct pollfd p = {.fd = t->o->interrupt, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* ---- clients ---- */

static int start_client(struct trial *t, unsigned int i)
{
	const struct experiment *e = t->e;
	const struct rack *rack = t->o->rack;
	char conf[RACK_PATH_MAX], fd[16], number[6][24], seed[24], give_up[24], *history;
	struct trial_client *c = &t->client[i];
	const char *argv[] = {
		NULL,	   "--config",	    NULL,      "--clients",
		number[0], "--mix",	    number[1], "--keys",
		number[2], "--value-bytes", number[3], e->load.ops ? "--ops" : "--seconds",
		number[4], "--seed",	    seed,      "--give-up",
		give_up,   "--history",	    NULL,      "--shared",
		"--json",  "--progress-fd", fd,	       NULL};
	int pipe[2], ret;

	child_forget_log(rack, c->node->name);
	if (c->node->command)
		return child_start_command(rack, &c->child, c->node);
	argv[2] = rack_path(conf, rack->name, "cluster.conf");
	snprintf(number[0], sizeof(number[0]), "%" PRIu64, e->load.clients);
	snprintf(number[1], sizeof(number[1]), "%" PRIu64, e->load.mix);
	snprintf(number[2], sizeof(number[2]), "%" PRIu64, e->load.keys);
	snprintf(number[3], sizeof(number[3]), "%" PRIu64, e->load.value_bytes);
	snprintf(number[4], sizeof(number[4]), "%" PRIu64, e->load.ops ?: e->load.seconds);
	snprintf(give_up, sizeof(give_up), "%" PRIu64, e->load.seconds + GIVE_UP_S);
	/* the client gives its own, from this one on, to those that it plays */
	snprintf(seed, sizeof(seed), "%" PRIu64, (e->seed + i * 4096) & INT64_MAX);
	if (asprintf(&history, "%s/parts/%u-%s.jsonl", t->o->folder, t->o->run, c->node->name) < 0)
		return progress_fail("no memory");
	argv[18] = history;
	if (pipe2(pipe, O_CLOEXEC)) {
		free(history);
		return progress_fail("no pipe to %s: %s", c->node->name, strerror(errno));
	}
	c->child.pipe = pipe[0];
	snprintf(fd, sizeof(fd), "%d", pipe[1]);
	ret = child_start(rack, &c->child, t->o->programs, "client", argv, pipe[1]);
	free(history);
	return ret;
}

static void read_progress(struct trial_client *c)
{
	char text[512];
	ssize_t len = read(c->child.pipe, text, sizeof(text) - 1);

	if (len <= 0) {
		close(c->child.pipe);
		c->child.pipe = -1;
		c->rate = 0;
		return;
	}
	text[len] = '\0';
	sscanf(text, "%*u %lf %lf", &c->rate, &c->p99_us);
}

static void end_client(struct trial *t, struct trial_client *c)
{
	char how[CHILD_HOW_MAX];
	int status = child_stop(t->o->rack, &c->child);

	if (status)
		progress_fail("the client in %s: %s (log/%u-%s.log says why)", c->node->name,
			      child_describe(status, how), t->o->run, c->node->name);
	child_close(&c->child);
}

/* A foreign client need not end by itself, and ours not for ever. */
static int64_t client_end_ns(const struct trial *t, const struct trial_client *c)
{
	uint64_t seconds = t->e->load.seconds + (c->node->command ? 0 : 2 * GIVE_UP_S);

	return t->e->load.seconds ? t->timeline.start_ns + (int64_t)seconds * 1000000000
				  : INT64_MAX;
}

static unsigned int still_running(const struct trial *t)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < t->clients; i++)
		count += t->client[i].child.pid != 0;
	return count;
}

/* ---- the load ---- */

static void show_progress(struct trial *t, int64_t now)
{
	char text[256];
	double rate = 0, p99_us = 0;

	for (unsigned int i = 0; i < t->clients; i++) {
		rate += t->client[i].rate;
		if (t->client[i].p99_us > p99_us)
			p99_us = t->client[i].p99_us;
	}
	timeline_text(&t->timeline, text, sizeof(text));
	progress_show("%s: %s: %.1f s, %.0f ops/s, p99 %.0f us%s%.100s", t->e->name, t->offload,
		      (double)(now - t->timeline.start_ns) / 1e9, rate, p99_us, text[0] ? ", " : "",
		      text);
}

static int wait_ms(const struct trial *t, int64_t now)
{
	int64_t next = timeline_next_ns(&t->timeline), capture = trial_capture_due(t);

	if (capture < next)
		next = capture;
	for (unsigned int i = 0; i < t->clients; i++) {
		if (t->client[i].child.pid && client_end_ns(t, &t->client[i]) < next)
			next = client_end_ns(t, &t->client[i]);
	}
	if (next > now + PROGRESS_MS * 1000000LL)
		return PROGRESS_MS;
	return next <= now ? 0 : (int)((next - now + 999999) / 1000000);
}

static int do_events(struct trial *t, int64_t now)
{
	if (timeline_next_ns(&t->timeline) > now)
		return 0;
	if (timeline_do(&t->timeline, now))
		return -1;
	return trial_capture_more(t);
}

/* One that was started again serves from now on: what it does then is worth a look. */
static int read_ready(struct trial *t, unsigned int replica)
{
	char line[16];

	return read(t->replicas.child[replica].pipe, line, sizeof(line)) > 0 ? trial_capture_more(t)
									     : 0;
}

/* Until all clients have ended. */
static int run_load(struct trial *t)
{
	unsigned int n = t->clients, replicas = t->o->rack->replicas, total = 2 * n + replicas + 1;
	struct pollfd fds[total], *ready = fds + 2 * n, *capture = ready + replicas;

	while (still_running(t)) {
		int64_t now = replicas_now_ns();

		if (trial_capture(t, now) || do_events(t, now))
			return -1;
		for (unsigned int i = 0; i < n; i++) {
			fds[2 * i] = (struct pollfd){t->client[i].child.pidfd, POLLIN, 0};
			fds[2 * i + 1] = (struct pollfd){t->client[i].child.pipe, POLLIN, 0};
		}
		for (unsigned int i = 0; i < replicas; i++)
			ready[i] = (struct pollfd){t->replicas.child[i].pipe, POLLIN, 0};
		*capture = (struct pollfd){t->capture ? capture_fd(t->capture) : -1, POLLIN, 0};
		if (replicas_wait(&t->replicas, fds, total, wait_ms(t, now)) < 0)
			return -1;
		if (capture->revents && capture_empty(t->capture))
			return -1;
		for (unsigned int i = 0; i < replicas; i++) {
			if (ready[i].revents && read_ready(t, i))
				return -1;
		}
		now = replicas_now_ns();
		for (unsigned int i = 0; i < n; i++) {
			if (fds[2 * i + 1].revents)
				read_progress(&t->client[i]);
			if (fds[2 * i].revents ||
			    (t->client[i].child.pid && now >= client_end_ns(t, &t->client[i])))
				end_client(t, &t->client[i]);
		}
		show_progress(t, now);
	}
	return 0;
}

static int start_all(struct trial *t)
{
	int ret;

	if (replicas_start_all(&t->replicas) || replicas_counts(&t->replicas, t->before))
		return -1;
	ret = cpu_busy_us(&t->cpu_begin_us);
	if (ret)
		return progress_fail("cannot read /proc/stat: %s", strerror(-ret));
	t->timeline.start_ns = replicas_now_ns();
	for (unsigned int i = 0; i < t->clients; i++) {
		if (start_client(t, i))
			return -1;
	}
	return 0;
}

/* ---- afterwards ---- */

static bool is_ours(const struct trial *t, unsigned int i)
{
	return !rack_nth(t->o->rack, RACK_REPLICA, i)->command;
}

/* Do all that run say the same? */
static bool agree(struct trial *t)
{
	char *line = malloc(LINE_MAX_BYTES);
	struct outcome_replica first = {}, o;
	bool same = line != NULL, any = false;

	for (unsigned int i = 0; same && i < t->o->rack->replicas; i++) {
		struct child *c = &t->replicas.child[i];
		ssize_t len;

		if (!c->pid || !is_ours(t, i))
			continue;
		len = child_last_line(c, line, LINE_MAX_BYTES);
		same = len > 0 && !outcome_read_replica(&o, line, len) &&
		       !strcmp(o.status, "normal") && o.executed == o.op &&
		       (!any || (o.op == first.op && o.view == first.view));
		first = o;
		any = true;
		kill(c->pid, SIGUSR1);
	}
	free(line);
	return same;
}

static void wait_for_agreement(struct trial *t)
{
	int64_t deadline = replicas_now_ns() + AGREE_MS * 1000000LL;

	progress_show("%s: %s: waiting for the replicas to agree", t->e->name, t->offload);
	while (!agree(t) && replicas_now_ns() < deadline) {
		if (replicas_wait(&t->replicas, NULL, 0, LOOK_MS) < 0) {
			t->failed = true;
			return;
		}
	}
}

/* They end on request and say what they are. */
static void stop_replicas(struct trial *t, char *report[ELEC_REPLICAS_MAX])
{
	char how[CHILD_HOW_MAX], *line = malloc(LINE_MAX_BYTES);

	for (unsigned int i = 0; line && i < t->o->rack->replicas; i++) {
		struct child *c = &t->replicas.child[i];
		int status;

		if (!c->pid)
			continue;
		status = child_stop(t->o->rack, c);
		if (!is_ours(t, i))
			continue;
		if (status) {
			progress_fail("replica %s did not end well (%s); its log ends so:", c->node,
				      child_describe(status, how));
			child_show_log(t->o->rack, c->node);
			t->failed = true;
		} else if (child_last_line(c, line, LINE_MAX_BYTES) > 0) {
			report[i] = strdup(line);
		}
	}
	free(line);
}

static void finish(struct trial *t)
{
	char *report[ELEC_REPLICAS_MAX] = {};

	t->end_ns = replicas_now_ns();
	t->interrupted = is_interrupted(t);
	cpu_busy_us(&t->cpu_end_us);
	for (unsigned int i = 0; i < t->clients; i++) {
		if (t->client[i].child.pid)
			end_client(t, &t->client[i]);
	}
	if (t->capture && t->capture_until_ns && capture_end(t->capture))
		t->failed = true;
	if (timeline_end(&t->timeline))
		t->failed = true;
	if (!t->failed)
		wait_for_agreement(t);
	if (replicas_counts(&t->replicas, t->counts))
		t->failed = true;
	stop_replicas(t, report);
	if (trial_keep(t, report))
		t->failed = true;
	for (unsigned int i = 0; i < ELEC_REPLICAS_MAX; i++)
		free(report[i]);
}

int trial_run(const struct trial_options *o)
{
	const struct experiment *e = o->experiment;
	struct trial t = {.o = o,
			  .e = e,
			  .offload = e->offload[o->run].name,
			  .replicas = {.rack = o->rack,
				       .programs = o->programs,
				       .offload = e->offload[o->run].name,
				       .offloads = e->offload[o->run].set,
				       .interrupt = o->interrupt},
			  .clients = o->rack->clients};
	char folder[RACK_PATH_MAX + 16];
	int ret = -1;

	t.timeline = (struct timeline){.e = e,
				       .offloads = e->offload[o->run].set,
				       .rack = o->rack,
				       .replicas = &t.replicas};
	replicas_open(&t.replicas);
	t.client = calloc(t.clients, sizeof(*t.client));
	if (!t.client || timeline_open(&t.timeline)) {
		progress_fail("no memory");
		goto out;
	}
	for (unsigned int i = 0; i < t.clients; i++) {
		t.client[i].node = rack_nth(o->rack, RACK_CLIENT, i);
		t.client[i].child = (struct child)CHILD_NONE(t.client[i].node->name);
	}
	snprintf(folder, sizeof(folder), "%s/capture", o->folder);
	if (e->around_ns && capture_open(&t.capture, o->rack, folder))
		goto out;
	t.failed = start_all(&t) || run_load(&t);
	finish(&t);
	ret = t.failed ? -1 : 0;
out:
	progress_clear();
	for (unsigned int i = 0; t.client && i < t.clients; i++) {
		child_stop(o->rack, &t.client[i].child);
		child_close(&t.client[i].child);
	}
	free(t.client);
	replicas_close(&t.replicas);
	capture_close(t.capture);
	timeline_close(&t.timeline);
	return ret;
}
