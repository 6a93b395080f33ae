# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Nanoseconds per packet of each kernel program, by BPF_PROG_TEST_RUN, above an empty program.

The kernel repeats a run by itself but restores neither packet nor state. bench/again.bpf.c does, in
front of the program, so that each run is the first of its kind and the caches are as warm as in a
burst of packets; it stands in front of the empty program too.
"""
import ctypes
import os
import socket
import statistics
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
sys.path.insert(0, os.path.join(ROOT, "pytests"))
import bpf  # noqa: E402
import net  # noqa: E402
from paxos import *  # noqa: E402,F403
from subject import Member, Replica  # noqa: E402

ROUNDS = 40
REPEAT = {"xdp": 1000, "tc": 100}  # more clones than that in one go find their queue full
SKB_INGRESS, SKB_IFINDEX, SKB_WORDS = 9, 10, 48  # words of struct __sk_buff, and how many there are
TOR_IFINDEX = 32  # of the switch's port 0 (bpf/tor.h)
TC_ACT_REDIRECT = 7
MEMBERS = [Member("02:00:00:00:00:%02x" % (i + 1), "10.0.0.%d" % (i + 1), PORT) for i in range(5)]


def headers(i, to, **ip):
    a, b = MEMBERS[i], MEMBERS[to]
    return (Ether(src=a.mac, dst=b.mac) / IP(src=a.ip, dst=b.ip, id=1, flags="DF", **ip) /
            UDP(sport=PORT, dport=PORT))


def prepare(size, source=0, broadcast=0):
    """A Prepare of op 1 whose datagram has so many bytes."""
    body = b""
    for length in range(size):
        message = PrepareMessage(view=0, opnum=1, batchstart=1,
                                 request=[Request(op=b"x" * length, clientid=7, clientreqid=1)])
        body = Paxos(type=message.type_name, view=0, op=1, third=1, broadcast=broadcast) / message
        if len(body) >= size:
            break
    return headers(source, 1) / body


def ack(i):
    return headers(i, 0) / Paxos() / MyPrepareOK(view=0, opnum=1, replica_idx=i)


class Figures:
    """The programs, loaded; a device that takes clones."""

    def __init__(self):
        self.replica = Replica()
        self.state = self.replica.object.map("elec_state")
        self.again = bpf.Object(os.path.join(BUILD, "bench", "again.bpf.o"), reuse={"elec_state": self.state.fd})
        self.scenario = self.again.map("again").view("again")
        self.namespace = net.Namespace("bench")
        with self.namespace:
            net.run("ip link add sink type veth peer name drain")
            net.run("ip link set sink up")
            net.run("ip link set drain up")
            self.sink = socket.if_nametoindex("sink")

        self.switch = bpf.Object(os.path.join(BUILD, "tor.bpf.o"), {"nodes": 3}, dict.fromkeys(
            ("tor_ports", "tor_counts", "tor_cut", "tor_devices", "tor_sockets"), 3))
        ports = self.switch.map("tor_ports")
        for one in MEMBERS[:2]:  # struct tor_port; its index stands at the end of the MAC
            mac = bytes.fromhex(one.mac.replace(":", ""))
            ports.update(mac[5], (mac + bytes(2) + socket.inet_aton(one.ip)).ljust(ports.value_size, b"\0"))

    def close(self):
        self.switch.close()
        self.again.close()
        self.replica.close()
        self.namespace.close()

    def run(self, fd, kind, frame):
        """ns of a run, and its verdict"""
        words = {SKB_IFINDEX: self.sink, SKB_INGRESS: TOR_IFINDEX + 1}
        ctx = struct.pack("=%dI" % SKB_WORDS, *(words.get(i, 0) for i in range(SKB_WORDS)))
        out = ctypes.create_string_buffer(4096)
        self.again.map("target_" + kind).update(0, struct.pack("=I", fd))
        opts = bpf.sized(bpf.TestRun, repeat=REPEAT[kind], data_in=ctypes.cast(frame, ctypes.c_void_p),
                         data_size_in=len(frame), data_out=ctypes.cast(out, ctypes.c_void_p),
                         data_size_out=len(out))
        if kind == "tc":
            opts.ctx_in, opts.ctx_size_in = ctypes.cast(ctx, ctypes.c_void_p), len(ctx)
        bpf.check(bpf.lib.bpf_prog_test_run_opts(self.again.program("again_" + kind).fd, ctypes.byref(opts)),
                  "test run")
        return opts.duration, opts.retval

    def above_empty(self, program, frame, verdict=None):
        """ns of a run above those of the empty program: medians of runs in turn."""
        frame, kind = bytes(frame), program.type
        self.scenario.len, self.scenario.frame = len(frame), frame
        ours, floor = [], []
        with self.namespace:
            for _ in range(ROUNDS):
                floor.append(self.run(self.again.program("empty_" + kind).fd, kind, frame)[0])
                ours.append(self.run(program.fd, kind, frame)[0])
            if verdict is not None and self.run(program.fd, kind, frame)[1] != verdict:
                raise RuntimeError("%s did not say %d" % (program.name, verdict))
        return statistics.median(ours) - statistics.median(floor)

    def measure(self, program, frame, reason, n=3, **start):
        """The replica's, from this state. `reason`: what each run must have been counted as."""
        self.replica.start(MEMBERS[:n], **start)
        scenario, state = self.scenario, self.replica.state
        scenario.gate, scenario.committed = state.gate, state.committed
        for i in range(8):
            scenario.acked[i] = state.acked[i]
        ns = self.above_empty(program, frame)
        counted = self.replica.counted()
        if counted.pop(reason, 0) != ROUNDS * REPEAT[program.type] or set(counted) - {"tc-clone"}:
            raise RuntimeError("%s was wanted of each run, and not %s" % (reason, self.replica.counted()))
        return ns

    def all(self):
        """{what: ns}"""
        xdp, tc = self.replica.xdp, self.replica.tc
        follower, leader = {"self_index": 1}, {"self_index": 0, "sent": 1}
        clones = {n: self.measure(tc, prepare(100, source=0, broadcast=1), "tc-broadcast", n=n, **leader)
                  for n in (3, 5)}
        commit = headers(0, 1) / Paxos() / CommitMessage(view=0, opnum=1)
        return {
            "fresh": self.measure(xdp, prepare(100), "ack", **follower),
            "fresh-1400": self.measure(xdp, prepare(1400), "ack", **follower),
            "again": self.measure(xdp, prepare(100), "ack-again", last=1, **follower),
            "absorbed": self.measure(xdp, ack(1), "absorbed", n=5, **leader),
            "quorum": self.measure(xdp, ack(1), "quorum", **leader),
            "passed": self.measure(xdp, commit, "other-kind", **follower),
            "clone": (clones[5] - clones[3]) / 2,
            "switch": self.above_empty(self.switch.program("tor_ingress"), headers(0, 1) / bytes(58),
                                       TC_ACT_REDIRECT),
        }


WORDS = {
    "fresh": "a Prepare of 100 bytes: tested, stored, acked",
    "fresh-1400": "a Prepare of 1400 bytes",
    "again": "a Prepare that is acked again",
    "absorbed": "an ack, absorbed (5 replicas)",
    "quorum": "an ack that completes a quorum, passed",
    "passed": "another kind, passed",
    "clone": "a clone of a broadcast",
    "switch": "the switch: a frame judged and redirected",
}


def figures():
    """{name: ns above an empty program}; WORDS says what each is."""
    one = Figures()
    try:
        return one.all()
    finally:
        one.close()


if __name__ == "__main__":
    for name, ns in figures().items():
        print("%-46s %6.0f ns" % (WORDS[name], ns))
