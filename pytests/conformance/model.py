# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The reference model: what the kernel programs of one replica must do with one frame.

Written from the design (the wire, the gate, the quorum words, promises S1-S10), from
bpf/wire.h, bpf/state.h and bpf/reasons.h, and not from the programs. The order of the
tests within a path is the order of the list in bpf/reasons.h; the first test that fails
names the reason, and the list says which verdict goes with a reason:

    frame -> headers -> message -> gate -> Prepare: follower's path -> PASS | TX (the ack)
                                        -> ack:     leader's path   -> PASS | DROP
    frame -> broadcast (TC, egress)                                 -> OK | STOLEN (clones)

`xdp()` and `tc()` change the state that they are given, as the programs change their
maps, and return a Result. Frames are bytes, nothing here depends on a packet library.
All numbers on the wire are little-endian, but for the IP and UDP headers.
"""

import os
import re
from typing import NamedTuple

BPF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bpf")

PORT = 12345
MAGIC = 0x20050318
MAGIC_FRAGMENT = 0x20101010
BROADCAST = 1 << 31  # in the first word of the fast header
TYPE_AT = 12  # magic and T come first
TYPE_MAX = 46  # length of the longest type name
FAST_LEN = 12

PREPARE = b"specpaxos.vr.proto.PrepareMessage"
PREPARE_OK = b"specpaxos.vr.proto.PrepareOKMessage"
MY_PREPARE_OK = b"specpaxos.vr.MyPrepareOK"
COMMIT = b"specpaxos.vr.proto.CommitMessage"

REPLICAS_MAX = 64
BATCH_MAX = 64
SLOT_DATA = 2048 - 16
EPOCH_MASK = (1 << 30) - 1
NORMAL = 1  # enum elec_status; 0 is "closed"

OFFLOAD_BROADCAST, OFFLOAD_ACK, OFFLOAD_QUORUM, OFFLOAD_ALL = 1, 2, 4, 7

ETH_LEN, IP_LEN, UDP_LEN = 14, 20, 8
UDP_AT = ETH_LEN + IP_LEN
PAYLOAD_AT = UDP_AT + UDP_LEN


class Reason(NamedTuple):
    name: str
    program: str  # any, ack, quorum, tc
    verdict: str  # pass, tx, drop, note
    text: str


def _read_reasons(path=os.path.join(BPF, "reasons.h")):
    """The one list of reasons, in its order: {name: Reason}."""
    with open(path, encoding="ascii") as f:
        rows = re.findall(r'X\(\w+,\s*"([\w-]+)",\s*(\w+),\s*(\w+),\s*"([^"]*)"\)', f.read())
    return {row[0]: Reason(*row) for row in rows}


REASONS = _read_reasons()


def verdict_of(reason):
    """PASS, TX or DROP for a reason of the XDP program, OK or STOLEN for one of TC's."""
    row = REASONS[reason]
    if row.program == "tc":
        return {"pass": "OK", "drop": "STOLEN"}[row.verdict]
    return row.verdict.upper()


# -- state -------------------------------------------------------------------------------


class Member(NamedTuple):
    mac: bytes
    ip: bytes
    port: int


class Control:
    """One control page: read after the gate, valid while the gate's epoch is its own."""

    __slots__ = ("epoch", "status", "view", "n", "own", "leader", "quorum", "members")

    def __init__(self, epoch=0, status=0, view=0, n=0, own=0, leader=0, quorum=0, members=()):
        self.epoch, self.status, self.view, self.n = epoch, status, view, n
        self.own, self.leader, self.quorum, self.members = own, leader, quorum, members

    def copy(self):
        return Control(*(getattr(self, name) for name in self.__slots__))


class Slot(NamedTuple):
    """One slot of the kernel log. data None: its content is unspecified."""

    epoch: int
    first: int
    last: int
    data: bytes


def word(epoch, op):
    return (epoch & EPOCH_MASK) << 32 | op & 0xFFFFFFFF


