/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One line on standard error that is written over and over; nothing unless that is a terminal. */
#ifndef PAXRACK_PROGRESS_H
#define PAXRACK_PROGRESS_H

__attribute__((format(printf, 1, 2))) void progress_show(const char *format, ...);
void progress_clear(void);

/* rack_say() on a line of its own; returns -1. */
__attribute__((format(printf, 1, 2))) int progress_fail(const char *format, ...);

#endif
