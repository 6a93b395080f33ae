/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Parts of `rack steer` (cmd_steer.c). Verbs return the exit status. */
#ifndef PAXRACK_STEER_VERBS_H
#define PAXRACK_STEER_VERBS_H

#include "topo/rack.h"
#include "topo/steer.h"

#define STEER_SENTENCE_MAX 512
#define STEER_FLOW_TEXT_MAX 80

int steer_verb_path(const struct rack *rack, char **argv); /* steer_switch.c */
int steer_verb_ls(const struct rack *rack, char **argv);   /* steer_ls.c */

/* Which nodes the table steers; then which it did not steer before, told to the user. */
void steer_tables(struct steer *s, const struct rack *rack, bool table[RACK_NODES_MAX]);
void steer_say_tables(struct steer *s, const struct rack *rack, const bool before[RACK_NODES_MAX]);

#endif
