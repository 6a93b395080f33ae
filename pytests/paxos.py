# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The wire of the published Electrode/SpecPaxos VR format, as scapy layers.

    Ether / IP / UDP / Paxos / PrepareMessage
                     |       \\ one class per kind, named as its type is on the wire
                     |\\ magic, type name, fast header, length of the body
                     \\ or Fragment: a piece of a message over 9000 bytes

Everything is little-endian. What is None is computed when a packet is built: lengths, the
type name and the fast header, from the body beneath. A body that would not come out again as
the same bytes (another field order, a padded varint, cut short) stays Raw.

Nothing has to be installed or built for it: put this file where Python looks (or say
PYTHONPATH=pytests), and scapy's own tools know the port too. Optional fields that are absent
show as None; `extra` holds what this layer does not know.

    from paxos import *
    p = Ether()/IP()/UDP()/Paxos()/PrepareMessage(view=1, opnum=5, batchstart=5,
                                                  request=[Request(op=b"x", clientreqid=1)])
    Ether(bytes(p)).show()

This file needs scapy only, and knows nothing of the C sources: tests hold the two together.
"""
import struct

from scapy.config import conf
from scapy.fields import (BitField, Field, LEIntField, LELongField, PacketField, PacketListField,
                          StrLenField, XLEIntField)
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw, bind_bottom_up, bind_top_down

PORT = 12345
MAGIC = 0x20050318
MAGIC_FRAGMENT = 0x20101010
FRAGMENT_MAX = 9000
VIEW_UNFIT = 0x7fffffff

__all__ = ["Ether", "IP", "UDP", "Raw", "Paxos", "Fragment", "Request", "Entry", "Snapshot", "KINDS", "PORT",
           "MAGIC", "MAGIC_FRAGMENT", "FRAGMENT_MAX", "VIEW_UNFIT", "fragments", "short_name"]


# --- protobuf, as much as proto2 messages of varints, strings and messages need


def put_varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def get_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("varint cut short or too long")
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


class Uint(Field):
    """A varint. `None`: absent."""
    wire = 0
    __slots__ = ["number"]

    def __init__(self, name, number, default=0):
        Field.__init__(self, name, default, "Q")
        self.number = number

    def encode(self, value):
        return put_varint(self.number << 3) + put_varint(value)

    def decode(self, value):
        return value


class Bytes(Field):
    """A string of bytes. `None`: absent."""
    wire = 2
    __slots__ = ["number"]

    def __init__(self, name, number, default=b""):
        Field.__init__(self, name, default, "s")
        self.number = number

    def encode(self, value):
        value = bytes(value)
        return put_varint(self.number << 3 | 2) + put_varint(len(value)) + value

    def decode(self, value):
        return value

    def i2len(self, pkt, value):
        return len(value or b"")


class Inner(PacketField):
    """One message in a message. `None`: absent."""
    wire = 2
    __slots__ = ["number"]
    encode = Bytes.encode

    def __init__(self, name, number, cls, default=None):
        PacketField.__init__(self, name, default, cls)
        self.number = number

    def decode(self, value):
        return self.cls.parse(value)


class Inners(PacketListField):
    """Any number of messages in a message."""
    wire = 2
    __slots__ = ["number"]
    encode = Bytes.encode

    def __init__(self, name, number, cls):
        PacketListField.__init__(self, name, [], cls)
        self.number = number

    def decode(self, value):
        return self.cls.parse(value)


class Uints(Field):
    """Any number of varints, packed into one string. `None`: absent."""
    wire = 2
    islist = 1
    __slots__ = ["number"]

    def __init__(self, name, number):
        Field.__init__(self, name, None, "s")
        self.number = number

    def encode(self, value):
        packed = b"".join(put_varint(one) for one in value)
        return put_varint(self.number << 3 | 2) + put_varint(len(packed)) + packed

    def decode(self, value):
        out, at = [], 0
        while at < len(value):
            one, at = get_varint(value, at)
            out.append(one)
        return out


class Extra(Field):
    """Fields of the body that this layer does not know, as they stood on the wire."""

    def __init__(self):
        Field.__init__(self, "extra", b"", "s")


class Protobuf(Packet):
    """A message: its fields_desc gives field numbers, in rising order."""

    @classmethod
    def parse(cls, data):
        message = cls()
        message.do_dissect(data)
        return message

    def do_dissect(self, s):
        known = {f.number: f for f in self.fields_desc if not isinstance(f, Extra)}
        values = {f.name: [] if isinstance(f, Inners) else None for f in known.values()}
        extra = b""
        at = 0
        while at < len(s):
            start = at
            tag, at = get_varint(s, at)
            if tag & 7 == 0:
                value, at = get_varint(s, at)
            elif tag & 7 in (1, 2, 5):
                length, at = get_varint(s, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
                value, at = s[at:at + length], at + length
            else:
                raise ValueError("wire type %d" % (tag & 7))
            field = known.get(tag >> 3)
            if field is None or field.wire != tag & 7:
                extra += s[start:at]
            elif isinstance(field, Inners):
                values[field.name].append(field.decode(value))
            else:
                values[field.name] = field.decode(value)
        values["extra"] = extra
        self.fields.update(values)
        if self.self_build() != s:
            raise ValueError("not the canonical bytes of a %s" % self.name)
        return b""

    def self_build(self, field_pos_list=None):
        out = b""
        for field in self.fields_desc:
            value = self.getfieldval(field.name)
            if isinstance(field, Extra):
                out += value
            elif value is not None:
                for one in value if isinstance(field, Inners) else [value]:
                    out += field.encode(one)
        return out

    def extract_padding(self, s):
        return b"", s


# --- bodies


class Request(Protobuf):
    """One operation of one client; part of RequestMessage, PrepareMessage and log entries."""
    fields_desc = [Bytes("op", 1), Uint("clientid", 2), Uint("clientreqid", 3), Extra()]


class Entry(Protobuf):
    """One entry of a replica's log."""
    name = "Entry"
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Inner("request", 3, Request),
                   Uint("state", 4), Bytes("hash", 5, bytes(20)), Extra()]


