/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "topo/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void table_cell(struct table *t, const char *format, ...)
{
	va_list args;
	int len;

	if (t->cells == t->room) {
		size_t room = t->room ? 2 * t->room : 64;
		char **more = reallocarray(t->cell, room, sizeof(*more));

		if (!more) {
			t->error = -ENOMEM;
			return;
		}
		t->cell = more;
		t->room = room;
	}
	va_start(args, format);
	len = vasprintf(&t->cell[t->cells], format, args);
	va_end(args);
	if (len < 0)
		t->error = -ENOMEM;
	else
		t->cells++;
}

int table_print(struct table *t, FILE *out)
{
	int width[TABLE_COLUMNS_MAX] = {};

	for (size_t i = 0; i < t->cells; i++) {
		int len = strlen(t->cell[i]);

		if (len > width[i % t->columns])
			width[i % t->columns] = len;
	}
	for (size_t i = 0; i < t->cells; i++) {
		size_t column = i % t->columns;
		bool left = t->left >> column & 1, end = column + 1 == t->columns;

		/* a left column at the end of the line needs no blanks behind it */
		fprintf(out, "%s%*s%s", column ? "  " : "",
			left ? (end ? 0 : -width[column]) : width[column], t->cell[i],
			end ? "\n" : "");
		free(t->cell[i]);
	}
	if (fflush(out))
		t->error = -errno;
	free(t->cell);
	t->cell = NULL;
	t->cells = t->room = 0;
	return t->error;
}
