/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A service that is not replicated: each Request is executed and answered at once. In the place
 * of the core (the same events in, the same actions out, so the same process around it)
 * it is the floor that replication is measured against.
 */
#ifndef PAXRACK_ECHO_H
#define PAXRACK_ECHO_H

#include "replica/vr.h"

struct echo;

/* NULL: out of memory. */
struct echo *echo_open(const struct app *app);
void echo_close(struct echo *echo);

/* As vr_step(); always VR_OK. */
enum vr_result echo_step(struct echo *echo, const struct vr_event *event, struct vr_out *out);

/* Requests answered. */
uint64_t echo_count(const struct echo *echo);

#endif
