/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One turn of the loop:
 *
 *   stamp the lease
 *   tick                       -> core       the open batch leaves in one broadcast
 *   look at the acked words    -> core       on veth they are there when send() returns
 *   send                                     what the core put out meanwhile, in one call
 *   sleep, if the last burst was not full
 *   a burst from the socket    -> core       (each after another look at the kernel log)
 *   drain the kernel log       -> core
 *
 * A system call is what costs most here, so who waits for the socket alone sleeps in
 * recvmmsg() itself, and nobody looks whether a socket that was just emptied is empty.
 *
 * Or a service that is not replicated (echo.h) in the place of the core, for comparison.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "replica/echo.h"
#include "replica/neighbour.h"
#include "replica/process.h"
#include "replica/restart.h"
#include "replica/status.h"

#define BURST 64
#define DATAGRAM_MAX (WIRE_FRAGMENT_MAX + WIRE_FRAGMENT_HEAD + 1) /* one more: too long shows */
#define RECEIVE_BUFFER (16 << 20)
#define STAGED (128 << 10) /* bytes that wait to be sent, any one message at least */
#define STAMPS_PER_LEASE 4
#define LEASE_MS 200
#define RECEIVE_MS 4 /* longest sleep in recvmmsg(): who sleeps longer has time for poll() */

struct process {
	struct elec *elec;
	struct vr *vr;
	struct echo *echo;	 /* in the place of vr; or NULL */
	struct journal *journal; /* NULL: the core's memory is the log */
	volatile sig_atomic_t *report;
	struct status *status; /* NULL: nobody is told */
	int failed;	       /* a record could not be written: nothing may be said any more */
	const struct cluster *cluster;
	uint32_t index;
	int socket;
	bool follows;	   /* the kernel may store Prepares: its wake-up counts */
	bool quiet;	   /* nothing came while it slept last */
	uint64_t now_us;   /* when it was last asked for */
	uint64_t busy_us;  /* how long it looks again before it sleeps */
	uint64_t stamp_us; /* longest sleep, so that the lease is stamped in time */
	uint64_t acked[ELEC_REPLICAS_MAX];
	bool advance_again; /* elec_advance() was overtaken: drain, then once more */

	struct elec_message polled[BURST]; /* out of the kernel log, not yet taken by the core */
	int polled_next, polled_count;
	uint64_t polls, poll_messages; /* calls that had something, and what they had */

	struct mmsghdr in[BURST], out[BURST];
	struct iovec in_iov[BURST], out_iov[BURST];
	struct sockaddr_in in_from[BURST], out_to[BURST];
	unsigned int out_count, staged_len;
	uint8_t staged[STAGED]; /* the bytes of out[] */
	uint8_t data[BURST][DATAGRAM_MAX];
};

static uint64_t look_at_clock(struct process *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	p->now_us = now.tv_sec * 1000000ULL + now.tv_nsec / 1000;
	return p->now_us;
}

/* ---- out ---- */

/* What a full or unreachable peer costs is a resend, so errors of a send are no errors here. */
static void flush(struct process *p)
{
	unsigned int sent = 0;

	while (sent < p->out_count) {
		int n = sendmmsg(p->socket, p->out + sent, p->out_count - sent, 0);

		sent += n > 0 ? n : 1;
	}
	p->out_count = p->staged_len = 0;
}

/* Copied, for the core's buffers are its own again at the next step. */
static void send_to(struct process *p, const struct vr_action *action, const struct sockaddr_in *to)
{
	unsigned int i;

	if (p->staged_len + action->len > STAGED)
		flush(p);
	i = p->out_count++;
	p->out_to[i] = *to;
	p->out_iov[i] = (struct iovec){p->staged + p->staged_len, action->len};
	memcpy(p->out_iov[i].iov_base, action->data, action->len);
	p->staged_len += action->len;
	p->out[i].msg_hdr = (struct msghdr){
		.msg_name = &p->out_to[i],
		.msg_namelen = sizeof(p->out_to[i]),
		.msg_iov = &p->out_iov[i],
		.msg_iovlen = 1,
	};
	if (p->out_count == BURST)
		flush(p);
}

