# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Whose programs are tested: profiles/*.yaml -> a Profile.

    about      one line, printed above the table
    programs   xdp: the entry; tc: the broadcast program (or none);
               tail_calls: {program array: {index: program}}
    layout     elec: the maps of bpf/state.h, found by the object's BTF (programs.py)
               maps: what `state`, `also`, `members`, `acks` and `log` say (mapped.py)
    checksums  ack, clone: "right" (the default) or "zero", for their UDP checksum
    leave_out  which cases do not apply: a list of {because, and one or more of
                 reasons   [...] of bpf/reasons.h that a step expects
                 promises  [...] that the case stands for, all of them
                 cases     [...] names, with * and ?
                 unless    {fact: value}: any step is otherwise (FACTS)}

A layout of maps; a place is {map, at: offset in the value, type: u32 ... mac}:

    maps       {map: {size: bytes of a value}}, for a test that it is this layout
    state      status {place, normal, other}, view, own, leader, last, n: places
    also       [{place, value: a number or one of view own leader last n}], written, never read
    members    {map, mac: {at}, addr: {at}, port: {at, type}}, an array by index
    acks       {map, view, op, bits: {at, type}, window}: an array by op modulo its size, an
               entry open for each op that was sent and bits set by index
    log        {ring, from: payload or length, size}: one record a Prepare, of `size` bytes at
               most, that begins with the UDP payload or with its field "length of the body"

