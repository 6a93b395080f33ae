# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The ToR: where frames go, whose frames do not, and that programs behind it see them all.

          tor
     ______|______________
    |     |     |    |    |
   [r0]  [r1]  [r2] [c0] [t0: spoof]
"""
import json
import socket
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from conftest import MODES
from paxos import Paxos, PrepareMessage, Request
from racks import Rack
from subject import Member, Replica

PORT = 12345


class Tor:
    """A rack that is up, a packet socket in each node, and the ToR's counters."""

    def __init__(self, directory, xdp):
        self.rack = Rack(directory, clients=1, testers=1, nodes=[{"name": "t0", "spoof": True}])
        self.rack.up("--xdp", xdp)
        self.xdp = xdp
        self.nodes = {n: v[:2] for n, v in self.rack.nodes().items() if n != "tor"}
        self.ports = {n: self.rack.port(n) for n in self.nodes}

    def ip(self, node):
        return self.nodes[node][0]

    def mac(self, node):
        return self.nodes[node][1]

    def frame(self, source, to, **ether):
        return Ether(**{"src": self.mac(source), "dst": self.mac(to), **ether})

    def ip_frame(self, source, to, data="x", **ip):
        """To which no stack has an answer."""
        return self.frame(source, to) / IP(**{"src": self.ip(source), "dst": self.ip(to), **ip}) / \
            ICMP(type="echo-reply") / Raw(data)

    def counts(self, node):
        path = self.rack.path("bpf/tor/tor_counts")
        dump = json.loads(subprocess.check_output(["bpftool", "-j", "map", "dump", "pinned", path]))
        key = list(self.nodes).index(node)
        values = next(e["formatted"] for e in dump if e["formatted"]["key"] == key)["values"]
        return [sum(column) for column in zip(*(v["value"]["by_reason"] for v in values))]

    def counted(self, node, act):
        """{reason: how often} that an act adds at the node's port."""
        before = self.counts(node)
        act()
        return {name: after - was for name, was, after in zip(REASONS, before, self.counts(node))
                if after != was}

    def dropped(self, source, frame, reason):
        """The frame goes nowhere and is counted; one that is sent after it arrives alone."""
        mark = self.ip_frame(source, "c0" if source != "c0" else "r0", "after")
        to = self.ports["c0" if source != "c0" else "r0"]
        counted = self.counted(source, lambda: (self.ports[source].send(frame, mark),
                                                to.expect(mark)))
        forwarded = "bridge" if to is self.ports["r0"] and self.xdp == "generic" else "redirect"
        assert counted == {reason: 1, forwarded: 1}
        for port in self.ports.values():
            port.expect_none()


REASONS = ["redirect", "bridge", "flood", "hairpin", "no-port", "short", "vlan-depth",
           "spoof-mac", "spoof-ip", "spoof-ip6", "spoof-arp", "fault", "held", "xdp", "afxdp", "miss",
           "no-flow", "moved", "no-socket", "no-xdp", "clone", "uplink"]


@pytest.fixture(scope="module", params=MODES)
def tor(request, tmp_path_factory):
    tor = Tor(tmp_path_factory.mktemp("tor"), request.param)
    with tor.rack:
        yield tor


@pytest.fixture(autouse=True)
def quiet(tor):
    for port in tor.ports.values():
        port.received()


# --- forwarding


@pytest.mark.parametrize("to", ["r1", "c0", "t0"])
def test_a_frame_goes_to_its_port_only(tor, to):
    frame = tor.ip_frame("r0", to)
    path = "bridge" if tor.xdp == "generic" and to == "r1" else "redirect"
    assert tor.counted("r0", lambda: (tor.ports["r0"].send(frame),
                                      tor.ports[to].expect(frame))) == {path: 1}
    for port in tor.ports.values():
        port.expect_none()


def arp(tor, source, to="ff:ff:ff:ff:ff:ff", op="who-has", **fields):
    return tor.frame(source, source, dst=to) / ARP(**{
        "op": op, "hwsrc": tor.mac(source), "psrc": tor.ip(source), "pdst": tor.ip("t0"), **fields})


