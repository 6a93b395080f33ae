/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 *   recvmmsg -> on_reply: check, record -> next operation -> queue -> sendmmsg
 *                  tick (10 ms): send again what is overdue, progress, the end
 *
 * One thread and one socket for all clients: replies that come together are taken with
 * one system call, and the operations that they let loose leave with one. A Reply carries
 * a request id but no client id, so request ids are <sequence> * clients + <client>.
 */
#include "replica/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "replica/message.h"
#include "replica/workload.h"

#define BATCH 64	/* datagrams per system call */
#define REPLY_MAX 10000 /* bytes of a datagram: a message that is not in fragments, and more */
#define REQUEST_MAX (WIRE_HEAD_LEN(WIRE_T_REQUEST) + 64 + WORKLOAD_OP_MAX)

#define SECOND_NS 1000000000ULL
#define TICK_NS 10000000ULL
#define PROGRESS_NS 200000000ULL
#define RESEND_MIN_NS 50000000ULL /* far above any round trip in a rack that is not ill */
#define RESEND_MAX_NS SECOND_NS

struct client {
	uint64_t id;	    /* random: nobody else's, nor an earlier run's */
	uint64_t reqid;	    /* of the operation in flight */
	uint64_t sent_ns;   /* when it was first sent; 0: not yet */
	uint64_t resend_ns; /* when it is overdue */
	uint32_t tries;	    /* times sent again */
	uint32_t len;	    /* bytes of message; 0: nothing in flight */
	uint8_t message[REQUEST_MAX];
	uint32_t op_len;
	char op[WORKLOAD_OP_MAX];
};

struct load {
	const struct load_options *o;
	struct load_result *result;
	struct workload *workload;
	struct client *client;
	int socket;
	uint64_t started; /* operations */
	int send_errno;	  /* of the last send that failed */
	char first_wrong[256];

	bool leader_known; /* replica view mod n, as the last reply said */
	uint64_t view;

	uint64_t srtt_ns, rttvar_ns; /* round trips, 0: none yet */
	uint64_t start_ns, last_reply_ns, next_tick_ns;
	uint64_t progress_ns; /* of the last progress */
	struct histogram progress_latency_ns;

	unsigned int queued; /* requests that leave with the next flush */
	struct mmsghdr out[BATCH];
	struct iovec out_iov[BATCH];
	struct client *out_client[BATCH];

