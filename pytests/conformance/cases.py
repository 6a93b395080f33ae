# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Packet cases: cases/*.yaml -> Case objects. A mistake in a file is named with its line.

A file is a list of groups; what a group says is the default of its cases:

    - group: what they have in common
      promise: S5                      # or a list
      before: {base: follower, last: 10}
      frame: {kind: Prepare, op: 11}
      cases:
        - name: gap-of-one
          frame: {op: 12, third: 12}   # fields: frames.py
          expect: PASS gap             # verdict and reason (bpf/reasons.h)

A case says what holds after it; all that it does not name must be as before:

    expect   PASS, OK: the same bytes go on. TX: `ack`. DROP: nothing. STOLEN: `clones`
    ack      {view, op, index} and, if wanted, header fields {tos, id, frag, ttl, udp_sum}
    clones   indexes of the peers in the order of the clones: [1, 2, 5-9]
    clone    header fields of each clone {udp_sum}
    notes    counters beside the reason, {wake: 1}; clones are counted without saying
    after    {last, frozen, sleeping, committed, acked: {index: op}} and the kernel log:
             slot: {index, epoch, first, last} holds the frame's UDP payload afterwards
             scratch: index             content of that slot is not specified

`before` names a base and changes to it (see BEFORE), `context` what surrounds the frame
(see model.Context), `skip: {executor: reason}` leaves an executor out. `steps` is a list of
{set, frame, context, expect, ...}: one frame after the other, `set` being what user
space does to the state in between.
"""

import glob
import os
import re
import struct
from typing import NamedTuple

import yaml

from . import frames, model

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "../vectors")
PROMISES = [f"S{i}" for i in range(1, 11)]
EXECUTORS = ["model", "testrun", "generic", "native"]
SECOND = 1_000_000_000


class CaseError(Exception):
    """What is wrong in a case file, as `file:line: text`."""


# -- YAML with lines -----------------------------------------------------------------------


class Map(dict):
    """A mapping that knows its line and its keys' lines."""

    def __init__(self, path, line):
        super().__init__()
        self.path, self.line, self.lines = path, line, {}

    def error(self, text, key=None):
        return CaseError(f"{self.path}:{self.lines.get(key, self.line)}: {text}")

    def check(self, allowed, what):
        for key in self:
            if key not in allowed:
                raise self.error(f"{what} has no key {key!r} (known: {' '.join(map(str, allowed))})", key)

    def over(self, base):
        """This mapping's keys over another's."""
        out = Map(self.path, self.line)
        for m in (base or {}, self):
            out.update(m)
            out.lines.update(getattr(m, "lines", {}))
        return out


def _plain(node, path, loader):
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out = Map(path, line)
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node)
            key_line = key_node.start_mark.line + 1
            if key in out:
                raise CaseError(f"{path}:{key_line}: {key!r} stands here twice")
            out[key] = _plain(value_node, path, loader)
            out.lines[key] = key_line
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path, loader) for item in node.value]
    return loader.construct_object(node)


def read_yaml(path):
    """The document with Map for each mapping."""
    shown = os.path.relpath(path)
    with open(path, encoding="utf-8") as f:
        loader = yaml.CSafeLoader(f) if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader(f)
        try:
            return _plain(loader.get_single_node(), shown, loader)
        except yaml.MarkedYAMLError as e:
            raise CaseError(f"{shown}:{e.problem_mark.line + 1}: {e.problem}") from None
        finally:
            loader.dispose()


# -- states --------------------------------------------------------------------------------

BASES = {
    "follower": {"own": 1, "leader": 0},
    "leader": {"own": 0, "leader": 0},
}
BEFORE = {
    "base": str, "n": int, "own": int, "leader": int, "view": int, "quorum": int, "status": int,
    "epoch": int, "page_epoch": int, "frozen": bool, "busy": bool, "last": int, "consumed": int,
    "sleeping": int, "backlog": int, "sent": object, "committed": object, "acked": dict,
    "log_size": int, "log": list, "lease_ms": int, "age_ms": int, "clock": str, "offloads": list,
    "port": int, "members": dict,
}  # fmt: skip
DEFAULTS = {
    "n": 3, "view": 105, "status": model.NORMAL, "epoch": 6, "last": 10, "consumed": 8,
    "log_size": 128, "lease_ms": 200, "age_ms": 10,
}  # fmt: skip
AFTER = {
    "last": int, "frozen": bool, "sleeping": int, "committed": object, "acked": dict, "slot": Map,
    "scratch": int,
}  # fmt: skip
NOW_NS = 5000 * SECOND  # "now" of the cases, in place of the kernel's clock
OFFLOADS = {"broadcast": 1, "ack": 2, "quorum": 4}


