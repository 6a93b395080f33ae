// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "topo/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void doctor_group(struct doctor *d, const char *group)
{
	d->group = group;
}

static char *text(struct doctor *d, const char *fmt, va_list args)
{
	char *out;

	if (vasprintf(&out, fmt, args) >= 0)
		return out;
	d->out_of_memory = true;
	return NULL;
}

void doctor_add(struct doctor *d, enum doctor_status status, const char *key, const char *what,
		const char *fmt, ...)
{
	struct doctor_line *more = reallocarray(d->lines, d->count + 1, sizeof(*more)), *line;
	va_list args;

	if (!more) {
		d->out_of_memory = true;
		return;
	}
	d->lines = more;
	line = &d->lines[d->count++];
	*line = (struct doctor_line){
		.status = status, .group = d->group, .key = strdup(key), .what = strdup(what)};
	va_start(args, fmt);
	line->found = text(d, fmt, args);
	va_end(args);
	if (!line->key || !line->what)
		d->out_of_memory = true;
}

static struct doctor_line *last(struct doctor *d)
{
	return d->count ? &d->lines[d->count - 1] : NULL;
}

void doctor_so(struct doctor *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (last(d) && !last(d)->so)
		last(d)->so = text(d, fmt, args);
	va_end(args);
}

void doctor_remedy(struct doctor *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (last(d) && !last(d)->remedy)
		last(d)->remedy = text(d, fmt, args);
	va_end(args);
}

void doctor_where(struct doctor *d, const struct rack_node *node, const char *end)
{
	if (!last(d))
		return;
	last(d)->node = node;
	last(d)->end = strdup(end);
	if (!last(d)->end)
		d->out_of_memory = true;
}

bool doctor_ill(const struct doctor *d)
{
	for (size_t i = 0; i < d->count; i++) {
		if (d->lines[i].status >= DOCTOR_MISSING)
			return true;
	}
	return false;
}

void doctor_free(struct doctor *d)
{
	for (size_t i = 0; i < d->count; i++) {
		struct doctor_line *line = &d->lines[i];

		free(line->key);
		free(line->what);
		free(line->found);
		free(line->so);
		free(line->remedy);
		free(line->end);
	}
	free(d->lines);
}
