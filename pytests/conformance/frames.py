# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames of packet cases: built from named fields, right unless a field says otherwise.

    eth_dst eth_src eth_type vlan          vlan: a list of 802.1Q tags put before eth_type
    vihl tos total id frag ttl proto ip_sum src dst options
    sport dport udp_len udp_sum            sums: a number, "wrong", "zero" or "partial"
    payload                                hex: the whole UDP payload, in place of
    magic T name view op third B body        the message; name: short name or any text
    tail cut patch flip                    bytes behind, final length (below 0: less
                                             that many), {offset: hex}, [bits]

`from:` and `to:` name members: they fill MAC, address and port. eth_dst, eth_src, src and
dst take a member's index or an address. What is not given comes from the state: a
message of the leader (or of a peer, for acks) to oneself, in the view, of the next op.

This file shares no code with the model, so that a mistake in one shows in the other.
"""

import socket
import struct

NAMES = {
    "Request": "specpaxos.vr.proto.RequestMessage",
    "Prepare": "specpaxos.vr.proto.PrepareMessage",
    "PrepareOK": "specpaxos.vr.proto.PrepareOKMessage",
    "MyPrepareOK": "specpaxos.vr.MyPrepareOK",
    "Commit": "specpaxos.vr.proto.CommitMessage",
    "Reply": "specpaxos.vr.proto.ReplyMessage",
    "RequestStateTransfer": "specpaxos.vr.proto.RequestStateTransferMessage",
    "StateTransfer": "specpaxos.vr.proto.StateTransferMessage",
    "StartViewChange": "specpaxos.vr.proto.StartViewChangeMessage",
    "DoViewChange": "specpaxos.vr.proto.DoViewChangeMessage",
    "StartView": "specpaxos.vr.proto.StartViewMessage",
    "Recovery": "specpaxos.vr.proto.RecoveryMessage",
    "RecoveryResponse": "specpaxos.vr.proto.RecoveryResponseMessage",
    "UnloggedRequest": "specpaxos.vr.proto.UnloggedRequestMessage",
    "UnloggedReply": "specpaxos.vr.proto.UnloggedReplyMessage",
}
MTU = 1500
FIELDS = (
    "kind from to eth_dst eth_src eth_type vlan vihl tos total id frag ttl proto ip_sum src dst options "
    "sport dport udp_len udp_sum payload magic T name view op third flag B body "
    "body_view body_op body_index tail cut patch flip"
).split()


class FrameError(ValueError):
    """A field that makes no sense; .field names it."""

    def __init__(self, field, text):
        super().__init__(f"{field}: {text}")
        self.field = field


# -- checksums -----------------------------------------------------------------------------


def ones_sum(data):
    """RFC 1071, word by word with end-around carry."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(src, dst, udp_len):
    return src + dst + struct.pack("!BBH", 0, 17, udp_len)


def checksum(data):
    return ~ones_sum(data) & 0xFFFF


def with_residue(data, residue):
    """The checksum that makes `data` (its field zero) sum up to `residue` (0xffff: right)."""
    difference = (residue - ones_sum(data)) % 0xFFFF
    return difference


