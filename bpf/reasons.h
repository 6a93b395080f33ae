/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a program did what it did with a packet: one list, for the enum, the counters
 * and the printed names. One per-CPU counter each (map elec_counts, u64). Within a
 * path tests are made in the order of this list (but for the checksum, where said):
 * the first that fails names the reason.
 *
 * X(enumerator, printed name, program, verdict, what it means)
 *   program  any: both XDP paths, ack: a follower's Prepare path, quorum: a leader's ack path, tc
 *   verdict  pass: to user space, unchanged; tx: rewritten and sent back; drop: absorbed;
 *            note: counted beside another reason (not a verdict of its own)
 */
#ifndef PAXRACK_REASONS_H
#define PAXRACK_REASONS_H

#define ELEC_REASONS(X)											\
	/* frames: promises S6, S7, S8 */								\
	X(FRAME_SHORT, "frame-short", any, pass, "ends before its headers or its IP length say")	\
	X(NOT_IP, "not-ip", any, pass, "not IPv4: ARP, IPv6, VLAN tag, other")				\
	X(IP_OPTIONS, "ip-options", any, pass, "first byte is not 0x45: options or another version")	\
	X(NOT_UDP, "not-udp", any, pass, "another IP protocol")						\
	X(IP_FRAGMENT, "ip-fragment", any, pass, "more-fragments, offset or reserved bit")		\
	X(NOT_OURS, "not-ours", any, pass, "not to the replica port")					\
	X(FRAME_LONG, "frame-long", any, pass, "bytes after the end of the IP packet")			\
	X(UDP_LENGTH, "udp-length", any, pass, "UDP and IP lengths differ")				\
	X(TTL_ZERO, "ttl-zero", any, pass, "TTL is 0")							\
	X(IP_CHECKSUM, "ip-checksum", any, pass, "wrong IP header checksum")				\
	X(NO_CHECKSUM, "no-checksum", any, pass, "UDP checksum is 0: cannot be tested")			\
	X(FRAGMENT_MAGIC, "fragment-magic", any, pass, "a piece of a large message")			\
	X(NOT_A_MESSAGE, "not-a-message", any, pass, "another magic, or none")				\
	X(OTHER_KIND, "other-kind", any, pass, "a kind, or a name, that is user space's")		\
	X(BODY_LENGTH, "body-length", any, pass, "head cut short, or body and datagram lengths differ")	\
	X(OFF, "off", any, pass, "this offload is switched off")					\
	/* the gate: S2, S4 */										\
	X(FROZEN, "frozen", any, pass, "the gate is frozen")						\
	X(NOT_NORMAL, "not-normal", any, pass, "status is not normal, or control page is not this epoch's")	\
	X(LEASE, "lease", any, pass, "the process has been silent for longer than its lease")		\
	X(NOT_OWN_ADDRESS, "not-own-address", any, pass, "to another MAC or IP address")		\
	/* Prepare: S1, S3, S5, S7. opnum <= last op goes to the checksum and ack-again */		\
	X(IS_LEADER, "is-leader", ack, pass, "a leader takes no Prepare")				\
	X(NOT_FROM_LEADER, "not-from-leader", ack, pass, "not the leader's MAC, address and port")	\
	X(FLAGGED, "flagged", ack, pass, "broadcast flag still set")					\
	X(PREPARE_VIEW, "prepare-view", ack, pass, "another view")					\
	X(PREPARE_ZERO, "prepare-zero", ack, pass, "op or batchstart is 0")				\
	X(PREPARE_ORDER, "prepare-order", ack, pass, "batchstart above op")				\
	X(PREPARE_BATCH, "prepare-batch", ack, pass, "more than 64 ops in one Prepare")			\
	X(TOO_LARGE, "too-large", ack, pass, "does not fit a slot")					\
	X(GAP, "gap", ack, pass, "begins above last op + 1")						\
	X(OVERLAP, "overlap", ack, pass, "begins at or below last op, ends above it")			\
	X(LOG_FULL, "log-full", ack, pass, "opnum - consumed is above the number of slots")		\
	X(CLAIM_LOST, "claim-lost", any, pass, "another CPU holds or moved the gate")			\
	X(UDP_CHECKSUM, "udp-checksum", any, pass, "wrong (or partial) UDP checksum")			\
	X(FROZEN_LATE, "frozen-late", ack, pass, "frozen between claim and publish: no ack")		\
	X(RESIZE, "resize", ack, pass, "stored, but the frame cannot be made an ack")			\
	X(ACK, "ack", ack, tx, "stored, published, acked")						\
	X(ACK_AGAIN, "ack-again", ack, tx, "stored before, acked again")				\
	X(WAKE, "wake", ack, note, "the sleeping reader was woken")					\
	/* acks: S3, S7; the checksum is tested after ok-unsent */					\
	X(NOT_LEADER, "not-leader", quorum, pass, "an ack to a replica that does not lead")		\
	X(OK_VIEW, "ok-view", quorum, pass, "another view")						\
	X(OK_ZERO, "ok-zero", quorum, pass, "op is 0")							\
	X(OK_INDEX, "ok-index", quorum, pass, "no such replica")					\
	X(OK_SELF, "ok-self", quorum, pass, "carries one's own index")					\
	X(OK_SENDER, "ok-sender", quorum, pass, "not MAC, address and port of that index")		\
	X(OK_BODY, "ok-body", quorum, pass, "MyPrepareOK whose body contradicts its header")		\
	X(OK_EPOCH, "ok-epoch", quorum, pass, "the words are of another epoch")				\
	X(OK_UNSENT, "ok-unsent", quorum, pass, "an op above all that was sent")			\
	X(QUORUM, "quorum", quorum, pass, "this ack completed a quorum")				\
	X(ABSORBED, "absorbed", quorum, drop, "counted; completes nothing")				\
	X(OK_AGAIN, "ok-again", quorum, drop, "says nothing new")					\
	/* broadcast: S9, S10 */									\
	X(TC_OTHER, "tc-other", tc, pass, "not a message from the replica port")			\
	X(TC_FRAGMENT, "tc-fragment", tc, pass, "IP fragment, FRAG magic or GSO")			\
	X(TC_PLAIN, "tc-plain", tc, pass, "a message without the broadcast flag")			\
	X(TC_KIND, "tc-kind", tc, pass, "flagged, but not of a kind that is broadcast")			\
	X(TC_ODD, "tc-odd", tc, pass, "flagged, but lengths or TTL are odd")				\
	X(TC_NOT_READY, "tc-not-ready", tc, pass, "no member table yet, or not from own addresses")	\
	X(TC_BROADCAST, "tc-broadcast", tc, drop, "replaced by its clones")				\
	X(TC_CLONE, "tc-clone", tc, note, "a clone was sent to one peer")				\
	X(TC_CLONE_FAILED, "tc-clone-failed", tc, note, "a clone could not be sent")

enum elec_reason {
#define X(id, name, program, verdict, text) ELEC_R_##id,
	ELEC_REASONS(X)
#undef X
	ELEC_R_COUNT
};

#endif