def member(i, port=model.PORT):
    return model.Member(bytes([0x02, 0x70, 0, 0, 0, i + 1]), bytes([10, 77, 0, i + 1]), port)


def _word(value, epoch):
    """An op of the gate's epoch, or [epoch, op]."""
    return model.word(*value) if isinstance(value, list) else model.word(epoch, value)


def _typed(m, table, what):
    m.check(list(table), what)
    for key, value in m.items():
        if not isinstance(value, table[key]) or isinstance(value, bool) and table[key] is int:
            raise m.error(f"{key} is not {table[key].__name__}: {value!r}", key)


def make_state(b):
    """The state that `before` describes."""
    if b.get("base") not in BASES:
        raise b.error(f"base: one of {' '.join(BASES)}", "base")
    _typed(b, BEFORE, "before")
    v = {**DEFAULTS, **BASES[b["base"]], **b}
    s = model.State()
    s.frozen, s.busy = v.get("frozen", False), v.get("busy", False)
    s.epoch, s.last, s.consumed = v["epoch"], v["last"], v["consumed"]
    s.sleeping, s.wake_backlog = v.get("sleeping", 0), v.get("backlog", 0)
    s.port, s.slot_count = v.get("port", model.PORT), v["log_size"]
    s.lease_ns = v["lease_ms"] * 1_000_000
    s.now_ns = 0 if v.get("clock") == "kernel" else NOW_NS
    s.stamp_ns = s.now_ns - v["age_ms"] * 1_000_000  # for the kernel's clock: see Step.clock
    members = [member(i, s.port) for i in range(model.REPLICAS_MAX)]
    for i, change in v.get("members", {}).items():
        mac = frames.mac_of("mac", change["mac"], members) if "mac" in change else members[i].mac
        ip = frames.ip_of("ip", change["ip"], members) if "ip" in change else members[i].ip
        members[i] = model.Member(mac, ip, change.get("port", members[i].port))
    used = max(v["n"], v["own"] + 1, v["leader"] + 1)  # a page with n wrong still has members
    page = model.Control(
        v.get("page_epoch", s.epoch), v["status"], v["view"], v["n"], v["own"], v["leader"],
        v.get("quorum", v["n"] // 2), members[: min(used, model.REPLICAS_MAX)],
    )  # fmt: skip
    s.control[s.epoch & 1] = page
    # The other page is the one before: another view and leader, to be taken for nothing.
    s.control[~s.epoch & 1] = model.Control(
        s.epoch - 1 & model.EPOCH_MASK, model.NORMAL, page.view - 1 & 0x7FFFFFFF, page.n, page.own,
        (page.leader + 1) % max(1, page.n), page.quorum, page.members,
    )  # fmt: skip
    s.sent = _word(v.get("sent", s.last), s.epoch)
    s.committed = _word(v.get("committed", 0), s.epoch)
    for i in range(model.REPLICAS_MAX):
        s.acked[i] = model.word(s.epoch, 0)
    for i, value in v.get("acked", {}).items():
        s.acked[i] = _word(value, s.epoch)
    for slot in v.get("log", []):
        data = slot.get("data", f"an older op {slot['first']}").encode()
        s.slots[slot["index"]] = model.Slot(slot.get("epoch", s.epoch), slot["first"], slot["last"], data)
    s.offloads = model.OFFLOAD_ALL
    if "offloads" in v:
        s.offloads = sum(OFFLOADS[name] for name in v["offloads"])
    return s


# -- cases ---------------------------------------------------------------------------------


class Step(NamedTuple):
    """One frame: all that an executor needs, and all that must hold afterwards."""

    before: model.State
    load: bool  # user space acted: executors write `before` first
    frame: bytes
    context: model.Context
    clock: bool  # stamp_ns counts from the kernel's clock
    verdict: str
    counters: dict  # reason and notes
    frames: list
    after: model.State
    line: int


class Case(NamedTuple):
    name: str
    path: str
    line: int
    promises: list
    program: str  # xdp, tc
    skip: dict
    steps: list
    shape: str  # all that the file says, but for numbers: equal for cases that differ in a number only

    def at(self):
        return f"{self.path}:{self.line}"


def _shape(value):
    if isinstance(value, dict):
        return sorted((str(k).lstrip("0123456789"), repr(_shape(v))) for k, v in value.items())
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return "number" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _shape_of(case, group):
    """Names and results of numbers (ack, clones), and who is who in the cluster, left out."""
    whole = {key: value for key, value in case.items() if key not in ("name", "promise", "ack", "clones")}
    for key in ("before", "frame", "context"):
        whole[key] = {**group.get(key, {}), **case.get(key, {})}
    for key in ("n", "own", "leader"):
        whole["before"].pop(key, None)
    return repr(_shape(whole))


CASE_KEYS = ["name", "about", "promise", "before", "skip", "steps"]
STEP_KEYS = ["frame", "context", "expect", "ack", "clones", "clone", "notes", "after"]
GROUP_KEYS = ["group", "promise", "before", "frame", "context", "skip", "cases"]
CONTEXT = {"ifindex": bool, "queue": int, "meta": int, "tailroom": bool, "gso": bool, "link": bool}


def _ranges(m, value):
    """[1, 2, 5-9] -> [1, 2, 5, 6, 7, 8, 9]"""
    out = []
    for item in value if isinstance(value, list) else [value]:
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", str(item))
        if not ends:
            raise m.error(f"clones: not an index or a range: {item!r}", "clones")
        out.extend(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return out


def _expectation(m):
    words = str(m.get("expect", "")).split()
    if len(words) != 2 or words[1] not in model.REASONS:
        raise m.error("expect: a verdict and a reason of bpf/reasons.h", "expect")
    if model.REASONS[words[1]].verdict == "note" or model.verdict_of(words[1]) != words[0]:
        raise m.error(f"expect: the verdict of {words[1]} is not {words[0]}", "expect")
    return words


def read_capture(name, number):
    """One packet of a capture in pytests/vectors."""
    with open(os.path.join(VECTORS, name), "rb") as f:
        data = f.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while True:
        size = struct.unpack_from(order + "I", data, at + 8)[0]
        if number == 0:
            return data[at + 16 : at + 16 + size]
        at, number = at + 16 + size, number - 1


def _frame(m, state, egress):
    f = m.get("frame")
    if not isinstance(f, Map):
        raise m.error("a step needs a frame", "frame")
    if "hex" in f:
        return bytes.fromhex(f["hex"])
    if "capture" in f:
        f.check(["capture", "packet", "patch", "flip", "cut", "tail"], "frame")
        frame = read_capture(f["capture"], f.get("packet", 0))
        return frames.damage(frame, f)
    f.check(frames.FIELDS, "frame")
    if f.get("kind", "Prepare") not in frames.NAMES:
        raise f.error(f"kind: one of {' '.join(frames.NAMES)}", "kind")
    try:
        return frames.build({**f, "egress": egress}, state)
    except frames.FrameError as e:
        raise f.error(str(e), e.field) from None
    except (struct.error, ValueError, TypeError) as e:
        raise f.error(f"the frame cannot be built: {e}") from None


def _frames_out(m, verdict, frame, state):
    """What must leave, from `ack` or `clones`."""
    if verdict in ("PASS", "OK"):
        return [frame]
    if verdict == "TX":
        ack = m.get("ack")
        if not isinstance(ack, Map):
            raise m.error("TX needs ack: {view, op, index}", "expect")
        ack.check(["view", "op", "index", "tos", "id", "frag", "ttl", "udp_sum"], "ack")
        return [frames.ack_of(frame, **ack)]
    if verdict == "STOLEN":
        if "clones" not in m:
            raise m.error("STOLEN needs clones: [indexes]", "expect")
        members = state.page.members
        extra = m.get("clone", {})
        return [frames.clone_of(frame, members[i], **extra) for i in _ranges(m, m["clones"])]
    return []


def _after(m, before, frame):
    """`before` changed by what the step says holds after it."""
    a = m.get("after", {})
    s = before.copy()
    if not a:
        return s
    _typed(a, AFTER, "after")
    s.last = a.get("last", s.last)
    s.frozen = a.get("frozen", s.frozen)
    s.sleeping = a.get("sleeping", s.sleeping)
    if "committed" in a:
        s.committed = _word(a["committed"], s.epoch)
    for i, value in a.get("acked", {}).items():
        s.acked[i] = _word(value, s.epoch)
    if "slot" in a:
        slot = a["slot"]
        if sorted(slot) != ["epoch", "first", "index", "last"]:
            raise slot.error("slot: {index, epoch, first, last}")
        s.slots[slot["index"]] = model.Slot(
            slot["epoch"], slot["first"], slot["last"], frames.payload_of(frame)
        )
    if "scratch" in a:
        s.slots[a["scratch"]] = model.Slot(None, None, None, None)
    return s


def _set(before, m):
    """What user space does between two frames: keys of `before`, as changes."""
    _typed(m, {k: v for k, v in BEFORE.items() if k not in ("base", "log_size", "offloads", "port")}, "set")
    s = before.copy()
    if "epoch" in m:  # a thaw: the new epoch's page, words of the new epoch
        page = s.page.copy()
        s.epoch = page.epoch = m["epoch"]
        s.control[s.epoch & 1] = page
        s.sent = s.committed = model.word(s.epoch, 0)
        s.acked = [model.word(s.epoch, 0)] * model.REPLICAS_MAX
    page = s.page
    for key, name in (("frozen", "frozen"), ("busy", "busy"), ("last", "last"), ("consumed", "consumed"),
                      ("sleeping", "sleeping"), ("backlog", "wake_backlog")):  # fmt: skip
        setattr(s, name, m.get(key, getattr(s, name)))
    for key in ("view", "status", "leader", "quorum", "n"):
        setattr(page, key, m.get(key, getattr(page, key)))
    if "page_epoch" in m:
        page.epoch = m["page_epoch"]
    if "age_ms" in m:
        s.stamp_ns = s.now_ns - m["age_ms"] * 1_000_000
    if "sent" in m:
        s.sent = _word(m["sent"], s.epoch)
    if "committed" in m:
        s.committed = _word(m["committed"], s.epoch)
    for i, value in m.get("acked", {}).items():
        s.acked[i] = _word(value, s.epoch)
    return s


def _step(m, state, load, kernel_clock):
    verdict, reason = _expectation(m)
    egress = model.REASONS[reason].program == "tc"
    context = m.get("context", Map(m.path, m.line))
    _typed(context, CONTEXT, "context")
    frame = _frame(m, state, egress)
    out = _frames_out(m, verdict, frame, state)
    counters = {reason: 1, **m.get("notes", {})}
    if verdict == "STOLEN" and out:
        counters["tc-clone"] = len(out)
    for name in counters:
        if name not in model.REASONS:
            raise m.error(f"notes: no counter {name!r} in bpf/reasons.h", "notes")
    after = _after(m, state, frame)
    return Step(
        state, load, frame, model.Context(**context), kernel_clock, verdict, counters, out, after, m.line
    )


def _promises(m, key="promise"):
    value = m.get(key)
    value = value if isinstance(value, list) else [value]
    for promise in value:
        if promise not in PROMISES:
            raise m.error(f"promise: one or more of S1..S10, not {promise!r}", key)
    return value


def _case(m, group):
    m.check(CASE_KEYS + STEP_KEYS, "a case")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(m.get("name"))):
        raise m.error("a case needs a name of letters, digits and dashes", "name")
    before = m.get("before", Map(m.path, m.line)).over(group.get("before"))
    try:
        state = make_state(before)
    except frames.FrameError as e:
        raise before.error(str(e)) from None
    kernel_clock = before.get("clock") == "kernel"
    skip = m.get("skip", group.get("skip", {}))
    for executor in skip:
        if executor not in EXECUTORS:
            raise m.error(f"skip: no executor {executor!r}", "skip")
    steps = []
    for number, raw in enumerate(m.get("steps", [m])):
        if raw is not m:
            raw.check(STEP_KEYS + ["set"], "a step")
        step = raw.over({})
        for key in ("frame", "context"):
            if key in group or key in raw:
                step[key] = raw.get(key, Map(raw.path, raw.line)).over(group.get(key))
        load = number == 0 or "set" in raw
        if "set" in raw:
            state = _set(state, raw["set"])
        steps.append(_step(step, state, load, kernel_clock))
        state = steps[-1].after
    programs = {"tc" if step.verdict in ("OK", "STOLEN") else "xdp" for step in steps}
    if len(programs) != 1:
        raise m.error("the steps of a case are all XDP's or all TC's")
    promises = _promises(m if "promise" in m else group)
    return Case(
        m["name"], m.path, m.line, promises, programs.pop(), skip, steps, _shape_of(m, group)
    )


def load_file(path):
    """The cases of one file."""
    groups = read_yaml(path)
    if not isinstance(groups, list):
        raise CaseError(f"{os.path.relpath(path)}:1: a case file is a list of groups")
    cases = []
    for group in groups:
        group.check(GROUP_KEYS, "a group")
        for m in group.get("cases", []):
            try:
                cases.append(_case(m, group))
            except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
                raise m.error(f"case {m.get('name')}: {type(e).__name__}: {e}") from None
    return cases


def load_all(paths=None):
    """Every case, by file name; names are unique."""
    seen, cases = {}, []
    for path in paths or sorted(glob.glob(os.path.join(HERE, "cases/*.yaml"))):
        for case in load_file(path):
            if case.name in seen:
                raise CaseError(f"{case.at()}: {case.name} is also at {seen[case.name].at()}")
            seen[case.name] = case
            cases.append(case)
    return cases
