# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames that are odd in any way reach the stack unchanged and are counted; nothing is acked,
stored, counted as an ack, rewritten or beheaded (S6, S8). Each is made from a frame that is
taken: a Prepare, a PrepareOK, a MyPrepareOK."""
import struct

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP
from scapy.packet import Raw
from scapy.utils import checksum

from paxos import *

IP_AT, UDP_AT, PAYLOAD_AT, TYPE_AT = 14, 34, 42, 54


def put(frame, at, form, value):
    frame = bytearray(bytes(frame))
    struct.pack_into("!" + form, frame, at, value & (1 << 8 * struct.calcsize("!" + form)) - 1)
    return bytes(frame)


def get(frame, at, form):
    return struct.unpack_from("!" + form, bytes(frame), at)[0]


def ip_sum(frame):
    """The IP checksum made right again."""
    frame = put(frame, IP_AT + 10, "H", 0)
    return put(frame, IP_AT + 10, "H", checksum(frame[IP_AT:IP_AT + 20]))


def with_ip(at, form, change):
    """One field of the IP header changed, its checksum right."""
    return lambda p: ip_sum(put(p, IP_AT + at, form, change(get(p, IP_AT + at, form))))


def payload(change):
    """The UDP payload changed, all lengths and checksums right."""
    def make(p):
        p = p.copy()
        data = change(bytes(p[Paxos]))
        p[UDP].remove_payload()
        return bytes(p / Raw(data))
    return make


def upto(length):
    """Cut; lengths in the headers as they were."""
    return lambda p: bytes(p)[:length]


def consistent(length):
    """Cut to `length` bytes of IP packet, with an IP header that says so."""
    return lambda p: ip_sum(put(bytes(p)[:IP_AT + length], IP_AT + 2, "H", length))


def add(n):
    return lambda value: value + n


def options(p):
    frame = bytes(p)
    frame = frame[:UDP_AT] + b"\1\1\1\0" + frame[UDP_AT:]
    frame = put(frame, IP_AT, "B", 0x46)
    frame = put(frame, IP_AT + 2, "H", get(frame, IP_AT + 2, "H") + 4)
    frame = put(frame, IP_AT + 10, "H", 0)
    return put(frame, IP_AT + 10, "H", checksum(frame[IP_AT:IP_AT + 24]))


def tagged(*tags):
    def make(p):
        frame = bytes(p)
        return frame[:12] + b"".join(tags) + frame[12:]
    return make


def ipv6(p):
    return bytes(Ether(src=p.src, dst=p.dst) / IPv6(src="fd00::1", dst="fd00::2") /
                 UDP(sport=p[UDP].sport, dport=PORT) / bytes(p[Paxos]))


def pseudo_sum(p):
    """What a sender with checksum offload leaves there."""
    data = bytes(p)
    head = data[26:34] + struct.pack("!HH", 17, get(data, UDP_AT + 4, "H"))
    return put(data, UDP_AT + 6, "H", ~checksum(head))


def flip(at, bit=0):
    def make(p):
        frame = bytearray(bytes(p))
        frame[at] ^= 1 << bit
        return bytes(frame)
    return make


def body_length(change):
    """The body's length field, which stands 8 bytes before the body."""
    def make(data):
        at = 12 + data[4] + 12
        value = struct.unpack_from("<Q", data, at)[0]
        return data[:at] + struct.pack("<Q", change(value) & (1 << 64) - 1) + data[at + 8:]
    return payload(make)


def type_length(value):
    return payload(lambda d: d[:4] + struct.pack("<Q", value(d[4]) & (1 << 64) - 1) + d[12:])


def renamed(name):
    return payload(lambda d: d[:4] + struct.pack("<Q", len(name)) + name + d[12 + d[4]:])


VLAN = struct.pack("!HH", 0x8100, 5)
STAG = struct.pack("!HH", 0x88a8, 6)
NO_HEAD = ("not-a-message", "other-kind", "body-length")

