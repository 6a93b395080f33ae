// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer on the core: one replica of three, and whatever the others and a client may
 * send it (promise L3). Input: a byte that says how it begins, then events. Messages are
 * built from fields, for bytes that are no message are fuzz_decode's part; most fields
 * are one byte, so that they meet the state by chance. Beyond what the sanitizers and
 * the core's own asserts see: the rules of vr.h for who drives it.
 */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "replica/vr.h"

#define REPLICAS 3
#define CLIENT 3
#define EVENTS_MAX 200
#define RESTORE_NOTHING 0x80 /* in the first byte */
#define RESTORE 0x40
#define SNAPSHOT_MAX (64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

/*
 * Opening a core takes 10 MiB in a few pieces, which the sanitizer's allocator maps and unmaps
 * each time: that took ten times as long as the events. Here they come out of memory that stays,
 * poisoned around each (linked with --wrap).
 */
#define POOL_SIZE (32u << 20)
#define LARGE (16u << 10)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *data);

static uint8_t pool[POOL_SIZE] __attribute__((aligned(64)));
static size_t pool_used;

static void pool_reset(void)
{
	__asan_poison_memory_region(pool, sizeof(pool));
	pool_used = 0;
}

void *__wrap_malloc(size_t size)
{
	uint8_t *data = pool + pool_used;

	if (size < LARGE)
		return __real_malloc(size);
	must(size <= POOL_SIZE - 128 - pool_used);
	pool_used += (size + 127) / 64 * 64;
	__asan_unpoison_memory_region(data, size);
	return data;
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (count * size < LARGE)
		return __real_calloc(count, size);
	return memset(__wrap_malloc(count * size), 0, count * size);
}

void __wrap_free(void *data)
{
	if ((uint8_t *)data < pool || (uint8_t *)data >= pool + POOL_SIZE)
		__real_free(data);
}

struct input {
	const uint8_t *at, *end;
};

struct drive {
	struct vr *vr;
	uint64_t now_us;
	uint64_t nonce; /* of the last Recovery that it sent: nobody guesses it */
	bool frozen;
};

static uint8_t take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* Small numbers, and those at which something overflows. */
static uint64_t number(struct input *in)
{
	static const uint64_t odd[] = {
		0x7ffffffe, 0x7fffffff,	    0xffffffff, 1ULL << 32,
		INT64_MAX,  UINT64_MAX - 1, UINT64_MAX,
	};
	uint8_t byte = take(in);

	return byte >= 249 ? odd[byte - 249] : byte;
}

static struct bytes blob(struct input *in)
{
	uint8_t len = take(in);
	struct bytes b = {in->at, len};

	if (b.len > in->end - in->at)
		b.len = in->end - in->at;
	in->at += b.len;
	return b;
}

/* ---- what the core puts out ---- */

static void take_snapshot(struct vr *vr)
{
	size_t len = vr_snapshot_len(vr);
	uint8_t *out = malloc(len);

	must(out);
	vr_snapshot(vr, out);
	free(out);
}

static void look_at(struct drive *d, const struct vr_action *a)
{
	static struct entry room[MESSAGE_ENTRIES_MAX];
	struct wire_head head;
	struct message m;

	must(wire_decode_head(&head, a->data, a->len) == WIRE_OK);
	if (head.kind == WIRE_FRAGMENT)
		return;
	must(message_decode(&m, a->data, a->len, room, MESSAGE_ENTRIES_MAX) == WIRE_OK);
	if (m.kind == WIRE_RECOVERY)
		d->nonce = m.nonce;
}

static void carry_out(struct drive *d, const struct vr_action *a)
{
	switch (a->kind) {
	case VR_SEND:
	case VR_BROADCAST:
	case VR_REPLY:
		look_at(d, a);
		break;
	case VR_RECORD_ENTRIES:
		for (uint64_t op = a->first; op <= a->op; op++)
			must(vr_entry(d->vr, op));
		break;
	case VR_RECORD_VIEW:
		must(a->view_state->n == REPLICAS);
		must(a->view_state->last_normal <= a->view_state->view);
		break;
	case VR_RECORD_SNAPSHOT:
		take_snapshot(d->vr);
		break;
	case VR_THAW:
		must(d->frozen);
		must(a->view <= WIRE_VIEW_MAX);
		must(a->op <= UINT32_MAX);
		d->frozen = false;
		break;
	default:
		break;
	}
}

