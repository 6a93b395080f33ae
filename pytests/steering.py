# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A rack whose switch is steered, for tests of paths and flows."""
import contextlib
import os
import re
import struct
import tempfile

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from conftest import BUILD, until
from racks import bpftool, rack_command
from switch import Switch
from test_tor import Tor

PATHS = ["tc", "xdp", "bridge", "afxdp"]
STEER_OBJECT = os.path.join(BUILD, "steer.bpf.o")  # the table alone, for the egress of any device


def flow_key(frame):
    """Of a UDP or TCP frame: its key in the table (struct steer_key)."""
    ip = frame[IP]
    return struct.pack("!4s4sHHB3x", bytes(map(int, ip.src.split("."))),
                       bytes(map(int, ip.dst.split("."))), ip.sport, ip.dport, ip.proto)


class Steered(Switch):
    def __init__(self, directory, xdp="native", **keys):
        super().__init__(directory, xdp, testers=2, nodes=[{"name": "t0", "spoof": True}], **keys)

    def mac(self, node):
        return self.nodes[node][1]

    def ip_of(self, node):
        return self.nodes[node][0]

    def as_tor(self):
        """For test_tor.SPOOFED."""
        tor = Tor.__new__(Tor)
        tor.nodes = self.nodes
        return tor

    def datagram(self, source, to, port=7, data=b"x"):
        return Ether(bytes(self.ip(source, to) / UDP(sport=port, dport=9) / Raw(data)))

    def pseudo(self, source, to, length):
        """What a checksum field holds that hardware is to complete."""
        words = bytes(IP(src=self.ip_of(source), dst=self.ip_of(to)))[12:20] + \
            struct.pack("!HH", 17, length)
        total = sum(struct.unpack("!6H", words))
        return (total & 0xffff) + (total >> 16)

    # --- the command

    def steer(self, *words, status=0):
        done = rack_command("steer", self.rack.name, *words)
        assert done.returncode == status, done.stderr + done.stdout
        return done.stdout if status == 0 else done.stderr

    @contextlib.contextmanager
    def rules(self, lines):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("\n".join(lines) + "\n")
            f.flush()
            self.steer("load", f.name)
        yield
        self.steer("rm", "all")

    def reset(self):
        super().reset()
        if "udp:" in self.steer("ls") or "tcp:" in self.steer("ls"):
            self.steer("rm", "all")
        for node, path in self.paths().items():
            if path != "tc":
                self.steer("path", node, "tc")

    def paths(self):
        """{node: path} as `rack steer ls` has it."""
        rows = (re.split("  +", line) for line in self.steer("ls").splitlines())
        return {row[0]: row[1] for row in rows if row[0] in self.nodes}

    @contextlib.contextmanager
    def down(self, node):
        self.rack.exec(node, "ip", "link", "set", "eth0", "down")
        try:
            yield
        finally:
            self.rack.exec(node, "ip", "link", "set", "eth0", "up")
            with contextlib.suppress(OSError):  # its socket tells of it once
                self.ports[node].receive()

    # --- what came of it

    def counted(self, node, act):
        """{reason: how often} that an act adds at the node's port."""
        before = self.reasons(node)
        act()
        after = self.reasons(node)
        return {name: after[name] - before[name] for name in after if after[name] != before[name]}

    def state_of(self):
        dump = bpftool("map", "dump", "pinned", self.rack.path("bpf/tor/steer_state"))
        return dump[0]["formatted"]["value"]

    def marks(self, source, path):
        """What everywhere() adds to the counts of a port."""
        reason = {"tc": "redirect"}.get(path, path)
        replicas = sum(n.startswith("r") and n != source for n in self.nodes)
        others = len(self.nodes) - 1 - replicas
        if self.xdp == "generic" and path != "bridge":
            return {"bridge": replicas, reason: others}
        return {reason: replicas + others}

    def gather(self, n, *nodes):
        """{node: frames} of the next n that come to any of them."""
        got = {node: [] for node in nodes}
        until(lambda: [got[node].extend(self.ports[node].received()) for node in nodes] and
              sum(map(len, got.values())) >= n, "%d frames" % n)
        return got

    def flush(self, source, *to):
        """What comes to each until a frame that is sent after all others; in .collected."""
        self.collected = {n: [] for n in to}
        for node in to:
            mark = self.datagram(source, node, 65000, b"mark")
            self.ports[source].send(mark)
            while True:
                frame = self.ports[node].wait()
                if bytes(frame) == bytes(mark):
                    break
                self.collected[node].append(frame)

    def everywhere(self, source, frame, wanted=None):
        """{node: what came there of one frame}. `wanted`, of the same kind: a path on which the
        marks of flush() would overtake it is given the time until as many have come."""
        self.ports[source].send(frame)
        early = {n: [self.ports[n].wait() for _ in frames]
                 for n, frames in (wanted or {}).items()}
        self.flush(source, *(n for n in self.nodes if n != source))
        return {n: [bytes(f) for f in early.get(n, []) + frames]
                for n, frames in self.collected.items()}
