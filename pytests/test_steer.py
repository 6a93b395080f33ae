# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Paths through the switch and its table of flows: where frames go, that they arrive as they were
sent, that every path judges them alike, and what happens when a path fails.

          tor
     ______|____________________
    |     |     |     |    |    |
   [r0]  [r1]  [r2]  [c0] [t0] [t1]      a packet socket in each, no address
                          spoof
"""
import os
import re
import signal
import socket
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

import bpf
from bench import one_cpu
from conftest import until
from steering import PATHS, STEER_OBJECT, Steered, flow_key

from test_tor import SPOOFED

REASON = {"tc": "redirect", "xdp": "xdp", "bridge": "bridge", "afxdp": "afxdp"}


@pytest.fixture(scope="module", params=["native", "generic"])
def live(request, tmp_path_factory):
    with one_cpu():
        live = Steered(tmp_path_factory.mktemp("steer"), request.param)
    with live.rack:
        yield live


@pytest.fixture
def steered(live):
    with one_cpu():
        yield live
        live.reset()


# --- paths


@pytest.mark.parametrize("path", PATHS)
def test_a_port_takes_the_path_it_was_given(steered, path):
    steered.steer("path", "c0", path)
    frame = steered.datagram("c0", "t1")
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {REASON[path]: 1}
    for port in steered.ports.values():
        port.expect_none()
    # others do what they did
    frame = steered.datagram("t1", "c0")
    assert steered.counted("t1", lambda: (steered.ports["t1"].send(frame),
                                          steered.ports["c0"].expect(frame))) == {"redirect": 1}


@pytest.mark.parametrize("path", PATHS)
def test_a_flow_takes_the_path_it_was_given(steered, path):
    frame, other = steered.datagram("c0", "t1", 5), steered.datagram("c0", "t1", 6)
    steered.steer("path", "udp:c0:5:t1:9", path)
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {REASON[path]: 1}
    # its twin, which the table does not have
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(other),
                                          steered.ports["t1"].expect(other))) == {"miss": 1}


@pytest.mark.parametrize("path", ["tc", "xdp", "afxdp"])
def test_a_rule_names_the_port(steered, path):
    """The frame goes there as it is, whatever its MAC says."""
    frame = steered.datagram("c0", "t1", 5)
    steered.steer("add", "udp:c0:5:t1:9", "t0", path)
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t0"].expect(frame))) == {REASON[path]: 1}
    steered.ports["t1"].expect_none()
    steered.steer("rm", "udp:c0:5:t1:9")
    steered.ports["c0"].send(frame)
    steered.ports["t1"].expect(frame)


@pytest.mark.parametrize("path", ["tc", "xdp", "afxdp"])
def test_a_group_shares_flows(steered, path):
    """Each flow goes to one of the ports, always the same; all of them get some."""
    frames = [steered.datagram("c0", "t1", port) for port in range(1000, 1064)]
    with steered.rules("udp:c0:%d:t1:9 t0,t1 %s" % (port, path) for port in range(1000, 1064)):
        seen = []
        for _ in range(2):
            steered.ports["c0"].send(*frames)
            got = steered.gather(len(frames), "t0", "t1")
            seen.append({n: {Ether(bytes(f))[UDP].sport for f in got[n]} for n in got})
    assert seen[0] == seen[1]
    assert seen[0]["t0"] | seen[0]["t1"] == set(range(1000, 1064))
    assert not seen[0]["t0"] & seen[0]["t1"]
    assert min(len(seen[0]["t0"]), len(seen[0]["t1"])) > 12


def test_a_rule_names_the_port_across_tors(tmp_path):
    """t0 is behind the sender's ToR, t1 behind the other: the MAC is of one, the rule's port the
    other."""
    live = Steered(tmp_path, tors=[{"nodes": ["r0", "c0", "t0"]}, {}])

    def goes(frame, to, reason):
        assert live.counted("c0", lambda: (live.ports["c0"].send(frame),
                                           live.ports[to].expect(frame))) == {reason: 1}
        live.ports[{"t0": "t1", "t1": "t0"}[to]].expect_none()
    with live.rack, one_cpu():
        far, near, other = (live.datagram("c0", to, port)
                            for to, port in (("t1", 5), ("t0", 5), ("t1", 6)))
        for path in ("tc", "xdp", "afxdp"):
            live.steer("add", "udp:c0:5:t1:9", "t0", path)
            goes(far, "t0", REASON[path])
            live.steer("add", "udp:c0:5:t0:9", "t1", path)
            goes(near, "t1", "uplink")
        live.steer("add", "udp:c0:5:t1:9", "t0", "tc")
        with live.down("t0"):
            assert live.counted("c0", lambda: (live.ports["c0"].send(far),
                                               live.ports["t1"].expect(far))) == {"clone": 1}
        live.steer("add", "udp:c0:5:t1:9", "mac", "xdp")
        goes(far, "t1", "uplink")
        goes(other, "t1", "uplink")  # in no rule
        assert " uplink\n" in live.steer("ls")


def test_a_share_of_the_flows(steered):
    frames = [steered.datagram("c0", "t1", port) for port in range(1000, 1200)]

    def send():
        steered.ports["c0"].send(*frames)
        steered.next("t1", len(frames))
    steered.steer("path", "c0", "bridge", "--share", "25%")
    first = steered.counted("c0", send)
    assert 20 < first["bridge"] < 80 and first["bridge"] + first["redirect"] == 200
    assert steered.counted("c0", send) == first
    steered.steer("path", "c0", "bridge")
    assert steered.counted("c0", send) == {"bridge": 200}


# --- the same bytes as by the bridge


def frames_of_all_kinds(s):
    """From t0, whose frames may carry any source."""
    ether = Ether(src=s.mac("t0"), dst=s.mac("t1"))
    ip = {"src": s.ip_of("t0"), "dst": s.ip_of("t1")}
    udp = UDP(sport=7, dport=9)
    full = 1500 - 20 - 8
    group = Ether(src=s.mac("t0"), dst="ff:ff:ff:ff:ff:ff")
    return {
        "smallest": ether / IP(**ip) / UDP(sport=7, dport=9),
        "datagram": ether / IP(**ip) / udp / Raw(b"x" * 100),
        "MTU": ether / IP(**ip) / udp / Raw(b"m" * full),
        "MTU, tagged": ether / Dot1Q(vlan=5) / IP(**ip) / udp / Raw(b"v" * full),
        "one below the MTU": ether / IP(**ip) / udp / Raw(b"m" * (full - 1)),
        "TTL 0": ether / IP(ttl=0, **ip) / udp / Raw(b"0"),
        "TTL 1": ether / IP(ttl=1, **ip) / udp / Raw(b"1"),
        "TTL 255": ether / IP(ttl=255, **ip) / udp / Raw(b"255"),
        "no checksum": ether / IP(**ip) / UDP(sport=7, dport=9, chksum=0) / Raw(b"none"),
        "wrong UDP checksum": ether / IP(**ip) / UDP(sport=7, dport=9, chksum=0x1234) / Raw(b"bad"),
        "wrong IP checksum": ether / IP(chksum=0x1234, **ip) / udp / Raw(b"bad IP"),
        "partial checksum": ether / IP(**ip) / UDP(sport=7, dport=9, chksum=s.pseudo("t0", "t1", 12)) /
                            Raw(b"part"),
        "IP options": ether / IP(options=[IPOption_NOP()] * 4, **ip) / udp / Raw(b"options"),
        "all IP options": ether / IP(options=[IPOption_Timestamp(length=40, pointer=9)], **ip) / udp,
        "first fragment": ether / IP(flags="MF", id=77, **ip) / udp / Raw(b"f" * 64),
        "last fragment": ether / IP(frag=9, id=77, proto=17, **ip) / Raw(b"l" * 64),
        "a tag": ether / Dot1Q(vlan=5) / IP(**ip) / udp / Raw(b"tag"),
        "two tags": ether / Dot1Q(vlan=5) / Dot1Q(vlan=6) / IP(**ip) / udp / Raw(b"tags"),
        "IPv6": ether / IPv6(src="fe80::1", dst="fe80::2") / udp / Raw(b"six"),
        "TCP": ether / IP(**ip) / TCP(sport=7, dport=9, flags="A") / Raw(b"tcp"),
        "ICMP": ether / IP(**ip) / ICMP(type="echo-reply") / Raw(b"icmp"),
        "broadcast": group / IP(src=s.ip_of("t0"), dst="255.255.255.255") / udp / Raw(b"all"),
        "multicast": Ether(src=s.mac("t0"), dst="01:00:5e:00:00:09") / Raw(b"g" * 50),
        "nobody": Ether(src=s.mac("t0"), dst="02:00:00:00:00:07") / Raw(b"n" * 50),
        "ARP question": group / ARP(op="who-has", hwsrc=s.mac("t0"), psrc=s.ip_of("t0"),
                                    pdst="198.19.255.1"),
        "ARP answer": ether / ARP(op="is-at", hwsrc=s.mac("t0"), psrc=s.ip_of("t0"),
                                  hwdst=s.mac("t1"), pdst=s.ip_of("t1")),
        "no IP": ether / Raw(b"\x88\xb5" + b"n" * 50),
        "an IP header that is too short": Ether(bytes(ether / IP(ihl=4, **ip) / udp)),
        "IP in a frame that ends early": Ether(bytes(ether / IP(**ip) / udp)[:14 + 22]),
    }


@pytest.mark.parametrize("path", ["tc", "xdp", "afxdp"])
@pytest.mark.parametrize("whose", ["port", "flow"])
def test_same_bytes_as_by_the_bridge(steered, path, whose):
    frames = frames_of_all_kinds(steered)
    steered.steer("path", "t0", "bridge")
    wanted = {name: steered.everywhere("t0", frame) for name, frame in frames.items()}
    steered.steer("path", "t0", "tc")
    if whose == "port":
        steered.steer("path", "t0", path)
    else:
        steered.steer("add", "udp:t0:7:t1:9", "t1", path)
        steered.steer("add", "tcp:t0:7:t1:9", "mac", path)
    got = {name: steered.everywhere("t0", frame, wanted[name]) for name, frame in frames.items()}
    assert got == wanted
    assert wanted["datagram"]["t1"] == [bytes(frames["datagram"])]  # the comparison compares something
    assert all(wanted["broadcast"][n] for n in ("r0", "c0", "t1"))


# --- one verdict


# tc is test_tor's, test_partition's and test_faults' own.
OTHER_PATHS = ["xdp", "bridge", "afxdp"]


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_antispoof_holds(steered, path):
    steered.steer("path", "r0", path)
    for name in ("mac", "ip", "tagged-ip", "ip6", "arp-ip", "short-ip", "hairpin"):
        make, reason = SPOOFED[name]
        frame = make(steered.as_tor())
        counted = steered.counted("r0", lambda: steered.everywhere("r0", frame))
        assert counted == {reason: 1, **steered.marks("r0", path)}, name
        assert not any(steered.collected.values()), name


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_a_partition_holds(steered, path):
    steered.steer("path", "c0", path)
    steered.fault("partition", *"c0 / t1".split())
    frame, other = steered.datagram("c0", "t1"), steered.datagram("c0", "t0")
    assert steered.counted("c0", lambda: (
        steered.ports["c0"].send(frame, other),
        steered.ports["t0"].expect(other))) == {"fault": 1, REASON[path]: 1}
    assert steered.counts(0)[1] == 1
    steered.fault("heal")
    frame = steered.datagram("c0", "t1", 8)
    steered.ports["c0"].send(frame)
    steered.ports["t1"].expect(frame)


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_faults_hold(steered, path):
    """The same packets as on the path tc: the verdict is a hash of number, link and kind."""
    frames = [steered.datagram("c0", "t1", data=b"%d" % i) for i in range(20)]

    def run(action):
        steered.add("--from c0 --to t1 --every 3 %s" % action)
        steered.ports["c0"].send(*frames)
        more = {"drop": -6, "duplicate": 6}.get(action, 0)
        got = [bytes(f) for f in steered.next("t1", len(frames) + more)]
        log = [(e["action"], e["number"]) for e in steered.cleared_log()]
        steered.ports["t1"].expect_none()
        return got if action.startswith("reorder") else sorted(got), log
    actions = ["drop", "duplicate", "corrupt", "delay 5ms", "reorder 1"]
    wanted = {action: run(action) for action in actions}
    assert wanted["drop"][1] == [("drop", n) for n in (3, 6, 9, 12, 15, 18)]
    steered.steer("path", "c0", path)
    for action in actions:
        assert run(action) == wanted[action], action


# --- falling back


def test_what_has_no_five_tuple_misses(steered):
    steered.steer("add", "udp:c0:5:t1:9", "mac", "xdp")
    frame = steered.other("c0", "t1")
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {"no-flow": 1}


@pytest.mark.parametrize("path", ["tc", "afxdp"])
def test_what_failed_every_time_takes_the_stack(steered, path):
    """The rule's port is down, that of the frames' MAC is not: none is lost."""
    frames = [steered.datagram("c0", "t1", 5, b"%d" % i) for i in range(50)]
    steered.steer("add", "udp:c0:5:t1:9", "t0", path)
    before = steered.state_of()
    with steered.down("t0"):
        counted = steered.counted("c0", lambda: (steered.ports["c0"].send(*frames),
                                                 steered.ports["t1"].expect(*frames)))
    after = steered.state_of()
    if path == "tc":
        assert counted == {"clone": 50}
        assert 50 <= after["clone_retries"] - before["clone_retries"] <= 150
    else:
        assert counted == {"afxdp": 50}
        until(lambda: steered.state_of()["afxdp"]["to_stack"] -
                   before["afxdp"]["to_stack"] == 50, "the counter")
        after = steered.state_of()["afxdp"]
        assert after["lost"] == before["afxdp"]["lost"]
        assert 50 <= after["retries"] - before["afxdp"]["retries"] <= 150
    frame = steered.datagram("c0", "t1", 5, b"up again")
    steered.ports["c0"].send(frame)
    steered.ports["t0"].expect(frame)


def test_a_native_redirect_that_failed_moves_its_flow(steered):
    steered.steer("path", "c0", "xdp")
    frames = [steered.datagram("c0", "t1", 5, b"%d" % i) for i in range(10)]
    other = steered.datagram("c0", "t0", 6)
    errs = steered.state_of()["redirect_errs"]
    lost = int(steered.xdp == "native")  # a generic redirect does not need the peer to poll
    steered.rack.exec("t1", "ethtool", "-K", "eth0", "gro", "off")
    try:
        counted = steered.counted("c0", lambda: (steered.ports["c0"].send(*frames),
                                                 steered.ports["t1"].expect(*frames[lost:])))
        assert counted == ({"xdp": 1, "moved": 9} if lost else {"xdp": 10})
        assert steered.state_of()["redirect_errs"] - errs == lost
        # another flow stays where it was
        assert steered.counted("c0", lambda: (steered.ports["c0"].send(other),
                                              steered.ports["t0"].expect(other))) == {"xdp": 1}
    finally:
        steered.rack.exec("t1", "ethtool", "-K", "eth0", "gro", "on")
    # given the path again, it gets another chance
    steered.steer("path", "c0", "xdp")
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frames[0]),
                                          steered.ports["t1"].expect(frames[0]))) == {"xdp": 1}


def fail_once(steered, source, to, frame):
    """The frame, a native redirect, is lost: its flow is moved."""
    steered.rack.exec(to, "ethtool", "-K", "eth0", "gro", "off")
    try:
        assert steered.counted(source, lambda: steered.ports[source].send(frame)) == {"xdp": 1}
        until(lambda: steered.state_of()["moved"] == 1, "the flow to be moved")
    finally:
        steered.rack.exec(to, "ethtool", "-K", "eth0", "gro", "on")


@pytest.mark.parametrize("again", [["path udp:t0:5:t1:9 xdp"], ["rm all", "path t0 xdp"]])
def test_a_moved_flow_gets_its_path_again(steered, again):
    """By its rule, as by its node; and nothing says any more that it is moved."""
    frame = steered.datagram("t0", "t1", 5)
    steered.steer("path", "udp:t0:5:t1:9", "xdp")
    if steered.xdp == "native":  # a generic one does not fail
        fail_once(steered, "t0", "t1", frame)
        assert steered.counted("t0", lambda: (steered.ports["t0"].send(frame),
                                              steered.ports["t1"].expect(frame))) == {"moved": 1}
    for words in again:
        steered.steer(*words.split())
    assert steered.state_of()["moved"] == 0
    assert steered.counted("t0", lambda: (steered.ports["t0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {"xdp": 1}


def test_a_moved_flow_of_a_node_that_may_spoof(steered):
    frame = Ether(src=steered.mac("t0"), dst=steered.mac("t1")) / \
        IP(src="192.0.2.1", dst=steered.ip_of("t1")) / UDP(sport=5, dport=9) / Raw(b"x")
    steered.steer("path", "t0", "xdp")
    if steered.xdp == "native":
        fail_once(steered, "t0", "t1", frame)
    steered.steer("path", "c0", "xdp")  # not its own
    assert steered.state_of()["moved"] == int(steered.xdp == "native")
    steered.steer("path", "t0", "xdp")
    assert steered.state_of()["moved"] == 0
    assert steered.counted("t0", lambda: (steered.ports["t0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {"xdp": 1}


def test_a_frame_that_the_ports_program_did_not_see(steered):
    """Generic XDP skips what a TC program has redirected (here that of the node's device `near`): on
    6.18 it does, on 6.1 it does not (docs/kernels.md), and in between nobody has looked."""
    release = tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))
    skips = {"no-xdp"} if release >= (6, 18) else {"xdp"} if release <= (6, 1) else {"xdp", "no-xdp"}
    frame = steered.datagram("c0", "t1")
    steered.rack.exec("c0", "ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
    table = bpf.Object(STEER_OBJECT, types={"steer_egress": "tc"})
    try:
        for end in ("near", "far"):
            steered.rack.exec("c0", "ip", "link", "set", end, "up", "addrgenmode", "none")
        with steered.rack.namespace("c0"):
            table.program("steer_egress").attach_tc_egress(socket.if_nametoindex("near"))
            table.map("steer_devices").update(struct.pack("=I", 0),
                                              struct.pack("=I", socket.if_nametoindex("eth0")))
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        table.map("steer_table").update(flow_key(frame), struct.pack("=I", 0))
        sender.bind(("near", 0))
        steered.steer("path", "c0", "xdp")
        with sender:
            counted = steered.counted("c0", lambda: (sender.send(bytes(frame)),
                                                     steered.ports["t1"].expect(frame)))
        assert set(counted.values()) == {1}
        assert set(counted) <= (skips if steered.xdp == "generic" else {"xdp"})
    finally:
        steered.rack.exec("c0", "ip", "link", "del", "near")
        table.close()


def test_a_killed_process_takes_nothing_with_it(steered):
    steered.steer("path", "c0", "afxdp")
    frame = steered.datagram("c0", "t1")
    os.kill(steered.process("rack-steer"), signal.SIGKILL)
    until(lambda: "rack-steer" not in steered.processes(), "its end")
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {"no-socket": 1}
    steered.steer("path", "c0", "afxdp")
    assert steered.counted("c0", lambda: (steered.ports["c0"].send(frame),
                                          steered.ports["t1"].expect(frame))) == {"afxdp": 1}