What is wrong with a profile, or with an object for a profile, is a ProfileError: one
sentence that names the map, program or field.
"""

import fnmatch
import os

import bpf

from . import cases, frames, model

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "profiles/paxrack.yaml")
OBJECT = os.path.normpath(os.path.join(HERE, "../../build/replica.bpf.o"))

TYPES = {"u8": "=B", "u16": "=H", "u32": "=I", "u64": "=Q", "i32": "=i", "i64": "=q", "be16": "!H"}
KEYS = ("about", "layout", "programs", "checksums", "leave_out")
MAPS_KEYS = ("maps", "state", "also", "members", "acks", "log")
STATE = ("status", "view", "own", "leader", "last", "n")


class ProfileError(Exception):
    """What is wrong, in one sentence."""


def facts(step):
    """What `unless` can ask of a step."""
    s, page, words = step.before, step.before.page, [step.before.sent, step.before.committed]
    words += step.before.acked[: max(page.n, 1)]
    return {
        "n": page.n, "own": page.own, "leader": page.leader, "view": page.view, "quorum": page.quorum,
        "port": s.port, "offloads": s.offloads, "frozen": s.frozen, "busy": s.busy,
        "page_is_current": page.epoch == s.epoch,
        "words_are_current": all(model.word_epoch(w) == s.epoch for w in words),
        **step.context._asdict(),
    }  # fmt: skip


FACTS = (
    "n own leader view quorum port offloads frozen busy page_is_current words_are_current "
    "ifindex queue meta tailroom gso link"
).split()


class Profile:
    """A profile that was read and found to be one; `data` is the file."""

    def __init__(self, path):
        self.path = os.path.relpath(path)
        try:
            self.data = cases.read_yaml(path)
        except cases.CaseError as e:
            raise ProfileError(str(e)) from None
        except (OSError, UnicodeDecodeError) as e:
            raise ProfileError(f"{path}: cannot be read as a profile: {e}") from None
        if not isinstance(self.data, cases.Map):
            raise ProfileError(f"{path}:1: a profile is a mapping with {' '.join(KEYS)}")
        try:
            self._check()
        except cases.CaseError as e:
            raise ProfileError(str(e)) from None

    @property
    def mapped(self):
        return self.data["layout"] == "maps"

    def programs(self):
        """{name: its type} of all that are loaded."""
        p = self.data["programs"]
        out = {name: "xdp" for table in p.get("tail_calls", {}).values() for name in table.values()}
        out[p["xdp"]] = "xdp"
        if p.get("tc"):
            out[p["tc"]] = "tc"
        return out

    # -- reading ---------------------------------------------------------------------------

    def _check(self):
        d = self.data
        d.check(KEYS + MAPS_KEYS, "a profile")
        if d.get("layout") not in ("elec", "maps"):
            raise d.error("layout: elec or maps", "layout")
        self._programs(_map(d, "programs"))
        sums = _map(d, "checksums", {})
        _known(sums, ("ack", "clone"), "checksums")
        for name, value in sums.items():
            if value not in ("right", "zero"):
                raise sums.error(f"checksums: {name}: right or zero, not {value!r}", name)
        for key in MAPS_KEYS:
            if key in d and not self.mapped:
                raise d.error(f"{key} goes with layout: maps", key)
        if self.mapped:
            self._maps(d)
        rules = d.get("leave_out", [])
        if not isinstance(rules, list) or not all(isinstance(r, cases.Map) for r in rules):
            raise d.error("leave_out: a list of {because, ...}", "leave_out")
        for rule in rules:
            self._rule(rule)

    def _programs(self, p):
        _known(p, ("xdp", "tc", "tail_calls"), "programs")
        if not isinstance(p.get("xdp"), str):
            raise p.error("programs: xdp, the program that is attached, is missing", "xdp")
        for array, table in _map(p, "tail_calls", {}).items():
            if not isinstance(table, cases.Map) or not all(isinstance(i, int) for i in table):
                raise p["tail_calls"].error(f"tail_calls: {array}: {{index: program}}", array)

    def _maps(self, d):
        for name, m in _map(d, "maps", {}).items():
            if not isinstance(m, cases.Map) or not isinstance(m.get("size"), int):
                raise d["maps"].error(f"maps: {name}: {{size: bytes of a value}}", name)
        state = _map(d, "state")
        _known(state, STATE, "state")
        for name, place in state.items():
            _place(state, name, ("normal", "other") if name == "status" else ())
        if "status" in state:
            for key in ("normal", "other"):
                if not isinstance(state["status"].get(key), int):
                    raise state.error(f"state: status needs {key}: its number", "status")
        also = d.get("also", [])
        if not isinstance(also, list):
            raise d.error("also: a list of places with a value", "also")
        for place in also:
            _place({"also": place}, "also", ("value",), getattr(place, "error", d.error))
            value = place.get("value")
            if not isinstance(value, int) and value not in ("view", "own", "leader", "last", "n"):
                raise place.error(f"also: value: a number or view, own, leader, last, n, not {value!r}")
        for key, fields in (("members", {"mac": None, "addr": None, "port": TYPES}),
                            ("acks", {"view": TYPES, "op": TYPES, "bits": TYPES})):  # fmt: skip
            if key in d:
                self._array(_map(d, key), key, fields)
        if "log" in d:
            log = _map(d, "log")
            _known(log, ("ring", "from", "size"), "log")
            whole = isinstance(log.get("ring"), str) and isinstance(log.get("size"), int)
            if not whole or not _one_of(("payload", "length"), log.get("from")):
                raise log.error("log: {ring, from: payload or length, size: bytes}")

    def _array(self, m, key, fields):
        _known(m, ("map", "window", *fields), key)
        if not isinstance(m.get("map"), str):
            raise m.error(f"{key}: map is missing")
        for field, types in fields.items():
            place = m.get(field)
            if not isinstance(place, cases.Map) or not isinstance(place.get("at"), int):
                raise m.error(f"{key}: {field}: {{at: offset, type}}", field)
            if types and not _one_of(types, place.get("type")):
                raise m.error(f"{key}: {field}: type: one of {' '.join(types)}", field)

    def _rule(self, rule):
        rule.check(("because", "reasons", "promises", "cases", "unless"), "leave_out")
        if not isinstance(rule.get("because"), str) or len(rule) < 2:
            raise rule.error("leave_out: because, and which cases (reasons, promises, cases, unless)")
        for key in ("reasons", "promises", "cases"):
            known = {"reasons": model.REASONS, "promises": cases.PROMISES}.get(key)
            for name in rule.get(key, ()) if isinstance(rule.get(key, []), list) else [rule[key]]:
                if not isinstance(name, str) or known and name not in known:
                    raise rule.error(f"leave_out: {key}: there is no {name!r}", key)
        if "unless" in rule:
            _known(_map(rule, "unless"), FACTS, "unless")

    # -- cases -----------------------------------------------------------------------------

    def why_not(self, case):
        """Why a case does not apply, or None."""
        for rule in self.data.get("leave_out", []):
            if all(getattr(self, "_" + key)(case, rule[key]) for key in rule if key != "because"):
                return rule["because"]
        if not self.data["programs"].get("tc") and case.program == "tc":
            return "the profile names no tc program"
        return self._record(case) if "log" in self.data else None

    @staticmethod
    def _reasons(case, names):
        return any(name in step.counters for step in case.steps for name in names)

    @staticmethod
    def _promises(case, names):
        return set(case.promises) <= set(names)

    @staticmethod
    def _cases(case, globs):
        return any(fnmatch.fnmatchcase(case.name, glob) for glob in globs)

    @staticmethod
    def _unless(case, wanted):
        return any(facts(step)[name] != value for step in case.steps for name, value in wanted.items())

    def _record(self, case):
        log = self.data["log"]
        for step in case.steps:
            if stores(step) and len(record_of(step.frame, log["from"])) > log["size"]:
                return f"the Prepare is larger than a record of {log['ring']} ({log['size']} bytes)"
        return None

    def adapted(self, case, programs):
        """The case as these programs can show it: `programs.seen` gives what is to be seen."""
        if not self.mapped:
            return case
        steps, seen = [], None
        for step in case.steps:
            base = step.before if step.load else seen
            seen = programs.seen(base, step)
            out = [self._with_sum(step, frame) for frame in step.frames]
            if step.verdict == "STOLEN":
                out.sort(key=lambda frame: (frame[:6], frame))
            steps.append(step._replace(counters={}, frames=out, after=seen))
        return case._replace(steps=steps)

    def _with_sum(self, step, frame):
        sums = self.data.get("checksums", {})
        if sums.get({"TX": "ack", "STOLEN": "clone"}.get(step.verdict)) == "zero":
            return frame[:40] + bytes(2) + frame[42:]
        return frame


def stores(step):
    """Does this step put a Prepare into the log?"""
    old = step.before.slots
    return any(s.data is not None and s != old.get(i) for i, s in step.after.slots.items())


def record_of(frame, start):
    """What a log that begins at `start` holds of a Prepare."""
    payload = frames.payload_of(frame)
    return payload if start == "payload" else payload[12 + payload[4] + 12 :]


def _map(parent, key, default=None):
    value = parent.get(key, default)
    if isinstance(value, cases.Map) or value is default and default is not None:
        return value
    raise parent.error(f"{key} is missing or not a mapping", key)


def _one_of(names, value):
    return isinstance(value, str) and value in names


def _known(m, names, what):
    if isinstance(m, cases.Map):
        m.check(names, what)


def _place(parent, name, more=(), error=None):
    place = parent[name]
    error = error or parent.error
    if not isinstance(place, cases.Map):
        raise error(f"{name}: a place: {{map, at, type}}", name)
    place.check(("map", "at", "type", *more), name)
    if not isinstance(place.get("map"), str) or not isinstance(place.get("at"), int):
        raise place.error(f"{name}: {{map, at: offset, type}}")
    if not _one_of(TYPES, place.get("type")):
        raise place.error(f"{name}: type: one of {' '.join(TYPES)}", "type")


# -- objects -------------------------------------------------------------------------------


def load(path, profile, **options):
    """The object's programs as the profile names them, loaded; a ProfileError says what does not fit."""
    try:
        loaded = bpf.Object(path, types=profile.programs(), **options)
    except bpf.BpfError as e:
        raise refusal(path, e) from None
    for name in profile.programs():
        if name not in loaded.programs:
            have = " ".join(loaded.programs) or "none"
            loaded.close()
            raise ProfileError(f"{path} has no program {name} (it has: {have})")
    return loaded


def refusal(path, error):
    """Why libbpf does not load an object: one sentence, and behind it the end of the verifier's log."""
    return ProfileError(f"{path}: {_why(path, error)}")


def _why(path, error):
    if not os.path.isfile(path):
        return "there is no such object file"
    lines = [line.removeprefix("libbpf: ") for line in error.strerror.splitlines()]
    if any("legacy map definitions" in line for line in lines):
        return "maps in section \"maps\" are not loaded by libbpf 1: define them in \".maps\" (BTF)"
    for line in lines:
        if line.startswith("prog '") and "BPF program load failed" in line:
            log = [x for x in lines if "-- END PROG LOAD LOG --" not in x][-12:]
            return f"the verifier refuses program {line.split(chr(39))[1]}:\n" + "\n".join(log)
    told = [line for line in lines[1:] if line and not line.startswith(("elf: skipping", "loading object"))]
    return f"cannot be loaded: {told[-1] if told else lines[0]}"
