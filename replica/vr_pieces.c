// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Messages put together from fragments. Sender, id, total and offset must fit: else the
 * pieces of two lives of a sender would make one message. Several messages of one
 * sender may be under way at a time; the one that waited longest gives way.
 */
#include <stdlib.h>
#include <string.h>

#include "replica/vr_core.h"

#define SLOTS_PER_REPLICA 4
#define SLOTS_OF_CLIENTS 8

static uint32_t slot_count(const struct vr *vr)
{
	return vr->c.n * SLOTS_PER_REPLICA + SLOTS_OF_CLIENTS;
}

bool vr_pieces_open(struct vr *vr)
{
	struct vr_pieces *p = &vr->pieces;

	p->slots = calloc(slot_count(vr), sizeof(*p->slots));
	p->bytes = calloc(slot_count(vr), MESSAGE_LEN_MAX);
	if (!p->slots || !p->bytes)
		return false;
	for (uint32_t i = 0; i < slot_count(vr); i++)
		p->slots[i].bytes = p->bytes + (size_t)i * MESSAGE_LEN_MAX;
	return true;
}

void vr_pieces_close(struct vr *vr)
{
	free(vr->pieces.slots);
	free(vr->pieces.bytes);
}

static bool same_address(struct vr_address a, struct vr_address b)
{
	return a.addr == b.addr && a.port == b.port;
}

static struct vr_piece_slot *find_slot(struct vr *vr, const struct vr_event *ev,
				       const struct wire_fragment *f)
{
	bool replica = ev->from < vr->c.n;
	struct vr_piece_slot *slot, *oldest;
	uint32_t count = replica ? SLOTS_PER_REPLICA : SLOTS_OF_CLIENTS;

	slot = vr->pieces.slots + (replica ? ev->from : vr->c.n) * SLOTS_PER_REPLICA;
	oldest = slot;
	for (uint32_t i = 0; i < count; i++, slot++) {
		if (slot->total == f->total && slot->id == f->id &&
		    same_address(slot->address, ev->address))
			return slot;
		if (slot->used < oldest->used)
			oldest = slot;
	}
	if (oldest->total != 0)
		vr_count(vr, VR_C_PIECES_LOST);
	oldest->id = f->id;
	oldest->total = f->total;
	oldest->have = 0;
	oldest->address = ev->address;
	return oldest;
}

bool vr_pieces_add(struct vr *vr, const struct vr_event *ev, const uint8_t **data, size_t *len)
{
	struct vr_piece_slot *slot;
	struct wire_fragment f;
	enum wire_error error;
	uint32_t pieces;

	error = wire_decode_fragment(&f, ev->data, ev->len);
	if (!error && (f.total > MESSAGE_LEN_MAX - 4 || f.offset % WIRE_FRAGMENT_MAX != 0 ||
		       (f.len < WIRE_FRAGMENT_MAX && f.offset + f.len < f.total)))
		error = WIRE_E_PIECE;
	if (error) {
		vr_count(vr, VR_C_BAD + error);
		return false;
	}
	slot = find_slot(vr, ev, &f);
	slot->used = ++vr->pieces.count;
	slot->have |= 1u << (f.offset / WIRE_FRAGMENT_MAX);
	memcpy(slot->bytes + 4 + f.offset, f.data, f.len);
	pieces = (f.total + WIRE_FRAGMENT_MAX - 1) / WIRE_FRAGMENT_MAX;
	if (slot->have != (1u << pieces) - 1)
		return false;
	wire_put_magic(slot->bytes);
	*data = slot->bytes;
	*len = 4 + slot->total;
	slot->total = 0;
	slot->used = 0;
	return true;
}
