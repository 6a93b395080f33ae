/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The boundary between the code under test and the world. What wrap*.c define as
 * __wrap_NAME the linker calls in place of NAME (--wrap). Only while a replica's process
 * runs is it anything else than the real thing:
 *
 *   clock, random numbers, sockets, poll      virtual
 *   memory, descriptors, mappings             real, and noted: a kill gives them back
 *   elec_*, journal_*, vr_*                   real, with a point before and after, and the
 *                                             checks' eyes on what goes in and out
 *   loading, attaching, pinning the programs  the ones that kernel.c has loaded
 */
#include "replica/journal.h"
#include "sim/wrap.h"

#define STEP_NS (1 * US) /* what a step of the core costs */
#define LOG_BYTES (1u << 20)
#define JOURNAL_LIMIT (1u << 20)

/* ---- the core ---- */

WRAP(struct vr *, vr_open, const struct vr_config *config, char *error, size_t size)
{
	struct vr_config c = *config;
	struct vr *vr;

	/* Small, so that logs are cut and snapshots made in a short run. */
	c.log_ops = node_current->sim->log_ops;
	c.log_bytes = LOG_BYTES;
	c.clients = 16;
	c.snapshot_max = LOG_BYTES;
	vr = __real_vr_open(&c, error, size);
	node_current->vr = vr;
	return vr;
}

WRAP(enum vr_result, vr_step, struct vr *vr, const struct vr_event *event, struct vr_out *out)
{
	struct node *node = node_current;
	enum vr_result result;

	node_point("before a step");
	check_before_step(node, event);
	result = __real_vr_step(vr, event, out);
	if (result != VR_FREEZE)
		check_after_step(node, event);
	node->busy_ns += STEP_NS;
	check_step(node, event, result, out);
	node_point("after a step");
	return result;
}

/* ---- the journal ---- */

WRAP(int, journal_open, struct journal **j, const char *path, const struct elec_ids *ids,
     uint64_t limit, char *error, size_t size)
{
	return __real_journal_open(j, path, ids, limit ? limit : JOURNAL_LIMIT, error, size);
}

WRAP(int, journal_reset, struct journal *j, const struct elec_ids *ids,
     const struct vr_view_state *first)
{
	int ret;

	node_rare_point("before reset");
	ret = __real_journal_reset(j, ids, first);
	if (!ret)
		check_lost(node_current, true, false);
	node_rare_point("after reset");
	return ret;
}

WRAP(int, journal_append_entry, struct journal *j, const struct entry *e)
{
	int ret;

	node_point("before an entry");
	ret = __real_journal_append_entry(j, e);
	if (!ret)
		check_entry(node_current, e);
	node_point("after an entry");
	return ret;
}

WRAP(int, journal_append_truncate, struct journal *j, uint64_t op)
{
	int ret;

	node_rare_point("before truncate");
	ret = __real_journal_append_truncate(j, op);
	if (!ret)
		check_truncate(node_current, op);
	node_rare_point("after truncate");
	return ret;
}

WRAP(int, journal_append_view, struct journal *j, const struct vr_view_state *state)
{
	int ret;

	node_rare_point("before view state");
	ret = __real_journal_append_view(j, state);
	if (!ret)
		check_view(node_current, state);
	node_rare_point("after view state");
	return ret;
}

WRAP(int, journal_append_epoch, struct journal *j, uint32_t epoch)
{
	int ret;

	node_rare_point("before epoch");
	ret = __real_journal_append_epoch(j, epoch);
	node_rare_point("after epoch");
	return ret;
}

WRAP(int, journal_append_snapshot, struct journal *j, uint64_t op)
{
	int ret;

	node_rare_point("before snapshot");
	ret = __real_journal_append_snapshot(j, op);
	if (!ret)
		check_snapshot(node_current, op);
	node_rare_point("after snapshot");
	return ret;
}

WRAP(int, journal_mark_clean, struct journal *j)
{
	node_rare_point("before the clean mark");
	return __real_journal_mark_clean(j);
}

/* ---- elec ---- */

/* Instead of loading: the programs are loaded, the maps are there, the device is attached to. */
WRAP(int, elec_kernel_open, struct elec *e, const struct elec_options *o, char *error, size_t size)
{
	struct node *node = node_current;
	const struct elec *loaded;

	if (!node)
		return __real_elec_kernel_open(e, o, error, size);
	loaded = kernel_elec(node->kernel);
	for (uint32_t i = 0; i < e->n; i++)
		net_mac(i, e->members[i].mac);
	e->frame_max = NET_MTU - 28;
	e->state = loaded->state;
	e->log = loaded->log;
	e->slots = loaded->slots;
	e->kernel = loaded->kernel;
	return 0;
}

WRAP(int, elec_kernel_attach, struct elec *e, const struct elec_options *o, char *error,
     size_t size)
{
	if (!node_current)
		return __real_elec_kernel_attach(e, o, error, size);
	kernel_attach(node_current);
	return 0;
}

WRAP(void, elec_kernel_close, struct elec *e)
{
	if (node_current)
		kernel_detach(node_current);
	else
		__real_elec_kernel_close(e);
}

WRAP(int, elec_open, struct elec **e, const struct elec_options *o, char *error, size_t size)
{
	int ret = __real_elec_open(e, o, error, size);

	if (node_current && !ret)
		node_current->elec = *e;
	return ret;
}

WRAP(uint64_t, elec_freeze, struct elec *e)
{
	uint64_t last;

	node_rare_point("before freeze");
	last = __real_elec_freeze(e);
	check_frozen(node_current, last);
	node_rare_point("after freeze");
	return last;
}

WRAP(int, elec_thaw, struct elec *e, uint64_t view, uint32_t leader, uint64_t last)
{
	int ret;

	node_rare_point("before thaw");
	check_thaw(node_current, view, leader, last);
	ret = __real_elec_thaw(e, view, leader, last);
	node_rare_point("after thaw");
	return ret;
}

WRAP(bool, elec_advance, struct elec *e, uint64_t to)
{
	bool done;

	node_rare_point("before advance");
	done = __real_elec_advance(e, to);
	if (done)
		check_advance(node_current, to);
	node_rare_point("after advance");
	return done;
}

WRAP(int, elec_poll_message, struct elec *e, struct elec_message *m, int max)
{
	int n;

	node_point("before poll");
	n = __real_elec_poll_message(e, m, max);
	if (n)
		node_point("after poll");
	return n;
}

WRAP(void, elec_consumed, struct elec *e, uint64_t op)
{
	node_point("before consumed");
	__real_elec_consumed(e, op);
}

WRAP(bool, elec_sleep, struct elec *e)
{
	bool may = __real_elec_sleep(e);

	node_point("going to sleep");
	return may;
}

WRAP(void, elec_stamp, struct elec *e)
{
	node_point("before stamp");
	__real_elec_stamp(e);
}