def word_epoch(value):
    return value >> 32 & EPOCH_MASK


def word_op(value):
    return value & 0xFFFFFFFF


class State:
    """What the programs and user space share about one replica (bpf/state.h)."""

    __slots__ = (
        "frozen", "busy", "epoch", "last",  # the gate
        "control", "stamp_ns", "lease_ns", "now_ns", "consumed", "sleeping", "wake_backlog",
        "sent", "committed", "acked",  # words: epoch and op
        "slots", "slot_count",  # {index: Slot}: what is not there is zero
        "port", "offloads",  # constants of the loaded programs
    )  # fmt: skip

    def __init__(self):
        self.frozen = self.busy = False
        self.epoch = self.last = 0
        self.control = [Control(), Control()]
        self.stamp_ns = self.lease_ns = self.now_ns = 0
        self.consumed = self.sleeping = self.wake_backlog = 0
        self.sent = self.committed = 0
        self.acked = [0] * REPLICAS_MAX
        self.slots, self.slot_count = {}, 8192
        self.port, self.offloads = PORT, OFFLOAD_ALL

    def copy(self):
        other = State.__new__(State)
        for name in State.__slots__:
            setattr(other, name, getattr(self, name))
        other.control = [page.copy() for page in self.control]
        other.acked = list(self.acked)
        other.slots = dict(self.slots)
        return other

    @property
    def page(self):
        return self.control[self.epoch & 1]


class Context(NamedTuple):
    """What surrounds a frame. The XDP program's verdict depends on none of the first three."""

    ifindex: bool = False  # ingress_ifindex is set
    queue: int = 0  # rx_queue_index
    meta: int = 0  # bytes of data_meta before the frame
    tailroom: bool = True  # the frame can grow to the length of an ack
    gso: bool = False  # the socket buffer stands for several frames
    link: bool = True  # the device can send: else every clone fails
    clock_ns: int = 0  # the kernel's coarse clock, asked only when now_ns is 0


class Result(NamedTuple):
    verdict: str  # PASS TX DROP, OK STOLEN
    reason: str
    notes: dict  # counted beside the reason
    frames: list  # PASS, OK: the frame itself; TX: the ack; STOLEN: the clones


def _result(reason, frames, notes=None):
    return Result(verdict_of(reason), reason, notes or {}, frames)


# -- numbers and checksums ---------------------------------------------------------------


def _le32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def _le64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def _be16(data, at):
    return data[at] << 8 | data[at + 1]


def _sum(data):
    """RFC 1071: the one's complement sum of 16-bit words is their number modulo 2^16 - 1."""
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def _checksum(total):
    return (0xFFFF - total % 0xFFFF) % 0xFFFF


def _udp_checksum(frame):
    """Over pseudo header and datagram, the checksum field included: 0 when it is right."""
    length = len(frame) - UDP_AT
    return _checksum(_sum(frame[26:34]) + 17 + length + _sum(frame[UDP_AT:]))


# -- XDP: headers and message, both paths --------------------------------------------------


def _headers(frame, port):
    """S6, S7, S8: a reason not to touch the frame, or None."""
    size = len(frame)
    if size < ETH_LEN:
        return "frame-short"
    if frame[12:14] != b"\x08\x00":
        return "not-ip"
    if size < UDP_AT:
        return "frame-short"
    if frame[14] != 0x45:
        return "ip-options"
    if frame[23] != 17:
        return "not-udp"
    if _be16(frame, 20) & 0xBFFF:  # all but "don't fragment"
        return "ip-fragment"
    if size < PAYLOAD_AT:
        return "frame-short"
    if _be16(frame, 36) != port:
        return "not-ours"
    total = _be16(frame, 16)
    if ETH_LEN + total > size:
        return "frame-short"
    if ETH_LEN + total < size:
        return "frame-long"
    if _be16(frame, 38) + IP_LEN != total:
        return "udp-length"
    if frame[22] == 0:
        return "ttl-zero"
    if _sum(frame[ETH_LEN:UDP_AT]):
        return "ip-checksum"
    if frame[40:42] == b"\0\0":
        return "no-checksum"
    return None


