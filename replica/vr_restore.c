// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The journal's side of the core: records read back in their order, before START. */
#include <string.h>

#include "replica/vr_core.h"

bool vr_restore_entry(struct vr *vr, const struct entry *e)
{
	assert(!vr->started);
	return e->opnum == vr->log.last + 1 && e->op.len <= vr->c.op_max &&
	       vr_log_append(&vr->log, e, vr->recorded_op);
}

bool vr_restore_truncate(struct vr *vr, uint64_t op)
{
	assert(!vr->started);
	if (op < vr->log.base || op > vr->log.last)
		return false;
	vr_log_truncate(&vr->log, op);
	return true;
}

bool vr_restore_view(struct vr *vr, const struct vr_view_state *state)
{
	assert(!vr->started);
	if (state->n != vr->c.n || state->view < vr->view || state->last_normal > state->view ||
	    state->status > VR_RECOVERING)
		return false;
	vr->status = state->status;
	vr->view = state->view;
	vr->last_normal = state->last_normal;
	memcpy(vr->crash, state->crash, vr->c.n * sizeof(*vr->crash));
	return true;
}

bool vr_restore_snapshot(struct vr *vr, const uint8_t *data, size_t len)
{
	assert(!vr->started);
	return vr_snapshot_install(vr, data, len);
}

void vr_restore_nothing(struct vr *vr)
{
	assert(!vr->started);
	vr->status = VR_RECOVERING;
}

void vr_view_state(const struct vr *vr, struct vr_view_state *state)
{
	*state = (struct vr_view_state){
		.view = vr->view,
		.last_normal = vr->last_normal,
		.status = vr->status,
		.n = vr->c.n,
	};
	memcpy(state->crash, vr->crash, vr->c.n * sizeof(*vr->crash));
}
