/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The transcript. Story lines are faults and changes of view, detail lines every frame
 * and step; of detail the last ones can be kept, to be printed after a violation.
 */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replica/message.h"

#define LINE 240

struct trace {
	uint32_t next, kept;
	char (*line)[LINE]; /* a ring of o.tail */
};

void trace_begin(struct sim *s)
{
	s->tracing = s->o.detail || s->o.tail;
	if (!s->o.tail)
		return;
	s->trace = need(sizeof(*s->trace));
	s->trace->line = need((size_t)s->o.tail * LINE);
}

void trace_end(struct sim *s)
{
	struct trace *t = s->trace;

	if (!t)
		return;
	for (uint32_t i = 0; i < t->kept; i++)
		puts(t->line[(t->next + s->o.tail - t->kept + i) % s->o.tail]);
	unneed(t->line);
	unneed(t);
}

void trace_line(struct sim *s, bool is_story, const char *format, ...)
{
	char line[LINE];
	va_list args;
	int at;

	if (!(is_story ? s->o.story || s->trace : s->tracing))
		return;
	at = snprintf(line, sizeof(line), "%12.6f  ", (double)s->now_ns / 1e6);
	va_start(args, format);
	vsnprintf(line + at, sizeof(line) - at, format, args);
	va_end(args);
	if (s->trace) {
		memcpy(s->trace->line[s->trace->next++ % s->o.tail], line, LINE);
		s->trace->next %= s->o.tail;
		if (s->trace->kept < s->o.tail)
			s->trace->kept++;
	} else {
		puts(line);
	}
}

static const char *node_name(uint8_t last_byte, char *out)
{
	uint32_t node = last_byte - 1;

	if (node < SIM_REPLICAS_MAX)
		sprintf(out, "r%u", node);
	else
		sprintf(out, "c%u", node - SIM_REPLICAS_MAX);
	return out;
}

const char *trace_frame(const struct frame *f)
{
	static char text[160];
	static struct entry room[MESSAGE_ENTRIES_MAX];
	const uint8_t *data = f->data + NET_PAYLOAD_AT;
	size_t len = f->len - NET_PAYLOAD_AT;
	char from[16], to[16];
	struct message m;
	struct wire_head head;
	enum wire_error error = wire_decode_head(&head, data, len);
	int at = sprintf(text, "%s>%s ", node_name(f->data[11], from), node_name(f->data[5], to));

	if (error != WIRE_OK) {
		sprintf(text + at, "(%s) %zu bytes", wire_error_names[error], len);
		return text;
	}
	if (head.kind == WIRE_FRAGMENT) {
		sprintf(text + at, "fragment %zu bytes", len);
		return text;
	}
	if (head.kind == WIRE_MY_PREPARE_OK || head.kind == WIRE_PREPARE_OK) {
		sprintf(text + at, "%s v%u %u i%u", wire_kind_names[head.kind], head.fast[0],
			head.fast[1], head.fast[2]);
		return text;
	}
	wire_set_broadcast((uint8_t *)data, false);
	error = message_decode(&m, data, len, room, MESSAGE_ENTRIES_MAX);
	if (head.fast[0] & WIRE_BROADCAST)
		wire_set_broadcast((uint8_t *)data, true);
	if (error != WIRE_OK) {
		sprintf(text + at, "%s (%s)", wire_kind_names[head.kind], wire_error_names[error]);
		return text;
	}
	at += sprintf(text + at, "%s%s", wire_kind_names[m.kind],
		      head.fast[0] & WIRE_BROADCAST ? "*" : "");
	if (m.kind == WIRE_REQUEST)
		sprintf(text + at, " %" PRIu64, m.entries.ring[0].reqid);
	else if (m.kind == WIRE_REPLY)
		sprintf(text + at, " v%" PRIu64 " op%" PRIu64 " %" PRIu64, m.view, m.opnum,
			m.reqid);
	else if (m.kind == WIRE_PREPARE)
		sprintf(text + at, " v%" PRIu64 " %" PRIu64 "..%" PRIu64 " commit %" PRIu64, m.view,
			m.batchstart, m.opnum, m.committed);
	else
		sprintf(text + at,
			" v%" PRIu64 " op%" PRIu64 " commit %" PRIu64 " normal %" PRIu64
			" entries %u nonce %" PRIx64 " snap %" PRIu64 "+%" PRIu64,
			m.view, m.opnum, m.committed, m.last_normal, m.entries.count, m.nonce,
			m.snapshot.opnum, m.snapshot.offset);
	return text;
}
