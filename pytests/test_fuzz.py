# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Random packets: build/fuzz (pytests/fuzz) and a slice of the same idea in Python.

    reference model in Python ---- conformance cases, random stories ---- model in C
              |                                                              |
         hypothesis                                                     build/fuzz
              |                                                              |
              +------------------ the loaded programs ----------------------+
"""
import os
import re
import struct
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import cases, executors, frames, model, report
from conformance.programs import Programs
from conftest import BUILD

FUZZ = os.path.join(BUILD, "fuzz")
VERDICTS = ("PASS", "TX", "DROP", "OK", "STOLEN")


def fuzz(*arguments):
    return subprocess.run([FUZZ, *map(str, arguments)], capture_output=True, text=True)


def closing(run):
    """(packets, failures) of the closing line."""
    line = re.fullmatch(r"(\d+) packets, (\d+) packets/s, (\d+) failures", run.stdout.splitlines()[-1])
    assert line, run.stdout + run.stderr
    return int(line[1]), int(line[3])


def load_cases(text, tmp_path):
    """What build/fuzz printed, as a case file."""
    path = tmp_path / "found.yaml"
    path.write_text(text)
    return cases.load_file(str(path))


# -- the model in C ------------------------------------------------------------------------


class CModel(executors.Executor):
    """`build/fuzz --model` (pytests/fuzz/serve.h)."""

    name = "model in C"
    ZERO, WRITTEN, SCRATCH = 0, 1, 2

    def __init__(self, layout):
        self.layout = layout
        self.process = subprocess.Popen([FUZZ, "--model"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.state = None

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0

    def load(self, state):
        self.state = state.copy()

    def send(self, program, frame, context):
        s = self.state
        request = struct.pack(
            "=8IQQ", program == "tc", s.slot_count, s.offloads, s.port, not context.tailroom, context.gso,
            not context.link, len(s.slots), context.clock_ns, len(frame),
        ) + self._pack(s)  # fmt: skip
        for index, slot in s.slots.items():
            raw = b"" if slot.data is None else bytes(self.layout.pack_slot(slot))
            request += struct.pack("=II", index, self.SCRATCH if slot.data is None else self.WRITTEN)
            request += raw.ljust(self.layout.slot_size, b"\0")
        self.process.stdin.write(request + frame)
        self.process.stdin.flush()
        return self._answer()

    def _pack(self, s):
        s = s.copy()
        s.stamp_ns &= (1 << 64) - 1
        return bytes(self.layout.pack(s))

    def _read(self, form):
        return struct.unpack(form, self.process.stdout.read(struct.calcsize(form)))

    def _answer(self):
        verdict, reason, wakes, clones, failed, slot, out, _ = self._read("=5IiII")
        state = self.layout.unpack(self.process.stdout.read(self.layout.size), self.state)
        state.stamp_ns = self.state.stamp_ns
        if slot >= 0:
            index, written = self._read("=II")
            epoch, first, last, size = self._read("=4I")
            data = self.process.stdout.read(self.layout.slot_size - 16)[:size]
            assert index == slot
            state.slots[index] = model.Slot(epoch, first, last, data)
            if written == self.SCRATCH:
                state.slots[index] = model.Slot(None, None, None, None)
        frames_out = [self.process.stdout.read(*self._read("=I")) for _ in range(out)]
        counters = {list(model.REASONS)[reason]: 1}
        for name, times in (("wake", wakes), ("tc-clone", clones), ("tc-clone-failed", failed)):
            if times:
                counters[name] = times
        self.state = state
        return executors.Outcome(VERDICTS[verdict], counters, frames_out, state.copy())


@pytest.fixture(scope="module")
def c_model():
    programs = Programs(executors.OBJECT)  # for the layout of the state in its BTF
    one = CModel(programs.layout)
    yield one
    one.close()
    programs.close()


def as_expected(step, outcome):
    """The step, expecting what somebody gave."""
    return step._replace(
        verdict=outcome.verdict, counters=outcome.counters, frames=outcome.frames, after=outcome.state
    )


def same_story(case, *others):
    """The case, the model in Python and the others agree on every step."""
    runs = [executors.run_case(one, case) for one in (executors.ModelExecutor(), *others)]
    for number, ((step, python), *rest) in enumerate(zip(*runs)):
        where = f"{case.name} step {number + 1} ({case.path}:{step.line})"
        differences = report.compare(step, python)
        assert not differences, f"{where}: model in Python: {differences}"
        for other, (_, outcome) in zip(others, rest):
            differences = report.compare(as_expected(step, python), outcome)
            assert not differences, f"{where}: {other.name}: {differences}"


def test_the_models_agree_on_every_case(c_model):
    every = cases.load_all()
    assert len(every) > 250
    for case in every:
        same_story(case, c_model)


def test_the_models_agree_on_random_stories(c_model, tmp_path):
    """Also that both sides build the same frames, and that what is printed is a case."""
    run = fuzz("--cases", 40, "--seed", 11)
    stories = load_cases(run.stdout, tmp_path)
    assert run.returncode == 0 and len(stories) == 40
    for story in stories:
        same_story(story, c_model)


# -- the loop ------------------------------------------------------------------------------


def test_the_programs_do_what_the_model_says():
    run = fuzz("--time", 4, "--seed", 7)
    packets, failures = closing(run)
    assert (run.returncode, failures) == (0, 0), run.stdout
    assert packets > 10000
    missed = re.search(r"^not reached:(.*)$", run.stdout, re.M)
    # It needs a second CPU; "resize" needs a BPF_PROG_TEST_RUN that makes frames in pieces (6.18).
    assert set(missed[1].split()) - {"resize"} == {"frozen-late"}


def test_a_seed_is_always_the_same():
    first, again, other = (fuzz("--stories", 60, "--seed", seed, "--jobs", jobs).stdout
                           for seed, jobs in ((3, 1), (3, 2), (4, 1)))  # fmt: skip
    counts = [re.findall(r"^  (\S+) +(\d+)$", text, re.M) for text in (first, again, other)]
    assert counts[0] and counts[0] == counts[1] != counts[2]


# Rules that the model is told to get wrong: the reason that shows it.
WRONG = {
    "newest-op": "ack-again", "log-full": "log-full", "unsent": "ok-unsent", "flag": "tc-broadcast",
    "ttl": "ttl-zero", "torn": "ack", "count": "ack",
}  # fmt: skip


@pytest.mark.parametrize("rule", WRONG)
def test_a_mistake_is_found_and_made_small(rule, tmp_path):
    run = fuzz("--stories", 400, "--seed", 5, "--jobs", 1, "--wrong", rule)
    assert run.returncode == 1 and closing(run)[1] > 0, run.stdout
    report_text = run.stdout[: run.stdout.index("\n  frame-short")]
    found = load_cases(report_text, tmp_path)
    assert found, report_text
    for case in found:
        assert len(case.steps) <= 6, report_text  # a log of four slots is full after five
        python = executors.ModelExecutor()
        steps = list(executors.run_case(python, case))
        for step, outcome in steps[:-1]:
            assert not report.compare(step, outcome)
        # The last step expects what the wrong model says; the one in Python knows better.
        step, outcome = steps[-1]
        if rule not in ("torn", "flag"):  # bytes of slots and clones are not printed
            assert report.compare(step, outcome), report_text
        assert WRONG[rule] in outcome.counters, report_text

    again = re.search(r"SEED=(\d+) AT=(\d+)", report_text)
    run = fuzz("--seed", again[1], "--at", again[2], "--wrong", rule)
    assert closing(run)[1] == 1 and f"fuzz-{again[1]}-{again[2]}\n" in run.stdout


@pytest.mark.parametrize("arguments", [("--seed", "x"), ("--jobs", "0"), ("--wrong", "no"), ("more",), ("--time", "-1")])
def test_usage(arguments):
    run = fuzz(*arguments)
    assert run.returncode == 2 and not run.stdout and "usage: fuzz" in run.stderr


# -- hypothesis, on the model in Python -----------------------------------------------------

PEERS = st.integers(0, 4)
EDGES = st.sampled_from([0, 1, 2, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
U32 = st.one_of(EDGES, st.integers(0, 0xFFFFFFFF))
U16 = st.one_of(st.sampled_from([0, 1, 0xFFFF, 12345]), st.integers(0, 0xFFFF))
U8 = st.integers(0, 255)
KINDS = {"follower": ["Prepare"] * 8, "leader": ["PrepareOK", "MyPrepareOK"] * 4, "tc": ["Prepare", "Commit"] * 4}

# Mostly a right frame: at most two of these.
ODD = {
    "from": PEERS, "to": PEERS, "eth_dst": PEERS, "eth_src": PEERS, "src": PEERS, "dst": PEERS,
    "eth_type": U16, "vlan": st.lists(st.integers(0, 4095), min_size=1, max_size=2), "vihl": U8, "tos": U8,
    "total": U16, "id": U16, "frag": st.sampled_from([0, 0x2000, 0x8000, 1, 0x1FFF]), "ttl": U8, "proto": U8,
    "ip_sum": st.sampled_from(["wrong", "zero"]), "udp_sum": st.sampled_from(["wrong", "zero", "partial", 0xFFFF]),
    "options": st.integers(1, 10).map(lambda n: "01" * 4 * n), "sport": U16, "dport": U16, "udp_len": U16,
    "payload": st.binary(max_size=60).map(bytes.hex), "magic": st.sampled_from([0x20101010, 0, 0xFFFFFFFF]),
    "T": st.one_of(st.integers(0, 50), st.just(1 << 32 | 33)), "name": st.sampled_from(list(frames.NAMES)),
    "view": st.one_of(st.integers(104, 107), U32), "op": U32, "third": U32, "B": st.integers(0, 99),
    "body_view": st.integers(0, 107), "body_op": U32, "body_index": U32, "tail": st.integers(1, 40),
}  # fmt: skip


@st.composite
def a_frame(draw, role):
    """Fields for frames.build, given how far the op is from the next one."""
    f = {"kind": draw(st.sampled_from(KINDS[role] + list(frames.NAMES)))}
    f["body"] = draw(st.one_of(st.integers(0, 80), st.integers(0, 1900)))
    if f["kind"] == "MyPrepareOK":
        del f["body"]
    if role == "tc" and draw(st.booleans()):
        f["flag"] = True
    for field in draw(st.lists(st.sampled_from(list(ODD)), max_size=2)):
        f[field] = draw(ODD[field])
    if draw(st.integers(0, 9)) == 0:
        f["flip"] = draw(st.lists(st.integers(0, 110), min_size=1, max_size=3))
    if role == "leader" and "from" not in f:
        f["from"] = draw(PEERS)
    near = draw(st.sampled_from([0, 0, 0, 0, -1, -2, 1, 2, 40]))
    return f, near, draw(st.sampled_from([0, 0, 0, 1, 3, 63, 64]))


# What user space does: (what, a number).
SETS = st.one_of(
    st.just(("nothing", 0)),
    st.tuples(st.sampled_from(["freeze", "busy", "repair", "sleep", "status", "consume", "age", "sent"]),
              st.integers(0, 3)),
    st.tuples(st.just("thaw"), st.integers(-3, 3)),
)  # fmt: skip


def user_space(s, what, number):
    """Does it to a state."""
    if what in ("freeze", "busy"):
        setattr(s, {"freeze": "frozen"}.get(what, what), True)
    elif what == "repair":
        s.frozen = s.busy = False
        s.page.status, s.page.epoch, s.stamp_ns = model.NORMAL, s.epoch, s.now_ns
    elif what == "sleep":
        s.sleeping, s.wake_backlog = 1, number
    elif what == "status":
        s.page.status = number
    elif what == "consume":
        s.consumed = s.last
    elif what == "age":
        s.stamp_ns = s.now_ns - number * s.lease_ns // 2
    elif what == "sent":
        s.sent = model.word(s.epoch, min(model.word_op(s.sent) + number, 0xFFFFFFFF))
    elif what == "thaw":
        page = s.page.copy()
        s.epoch = page.epoch = s.epoch + 1 & model.EPOCH_MASK
        page.view += 1
        s.control[s.epoch & 1] = page
        s.frozen, s.last = False, max(0, min(s.last + number, 0xFFFFFFFF))
        s.consumed = min(s.consumed, s.last)
        s.sent = model.word(s.epoch, s.last)
        s.committed = model.word(s.epoch, 0)
        s.acked = [s.committed] * model.REPLICAS_MAX


def build(role, s, f, near, batch):
    """The frame, or None when its fields do not go together."""
    f = dict(f)
    egress = role == "tc"
    ack = f["kind"] in ("PrepareOK", "MyPrepareOK")
    if f["kind"] == "Prepare" or ack:
        base = model.word_op(s.sent) if ack else s.last + 1 + batch
        f.setdefault("op", max(0, min(base + near, 0xFFFFFFFF)))
        if f["kind"] == "Prepare":
            f.setdefault("third", max(0, min(s.last + 1 + near, 0xFFFFFFFF)))
    try:
        frame = frames.build({**f, "egress": egress}, s)
    except frames.FrameError:
        return None
    return frame


@pytest.fixture(scope="module")
def testrun():
    try:
        one = executors.TestRunExecutor()
    except executors.Unavailable as e:
        pytest.skip(str(e))
    yield one
    one.close()


@pytest.mark.parametrize("role", list(KINDS))
def test_random_sequences(role, testrun, c_model):
    """The programs, the model in C and the model in Python, frame by frame."""

    @settings(max_examples=40, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        st.fixed_dictionaries({
            "n": st.sampled_from([5, 7, 64]), "epoch": st.sampled_from([0, 6, 7, model.EPOCH_MASK]),
            "last": st.sampled_from([0, 10, 127, 128, 0xFFFFFF00, 0xFFFFFFFE]),
            "log_size": st.sampled_from([4, 128]), "view": st.sampled_from([0, 105, 0x7FFFFFFE - 40]),
        }),
        st.lists(st.tuples(SETS, a_frame(role)), min_size=1, max_size=30),
    )  # fmt: skip
    def story(before, steps):
        start = cases.Map("a story", 0)
        start.update(before, base="leader" if role != "follower" else role)
        start.update(consumed=max(0, before["last"] - 2))
        state = cases.make_state(start)
        python = executors.ModelExecutor()
        for number, (action, fields) in enumerate(steps):
            user_space(state, *action)
            frame = build(role, state, *fields)
            if frame is None:
                continue
            program = "tc" if role == "tc" else "xdp"
            context = model.Context()
            for one in (python, testrun, c_model):
                if number == 0 or action[0] != "nothing" or one is python:
                    one.load(state)
            expected = python.send(program, frame, context)
            step = as_expected(
                cases.Step(state, True, frame, context, False, "", {}, [], state, 0), expected
            )
            for one in (testrun, c_model):
                differences = report.compare(step, one.send(program, frame, context))
                assert not differences, f"step {number + 1}: {one.name}: {differences}"
            state = expected.state

    story()
