// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The core's outside: open, step, look in. The protocol is in vr_*.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replica/vr_core.h"

#define WINDOW_MAX 4096

static const char *const count_names[VR_COUNT_COUNT] = {
#define X(id, name, text) [VR_C_##id] = name,
	VR_COUNTS(X)
#undef X
#define X(id, name, text) [VR_C_BAD + WIRE_E_##id] = "bad-" name,
		WIRE_ERRORS(X)
#undef X
};

/* --- open ---------------------------------------------------------------------------- */

static void set_defaults(struct vr_config *c)
{
	const struct {
		uint32_t *value, standard;
	} fields[] = {
		{&c->payload_max, 1472},	 {&c->log_ops, 65536},
		{&c->log_bytes, 32u << 20},	 {&c->clients, 1024},
		{&c->op_max, VR_OP_MAX_DEFAULT}, {&c->snapshot_max, 128u << 20},
		{&c->resend_us, 10000},		 {&c->resend_max_us, 200000},
		{&c->probe_us, 1000000},	 {&c->dead_after, 5},
		{&c->commit_us, 5000},		 {&c->heartbeat_us, 50000},
		{&c->view_change_us, 300000},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (*fields[i].value == 0)
			*fields[i].value = fields[i].standard;
	}
}

static const char *unfit(const struct vr_config *c)
{
	if (c->n < 1 || c->n > ELEC_REPLICAS_MAX)
		return "a cluster has 1 to 64 replicas";
	if (c->self >= c->n)
		return "the index is not below the number of replicas";
	if (!c->app)
		return "no application";
	if (c->payload_max < VR_PAYLOAD_LEAST || c->payload_max > WIRE_FRAGMENT_MAX)
		return "a frame must hold 512 to 9000 bytes of payload";
	if (c->op_max < 64 || c->op_max > MESSAGE_LEN_MAX / 4)
		return "the largest operation must be 64 to 32768 bytes";
	if (c->log_ops < 256 || (c->log_ops & (c->log_ops - 1)) != 0)
		return "the entries of the log in memory must be a power of two, at least 256";
	if (c->log_bytes < 16 * c->op_max || c->log_bytes > 1u << 30)
		return "the bytes of the log in memory must be 16 operations to 1 GiB";
	if (c->clients < 1)
		return "no clients";
	return NULL;
}

/* In large pages, if it may be: the first touch of each small one would cost as much as an op. */
static void prefer_large_pages(void *memory, size_t size)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), at = ((uintptr_t)memory + page - 1) / page * page;

	if (memory && size > page)
		madvise((void *)at, size - page, MADV_HUGEPAGE);
}

static bool allocate(struct vr *vr)
{
	vr->log.ring = calloc(vr->c.log_ops, sizeof(*vr->log.ring));
	vr->log.bytes = malloc(vr->c.log_bytes);
	vr->room = calloc(MESSAGE_ENTRIES_MAX, sizeof(*vr->room));
	vr->query_result = malloc(vr->c.op_max);
	vr->app = vr->c.app->open();
	prefer_large_pages(vr->log.ring, vr->c.log_ops * sizeof(*vr->log.ring));
	prefer_large_pages(vr->log.bytes, vr->c.log_bytes);
	return vr->log.ring && vr->log.bytes && vr->room && vr->query_result && vr->app &&
	       vr_out_open(vr) && vr_pieces_open(vr) && vr_staged_open(vr) &&
	       vr_transfer_open(vr) &&
	       vr_clients_open(&vr->clients, vr->c.clients, vr->window + 1, vr->c.op_max);
}

struct vr *vr_open(const struct vr_config *config, char *error, size_t error_size)
{
	struct vr *vr = calloc(1, sizeof(*vr));
	const char *why = "out of memory";

	if (!vr)
		goto fail;
	vr->c = *config;
	set_defaults(&vr->c);
	why = unfit(&vr->c);
	if (why)
		goto fail;
	vr->quorum = vr->c.n / 2;
	vr->random = vr->c.seed;
	/* Two starts within one second shall not count from the same number. */
	vr->fragment_count = vr_random(vr);
	vr->frozen = true;
	vr->window = vr->c.log_ops / 4 < WINDOW_MAX ? vr->c.log_ops / 4 : WINDOW_MAX;
	vr->log.mask = vr->c.log_ops - 1;
	vr->log.bytes_size = vr->c.log_bytes;
	vr->log.used_max = vr->c.log_bytes - 2 * vr->c.op_max;
	why = "out of memory";
	if (allocate(vr))
		return vr;
fail:
	snprintf(error, error_size, "%s", why);
	vr_close(vr);
	return NULL;
}

