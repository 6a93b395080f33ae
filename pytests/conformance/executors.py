# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Who can run a case: one interface, and the executor that is the reference model.

    executor.load(state)                      user space writes the whole state
    executor.send(program, frame, context)    one frame -> Outcome
"""

import time
from typing import NamedTuple

from . import model


class Unavailable(Exception):
    """This executor cannot run here; the text says what is missing."""


class Outcome(NamedTuple):
    verdict: str  # PASS TX DROP, OK STOLEN, or what else the program returned
    counters: dict  # reasons counted by this frame: {name: times}
    frames: list  # PASS, OK: [the frame that went on]; TX: [what was sent]; STOLEN: clones in order
    state: model.State  # afterwards


class Executor:
    """One way to run the programs. Not shared by threads; close() leaves nothing behind."""

    name = ""

    def load(self, state):
        raise NotImplementedError

    def send(self, program, frame, context):
        raise NotImplementedError

    def close(self):
        pass


class ModelExecutor(Executor):
    """(a) the reference model."""

    name = "model"

    def __init__(self):
        self.state = None

    def load(self, state):
        self.state = state.copy()

    def send(self, program, frame, context):
        run = model.tc if program == "tc" else model.xdp
        result = run(self.state, frame, context)
        counters = {result.reason: 1, **result.notes}
        return Outcome(result.verdict, counters, result.frames, self.state.copy())


def with_clock(state):
    """A state whose stamp counts from now of the kernel's clock."""
    out = state.copy()
    out.stamp_ns += time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return out


def run_case(executor, case):
    """Yields (step, outcome) for each step until the caller stops."""
    for step in case.steps:
        if step.load:
            executor.load(with_clock(step.before) if step.clock else step.before)
        context = step.context
        if step.clock:
            context = context._replace(clock_ns=time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        yield step, executor.send(case.program, step.frame, context)


OPEN = {"model": ModelExecutor}  # executors in the order in which they run
