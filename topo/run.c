/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 *   run_load                 replica (one in each rN)         client (in c0)
 *     spawn            ->      attach, serve
 *     wait             <-      "ready" on --ready-fd
 *     spawn                        ->                           the load
 *     watch: replicas alive? Ctrl-C? progress                   progress on --progress-fd
 *     wait             <-                                       JSON on stdout, exit
 *     read the pinned counters
 *     SIGTERM          ->      JSON on stdout, exit
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo/child.h"
#include "topo/cpu.h"
#include "topo/outcome.h"
#include "topo/progress.h"
#include "topo/replicas.h"
#include "topo/run.h"

#define OUTPUT_MAX 65536 /* bytes of JSON */

struct run {
	const struct run_options *o;
	struct run_result *result;
	struct replicas replicas;
	struct child client;
	uint64_t before[ELEC_R_COUNT]; /* the counters when the load began */
};

/* They end on request and say how many Prepares they sent. */
static int stop_replicas(struct run *r)
{
	char *text = malloc(OUTPUT_MAX), how[CHILD_HOW_MAX];
	int ret = text ? 0 : progress_fail("no memory");

	for (unsigned int i = 0; !ret && i < r->o->rack->replicas; i++) {
		struct child *c = &r->replicas.child[i];
		struct outcome_replica o;
		int status = child_stop(r->o->rack, c);
		ssize_t len = child_output(c, text, OUTPUT_MAX);

		if (status) {
			ret = progress_fail("replica %s did not end well (%s); its log ends so:",
					    c->node, child_describe(status, how));
			child_show_log(r->o->rack, c->node);
		} else if (len < 0 || outcome_read_replica(&o, text, len)) {
			ret = progress_fail("replica %s ended without its figures", c->node);
		} else {
			r->result->prepares += o.prepares;
		}
	}
	free(text);
	return ret;
}

/* ---- the client ---- */

static int start_client(struct run *r)
{
	char conf[RACK_PATH_MAX], fd[16];
	struct child *c = &r->client;
	const char *argv[] = {NULL,	     "--config",      NULL,
			      "--ops",	     r->o->ops,	      "--clients",
			      r->o->clients, "--value-bytes", r->o->value_bytes,
			      "--json",	     "--progress-fd", fd,
			      NULL};
	int pipe[2];

	argv[2] = rack_path(conf, r->o->rack->name, "cluster.conf");
	child_forget_log(r->o->rack, c->node);
	if (pipe2(pipe, O_CLOEXEC))
		return progress_fail("no pipe to %s: %s", c->node, strerror(errno));
	c->pipe = pipe[0];
	snprintf(fd, sizeof(fd), "%d", pipe[1]);
	return child_start(r->o->rack, c, r->o->programs, "client", argv, pipe[1]);
}

static void show_progress(struct run *r)
{
	char text[512];
	ssize_t len = read(r->client.pipe, text, sizeof(text) - 1);
	double rate, p99;
	uint64_t done;

	if (len <= 0) { /* it closed its end: nothing more will come */
		close(r->client.pipe);
		r->client.pipe = -1;
		return;
	}
	text[len] = 0;
	if (sscanf(text, "%" SCNu64 " %lf %lf", &done, &rate, &p99) == 3)
		progress_show("%s: %" PRIu64 " of %s operations, %.0f/s, p99 %.0f us",
			      r->o->offload, done, r->o->ops, rate, p99);
}

static int client_outcome(struct run *r)
{
	char text[4096], how[CHILD_HOW_MAX];
	struct run_result *result = r->result;
	struct outcome_client o;
	int status = child_stop(r->o->rack, &r->client);
	ssize_t len = child_output(&r->client, text, sizeof(text));

	if (status) {
		progress_fail("the client in %s failed (%s); the logs end so:", r->client.node,
			      child_describe(status, how));
		child_show_log(r->o->rack, r->client.node);
		for (unsigned int i = 0; i < r->o->rack->replicas; i++)
			child_show_log(r->o->rack, r->replicas.child[i].node);
		return -1;
	}
	if (len < 0 || outcome_read_client(&o, text, len))
		return progress_fail("the client in %s ended without its figures", r->client.node);
	result->ops = o.ops;
	result->retransmits = o.retransmits;
	result->ops_per_s = o.ops_per_s;
	result->latency_us.p50 = o.latency_us.p50;
	result->latency_us.p99 = o.latency_us.p99;
	result->latency_us.p999 = o.latency_us.p999;
	result->latency_us.max = o.latency_us.max;
	return 0;
}

static int run_client(struct run *r)
{
	uint64_t begin, end;
	int ret;

	ret = cpu_busy_us(&begin);
	if (ret)
		return progress_fail("cannot read /proc/stat: %s", strerror(-ret));
	if (start_client(r))
		return -1;
	for (;;) {
		struct pollfd client[] = {{.fd = r->client.pidfd, .events = POLLIN},
					  {.fd = r->client.pipe, .events = POLLIN}};

		if (replicas_wait(&r->replicas, client, 2, -1) < 0)
			return -1;
		if (client[0].revents)
			break;
		show_progress(r);
	}
	ret = cpu_busy_us(&end);
	if (ret)
		return progress_fail("cannot read /proc/stat: %s", strerror(-ret));
	if (client_outcome(r))
		return -1;
	r->result->cpu_us_per_op = (double)(end - begin) / (double)r->result->ops;
	return 0;
}

int run_load(const struct run_options *options, struct run_result *result)
{
	struct run r = {.o = options,
			.result = result,
			.replicas = {.rack = options->rack,
				     .programs = options->programs,
				     .offload = options->offload,
				     .offloads = options->offloads,
				     .interrupt = options->interrupt},
			.client = CHILD_NONE(rack_nth(options->rack, RACK_CLIENT, 0)->name)};
	int ret = -1;

	memset(result, 0, sizeof(*result));
	replicas_open(&r.replicas);
	if (replicas_start_all(&r.replicas) || replicas_counts(&r.replicas, r.before) ||
	    run_client(&r) || replicas_counts(&r.replicas, result->counts) || stop_replicas(&r))
		goto out;
	for (unsigned int i = 0; i < ELEC_R_COUNT; i++)
		result->counts[i] -= r.before[i];
	ret = 0;
out:
	progress_clear();
	child_stop(options->rack, &r.client);
	child_close(&r.client);
	replicas_close(&r.replicas);
	return ret;
}
