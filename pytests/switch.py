# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A rack whose switch loses, changes and delays packets, for tests of its fault rules.

          tor  <---> [wire] rack-wire     while a rule makes packets wait
     ______|___________                   rack-fault-log, while there is any rule
    |     |     |      |
   [r0]  [r1]  [r2]   [c0]                a packet socket in each, no address
"""
import json
import os
import re
import time

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from paxos import Paxos, PrepareMessage, Request
from racks import Rack, bpftool, rack_command
from test_tor import REASONS

PORT = 12345
# enum wire_kind, enum tor_kind
KIND_NUMBER = {"other": 0, **{name: i + 1 for i, name in enumerate(
    "Request Prepare PrepareOK MyPrepareOK Commit Reply RequestStateTransfer StateTransfer "
    "StartViewChange DoViewChange StartView Recovery RecoveryResponse UnloggedRequest "
    "UnloggedReply fragment arp".split())}}


class Switch:
    """A rack, packet sockets in its nodes, its rules and their log."""

    def __init__(self, directory, xdp="native", **keys):
        self.rack = Rack(directory, **{"clients": 1, "xdp": xdp, **keys})
        self.rack.up()
        self.xdp = xdp
        self.nodes = {n: v[:2] for n, v in self.rack.nodes().items() if n != "tor"}
        self.ports = {n: self.rack.port(n) for n in self.nodes}
        self.seen = 0
        for node in self.nodes:  # without an address no stack answers anything
            self.rack.exec(node, "ip", "addr", "flush", "dev", "eth0")

    # --- frames

    def ether(self, source, to):
        return Ether(src=self.nodes[source][1], dst=self.nodes[to][1])

    def ip(self, source, to, **fields):
        return self.ether(source, to) / IP(**{"src": self.nodes[source][0],
                                              "dst": self.nodes[to][0], **fields})

    def udp(self, source, to, payload, udp=None, **ip):
        frame = self.ip(source, to, **ip) / UDP(**{"sport": PORT, "dport": PORT, **(udp or {})}) / \
            payload
        return Ether(bytes(frame))

    def prepare(self, source, to, op, size=1, **options):
        body = PrepareMessage(view=0, opnum=op, batchstart=op,
                              request=[Request(op=b"x" * size, clientid=1, clientreqid=op)])
        return self.udp(source, to, Paxos() / body, **options)

    def prepares(self, source, to, n, **options):
        return [self.prepare(source, to, op, **options) for op in range(1, n + 1)]

    def other(self, source, to, data="x", **ip):
        """To which no stack has an answer."""
        return Ether(bytes(self.ip(source, to, **ip) / ICMP(type="echo-reply") / Raw(data)))

    def arp(self, source):
        return Ether(src=self.nodes[source][1], dst="ff:ff:ff:ff:ff:ff") / ARP(
            op="who-has", hwsrc=self.nodes[source][1], psrc=self.nodes[source][0],
            pdst="198.19.255.1")

    # --- what arrives

    def arrivals(self, source, to, *frames):
        """Send; what arrived when a frame that was sent after, and that no rule takes, has."""
        by = next(n for n in ("c0", "r2", "r0") if n not in (source, to))
        mark = self.other(by, to, "mark")
        self.ports[source].send(*frames)
        self.ports[by].send(mark)
        out = []
        while True:
            frame = self.ports[to].wait()
            if bytes(frame) == bytes(mark):
                return out
            out.append(frame)

    def next(self, to, n):
        return [self.ports[to].wait() for _ in range(n)]

    # --- rules

    def fault(self, *words, status=0):
        done = rack_command("fault", self.rack.name, *words)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def add(self, words):
        return int(re.match(r"rule (\d+): ", self.fault("add", *words.split()))[1])

    def clear(self):
        self.fault("clear")
        self.fault("heal")

    def log(self):
        """What the rules did since the last time. When no rule is there the log is complete."""
        with open(self.rack.path("faults.jsonl")) as f:
            lines = f.read().splitlines()
        new, self.seen = lines[self.seen:], len(lines)
        return [json.loads(line) for line in new]

    def reset(self):
        self.clear()
        if os.path.exists(self.rack.path("faults.jsonl")):
            self.log()
        for port in self.ports.values():
            port.received()

    def cleared_log(self):
        self.clear()
        return self.log()

    def state(self, field):
        dump = bpftool("map", "dump", "pinned", self.rack.path("bpf/tor/tor_fault_state"))
        return dump[0]["formatted"]["value"][field]

    def counts(self, rule):
        dump = bpftool("map", "dump", "pinned", self.rack.path("bpf/tor/tor_fault_counts"))
        value = dump[rule]["formatted"]["value"]
        return value["seen"], value["taken"]

    def reasons(self, node):
        dump = bpftool("map", "dump", "pinned", self.rack.path("bpf/tor/tor_counts"))
        values = dump[list(self.nodes).index(node)]["formatted"]["values"]
        return dict(zip(REASONS, map(sum, zip(*(v["value"]["by_reason"] for v in values)))))

    def processes(self):
        return set(re.findall(r"\(([\w-]+)\)", self.rack.nodes()["tor"][2]))

    def process(self, name):
        return int(re.search(r"(\d+) \(%s\)" % name, self.rack.nodes()["tor"][2])[1])

    def index(self, node):
        return list(self.nodes).index(node)

    # --- the function that a verdict is (bpf/fault.bpf.h)

    def hashes(self, number, seed=0, rule=1, source="r1", to="r0", kind="Prepare"):
        """What decides whether a packet is taken, and what decides how."""
        where = rule << 48 | self.index(source) << 32 | self.index(to) << 16 | KIND_NUMBER[kind]
        first = splitmix64(splitmix64(seed ^ where) + number)
        return first, splitmix64(first)


MASK = (1 << 64) - 1


def splitmix64(x):
    x = (x + 0x9e3779b97f4a7c15) & MASK
    x = ((x ^ x >> 30) * 0xbf58476d1ce4e5b9) & MASK
    x = ((x ^ x >> 27) * 0x94d049bb133111eb) & MASK
    return x ^ x >> 31


def ops(frames):
    return [Ether(bytes(f))[Paxos].op for f in frames]


def numbers(log, **fields):
    return [e["number"] for e in log if all(e[k] == v for k, v in fields.items())]


def timed(switch, source, frames):
    """Send one by one; when each was about to be sent."""
    times = []
    for frame in frames:
        times.append(time.monotonic_ns())
        switch.ports[source].send(frame)
    return times


def arrive_after(switch, to, frames, earliest):
    """All of them come, none of them before its time; in which order."""
    got = {}
    for _ in frames:
        frame, = switch.next(to, 1)
        now = time.monotonic_ns()
        got[bytes(frame)] = now
    order = [next(i for i, f in enumerate(frames) if bytes(f) == g) for g in got]
    assert sorted(order) == list(range(len(frames)))
    for i, now in zip(order, got.values()):
        assert now >= earliest[i], "packet %d came %d ns early" % (i, earliest[i] - now)
    return order
