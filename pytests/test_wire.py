# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The scapy layer against real packets of the published implementation, and against itself."""
import glob
import os
import struct
import sys

import pytest
from scapy.packet import Padding
from scapy.utils import rdpcap

import paxos
from paxos import *
from paxos import BODIES

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors")
CAPTURES = sorted(os.path.basename(f) for f in glob.glob(VECTORS + "/*.pcap"))
# Unlogged* are not among the captures.
UNCAPTURED = {"UnloggedRequest", "UnloggedReply"}


def packets(capture):
    return list(rdpcap(os.path.join(VECTORS, capture)))


def is_resent_with_zeroes(layer):
    """The published leader resends a Prepare with an empty fast header."""
    return (isinstance(layer.payload, PrepareMessage)
            and (layer.view, layer.op, layer.third) == (0, 0, 0))


def test_every_kind_is_captured():
    names = {c.split(".")[0].split("-")[0] for c in CAPTURES} - {"ipfragment"}
    assert names == {b.__name__ for b in BODIES} - {n + "Message" for n in UNCAPTURED}


@pytest.mark.parametrize("capture", CAPTURES)
def test_capture_comes_out_as_it_went_in(capture):
    for i, p in enumerate(packets(capture)):
        wire = bytes(p.original)
        # Else scapy hands out the bytes that it read, and this test could not fail.
        for layer in layers(p):
            layer.raw_packet_cache = None
        assert bytes(p) == wire, "packet %d: %s" % (i, p.show(dump=True))


def layers(p):
    while p:
        yield p
        p = p.payload


@pytest.mark.parametrize("capture", [c for c in CAPTURES if not c.startswith("ipfragment")])
def test_capture_parses_and_is_computed_again(capture):
    kind = capture.split(".")[0].split("-")[0]
    zeroes = 0
    for i, p in enumerate(packets(capture)):
        wire = bytes(p.original)
        assert Paxos in p, "packet %d: %s" % (i, p.show(dump=True))
        layer = p[Paxos]
        assert type(layer.payload).__name__ == kind
        assert layer.type == BODIES[[b.__name__ for b in BODIES].index(kind)].type_name
        assert Raw not in p and Padding not in p
        assert getattr(layer.payload, "extra", b"") == b""
        assert layer.broadcast == ("broadcastflag" in capture)
        del p[IP].len, p[IP].chksum, p[UDP].len
        if p[UDP].chksum != 0:  # the published offload sends none
            del p[UDP].chksum
        if is_resent_with_zeroes(layer):
            zeroes += 1
            layer.type_len = layer.type = layer.body_len = None
        else:
            layer.computed()
        assert bytes(p) == wire, "packet %d: %s" % (i, p.show(dump=True))
    assert (zeroes > 0) == (capture == "PrepareMessage-broadcastflag.offload.pcap")


def test_captured_fields():
    p = packets("PrepareMessage.vanilla.pcap")[2][Paxos]
    assert (p.view, p.op, p.third, p.broadcast) == (0, 2, 2, 0)
    assert (p.payload.view, p.payload.opnum, p.payload.batchstart) == (0, 2, 2)
    assert [(r.op, r.clientreqid) for r in p.payload.request] == [(b"request1", 2)]
    p = packets("MyPrepareOK.offload.pcap")[0][Paxos]
    assert (p.view, p.op, p.third) == (0, 1, 2)
    assert (p.payload.view, p.payload.opnum, p.payload.replica_idx) == (0, 1, 2)
    p = packets("DoViewChangeMessage.vanilla.pcap")[1][Paxos].payload
    assert (p.view, p.last_normal_view, p.last_op, p.last_committed, p.replica_idx) == \
        (1, 0, 24, 23, 2)
    assert [(e.view, e.opnum, e.request.op) for e in p.entry] == \
        [(0, 23, b"request22"), (0, 24, b"inflight")]
    p = packets("ReplyMessage.vanilla.pcap")[5][Paxos].payload
    assert (p.view, p.opnum, p.reply, p.clientreqid) == (0, 6, b"", 6)
    p = packets("RecoveryResponseMessage.vanilla.pcap")[0][Paxos].payload
    assert (p.last_op, p.last_committed, p.replica_idx) == (None, None, 2)