def _message(payload):
    """(reason, type name): the reason is None for the three kinds that XDP takes."""
    magic = _le32(payload, 0) if len(payload) >= 4 else None
    if magic == MAGIC_FRAGMENT:
        return "fragment-magic", None
    if magic != MAGIC:
        return "not-a-message", None
    length = _le64(payload, 4) if len(payload) >= TYPE_AT else 0
    name = bytes(payload[TYPE_AT : TYPE_AT + min(length, TYPE_MAX)])
    if len(name) != length or name not in (PREPARE, PREPARE_OK, MY_PREPARE_OK):
        return "other-kind", None
    head = TYPE_AT + length + FAST_LEN + 8
    if len(payload) < head or _le64(payload, head - 8) != len(payload) - head:
        return "body-length", None
    return None, name


def _gate(s, frame, offload, context):
    """S2, S4, S7: may the kernel answer for the process now?"""
    page = s.page
    if not s.offloads & offload:
        return "off"
    if s.frozen:
        return "frozen"
    if page.epoch != s.epoch or page.status != NORMAL:
        return "not-normal"
    if not (1 <= page.n <= REPLICAS_MAX and page.own < page.n and page.leader < page.n):
        return "not-normal"
    now = s.now_ns or context.clock_ns
    if s.lease_ns == 0 or now - s.stamp_ns > s.lease_ns:
        return "lease"
    own = page.members[page.own]
    if frame[0:6] != own.mac or frame[30:34] != own.ip:
        return "not-own-address"
    return None


def _comes_from(frame, member):
    return (
        frame[6:12] == member.mac
        and frame[26:30] == member.ip
        and _be16(frame, 34) == member.port
    )


def xdp(s, frame, context=Context()):
    """One frame that came in. Changes the state `s`."""
    reason = _headers(frame, s.port)
    if reason:
        return _result(reason, [frame])
    payload = frame[PAYLOAD_AT:]
    reason, name = _message(payload)
    if not reason:
        offload = OFFLOAD_ACK if name == PREPARE else OFFLOAD_QUORUM
        reason = _gate(s, frame, offload, context)
    if reason:
        return _result(reason, [frame])
    if name == PREPARE:
        return _on_prepare(s, frame, payload, context)
    return _on_ack(s, frame, payload, name)


# -- XDP: a follower's path, S1 S3 S5 S7 S10 -------------------------------------------------


def _ignore_prepare(s, page, frame, payload, view, op, first):
    if page.own == page.leader:
        return "is-leader"
    if not _comes_from(frame, page.members[page.leader]):
        return "not-from-leader"
    if view & BROADCAST:
        return "flagged"
    if view != page.view:
        return "prepare-view"
    if op == 0 or first == 0:
        return "prepare-zero"
    if first > op:
        return "prepare-order"
    if op - first >= BATCH_MAX:
        return "prepare-batch"
    if len(payload) > SLOT_DATA:
        return "too-large"
    if op <= s.last:  # stored before: only the checksum is left to test
        return "udp-checksum" if _udp_checksum(frame) else None
    if first > s.last + 1:
        return "gap"
    if first <= s.last:
        return "overlap"
    if op - s.consumed > s.slot_count:
        return "log-full"
    if s.busy:
        return "claim-lost"
    return None