@pytest.mark.parametrize("name", ["arp", "probe", "broadcast", "multicast", "nobody"])
def test_group_and_unknown_addresses_reach_all_others(tor, name):
    frame = {"arp": lambda: arp(tor, "c0", pdst="198.19.255.1"),
             "probe": lambda: arp(tor, "c0", psrc="0.0.0.0", pdst="198.19.255.1"),
             "broadcast": lambda: tor.frame("c0", "c0", dst="ff:ff:ff:ff:ff:ff") / Raw(b"x" * 50),
             "multicast": lambda: tor.frame("c0", "c0", dst="01:00:5e:00:00:09") / Raw(b"x" * 50),
             "nobody": lambda: tor.frame("c0", "c0", dst="02:00:00:00:00:07") / Raw(b"x" * 50),
             }[name]()
    assert tor.counted("c0", lambda: tor.ports["c0"].send(frame)) == {"flood": 1}
    for node in ("r0", "r1", "r2", "t0"):
        tor.ports[node].expect(frame)
    tor.ports["c0"].expect_none()


def test_an_arp_answer_goes_straight_back(tor):
    answer = arp(tor, "t0", to=tor.mac("c0"), op="is-at", pdst=tor.ip("c0"))
    tor.ports["t0"].send(answer)
    tor.ports["c0"].expect(answer)
    tor.ports["r0"].expect_none()


@pytest.mark.parametrize("tags", [1, 2])
def test_vlan_tags_stay_on_the_frame(tor, tags):
    frame = tor.frame("r0", "r1")
    for vlan in range(tags):
        frame /= Dot1Q(vlan=5 + vlan)
    frame /= tor.ip_frame("r0", "r1").payload
    tor.ports["r0"].send(frame)
    tor.ports["r1"].expect(frame)


# --- antispoof: each refused frame has its accepted one in the tests above


SPOOFED = {
    "mac": (lambda t: t.ip_frame("r0", "r1").__class__(src=t.mac("r2"), dst=t.mac("r1")) /
            t.ip_frame("r0", "r1").payload, "spoof-mac"),
    "ip": (lambda t: t.ip_frame("r0", "r1", src=t.ip("r2")), "spoof-ip"),
    "ip-broadcast": (lambda t: t.frame("r0", "r1", dst="ff:ff:ff:ff:ff:ff") /
                     t.ip_frame("r0", "r1", src=t.ip("r2")).payload, "spoof-ip"),
    "tagged-ip": (lambda t: t.frame("r0", "r1") / Dot1Q(vlan=5) /
                  t.ip_frame("r0", "r1", src=t.ip("r2")).payload, "spoof-ip"),
    "twice-tagged-ip": (lambda t: t.frame("r0", "r1") / Dot1Q(vlan=5) / Dot1Q(vlan=6) /
                        t.ip_frame("r0", "r1", src=t.ip("r2")).payload, "spoof-ip"),
    "ip6": (lambda t: t.frame("r0", "r1") / IPv6(src="fe80::1", dst="fe80::2") / UDP(),
            "spoof-ip6"),
    "arp-ip": (lambda t: arp(t, "r0", psrc=t.ip("r1")), "spoof-arp"),
    "arp-mac": (lambda t: arp(t, "r0", hwsrc=t.mac("r1")), "spoof-arp"),
    "arp-probe-mac": (lambda t: arp(t, "r0", psrc="0.0.0.0", hwsrc=t.mac("r1")), "spoof-arp"),
    "four-tags": (lambda t: t.frame("r0", "r1") / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() /
                  t.ip_frame("r0", "r1").payload, "vlan-depth"),
    "short-ip": (lambda t: Raw(bytes(t.ip_frame("r0", "r1"))[:14 + 19]), "short"),
    "short-arp": (lambda t: Raw(bytes(arp(t, "r0"))[:14 + 27]), "short"),
    "hairpin": (lambda t: t.ip_frame("r0", "r0"), "hairpin"),
}


