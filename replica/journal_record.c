// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/journal_record.h"

#include <string.h>

#include "replica/crc32c.h"

const char *journal_header_fault(const struct journal_header *header, size_t size, bool *version)
{
	*version = false;
	if (size < sizeof(*header) + JOURNAL_COMMIT_LEN)
		return "is too short for a journal";
	if (memcmp(header->magic, JOURNAL_MAGIC, sizeof(header->magic)))
		return "is not a journal";
	if (header->version != JOURNAL_VERSION) {
		*version = true;
		return "is a journal of another version";
	}
	if (header->crc != crc32c(0, &header->ids, sizeof(header->ids)))
		return "has a damaged header";
	return NULL;
}

uint64_t record_commit_word(const void *record, uint32_t len)
{
	uint32_t crc = crc32c(crc32c(0, &len, sizeof(len)), record, len);

	return (uint64_t)crc << 32 | len;
}

/* What a kind has behind its head: at least, and in steps of how many bytes. */
static const struct {
	uint32_t least, step, most;
} sizes[] = {
	[RECORD_ENTRY] = {sizeof(struct record_entry), 1, UINT32_MAX},
	[RECORD_TRUNCATE] = {sizeof(struct record_head), 1, sizeof(struct record_head)},
	[RECORD_VIEW] = {sizeof(struct record_view), 8,
			 sizeof(struct record_view) + 8 * ELEC_REPLICAS_MAX},
	[RECORD_EPOCH] = {sizeof(struct record_head), 1, sizeof(struct record_head)},
	[RECORD_SNAPSHOT] = {sizeof(struct record_snapshot), 1, UINT32_MAX},
};

static void read_entry(struct record *record, const struct record_entry *r, uint32_t len)
{
	record->entry = (struct entry){
		.view = r->view,
		.opnum = r->head.op,
		.clientid = r->clientid,
		.reqid = r->reqid,
		.op = {r->data, len - sizeof(*r)},
	};
}

static void read_view(struct record *record, const struct record_view *r, uint32_t len)
{
	struct vr_view_state *view = &record->view;

	*view = (struct vr_view_state){
		.view = r->head.op,
		.last_normal = r->last_normal,
		.status = r->head.word,
		.n = (len - sizeof(*r)) / sizeof(r->crash[0]),
	};
	memcpy(view->crash, r->crash, view->n * sizeof(r->crash[0]));
}

int record_read(const uint8_t *journal, size_t size, size_t *at, struct record *record,
		const char **fault)
{
	const struct record_head *head;
	uint64_t commit;
	uint32_t len;

	if (size < JOURNAL_COMMIT_LEN || *at > size - JOURNAL_COMMIT_LEN) {
		*fault = "is cut off";
		return -1;
	}
	memcpy(&commit, journal + *at, sizeof(commit));
	if (!commit)
		return 0;
	len = commit;
	if (len > size - JOURNAL_COMMIT_LEN - *at) {
		*fault = "is cut off, or damaged,";
		return -1;
	}
	head = (const void *)(journal + *at + JOURNAL_COMMIT_LEN);
	if (record_commit_word(head, len) != commit) {
		*fault = "is damaged";
		return -1;
	}
	if (len < sizeof(*head) || head->kind < RECORD_ENTRY || head->kind > RECORD_SNAPSHOT ||
	    len < sizes[head->kind].least || len > sizes[head->kind].most ||
	    (len - sizes[head->kind].least) % sizes[head->kind].step) {
		*fault = "has an unknown record";
		return -1;
	}
	record->kind = head->kind;
	record->op = head->op;
	switch (record->kind) {
	case RECORD_ENTRY:
		read_entry(record, (const void *)head, len);
		break;
	case RECORD_VIEW:
		read_view(record, (const void *)head, len);
		break;
	case RECORD_EPOCH:
		record->epoch = head->word;
		break;
	case RECORD_SNAPSHOT:
		record->snapshot = (struct bytes){((const struct record_snapshot *)head)->data,
						  len - sizeof(struct record_snapshot)};
		break;
	case RECORD_TRUNCATE:
		break;
	}
	*at += JOURNAL_RECORD_SPAN(len);
	return 1;
}

const char *record_apply(struct record_state *state, const struct record *record)
{
	switch (record->kind) {
	case RECORD_ENTRY:
		if (record->op != state->last + 1 || record->op > JOURNAL_OP_MAX)
			return "has an op out of order";
		state->last = record->op;
		break;
	case RECORD_TRUNCATE:
		if (record->op < state->base)
			return "cuts into its snapshot";
		if (record->op < state->last)
			state->last = record->op;
		break;
	case RECORD_VIEW:
		if (record->view.status > VR_RECOVERING)
			return "has an unknown status";
		state->view = record->view;
		state->has_view = true;
		break;
	case RECORD_EPOCH:
		if (record->epoch & ~ELEC_EPOCH_MASK)
			return "has an epoch out of range";
		state->epoch = record->epoch;
		break;
	case RECORD_SNAPSHOT:
		if (record->op < state->base || record->op > JOURNAL_OP_MAX)
			return "has a snapshot older than the one before";
		state->base = record->op;
		if (state->last < state->base)
			state->last = state->base;
		break;
	}
	return NULL;
}