static enum vr_result step(struct drive *d, const struct vr_event *event)
{
	struct vr_out out;
	enum vr_result result = vr_step(d->vr, event, &out);
	struct vr_info info;

	if (result == VR_OK)
		for (uint32_t i = 0; i < out.count; i++)
			carry_out(d, &out.actions[i]);
	vr_info(d->vr, &info);
	must(info.executed <= info.committed);
	must(info.executed <= info.op);
	must(info.base <= info.executed);
	must(info.last_normal <= info.view);
	must(info.frozen == d->frozen);
	return result;
}

static void drive(struct drive *d, struct vr_event *event)
{
	struct vr_event frozen = {.kind = VR_EVENT_FROZEN, .now_us = d->now_us};

	event->now_us = d->now_us;
	if (step(d, event) != VR_FREEZE)
		return;
	must(!d->frozen);
	d->frozen = true;
	must(step(d, &frozen) == VR_OK);
	while (step(d, event) == VR_FREEZE) {
		must(!d->frozen);
		d->frozen = true;
		must(step(d, &frozen) == VR_OK);
	}
}

/* ---- what comes in ---- */

static void read_entries(struct input *in, struct entry *entries, struct entries *out)
{
	uint64_t op = number(in);

	*out = (struct entries){.ring = entries, .count = take(in) % 8, .mask = UINT32_MAX};
	for (uint32_t i = 0; i < out->count; i++) {
		struct entry *e = &entries[i];

		*e = (struct entry){.view = number(in), .opnum = op + i};
		e->clientid = take(in) % 4;
		e->reqid = number(in);
		e->op = blob(in);
	}
}

static void message(struct drive *d, struct input *in, uint8_t from)
{
	static uint8_t encoded[MESSAGE_LEN_MAX];
	struct entry entries[8];
	struct message m = {.kind = 1 + take(in) % (WIRE_FRAGMENT - 1)};
	struct vr_event event = {
		.kind = VR_EVENT_MESSAGE,
		.data = encoded,
		.from = from < REPLICAS ? from : VR_FROM_CLIENT,
		.address = {.addr = 1 + from, .port = 1},
	};
	uint8_t has = take(in);

	m.index = has & 0x40 ? take(in) % ELEC_REPLICAS_MAX : from % REPLICAS;
	m.view = number(in);
	m.opnum = number(in);
	m.committed = number(in);
	m.last_normal = number(in);
	m.nonce = take(in) ? d->nonce : 1;
	m.has_committed = has & 1;
	m.has_opnum = has & 2;
	if (has & 4)
		read_entries(in, entries, &m.entries);
	m.batchstart = m.opnum - m.entries.count + 1;
	if (has & 8) {
		m.snapshot.opnum = number(in);
		m.snapshot.offset = number(in);
		m.snapshot.total = number(in);
		m.snapshot.data = blob(in);
	}
	if (has & 16) {
		m.snapshot_op = number(in);
		m.snapshot_offset = number(in);
	}
	if (has & 32) {
		m.crash_count = take(in) % 5;
		for (uint32_t i = 0; i < m.crash_count; i++)
			m.crash[i] = number(in);
	}
	if (has & 128)
		m.reply = blob(in);
	event.len = message_encode(&m, encoded, sizeof(encoded));
	if (event.len)
		drive(d, &event);
}

