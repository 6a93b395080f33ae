# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a single packet cannot bring about: the gate is frozen, or thawed, during a copy.

    one CPU     BPF_PROG_TEST_RUN of a large Prepare:  claim ... copy, checksum ... publish
    another     looks at the gate, and sets frozen as soon as it is busy

    one CPU     of one that was stored before:  gate, page ... copy, checksum ... gate, ack
    another     moves the gate to another epoch and back
"""

import contextlib
import mmap
import os

import pytest

from . import cases, executors, model
from .programs import BUSY, FROZEN

pytestmark = pytest.mark.needs("two_cpus")

CASES = {case.name: case for case in cases.load_all()}
FIRST = CASES["payload-that-fills-a-slot"].steps[0]
AGAIN = CASES["again-one-that-fills-a-slot"].steps[0]
TRIALS = 100_000  # each hits with a chance of some percent
HITS = 3  # are enough


@contextlib.contextmanager
def beside(cpu, work):
    """A process that does some work again and again on a CPU of its own."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, {cpu})
            parent = os.getppid()
            while os.getppid() == parent:
                work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.fixture
def cpus():
    """Two CPUs; the test runs on the first."""
    every = os.sched_getaffinity(0)
    two = sorted(every)[:2]
    os.sched_setaffinity(0, {two[0]})
    yield two
    os.sched_setaffinity(0, every)


@pytest.fixture
def programs(subject):
    opened = executors.open_programs(*subject, slot_count=FIRST.before.slot_count)
    yield opened
    opened.close()


@pytest.fixture
def gate(programs):
    """A view of the one word that all is about."""
    at = programs.layout.at["gate"]
    with memoryview(programs.state_memory) as memory, memory[at : at + 8].cast("Q") as word:
        yield word


def test_frozen_between_claim_and_publish(programs, gate, cpus):
    """No ack, the last op stays, the gate is not busy, the packet goes on unchanged."""
    rest = model.word(FIRST.before.epoch, FIRST.before.last)
    # The number of the trial, and of the last one in which the gate was frozen.
    trial = memoryview(mmap.mmap(-1, 16)).cast("Q")

    def freeze():
        for _ in range(10_000):
            number = trial[0]
            if gate[0] == rest | BUSY:
                gate[0] = rest | BUSY | FROZEN
                trial[1] = number

    state = bytes(programs.layout.pack(FIRST.before))
    late, hits = programs.reasons["frozen-late"], 0
    with beside(cpus[1], freeze):
        for number in range(1, TRIALS + 1):
            trial[0] = number
            programs.state_memory[: len(state)] = state
            before = programs.counters.counter(late)
            verdict, frame = programs.xdp.run_xdp(FIRST.frame)
            frozen, now = trial[1] == number, gate[0]
            # A gate that was frozen after the publishing is busy: the freezer wrote what it saw.
            assert not (frozen and not now & FROZEN), "the freeze was undone"
            assert (verdict, now) != ("tx", rest | FROZEN), "acked, though frozen and not published"
            if programs.counters.counter(late) > before:
                assert (verdict, frame, now) == ("pass", FIRST.frame, rest | FROZEN)
                hits += 1
                if hits == HITS:
                    break
    assert hits, f"frozen-late was not hit in {TRIALS} trials"


def test_thawed_before_an_ack_again(programs, gate, cpus):
    """What the page said was of an epoch that is over: no ack, the packet goes on unchanged."""
    words = [model.word(AGAIN.before.epoch + thaws, AGAIN.before.last) for thaws in (0, 2)]

    def move():
        for _ in range(10_000):
            for word in words:
                gate[0] = word

    programs.load(AGAIN.before)
    lost, hits = programs.reasons["claim-lost"], 0
    with beside(cpus[1], move):
        for _ in range(TRIALS):
            before = programs.counters.counter(lost)
            verdict, frame = programs.xdp.run_xdp(AGAIN.frame)
            if programs.counters.counter(lost) > before:
                assert (verdict, frame) == ("pass", AGAIN.frame)
                hits += 1
                if hits == HITS:
                    break
    assert hits, f"no epoch was over before the ack in {TRIALS} trials"
