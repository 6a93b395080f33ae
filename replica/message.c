// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Bodies through nanopb, but for what message_normal.c takes. Bytes fields and lists are callbacks:
 * decoding notes where the bytes lie, encoding writes from where they lie.
 */
#include <endian.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

#include "replica/message_normal.h"
#include "vr.pb.h"

/* --- decoding ------------------------------------------------------------------------ */

struct reader {
	struct message *m;
	struct entry *room;
	uint32_t room_count;
	uintptr_t begin, end; /* of the body */
	enum wire_error error;
};

struct bytes_reader {
	const struct reader *reader;
	struct bytes *out;
};

static bool read_bytes(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	const struct bytes_reader *b = *arg;
	uintptr_t at = (uintptr_t)stream->state; /* a buffer stream's position */

	(void)field;
	/* A scalar where bytes belong comes in a buffer of nanopb's own. */
	if (at < b->reader->begin || at > b->reader->end)
		return false;
	b->out->data = stream->state;
	b->out->len = stream->bytes_left;
	return pb_read(stream, NULL, stream->bytes_left);
}

#define READ_BYTES(reader_, out_)                                                                  \
	{                                                                                          \
		.funcs.decode = read_bytes, .arg = &(struct bytes_reader)                          \
		{                                                                                  \
			reader_, out_                                                              \
		}                                                                                  \
	}

static bool read_request_body(pb_istream_t *stream, const struct reader *r, struct entry *e)
{
	Request request = {.op = READ_BYTES(r, &e->op)};

	if (!pb_decode(stream, Request_fields, &request))
		return false;
	e->clientid = request.clientid;
	e->reqid = request.clientreqid;
	return true;
}

static struct entry *new_entry(struct reader *r)
{
	uint32_t count = r->m->entries.count;

	if (count == r->room_count) {
		r->error = WIRE_E_MANY;
		return NULL;
	}
	r->m->entries.count++;
	r->room[count] = (struct entry){0};
	return &r->room[count];
}

static bool read_request(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct reader *r = *arg;
	struct entry *e = new_entry(r);

	(void)field;
	return e && read_request_body(stream, r, e);
}

struct entry_reader {
	const struct reader *reader;
	struct entry *entry;
};

static bool read_entry_request(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	const struct entry_reader *er = *arg;

	(void)field;
	return read_request_body(stream, er->reader, er->entry);
}

static bool read_entry(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct reader *r = *arg;
	struct entry *e = new_entry(r);
	struct entry_reader er = {r, e};
	LogEntry entry = {.request = {.funcs.decode = read_entry_request, .arg = &er}};

	(void)field;
	if (!e || !pb_decode(stream, LogEntry_fields, &entry))
		return false;
	e->view = entry.view;
	e->opnum = entry.opnum;
	e->state = entry.state;
	return true;
}

static bool read_crash(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct reader *r = *arg;

	(void)field;
	while (stream->bytes_left > 0) {
		if (r->m->crash_count == ELEC_REPLICAS_MAX) {
			r->error = WIRE_E_MANY;
			return false;
		}
		if (!pb_decode_varint(stream, &r->m->crash[r->m->crash_count]))
			return false;
		r->m->crash_count++;
	}
	return true;
}

#define READ_REQUESTS(r)                                                                           \
	{                                                                                          \
		.funcs.decode = read_request, .arg = r                                             \
	}
#define READ_ENTRIES(r)                                                                            \
	{                                                                                          \
		.funcs.decode = read_entry, .arg = r                                               \
	}
#define READ_CRASH(r)                                                                              \
	{                                                                                          \
		.funcs.decode = read_crash, .arg = r                                               \
	}

static void set_snapshot(struct message *m, bool has, const Snapshot *s)
{
	if (!has) {
		m->snapshot = (struct snapshot_piece){0};
		return;
	}
	m->snapshot.opnum = s->opnum;
	m->snapshot.offset = s->offset;
	m->snapshot.total = s->total;
}

