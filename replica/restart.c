/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "replica/restart.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- the journal into the core ---- */

static bool on_entry(void *vr, const struct entry *e)
{
	return vr_restore_entry(vr, e);
}

static bool on_view(void *vr, const struct vr_view_state *state)
{
	return vr_restore_view(vr, state);
}

static bool on_snapshot(void *vr, uint64_t op, const uint8_t *data, size_t len)
{
	(void)op; /* the snapshot says it too */
	return vr_restore_snapshot(vr, data, len);
}

static int replay(struct journal *j, struct vr *vr, char *error, size_t size)
{
	const struct journal_reader reader = {
		.context = vr,
		.entry = on_entry,
		.view = on_view,
		.snapshot = on_snapshot,
	};
	int ret = journal_replay(j, &reader);

	if (ret)
		snprintf(error, size, "%s", journal_error(j));
	return ret;
}

/* ---- which life is this? ---- */

/* Opens what is there, or what `first` begins. *lost: there should have been one. */
static int open_journal(struct journal **j, const struct restart_options *o,
			const struct elec_ids *ids, struct vr_view_state *first, bool *lost,
			char *error, size_t size)
{
	int ret = 0;

	if (o->format)
		ret = journal_format(o->path, ids, first, error, size);
	if (!ret)
		ret = journal_open(j, o->path, ids, 0, error, size);
	if (ret != -ENOENT)
		return ret;
	*lost = true;
	first->status = VR_RECOVERING;
	ret = journal_format(o->path, ids, first, error, size);
	return ret ? ret : journal_open(j, o->path, ids, 0, error, size);
}

/* Takes the maps for what they are; false: the kernel may have acked what is nowhere now. */
static bool maps_complete(struct elec *elec, const struct journal_info *info)
{
	if (elec_resume(elec, &info->ids, info->epoch, info->last))
		return true;
	elec_reset(elec, &info->ids);
	return info->clean || !info->epoch;
}

static int forget(struct journal *j, struct elec *elec, struct vr *vr, const struct elec_ids *ids,
		  struct vr_view_state *first, char *error, size_t size)
{
	int ret;

	first->status = VR_RECOVERING;
	ret = journal_reset(j, ids, first);
	if (ret) {
		snprintf(error, size, "%s", journal_error(j));
		return ret;
	}
	elec_reset(elec, ids);
	vr_restore_nothing(vr);
	return 0;
}

int restart(struct journal **out, struct elec *elec, struct vr *vr, const struct restart_options *o,
	    char *error, size_t size)
{
	struct vr_view_state first = {.n = o->cluster->n};
	const struct journal_info *info;
	struct journal *j = NULL;
	struct elec_ids ids;
	bool lost = false;
	int ret;

	ret = ids_make(&ids, o->cluster, o->index, error, size);
	if (!ret)
		ret = open_journal(&j, o, &ids, &first, &lost, error, size);
	if (ret)
		return ret;
	info = journal_info(j);
	/* A recovery that was not finished begins anew: half of another's log is no memory. */
	lost |= info->stale || info->view.status == VR_RECOVERING;
	if (lost || !maps_complete(elec, info))
		ret = forget(j, elec, vr, &ids, &first, error, size);
	else
		ret = replay(j, vr, error, size);
	/* This life has no kernel log that the next one would have to find. */
	if (!ret && !elec_has_log(elec) && journal_info(j)->epoch)
		ret = journal_append_epoch(j, 0);
	if (ret)
		journal_close(j);
	else
		*out = j;
	return ret;
}
