// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replica/message_normal.h"

#include <string.h>

#include "vr.pb.h"

/* A field's tag; all that are used here take one byte. */
#define VARINT(field) ((field) << 3)
#define BYTES(field) ((field) << 3 | 2)

/* ---- decoding ---- */

struct cursor {
	const uint8_t *at, *end;
};

static bool get_varint(struct cursor *c, uint64_t *value)
{
	uint64_t v = 0;

	/* A tenth byte would not fit: nanopb's to judge. */
	for (int shift = 0; shift < 63 && c->at < c->end; shift += 7) {
		uint8_t byte = *c->at++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = v;
			return true;
		}
	}
	return false;
}

static bool get_tag(struct cursor *c, uint8_t tag)
{
	if (c->at == c->end || *c->at != tag)
		return false;
	c->at++;
	return true;
}

static bool get_number(struct cursor *c, uint8_t tag, uint64_t *value)
{
	return get_tag(c, tag) && get_varint(c, value);
}

static bool get_bytes(struct cursor *c, uint8_t tag, struct bytes *bytes)
{
	uint64_t len;

	if (!get_number(c, tag, &len) || len > (uint64_t)(c->end - c->at))
		return false;
	bytes->data = c->at;
	bytes->len = len;
	c->at += len;
	return true;
}

static bool get_request(struct cursor *c, uint8_t tag, struct entry *e)
{
	struct bytes body;
	struct cursor r;

	if (!get_bytes(c, tag, &body))
		return false;
	*e = (struct entry){0};
	r = (struct cursor){body.data, body.data + body.len};
	return get_bytes(&r, BYTES(Request_op_tag), &e->op) &&
	       get_number(&r, VARINT(Request_clientid_tag), &e->clientid) &&
	       get_number(&r, VARINT(Request_clientreqid_tag), &e->reqid) && r.at == r.end;
}

static bool get_prepare(struct cursor *c, struct message *m, struct entry *room, uint32_t count)
{
	if (!get_number(c, VARINT(PrepareMessage_view_tag), &m->view) ||
	    !get_number(c, VARINT(PrepareMessage_opnum_tag), &m->opnum) ||
	    !get_number(c, VARINT(PrepareMessage_batchstart_tag), &m->batchstart))
		return false;
	while (c->at < c->end && *c->at == BYTES(PrepareMessage_request_tag)) {
		if (m->entries.count == count ||
		    !get_request(c, BYTES(PrepareMessage_request_tag), &room[m->entries.count]))
			return false;
		m->entries.count++;
	}
	if (c->at == c->end)
		return true;
	m->has_committed = true;
	return get_number(c, VARINT(PrepareMessage_lastCommitted_tag), &m->committed);
}

bool message_normal_decode(struct message *m, const uint8_t *body, size_t len, struct entry *room,
			   uint32_t room_count)
{
	struct cursor c = {body, body + len};
	bool got;

	switch (m->kind) {
	case WIRE_REQUEST:
		m->entries.count = 1;
		got = room_count > 0 && get_request(&c, BYTES(RequestMessage_req_tag), room);
		break;
	case WIRE_PREPARE:
		got = get_prepare(&c, m, room, room_count);
		break;
	default:
		got = get_number(&c, VARINT(ReplyMessage_view_tag), &m->view) &&
		      get_number(&c, VARINT(ReplyMessage_opnum_tag), &m->opnum) &&
		      get_bytes(&c, BYTES(ReplyMessage_reply_tag), &m->reply) &&
		      get_number(&c, VARINT(ReplyMessage_clientreqid_tag), &m->reqid);
		break;
	}
	return got && c.at == c.end;
}

/* ---- encoding ---- */

static uint8_t *put_number(uint8_t *to, uint8_t tag, uint64_t value)
{
	*to++ = tag;
	for (; value >= 0x80; value >>= 7)
		*to++ = value | 0x80;
	*to++ = value;
	return to;
}

static uint8_t *put_bytes(uint8_t *to, uint8_t tag, const struct bytes *bytes)
{
	to = put_number(to, tag, bytes->len);
	if (bytes->len)
		memcpy(to, bytes->data, bytes->len);
	return to + bytes->len;
}

static uint8_t *put_request(uint8_t *to, uint8_t tag, const struct entry *e)
{
	to = put_number(to, tag, request_body_len(e));
	to = put_bytes(to, BYTES(Request_op_tag), &e->op);
	to = put_number(to, VARINT(Request_clientid_tag), e->clientid);
	return put_number(to, VARINT(Request_clientreqid_tag), e->reqid);
}

static size_t body_len(const struct message *m)
{
	size_t len;

	switch (m->kind) {
	case WIRE_REQUEST:
		return message_request_len(entries_at(&m->entries, 0));
	case WIRE_PREPARE:
		len = 3 + varint_len(m->view) + varint_len(m->opnum) + varint_len(m->batchstart);
		for (uint32_t i = 0; i < m->entries.count; i++)
			len += message_request_len(entries_at(&m->entries, i));
		return len + (m->has_committed ? 1 + varint_len(m->committed) : 0);
	default:
		return 4 + varint_len(m->view) + varint_len(m->opnum) + varint_len(m->reply.len) +
		       m->reply.len + varint_len(m->reqid);
	}
}

size_t message_normal_encode(const struct message *m, uint8_t *out, size_t size)
{
	size_t len = body_len(m);
	uint8_t *to = out;

	if (len > size)
		return 0;
	switch (m->kind) {
	case WIRE_REQUEST:
		put_request(to, BYTES(RequestMessage_req_tag), entries_at(&m->entries, 0));
		break;
	case WIRE_PREPARE:
		to = put_number(to, VARINT(PrepareMessage_view_tag), m->view);
		to = put_number(to, VARINT(PrepareMessage_opnum_tag), m->opnum);
		to = put_number(to, VARINT(PrepareMessage_batchstart_tag), m->batchstart);
		for (uint32_t i = 0; i < m->entries.count; i++)
			to = put_request(to, BYTES(PrepareMessage_request_tag),
					 entries_at(&m->entries, i));
		if (m->has_committed)
			put_number(to, VARINT(PrepareMessage_lastCommitted_tag), m->committed);
		break;
	default:
		to = put_number(to, VARINT(ReplyMessage_view_tag), m->view);
		to = put_number(to, VARINT(ReplyMessage_opnum_tag), m->opnum);
		to = put_bytes(to, BYTES(ReplyMessage_reply_tag), &m->reply);
		put_number(to, VARINT(ReplyMessage_clientreqid_tag), m->reqid);
		break;
	}
	return len;
}