def _on_prepare(s, frame, payload, context):
    page = s.page
    at = TYPE_AT + len(PREPARE)
    view, op, first = (_le32(payload, at + i) for i in (0, 4, 8))
    reason = _ignore_prepare(s, page, frame, payload, view, op, first)
    if reason:
        return _result(reason, [frame])

    notes = {}
    again = op <= s.last
    if not again:
        # Claimed; copied; the copy is tested before it is published.
        index = first % s.slot_count
        if _udp_checksum(frame):
            s.slots[index] = Slot(None, None, None, None)
            return _result("udp-checksum", [frame])
        s.slots[index] = Slot(s.epoch, first, op, bytes(payload))
        s.last = op
        if s.sleeping == 1 and op - s.consumed >= max(1, s.wake_backlog):
            s.sleeping = 0
            notes["wake"] = 1
    ack = _make_ack(frame, view, op, page.own)
    if len(ack) > len(frame) and not context.tailroom:
        return _result("resize", [frame], notes)
    return _result("ack-again" if again else "ack", [ack], notes)


def _make_ack(frame, view, op, own):
    """S10: the Prepare turned round; IP id, TOS, DF and TTL are those of the Prepare."""
    body = view.to_bytes(8, "little") + op.to_bytes(8, "little") + own.to_bytes(4, "little")
    payload = b"".join((
        MAGIC.to_bytes(4, "little"),
        len(MY_PREPARE_OK).to_bytes(8, "little"),
        MY_PREPARE_OK,
        view.to_bytes(4, "little"),
        op.to_bytes(4, "little"),
        own.to_bytes(4, "little"),
        len(body).to_bytes(8, "little"),
        body,
    ))  # fmt: skip
    udp_len = UDP_LEN + len(payload)
    ip = bytearray(frame[ETH_LEN:UDP_AT])
    ip[2:4] = (IP_LEN + udp_len).to_bytes(2, "big")
    ip[12:16], ip[16:20] = frame[30:34], frame[26:30]
    ip[10:12] = bytes(2)
    ip[10:12] = _checksum(_sum(ip)).to_bytes(2, "big")
    udp = frame[36:38] + frame[34:36] + udp_len.to_bytes(2, "big") + bytes(2)
    ack = bytearray(frame[6:12] + frame[0:6] + frame[12:14] + ip + udp + payload)
    ack[40:42] = (_udp_checksum(ack) or 0xFFFF).to_bytes(2, "big")
    return bytes(ack)


# -- XDP: a leader's path, S3 S7 --------------------------------------------------------------


def _ignore_ack(s, page, frame, payload, name, view, op, index):
    if page.own != page.leader:
        return "not-leader"
    if view != page.view:
        return "ok-view"
    if op == 0:
        return "ok-zero"
    if index >= page.n:
        return "ok-index"
    if index == page.own:
        return "ok-self"
    if not _comes_from(frame, page.members[index]):
        return "ok-sender"
    if name == MY_PREPARE_OK:
        body = payload[TYPE_AT + len(name) + FAST_LEN + 8 :]
        if len(body) != 20 or (_le64(body, 0), _le64(body, 8), _le32(body, 16)) != (
            view, op, index,
        ):  # fmt: skip
            return "ok-body"
    for value in (s.sent, s.committed, s.acked[index]):
        if word_epoch(value) != s.epoch:
            return "ok-epoch"
    if op > word_op(s.sent):
        return "ok-unsent"
    if _udp_checksum(frame):
        return "udp-checksum"
    return None


def _on_ack(s, frame, payload, name):
    page = s.page
    at = TYPE_AT + len(name)
    view, op, index = (_le32(payload, at + i) for i in (0, 4, 8))
    reason = _ignore_ack(s, page, frame, payload, name, view, op, index)
    if reason:
        return _result(reason, [frame])
    if op <= word_op(s.acked[index]):
        return _result("ok-again", [])
    s.acked[index] = word(s.epoch, op)
    done = _quorum_op(s, page)
    if done <= word_op(s.committed):
        return _result("absorbed", [])
    s.committed = word(s.epoch, done)
    return _result("quorum", [frame])


def _quorum_op(s, page):
    """The highest op that `quorum` other replicas acked in this epoch; 0: none."""
    ops = sorted(
        (
            word_op(s.acked[i])
            for i in range(page.n)
            if i != page.own and word_epoch(s.acked[i]) == s.epoch
        ),
        reverse=True,
    )
    return ops[page.quorum - 1] if 1 <= page.quorum <= len(ops) else 0