static int record_entries(struct process *p, uint64_t first, uint64_t last)
{
	int ret = 0;

	for (uint64_t op = first; !ret && op <= last; op++)
		ret = journal_append_entry(p->journal, vr_entry(p->vr, op));
	return ret;
}

static int record_snapshot(struct process *p)
{
	uint8_t *at;
	int ret = journal_reserve_snapshot(p->journal, vr_snapshot_len(p->vr), &at);

	return ret ? ret : journal_append_snapshot(p->journal, vr_snapshot(p->vr, at));
}

static int record(struct process *p, const struct vr_action *action)
{
	if (!p->journal)
		return 0;
	switch (action->kind) {
	case VR_RECORD_ENTRIES:
		return record_entries(p, action->first, action->op);
	case VR_RECORD_TRUNCATE:
		return journal_append_truncate(p->journal, action->op);
	case VR_RECORD_VIEW:
		return journal_append_view(p->journal, action->view_state);
	case VR_RECORD_SNAPSHOT:
		return record_snapshot(p);
	default:
		return 0;
	}
}

static int thaw(struct process *p, const struct vr_action *action)
{
	int ret = 0;

	if (p->journal && elec_has_log(p->elec))
		ret = journal_append_epoch(p->journal, elec_next_epoch(p->elec));
	if (!ret)
		elec_thaw(p->elec, action->view, action->leader, action->op);
	p->follows = action->leader != p->index && elec_has_log(p->elec);
	return ret;
}

static void carry_out(struct process *p, const struct vr_action *action)
{
	struct sockaddr_in to;

	switch (action->kind) {
	case VR_SEND:
		if (action->op)
			elec_sent(p->elec, action->op);
		for (uint32_t i = 0; i < p->cluster->n; i++)
			if (i == action->to || (action->to == VR_TO_ALL && i != p->index))
				send_to(p, action, &p->cluster->replica[i]);
		break;
	case VR_REPLY:
		to = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_addr.s_addr = action->address.addr,
			.sin_port = action->address.port,
		};
		send_to(p, action, &to);
		break;
	case VR_BROADCAST:
		elec_broadcast(p->elec, p->socket, (uint8_t *)action->data, action->len,
			       action->op);
		break;
	case VR_ACKED:
		elec_ack(p->elec, action->to, action->op);
		break;
	case VR_ADVANCE:
		if (!elec_advance(p->elec, action->op))
			p->advance_again = true;
		break;
	case VR_THAW:
		flush(p);
		p->failed = thaw(p, action);
		break;
	case VR_RECORD_TRUNCATE:
	case VR_RECORD_VIEW:
	case VR_RECORD_SNAPSHOT:
		flush(p); /* an ack that waits is of the view and the log before: S1 */
		p->failed = record(p, action);
		break;
	case VR_RECORD_ENTRIES:
		p->failed = record(p, action);
		break;
	}
}

/* ---- into the core ---- */

static enum vr_result step_once(struct process *p, const struct vr_event *event)
{
	struct vr_out out;
	enum vr_result result =
		p->echo ? echo_step(p->echo, event, &out) : vr_step(p->vr, event, &out);

	if (result == VR_FREEZE)
		return result;
	for (uint32_t i = 0; i < out.count && !p->failed; i++)
		carry_out(p, &out.actions[i]);
	return result;
}

/* What the kernel acked and stored goes into the core's log. Stops where the core is full. */
static void drain(struct process *p)
{
	for (;;) {
		struct elec_message *m;
		struct vr_event event = {.kind = VR_EVENT_MESSAGE, .kernel = true};

		if (p->polled_next == p->polled_count) {
			p->polled_next = 0;
			p->polled_count = elec_poll_message(p->elec, p->polled, BURST);
			if (!p->polled_count)
				return;
			p->polls++;
			p->poll_messages += p->polled_count;
		}
		m = &p->polled[p->polled_next];
		event.now_us = p->now_us;
		event.data = m->data;
		event.len = m->len;
		if (step_once(p, &event) != VR_OK || p->failed)
			return;
		elec_consumed(p->elec, m->last);
		p->polled_next++;
	}
}

