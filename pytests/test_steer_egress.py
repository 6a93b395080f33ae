# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The steering table on the egress of a device of one's own, by plain tc.

    [here] x0 ------ x1 [x]      the way of everything
           y0 ------ y1 [y]      the way of the flow in the table
"""
import json
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from bench import one_cpu
from net import Port, link, namespaces, run
from racks import bpftool
from steering import STEER_OBJECT, flow_key

SENT, MISS, NO_FLOW, NO_DEVICE, FAILED = range(5)
STEER_BY_MAC, STEER_GROUP = 0xffff, 1 << 31


class Egress:
    def __init__(self, tc_words):
        self.spaces = here, x, y = namespaces(3)
        (self.x0, self.x1), (self.y0, self.y1) = link(here, x), link(here, y)
        self.here = here
        with here:
            run("tc qdisc add dev %s clsact" % self.x0.device)
            # in a mount namespace of its own: tc mounts a bpf file system where there is none
            run("unshare --mount tc filter add dev %s egress bpf %s obj %s section egress" % (
                self.x0.device, tc_words, STEER_OBJECT))
            shown = json.loads(run("tc -j filter show dev %s egress" % self.x0.device))
        program = next(f["options"]["prog"]["id"] for f in shown if "options" in f)
        self.maps = {bpftool("map", "show", "id", i)["name"]: i
                     for i in bpftool("prog", "show", "id", program)["map_ids"]}
        self.port, self.x, self.y = Port(self.x0), Port(self.x1), Port(self.y1)

    def close(self):
        for one in (self.port, self.x, self.y, *self.spaces):
            one.close()

    def update(self, name, key, value):
        words = [["hex", *("%02x" % b for b in blob)] for blob in (key, value)]
        run(" ".join(["bpftool map update id", str(self.maps[name]), "key", *words[0], "value",
                      *words[1]]))

    def rule(self, frame, value):
        self.update("steer_table", flow_key(frame), struct.pack("=I", value))

    def device(self, port, index):
        self.update("steer_devices", struct.pack("=I", port), struct.pack("=I", index))

    def counts(self):
        dump = bpftool("map", "dump", "id", self.maps["steer_counts"])
        return [sum(v["value"] for v in e["formatted"]["values"]) for e in dump]

    def frame(self, port=5, data=b"x"):
        return Ether(bytes(Ether(src=self.x0.mac, dst=self.x1.mac) /
                           IP(src="10.1.0.1", dst="10.1.0.2") / UDP(sport=port, dport=9) / Raw(data)))


@pytest.fixture
def egress():
    with one_cpu():
        one = Egress("da")
        yield one
        one.close()


def test_a_flow_of_the_table_leaves_by_its_port(egress):
    frame, other = egress.frame(5), egress.frame(6)
    egress.rule(frame, 3)
    egress.device(3, egress.y0.index)
    egress.port.send(frame, other)
    egress.y.expect(frame)
    egress.x.expect(other)
    egress.x.expect_none()
    egress.y.expect_none()
    assert egress.counts() == [1, 1, 0, 0, 0]


def test_a_group_shares_flows(egress):
    frames = [egress.frame(port) for port in range(100, 132)]
    for port, end in enumerate((egress.x0, egress.y0)):
        egress.device(port, end.index)
    egress.update("steer_groups", struct.pack("=I", 2), struct.pack("=I32H", 2, 1, 1, *[0] * 30))
    for frame in frames:
        egress.rule(frame, STEER_GROUP | 2)
    egress.port.send(*frames)
    egress.y.expect(*frames)
    assert egress.counts() == [32, 0, 0, 0, 0]


def test_what_no_table_can_name_stays(egress):
    ether = Ether(src=egress.x0.mac, dst=egress.x1.mac)
    ip = IP(src="10.1.0.1", dst="10.1.0.2")
    frame = egress.frame(5)
    egress.rule(frame, 3)
    egress.device(3, egress.y0.index)
    odd = [ether / ARP(pdst="10.1.0.9"), ether / Dot1Q(vlan=5) / frame[IP],
           ether / ip.copy() / UDP(sport=5, dport=9)[UDP] / Raw(b"f" * 8)]
    odd[2][IP].flags = "MF"
    odd = [Ether(bytes(f)) for f in odd]
    egress.port.send(*odd)
    egress.x.expect(*odd)
    assert egress.counts() == [0, 0, 3, 0, 0]


def test_what_cannot_be_sent_stays(egress):
    """No device, then one that is down."""
    frame = egress.frame(5)
    egress.rule(frame, 3)
    egress.port.send(frame)
    egress.x.expect(frame)
    egress.device(3, egress.y0.index)
    with egress.here:
        run("ip link set %s down" % egress.y0.device)
    egress.port.send(frame)
    egress.x.expect(frame)
    egress.rule(frame, STEER_BY_MAC)
    egress.port.send(frame)
    egress.x.expect(frame)
    assert egress.counts() == [0, 0, 0, 2, 1]


def test_without_da_it_loads_and_lets_pass():
    """tc then does not heed verdicts: with an empty table nothing changes."""
    with one_cpu():
        egress = Egress("")
        try:
            frame = egress.frame(5)
            egress.port.send(frame)
            egress.x.expect(frame)
            egress.x.expect_none()
            assert egress.counts() == [0, 1, 0, 0, 0]
        finally:
            egress.close()