@pytest.mark.parametrize("name", SPOOFED)
def test_a_spoofed_frame_does_not_leave_its_port(tor, name):
    make, reason = SPOOFED[name]
    tor.dropped("r0", make(tor), reason)


@pytest.mark.parametrize("name", ["mac", "ip", "ip6", "arp-ip"])
def test_a_port_marked_spoof_may(tor, name):
    frame = Ether(bytes(SPOOFED[name][0](tor)))
    frame.dst = tor.mac("r1")
    tor.ports["t0"].send(frame)
    tor.ports["r1"].expect(frame)


def test_a_spoofed_broadcast_does_not_move_its_owner(tor):
    """A bridge learns from what it floods; the owner's entry must not follow."""
    tor.ports["t0"].send(Ether(src=tor.mac("r1"), dst="ff:ff:ff:ff:ff:ff") / Raw(b"x" * 50))
    for node in ("r0", "r1", "r2", "c0"):
        tor.ports[node].wait()
    frame = tor.ip_frame("c0", "r1")
    tor.ports["c0"].send(frame)
    tor.ports["r1"].expect(frame)
    tor.ports["t0"].expect_none()


# --- programs behind the ToR


@pytest.fixture
def replicas(tor):
    """The replica's programs in r0 (leader, TC), r1 and r2 (XDP), in the rack's mode."""
    members = [Member(tor.mac(n), tor.ip(n), PORT) for n in ("r0", "r1", "r2")]
    replicas, links = [Replica() for _ in members], []
    for i, replica in enumerate(replicas):
        replica.start(members, i)
        with tor.rack.namespace("r%d" % i):
            index = socket.if_nametoindex("eth0")
            links.append(replica.xdp.attach_xdp(index, tor.xdp))
            if i == 0:
                replica.tc.attach_tc_egress(index)
    yield replicas
    for link in links:
        link.close()
    tor.rack.exec("r0", "tc", "qdisc", "del", "dev", "eth0", "clsact")
    for replica in replicas:
        replica.close()


def test_every_path_runs_the_program(tor, replicas):
    """Frames by packet socket, by the stack, flooded, tagged: XDP sees each, as it was sent."""
    follower = replicas[1]
    frames = [tor.ip_frame("c0", "r1")] * 3 + [arp(tor, "c0", pdst=tor.ip("r2"))] * 2 + \
        [tor.frame("c0", "r1") / Dot1Q(vlan=5) / tor.ip_frame("c0", "r1").payload] * 4
    tor.ports["c0"].send(*frames)
    for frame in frames:
        tor.ports["r1"].expect(frame)
    # ARP and tagged frames are no IP.
    assert follower.counted() == {"not-udp": 3, "not-ip": 6}


def test_clones_run_the_program_and_acks_come_back(tor, replicas):
    """One send by the leader: TC clones it, XDP at each follower acks it, XDP at the leader
    counts the acks. The kernel does not run generic XDP on a clone that is redirected again."""
    leader, *followers = replicas
    leader.state.sent = leader.state.gate + 1
    prepare = Paxos(broadcast=1) / PrepareMessage(view=0, opnum=1, batchstart=1,
                                                  request=[Request(op=b"a")])
    with tor.rack.namespace("r0"):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((tor.ip("r0"), PORT))
    with sender:
        sender.sendto(bytes(prepare), (tor.ip("r1"), PORT))
        sender.settimeout(10)
        ack, _ = sender.recvfrom(4096)  # the one ack that completes the quorum
        assert Paxos(ack).type == "specpaxos.vr.MyPrepareOK" or \
            Paxos(ack).type == b"specpaxos.vr.MyPrepareOK"
    for follower in followers:
        assert follower.counted().get("ack") == 1
        assert follower.last == 1
    counted = leader.counted()
    assert (counted["tc-clone"], counted["quorum"], counted["absorbed"]) == (2, 1, 1)
