# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Partitions in the ToR, and why they are there and not in the nodes."""
import pytest
from scapy.layers.l2 import Ether

from conftest import until
from paxos import Paxos
from switch import arrive_after, ops, timed


def reach(switch):
    """Who reaches whom: each frame arrives, or is counted as cut."""
    out = set()
    for source in switch.nodes:
        for to in switch.nodes:
            if source == to:
                continue
            before = switch.counts(0)[1]
            frame = switch.prepare(source, to, 1)
            switch.ports[source].send(frame)
            got = []
            until(lambda: got.extend(switch.ports[to].received()) or
                       bytes(frame) in map(bytes, got) or switch.counts(0)[1] > before,
                       "a frame or a count")
            if bytes(frame) in map(bytes, got):
                out.add((source, to))
    return out


def all_pairs(switch):
    return {(a, b) for a in switch.nodes for b in switch.nodes if a != b}


@pytest.mark.parametrize("words, cut", [
    ("r0,c0 / r1,r2", [(a, b) for a in ("r0", "c0") for b in ("r1", "r2")] +
     [(b, a) for a in ("r0", "c0") for b in ("r1", "r2")]),
    ("--one-way r1 / r0,r2", [("r1", "r0"), ("r1", "r2")]),
    ("r0 / r1 / r2", [(a, b) for a in ("r0", "r1", "r2") for b in ("r0", "r1", "r2") if a != b]),
])
def test_partition_and_heal(switch, words, cut):
    switch.fault("partition", *words.split())
    assert reach(switch) == all_pairs(switch) - set(cut)
    switch.fault("heal")
    log = switch.log()
    assert {(e["from"], e["to"]) for e in log} == set(cut)
    assert {(e["rule"], e["action"]) for e in log} == {(0, "partition")}
    assert ops(switch.arrivals("r1", "r0", switch.prepare("r1", "r0", 1))) == [1]


def test_a_partition_replaces_the_one_before(switch):
    switch.fault("partition", "r0", "/", "r1")
    switch.fault("partition", "r0", "/", "r2")
    assert reach(switch) == all_pairs(switch) - {("r0", "r2"), ("r2", "r0")}
    assert "r0 does not reach r2" in switch.fault("ls")


def test_one_to_all_obeys_each_link(switch):
    """A frame to all is one packet on each link."""
    switch.fault("partition", "c0", "/", "r1")
    drop = switch.add("--from c0 --to r2 --kind arp --nth 1 drop")
    frame = switch.arp("c0")
    switch.ports["c0"].send(frame, frame)
    assert [bytes(f) for f in switch.next("r0", 2)] == [bytes(frame)] * 2
    assert [bytes(f) for f in switch.next("r2", 1)] == [bytes(frame)]
    assert switch.counts(drop) == (2, 1) and switch.counts(0) == (2, 2)
    switch.ports["r1"].expect_none()
    switch.ports["r2"].expect_none()


@pytest.mark.needs("af_xdp")
def test_one_to_all_waits_on_one_link_only(switch):
    switch.add("--from c0 --to r2 --kind arp delay 50ms")
    switch.add("--from c0 --to r0 --kind arp duplicate")
    frame = switch.arp("c0")
    times = timed(switch, "c0", [frame])
    assert [bytes(f) for f in switch.next("r1", 1)] == [bytes(frame)]
    assert [bytes(f) for f in switch.next("r0", 2)] == [bytes(frame)] * 2
    arrive_after(switch, "r2", [frame], [times[0] + 50 * 10 ** 6])
    assert switch.state("early") == 0


def test_iptables_in_a_follower_does_not_partition_it(switch, follower):
    """The follower's acks are made below every chain of its firewall: cut off by iptables it goes
    on acking. Cut off in the ToR it does not."""
    for chain in ("INPUT", "OUTPUT"):
        switch.rack.exec("r1", "iptables", "-A", chain, "-j", "DROP")
    try:
        switch.ports["r0"].send(switch.prepare("r0", "r1", 1))
        ack, = switch.next("r0", 1)
        assert Ether(bytes(ack))[Paxos].type.decode() == "specpaxos.vr.MyPrepareOK"
        assert follower.last == 1 and follower.counted() == {"ack": 1}

        switch.fault("partition", "r1", "/", "r0,r2,c0")
        switch.ports["r0"].send(switch.prepare("r0", "r1", 2))
        until(lambda: switch.counts(0) == (1, 1), "the ToR to cut it")
        assert follower.last == 1 and follower.counted() == {"ack": 1}
        switch.ports["r0"].expect_none()

        switch.fault("heal")
        switch.ports["r0"].send(switch.prepare("r0", "r1", 2))
        ack, = switch.next("r0", 1)
        assert Ether(bytes(ack))[Paxos].op == 2 and follower.last == 2
    finally:
        switch.rack.exec("r1", "iptables", "-F")
