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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/state.h"
#include "topo/child.h"
#include "topo/cpu.h"
#include "topo/outcome.h"
#include "topo/progress.h"
#include "topo/run.h"

#define READY_MS 30000	 /* the verifier may take its time on a loaded machine */
#define OUTPUT_MAX 65536 /* bytes of JSON */

struct run {
	const struct run_options *o;
	struct run_result *result;
	struct child replica[ELEC_REPLICAS_MAX], client;
	uint64_t before[ELEC_R_COUNT]; /* the counters when the load began */
};

/* ---- waiting ---- */

static int replica_died(struct run *r, struct child *c)
{
	char how[CHILD_HOW_MAX];
	int status = child_stop(r->o->rack, c);

	progress_fail("replica %s ended by itself (%s); its log ends so:", c->node,
		      child_describe(status, how));
	child_show_log(r->o->rack, c->node);
	return -1;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/*
 * Wait until one of two descriptors (-1: none) is readable; 1, 0 after timeout_ms (-1:
 * never), or -1: interrupted, or a replica died, which has been said.
 */
static int wait_for(struct run *r, int a, int b, int timeout_ms)
{
	unsigned int n = r->o->rack->replicas;
	struct pollfd fds[ELEC_REPLICAS_MAX + 3];
	int ret;

	for (unsigned int i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = r->replica[i].pidfd, .events = POLLIN};
	fds[n] = (struct pollfd){.fd = r->o->interrupt, .events = POLLIN};
	fds[n + 1] = (struct pollfd){.fd = a, .events = POLLIN};
	fds[n + 2] = (struct pollfd){.fd = b, .events = POLLIN};
	do {
		ret = poll(fds, n + 3, timeout_ms);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return progress_fail("cannot wait: %s", strerror(errno));
	if (fds[n].revents)
		return progress_fail("interrupted");
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i].revents)
			return replica_died(r, &r->replica[i]);
	}
	return ret > 0;
}

/* ---- replicas ---- */

static int start_replica(struct run *r, unsigned int i)
{
	const struct rack *rack = r->o->rack;
	char conf[RACK_PATH_MAX], pin[RACK_PATH_MAX], journal[RACK_PATH_MAX];
	char index[16], ready[16];
	struct child *c = &r->replica[i];
	const char *argv[] = {NULL,	  "--config",	NULL,	     "--index",	  index,
			      "--iface",  RACK_IFACE,	"--offload", NULL,	  "--xdp",
			      NULL,	  "--pin",	NULL,	     "--journal", NULL,
			      "--format", "--ready-fd", ready,	     NULL};
	int pipe[2];

	argv[2] = rack_path(conf, rack->name, "cluster.conf");
	argv[8] = r->o->offload;
	argv[10] = rack_xdp_name(rack->xdp);
	argv[12] = rack_path(pin, rack->name, "bpf/%s", c->node);
	argv[14] = rack_path(journal, rack->name, "journal/%s", c->node);
	unlink(journal); /* each run is a cluster of its own */
	if (pipe2(pipe, O_CLOEXEC))
		return progress_fail("no pipe to %s: %s", c->node, strerror(errno));
	c->pipe = pipe[0];
	snprintf(index, sizeof(index), "%u", i);
	snprintf(ready, sizeof(ready), "%d", pipe[1]);
	return child_start(r->o->rack, c, r->o->programs, "replica", argv, pipe[1]);
}

static int wait_ready(struct run *r, struct child *c)
{
	int64_t deadline = now_ms() + READY_MS, left;
	char line[16] = {};
	int ret;

	left = deadline - now_ms();
	ret = wait_for(r, c->pipe, -1, left > 0 ? left : 0);
	if (ret < 0)
		return -1;
	/* one line, so short that a pipe hands it over whole (pipe(7)) */
	if (ret && read(c->pipe, line, sizeof(line) - 1) > 0 && !strcmp(line, "ready\n"))
		return 0;
	/* a dying replica closes its pipe first: wait for the rest of it */
	if (ret && !*line && wait_for(r, -1, -1, CHILD_STOP_MS) < 0)
		return -1;
	progress_fail("replica %s is not ready after %d s; its log ends so:", c->node,
		      READY_MS / 1000);
	child_show_log(r->o->rack, c->node);
	return -1;
}