static void fragment(struct drive *d, struct input *in, uint8_t from)
{
	static uint8_t encoded[WIRE_FRAGMENT_HEAD + WIRE_FRAGMENT_MAX];
	struct wire_fragment f = {.id = take(in) % 4};
	struct bytes b;
	uint8_t how = take(in);
	struct vr_event event = {
		.kind = VR_EVENT_MESSAGE,
		.data = encoded,
		.from = from < REPLICAS ? from : VR_FROM_CLIENT,
		.address = {.addr = 1 + from, .port = 1},
	};

	f.offset = number(in);
	f.total = number(in);
	b = blob(in);
	f.len = how & 1 ? WIRE_FRAGMENT_MAX : b.len;
	if (how & 2) {
		f.offset *= WIRE_FRAGMENT_MAX;
		f.total = f.offset + f.len;
	}
	if (how & 4)
		f.total += WIRE_FRAGMENT_MAX;
	wire_encode_fragment_head(encoded, &f);
	memset(encoded + WIRE_FRAGMENT_HEAD, 0, WIRE_FRAGMENT_MAX);
	memcpy(encoded + WIRE_FRAGMENT_HEAD, b.data, b.len);
	event.len = WIRE_FRAGMENT_HEAD + f.len;
	drive(d, &event);
}

static void acks(struct drive *d, struct input *in)
{
	uint64_t acked[REPLICAS];
	struct vr_event event = {.kind = VR_EVENT_ACKS, .acked = acked};
	uint64_t last = vr_op(d->vr);

	for (int i = 0; i < REPLICAS; i++) { /* the words never pass `sent` */
		acked[i] = take(in);
		if (acked[i] > last)
			acked[i] = last;
	}
	drive(d, &event);
}

/* What a journal may say. False: it does not fit together, and the process would refuse it. */
static bool restore(struct vr *vr, struct input *in)
{
	struct entry entry[8];
	struct entries entries;
	struct vr_view_state state = {.view = take(in), .n = REPLICAS};
	struct bytes snapshot;

	state.last_normal = take(in);
	state.status = take(in) % (VR_RECOVERING + 1);
	for (int i = 0; i < REPLICAS; i++)
		state.crash[i] = take(in);
	snapshot = blob(in);
	if (snapshot.len && !vr_restore_snapshot(vr, snapshot.data, snapshot.len))
		return false;
	if (!vr_restore_view(vr, &state))
		return false;
	read_entries(in, entry, &entries);
	for (uint32_t i = 0; i < entries.count; i++)
		if (entry[i].view > state.view || !vr_restore_entry(vr, &entry[i]))
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = {data, data + len};
	uint8_t how = take(&in);
	struct vr_config config = {
		.n = REPLICAS,
		.self = how % 16 % REPLICAS,
		.app = app_find("kv"),
		.seed = 1,
		.log_ops = 256,
		.log_bytes = 1024, /* so that it is full soon */
		.clients = 4,
		.op_max = 64,
		.snapshot_max = SNAPSHOT_MAX,
	};
	struct drive d = {.now_us = 1000000, .frozen = true};
	struct vr_event start = {.kind = VR_EVENT_START};
	char error[256];

	pool_reset();
	d.vr = vr_open(&config, error, sizeof(error));
	must(d.vr);
	if (how & RESTORE_NOTHING)
		vr_restore_nothing(d.vr);
	else if (how & RESTORE && !restore(d.vr, &in))
		goto out;
	drive(&d, &start);
	for (int i = 0; i < EVENTS_MAX && in.at < in.end; i++) {
		struct vr_event tick = {.kind = VR_EVENT_TICK};
		uint8_t what = take(&in);

		switch (what % 8) {
		case 0:
			d.now_us += 1000 * (what / 8 + 1);
			drive(&d, &tick);
			break;
		case 1: /* as long as the core asks for */
			if (vr_deadline(d.vr) > d.now_us && vr_deadline(d.vr) != UINT64_MAX)
				d.now_us = vr_deadline(d.vr);
			drive(&d, &tick);
			break;
		case 2:
			acks(&d, &in);
			break;
		case 3:
			fragment(&d, &in, what / 8 % (CLIENT + 1));
			break;
		default:
			message(&d, &in, what / 8 % (CLIENT + 1));
		}
	}
out:
	vr_close(d.vr);
	return 0;
}
