// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the replicas say of themselves, and the words that they share with their programs. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "topo/percpu.h"
#include "topo/process.h"
#include "topo/stats_internal.h"
#include "topo/seconds.h"

struct served {
	struct stats *s;
	const struct rack *rack;
};

/* The one whose page it is; before there is a page, any process of the node's command. */
static void on_process(pid_t pid, const char *node, const char *comm, void *arg)
{
	const struct served *served = arg;
	const struct rack_node *n = rack_node(served->rack, node);
	struct stats_replica *r;

	if (!n || n->role != RACK_REPLICA)
		return;
	r = &served->s->replica[n->number];
	if (r->told ? (uint32_t)pid == r->status.pid : n->command || !strcmp(comm, "replica"))
		r->pid = pid;
}

static void read_page(struct stats_replica *r, const struct rack *rack, const char *node)
{
	char path[RACK_PATH_MAX];
	uint64_t now_us;

	r->told = status_read(&r->status, rack_path(path, rack->name, RACK_STATUS "/%s", node));
	now_us = now_ns() / 1000;
	if (r->told && now_us > r->status.told_us)
		r->silent_us = now_us - r->status.told_us;
}

static void read_words(struct stats_replica *r, const struct rack *rack, const char *node)
{
	size_t page = sysconf(_SC_PAGESIZE), size = (sizeof(struct elec_state) + page - 1) & -page;
	const struct elec_state *state = MAP_FAILED;
	int fd, counts;
	char pins[32];

	snprintf(pins, sizeof(pins), "bpf/%s", node);
	fd = stats_pinned(rack, pins, "elec_state");
	counts = stats_pinned(rack, pins, "elec_counts");
	if (fd >= 0)
		state = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (state != MAP_FAILED && counts >= 0) {
		r->offloaded = true;
		r->gate = __atomic_load_n(&state->gate, __ATOMIC_ACQUIRE);
		r->control = state->control[ELEC_WORD_EPOCH(r->gate) & 1];
		r->committed = ELEC_WORD_OP(state->committed);
		r->sent = ELEC_WORD_OP(state->sent);
		r->consumed = state->consumed;
		for (uint32_t i = 0; i < ELEC_R_COUNT; i++)
			percpu_add(counts, i, &r->reasons[i], 1);
	}
	if (state != MAP_FAILED)
		munmap((void *)state, size);
	if (fd >= 0)
		close(fd);
	if (counts >= 0)
		close(counts);
}

void stats_take_replicas(struct stats *s, const struct rack *rack)
{
	struct served served = {s, rack};

	for (unsigned int i = 0; i < rack->replicas; i++) {
		read_page(&s->replica[i], rack, rack_nth(rack, RACK_REPLICA, i)->name);
		read_words(&s->replica[i], rack, rack_nth(rack, RACK_REPLICA, i)->name);
	}
	process_each(rack->name, on_process, &served);
}
