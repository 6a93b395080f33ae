/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a replica holds for committed: on whose acks, and never two contents at one op (S3). */
#include <string.h>

#include "sim/check.h"

bool check_is_committed(const struct sim *s, uint64_t op, uint64_t chain)
{
	return op <= s->check->committed_last && chain == s->check->committed[op].chain;
}

/* S3: who says that an op is committed, and is the first to, has f acks of others in its view. */
static void check_evidence(struct node *node, uint64_t op, uint64_t view)
{
	struct view_log *log = check_view_log(node, view);
	uint32_t acks = 0;

	for (uint32_t i = 0; i < node->sim->n; i++)
		acks += i != node->index && log->acked[i] >= op;
	if (acks < (node->sim->n - 1) / 2)
		violation(node->sim, "S3",
			  "r%u commits op %" PRIu64 " in view %" PRIu64 " on the acks of %u others",
			  node->index, op, view, acks);
}

static void commit(struct node *node, const struct entry *e, uint64_t op,
		   const struct vr_info *info)
{
	struct check *c = node->sim->check;
	struct committed *known = &c->committed[op];
	uint64_t hash = check_hash_entry(e);

	if (op <= c->committed_last) {
		if (known->hash != hash)
			violation(node->sim, "agreement",
				  "r%u: op %" PRIu64 " has a second content", node->index, op);
		return;
	}
	check_evidence(node, op, info->view);
	*known = (struct committed){
		.hash = hash,
		.clientid = e->clientid,
		.reqid = e->reqid,
		.view = info->view,
		.chain = check_chain(c->committed[op - 1].chain, e),
		.len = e->op.len,
		.op = need(e->op.len + 1),
	};
	memcpy(known->op, e->op.data, e->op.len);
	c->committed_last = op;
}

static void check_commits(struct node *node, const struct vr_info *info)
{
	struct own_log *own = check_own(node);

	for (uint64_t op = own->executed + 1; op <= info->committed; op++) {
		const struct entry *e = op > info->base ? vr_entry(node->vr, op) : NULL;

		if (!check_room(node, op))
			return;
		if (e)
			commit(node, e, op, info);
		else if (op > node->sim->check->committed_last)
			violation(node->sim, "agreement",
				  "r%u: op %" PRIu64 " is committed and nobody has seen it",
				  node->index, op);
	}
	own->executed = info->committed;
}

static void tell(struct node *node, const struct vr_info *info)
{
	static const char *const names[] = {"normal", "view change", "recovering"};
	struct own_log *own = check_own(node);

	if (own->view == info->view && own->status == info->status)
		return;
	if (own->status == VR_RECOVERING && info->status != VR_RECOVERING)
		node->sim->result->recoveries++;
	story(node->sim, "r%u view %" PRIu64 " %s%s, op %" PRIu64 ", committed %" PRIu64,
	      node->index, info->view, names[info->status],
	      info->status == VR_NORMAL && info->leader == node->index ? ", leads" : "", info->op,
	      info->committed);
	own->view = info->view;
	own->status = info->status;
}

/* "SEND RECORD_VIEW THAW(v3 17)": the actions of a step that are more than messages. */
static const char *actions_text(const struct vr_out *out)
{
	static char text[160];
	int at = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < out->count && at < 110; i++) {
		const struct vr_action *a = &out->actions[i];

		switch (a->kind) {
		case VR_RECORD_ENTRIES:
			at += sprintf(text + at, " entries %" PRIu64 "..%" PRIu64, a->first, a->op);
			break;
		case VR_RECORD_TRUNCATE:
			at += sprintf(text + at, " truncate %" PRIu64, a->op);
			break;
		case VR_RECORD_VIEW:
			at += sprintf(text + at, " view");
			break;
		case VR_RECORD_SNAPSHOT:
			at += sprintf(text + at, " snapshot %" PRIu64, a->op);
			break;
		case VR_THAW:
			at += sprintf(text + at, " thaw v%" PRIu64 " %" PRIu64, a->view, a->op);
			break;
		case VR_ADVANCE:
			at += sprintf(text + at, " advance %" PRIu64, a->op);
			break;
		default:
			at += sprintf(text + at, " .");
		}
	}
	return text;
}

void check_step(struct node *node, const struct vr_event *event, enum vr_result result,
		const struct vr_out *out)
{
	static const char *const event_names[] = {"start", "message", "acks", "tick", "frozen"};
	struct vr_info info;

	if (result == VR_FREEZE) {
		detail(node->sim, "r%u wants to freeze", node->index);
		return;
	}
	vr_info(node->vr, &info);
	detail(node->sim, "r%u %s: v%" PRIu64 " op %" PRIu64 " committed %" PRIu64 ":%s",
	       node->index, event_names[event->kind], info.view, info.op, info.committed,
	       actions_text(out));
	if (info.committed > info.op)
		violation(node->sim, "agreement",
			  "r%u: committed %" PRIu64 " above its last op %" PRIu64, node->index,
			  info.committed, info.op);
	tell(node, &info);
	check_commits(node, &info);
}