# -- bodies --------------------------------------------------------------------------------


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def proto(*fields):
    """proto2: (number, int or bytes) in order."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def filler(size):
    """Bytes that differ from their neighbours, so that a shifted copy shows."""
    return bytes((i * 7 + (i >> 8) * 13 + 1) & 0xFF for i in range(size))


def default_body(kind, view, op, third, f):
    view, op, third = (f.get(k, v) for k, v in
                       (("body_view", view), ("body_op", op), ("body_index", third)))  # fmt: skip
    view &= 0x7FFFFFFF if "body_view" not in f else -1
    if kind == "MyPrepareOK":
        return struct.pack("<QQI", view, op, third)
    if kind == "PrepareOK":
        return proto((1, view), (2, op), (3, third))
    if kind == "Prepare":
        requests = [
            (4, proto((1, b"request of op %d" % i), (2, 0x1122334455667788), (3, i)))
            for i in range(third, op + 1)[:4]
        ]
        return proto((1, view), (2, op), (3, third), *requests)
    if kind in ("Commit", "RequestStateTransfer"):
        return proto((1, view), (2, op))
    return filler(24)


# -- building ------------------------------------------------------------------------------


def _hex(field, text):
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise FrameError(field, f"not hex digits: {text!r}") from None


def mac_of(field, value, members):
    if isinstance(value, int):
        return _member(field, value, members).mac
    raw = _hex(field, str(value).replace(":", ""))
    if len(raw) != 6:
        raise FrameError(field, f"not a MAC address: {value!r}")
    return raw


def ip_of(field, value, members):
    if isinstance(value, int):
        return _member(field, value, members).ip
    try:
        return socket.inet_aton(value)
    except (OSError, TypeError):
        raise FrameError(field, f"not an IPv4 address: {value!r}") from None


def _member(field, index, members):
    if not 0 <= index < len(members):
        raise FrameError(field, f"there is no member {index}")
    return members[index]


def message(f, state):
    """The UDP payload that the fields describe."""
    if "payload" in f:
        return _hex("payload", f["payload"])
    kind = f.get("kind", "Prepare")
    name = NAMES[kind].encode()
    page = state.page
    ack = kind in ("PrepareOK", "MyPrepareOK")
    fast = ack or kind == "Prepare"
    view = f.get("view", page.view if fast else 0)
    op = f.get("op", ((state.sent & 0xFFFFFFFF) if ack else state.last + 1) if fast else 0)
    third = f.get("third", (f.get("from", sender(f, state)) if ack else op) if fast else 0)
    first_word = view | (0x80000000 if f.get("flag") else 0)
    for field, value in (("view", first_word), ("op", op), ("third", third)):
        if not 0 <= value < 1 << 32:
            raise FrameError(field, f"{value} does not fit 32 bits")
    if "name" in f:
        name = NAMES.get(f["name"], f["name"]).encode("latin1")
    body = f.get("body")
    if body is None:
        body = default_body(kind, view, op, third, f)
    elif body == "mtu":
        body = filler(MTU - 28 - 12 - len(name) - 20)
    elif isinstance(body, int):
        body = filler(body)
    else:
        body = _hex("body", body)
    return b"".join((
        struct.pack("<I", f.get("magic", 0x20050318)),
        struct.pack("<Q", f.get("T", len(name))),
        name,
        struct.pack("<III", first_word, op, third),
        struct.pack("<Q", f.get("B", len(body))),
        body,
    ))  # fmt: skip


def sender(f, state):
    """Who sends such a message to this replica (or, on egress, itself)."""
    page = state.page
    if f.get("egress"):
        return page.own
    if f.get("kind") in ("PrepareOK", "MyPrepareOK"):
        return (page.own + 1) % max(1, page.n)
    return page.leader if page.leader != page.own else (page.own + 1) % max(1, page.n)


def build(f, state):
    """Bytes of the frame with the fields `f`, for the replica in `state`."""
    members = state.page.members
    source = _member("from", f.get("from", sender(f, state)), members)
    default_to = (state.page.own + (1 if f.get("egress") else 0)) % max(1, state.page.n)
    target = _member("to", f.get("to", default_to), members)
    payload = message(f, state)
    options = _hex("options", f.get("options", ""))
    if len(options) % 4 or len(options) > 40:
        raise FrameError("options", "0, 4, ... 40 bytes")
    src = ip_of("src", f["src"], members) if "src" in f else source.ip
    dst = ip_of("dst", f["dst"], members) if "dst" in f else target.ip
    udp_len = 8 + len(payload)
    total = 20 + len(options) + udp_len

    udp = struct.pack(
        "!HHHH", f.get("sport", source.port), f.get("dport", target.port), f.get("udp_len", udp_len), 0
    )
    pseudo = pseudo_header(src, dst, udp_len)
    right = checksum(pseudo + udp + payload) or 0xFFFF
    udp_sum = {"wrong": right ^ 0x1357, "zero": 0, "partial": ones_sum(pseudo)}.get(
        f.get("udp_sum", right), f.get("udp_sum", right)
    )
    udp = udp[:6] + struct.pack("!H", udp_sum)

    ip = struct.pack(
        "!BBHHHBBH", f.get("vihl", 0x45 + len(options) // 4), f.get("tos", 0), f.get("total", total),
        f.get("id", 0x1234), f.get("frag", 0x4000), f.get("ttl", 64), f.get("proto", 17), 0,
    ) + src + dst + options  # fmt: skip
    right = checksum(ip)
    ip_sum = {"wrong": right ^ 0x0101, "zero": 0}.get(f.get("ip_sum", right), f.get("ip_sum", right))
    ip = ip[:10] + struct.pack("!H", ip_sum) + ip[12:]

    eth = mac_of("eth_dst", f["eth_dst"], members) if "eth_dst" in f else target.mac
    eth += mac_of("eth_src", f["eth_src"], members) if "eth_src" in f else source.mac
    for tag in f.get("vlan", ()):
        eth += struct.pack("!HH", 0x8100, tag)
    eth += struct.pack("!H", f.get("eth_type", 0x0800))
    return damage(eth + ip + udp + payload, f)


def damage(frame, f):
    frame = bytearray(frame + filler(f.get("tail", 0)))
    for at, text in f.get("patch", {}).items():
        raw = _hex("patch", text)
        if at + len(raw) > len(frame):
            raise FrameError("patch", f"the frame ends at {len(frame)}")
        frame[at : at + len(raw)] = raw
    for bit in f.get("flip", ()):
        if bit // 8 >= len(frame):
            raise FrameError("flip", f"the frame has {len(frame) * 8} bits")
        frame[bit // 8] ^= 128 >> bit % 8
    cut = f.get("cut", len(frame))
    cut += len(frame) if cut < 0 else 0
    if not 14 <= cut <= len(frame):
        raise FrameError("cut", f"a length from 14 to {len(frame)}")
    return bytes(frame[:cut])


# -- what a frame should become --------------------------------------------------------------


def payload_of(frame):
    return frame[42 : 14 + struct.unpack_from("!H", frame, 16)[0]]


def ack_of(frame, view, op, index, **fields):
    """The MyPrepareOK that a Prepare turns into; fields set what a case says of the headers."""
    dst_mac, src_mac = frame[0:6], frame[6:12]
    _, tos, _, ip_id, frag, ttl = struct.unpack_from("!BBHHHB", frame, 14)
    src, dst = frame[26:30], frame[30:34]
    sport, dport = struct.unpack_from("!HH", frame, 34)
    tos, ip_id = fields.get("tos", tos), fields.get("id", ip_id)
    frag, ttl = fields.get("frag", frag), fields.get("ttl", ttl)
    body = struct.pack("<QQI", view, op, index)
    name = NAMES["MyPrepareOK"].encode()
    payload = struct.pack("<IQ", 0x20050318, len(name)) + name
    payload += struct.pack("<IIIQ", view, op, index, len(body)) + body
    udp = struct.pack("!HHHH", dport, sport, 8 + len(payload), 0)
    udp_sum = checksum(pseudo_header(dst, src, len(udp) + len(payload)) + udp + payload) or 0xFFFF
    udp_sum = fields.get("udp_sum", udp_sum)
    ip = struct.pack("!BBHHHBBH", 0x45, tos, 28 + len(payload), ip_id, frag, ttl, 17, 0) + dst + src
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return src_mac + dst_mac + b"\x08\0" + ip + udp[:6] + struct.pack("!H", udp_sum) + payload


def clone_of(frame, member, **fields):
    """A broadcast frame as one peer receives it. Checksums are as right, or as wrong, as they were."""
    length = struct.unpack_from("<Q", frame, 46)[0]
    flag_at = 42 + 12 + length + 3
    ip = frame[14:24] + b"\0\0" + frame[26:30] + member.ip
    ip_sum = with_residue(ip, ones_sum(frame[14:34]))
    udp_len = len(frame) - 34
    head = frame[34:36] + struct.pack("!H", member.port) + frame[38:40]
    rest = bytearray(frame[42:])
    rest[flag_at - 42] &= 0x7F
    udp_sum = 0
    if frame[40:42] != b"\0\0":
        residue = ones_sum(pseudo_header(frame[26:30], frame[30:34], udp_len) + frame[34:])
        new = pseudo_header(frame[26:30], member.ip, udp_len) + head + b"\0\0" + bytes(rest)
        udp_sum = with_residue(new, residue) or 0xFFFF
    udp_sum = fields.get("udp_sum", udp_sum)
    return b"".join((
        member.mac, frame[6:14],
        ip[:10], struct.pack("!H", ip_sum), ip[12:],
        head, struct.pack("!H", udp_sum), bytes(rest),
    ))  # fmt: skip
