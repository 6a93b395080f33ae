/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The format is described in pytests/conformance/cases.py, the fields in frames.py. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "pytests/fuzz/bytes.h"
#include "pytests/fuzz/print.h"

enum print {
	NUMBER,
	SIGNED,
	BOOL,
	WORD,
	CLOCK,
	OFFLOADS,
	MAC,
	IP,
	LIST,
	SUM,
	NOPS,
	BYTES,
	NAME,
	BODY
};

struct key {
	const char *name;
	enum print print;
};

static const struct key before_keys[BEFORE_COUNT] = {
#define X(id, key, print) {key, print},
	BEFORE_FIELDS(X)
#undef X
};

static const struct key frame_keys[FRAME_COUNT] = {
#define X(id, key, print) {key, print},
	FRAME_FIELDS(X)
#undef X
};

static void print_bytes(FILE *to, uint64_t value, int size, const char *between)
{
	for (int i = size - 1; i >= 0; i--)
		fprintf(to, "%02x%s", (unsigned int)(value >> 8 * i & 0xff), i ? between : "");
}

static void print_ip(FILE *to, uint32_t ip)
{
	fprintf(to, "\"%u.%u.%u.%u\"", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void print_hex(FILE *to, const uint8_t *bytes, size_t size)
{
	fputc('"', to);
	for (size_t i = 0; i < size; i++)
		fprintf(to, "%02x", bytes[i]);
	fputc('"', to);
}

static void print_word(FILE *to, uint64_t word, uint32_t epoch)
{
	if (ELEC_WORD_EPOCH(word) == epoch)
		fprintf(to, "%u", ELEC_WORD_OP(word));
	else
		fprintf(to, "[%u, %u]", ELEC_WORD_EPOCH(word), ELEC_WORD_OP(word));
}

static void print_offloads(FILE *to, uint64_t offloads)
{
	fprintf(to, "[%s%s%s]", offloads & ELEC_OFFLOAD_BROADCAST ? "broadcast, " : "",
		offloads & ELEC_OFFLOAD_ACK ? "ack, " : "",
		offloads & ELEC_OFFLOAD_QUORUM ? "quorum" : "");
}

static void print_sum(FILE *to, uint64_t value)
{
	static const char *const names[] = {NULL, "wrong", "zero", "partial"};

	if (value >> 16)
		fputs(names[value >> 16], to);
	else
		fprintf(to, "%" PRIu64, value);
}

/* `bytes`: what a frame keeps beside its values; `epoch`: of the gate. */
static void print_value(FILE *to, enum print print, uint64_t value, const uint8_t *bytes,
			uint32_t epoch)
{
	static const uint8_t nops[40] = {[0 ... 39] = 1};

	switch (print) {
	case NUMBER:
		fprintf(to, "%" PRIu64, value);
		break;
	case SIGNED:
		fprintf(to, "%" PRId64, (int64_t)value);
		break;
	case BOOL:
		fputs(value ? "true" : "false", to);
		break;
	case WORD:
		print_word(to, value, epoch);
		break;
	case CLOCK:
		fputs("kernel", to);
		break;
	case OFFLOADS:
		print_offloads(to, value);
		break;
	case MAC:
		if (value < FRAME_ADDRESS) {
			fprintf(to, "%" PRIu64, value);
			break;
		}
		fputc('"', to);
		print_bytes(to, value, 6, ":");
		fputc('"', to);
		break;
	case IP:
		if (value < FRAME_ADDRESS)
			fprintf(to, "%" PRIu64, value);
		else
			print_ip(to, value);
		break;
	case LIST:
		fputs(value == 1 ? "[7]" : "[7, 8]", to);
		break;
	case SUM:
		print_sum(to, value);
		break;
	case NOPS:
		print_hex(to, nops, value);
		break;
	case BYTES:
		print_hex(to, bytes, value);
		break;
	case NAME:
		fprintf(to, "\"%s\"", frame_names[value]);
		break;
	case BODY:
		if (value & FRAME_BODY_BYTES)
			print_hex(to, bytes, value & ~FRAME_BODY_BYTES);
		else
			fprintf(to, "%" PRIu64, value);
		break;
	}
}

static void print_acked(FILE *to, const char *comma, uint64_t has, const __u64 *acked,
			uint32_t epoch)
{
	fprintf(to, "%sacked: {", comma);
	for (int i = 0, n = 0; i < ELEC_REPLICAS_MAX; i++) {
		if (!(has >> i & 1))
			continue;
		fprintf(to, "%s%d: ", n++ ? ", " : "", i);
		print_word(to, acked[i], epoch);
	}
	fputc('}', to);
}

static void print_change(FILE *to, const char *comma, const struct change *c, uint32_t epoch)
{
	for (int field = 0; field < BEFORE_COUNT; field++) {
		if (!change_has(c, field) || (field == BEFORE_CLOCK && !c->value[field]))
			continue;
		fprintf(to, "%s%s: ", comma, before_keys[field].name);
		print_value(to, before_keys[field].print, c->value[field], NULL, epoch);
		comma = ", ";
	}
	if (c->acked_has)
		print_acked(to, comma, c->acked_has, c->acked, epoch);
}

static void print_start(FILE *to, const struct start *s)
{
	const char *comma = "";

	fprintf(to, "        {base: %s", s->leader ? "leader" : "follower");
	print_change(to, ", ", &s->change, start_value(s, BEFORE_EPOCH));
	if (s->members_has) {
		fputs(", members: {", to);
		for (int i = 0; i < ELEC_REPLICAS_MAX; i++) {
			struct elec_member m = start_member(s, i);

			if (!(s->members_has >> i & 1))
				continue;
			fprintf(to, "%s%d: {mac: \"%02x:%02x:%02x:%02x:%02x:%02x\", ip: ", comma, i,
				m.mac[0], m.mac[1], m.mac[2], m.mac[3], m.mac[4], m.mac[5]);
			print_ip(to, ntohl(m.addr));
			fprintf(to, ", port: %u}", ntohs(m.port));
			comma = ", ";
		}
		fputc('}', to);
	}
	fputs("}\n", to);
}

static void print_frame(FILE *to, const struct frame *f, int size)
{
	const char *comma = "";

	fprintf(to, "frame: {kind: %s", frame_kinds[f->kind]);
	for (int field = 0; field < FRAME_COUNT; field++) {
		if (!frame_has(f, field) ||
		    (field == FRAME_CUT && f->value[field] >= (uint64_t)size) ||
		    (field == FRAME_FLAG && !f->value[field]))
			continue;
		fprintf(to, ", %s: ", frame_keys[field].name);
		print_value(to, frame_keys[field].print, f->value[field], f->bytes, 0);
	}
	for (int i = 0; i < f->patches; i++) /* one at most is in a frame */
		if (f->patch_at[i] < size)
			fprintf(to, ", patch: {%u: \"%02x\"}", f->patch_at[i], f->patch[i]);
	for (int i = 0; i < f->flips; i++)
		if (f->flip[i] / 8 < size) {
			fprintf(to, "%s%u", *comma ? comma : ", flip: [", f->flip[i]);
			comma = ", ";
		}
	fputs(*comma ? "]}" : "}", to);
}

static void print_context(FILE *to, const struct context *c)
{
	if (c->no_tailroom)
		fputs(" context: {tailroom: false},", to);
	else if (c->meta)
		fprintf(to, " context: {meta: %u},", c->meta);
	else if (c->gso && c->no_link)
		fputs(" context: {gso: true, link: false},", to);
	else if (c->gso)
		fputs(" context: {gso: true},", to);
	else if (c->no_link)
		fputs(" context: {link: false},", to);
}

static void print_after(FILE *to, const struct model *m, const struct elec_state *before,
			const struct outcome *out)
{
	const struct elec_state *s = &m->state;
	uint32_t epoch = ELEC_WORD_EPOCH(s->gate);
	const char *comma = "";
	uint64_t acked = 0;

	for (int i = 0; i < ELEC_REPLICAS_MAX; i++)
		acked |= (uint64_t)(s->acked[i] != before->acked[i]) << i;
	if (out->slot < 0 && !memcmp(s, before, sizeof(*s)))
		return;
	fputs(",\n           after: {", to);
	if (s->gate != before->gate) {
		fprintf(to, "last: %u", ELEC_WORD_OP(s->gate));
		comma = ", ";
	}
	if (s->sleeping != before->sleeping)
		fprintf(to, "%ssleeping: %u", comma, s->sleeping);
	if (s->committed != before->committed) {
		fprintf(to, "%scommitted: ", comma);
		print_word(to, s->committed, epoch);
		comma = ", ";
	}
	if (acked)
		print_acked(to, comma, acked, s->acked, epoch);
	if (out->slot >= 0 && m->slot_is[out->slot] == SLOT_SCRATCH)
		fprintf(to, "%sscratch: %d", comma, out->slot);
	else if (out->slot >= 0)
		fprintf(to, "%sslot: {index: %d, epoch: %u, first: %u, last: %u}", comma, out->slot,
			m->log[out->slot].epoch, m->log[out->slot].first, m->log[out->slot].last);
	fputc('}', to);
}

static void print_expectation(FILE *to, const struct model *m, const struct outcome *out)
{
	const struct elec_control *page = &m->state.control[ELEC_WORD_EPOCH(m->state.gate) & 1];
	const char *comma = "";

	fprintf(to, " expect: %s %s", verdict_names[out->verdict], reason_names[out->reason]);
	if (out->verdict == VERDICT_TX)
		fprintf(to, ", ack: {view: %u, op: %u, index: %u}", out->view, out->op, out->index);
	if (out->wakes)
		fprintf(to, ", notes: {wake: %u}", out->wakes);
	if (out->clones_failed)
		fprintf(to, ", notes: {tc-clone-failed: %u}", out->clones_failed);
	if (out->verdict != VERDICT_STOLEN)
		return;
	fputs(", clones: [", to);
	for (uint32_t i = 0; out->clones && i < page->n; i++)
		if (i != page->self) {
			fprintf(to, "%s%u", comma, i);
			comma = ", ";
		}
	fputc(']', to);
}

static void print_step(FILE *to, struct model *m, const struct story *story, int number)
{
	const struct step *step = &story->step[number];
	struct elec_state before;
	struct outcome out;
	uint8_t frame[FRAME_MAX];
	struct frame whole = step->frame;
	int size;

	fputs("        - {", to);
	change_apply(&step->set, m, false, 0);
	if (!change_empty(&step->set)) {
		fputs("set: {", to);
		print_change(to, "", &step->set, ELEC_WORD_EPOCH(m->state.gate));
		fputs("},\n           ", to);
	}
	before = m->state;
	whole.has &= ~(1ULL << FRAME_CUT);
	size = frame_build(&whole, m, start_members(&story->start), story->tc, frame);
	print_frame(to, &step->frame, size);
	fputs(",\n          ", to);
	size = frame_build(&step->frame, m, start_members(&story->start), story->tc, frame);
	print_context(to, &step->context);
	if (story->tc)
		model_tc(m, frame, size, &step->context, &out);
	else
		model_xdp(m, frame, size, &step->context, &out);
	print_expectation(to, m, &out);
	print_after(to, m, &before, &out);
	fputs("}\n", to);
}

/* What live devices cannot do. */
static void print_skip(FILE *to, const struct story *story)
{
	const char *why = NULL;

	for (int i = 0; i < story->steps; i++) {
		const struct context *c = &story->step[i].context;

		why = c->no_tailroom ? "a live device always leaves room"
		      : c->meta	     ? "a socket cannot send metadata"
		      : c->gso	     ? "segmentation offload is off in a rack"
		      : c->no_link   ? "a socket does not reach TC while the link is down"
				     : why;
	}
	if (why)
		fprintf(to, "      skip: {generic: \"%s\", native: \"%s\"}\n", why, why);
}

int print_case(FILE *to, const struct story *story, const char *name, enum model_wrong wrong)
{
	struct model m;
	int ret;

	ret = model_init(&m, start_value(&story->start, BEFORE_LOG_SIZE),
			 start_value(&story->start, BEFORE_OFFLOADS),
			 start_value(&story->start, BEFORE_PORT));
	if (ret)
		return ret;
	m.wrong = wrong;
	start_apply(&story->start, &m, 0);
	fprintf(to, "- group: found by make fuzz\n  promise: %s\n  cases:\n    - name: %s\n",
		story->tc ? "[S9, S10]" : "[S1, S3]", name);
	print_skip(to, story);
	fputs("      before:\n", to);
	print_start(to, &story->start);
	fputs("      steps:\n", to);
	for (int i = 0; i < story->steps; i++)
		print_step(to, &m, story, i);
	model_free(&m);
	return 0;
}
