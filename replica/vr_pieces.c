// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Messages put together from fragments. Sender, id, total and offset must fit: else the
 * pieces of two lives of a sender would make one message. Several messages of one
 * sender may be under way at a time; the one that waited longest gives way.
 *
 *   offset  0          step      2 * step    last      total
 *           |----------|----------|----------|------|
 *
 * All pieces but the last are equally long, as long as the sender likes (others send 9000
 * bytes, see vr_out.c for ours), the last is not longer: so none of them overlap, and what
 * adds up to the total is the whole.
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
	if (oldest->got < oldest->total)
		vr_count(vr, VR_C_PIECES_LOST);
	oldest->id = f->id;
	oldest->total = f->total;
	oldest->got = oldest->step = oldest->last = 0;
	memset(oldest->have, 0, sizeof(oldest->have));
	oldest->address = ev->address;
	return oldest;
}

/* Can it be a piece of any message? */
static bool possible(const struct wire_fragment *f)
{
	uint64_t step = f->offset + f->len < f->total ? f->len : f->offset;

	return f->total <= MESSAGE_LEN_MAX - 4 && (step == 0 || step >= VR_PIECE_LEAST) &&
	       (step == f->offset || f->offset % step == 0);
}

/* Can it be one of this message, given those that came before? */
static bool fits(struct vr_piece_slot *slot, const struct wire_fragment *f)
{
	uint32_t step = slot->step, last = slot->last;

	if (f->offset + f->len < f->total)
		step = f->len;
	else
		last = f->offset;
	if ((slot->step != 0 && step != slot->step) || (slot->last != 0 && last != slot->last) ||
	    (step != 0 && f->offset % step != 0) ||
	    (step != 0 && last != 0 && (last % step != 0 || f->total - last > step)))
		return false;
	slot->step = step;
	slot->last = last;
	return true;
}

bool vr_pieces_add(struct vr *vr, const struct vr_event *ev, const uint8_t **data, size_t *len)
{
	struct vr_piece_slot *slot = NULL;
	struct wire_fragment f;
	enum wire_error error;
	uint64_t *word, bit;

	error = wire_decode_fragment(&f, ev->data, ev->len);
	if (!error && possible(&f))
		slot = find_slot(vr, ev, &f);
	if (!error && (!slot || !fits(slot, &f)))
		error = WIRE_E_PIECE;
	if (error) {
		vr_count(vr, VR_C_BAD + error);
		return false;
	}
	word = &slot->have[f.offset / VR_PIECE_LEAST / 64];
	bit = 1ULL << f.offset / VR_PIECE_LEAST % 64;
	/* The piece that made it whole comes again when the message had to wait for the fence. */
	if (*word & bit && (slot->got < slot->total || slot->newest != f.offset))
		return false;
	if (!(*word & bit)) {
		*word |= bit;
		memcpy(slot->bytes + 4 + f.offset, f.data, f.len);
		slot->got += f.len;
		slot->newest = f.offset;
	}
	slot->used = slot->got < slot->total ? ++vr->pieces.count : 0;
	if (slot->got < slot->total)
		return false;
	wire_put_magic(slot->bytes);
	*data = slot->bytes;
	*len = 4 + slot->total;
	return true;
}