ODD = {
    # not the IPv4 that the programs take
    "VLAN tag": (tagged(VLAN), "not-ip"),
    "VLAN tag of priority": (tagged(struct.pack("!HH", 0x8100, 0xe000)), "not-ip"),
    "two VLAN tags": (tagged(STAG, VLAN), "not-ip"),
    "IPv6": (ipv6, "not-ip"),
    "ARP": (lambda p: bytes(Ether(src=p.src, dst=p.dst) / ARP(op="is-at")), "not-ip"),
    "another protocol": (lambda p: put(p, 12, "H", 0x88b5), "not-ip"),
    "802.3 length": (lambda p: put(p, 12, "H", len(p) - 14), "not-ip"),
    "IP options": (options, "ip-options"),
    "IP version 6 in IPv4": (with_ip(0, "B", lambda _: 0x65), "ip-options"),
    "IP header of 16 bytes": (with_ip(0, "B", lambda _: 0x44), "ip-options"),
    "IP header of 60 bytes": (with_ip(0, "B", lambda _: 0x4f), "ip-options"),
    "TCP": (lambda p: bytes(Ether(src=p.src, dst=p.dst) / IP(src=p[IP].src, dst=p[IP].dst) /
                            TCP(sport=PORT, dport=PORT, flags="R")), "not-udp"),
    "UDP-Lite": (with_ip(9, "B", lambda _: 136), "not-udp"),
    "first fragment": (with_ip(6, "H", lambda _: 0x2000), "ip-fragment"),
    "later fragment": (with_ip(6, "H", lambda _: 0x2001), "ip-fragment"),
    "last fragment": (with_ip(6, "H", lambda _: 0x0001), "ip-fragment"),
    "far fragment": (with_ip(6, "H", lambda _: 0x1fff), "ip-fragment"),
    "don't-fragment and more": (with_ip(6, "H", lambda _: 0x6000), "ip-fragment"),
    "reserved bit": (with_ip(6, "H", lambda _: 0x8000), "ip-fragment"),
    "TTL 0": (with_ip(8, "B", lambda _: 0), "ttl-zero"),
    "IP checksum": (flip(IP_AT + 11), "ip-checksum"),
    "IP checksum 0": (lambda p: put(p, IP_AT + 10, "H", 0), "ip-checksum"),
    "IP identification flipped": (flip(IP_AT + 4, 7), "ip-checksum"),
    "source address flipped": (flip(IP_AT + 15), "ip-checksum"),
    "another port": (lambda p: bytes(change_port(p)), "not-ours"),
    # short and overlong
    "Ethernet header only": (upto(14), "frame-short"),
    "one byte of IP": (upto(15), "frame-short"),
    "IP header but its last byte": (upto(33), "frame-short"),
    "IP header only": (upto(34), "frame-short"),
    "UDP header but its last byte": (upto(41), "frame-short"),
    "UDP header only": (upto(42), "frame-short"),
    "last byte missing": (lambda p: bytes(p)[:-1], "frame-short"),
    "IP packet without UDP": (consistent(20), "frame-short"),
    "IP packet with a piece of UDP": (consistent(27), "frame-short"),
    "IP length 0": (with_ip(2, "H", lambda _: 0), "frame-short", "frame-long"),
    "IP length 20": (with_ip(2, "H", lambda _: 20), "frame-short", "frame-long"),
    "IP length one more": (with_ip(2, "H", add(1)), "frame-short"),
    "IP length 65535": (with_ip(2, "H", lambda _: 65535), "frame-short"),
    "IP length one less": (with_ip(2, "H", add(-1)), "frame-long"),
    "one byte behind": (lambda p: bytes(p) + b"\0", "frame-long"),
    "many bytes behind": (lambda p: bytes(p) + bytes(100), "frame-long"),
    "UDP length one more": (lambda p: put(p, UDP_AT + 4, "H", get(p, UDP_AT + 4, "H") + 1),
                            "udp-length"),
    "UDP length one less": (lambda p: put(p, UDP_AT + 4, "H", get(p, UDP_AT + 4, "H") - 1),
                            "udp-length"),
    "UDP length 0": (lambda p: put(p, UDP_AT + 4, "H", 0), "udp-length"),
    "UDP length 7": (lambda p: put(p, UDP_AT + 4, "H", 7), "udp-length"),
    "UDP length 65535": (lambda p: put(p, UDP_AT + 4, "H", 65535), "udp-length"),
    # the message
    "no payload": (payload(lambda d: b""), "not-a-message"),
    "three bytes": (payload(lambda d: d[:3]), "not-a-message"),
    "magic only": (payload(lambda d: d[:4]), *NO_HEAD),
    "no whole type length": (payload(lambda d: d[:11]), *NO_HEAD),
    "no type": (payload(lambda d: d[:12]), *NO_HEAD),
    "type cut": (payload(lambda d: d[:12 + d[4] - 1]), *NO_HEAD),
    "type only": (payload(lambda d: d[:12 + d[4]]), *NO_HEAD),
    "fast header cut": (payload(lambda d: d[:12 + d[4] + 11]), *NO_HEAD),
    "body length cut": (payload(lambda d: d[:12 + d[4] + 19]), *NO_HEAD),
    "another magic": (payload(lambda d: b"\x19" + d[1:]), "not-a-message"),
    "big-endian magic": (payload(lambda d: d[3::-1] + d[4:]), "not-a-message"),
    "fragment magic": (payload(lambda d: struct.pack("<I", MAGIC_FRAGMENT) + d[4:]),
                       "fragment-magic"),
    "fragment": (lambda p: bytes(fragment_of(p)),
                 "fragment-magic"),
    "type one longer": (type_length(add(1)), "other-kind"),
    "type one shorter": (type_length(add(-1)), "other-kind"),
    "type of length 0": (type_length(lambda _: 0), "other-kind"),
    "type length's upper half": (type_length(lambda t: t + (1 << 32)), "other-kind"),
    "type length huge": (type_length(lambda _: (1 << 64) - 1), "other-kind"),
    "first letter": (payload(lambda d: d[:12] + b"S" + d[13:]), "other-kind"),
    "last letter": (payload(lambda d: d[:11 + d[4]] + b"E" + d[12 + d[4]:]), "other-kind"),
    "Request's name": (renamed(RequestMessage.type_name), "other-kind"),
    "Commit's name": (renamed(CommitMessage.type_name), "other-kind"),
    "StartView's name": (renamed(StartViewMessage.type_name), "other-kind"),
    "body one longer": (payload(lambda d: d + b"\0"), "body-length"),
    "body one shorter": (payload(lambda d: d[:-1]), "body-length"),
    "no body": (payload(lambda d: d[:12 + d[4] + 20]), "body-length"),
    "body length one more": (body_length(add(1)), "body-length"),
    "body length one less": (body_length(add(-1)), "body-length"),
    "body length's upper half": (body_length(add(1 << 32)), "body-length"),
    "body length huge": (body_length(lambda _: (1 << 64) - 1), "body-length"),
    # checksums of UDP
    "no UDP checksum": (lambda p: put(p, UDP_AT + 6, "H", 0), "no-checksum"),
    "partial UDP checksum": (pseudo_sum, "udp-checksum"),
    "UDP checksum flipped": (flip(UDP_AT + 7), "udp-checksum"),
    "UDP checksum complemented": (lambda p: put(p, UDP_AT + 6, "H", ~get(p, UDP_AT + 6, "H")),
                                  "udp-checksum"),
    "last byte flipped": (flip(-1, 7), "udp-checksum", "ok-body"),
    "source port flipped": (flip(UDP_AT, 3), "udp-checksum", "not-from-leader", "ok-sender"),
}


