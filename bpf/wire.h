/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire, once: framing and message kinds, for kernel programs and user space.
 * Byte-compatible with the published Electrode/SpecPaxos VR format. All integers
 * are little-endian; a message is the payload of one UDP datagram:
 *
 *   0        4 magic
 *   4        8 T = length of the type name
 *   12       T type name, no NUL
 *   12+T    12 fast header: u32 view | bit 31, u32 op, u32 third (see below)
 *   24+T     8 B = length of the body
 *   32+T     B body: protobuf (replica/vr.proto), except MyPrepareOK
 *
 * The fast header is zero but for
 *   Prepare                 view | WIRE_BROADCAST?, opnum (last of the batch), batchstart
 *   PrepareOK, MyPrepareOK  view, opnum, index of the sending replica
 *   Commit                  WIRE_BROADCAST or 0, 0, 0
 * A view >= 2^31 or an op >= 2^32 does not fit: WIRE_VIEW_UNFIT, 0, 0 stands there.
 */
#ifndef PAXRACK_WIRE_H
#define PAXRACK_WIRE_H

#include <linux/types.h>

#define WIRE_PORT 12345 /* UDP; the published default */
#define WIRE_MAGIC 0x20050318u
#define WIRE_MAGIC_FRAGMENT 0x20101010u
#define WIRE_BROADCAST 0x80000000u  /* fast header word 0: TC, send this to every peer */
#define WIRE_VIEW_UNFIT 0x7fffffffu /* fast header word 0: decide by the body */
#define WIRE_VIEW_MAX 0x7ffffffeu   /* largest view the fast header carries */

#define WIRE_TYPE_AT 12	 /* offset of the type name */
#define WIRE_TYPE_MAX 46 /* longest type name */
#define WIRE_FAST_LEN 12
#define WIRE_HEAD_LEN(T) (WIRE_TYPE_AT + (T) + WIRE_FAST_LEN + 8) /* offset of the body */

#define WIRE_FRAGMENT_HEAD 28 /* magic, u64 message id, u64 offset, u64 total */
#define WIRE_FRAGMENT_MAX                                                                          \
	9000 /* bytes of message in one fragment; also the largest unfragmented message */

/*
 * Every kind: X(enumerator, short name, type name). The short name is what commands,
 * files and counters print: the type's last part without "Message".
 */
#define WIRE_KINDS(X)                                                                              \
	X(REQUEST, "Request", "specpaxos.vr.proto.RequestMessage")                                 \
	X(PREPARE, "Prepare", "specpaxos.vr.proto.PrepareMessage")                                 \
	X(PREPARE_OK, "PrepareOK", "specpaxos.vr.proto.PrepareOKMessage")                          \
	X(MY_PREPARE_OK, "MyPrepareOK", "specpaxos.vr.MyPrepareOK")                                \
	X(COMMIT, "Commit", "specpaxos.vr.proto.CommitMessage")                                    \
	X(REPLY, "Reply", "specpaxos.vr.proto.ReplyMessage")                                       \
	X(REQUEST_STATE_TRANSFER, "RequestStateTransfer",                                          \
	  "specpaxos.vr.proto.RequestStateTransferMessage")                                        \
	X(STATE_TRANSFER, "StateTransfer", "specpaxos.vr.proto.StateTransferMessage")              \
	X(START_VIEW_CHANGE, "StartViewChange", "specpaxos.vr.proto.StartViewChangeMessage")       \
	X(DO_VIEW_CHANGE, "DoViewChange", "specpaxos.vr.proto.DoViewChangeMessage")                \
	X(START_VIEW, "StartView", "specpaxos.vr.proto.StartViewMessage")                          \
	X(RECOVERY, "Recovery", "specpaxos.vr.proto.RecoveryMessage")                              \
	X(RECOVERY_RESPONSE, "RecoveryResponse", "specpaxos.vr.proto.RecoveryResponseMessage")     \
	X(UNLOGGED_REQUEST, "UnloggedRequest", "specpaxos.vr.proto.UnloggedRequestMessage")        \
	X(UNLOGGED_REPLY, "UnloggedReply", "specpaxos.vr.proto.UnloggedReplyMessage")

enum wire_kind {
	WIRE_NONE, /* not a kind: unknown type name */
#define X(id, name, type) WIRE_##id,
	WIRE_KINDS(X)
#undef X
		WIRE_FRAGMENT, /* a piece of a message over 9000 bytes: another magic, no type name
				*/
	WIRE_KIND_COUNT
};

/* T of each kind: WIRE_T_PREPARE == 33 ... */
enum {
#define X(id, name, type) WIRE_T_##id = sizeof(type) - 1,
	WIRE_KINDS(X)
#undef X
};

/* The type names: WIRE_TYPE_PREPARE ... */
#define X(id, name, type) static const char WIRE_TYPE_##id[] __attribute__((unused)) = type;
WIRE_KINDS(X)
#undef X

/* MyPrepareOK, made by XDP: the whole body is fixed. */
struct wire_my_prepare_ok {
	__u64 view;
	__u64 opnum;
	__u32 index;
} __attribute__((packed));

#define WIRE_MY_PREPARE_OK_LEN                                                                     \
	(WIRE_HEAD_LEN(WIRE_T_MY_PREPARE_OK) + sizeof(struct wire_my_prepare_ok))

#endif
