// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/replicas.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "topo/percpu.h"
#include "topo/progress.h"
#include "topo/seconds.h"

#define READY_MS 30000 /* the verifier may take its time on a loaded machine */

int64_t replicas_now_ns(void)
{
	return now_ns();
}

void replicas_open(struct replicas *r)
{
	for (unsigned int i = 0; i < r->rack->replicas; i++)
		r->child[i] = (struct child)CHILD_NONE(rack_nth(r->rack, RACK_REPLICA, i)->name);
}

void replicas_close(struct replicas *r)
{
	for (unsigned int i = 0; i < r->rack->replicas; i++) {
		child_stop(r->rack, &r->child[i]);
		child_close(&r->child[i]);
	}
}

void replicas_kill(struct replicas *r, unsigned int i)
{
	struct child *c = &r->child[i];

	if (c->pid)
		kill(c->pid, SIGKILL);
	child_stop(r->rack, c);
	child_close(c);
}

/* ---- waiting ---- */

static int replica_died(struct replicas *r, struct child *c)
{
	char how[CHILD_HOW_MAX];
	int status = child_stop(r->rack, c);

	progress_fail("replica %s ended by itself (%s); its log ends so:", c->node,
		      child_describe(status, how));
	child_show_log(r->rack, c->node);
	return -1;
}

int replicas_wait(struct replicas *r, struct pollfd *more, unsigned int count, int timeout_ms)
{
	unsigned int n = r->rack->replicas;
	struct pollfd fds[n + 1 + count];
	int ret;

	for (unsigned int i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = r->child[i].pidfd, .events = POLLIN};
	fds[n] = (struct pollfd){.fd = r->interrupt, .events = POLLIN};
	for (unsigned int i = 0; i < count; i++)
		fds[n + 1 + i] = more[i];
	do {
		ret = poll(fds, n + 1 + count, timeout_ms);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return progress_fail("cannot wait: %s", strerror(errno));
	if (fds[n].revents)
		return progress_fail("interrupted");
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i].revents)
			return replica_died(r, &r->child[i]);
	}
	for (unsigned int i = 0; i < count; i++)
		more[i].revents = fds[n + 1 + i].revents;
	return ret > 0;
}

/* ---- starting ---- */

static int start_foreign(struct replicas *r, unsigned int i)
{
	return child_start_command(r->rack, &r->child[i], rack_nth(r->rack, RACK_REPLICA, i));
}

int replicas_start(struct replicas *r, unsigned int i, bool format)
{
	const struct rack *rack = r->rack;
	char conf[RACK_PATH_MAX], pin[RACK_PATH_MAX], journal[RACK_PATH_MAX], status[RACK_PATH_MAX];
	char index[16], ready[16];
	struct child *c = &r->child[i];
	const char *argv[] = {NULL,  "--config",   NULL,       "--index",
			      index, "--iface",	   RACK_IFACE, "--offload",
			      NULL,  "--xdp",	   NULL,       "--pin",
			      NULL,  "--journal",  NULL,       "--status",
			      NULL,  "--ready-fd", ready,      format ? "--format" : NULL,
			      NULL};
	int pipe[2];

	if (rack_nth(rack, RACK_REPLICA, i)->command)
		return start_foreign(r, i);
	argv[2] = rack_path(conf, rack->name, "cluster.conf");
	argv[8] = r->offload;
	argv[10] = rack_xdp_name(rack->xdp);
	argv[12] = rack_path(pin, rack->name, "bpf/%s", c->node);
	argv[14] = rack_path(journal, rack->name, "journal/%s", c->node);
	argv[16] = rack_path(status, rack->name, RACK_STATUS "/%s", c->node);
	if (format)
		unlink(journal);
	if (pipe2(pipe, O_CLOEXEC))
		return progress_fail("no pipe to %s: %s", c->node, strerror(errno));
	c->pipe = pipe[0];
	snprintf(index, sizeof(index), "%u", i);
	snprintf(ready, sizeof(ready), "%d", pipe[1]);
	return child_start(rack, c, r->programs, "replica", argv, pipe[1]);
}

int replicas_wait_ready(struct replicas *r, unsigned int i)
{
	struct child *c = &r->child[i];
	int64_t deadline = replicas_now_ns() / 1000000 + READY_MS, left;
	struct pollfd said = {.fd = c->pipe, .events = POLLIN};
	char line[16] = {};
	int ret;

	if (c->pipe < 0) /* a foreign program does not say */
		return 0;
	left = deadline - replicas_now_ns() / 1000000;
	ret = replicas_wait(r, &said, 1, left > 0 ? left : 0);
	if (ret < 0)
		return -1;
	/* one line, so short that a pipe hands it over whole (pipe(7)) */
	if (ret && read(c->pipe, line, sizeof(line) - 1) > 0 && !strcmp(line, "ready\n"))
		return 0;
	/* a dying replica closes its pipe first: wait for the rest of it */
	if (ret && !*line && replicas_wait(r, NULL, 0, CHILD_STOP_MS) < 0)
		return -1;
	progress_fail("replica %s is not ready after %d s; its log ends so:", c->node,
		      READY_MS / 1000);
	child_show_log(r->rack, c->node);
	return -1;
}

int replicas_start_all(struct replicas *r)
{
	for (unsigned int i = 0; i < r->rack->replicas; i++) {
		progress_show("%s: starting %s", r->offload, r->child[i].node);
		child_forget_log(r->rack, r->child[i].node);
		if (replicas_start(r, i, true))
			return -1;
	}
	for (unsigned int i = 0; i < r->rack->replicas; i++) {
		progress_show("%s: waiting for %s", r->offload, r->child[i].node);
		if (replicas_wait_ready(r, i))
			return -1;
	}
	return 0;
}

/* ---- counters ---- */

static int add_counts(struct replicas *r, const char *node, uint64_t counts[ELEC_R_COUNT])
{
	char path[RACK_PATH_MAX];
	int fd = bpf_obj_get(rack_path(path, r->rack->name, "bpf/%s/elec_counts", node));
	int ret = fd < 0 ? fd : 0;

	for (uint32_t i = 0; !ret && i < ELEC_R_COUNT; i++)
		ret = percpu_add(fd, i, &counts[i], 1);
	if (fd >= 0)
		close(fd);
	return ret ? progress_fail("cannot read the counters of %s: %s: %s", node, path,
				   strerror(-ret))
		   : 0;
}

int replicas_counts(struct replicas *r, uint64_t counts[ELEC_R_COUNT])
{
	for (unsigned int i = 0; r->offloads && i < r->rack->replicas; i++) {
		if (rack_nth(r->rack, RACK_REPLICA, i)->command)
			continue;
		if (add_counts(r, r->child[i].node, counts))
			return -1;
	}
	return 0;
}