static int start_replicas(struct run *r)
{
	for (unsigned int i = 0; i < r->o->rack->replicas; i++) {
		progress_show("%s: starting %s", r->o->offload, r->replica[i].node);
		if (start_replica(r, i))
			return -1;
	}
	for (unsigned int i = 0; i < r->o->rack->replicas; i++) {
		progress_show("%s: waiting for %s", r->o->offload, r->replica[i].node);
		if (wait_ready(r, &r->replica[i]))
			return -1;
	}
	return 0;
}

/* Add what the programs of one replica counted so far. */
static int add_counts(struct run *r, const char *node, uint64_t counts[ELEC_R_COUNT])
{
	char path[RACK_PATH_MAX];
	int cpus = libbpf_num_possible_cpus(), fd, ret = -1;
	uint64_t *value;

	value = cpus > 0 ? calloc(cpus, sizeof(*value)) : NULL;
	fd = bpf_obj_get(rack_path(path, r->o->rack->name, "bpf/%s/elec_counts", node));
	if (!value || fd < 0) {
		progress_fail("cannot read the counters of %s: %s: %s", node, path,
			      strerror(errno));
		goto out;
	}
	for (uint32_t i = 0; i < ELEC_R_COUNT; i++) {
		if (bpf_map_lookup_elem(fd, &i, value)) {
			progress_fail("cannot read counter %u of %s: %s", i, node, strerror(errno));
			goto out;
		}
		for (int cpu = 0; cpu < cpus; cpu++)
			counts[i] += value[cpu];
	}
	ret = 0;
out:
	if (fd >= 0)
		close(fd);
	free(value);
	return ret;
}

static int read_counts(struct run *r, uint64_t counts[ELEC_R_COUNT])
{
	for (unsigned int i = 0; r->o->offloads && i < r->o->rack->replicas; i++) {
		if (add_counts(r, r->replica[i].node, counts))
			return -1;
	}
	return 0;
}

/* They end on request and say how many Prepares they sent. */
static int stop_replicas(struct run *r)
{
	char *text = malloc(OUTPUT_MAX), how[CHILD_HOW_MAX];
	int ret = text ? 0 : progress_fail("no memory");

	for (unsigned int i = 0; !ret && i < r->o->rack->replicas; i++) {
		struct child *c = &r->replica[i];
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
			child_show_log(r->o->rack, r->replica[i].node);
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
		struct pollfd ended = {.fd = r->client.pidfd, .events = POLLIN};

		if (wait_for(r, r->client.pidfd, r->client.pipe, -1) < 0)
			return -1;
		if (poll(&ended, 1, 0) > 0)
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
	struct run r = {.o = options, .result = result};
	unsigned int n = options->rack->replicas;
	int ret = -1;

	memset(result, 0, sizeof(*result));
	for (unsigned int i = 0; i < n; i++)
		r.replica[i] = (struct child){rack_nth(options->rack, RACK_REPLICA, i)->name, 0, -1,
					      -1, -1};
	r.client = (struct child){rack_nth(options->rack, RACK_CLIENT, 0)->name, 0, -1, -1, -1};

	if (start_replicas(&r) || read_counts(&r, r.before) || run_client(&r) ||
	    read_counts(&r, result->counts) || stop_replicas(&r))
		goto out;
	for (unsigned int i = 0; i < ELEC_R_COUNT; i++)
		result->counts[i] -= r.before[i];
	ret = 0;
out:
	progress_clear();
	child_stop(options->rack, &r.client);
	child_close(&r.client);
	for (unsigned int i = 0; i < n; i++) {
		child_stop(options->rack, &r.replica[i]);
		child_close(&r.replica[i]);
	}
	return ret;
}
