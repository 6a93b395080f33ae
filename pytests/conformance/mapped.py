# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs whose state lies in maps that a profile describes: model.State <-> these maps.

Same methods as Programs. What such a layout has no place for (epochs, the gate, a lease)
is left as it was; a profile leaves out the cases that need it. Nothing is counted. What TC
did is told by the frames that left: one frame that is as it came in is OK, all else STOLEN,
in whatever order and whether the last one was a clone or the frame itself.
"""

import contextlib
import struct

import bpf

from . import model
from .profile import TYPES, ProfileError, load, record_of, stores
from .programs import BPF_F_XDP_HAS_FRAGS

WINDOW = 64  # ops up to the last one sent whose entries are open


class MappedPrograms:
    """One load of an object file, by a profile."""

    def __init__(self, path, profile, frags=False):
        self.path, self.profile, self.data = path, profile, profile.data
        types = profile.programs()
        flags = {name: BPF_F_XDP_HAS_FRAGS for name, kind in types.items() if kind == "xdp" and frags}
        self.object = load(path, profile, flags=flags)
        try:
            self._tail_calls()
            self._fit()
        except ProfileError:
            self.close()
            raise
        names = self.data["programs"]
        self.xdp = self.object.program(names["xdp"])
        self.tc = self.object.program(names["tc"]) if names.get("tc") else None
        self.before = None

    def close(self):
        self.object.close()

    # -- does the object fit? --------------------------------------------------------------

    def _tail_calls(self):
        for array, table in self.data["programs"].get("tail_calls", {}).items():
            m = self._map(array, "tail_calls")
            for index, name in table.items():
                if not 0 <= index < m.max_entries:
                    self._misfit(f"map {array} has {m.max_entries} entries, none for index {index}")
                m.update(index, struct.pack("=I", self.object.program(name).fd))

    def _fit(self):
        d = self.data
        for name, m in d.get("maps", {}).items():
            size = self._map(name, "maps").value_size
            if size != m["size"]:
                self._misfit(f"map {name} has values of {size} bytes, the profile says {m['size']}")
        for name, place in [*d["state"].items(), *(("also", p) for p in d.get("also", []))]:
            self._inside(place["map"], name, place["at"], TYPES[place["type"]])
        for key, lengths in (("members", {"mac": "6s", "addr": "4s"}), ("acks", {})):
            if key in d:
                for field, place in d[key].items():
                    if field not in ("map", "window"):
                        form = lengths.get(field) or TYPES[place["type"]]
                        self._inside(d[key]["map"], f"{key}: {field}", place["at"], form)
        if "log" in d:
            ring = self._map(d["log"]["ring"], "log")
            if not ring.is_ring:
                self._misfit(f"map {ring.name} is not a ring buffer")

    def _misfit(self, text):
        raise ProfileError(f"{self.path} does not fit {self.profile.path}: {text}")

    def _map(self, name, what):
        if name not in self.object.maps:
            have = " ".join(self.object.maps) or "none"
            self._misfit(f"{what}: there is no map {name} (the object has: {have})")
        return self.object.map(name)

    def _inside(self, name, field, at, form):
        size = self._map(name, field).value_size
        if not 0 <= at <= size - struct.calcsize(form):
            self._misfit(f"{field} at {at} does not fit map {name}, whose values have {size} bytes")

    # -- user space writes ------------------------------------------------------------------

    def load(self, state):
        values = {}  # {map: value of key 0}

        def put(place, number):
            raw = values.setdefault(place["map"], bytearray(self.object.map(place["map"]).value_size))
            try:
                struct.pack_into(TYPES[place["type"]], raw, place["at"], number)
            except struct.error:
                self._misfit(f"map {place['map']}: {number} at {place['at']} does not fit {place['type']}")

        known = self._known(state)
        for place in self.data.get("also", []):
            put(place, known.get(place["value"], place["value"]))
        for name, place in self.data["state"].items():
            put(place, self._as_written(name, place, state))
        for name, raw in values.items():
            self.object.map(name).update(0, raw)
        if "members" in self.data:
            self._load_members(state.page)
        if "acks" in self.data:
            self.object.map(self.data["acks"]["map"]).update_all(self._entries(state))
        self.before = state.copy()
        self.mark()

    @staticmethod
    def _known(s):
        return {"view": s.page.view, "own": s.page.own, "leader": s.page.leader, "last": s.last,
                "n": s.page.n, "status": s.page.status}  # fmt: skip

    def _as_written(self, name, place, state):
        value = self._known(state)[name]
        if name == "status":
            value = place["normal"] if value == model.NORMAL else place["other"]
        return value

    def _load_members(self, page):
        d = self.data["members"]
        array = self.object.map(d["map"])
        for index, m in enumerate(page.members[: array.max_entries]):
            raw = bytearray(array.value_size)
            raw[d["mac"]["at"] : d["mac"]["at"] + 6] = m.mac
            raw[d["addr"]["at"] : d["addr"]["at"] + 4] = m.ip
            struct.pack_into(TYPES[d["port"]["type"]], raw, d["port"]["at"], m.port)
            array.update(index, raw)

    # -- acks: an entry for each op that was sent ---------------------------------------------

    def _open_ops(self, s):
        sent = model.word_op(s.sent)
        return range(max(1, sent - self.data["acks"].get("window", WINDOW) + 1), sent + 1)

    def _entries(self, s):
        d, array = self.data["acks"], self.object.map(self.data["acks"]["map"])
        raw = bytearray(array.value_size * array.max_entries)
        for op in self._open_ops(s):
            at = op % array.max_entries * array.value_size
            bits = sum(1 << i for i in range(s.page.n) if model.word_op(s.acked[i]) >= op)
            for field, value in (("view", s.page.view), ("op", op), ("bits", bits)):
                struct.pack_into(TYPES[d[field]["type"]], raw, at + d[field]["at"], value)
        return raw

    def _acked(self, s):
        """acked[] as entries can show it: the highest open op of each member."""
        ops = self._open_ops(s)
        shown = [w if model.word_op(w) in ops else 0 for w in s.acked[: s.page.n]]
        return [model.word(s.epoch, model.word_op(w)) for w in shown] + s.acked[s.page.n :]

    def _acked_now(self, s):
        d, array = self.data["acks"], self.object.map(self.data["acks"]["map"])
        raw, size = array.lookup_all(), array.value_size
        acked = list(self._acked(s))
        highest = [0] * 64
        for at in range(0, len(raw), size):
            view, op, bits = (
                struct.unpack_from(TYPES[d[f]["type"]], raw, at + d[f]["at"])[0] for f in ("view", "op", "bits")
            )
            if bits and view == s.page.view:
                for i in range(64):
                    if bits >> i & 1:
                        highest[i] = max(highest[i], op)
        for i, op in enumerate(highest):
            if i < s.page.n or op:
                acked[i] = model.word(s.epoch, op)
        return acked

    # -- what is seen afterwards -------------------------------------------------------------

    def seen(self, base, step):
        """`base` as it must look after a step, as far as these maps can show it."""
        s = base.copy()
        s.last = step.after.last if "last" in self.data["state"] else s.last
        s.slots = {}
        if "log" in self.data and stores(step):
            s.slots[0] = model.Slot(0, 0, 0, record_of(step.frame, self.data["log"]["from"]))
        if "acks" in self.data:
            s.acked = self._acked(step.after)
        return s

    def state(self):
        s = self.before.copy()
        for name, place in self.data["state"].items():
            raw = self.object.map(place["map"]).lookup(0)
            value = struct.unpack_from(TYPES[place["type"]], raw, place["at"])[0]
            if name == "last":
                s.last = value
            elif value != self._as_written(name, place, self.before):
                raise AssertionError(f"a program wrote to {name}: {value}")
        s.slots = {}
        if "log" in self.data:
            records = self.object.map(self.data["log"]["ring"]).ring_records()
            s.slots = {i: model.Slot(0, 0, 0, self._record(raw)) for i, raw in enumerate(records)}
        if "acks" in self.data:
            s.acked = self._acked_now(self.before)
        self.before = s
        return s

    def _record(self, raw):
        """A record without what stands behind its message."""
        at = 0 if self.data["log"]["from"] == "length" else 12 + raw[4] + 12
        return raw[: at + 8 + struct.unpack_from("<Q", raw, at)[0]]

    # -- what an executor asks ----------------------------------------------------------------

    def mark(self):
        if "log" in self.data:
            self.object.map(self.data["log"]["ring"]).ring_drain()

    def counted(self, noise=()):
        return {}

    @contextlib.contextmanager
    def leaving_by(self, ifindex):
        """Clones that leave by this device pass the TC program again, as on a live link."""
        self.tc.attach_tc_egress(ifindex)
        try:
            yield
        finally:
            bpf.detach_tc_egress(ifindex)

    @staticmethod
    def left(frame, verdict, frames, link):
        """(verdict, frames) of TC, by what left; nothing but what is passed leaves a dead link."""
        if frames == [frame]:
            return "OK", frames
        return "STOLEN", sorted(frames, key=lambda f: (f[:6], f)) if link else []