/* The fence around a change of view or status: freeze, drain, tell the core, the event again. */
static void step(struct process *p, const struct vr_event *event)
{
	struct vr_event frozen = {.kind = VR_EVENT_FROZEN, .now_us = event->now_us};

	while (step_once(p, event) == VR_FREEZE) {
		elec_freeze(p->elec);
		drain(p);
		step_once(p, &frozen);
	}
	while (p->advance_again) {
		p->advance_again = false;
		drain(p);
		if (!elec_advance(p->elec, vr_op(p->vr)))
			break; /* frozen meanwhile; the next thaw says where the log ends */
	}
}

static void step_acks(struct process *p)
{
	struct vr_event event = {.kind = VR_EVENT_ACKS, .acked = p->acked};
	bool changed = false;

	for (uint32_t i = 0; i < p->cluster->n; i++) {
		uint64_t acked = elec_acked(p->elec, i);

		changed |= acked != p->acked[i];
		p->acked[i] = acked;
	}
	if (!changed)
		return;
	event.now_us = look_at_clock(p);
	step(p, &event);
}

/* ---- in ---- */

static void receive_one(struct process *p, int i)
{
	const struct sockaddr_in *from = &p->in_from[i];
	int replica = cluster_find(p->cluster, from);
	struct vr_event event = {
		.kind = VR_EVENT_MESSAGE,
		.now_us = p->now_us,
		.data = p->data[i],
		.len = p->in[i].msg_len,
		.from = replica < 0 ? VR_FROM_CLIENT : (uint32_t)replica,
		.address = {from->sin_addr.s_addr, from->sin_port},
	};

	drain(p);
	step(p, &event);
}

/* How many datagrams were there; BURST: there may be more. */
static int receive(struct process *p, int flags)
{
	for (int i = 0; i < BURST; i++)
		p->in[i].msg_hdr.msg_namelen = sizeof(p->in_from[i]);
	return recvmmsg(p->socket, p->in, BURST, flags, NULL);
}

/*
 * The same before a sleep, for as long as was asked for: whoever is waited for on this CPU gets
 * it by the yield. 0 also when there is something in the kernel log.
 */
static int receive_soon(struct process *p, uint64_t deadline_us)
{
	uint64_t end = p->now_us + p->busy_us;
	int n;

	do {
		n = receive(p, MSG_DONTWAIT);
		if (n > 0 || elec_last(p->elec) > elec_consumed_to(p->elec))
			return n > 0 ? n : 0;
		sched_yield();
	} while (look_at_clock(p) < end && p->now_us < deadline_us);
	return -1;
}

/* The same after a sleep, unless there is a reason against it. */
static int receive_later(struct process *p, uint64_t deadline_us)
{
	struct pollfd fds[] = {{.fd = p->socket, .events = POLLIN},
			       {.fd = elec_wake_fd(p->elec), .events = POLLIN}};
	struct timespec timeout;
	uint64_t wait = deadline_us > p->now_us ? deadline_us - p->now_us : 0;
	int n = 0;

	if (wait && p->busy_us) {
		n = receive_soon(p, deadline_us);
		if (n >= 0)
			return n;
		n = 0;
	}
	if (wait > p->stamp_us)
		wait = p->stamp_us;
	if (!wait || !elec_sleep(p->elec))
		return receive(p, MSG_DONTWAIT);
	if (wait >= RECEIVE_MS * 1000 && !p->follows && !p->quiet) {
		n = receive(p, MSG_WAITFORONE);
		elec_awake(p->elec);
	} else {
		timeout = (struct timespec){wait / 1000000, wait % 1000000 * 1000};
		ppoll(fds, 2, &timeout, NULL);
		elec_awake(p->elec);
		if (fds[0].revents)
			n = receive(p, MSG_DONTWAIT);
	}
	p->quiet = n <= 0;
	return n;
}

/* Behind a frozen gate with an empty kernel log the journal alone is the whole memory. */
static int end_cleanly(struct process *p)
{
	uint64_t last = elec_freeze(p->elec);

	if (!p->journal)
		return 0;
	drain(p);
	if (p->failed || p->polled_next < p->polled_count || elec_consumed_to(p->elec) < last)
		return p->failed;
	return journal_mark_clean(p->journal);
}