def change_port(p):
    p = p.copy()
    p[UDP].dport = PORT + 1
    return p


def fragment_of(p):
    p = p.copy()
    data = bytes(p[Paxos])[4:]
    p[UDP].remove_payload()
    return p / Fragment(id=1, total=20000) / Raw(data)


BASES = {
    "Prepare": lambda b: b.prepare(op=1, body=bytes(PrepareMessage(
        view=0, opnum=1, batchstart=1, request=[Request(op=b"set", clientreqid=1)]))),
    "PrepareOK": lambda b: b.ack(1, 1, mine=False),
    "MyPrepareOK": lambda b: b.ack(1, 1),
}


def start(bench, base):
    """The base frame is taken: by a follower, or by the leader of five."""
    if base == "Prepare":
        bench.start(n=5, self_index=1, leader=0)
    else:
        bench.start(n=5, self_index=0, leader=0, sent=1)
    return BASES[base](bench)


TAKEN = {"Prepare": "ack", "PrepareOK": "absorbed", "MyPrepareOK": "absorbed"}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("odd", ODD)
def test_passes_unchanged_and_is_counted(bench, odd, base):
    make, *reasons = ODD[odd]
    frame = start(bench, base)
    odd_frame = make(frame)
    assert odd_frame != bytes(frame)
    bench.passes(odd_frame, *reasons)
    # and what it was made from is taken
    assert bench.exchange(frame).counted == {TAKEN[base]: 1}


@pytest.mark.parametrize("base", BASES)
def test_no_flipped_bit_is_taken(bench, base):
    """S6: whatever single bit of the frame is wrong, it is not acked, stored or counted."""
    frame = start(bench, base)
    memory = bench.replica.memory()
    good = bytes(frame)
    for at in range(6, len(good)):
        out = bench.exchange(flip(at, at % 8)(frame))
        assert not out.replies and len(out.passed) == 1, "bit %d of byte %d" % (at % 8, at)
        unchanged = bench.replica.memory() == memory  # not in the assert: pytest would print it
        assert unchanged, "bit %d of byte %d: %s" % (at % 8, at, out.counted)
    assert bench.exchange(frame).counted == {TAKEN[base]: 1}
