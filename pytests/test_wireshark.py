# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The Wireshark dissector, by tshark: on every capture it says what the scapy layer says, and
calls odd what is odd."""
import glob
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from scapy.utils import rdpcap, wrpcap

import paxos
from paxos import *

HERE = os.path.dirname(os.path.abspath(__file__))
WITH = os.path.join(HERE, "wireshark/with")
CAPTURES = sorted(c for c in glob.glob(HERE + "/vectors/*.pcap") if "ipfragment" not in c)
sys.path.insert(0, os.path.join(HERE, "../build/py"))


def tshark(capture, cwd):
    """[{field: [attributes]}] of each packet, down to the last field."""
    done = subprocess.run([WITH, "tshark", "-r", capture, "-T", "pdml"], cwd=cwd, text=True,
                          capture_output=True, check=True)
    assert "Lua" not in done.stderr and "Protobuf" not in done.stderr, done.stderr
    packets = []
    for packet in ET.fromstring(done.stdout).iter("packet"):
        fields = {}
        for field in packet.iter("field"):
            fields.setdefault(field.get("name"), []).append(field.attrib)
        packets.append(fields)
    return packets


def shown(fields, name):
    return [a["show"] for a in fields.get(name, [])]


def experts(fields):
    """What the dissector remarks, without its prefix."""
    names = "cut short bad_type_len unknown bad_body_len bad_fixed_body body_differs bad_piece"
    return {name for name in names.split() if "paxrack." + name in fields}


def body_fields(message, descriptor):
    """[(field name of Wireshark, number or bytes)] of a body that scapy dissected."""
    out = []
    by_number = {f.number: f for f in descriptor.fields}
    for field in message.fields_desc:
        value = None if isinstance(field, paxos.Extra) else message.getfieldval(field.name)
        if value is None:
            continue
        wire = by_number[field.number]
        for one in value if isinstance(value, list) else [value]:
            if wire.message_type:
                out += body_fields(one, wire.message_type)
            else:
                out.append(("pbf." + wire.full_name, one))
    return out


def check_body(fields, body):
    import vr_pb2
    wanted = {}
    for name, value in body_fields(body, vr_pb2.DESCRIPTOR.message_types_by_name[type(body).__name__]):
        wanted.setdefault(name, []).append(value)
    for name, values in wanted.items():
        if isinstance(values[0], int):
            assert [int(x) for x in shown(fields, name)] == values, name
        else:
            assert [bytes.fromhex(a.get("value", "")) for a in fields[name]] == values, name
    assert wanted


def check_message(fields, layer):
    body = layer.payload
    kind = paxos.short_name(body)
    assert shown(fields, "paxrack.kind") == [kind]
    assert shown(fields, "paxrack.type") == [layer.type.decode()]
    assert shown(fields, "paxrack.broadcast") == [str(layer.broadcast)]
    third = {"Prepare": "batchstart", "PrepareOK": "index", "MyPrepareOK": "index"}
    for name, value in (("view", layer.view), ("op", layer.op), ("body_len", layer.body_len),
                        (third.get(kind, "third"), layer.third)):
        assert shown(fields, "paxrack." + name) == [str(value)], name
    if kind == "MyPrepareOK":
        for name in ("view", "op", "index"):
            field = {"op": "opnum", "index": "replica_idx"}.get(name, name)
            assert shown(fields, "paxrack.body." + name) == [str(body.getfieldval(field))]
    else:
        check_body(fields, body)
    assert not experts(fields)


@pytest.fixture(scope="module")
def dissected(tmp_path_factory):
    """{capture: [(what tshark says, what scapy says)]}, by one run: it takes a second to start."""
    folder = tmp_path_factory.mktemp("captures")
    packets = {capture: rdpcap(capture) for capture in CAPTURES}
    wrpcap(str(folder / "all.pcap"), [p.original for one in packets.values() for p in one],
           linktype=1)
    told = iter(tshark("all.pcap", folder))
    out = {capture: [(next(told), p) for p in one] for capture, one in packets.items()}
    assert next(told, None) is None
    return out


@pytest.mark.parametrize("capture", CAPTURES, ids=os.path.basename)
def test_capture(capture, dissected):
    for fields, p in dissected[capture]:
        check_message(fields, p[Paxos])


def test_captured_fragments(tmp_path):
    packets = tshark(HERE + "/vectors/ipfragment.vanilla.pcap", tmp_path)
    found = [p for p in packets if "paxrack.magic" in p]
    assert [shown(p, "paxrack.kind") for p in found] == [["fragment"]] * 2
    assert [shown(p, "paxrack.fragment.offset") for p in found] == [["0"], ["9000"]]
    assert {shown(p, "paxrack.fragment.total")[0] for p in found} == {"19586"}
    assert not any(experts(p) for p in packets)


def test_what_was_not_captured_whole_is_not_called_wrong(tmp_path):
    packets = tshark(HERE + "/vectors/ipfragment.offload.pcap", tmp_path)  # 80 bytes of each
    found = [experts(p) for p in packets if "paxrack.magic" in p]
    assert found and all(e == {"cut"} for e in found)


GOOD = bytes(Paxos() / CommitMessage(view=1, opnum=2))
ACK = Paxos() / MyPrepareOK(view=1, opnum=2, replica_idx=1)
PIECE = bytes(fragments(Paxos() / RequestMessage(request=Request(op=bytes(9000))), 7)[1])
ODD = {
    "whole": (GOOD, set()),
    "a tail": (GOOD + b"x", {"bad_body_len"}),
    "a byte less": (GOOD[:-1], {"bad_body_len"}),
    "cut in the header": (GOOD[:50], {"short"}),
    "cut in the name": (GOOD[:20], {"short"}),
    "the magic alone": (GOOD[:4], {"short"}),
    "a name too long": (GOOD[:4] + bytes([47]) + GOOD[5:], {"bad_type_len"}),
    "a name of 2^32 + 32 bytes": (GOOD[:8] + b"\1" + GOOD[9:], {"bad_type_len"}),
    "a name unknown": (GOOD.replace(b"Commit", b"Omitted"[:6]), {"unknown"}),
    "an ack": (bytes(ACK), set()),
    "an ack of 21 bytes": (bytes(Paxos(type=MyPrepareOK.type_name) / Raw(bytes(21))),
                           {"bad_fixed_body"}),
    "an ack whose header says another op": (bytes(Paxos(op=3) / MyPrepareOK(view=1, opnum=2)),
                                            {"body_differs"}),
    "a piece": (PIECE, set()),
    "a piece behind the end": (PIECE + b"x", {"bad_piece"}),
    "an empty piece": (PIECE[:28], {"bad_piece"}),
    "a piece cut in its head": (PIECE[:27], {"short"}),
    "another magic": (b"\1\2\3\4" + GOOD[4:], set()),
}


def test_odd_lengths_are_expert_infos(tmp_path):
    capture = str(tmp_path / "odd.pcap")
    wrpcap(capture, [Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=PORT, dport=PORT) /
                     Raw(payload) for payload, _ in ODD.values()])
    packets = tshark(capture, tmp_path)
    assert {what: experts(p) for what, p in zip(ODD, packets, strict=True)} == \
        {what: wanted for what, (_, wanted) in ODD.items()}
    assert "paxrack.magic" not in packets[-1]


def test_our_own_optional_fields(tmp_path):
    """Fields numbered 15 and up: packed crash vectors, snapshots."""
    message = Paxos() / StartViewMessage(view=1, last_op=2, last_committed=2,
                                         snapshot=Snapshot(opnum=2, total=3, data=b"abc"),
                                         crash_vector=[1, 300, 0])
    capture = str(tmp_path / "ours.pcap")
    wrpcap(capture, [Ether() / IP() / UDP() / message])
    (fields,) = tshark(capture, tmp_path)
    assert shown(fields, "pbf.specpaxos.vr.proto.Snapshot.total") == ["3"]
    assert shown(fields, "pbf.specpaxos.vr.proto.StartViewMessage.crashVector") != []
    assert not experts(fields)


def test_by_filter_and_summary(tmp_path):
    """As a person would ask; from anywhere."""
    capture = HERE + "/vectors/PrepareMessage-broadcastflag.offload.pcap"
    line = [WITH, "tshark", "-r", capture, "-Y", 'paxrack.kind == "Prepare" && paxrack.op == 10']
    told = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "VR" in told and "Prepare broadcast view 0 op 10 first 10" in told


def test_usage():
    done = subprocess.run([WITH], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