static bool decode_body(struct reader *r, pb_istream_t *stream)
{
	struct message *m = r->m;

	switch (m->kind) {
	case WIRE_REQUEST: {
		RequestMessage b = {.req = READ_REQUESTS(r)};

		return pb_decode(stream, RequestMessage_fields, &b);
	}
	case WIRE_UNLOGGED_REQUEST: {
		UnloggedRequestMessage b = {.req = READ_REQUESTS(r)};

		return pb_decode(stream, UnloggedRequestMessage_fields, &b);
	}
	case WIRE_PREPARE: {
		PrepareMessage b = {.request = READ_REQUESTS(r)};

		if (!pb_decode(stream, PrepareMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		m->batchstart = b.batchstart;
		m->has_committed = b.has_lastCommitted;
		m->committed = b.lastCommitted;
		return true;
	}
	case WIRE_PREPARE_OK: {
		PrepareOKMessage b;

		if (!pb_decode(stream, PrepareOKMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		m->index = b.replicaIdx;
		return true;
	}
	case WIRE_COMMIT: {
		CommitMessage b;

		if (!pb_decode(stream, CommitMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		return true;
	}
	case WIRE_REPLY: {
		ReplyMessage b = {.reply = READ_BYTES(r, &m->reply)};

		if (!pb_decode(stream, ReplyMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		m->reqid = b.clientreqid;
		return true;
	}
	case WIRE_UNLOGGED_REPLY: {
		UnloggedReplyMessage b = {.reply = READ_BYTES(r, &m->reply)};

		return pb_decode(stream, UnloggedReplyMessage_fields, &b);
	}
	case WIRE_REQUEST_STATE_TRANSFER: {
		RequestStateTransferMessage b;

		if (!pb_decode(stream, RequestStateTransferMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		m->snapshot_op = b.snapshotOp;
		m->snapshot_offset = b.snapshotOffset;
		return true;
	}
	case WIRE_STATE_TRANSFER: {
		StateTransferMessage b = {.entries = READ_ENTRIES(r),
					  .snapshot.data = READ_BYTES(r, &m->snapshot.data)};

		if (!pb_decode(stream, StateTransferMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.opnum;
		m->has_committed = b.has_lastCommitted;
		m->committed = b.lastCommitted;
		set_snapshot(m, b.has_snapshot, &b.snapshot);
		return true;
	}
	case WIRE_START_VIEW_CHANGE: {
		StartViewChangeMessage b = {.crashVector = READ_CRASH(r)};

		if (!pb_decode(stream, StartViewChangeMessage_fields, &b))
			return false;
		m->view = b.view;
		m->index = b.replicaIdx;
		m->committed = b.lastCommitted;
		return true;
	}
	case WIRE_DO_VIEW_CHANGE: {
		DoViewChangeMessage b = {.entries = READ_ENTRIES(r), .crashVector = READ_CRASH(r)};

		if (!pb_decode(stream, DoViewChangeMessage_fields, &b))
			return false;
		m->view = b.view;
		m->last_normal = b.lastNormalView;
		m->opnum = b.lastOp;
		m->committed = b.lastCommitted;
		m->index = b.replicaIdx;
		return true;
	}
	case WIRE_START_VIEW: {
		StartViewMessage b = {.entries = READ_ENTRIES(r),
				      .snapshot.data = READ_BYTES(r, &m->snapshot.data),
				      .crashVector = READ_CRASH(r)};

		if (!pb_decode(stream, StartViewMessage_fields, &b))
			return false;
		m->view = b.view;
		m->opnum = b.lastOp;
		m->committed = b.lastCommitted;
		set_snapshot(m, b.has_snapshot, &b.snapshot);
		return true;
	}
	case WIRE_RECOVERY: {
		RecoveryMessage b = {.crashVector = READ_CRASH(r)};

		if (!pb_decode(stream, RecoveryMessage_fields, &b))
			return false;
		m->index = b.replicaIdx;
		m->nonce = b.nonce;
		return true;
	}
	case WIRE_RECOVERY_RESPONSE: {
		RecoveryResponseMessage b = {.entries = READ_ENTRIES(r),
					     .snapshot.data = READ_BYTES(r, &m->snapshot.data),
					     .crashVector = READ_CRASH(r)};

		if (!pb_decode(stream, RecoveryResponseMessage_fields, &b))
			return false;
		m->view = b.view;
		m->nonce = b.nonce;
		m->has_opnum = b.has_lastOp && b.has_lastCommitted;
		m->opnum = b.lastOp;
		m->committed = b.lastCommitted;
		m->index = b.replicaIdx;
		set_snapshot(m, b.has_snapshot, &b.snapshot);
		return true;
	}
	default:
		return false;
	}
}

/* The message has its kind, and nothing else yet. */
static enum wire_error decode_any(struct reader *r, const struct wire_head *head)
{
	pb_istream_t stream = pb_istream_from_buffer(head->body, head->body_len);
	struct message *m = r->m;

	if (message_is_normal(m->kind)) {
		if (message_normal_decode(m, head->body, head->body_len, r->room, r->room_count))
			return WIRE_OK;
		m->has_committed = false;
		m->entries.count = 0;
	}
	r->begin = (uintptr_t)head->body;
	r->end = r->begin + head->body_len;
	if (decode_body(r, &stream))
		return WIRE_OK;
	return r->error ? r->error : WIRE_E_BODY;
}

static enum wire_error decode_my_prepare_ok(struct message *m, const struct wire_head *head)
{
	struct wire_my_prepare_ok b;

	if (head->body_len != sizeof(b))
		return WIRE_E_LENGTH;
	memcpy(&b, head->body, sizeof(b));
	m->view = le64toh(b.view);
	m->opnum = le64toh(b.opnum);
	m->index = le32toh(b.index);
	return WIRE_OK;
}

/* The words that the fast header of a message of this kind carries. */
static void fast_of(const struct message *m, uint32_t fast[3])
{
	bool prepare = m->kind == WIRE_PREPARE;

	memset(fast, 0, 3 * sizeof(*fast));
	if (!prepare && m->kind != WIRE_PREPARE_OK && m->kind != WIRE_MY_PREPARE_OK)
		return;
	if (m->view > WIRE_VIEW_MAX || m->opnum > UINT32_MAX) {
		fast[0] = WIRE_VIEW_UNFIT;
		return;
	}
	fast[0] = m->view;
	fast[1] = m->opnum;
	fast[2] = prepare ? m->batchstart : m->index;
}

/*
 * Programs decide by the fast header, we by the body: they must say the same, or say
 * nothing (zero, as published replicas do when they resend).
 */
static bool fast_contradicts(const struct message *m, const struct wire_head *head)
{
	static const uint32_t none[3];
	uint32_t found[3], right[3];

	memcpy(found, head->fast, sizeof(found));
	found[0] &= ~WIRE_BROADCAST;
	fast_of(m, right);
	return memcmp(found, none, sizeof(none)) != 0 && memcmp(found, right, sizeof(right)) != 0;
}

static enum wire_error check_values(const struct message *m)
{
	const struct entries *e = &m->entries;

	if (m->index >= ELEC_REPLICAS_MAX)
		return WIRE_E_VALUE;
	if (m->view > MESSAGE_NUMBER_MAX || m->opnum > MESSAGE_NUMBER_MAX ||
	    m->committed > MESSAGE_NUMBER_MAX || m->last_normal > MESSAGE_NUMBER_MAX ||
	    m->snapshot.opnum > MESSAGE_NUMBER_MAX || m->snapshot_op > MESSAGE_NUMBER_MAX)
		return WIRE_E_VALUE;
	if (m->snapshot.offset > m->snapshot.total ||
	    m->snapshot.data.len > m->snapshot.total - m->snapshot.offset)
		return WIRE_E_VALUE;
	switch (m->kind) {
	case WIRE_REQUEST:
	case WIRE_UNLOGGED_REQUEST:
		return e->count == 1 ? WIRE_OK : WIRE_E_BODY;
	case WIRE_PREPARE:
		if (m->batchstart == 0 || m->batchstart > m->opnum)
			return WIRE_E_VALUE;
		if (m->opnum - m->batchstart + 1 != e->count)
			return WIRE_E_VALUE;
		return WIRE_OK;
	default:
		for (uint32_t i = 0; i < e->count; i++) {
			if (e->ring[i].opnum == 0 || e->ring[i].opnum > MESSAGE_NUMBER_MAX ||
			    e->ring[i].view > MESSAGE_NUMBER_MAX)
				return WIRE_E_VALUE;
			if (e->ring[i].opnum != e->ring[0].opnum + i)
				return WIRE_E_VALUE;
		}
		return WIRE_OK;
	}
}

enum wire_error message_decode(struct message *m, const uint8_t *data, size_t len,
			       struct entry *room, uint32_t room_count)
{
	struct wire_head head;
	struct reader r = {m, room, room_count, 0, 0, WIRE_OK};
	enum wire_error error;

	error = wire_decode_head(&head, data, len);
	if (error)
		return error;
	if (head.kind == WIRE_FRAGMENT)
		return WIRE_E_MAGIC;
	memset(m, 0, offsetof(struct message, crash));
	m->kind = head.kind;
	m->entries.ring = room;
	m->entries.mask = UINT32_MAX;
	if (m->kind == WIRE_MY_PREPARE_OK) {
		error = decode_my_prepare_ok(m, &head);
		if (error)
			return error;
	} else {
		if (m->kind == WIRE_PREPARE && r.room_count > ELEC_BATCH_MAX)
			r.room_count = ELEC_BATCH_MAX;
		error = decode_any(&r, &head);
		if (error)
			return error;
	}
	error = check_values(m);
	if (error)
		return error;
	if (m->kind == WIRE_PREPARE) {
		for (uint32_t i = 0; i < m->entries.count; i++) {
			room[i].view = m->view;
			room[i].opnum = m->batchstart + i;
			room[i].state = 1;
		}
	}
	return fast_contradicts(m, &head) ? WIRE_E_HEADER : WIRE_OK;
}

/* --- encoding ------------------------------------------------------------------------ */

static uint32_t entry_body_len(const struct entry *e)
{
	uint32_t request = request_body_len(e);

	return 2 + varint_len(e->view) + varint_len(e->opnum) + 1 + varint_len(request) + request +
	       1 + varint_len(e->state) + 22;
}

size_t message_request_len(const struct entry *e)
{
	uint32_t len = request_body_len(e);

	return 1 + varint_len(len) + len;
}

size_t message_entry_len(const struct entry *e)
{
	uint32_t len = entry_body_len(e);

	return 1 + varint_len(len) + len;
}

static bool write_u64(pb_ostream_t *stream, uint32_t tag, uint64_t value)
{
	return pb_encode_tag(stream, PB_WT_VARINT, tag) && pb_encode_varint(stream, value);
}

static bool write_request_as(pb_ostream_t *stream, uint32_t tag, const struct entry *e)
{
	return pb_encode_tag(stream, PB_WT_STRING, tag) &&
	       pb_encode_varint(stream, request_body_len(e)) &&
	       pb_encode_tag(stream, PB_WT_STRING, Request_op_tag) &&
	       pb_encode_string(stream, e->op.data, e->op.len) &&
	       write_u64(stream, Request_clientid_tag, e->clientid) &&
	       write_u64(stream, Request_clientreqid_tag, e->reqid);
}

static bool write_requests(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct entries *e = *arg;

	for (uint32_t i = 0; i < e->count; i++) {
		if (!write_request_as(stream, field->tag, entries_at(e, i)))
			return false;
	}
	return true;
}

static bool write_entries(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	static const uint8_t hash[20];
	const struct entries *list = *arg;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct entry *e = entries_at(list, i);

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_varint(stream, entry_body_len(e)) ||
		    !write_u64(stream, LogEntry_view_tag, e->view) ||
		    !write_u64(stream, LogEntry_opnum_tag, e->opnum) ||
		    !write_request_as(stream, LogEntry_request_tag, e) ||
		    !write_u64(stream, LogEntry_state_tag, e->state) ||
		    !pb_encode_tag(stream, PB_WT_STRING, LogEntry_hash_tag) ||
		    !pb_encode_string(stream, hash, sizeof(hash)))
			return false;
	}
	return true;
}

static bool write_bytes(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct bytes *b = *arg;

	return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, b->data, b->len);
}

static bool write_crash(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct message *m = *arg;
	uint32_t len = 0;

	if (m->crash_count == 0)
		return true;
	for (uint32_t i = 0; i < m->crash_count; i++)
		len += varint_len(m->crash[i]);
	if (!pb_encode_tag(stream, PB_WT_STRING, field->tag) || !pb_encode_varint(stream, len))
		return false;
	for (uint32_t i = 0; i < m->crash_count; i++) {
		if (!pb_encode_varint(stream, m->crash[i]))
			return false;
	}
	return true;
}

#define WRITE(function, arg_)                                                                      \
	{                                                                                          \
		.funcs.encode = function, .arg = (void *)(arg_)                                    \
	}

static Snapshot snapshot_of(const struct message *m)
{
	return (Snapshot){.opnum = m->snapshot.opnum,
			  .offset = m->snapshot.offset,
			  .total = m->snapshot.total,
			  .data = WRITE(write_bytes, &m->snapshot.data)};
}

static bool encode_body(const struct message *m, pb_ostream_t *stream)
{
	switch (m->kind) {
	case WIRE_UNLOGGED_REQUEST: {
		UnloggedRequestMessage b = {.req = WRITE(write_requests, &m->entries)};

		return pb_encode(stream, UnloggedRequestMessage_fields, &b);
	}
	case WIRE_PREPARE_OK: {
		PrepareOKMessage b = {m->view, m->opnum, m->index};

		return pb_encode(stream, PrepareOKMessage_fields, &b);
	}
	case WIRE_MY_PREPARE_OK: {
		struct wire_my_prepare_ok b = {htole64(m->view), htole64(m->opnum),
					       htole32(m->index)};

		return pb_write(stream, (const uint8_t *)&b, sizeof(b));
	}
	case WIRE_COMMIT: {
		CommitMessage b = {m->view, m->opnum};

		return pb_encode(stream, CommitMessage_fields, &b);
	}
	case WIRE_UNLOGGED_REPLY: {
		UnloggedReplyMessage b = {WRITE(write_bytes, &m->reply)};

		return pb_encode(stream, UnloggedReplyMessage_fields, &b);
	}
	case WIRE_REQUEST_STATE_TRANSFER: {
		bool has = m->snapshot_op != 0;
		RequestStateTransferMessage b = {m->view,	 m->opnum, has,
						 m->snapshot_op, has,	   m->snapshot_offset};

		return pb_encode(stream, RequestStateTransferMessage_fields, &b);
	}
	case WIRE_STATE_TRANSFER: {
		StateTransferMessage b = {.view = m->view,
					  .opnum = m->opnum,
					  .entries = WRITE(write_entries, &m->entries),
					  .has_snapshot = m->snapshot.opnum != 0,
					  .snapshot = snapshot_of(m),
					  .has_lastCommitted = m->has_committed,
					  .lastCommitted = m->committed};

		return pb_encode(stream, StateTransferMessage_fields, &b);
	}
	case WIRE_START_VIEW_CHANGE: {
		StartViewChangeMessage b = {m->view, m->index, m->committed, WRITE(write_crash, m)};

		return pb_encode(stream, StartViewChangeMessage_fields, &b);
	}
	case WIRE_DO_VIEW_CHANGE: {
		DoViewChangeMessage b = {.view = m->view,
					 .lastNormalView = m->last_normal,
					 .lastOp = m->opnum,
					 .lastCommitted = m->committed,
					 .entries = WRITE(write_entries, &m->entries),
					 .replicaIdx = m->index,
					 .crashVector = WRITE(write_crash, m)};

		return pb_encode(stream, DoViewChangeMessage_fields, &b);
	}
	case WIRE_START_VIEW: {
		StartViewMessage b = {.view = m->view,
				      .lastOp = m->opnum,
				      .lastCommitted = m->committed,
				      .entries = WRITE(write_entries, &m->entries),
				      .has_snapshot = m->snapshot.opnum != 0,
				      .snapshot = snapshot_of(m),
				      .crashVector = WRITE(write_crash, m)};

		return pb_encode(stream, StartViewMessage_fields, &b);
	}
	case WIRE_RECOVERY: {
		RecoveryMessage b = {m->index, m->nonce, WRITE(write_crash, m)};

		return pb_encode(stream, RecoveryMessage_fields, &b);
	}
	case WIRE_RECOVERY_RESPONSE: {
		RecoveryResponseMessage b = {.view = m->view,
					     .nonce = m->nonce,
					     .entries = WRITE(write_entries, &m->entries),
					     .has_lastOp = m->has_opnum,
					     .lastOp = m->opnum,
					     .has_lastCommitted = m->has_opnum,
					     .lastCommitted = m->committed,
					     .replicaIdx = m->index,
					     .has_snapshot = m->snapshot.opnum != 0,
					     .snapshot = snapshot_of(m),
					     .crashVector = WRITE(write_crash, m)};

		return pb_encode(stream, RecoveryResponseMessage_fields, &b);
	}
	default:
		return false;
	}
}

/* Bytes of the body (there is none without any); 0: it does not fit. */
static size_t encode_by_nanopb(const struct message *m, uint8_t *out, size_t size)
{
	pb_ostream_t stream = pb_ostream_from_buffer(out, size);

	return encode_body(m, &stream) ? stream.bytes_written : 0;
}

size_t message_encode(const struct message *m, uint8_t *out, size_t size)
{
	size_t head = wire_head_len(m->kind);
	size_t len;
	uint32_t fast[3];

	if (size < head)
		return 0;
	if (message_is_normal(m->kind))
		len = message_normal_encode(m, out + head, size - head);
	else
		len = encode_by_nanopb(m, out + head, size - head);
	if (!len)
		return 0;
	fast_of(m, fast);
	wire_encode_head(out, m->kind, fast, len);
	return head + len;
}
