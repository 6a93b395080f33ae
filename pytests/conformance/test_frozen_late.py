# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The one reason that a single packet cannot bring about: the gate freezes during a copy.

    one CPU     BPF_PROG_TEST_RUN of a large Prepare:  claim ... copy, checksum ... publish
    another     looks at the gate, and sets frozen as soon as it is busy
"""

import contextlib
import os

import pytest

from . import cases, executors, model
from .programs import BUSY, FROZEN

CASE = next(case for case in cases.load_all() if case.name == "payload-that-fills-a-slot")
TRIALS = 100_000  # each hits with a chance of some percent


@contextlib.contextmanager
def freezer(memory, at, claimed, cpu):
    """A process that freezes the gate whenever it sees it claimed."""
    gate = memoryview(memory).cast("Q")
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {cpu})
        parent = os.getppid()
        while os.getppid() == parent:
            for _ in range(10_000):
                if gate[at] == claimed:
                    gate[at] = claimed | FROZEN
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        gate.release()


def test_frozen_between_claim_and_publish(subject):
    """No ack, the last op stays, the gate is not busy, the packet goes on unchanged."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("a race needs two CPUs")
    step = CASE.steps[0]
    programs = executors.open_programs(*subject, slot_count=step.before.slot_count)
    at = programs.layout.at["gate"] // 8
    rest = model.word(step.before.epoch, step.before.last)
    hits = 0
    os.sched_setaffinity(0, {cpus[0]})
    try:
        with freezer(programs.state_memory, at, rest | BUSY, cpus[1]):
            state = bytes(programs.layout.pack(step.before))
            late = programs.reasons["frozen-late"]
            for _ in range(TRIALS):
                programs.state_memory[: len(state)] = state
                before = programs.counters.counter(late)
                verdict, frame = programs.xdp.run_xdp(step.frame)
                if programs.counters.counter(late) > before:
                    gate = int.from_bytes(programs.state_memory[at * 8 : at * 8 + 8], "little")
                    assert (verdict, frame, gate) == ("pass", step.frame, rest | FROZEN)
                    hits += 1
                    if hits == 10:
                        break
    finally:
        os.sched_setaffinity(0, cpus)
        programs.close()
    assert hits, f"frozen-late was not hit in {TRIALS} trials"
