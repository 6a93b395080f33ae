/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes of ours that outlive the command that started them, in the ToR's namespace.
 * There is at most one of a name in a rack; `rack down` ends them with all others.
 */
#ifndef PAXRACK_DAEMON_H
#define PAXRACK_DAEMON_H

#include "topo/rack.h"

struct daemon;

/*
 * What it runs: 0 is its exit status for success. It calls daemon_ready() once it does its
 * work; until then what it says goes to the command's standard error, from then on to
 * log/<name>.log.
 */
typedef int (*daemon_fn)(const struct rack *rack, struct daemon *d);
void daemon_ready(struct daemon *d);

/*
 * A process beside this daemon, which keeps these of the capabilities (CAP_*) that the daemon is
 * going to give up, for one thing: what is to be done at the daemon's end. When it is the guard
 * that ends first the daemon gets a SIGCHLD. 0 or -1 having said why.
 */
int daemon_guard_start(struct daemon *d, const char *name, const int *capabilities, size_t count,
		       void (*at_end)(void));
/* Returns when it is done. A daemon that was killed has not asked for it: it is not done. */
void daemon_guard_end(struct daemon *d);

/* The one that runs, or 0. Names are at most 15 characters. */
pid_t daemon_find(const struct rack *rack, const char *name);
/* Returns when it is ready; 0, or -1: said why. */
int daemon_start(const struct rack *rack, const char *name, daemon_fn run);
/* Send it a signal and wait for its end; after timeout_ms SIGKILL, which is said. */
void daemon_end(const struct rack *rack, const char *name, int signal, int timeout_ms);

#endif