class Snapshot(Protobuf):
    """A piece of a snapshot: `data` stands at `offset` of `total` bytes."""
    name = "Snapshot"
    fields_desc = [Uint("opnum", 1), Uint("offset", 2), Uint("total", 3), Bytes("data", 4), Extra()]


class Body(Protobuf):
    """The body of a kind; `fast` gives the three words of its fast header."""
    type_name = None

    def fast(self):
        return 0, 0, 0

    def mysummary(self):
        words = ["%s=%s" % (f.name, self.getfieldval(f.name)) for f in self.fields_desc
                 if isinstance(f, Uint) and self.getfieldval(f.name) is not None]
        return " ".join([short_name(self)] + words)


def fast_words(view, op, third):
    """A view or an op that does not fit the fast header: readers decide by the body."""
    view, op, third = view or 0, op or 0, third or 0
    if view >= VIEW_UNFIT or op >= 1 << 32 or third >= 1 << 32:
        return VIEW_UNFIT, 0, 0
    return view, op, third


class RequestMessage(Body):
    fields_desc = [Inner("request", 1, Request, Request()), Extra()]


class PrepareMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Uint("batchstart", 3),
                   Inners("request", 4, Request), Uint("last_committed", 15, None), Extra()]

    def fast(self):
        return fast_words(self.view, self.opnum, self.batchstart)


class PrepareOKMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Uint("replica_idx", 3), Extra()]

    def fast(self):
        return fast_words(self.view, self.opnum, self.replica_idx)


class MyPrepareOK(Packet):
    """The ack that XDP makes: the one body that is not protobuf."""
    name = "MyPrepareOK"
    type_name = b"specpaxos.vr.MyPrepareOK"
    LEN = 20
    fields_desc = [LELongField("view", 0), LELongField("opnum", 0), LEIntField("replica_idx", 0)]

    def fast(self):
        return fast_words(self.view, self.opnum, self.replica_idx)

    def extract_padding(self, s):
        return b"", s

    def mysummary(self):
        return self.sprintf("MyPrepareOK view=%view% opnum=%opnum% replica_idx=%replica_idx%")


class CommitMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Extra()]


class ReplyMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Bytes("reply", 3), Uint("clientreqid", 4),
                   Extra()]


class RequestStateTransferMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Uint("snapshot_op", 15, None),
                   Uint("snapshot_offset", 17, None), Extra()]


class StateTransferMessage(Body):
    fields_desc = [Uint("view", 1), Uint("opnum", 2), Inners("entry", 3, Entry),
                   Inner("snapshot", 15, Snapshot), Uint("last_committed", 17, None), Extra()]


class StartViewChangeMessage(Body):
    fields_desc = [Uint("view", 1), Uint("replica_idx", 2), Uint("last_committed", 3),
                   Uints("crash_vector", 16), Extra()]


class DoViewChangeMessage(Body):
    fields_desc = [Uint("view", 1), Uint("last_normal_view", 2), Uint("last_op", 3),
                   Uint("last_committed", 4), Inners("entry", 5, Entry), Uint("replica_idx", 6),
                   Uints("crash_vector", 16), Extra()]


class StartViewMessage(Body):
    fields_desc = [Uint("view", 1), Uint("last_op", 2), Uint("last_committed", 3),
                   Inners("entry", 4, Entry), Inner("snapshot", 15, Snapshot),
                   Uints("crash_vector", 16), Extra()]


class RecoveryMessage(Body):
    fields_desc = [Uint("replica_idx", 1), Uint("nonce", 2), Uints("crash_vector", 16), Extra()]