# -- TC egress: broadcast, S9 S10 --------------------------------------------------------------


def _ignore_egress(s, frame, context):
    """(reason, offset of the fast header)"""
    if len(frame) < UDP_AT or frame[12:15] != b"\x08\x00\x45" or frame[23] != 17:
        return "tc-other", 0
    if _be16(frame, 20) & 0xBFFF:  # before the UDP header is read: a later piece has none
        return "tc-fragment", 0
    if len(frame) < PAYLOAD_AT + 4 or _be16(frame, 34) != s.port:
        return "tc-other", 0
    payload = frame[PAYLOAD_AT:]
    magic = _le32(payload, 0)
    if magic == MAGIC_FRAGMENT:
        return "tc-fragment", 0
    length = _le64(payload, 4) if len(payload) >= TYPE_AT else TYPE_MAX + 1
    if magic != MAGIC or length > TYPE_MAX or len(payload) < TYPE_AT + length + FAST_LEN:
        return "tc-other", 0
    if context.gso:
        return "tc-fragment", 0
    fast = PAYLOAD_AT + TYPE_AT + length
    if not _le32(frame, fast) & BROADCAST:
        return "tc-plain", 0
    if payload[TYPE_AT : TYPE_AT + length] not in (PREPARE, COMMIT):
        return "tc-kind", 0
    total, body_at = _be16(frame, 16), fast + FAST_LEN + 8
    if (
        ETH_LEN + total != len(frame)
        or _be16(frame, 38) + IP_LEN != total
        or len(frame) < body_at
        or _le64(frame, body_at - 8) != len(frame) - body_at
        or frame[22] == 0  # TTL
    ):
        return "tc-odd", 0
    page = s.page
    if page.epoch != s.epoch or not 1 <= page.n <= REPLICAS_MAX:
        return "tc-not-ready", 0
    if page.own >= page.n or page.leader >= page.n:
        return "tc-not-ready", 0
    own = page.members[page.own]
    if frame[6:12] != own.mac or frame[26:30] != own.ip:
        return "tc-not-ready", 0
    return None, fast


def _updated(checksum, old, new):
    """RFC 1624: a checksum that was wrong stays wrong by as much."""
    return _checksum((0xFFFF - checksum) + (0xFFFF - _sum(old)) + _sum(new))


def _clone(frame, fast, peer):
    """The frame without its flag, to one peer. UDP checksum 0 (none) stays 0."""
    out = bytearray(frame)
    out[0:6] = peer.mac
    out[30:34] = peer.ip
    out[36:38] = peer.port.to_bytes(2, "big")
    out[fast + 3] &= 0x7F
    ip_sum = _updated(_be16(frame, 24), frame[30:34], peer.ip)
    out[24:26] = ip_sum.to_bytes(2, "big")
    udp_sum = _be16(frame, 40)
    if udp_sum:
        # All words that differ; the flag's byte may begin a word or end one.
        at = fast + 3 & ~1
        old = frame[30:34] + frame[36:38] + frame[at : at + 2]
        new = bytes(out[30:34] + out[36:38] + out[at : at + 2])
        out[40:42] = (_updated(udp_sum, old, new) or 0xFFFF).to_bytes(2, "big")
    return bytes(out)


def tc(s, frame, context=Context()):
    """One frame that leaves. The state `s` is only read."""
    reason, fast = _ignore_egress(s, frame, context)
    if reason:
        return _result(reason, [frame])
    page = s.page
    peers = [page.members[i] for i in range(page.n) if i != page.own]
    if not context.link:
        notes = {"tc-clone-failed": len(peers)} if peers else {}
        return _result("tc-broadcast", [], notes)
    clones = [_clone(frame, fast, peer) for peer in peers]
    return _result("tc-broadcast", clones, {"tc-clone": len(clones)} if clones else {})
