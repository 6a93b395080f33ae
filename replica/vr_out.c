// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Actions of a step, and the bytes that they point to. A step makes a bounded number
 * of them by itself; loops over ops or peers ask vr_out_room() and go on at the next
 * tick, so that nothing here can run over.
 */
#include <stdlib.h>
#include <string.h>

#include "replica/vr_core.h"

#define ARENA_SIZE (4u << 20)
#define ACTIONS_MAX 8192
/* Room that a loop leaves: for the few messages, of any length, that a step makes besides. */
#define MESSAGES_RESERVE 8
#define ACTIONS_RESERVE (MESSAGES_RESERVE * (VR_PIECES_MAX + 2))
#define ARENA_RESERVE (MESSAGES_RESERVE * (MESSAGE_LEN_MAX + VR_PIECES_MAX * WIRE_FRAGMENT_HEAD))

bool vr_out_open(struct vr *vr)
{
	vr->actions = calloc(ACTIONS_MAX, sizeof(*vr->actions));
	vr->arena = malloc(ARENA_SIZE);
	vr->scratch = malloc(MESSAGE_LEN_MAX);
	return vr->actions && vr->arena && vr->scratch;
}

void vr_out_close(struct vr *vr)
{
	free(vr->actions);
	free(vr->arena);
	free(vr->scratch);
}

bool vr_out_room(struct vr *vr)
{
	if (vr->action_count + ACTIONS_RESERVE <= ACTIONS_MAX &&
	    vr->arena_used + ARENA_RESERVE <= ARENA_SIZE)
		return true;
	vr->more = true;
	return false;
}

struct vr_action *vr_act(struct vr *vr, enum vr_action_kind kind)
{
	struct vr_action *a = &vr->actions[vr->action_count++];

	assert(vr->action_count <= ACTIONS_MAX);
	*a = (struct vr_action){.kind = kind};
	return a;
}

void vr_record_entries(struct vr *vr, uint64_t first, uint64_t last)
{
	struct vr_action *a = vr_act(vr, VR_RECORD_ENTRIES);

	a->first = first;
	a->op = last;
}

void vr_record_view(struct vr *vr)
{
	struct vr_view_state *state = &vr->recorded[vr->recorded_count++];

	assert(vr->recorded_count <= VR_RECORD_VIEWS);
	vr_view_state(vr, state);
	vr_act(vr, VR_RECORD_VIEW)->view_state = state;
}

/* One datagram, already in the arena. */
static struct vr_action *act_bytes(struct vr *vr, enum vr_action_kind kind, uint32_t len)
{
	struct vr_action *a = vr_act(vr, kind);

	a->data = vr->arena + vr->arena_used;
	a->len = len;
	vr->arena_used += len;
	return a;
}

/*
 * To another replica nothing goes in IP fragments: of those that lack one the kernel keeps
 * 4 MiB for 30 s, and takes no others meanwhile (net.ipv4.ipfrag_*), so a little loss would
 * cut a replica off. Clients take what they always took.
 */
static uint32_t whole_max(const struct vr *vr, const struct vr_action *like)
{
	return like->kind == VR_REPLY ? WIRE_FRAGMENT_MAX : vr->c.payload_max;
}

static uint32_t piece_len(const struct vr *vr, const struct vr_action *like)
{
	return like->kind == VR_REPLY ? WIRE_FRAGMENT_MAX : vr->c.payload_max - WIRE_FRAGMENT_HEAD;
}

/* A message that is too long goes out in pieces, all of it after its magic. */
static void act_pieces(struct vr *vr, const struct vr_action *like, size_t len)
{
	uint32_t most = piece_len(vr, like);
	struct wire_fragment f = {.total = len - 4};

	f.id = (uint64_t)vr->c.start_s << 32 | ++vr->fragment_count;
	for (f.offset = 0; f.offset < f.total; f.offset += f.len) {
		uint8_t *at = vr->arena + vr->arena_used;
		struct vr_action *a;

		f.len = f.total - f.offset;
		if (f.len > most)
			f.len = most;
		wire_encode_fragment_head(at, &f);
		memcpy(at + WIRE_FRAGMENT_HEAD, vr->scratch + 4 + f.offset, f.len);
		a = act_bytes(vr, like->kind, WIRE_FRAGMENT_HEAD + f.len);
		a->to = like->to;
		a->op = like->op;
		a->address = like->address;
	}
}

static void emit(struct vr *vr, const struct vr_action *like, const struct message *m)
{
	uint8_t *at = vr->arena + vr->arena_used;
	struct vr_action *a;
	size_t len;

	assert(vr->arena_used + MESSAGE_LEN_MAX <= ARENA_SIZE);
	len = message_encode(m, at, whole_max(vr, like));
	if (len > 0) {
		a = act_bytes(vr, like->kind, len);
		a->to = like->to;
		a->op = like->op;
		a->address = like->address;
		return;
	}
	len = message_encode(m, vr->scratch, MESSAGE_LEN_MAX);
	assert(len > 0);
	if (like->kind == VR_BROADCAST) {
		struct vr_action to_all = {.kind = VR_SEND, .to = VR_TO_ALL, .op = like->op};

		act_pieces(vr, &to_all, len);
	} else {
		act_pieces(vr, like, len);
	}
}

void vr_send(struct vr *vr, uint32_t to, const struct message *m)
{
	if (vr->c.n > 1)
		emit(vr, &(struct vr_action){.kind = VR_SEND, .to = to}, m);
}

void vr_broadcast(struct vr *vr, const struct message *m)
{
	struct vr_action like = {.kind = VR_BROADCAST};

	if (m->kind == WIRE_PREPARE)
		like.op = m->opnum;
	if (vr->c.n > 1)
		emit(vr, &like, m);
}

void vr_reply(struct vr *vr, struct vr_address address, const struct message *m)
{
	emit(vr, &(struct vr_action){.kind = VR_REPLY, .address = address}, m);
}
