# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Acks on two CPUs at once: each op completes its quorum once, whoever sees it first (S3).

    one CPU     acks of replica 1 ----> acked[1] \\
                                                  committed, raised by compare-and-exchange
    another     acks of replica 2 ----> acked[2] /

With a quorum of one, any ack of the op after the last committed one completes it: both CPUs always
send that op's, and of two raises of one word to one op exactly one may say that it did it.
"""

import os

import pytest

from . import cases, executors, frames, model

OPS = 20_000
ROUNDS = 3  # plain stores collide in one op of some thousand
CASE = next(case for case in cases.load_all() if case.name == "three-replicas-first-ack-completes")


def _acks(state, replica):
    """MyPrepareOKs of a replica: of op 1, 2, ..."""
    fields = {"kind": "MyPrepareOK", "from": replica, "egress": False}
    return [frames.build({**fields, "op": op}, state) for op in range(1, OPS + 1)]


def _send(programs, acks):
    """Of the op that is next, until all are committed. Returns the verdicts that were wrong."""
    words = memoryview(programs.state_memory).cast("Q")
    at = programs.layout.at["committed"] // 8
    wrong = set()
    while (done := words[at] & 0xFFFFFFFF) < OPS:
        wrong |= {programs.xdp.run_xdp(acks[done])[0]} - {"pass", "drop"}
    words.release()
    return wrong


@pytest.mark.needs("two_cpus")
def test_each_op_completes_its_quorum_once(subject):
    cpus = sorted(os.sched_getaffinity(0))
    state = CASE.steps[0].before.copy()
    state.sent = model.word(state.epoch, OPS)
    state.committed = state.acked[1] = state.acked[2] = model.word(state.epoch, 0)
    one, other = _acks(state, 1), _acks(state, 2)
    programs = executors.open_programs(*subject, slot_count=state.slot_count)
    try:
        for _ in range(ROUNDS):
            programs.load(state)
            programs.mark()
            child = os.fork()
            os.sched_setaffinity(0, {cpus[0 if child else 1]})
            if child == 0:
                status = 1
                try:
                    status = len(_send(programs, other))
                finally:
                    os._exit(status)
            wrong = _send(programs, one)
            _, status = os.waitpid(child, 0)
            assert not wrong and status == 0
            counted = programs.counted()
            assert counted["quorum"] == OPS, "raises of `committed` that were said to be done"
            assert set(counted) <= {"quorum", "absorbed", "ok-again"}
    finally:
        os.sched_setaffinity(0, cpus)
        programs.close()
