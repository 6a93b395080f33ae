# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The replica's kernel programs, loaded and set up as a test wants them.

The state is written through the same shared memory that the replica process uses; its layout
comes from the object's BTF. The words (gate, acked, ...) are built here from their description:

    gate   63 frozen | 62 busy | 61..32 epoch | 31..0 last op
    words  61..32 epoch | 31..0 op
"""
import collections
import os
import socket
import struct

import bpf

OBJECT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                      "build", "replica.bpf.o")

FROZEN = 1 << 63
BUSY = 1 << 62
EPOCH_MASK = (1 << 30) - 1
OFFLOADS = {"broadcast": 1, "ack": 2, "quorum": 4}
NORMAL = 1  # enum elec_status

SLOTS = 64  # of the kernel log in tests: small, so that its end can be reached


def word(epoch, op):
    return (epoch & EPOCH_MASK) << 32 | op


Member = collections.namedtuple("Member", "mac ip port")


class Replica:
    """build/replica.bpf.o, loaded. start() gives it a whole new state."""

    def __init__(self, path=OBJECT, offloads=("broadcast", "ack", "quorum"), slots=SLOTS,
                 port=12345):
        self.slots = slots
        self.object = bpf.Object(path, {"offloads": sum(OFFLOADS[o] for o in offloads),
                                        "port": struct.pack("!H", port), "log_slots": slots},
                                 {"elec_log": slots})
        self.state = self.object.map("elec_state").view("elec_state")
        self.log_memory = self.object.map("elec_log").mapped()
        self.counters = self.object.map("elec_counts")
        self.reasons = {name[len("ELEC_R_"):].lower().replace("_", "-"): number
                        for name, number in self.object.btf.enum("elec_reason").items()
                        if name != "ELEC_R_COUNT"}
        self.xdp = self.object.program("replica_xdp")
        self.tc = self.object.program("replica_tc")

    def close(self):
        self.object.close()

    def start(self, members, self_index, leader=0, view=0, epoch=1, last=0, sent=0, quorum=None):
        """Empty log, no acks, thawed: ops 1..last stored, ops 1..sent sent."""
        self.members, self.index, self.leader, self.view = members, self_index, leader, view
        self.state.clear()
        self.log_memory[:] = bytes(len(self.log_memory))
        self.state.lease_ns = 10**9
        self.state.now_ns = self.state.stamp_ns = 10**12
        self.state.consumed = last
        control = self.control_page(epoch)
        control.epoch, control.status, control.view = epoch & EPOCH_MASK, NORMAL, view
        control.n, control.self, control.leader = len(members), self_index, leader
        control.quorum = (len(members) - 1) // 2 if quorum is None else quorum
        for i, m in enumerate(members):
            member = control.member[i]
            member.mac = bytes.fromhex(m.mac.replace(":", ""))
            member.addr = int.from_bytes(socket.inet_aton(m.ip), "little")
            member.port = int.from_bytes(struct.pack("!H", m.port), "little")
        self.state.sent = word(epoch, sent)
        self.state.committed = word(epoch, 0)
        for i in range(len(members)):
            self.state.acked[i] = word(epoch, 0)
        self.state.gate = word(epoch, last)
        self.mark()

    def control_page(self, epoch):
        return self.state.control[epoch & 1]

    @property
    def control(self):
        return self.control_page(self.epoch)

    @property
    def epoch(self):
        return self.state.gate >> 32 & EPOCH_MASK

    @property
    def last(self):
        return self.state.gate & 0xffffffff

    @property
    def frozen(self):
        return bool(self.state.gate & FROZEN)

    @property
    def committed(self):
        return self.state.committed & 0xffffffff

    def acked(self, i):
        return self.state.acked[i] & 0xffffffff

    def slot(self, op):
        """The slot where a Prepare that begins at this op belongs."""
        return self.object.map("elec_log").view("elec_slot", self.log_memory, op % self.slots)

    def counts(self):
        return {name: self.counters.counter(number) for name, number in self.reasons.items()}

    def mark(self):
        """Counters are compared with what they are now."""
        self.marked = self.counts()

    def counted(self, noise=()):
        """{reason: how often} since mark(), without the noise of barriers."""
        now = self.counts()
        out = {name: now[name] - self.marked[name] - dict(noise).get(name, 0) for name in now}
        return {name: n for name, n in out.items() if n}

    def memory(self):
        """All that programs may write, for "nothing changed": the words, the control pages and
        the log. Only the bytes of the slot after the last op are free: a Prepare is copied
        there before its checksum is tested."""
        log = bytearray(self.log_memory)
        size = len(log) // self.slots
        at = (self.last + 1) % self.slots * size
        log[at + size - len(self.slot(0).data):at + size] = b""
        return bytes(self.state), bytes(log)