def reassembled(capture):
    """IP fragments put together again; scapy's own defragment() drops trailing ones."""
    datagrams = {}
    for p in packets(capture):
        if IP in p and len(p.original) == p.wirelen:
            datagrams.setdefault((p[IP].src, p[IP].dst, p[IP].id), {})[p[IP].frag] = \
                bytes(p[IP].payload)
    return [b"".join(pieces[at] for at in sorted(pieces)) for pieces in datagrams.values()]


def test_captured_fragments():
    udp = [UDP(d) for d in reassembled("ipfragment.vanilla.pcap")]
    assert [type(u.payload) for u in udp] == [Fragment, Fragment]
    one, two = (u.payload for u in udp)
    assert (one.id, one.offset, one.total, len(one.payload)) == (1, 0, two.total, FRAGMENT_MAX)
    assert (two.id, two.offset, len(two.payload)) == (1, FRAGMENT_MAX, FRAGMENT_MAX)
    # the message stands in it without its magic
    start = bytes(one.payload)
    assert start[8:8 + start[0]] == KINDS["RecoveryResponse"].type_name


SAMPLES = {
    "Request": dict(request=Request(op=b"GET a", clientid=1 << 63, clientreqid=300)),
    "Prepare": dict(view=3, opnum=9, batchstart=8, last_committed=7,
                    request=[Request(op=b"a"), Request(op=b"", clientid=5, clientreqid=6)]),
    "PrepareOK": dict(view=3, opnum=9, replica_idx=2),
    "MyPrepareOK": dict(view=3, opnum=9, replica_idx=2),
    "Commit": dict(view=3, opnum=9),
    "Reply": dict(view=3, opnum=9, reply=b"OK", clientreqid=300),
    "RequestStateTransfer": dict(view=3, opnum=9, snapshot_op=4, snapshot_offset=1000),
    "StateTransfer": dict(view=3, opnum=9, entry=[Entry(view=1, opnum=2, request=Request())],
                          snapshot=Snapshot(opnum=2, offset=1, total=3, data=b"s"),
                          last_committed=2),
    "StartViewChange": dict(view=3, replica_idx=2, last_committed=7, crash_vector=[0, 300, 1]),
    "DoViewChange": dict(view=3, last_normal_view=2, last_op=9, last_committed=7, replica_idx=1,
                         entry=[Entry(request=Request(op=b"x" * 200)), Entry(opnum=2)]),
    "StartView": dict(view=3, last_op=9, last_committed=7, entry=[Entry(request=Request())]),
    "Recovery": dict(replica_idx=2, nonce=(1 << 64) - 1),
    "RecoveryResponse": dict(view=3, nonce=1, entry=[Entry(request=Request())], last_op=9,
                             last_committed=7, replica_idx=0),
    "UnloggedRequest": dict(request=Request(op=b"r")),
    "UnloggedReply": dict(reply=b"r"),
}
FAST = {"Prepare": (3, 9, 8), "PrepareOK": (3, 9, 2), "MyPrepareOK": (3, 9, 2)}


@pytest.mark.parametrize("kind", KINDS)
def test_build_and_parse(kind):
    fields = SAMPLES[kind]
    built = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Paxos() /
                  KINDS[kind](**fields))
    p = Ether(built)
    body = p[Paxos].payload
    assert type(body) is KINDS[kind] and p[UDP].dport == PORT
    for name, value in fields.items():
        assert bytes_of(body.getfieldval(name)) == bytes_of(value), name
    assert (p[Paxos].view, p[Paxos].op, p[Paxos].third) == FAST.get(kind, (0, 0, 0))
    assert p[Paxos].type == KINDS[kind].type_name
    assert (p[Paxos].type_len, p[Paxos].body_len) == (len(p[Paxos].type), len(body))
    assert kind in p.summary()
    assert p.show(dump=True)
    p[Paxos].computed()
    assert bytes(p) == built


def bytes_of(value):
    return [bytes_of(v) for v in value] if isinstance(value, list) else \
        value if isinstance(value, int) else bytes(value)


