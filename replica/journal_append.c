// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Records into the journal, and out again in order. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replica/journal_internal.h"

#define INDEX_LEAST 4096		    /* ops, a power of two */
#define LIMIT_RETRY (4 * JOURNAL_FILE_STEP) /* bytes to go on after a compaction that failed */

int journal_index_room(struct journal *j, uint64_t op)
{
	uint64_t mask = j->index ? 2 * j->index_mask + 1 : INDEX_LEAST - 1, *index;

	if (j->index && op - j->info.base <= j->index_mask)
		return 0;
	index = malloc((mask + 1) * sizeof(*index));
	if (!index)
		return -ENOMEM;
	for (uint64_t o = j->info.base + 1; o < op; o++)
		index[o & mask] = j->index[o & j->index_mask];
	free(j->index);
	j->index = index;
	j->index_mask = mask;
	return 0;
}

static int does_not_fit(struct journal *j, uint64_t at)
{
	return journal_refuse(j->error, sizeof(j->error), -EBADMSG,
			      "%s has a record at byte %llu that does not fit what came before",
			      j->path, (unsigned long long)at);
}

/* They were all tested when the file was opened; it is ours since. */
static bool read_at(const struct journal *j, size_t at, struct record *record)
{
	const char *fault;

	return record_read(j->file.data, j->file.size, &at, record, &fault) > 0;
}

int journal_replay(struct journal *j, const struct journal_reader *reader)
{
	struct record r;

	if (j->snapshot_at &&
	    !(read_at(j, j->snapshot_at, &r) &&
	      reader->snapshot(reader->context, r.op, r.snapshot.data, r.snapshot.len)))
		return does_not_fit(j, j->snapshot_at);
	if (j->info.has_view && !reader->view(reader->context, &j->info.view))
		return journal_refuse(j->error, sizeof(j->error), -EBADMSG,
				      "%s has a view state that does not fit what came before",
				      j->path);
	for (uint64_t op = j->info.base + 1; op <= j->info.last; op++) {
		uint64_t at = j->index[op & j->index_mask];

		if (!read_at(j, at, &r) || !reader->entry(reader->context, &r.entry))
			return does_not_fit(j, at);
	}
	return 0;
}

/* ---- appending ---- */

static int cannot_append(struct journal *j, int ret)
{
	return journal_refuse(j->error, sizeof(j->error), ret,
			      "cannot append to the journal %s: %s", j->path, strerror(-ret));
}

/* A compaction that fails costs its try and no more: the file goes on growing while it can. */
static void keep_bound(struct journal *j, uint64_t end)
{
	const struct elec_ids ids = j->info.ids;

	if (end <= j->limit)
		return;
	if (journal_compact(j, &ids, false)) {
		j->limit = end + LIMIT_RETRY;
		j->info.compactions_failed++;
	} else {
		j->info.compactions++;
	}
}

static int append_room(struct journal *j, uint32_t len)
{
	int ret;

	keep_bound(j, j->file.end + JOURNAL_RECORD_SPAN(len));
	ret = journal_file_room(&j->file, len);
	return ret ? cannot_append(j, ret) : 0;
}

static void appended(struct journal *j)
{
	j->info.bytes = j->file.end;
	j->info.clean = false;
	j->reserved = 0;
}

int journal_append_entry(struct journal *j, const struct entry *e)
{
	uint64_t begin;
	int ret;

	assert(e->opnum == j->info.last + 1);
	assert(e->op.len <= MESSAGE_LEN_MAX);
	ret = append_room(j, sizeof(struct record_entry) + e->op.len);
	if (!ret)
		ret = journal_index_room(j, e->opnum) ? cannot_append(j, -ENOMEM) : 0;
	if (ret)
		return ret;
	begin = j->file.end;
	journal_file_put_entry(&j->file, e);
	j->index[e->opnum & j->index_mask] = begin;
	j->info.last = e->opnum;
	appended(j);
	return 0;
}

int journal_append_truncate(struct journal *j, uint64_t op)
{
	int ret;

	assert(op >= j->info.base);
	ret = append_room(j, sizeof(struct record_head));
	if (ret)
		return ret;
	journal_file_put_head(&j->file, RECORD_TRUNCATE, 0, op);
	if (op < j->info.last)
		j->info.last = op;
	appended(j);
	return 0;
}

int journal_append_view(struct journal *j, const struct vr_view_state *state)
{
	int ret = append_room(j, JOURNAL_VIEW_LEN(state->n));

	if (ret)
		return ret;
	journal_file_put_view(&j->file, state);
	j->info.view = *state;
	j->info.has_view = true;
	appended(j);
	return 0;
}

int journal_append_epoch(struct journal *j, uint32_t epoch)
{
	int ret;

	assert(epoch <= ELEC_EPOCH_MASK);
	ret = append_room(j, sizeof(struct record_head));
	if (ret)
		return ret;
	journal_file_put_head(&j->file, RECORD_EPOCH, epoch, 0);
	j->info.epoch = epoch;
	appended(j);
	return 0;
}

int journal_reserve_snapshot(struct journal *j, size_t len, uint8_t **at)
{
	int ret;

	assert(len <= JOURNAL_SNAPSHOT_MAX);
	ret = journal_file_room(&j->file, sizeof(struct record_snapshot) + len);
	if (ret)
		return cannot_append(j, ret);
	j->reserved = sizeof(struct record_snapshot) + len;
	*at = ((struct record_snapshot *)journal_file_begin(&j->file, j->reserved))->data;
	return 0;
}

int journal_append_snapshot(struct journal *j, uint64_t op)
{
	assert(j->reserved);
	assert(op >= j->info.base);
	j->snapshot_at = j->file.end;
	journal_file_put_snapshot(&j->file, j->reserved, op);
	j->info.base = op;
	if (j->info.last < op)
		j->info.last = op;
	appended(j);
	keep_bound(j, j->file.end);
	return 0;
}