void vr_close(struct vr *vr)
{
	if (!vr)
		return;
	if (vr->app)
		vr->c.app->close(vr->app);
	vr_clients_close(&vr->clients);
	vr_out_close(vr);
	vr_pieces_close(vr);
	vr_staged_close(vr);
	vr_transfer_close(vr);
	free(vr->log.ring);
	free(vr->log.bytes);
	free(vr->room);
	free(vr->query_result);
	free(vr);
}

/* --- the step -------------------------------------------------------------------------- */

static void on_replica_message(struct vr *vr, const struct vr_event *ev, uint32_t from)
{
	const struct message *m = &vr->m;

	vr_heard_from(vr, from);
	switch (m->kind) {
	case WIRE_PREPARE:
		return vr_on_prepare(vr, m, from, ev->kernel);
	case WIRE_PREPARE_OK:
	case WIRE_MY_PREPARE_OK:
		return vr_on_prepare_ok(vr, m, from);
	case WIRE_COMMIT:
		return vr_on_commit(vr, m, from);
	case WIRE_REQUEST_STATE_TRANSFER:
		return vr_on_request_state_transfer(vr, m, from);
	case WIRE_STATE_TRANSFER:
		return vr_on_state_transfer(vr, m, from);
	case WIRE_START_VIEW_CHANGE:
		return vr_on_start_view_change(vr, m, from);
	case WIRE_DO_VIEW_CHANGE:
		return vr_on_do_view_change(vr, m, from);
	case WIRE_START_VIEW:
		return vr_on_start_view(vr, m, from);
	case WIRE_RECOVERY:
		return vr_on_recovery(vr, m, from);
	case WIRE_RECOVERY_RESPONSE:
		return vr_on_recovery_response(vr, m, from);
	default:
		return vr_count(vr, VR_C_IGNORED_OTHER);
	}
}

static void on_message(struct vr *vr, const struct vr_event *ev)
{
	uint32_t from = ev->kernel ? vr_leader_of(vr, vr->view) : ev->from;
	const uint8_t *data = ev->data;
	struct wire_head head;
	size_t len = ev->len;
	enum wire_error error;

	error = wire_decode_head(&head, data, len);
	if (!error && head.kind == WIRE_FRAGMENT && !vr_pieces_add(vr, ev, &data, &len))
		return;
	if (!error)
		error = message_decode(&vr->m, data, len, vr->room, MESSAGE_ENTRIES_MAX);
	if (error) {
		vr_count(vr, VR_C_BAD + error);
		vr->resync |= ev->kernel;
		return;
	}
	if (ev->kernel && vr->m.kind != WIRE_PREPARE) {
		vr_count(vr, VR_C_IGNORED_OTHER);
		vr->resync = true;
	} else if (vr->m.kind == WIRE_REQUEST) {
		vr_on_request(vr, &vr->m, ev->address);
	} else if (vr->m.kind == WIRE_UNLOGGED_REQUEST) {
		vr_on_unlogged_request(vr, &vr->m, ev->address);
	} else if (from >= vr->c.n) {
		vr_count(vr, VR_C_IGNORED_SENDER);
	} else {
		on_replica_message(vr, ev, from);
	}
}

static void on_tick(struct vr *vr)
{
	if (vr->resync && vr_must_freeze(vr))
		return;
	vr->resync = false;
	vr->more = false;
	if (vr->status == VR_RECOVERING)
		vr_recovery_tick(vr);
	else
		vr_view_change_tick(vr);
	if (vr->result == VR_FREEZE)
		return;
	vr_transfer_tick(vr);
	vr_execute(vr);
	if (vr->status == VR_NORMAL)
		vr_normal_tick(vr);
}

static void on_start(struct vr *vr)
{
	assert(!vr->started);
	vr->started = true;
	if (vr->status == VR_VIEW_CHANGE)
		return vr_view_change_resume(vr);
	if (vr->status == VR_RECOVERING)
		return vr_recovery_begin(vr);
	vr_normal_enter(vr);
	/* A leader that was up first, and hears nobody, is silent by now. */
	if (!vr_leads(vr))
		vr_show_life(vr);
}

