/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A table of text with aligned columns; headings are its first row or rows. */
#ifndef PAXRACK_TABLE_H
#define PAXRACK_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 32

struct table {
	size_t columns; /* 1..TABLE_COLUMNS_MAX */
	uint32_t left;	/* bit i: column i stands left, else right */
	/* zero at first */
	size_t cells, room;
	char **cell; /* row after row */
	int error;   /* the first failure */
};

/* The next cell, left to right, row by row. Failures are told by table_print(). */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *t, const char *format, ...);

/* Print the full rows and free everything. Returns 0 or -errno. */
int table_print(struct table *t, FILE *out);

#endif