def fields_of(message):
    """{number: (name, C type of protobuf, repeated?)} in a class of the layer."""
    kinds = {paxos.Uint: "uint", paxos.Uints: "uint", paxos.Bytes: "bytes",
             paxos.Inner: "message", paxos.Inners: "message"}
    return {f.number: (f.name.replace("_", ""), kinds[type(f)],
                       isinstance(f, (paxos.Uints, paxos.Inners)))
            for f in message.fields_desc if not isinstance(f, paxos.Extra)}


RENAMED = {"req": "request", "entries": "entry"}


@pytest.mark.parametrize("message", [b for b in BODIES if b is not MyPrepareOK] +
                         [Request, Entry, Snapshot], ids=lambda m: m.__name__)
def test_the_layer_and_the_proto_file_agree(message):
    sys.path.insert(0, os.path.join(os.path.dirname(VECTORS), "../build/py"))
    import vr_pb2
    kinds = {4: "uint", 13: "uint", 12: "bytes", 11: "message"}  # FieldDescriptor.TYPE_*
    name = {"Entry": "LogEntry"}.get(message.__name__, message.__name__)
    fields = vr_pb2.DESCRIPTOR.message_types_by_name[name].fields
    assert fields_of(message) == {
        f.number: (RENAMED.get(f.name, f.name).lower(), kinds[f.type], f.label == f.LABEL_REPEATED)
        for f in fields}


@pytest.mark.parametrize("body", [dict(view=VIEW_UNFIT, opnum=1), dict(opnum=1 << 32)])
def test_what_does_not_fit_the_fast_header(body):
    p = Paxos(bytes(Paxos() / PrepareOKMessage(**body)))
    assert (p.view, p.op, p.third) == (VIEW_UNFIT, 0, 0)
    assert p.payload.view == body.get("view", 0) and p.payload.opnum == body["opnum"]


def test_unknown_fields_are_kept():
    body = bytes(CommitMessage(view=1, opnum=2)) + bytes.fromhex("80017f") + bytes.fromhex("8a0101ff")
    p = CommitMessage(body)
    assert (p.view, p.opnum, p.extra, bytes(p)) == (1, 2, body[4:], body)


@pytest.mark.parametrize("body, why", [
    (b"\x10\x02\x08\x01", "another order"), (b"\x08\x81\x00\x10\x02", "a padded varint"),
    (b"\x08\x01\x10", "cut short"), (b"\x08\x01\x08\x01\x10\x02", "twice"),
    (b"\x0b", "a group")])
def test_a_body_that_is_not_canonical_stays_raw(body, why):
    message = bytes(Paxos(type=CommitMessage.type_name) / Raw(body))
    p = Paxos(message)
    assert isinstance(p.payload, Raw) and bytes(p) == message, why


def test_odd_framing_is_kept_to_the_byte():
    good = bytes(Paxos() / CommitMessage(view=1, opnum=2))
    for what, data in {
            "another magic": b"\1\2\3\4" + good[4:],
            "an unknown type": bytes(Paxos(type=b"nobody.knows") / Raw(b"abc")),
            "bytes after the body": good + b"tail",
            "a body cut short": good[:-1],
            "a head cut short": good[:30],
            "a fixed body cut short": bytes(Paxos() / MyPrepareOK(opnum=1))[:-4],
            "a type longer than the datagram": good[:4] + struct.pack("<Q", 1 << 40) + good[12:],
    }.items():
        p = UDP(bytes(UDP(sport=1) / Raw(data)))
        assert bytes(p.payload) == data, what


def test_fragments_carry_the_message():
    message = Paxos() / RequestMessage(request=Request(op=bytes(20000)))
    pieces = [UDP(bytes(UDP() / f)).payload for f in fragments(message, 7)]
    assert [type(f) for f in pieces] == [Fragment] * 3
    assert {(f.id, f.total) for f in pieces} == {(7, len(message) - 4)}
    assert [f.offset for f in pieces] == [0, FRAGMENT_MAX, 2 * FRAGMENT_MAX]
    whole = struct.pack("<I", MAGIC) + b"".join(bytes(f.payload) for f in pieces)
    assert whole == bytes(message)


def test_the_layer_stands_alone():
    """No import but scapy and the standard library: other projects may take the one file."""
    imported = {line.split()[1].split(".")[0] for line in open(paxos.__file__)
                if line.startswith(("import ", "from "))}
    assert imported <= {"scapy", "struct"}