/* Who did not run for a while cannot blame the others for silence. */
static void set_clock(struct vr *vr, uint64_t now)
{
	uint64_t before = vr->now, half = vr->c.view_change_us / 2;

	if (now <= before)
		return;
	vr->now = now;
	if (!vr->started || now - before <= half)
		return;
	if (vr->suspect_at < now + half)
		vr->suspect_at = now + half;
	for (uint32_t i = 0; i < vr->c.n; i++) {
		if (vr->peer[i].heard_at < now - half)
			vr->peer[i].heard_at = now - half;
	}
}

/* Normal status behind a closed gate: open it at the end of the own log. */
static void thaw(struct vr *vr)
{
	struct vr_action *a;

	if (!vr->started || !vr->frozen || vr->status != VR_NORMAL)
		return;
	if (!vr_fits_kernel(vr->view, vr->log.last))
		return;
	a = vr_act(vr, VR_THAW);
	a->view = vr->view;
	a->leader = vr_leader_of(vr, vr->view);
	a->op = vr->log.last;
	vr->frozen = false;
}

enum vr_result vr_step(struct vr *vr, const struct vr_event *event, struct vr_out *out)
{
	set_clock(vr, event->now_us);
	vr->action_count = 0;
	vr->recorded_count = 0;
	vr->arena_used = 0;
	vr->hold = false;
	vr->result = VR_OK;
	switch (event->kind) {
	case VR_EVENT_START:
		on_start(vr);
		break;
	case VR_EVENT_MESSAGE:
		assert(vr->started || event->kernel);
		on_message(vr, event);
		break;
	case VR_EVENT_ACKS:
		vr_on_acks(vr, event->acked);
		break;
	case VR_EVENT_TICK:
		on_tick(vr);
		break;
	case VR_EVENT_FROZEN:
		vr->frozen = true;
		break;
	}
	if (vr->result == VR_OK && event->kind != VR_EVENT_FROZEN) {
		thaw(vr);
		vr_snapshot_tick(vr);
	}
	assert(vr->result != VR_FREEZE || vr->action_count == 0);
	*out = (struct vr_out){vr->actions, vr->action_count};
	return vr->result;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t vr_deadline(const struct vr *vr)
{
	/* Never long without a step: see set_clock(). */
	uint64_t at = vr->now + vr->c.view_change_us / 4;

	if (vr->more || vr->resync)
		return vr->now;
	at = sooner(at, vr_transfer_deadline(vr));
	if (vr->status == VR_RECOVERING)
		return sooner(at, vr_recovery_deadline(vr));
	at = sooner(at, vr_view_change_deadline(vr));
	return vr->status == VR_NORMAL ? sooner(at, vr_normal_deadline(vr)) : at;
}

/* --- looking in ------------------------------------------------------------------------ */

void vr_info(const struct vr *vr, struct vr_info *info)
{
	*info = (struct vr_info){
		.status = vr->status,
		.view = vr->view,
		.last_normal = vr->last_normal,
		.leader = vr_leader_of(vr, vr->view),
		.base = vr->log.base,
		.op = vr->log.last,
		.committed = vr->committed,
		.executed = vr->executed,
		.frozen = vr->frozen,
	};
}

uint64_t vr_op(const struct vr *vr)
{
	return vr->log.last;
}

const struct entry *vr_entry(const struct vr *vr, uint64_t op)
{
	return vr_log_at(&vr->log, op);
}

uint32_t vr_leader(const struct vr *vr, uint64_t view)
{
	return view % vr->c.n;
}

void vr_peer(const struct vr *vr, uint32_t i, struct vr_peer_info *info)
{
	const struct vr_peer *p = &vr->peer[i];
	/* an idle leader resends nothing, but its Commits are answered: see vr_peers.c */
	bool silent = p->heard_at + vr->c.view_change_us <= vr->now;

	*info = (struct vr_peer_info){p->acked, p->dead || silent, p->rtt_us};
}

const uint64_t *vr_counts(const struct vr *vr)
{
	return vr->counts;
}

const char *vr_count_name(unsigned int i)
{
	return i < VR_COUNT_COUNT ? count_names[i] : NULL;
}
