/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Times: on the command line, and now. */
#ifndef PAXRACK_SECONDS_H
#define PAXRACK_SECONDS_H

#include <stdbool.h>
#include <stdint.h>

/* A number of seconds above 0 and at most a day; false: it is none. */
bool seconds_parse(double *seconds, const char *text);
/* CLOCK_MONOTONIC, ns. */
uint64_t now_ns(void);
uint64_t seconds_from_now(double seconds);

#endif