int process_run(struct process *p, const volatile sig_atomic_t *stop)
{
	struct vr_event event = {.kind = VR_EVENT_START};
	int received = BURST;

	look_at_clock(p);
	drain(p); /* what the kernel acked in an earlier life */
	while (!*stop && !p->failed) {
		if (p->report && *p->report) {
			*p->report = 0;
			process_report(p, stdout);
		}
		elec_stamp(p->elec);
		event.now_us = look_at_clock(p);
		step(p, &event); /* START, then TICK */
		event.kind = VR_EVENT_TICK;
		step_acks(p);
		flush(p);
		if (p->status && event.now_us - p->status->told_us >= STATUS_TELL_US)
			status_tell(p->status, p->vr, p->index, p->cluster->n, event.now_us);
		received = received == BURST
				   ? receive(p, MSG_DONTWAIT)
				   : receive_later(p, p->echo ? UINT64_MAX : vr_deadline(p->vr));
		look_at_clock(p);
		for (int i = 0; i < received; i++)
			receive_one(p, i);
		drain(p);
	}
	if (!p->failed)
		p->failed = end_cleanly(p);
	if (p->status)
		status_tell(p->status, p->vr, p->index, p->cluster->n, look_at_clock(p));
	if (!p->failed)
		flush(p);
	return p->failed;
}

/* ---- open, report, close ---- */

