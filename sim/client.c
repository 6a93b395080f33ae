/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Closed-loop clients on a few keys that all of them use. Each has one operation in
 * flight, thinks a while after its reply, sends again what stays without one, first to
 * the leader that it knows, then to everybody.
 */
#include <string.h>

#include "replica/message.h"
#include "sim/sim.h"

#define OP_MAX 12000
#define THINK_NS (2 * MS)
#define RESEND_NS (50 * MS)
#define RESEND_MAX_NS (800 * MS)

static void timer(struct sim *s, struct client *c, uint64_t delay_ns)
{
	world_at(s, delay_ns,
		 (struct event){.kind = EVENT_CLIENT,
				.argument = c->index,
				.generation = ++c->generation});
}

static void datagram(struct sim *s, struct client *c, uint32_t to, const uint8_t *data, size_t len)
{
	struct frame *f = net_frame(s, s->n + c->index, to, data, len);

	detail(s, "send   %s", trace_frame(f));
	net_send(s, s->n + c->index, f);
}

static void send_request(struct sim *s, struct client *c, uint32_t to)
{
	uint8_t piece[WIRE_FRAGMENT_HEAD + WIRE_FRAGMENT_MAX];
	struct wire_fragment f = {.id = c->reqid, .total = c->len - 4};

	if (c->len <= WIRE_FRAGMENT_MAX) {
		datagram(s, c, to, c->message, c->len);
		return;
	}
	for (; f.offset < f.total; f.offset += f.len) {
		f.len = f.total - f.offset;
		if (f.len > WIRE_FRAGMENT_MAX)
			f.len = WIRE_FRAGMENT_MAX;
		wire_encode_fragment_head(piece, &f);
		memcpy(piece + WIRE_FRAGMENT_HEAD, c->message + 4 + f.offset, f.len);
		datagram(s, c, to, piece, WIRE_FRAGMENT_HEAD + f.len);
	}
}

static void transmit(struct sim *s, struct client *c)
{
	uint64_t pause = RESEND_NS << (c->tries < 4 ? c->tries : 4);

	for (uint32_t i = 0; i < s->n; i++)
		if (!c->leader_known || i == c->view % s->n)
			send_request(s, c, i);
	timer(s, c, pause < RESEND_MAX_NS ? pause : RESEND_MAX_NS);
}

/* Mostly small; some do not fit a frame, a few not a message. */
static uint32_t value_len(struct rng *r)
{
	uint64_t kind = rng_below(r, 1000);

	if (kind < 4)
		return rng_between(r, 8900, OP_MAX - 64);
	if (kind < 20)
		return rng_between(r, 1300, 4000);
	if (kind < 100)
		return rng_between(r, 64, 1300);
	return rng_between(r, 1, 64);
}

static size_t make_operation(struct sim *s, struct client *c, char *op)
{
	struct rng *r = &s->rng_client;
	uint32_t kind = rng_below(r, 10), key = rng_below(r, SIM_KEYS), len, value;

	if (kind < 4)
		return sprintf(op, "GET k%u", key);
	if (kind < 5)
		return sprintf(op, "DEL k%u", key);
	len = sprintf(op, "SET k%u %u.%llu ", key, c->index, (unsigned long long)c->reqid);
	value = value_len(r);
	for (uint32_t i = 0; i < value; i++)
		op[len + i] = 'a' + (i + key) % 26;
	return len + value;
}

static void next(struct sim *s, struct client *c)
{
	static char op[OP_MAX];
	struct entry entry = {.clientid = c->id, .op.data = (const uint8_t *)op};
	struct message request = {.kind = WIRE_REQUEST,
				  .entries = {.ring = &entry, .count = 1, .mask = UINT32_MAX}};

	if (s->operations_begun == s->o.steps)
		return;
	c->operation = s->operations_begun++;
	c->busy = true;
	c->tries = 0;
	entry.reqid = ++c->reqid;
	entry.op.len = make_operation(s, c, op);
	s->operations[c->operation] = (struct operation){
		.client = c->index,
		.reqid = c->reqid,
		.invoked_ns = s->now_ns,
	};
	c->len = message_encode(&request, c->message, sizeof(c->message));
	transmit(s, c);
}

void clients_start(struct sim *s)
{
	for (uint32_t i = 0; i < s->clients; i++) {
		s->client[i].index = i;
		s->client[i].id = rng_next(&s->rng_client);
		timer(s, &s->client[i], rng_below(&s->rng_client, THINK_NS));
	}
}

void client_timer(struct sim *s, uint32_t i)
{
	struct client *c = &s->client[i];

	if (!c->busy) {
		next(s, c);
		return;
	}
	c->tries++;
	c->leader_known = false;
	transmit(s, c);
}

/* Fragments of a reply over 9000 bytes are put together here, in whatever order one sender's come. */
static const uint8_t *whole(struct client *c, uint32_t from, const uint8_t *data, size_t *len)
{
	struct wire_fragment f;

	if (wire_decode_fragment(&f, data, *len) != WIRE_OK || f.total + 4 > sizeof(c->reply) ||
	    f.offset + f.len > f.total)
		return NULL;
	if (c->reply_from != from || c->reply_id != f.id) {
		c->reply_from = from;
		c->reply_id = f.id;
		c->reply_got = 0;
	}
	memcpy(c->reply + 4 + f.offset, f.data, f.len);
	c->reply_got |= 1u << f.offset / WIRE_FRAGMENT_MAX;
	if (c->reply_got != (1u << (f.total + WIRE_FRAGMENT_MAX - 1) / WIRE_FRAGMENT_MAX) - 1)
		return NULL;
	memcpy(c->reply, (uint32_t[]){WIRE_MAGIC}, 4);
	*len = f.total + 4;
	return c->reply;
}

static void on_reply(struct sim *s, struct client *c, uint32_t from, const uint8_t *data, size_t len)
{
	struct operation *o = &s->operations[c->operation];
	struct message reply;
	struct wire_head head;
	struct entry none;

	if (wire_decode_head(&head, data, len) == WIRE_OK && head.kind == WIRE_FRAGMENT)
		data = whole(c, from, data, &len);
	if (!data || message_decode(&reply, data, len, &none, 1) != WIRE_OK ||
	    reply.kind != WIRE_REPLY || !c->busy || reply.reqid != c->reqid)
		return;
	if (!c->leader_known || reply.view > c->view) {
		c->leader_known = true;
		c->view = reply.view;
	}
	o->returned_ns = s->now_ns;
	o->op = reply.opnum;
	o->result = check_hash(reply.reply.data, reply.reply.len);
	s->operations_done++;
	c->busy = false;
	timer(s, c, rng_below(&s->rng_client, THINK_NS));
	plan_progress(s);
}

void client_receive(struct sim *s, uint32_t i, struct frame *f)
{
	if (net_accepts(s, s->n + i, f)) {
		detail(s, "arrive %s", trace_frame(f));
		on_reply(s, &s->client[i], net_sender(f), f->data + NET_PAYLOAD_AT,
			 f->len - NET_PAYLOAD_AT);
	}
	unneed(f);
}

bool clients_done(const struct sim *s)
{
	return s->operations_done == s->o.steps;
}
