# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The loaded programs' side of a state: model.State <-> the bytes of their maps.

Layouts come from the object's BTF, so that bpf/state.h has no second copy here.
"""

import contextlib
import struct

import bpf

from . import model

FROZEN, BUSY = 1 << 63, 1 << 62


class Programs:
    """One load of an object file, with its own maps and constants."""

    def __init__(
        self, path, offloads=model.OFFLOAD_ALL, port=model.PORT, slot_count=128, frags=False, names=None
    ):
        names = names or {"xdp": "replica_xdp", "tc": "replica_tc"}
        self.offloads, self.port, self.slot_count = offloads, port, slot_count
        self.object = bpf.Object(
            path,
            {"offloads": offloads, "port": struct.pack("!H", port), "log_slots": slot_count},
            {"elec_log": slot_count},
            {names["xdp"]: BPF_F_XDP_HAS_FRAGS} if frags else None,
        )
        self.xdp = self.object.program(names["xdp"])
        self.tc = self.object.program(names["tc"]) if names.get("tc") else None
        self.state_memory = self.object.map("elec_state").mapped()
        self.log_memory = self.object.map("elec_log").mapped()
        self.counters = self.object.map("elec_counts")
        self.reasons = {
            name[len("ELEC_R_") :].lower().replace("_", "-"): number
            for name, number in self.object.btf.enum("elec_reason").items()
            if name != "ELEC_R_COUNT"
        }
        self.layout = Layout(self.object.btf)
        self.before = None  # the state, the log and the counters as they were before a frame

    def close(self):
        self.object.close()

    def load(self, state):
        """User space writes the whole state."""
        packed = self.layout.pack(state)
        self.state_memory[: len(packed)] = packed
        size = self.layout.slot_size
        self.log_memory[:] = bytes(len(self.log_memory))
        for index, slot in state.slots.items():
            if slot.data is not None:
                raw = self.layout.pack_slot(slot)
                self.log_memory[index * size : index * size + len(raw)] = raw
        self.object.map("elec_wake").ring_records()
        self.before = state.copy()

    def mark(self):
        """What is read later is compared with now. After load()."""
        self.log_before = bytes(self.log_memory)
        self.counts_before = self.counts()

    def counts(self):
        values = self.counters.counters()
        return {name: values[number] for name, number in self.reasons.items()}

    def counted(self, noise=()):
        """{reason: times} since mark(), without `noise`."""
        now, noise = self.counts(), dict(noise)
        out = {name: n - self.counts_before[name] - noise.get(name, 0) for name, n in now.items()}
        sent = len(self.object.map("elec_wake").ring_records())
        if sent != out["wake"]:
            out["wake-ups that the reader sees"] = sent - out["wake"]
        return {name: n for name, n in out.items() if n}

    @staticmethod
    def leaving_by(ifindex):
        """BPF_PROG_TEST_RUN: clones leave by a device without programs; it is known what they do there."""
        return contextlib.nullcontext()

    @staticmethod
    def left(frame, verdict, frames, link):
        """(verdict, frames) of TC as cases tell them."""
        return verdict, frames

    def state(self):
        """The state now; a slot whose bytes did not change is what it was before."""
        s = self.layout.unpack(self.state_memory, self.before)
        log, size = bytes(self.log_memory), self.layout.slot_size
        if log != self.log_before:
            for index in range(self.slot_count):
                raw = log[index * size : (index + 1) * size]
                if raw != self.log_before[index * size : (index + 1) * size]:
                    s.slots[index] = self.layout.unpack_slot(raw, s.slots.get(index))
        self.before = s
        return s


class Layout:
    """Offsets of what the state consists of."""

    def __init__(self, btf):
        def members(name):
            places = btf.members(btf.find(bpf.Btf.STRUCT, name))
            return {key: offset for key, (offset, _) in places.items()}

        def size(name):
            return btf.size(btf.find(bpf.Btf.STRUCT, name))

        self.at, self.control, self.member = (members(f"elec_{n}") for n in ("state", "control", "member"))
        self.slot = members("elec_slot")
        self.size, self.control_size, self.member_size, self.slot_size = (
            size(f"elec_{n}") for n in ("state", "control", "member", "slot")
        )

    def pack(self, s):
        raw = bytearray(self.size)
        gate = model.word(s.epoch, s.last) | (FROZEN if s.frozen else 0) | (BUSY if s.busy else 0)
        for name, value in (("gate", gate), ("stamp_ns", s.stamp_ns), ("lease_ns", s.lease_ns),
                            ("now_ns", s.now_ns), ("consumed", s.consumed), ("sent", s.sent),
                            ("committed", s.committed)):  # fmt: skip
            struct.pack_into("=Q", raw, self.at[name], value)
        struct.pack_into("=I", raw, self.at["sleeping"], s.sleeping)
        struct.pack_into("=I", raw, self.at["wake_backlog"], s.wake_backlog)
        struct.pack_into("=64Q", raw, self.at["acked"], *s.acked)
        for i, page in enumerate(s.control):
            at = self.at["control"] + i * self.control_size
            for name in ("epoch", "status", "view", "n", "leader", "quorum"):
                struct.pack_into("=I", raw, at + self.control[name], getattr(page, name))
            struct.pack_into("=I", raw, at + self.control["self"], page.own)
            for j, m in enumerate(page.members):
                base = at + self.control["member"] + j * self.member_size
                raw[base + self.member["mac"] : base + self.member["mac"] + 6] = m.mac
                struct.pack_into("!H", raw, base + self.member["port"], m.port)
                raw[base + self.member["addr"] : base + self.member["addr"] + 4] = m.ip
        return raw

    def unpack(self, raw, before):
        """Words from memory; pages are taken as before, and told apart when they changed."""
        s = before.copy()

        def word(name, form="=Q"):
            return struct.unpack_from(form, raw, self.at[name])[0]

        gate = word("gate")
        s.frozen, s.busy = bool(gate & FROZEN), bool(gate & BUSY)
        s.epoch, s.last = model.word_epoch(gate), model.word_op(gate)
        s.stamp_ns, s.lease_ns, s.now_ns = word("stamp_ns"), word("lease_ns"), word("now_ns")
        s.consumed, s.sent, s.committed = word("consumed"), word("sent"), word("committed")
        s.sleeping, s.wake_backlog = word("sleeping", "=I"), word("wake_backlog", "=I")
        s.acked = list(struct.unpack_from("=64Q", raw, self.at["acked"]))
        at = self.at["control"]
        if raw[at : at + 2 * self.control_size] != self.pack(before)[at : at + 2 * self.control_size]:
            raise AssertionError("a program wrote to a control page")
        return s

    def pack_slot(self, slot):
        raw = bytearray(self.slot["data"] + len(slot.data))
        for name, value in (("epoch", slot.epoch), ("first", slot.first), ("last", slot.last),
                            ("len", len(slot.data))):  # fmt: skip
            struct.pack_into("=I", raw, self.slot[name], value)
        raw[self.slot["data"] :] = slot.data
        return raw

    def unpack_slot(self, raw, old):
        """A slot that was written to. Bytes behind its data count only when nothing else changed."""
        epoch, first, last, size = (
            struct.unpack_from("=I", raw, self.slot[name])[0] for name in ("epoch", "first", "last", "len")
        )
        data = raw[self.slot["data"] :]
        slot = model.Slot(epoch, first, last, data[:size])
        if not size or (old is not None and slot == old):
            slot = slot._replace(data=data.rstrip(b"\0"))
        return slot


BPF_F_XDP_HAS_FRAGS = 1 << 5
