/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Long options by a table; the help is printed from it. */
#ifndef PAXRACK_OPTIONS_H
#define PAXRACK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct option_row {
	const char *name;  /* without the dashes */
	const char *value; /* what it takes, for the help; NULL: nothing */
	const char *help;
	/* Where it goes: one of these. */
	const char **text;
	uint64_t *number; /* decimal, min..max */
	bool *flag;
	uint64_t min, max;
};

/*
 * Returns -1: go on; else the exit status: 0 after --help, 2 after one sentence on
 * standard error ("program: ...") about an option that cannot be. Nothing but options is taken.
 */
int options_parse(const char *program, const char *about, const struct option_row *rows,
		  size_t count, int argc, char **argv);

/* One sentence on standard error, "program: " before and a newline after it. */
void options_say(const char *program, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
