/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program of ours that runs in a node of the rack, and what it says. */
#ifndef PAXRACK_CHILD_H
#define PAXRACK_CHILD_H

#include <sys/types.h>

#include "topo/rack.h"

#define CHILD_STOP_MS 5000 /* from SIGTERM to SIGKILL */
#define CHILD_HOW_MAX 32

struct child {
	const char *node;
	pid_t pid; /* 0: not running */
	int pidfd;
	int out;  /* its stdout, in memory */
	int pipe; /* read end: what it tells while it runs */
};

#define CHILD_NONE(node)                                                                           \
	{                                                                                          \
		node, 0, -1, -1, -1                                                                \
	}

/* The folder of this program, where the others lie, or NULL having said what is missing. */
const char *child_programs(char buf[RACK_PATH_MAX]);

/*
 * Start `program` of folder `programs` in the child's node. argv ends with NULL, argv[0]
 * is filled in here. `told` is the write end of the pipe: its number is in argv, it
 * is passed on and closed here. stderr goes to log/<node>.log. Returns 0, or -1: said why.
 */
int child_start(const struct rack *rack, struct child *c, const char *programs, const char *program,
		const char **argv, int told);
/* The same for a foreign program: the node's command, in a shell, {index} and so on filled in. */
int child_start_command(const struct rack *rack, struct child *c, const struct rack_node *node);
/* Its log begins anew. */
void child_forget_log(const struct rack *rack, const char *node);
/* Ends it if it runs; its wait status, or -1 when there was nothing to end. */
int child_stop(const struct rack *rack, struct child *c);
/* Closes the descriptors. */
void child_close(struct child *c);

/* What it has written to stdout; its length, or -1. */
ssize_t child_output(const struct child *c, char *text, size_t size);
/* The last whole line of that, without its end; its length, or -1: there is none. */
ssize_t child_last_line(const struct child *c, char *text, size_t size);
/* The end of its log, on standard error. */
void child_show_log(const struct rack *rack, const char *node);
/* "exit status 1", "killed by signal 9" */
const char *child_describe(int status, char how[CHILD_HOW_MAX]);

#endif
