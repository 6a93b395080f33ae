# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The cases themselves: distinct, complete, and a mistake is named with its line."""

import re

import pytest

from . import cases, model

EVERY = cases.load_all()


def _content(case):
    """Everything that a case is but its name and what it expects."""
    state = [name for name in model.State.__slots__ if name not in ("control", "slots")]
    return repr([
        (step.frame, step.context, sorted(step.counters), sorted(step.before.slots.items()))
        + tuple(getattr(step.before, name) for name in state)
        + tuple(getattr(step.before.page, name) for name in model.Control.__slots__)
        for step in case.steps
    ])  # fmt: skip


def test_enough_cases_and_none_twice():
    seen = {}
    for case in EVERY:
        content = _content(case)
        assert content not in seen, f"{case.at()}: the same as {seen[content]}"
        seen[content] = case.name
    # One that differs from another only in a number or in the size of the cluster is the same.
    assert len({case.shape for case in EVERY}) >= 250


def test_every_promise_from_both_sides():
    """What must happen (an ack, a count, a clone) and what must not."""
    for promise in cases.PROMISES:
        verdicts = {s.verdict for case in EVERY if promise in case.promises for s in case.steps}
        assert verdicts & {"TX", "DROP", "STOLEN"} or promise == "S5", f"{promise}: nothing happens"
        assert verdicts & {"PASS", "OK"}, f"{promise}: nothing is refused"


# A race of two CPUs is beyond what one packet can bring about (test_frozen_late.py).
BEYOND_ONE_PACKET = {"frozen-late"}


def test_every_reason_is_expected_somewhere():
    expected = {name for case in EVERY for step in case.steps for name in step.counters}
    assert set(model.REASONS) - expected == BEYOND_ONE_PACKET


def test_sizes_roles_and_programs():
    sizes = {(case.program, step.before.page.n) for case in EVERY for step in case.steps}
    for n in (3, 5, 7, 15, 64):
        assert ("xdp", n) in sizes and ("tc", n) in sizes
    roles = {s.before.page.own == s.before.page.leader for c in EVERY if c.program == "xdp" for s in c.steps}
    assert roles == {True, False}


def test_few_executors_are_left_out():
    for executor in cases.EXECUTORS:
        left_out = [case.name for case in EVERY if executor in case.skip]
        assert len(left_out) <= 0.05 * len(EVERY), f"{executor}: {left_out}"


GOOD = """- group: one
  promise: S1
  before: {base: follower}
  frame: {kind: Prepare}
  cases:
    - name: a-case
      frame: {op: 12, third: 12}
      expect: PASS gap
"""


@pytest.mark.parametrize(
    "old, new, line, text",
    [
        ("op: 12", "opp: 12", 7, "frame has no key 'opp'"),
        ("op: 12", "op: -1", 7, "op: -1 does not fit"),
        ("third: 12", "src: 10.1", 7, "src: not an IPv4 address"),
        ("third: 12", "from: 3", 7, "from: there is no member 3"),
        ("third: 12", "patch: {999: 00}", 7, "patch: "),
        ("PASS gap", "PASS gaap", 8, "expect: a verdict and a reason"),
        ("PASS gap", "DROP gap", 8, "expect: the verdict of gap is not DROP"),
        ("PASS gap", "TX ack", 8, "TX needs ack"),
        ("expect", "expekt", 8, "a case has no key 'expekt'"),
        ("base: follower", "base: follow", 3, "base: one of"),
        ("base: follower", "base: follower, view: x", 3, "view is not int"),
        ("base: follower", "base: follower, base: leader", 3, "stands here twice"),
        ("promise: S1", "promise: S11", 2, "promise: one or more"),
        ("a-case", "a case", 6, "a case needs a name"),
        ("kind: Prepare", "kind: Propose", 4, "kind: one of"),
        ("cases:", "cases", 6, ""),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, old, new, line, text):
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(cases.CaseError) as e:
        cases.load_file(path)
    assert re.search(rf"wrong\.yaml:{line}: .*{re.escape(text)}", str(e.value)), str(e.value)


def test_the_example_is_good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    (case,) = cases.load_file(path)
    assert case.steps[0].counters == {"gap": 1} and case.line == 6


def test_a_name_stands_once(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(GOOD)
    two.write_text(GOOD)
    with pytest.raises(cases.CaseError, match="a-case is also at .*one.yaml:6"):
        cases.load_all([one, two])
