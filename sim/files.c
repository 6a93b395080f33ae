/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What outlives a replica's process: its journal, on tmpfs, and its kernel maps. */
#include <stdio.h>
#include <unistd.h>

#include "sim/wrap.h"

#define FOLDER "/dev/shm"

void files_open(struct node *node)
{
	snprintf(node->journal, sizeof(node->journal), FOLDER "/paxrack-sim.%d.r%u", getpid(),
		 node->index);
	files_lose(node, true, true);
}

void files_lose(struct node *node, bool journal, bool maps)
{
	char unfinished[sizeof(node->journal) + 8];

	if (journal) {
		unlink(node->journal);
		snprintf(unfinished, sizeof(unfinished), "%s.new", node->journal);
		unlink(unfinished);
	}
	if (maps && node->kernel)
		kernel_reset(node->kernel);
	check_lost(node, journal, maps);
}

void files_options(struct node *node, struct process_options *options)
{
	options->journal = node->journal;
	options->format = node->life == 1;
}