	struct mmsghdr in[BATCH];
	struct iovec in_iov[BATCH];
	struct sockaddr_in in_from[BATCH];
	uint8_t in_data[BATCH][REPLY_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* ---- sending ---- */

/* RFC 6298, with a floor and a ceiling of our own; doubled for each time sent again. */
static uint64_t resend_timeout_ns(const struct load *l, uint32_t tries)
{
	uint64_t t = l->srtt_ns + 4 * l->rttvar_ns;

	if (t < RESEND_MIN_NS)
		t = RESEND_MIN_NS;
	while (tries-- && t < RESEND_MAX_NS)
		t *= 2;
	return t < RESEND_MAX_NS ? t : RESEND_MAX_NS;
}

static void flush(struct load *l)
{
	uint64_t now = now_ns();
	unsigned int sent = 0;

	for (unsigned int i = 0; i < l->queued; i++) {
		struct client *c = l->out_client[i];

		if (!c->sent_ns)
			c->sent_ns = now;
		c->resend_ns = now + resend_timeout_ns(l, c->tries);
	}
	while (sent < l->queued) {
		int n = sendmmsg(l->socket, l->out + sent, l->queued - sent, 0);

		if (n > 0) {
			sent += n;
		} else if (errno != EINTR) {
			l->send_errno = errno;
			sent++; /* as good as lost: it is sent again when overdue */
		}
	}
	l->queued = 0;
}

static void queue_to(struct load *l, struct client *c, uint32_t replica)
{
	unsigned int i;

	if (l->queued == BATCH)
		flush(l);
	i = l->queued++;
	l->out_client[i] = c;
	l->out_iov[i].iov_base = c->message;
	l->out_iov[i].iov_len = c->len;
	l->out[i].msg_hdr.msg_name = (void *)&l->o->cluster->replica[replica];
}

static void queue(struct load *l, struct client *c)
{
	if (l->leader_known) {
		queue_to(l, c, l->view % l->o->cluster->n);
		return;
	}
	for (uint32_t i = 0; i < l->o->cluster->n; i++)
		queue_to(l, c, i);
}

static void start_op(struct load *l, uint32_t i)
{
	struct client *c = &l->client[i];
	struct entry entry = {.clientid = c->id, .op.data = (const uint8_t *)c->op};
	struct message request = {.kind = WIRE_REQUEST,
				  .entries = {.ring = &entry, .count = 1, .mask = UINT32_MAX}};

	c->len = 0;
	if (l->o->ops && l->started == l->o->ops)
		return;
	l->started++;
	entry.op.len = c->op_len = workload_next(l->workload, i, c->op);
	entry.reqid = c->reqid += l->o->clients;
	c->sent_ns = 0;
	c->tries = 0;
	c->len = message_encode(&request, c->message, sizeof(c->message));
	queue(l, c);
}

static void resend_overdue(struct load *l, uint64_t now)
{
	for (uint32_t i = 0; i < l->o->clients; i++) {
		struct client *c = &l->client[i];

		if (!c->len || c->resend_ns > now)
			continue;
		c->tries++;
		l->result->retransmits++;
		l->leader_known = false;
		queue(l, c);
	}
}

/* ---- receiving ---- */

static void measure_round_trip(struct load *l, uint64_t rtt)
{
	int64_t error = (int64_t)(rtt - l->srtt_ns);

	if (!l->srtt_ns) {
		l->srtt_ns = rtt;
		l->rttvar_ns = rtt / 2;
		return;
	}
	l->srtt_ns += error / 8;
	l->rttvar_ns += ((error < 0 ? -error : error) - (int64_t)l->rttvar_ns) / 4;
}

static void check_reply(struct load *l, uint32_t i, const struct bytes *reply)
{
	const char *want;
	size_t want_len;

	if (workload_check(l->workload, i, reply->data, reply->len, &want, &want_len))
		return;
	if (l->result->wrong++)
		return;
	snprintf(l->first_wrong, sizeof(l->first_wrong),
		 "to request %" PRIu64 ", said '%.*s', not '%.*s'", l->client[i].reqid,
		 (int)(reply->len < 90 ? reply->len : 90), (const char *)reply->data,
		 (int)(want_len < 90 ? want_len : 90), want);
}

/* The client's operation has ended; without a reply, now is 0. */
static void remember(struct load *l, uint32_t i, const struct message *reply, uint64_t now)
{
	const struct client *c = &l->client[i];
	struct history_op op = {.client = i,
				.id = c->id,
				.reqid = c->reqid,
				.invoked_ns = c->sent_ns,
				.completed_ns = now,
				.op = c->op,
				.op_len = c->op_len,
				.sends = c->tries + 1};

	if (!l->o->history)
		return;
	if (now) {
		op.result = reply->reply.data;
		op.result_len = reply->reply.len;
		op.opnum = reply->opnum;
		op.view = reply->view;
	}
	history_add(l->o->history, &op);
}

static void remember_unanswered(struct load *l)
{
	for (uint32_t i = 0; i < l->o->clients; i++) {
		if (l->client[i].len && l->client[i].sent_ns)
			remember(l, i, NULL, 0);
	}
}

/* A reply that is no answer to an operation in flight is a late one of a resend. */
static void on_datagram(struct load *l, const struct mmsghdr *datagram, uint64_t now)
{
	struct message reply;
	struct entry none;
	struct client *c;
	uint32_t i;

	if (cluster_find(l->o->cluster, datagram->msg_hdr.msg_name) < 0 ||
	    message_decode(&reply, datagram->msg_hdr.msg_iov->iov_base, datagram->msg_len, &none,
			   1) != WIRE_OK ||
	    reply.kind != WIRE_REPLY)
		return;
	i = reply.reqid % l->o->clients;
	c = &l->client[i];
	if (!c->len || c->reqid != reply.reqid)
		return;
	/* also back to a lower view, when the leader that was known does not answer */
	if (!l->leader_known || reply.view > l->view) {
		l->leader_known = true;
		l->view = reply.view;
	}
	remember(l, i, &reply, now);
	check_reply(l, i, &reply.reply);
	histogram_add(&l->result->latency_ns, now - c->sent_ns);
	if (!c->tries)
		measure_round_trip(l, now - c->sent_ns);
	l->result->done++;
	l->last_reply_ns = now;
	start_op(l, i);
}

/* Before it sleeps: whoever is waited for on this CPU gets it by the yield. */
static int receive_soon(struct load *l)
{
	uint64_t end = now_ns() + l->o->busy_us * 1000ULL;
	int n;

	do {
		n = recvmmsg(l->socket, l->in, BATCH, MSG_DONTWAIT, NULL);
		if (n > 0)
			return n;
		sched_yield();
	} while (now_ns() < end);
	return -1;
}

/* Waits for one datagram at most until the next tick, and takes those behind it along. */
static int receive(struct load *l)
{
	uint64_t now;
	int n = -1;

	for (unsigned int i = 0; i < BATCH; i++)
		l->in[i].msg_hdr.msg_namelen = sizeof(l->in_from[i]);
	if (l->o->busy_us)
		n = receive_soon(l);
	if (n < 0)
		n = recvmmsg(l->socket, l->in, BATCH, MSG_WAITFORONE, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	now = now_ns();
	for (int i = 0; i < n; i++)
		on_datagram(l, &l->in[i], now);
	flush(l);
	return 0;
}

/* ---- the loop ---- */

static void show_progress(struct load *l, uint64_t now)
{
	const struct histogram *all = &l->result->latency_ns;
	uint64_t done = all->count - l->progress_latency_ns.count;

	l->result->elapsed_ns = now - l->start_ns;
	l->o->progress(l->result, (double)done * SECOND_NS / (double)(now - l->progress_ns),
		       histogram_percentile_since(all, &l->progress_latency_ns, 0.99));
	l->progress_ns = now;
	l->progress_latency_ns = *all;
}

static bool finished(struct load *l, uint64_t now)
{
	if (*l->o->stop) {
		l->result->interrupted = true;
		return true;
	}
	if (l->o->ops && l->result->done == l->o->ops)
		return true;
	return l->o->seconds && now - l->start_ns >= l->o->seconds * SECOND_NS;
}

static int loop(struct load *l)
{
	int ret;

	for (uint32_t i = 0; i < l->o->clients; i++)
		start_op(l, i);
	flush(l);
	for (;;) {
		uint64_t now;

		ret = receive(l);
		if (ret)
			return ret;
		now = now_ns();
		if (finished(l, now))
			return 0;
		if (now < l->next_tick_ns)
			continue;
		l->next_tick_ns = now + TICK_NS;
		if (now - l->last_reply_ns >= l->o->give_up_s * SECOND_NS)
			return -ETIMEDOUT;
		resend_overdue(l, now);
		flush(l);
		if (l->o->progress && now - l->progress_ns >= PROGRESS_NS)
			show_progress(l, now);
	}
}

static int open_socket(struct load *l)
{
	struct timeval tick = {.tv_usec = TICK_NS / 1000};
	int buffer = 8 << 20; /* a reply to each client at once, and their duplicates */

	l->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->socket < 0)
		return -errno;
	if (setsockopt(l->socket, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick)))
		return -errno;
	if (setsockopt(l->socket, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(l->socket, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	for (unsigned int i = 0; i < BATCH; i++) {
		l->out_iov[i].iov_len = 0;
		l->out[i].msg_hdr = (struct msghdr){.msg_iov = &l->out_iov[i],
						    .msg_iovlen = 1,
						    .msg_namelen = sizeof(struct sockaddr_in)};
		l->in_iov[i] = (struct iovec){l->in_data[i], sizeof(l->in_data[i])};
		l->in[i].msg_hdr = (struct msghdr){
			.msg_iov = &l->in_iov[i], .msg_iovlen = 1, .msg_name = &l->in_from[i]};
	}
	return 0;
}

static int open_clients(struct load *l)
{
	struct workload_options w = {.clients = l->o->clients,
				     .keys = l->o->keys,
				     .mix = l->o->mix,
				     .value_bytes = l->o->value_bytes,
				     .seed = l->o->seed,
				     .shared = l->o->shared};

	l->client = calloc(l->o->clients, sizeof(*l->client));
	if (!l->client)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->o->clients; i++) {
		if (getrandom(&l->client[i].id, sizeof(l->client[i].id), 0) < 0)
			return -errno;
		l->client[i].reqid = i; /* the first operation's is i + clients */
	}
	w.run = (uint32_t)l->client[0].id;
	l->workload = workload_open(&w);
	return l->workload ? 0 : -ENOMEM;
}

static void explain(const struct load *l, int ret, char *error, size_t error_size)
{
	const struct sockaddr_in *first = &l->o->cluster->replica[0];
	char address[INET_ADDRSTRLEN] = "";

	if (ret == -EBADMSG) {
		snprintf(error, error_size,
			 "%" PRIu64 " of %" PRIu64 " replies were wrong: the first, %s",
			 l->result->wrong, l->result->done, l->first_wrong);
		return;
	}
	if (ret != -ETIMEDOUT) {
		snprintf(error, error_size, "cannot run the load: %s", strerror(-ret));
		return;
	}
	inet_ntop(AF_INET, &first->sin_addr, address, sizeof(address));
	snprintf(error, error_size,
		 "no reply from any of the %u replicas (the first is %s:%u) for %u s%s%s: "
		 "do they run, and does this network namespace reach them?",
		 l->o->cluster->n, address, ntohs(first->sin_port), l->o->give_up_s,
		 l->send_errno ? ", and sending says: " : "",
		 l->send_errno ? strerror(l->send_errno) : "");
}

int load_run(const struct load_options *options, struct load_result *result, char *error,
	     size_t error_size)
{
	struct load *l = calloc(1, sizeof(*l));
	int ret;

	memset(result, 0, sizeof(*result));
	if (!l) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	l->o = options;
	l->result = result;
	l->socket = -1;
	ret = open_socket(l);
	if (!ret)
		ret = open_clients(l);
	if (!ret) {
		l->start_ns = l->last_reply_ns = l->progress_ns = now_ns();
		ret = loop(l);
		result->elapsed_ns = now_ns() - l->start_ns;
		result->view = l->view;
		remember_unanswered(l);
	}
	if (!ret && result->wrong)
		ret = -EBADMSG;
	if (ret)
		explain(l, ret, error, error_size);
	workload_close(l->workload);
	free(l->client);
	if (l->socket >= 0)
		close(l->socket);
	free(l);
	return ret;
}