class RecoveryResponseMessage(Body):
    """last_op, last_committed and entries come from the leader only."""
    fields_desc = [Uint("view", 1), Uint("nonce", 2), Inners("entry", 3, Entry),
                   Uint("last_op", 4, None), Uint("last_committed", 5, None),
                   Uint("replica_idx", 6), Inner("snapshot", 15, Snapshot),
                   Uints("crash_vector", 16), Extra()]


class UnloggedRequestMessage(Body):
    fields_desc = [Inner("request", 1, Request, Request()), Extra()]


class UnloggedReplyMessage(Body):
    fields_desc = [Bytes("reply", 1), Extra()]


BODIES = [RequestMessage, PrepareMessage, PrepareOKMessage, MyPrepareOK, CommitMessage,
          ReplyMessage, RequestStateTransferMessage, StateTransferMessage, StartViewChangeMessage,
          DoViewChangeMessage, StartViewMessage, RecoveryMessage, RecoveryResponseMessage,
          UnloggedRequestMessage, UnloggedReplyMessage]

for _body in BODIES:
    _body.name = _body.__name__
    if _body.type_name is None:
        _body.type_name = b"specpaxos.vr.proto." + _body.__name__.encode()
    __all__.append(_body.__name__)

BY_TYPE = {body.type_name: body for body in BODIES}


def short_name(body):
    """The name of a kind in commands, files and counters: Prepare, MyPrepareOK."""
    name = body.__name__ if isinstance(body, type) else type(body).__name__
    return name[:-len("Message")] if name.endswith("Message") else name


KINDS = {short_name(body): body for body in BODIES}


# --- framing


class Paxos(Packet):
    """Magic, type name, fast header, length of the body.

    `broadcast` and `view` are bit 31 and the rest of the first word of the fast header. What
    `op` and `third` mean is the kind's: Prepare opnum and batchstart, acks opnum and index.
    """
    name = "Paxos"
    fields_desc = [
        XLEIntField("magic", MAGIC),
        LELongField("type_len", None),
        StrLenField("type", None, length_from=lambda p: p.type_len),
        BitField("broadcast", 0, 1, tot_size=-4),
        BitField("view", None, 31, end_tot_size=-4),
        LEIntField("op", None),
        LEIntField("third", None),
        LELongField("body_len", None),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt=None, *args, **kargs):
        if _pkt is not None:
            if _pkt[:4] == struct.pack("<I", MAGIC_FRAGMENT):
                return Fragment
            head = 12 + int.from_bytes(_pkt[4:12], "little") + 20
            if _pkt[:4] != struct.pack("<I", MAGIC) or len(_pkt) < head:
                return conf.raw_layer
        return cls

    def self_build(self, field_pos_list=None):
        body = self.payload
        name = self.type if self.type is not None else getattr(body, "type_name", b"")
        words = body.fast() if hasattr(body, "fast") else (0, 0, 0)
        given = (self.view, self.op, self.third)
        view, op, third = (w if g is None else g for g, w in zip(given, words))
        return struct.pack("<IQ%dsIIIQ" % len(name), self.magic,
                           len(name) if self.type_len is None else self.type_len, name,
                           view | self.broadcast << 31, op, third,
                           len(body) if self.body_len is None else self.body_len)

    def guess_payload_class(self, payload):
        body = BY_TYPE.get(self.type, Raw)
        return Raw if body is MyPrepareOK and len(payload) < MyPrepareOK.LEN else body

    def extract_padding(self, s):
        return s[:self.body_len], s[self.body_len:]

    def computed(self):
        """Forget what a build computes. Returns self."""
        for name in ("type_len", "type", "view", "op", "third", "body_len"):
            self.setfieldval(name, None)
        return self

    def mysummary(self):
        return "Paxos" + (" broadcast" if self.broadcast else ""), [UDP]


class Fragment(Packet):
    """A piece of a message over 9000 bytes, which it carries without its magic."""
    name = "Fragment"
    fields_desc = [XLEIntField("magic", MAGIC_FRAGMENT), LELongField("id", 0),
                   LELongField("offset", 0), LELongField("total", None)]

    def post_build(self, pkt, pay):
        if self.total is None:
            pkt = pkt[:20] + struct.pack("<Q", self.offset + len(pay))
        return pkt + pay

    def mysummary(self):
        return self.sprintf("Fragment id=%id% offset=%offset% total=%total%")


def fragments(message, message_id):
    """The Fragment layers that carry one message (a Paxos layer or its bytes)."""
    data = bytes(message)[4:]
    return [Fragment(id=message_id, offset=at, total=len(data)) / Raw(data[at:at + FRAGMENT_MAX])
            for at in range(0, len(data), FRAGMENT_MAX)]


bind_bottom_up(UDP, Paxos, sport=PORT)
bind_bottom_up(UDP, Paxos, dport=PORT)
bind_top_down(UDP, Paxos, sport=PORT, dport=PORT)
bind_top_down(UDP, Fragment, sport=PORT, dport=PORT)