static int open_socket(struct process *p, char *error, size_t size)
{
	const struct sockaddr_in *own = &p->cluster->replica[p->index];
	struct timeval most = {.tv_usec = RECEIVE_MS * 1000};
	int bytes = RECEIVE_BUFFER, ret;

	p->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->socket < 0 || setsockopt(p->socket, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most))) {
		ret = -errno;
		snprintf(error, size, "cannot open a socket: %s", strerror(-ret));
		return ret;
	}
	/* Needs CAP_NET_ADMIN; without it the system's limit holds, and a full buffer costs
	 * resends. */
	if (setsockopt(p->socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(p->socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (!bind(p->socket, (const void *)own, sizeof(*own)))
		return 0;
	ret = -errno;
	{
		const uint8_t *a = (const void *)&own->sin_addr;

		snprintf(error, size, "cannot bind replica %u's address %u.%u.%u.%u:%u: %s%s",
			 p->index, a[0], a[1], a[2], a[3], ntohs(own->sin_port), strerror(-ret),
			 ret == -EADDRINUSE ? "; another process serves there"
			 : ret == -EADDRNOTAVAIL
				 ? "; is --index right, and is this the replica's namespace?"
				 : "");
	}
	return ret;
}

static int open_elec(struct process *p, const struct process_options *o, char *error, size_t size)
{
	struct elec_member members[ELEC_REPLICAS_MAX] = {0};
	struct elec_options options = {
		.iface = o->iface,
		.offloads = o->offloads,
		.mode = o->mode,
		.pin = o->pin,
		.slots = o->log_slots,
		.lease_ms = o->lease_ms ? o->lease_ms : LEASE_MS,
		.wake_backlog = o->wake_backlog,
		.n = p->cluster->n,
		.self = p->index,
		.members = members,
		.keeper = o->keeper,
	};

	for (uint32_t i = 0; i < p->cluster->n; i++) {
		members[i].addr = p->cluster->replica[i].sin_addr.s_addr;
		members[i].port = p->cluster->replica[i].sin_port;
	}
	p->stamp_us = options.lease_ms * 1000ULL / STAMPS_PER_LEASE;
	return elec_open(&p->elec, &options, error, size);
}

static int open_core(struct process *p, const struct process_options *o, char *error, size_t size)
{
	struct vr_config config = {
		.n = p->cluster->n,
		.self = p->index,
		.app = o->app,
		.start_s = time(NULL),
	};
	int mtu = o->iface ? neighbour_mtu(o->iface) : 0;

	if (mtu > 0)
		config.payload_max = mtu - 28; /* IPv4 and UDP headers */
	if (config.payload_max > WIRE_FRAGMENT_MAX)
		config.payload_max =
			WIRE_FRAGMENT_MAX; /* the loopback's frames are longer than any message */
	if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
		config.seed = look_at_clock(p) ^ (uint64_t)getpid() << 32;
	p->vr = vr_open(&config, error, size);
	return p->vr ? 0 : -EINVAL;
}

static int open_echo(struct process *p, const struct app *app, char *error, size_t size)
{
	p->echo = echo_open(app);
	if (p->echo)
		return 0;
	snprintf(error, size, "out of memory");
	return -ENOMEM;
}

static int open_journal(struct process *p, const struct process_options *o, char *error,
			size_t size)
{
	const struct restart_options options = {
		.path = o->journal,
		.format = o->format,
		.cluster = o->cluster,
		.index = o->index,
	};

	return restart(&p->journal, p->elec, p->vr, &options, error, size);
}

int process_open(struct process **out, const struct process_options *options, char *error,
		 size_t error_size)
{
	struct process *p = calloc(1, sizeof(*p));
	int ret;

	if (!p) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	p->cluster = options->cluster;
	p->index = options->index;
	p->report = options->report;
	p->busy_us = options->busy_us;
	p->socket = -1;
	for (int i = 0; i < BURST; i++) {
		p->in_iov[i] = (struct iovec){p->data[i], DATAGRAM_MAX};
		p->in[i].msg_hdr = (struct msghdr){
			.msg_name = &p->in_from[i],
			.msg_namelen = sizeof(p->in_from[i]),
			.msg_iov = &p->in_iov[i],
			.msg_iovlen = 1,
		};
	}
	ret = options->echo ? open_echo(p, options->app, error, error_size)
			    : open_core(p, options, error, error_size);
	if (!ret)
		ret = open_socket(p, error, error_size);
	if (!ret)
		ret = open_elec(p, options, error, error_size);
	if (!ret && options->journal)
		ret = open_journal(p, options, error, error_size);
	if (!ret && options->status) {
		ret = status_open(&p->status, options->status);
		if (ret)
			snprintf(error, error_size, "cannot make %s: %s", options->status,
				 strerror(-ret));
	}
	if (ret) {
		process_close(p);
		return ret;
	}
	*out = p;
	return 0;
}

static void report_echo(const struct process *p, FILE *out)
{
	fprintf(out,
		"{\"index\":%u,\"status\":\"echo\",\"view\":0,\"op\":0,\"prepares\":0,"
		"\"executed\":%" PRIu64 "}\n",
		p->index, echo_count(p->echo));
	fflush(out);
}

void process_report(struct process *p, FILE *out)
{
	const uint64_t *counts = vr_counts(p->vr);
	uint64_t kernel[ELEC_R_COUNT] = {0};
	struct vr_info info;

	if (p->echo)
		return report_echo(p, out);
	vr_info(p->vr, &info);
	elec_counts(p->elec, kernel);
	fprintf(out,
		"{\"index\":%u,\"status\":\"%s\",\"view\":%" PRIu64
		",\"leader\":%s,\"base\":%" PRIu64 ",\"op\":%" PRIu64 ",\"committed\":%" PRIu64
		",\"applied\":%" PRIu64 ",\"polls\":%" PRIu64 ",\"poll-messages\":%" PRIu64,
		p->index, status_name(info.status), info.view,
		info.status == VR_NORMAL && info.leader == p->index ? "true" : "false", info.base,
		info.op, info.committed, info.executed, p->polls, p->poll_messages);
	for (unsigned int i = 0; i < VR_COUNT_COUNT; i++)
		if (vr_count_name(i))
			fprintf(out, ",\"%s\":%" PRIu64, vr_count_name(i), counts[i]);
	for (unsigned int i = 0; i < ELEC_R_COUNT; i++)
		fprintf(out, ",\"kernel.%s\":%" PRIu64, elec_reason_names[i], kernel[i]);
	fprintf(out, "}\n");
	fflush(out);
}

const char *process_given_up(const struct process *p, unsigned int i)
{
	return p->elec ? elec_given_up(p->elec, i) : NULL;
}

void process_close(struct process *p)
{
	if (!p)
		return;
	elec_close(p->elec);
	vr_close(p->vr);
	echo_close(p->echo);
	journal_close(p->journal);
	status_close(p->status);
	if (p->socket >= 0)
		close(p->socket);
	free(p);
}
