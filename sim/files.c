/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What outlives a replica's process: its kernel maps, and the folder with its journal. */
#include "sim/wrap.h"

void files_open(struct node *node)
{
	(void)node;
}

void files_lose(struct node *node, bool journal, bool maps)
{
	if (journal)
		check_lost(node);
	if (maps && node->kernel)
		kernel_reset(node->kernel);
}

void files_options(struct node *node, struct process_options *options)
{
	(void)node;
	(void)options;
}
