# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Verdicts over histories and logs that are written here: what must pass, and what must not.

A history is written as rows (client, from, to, op, result, op number); to None: no reply.
"""
import os
import random
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, os.path.join(ROOT, "topo"))
import verdict  # noqa: E402
from verdict import Log, Operation  # noqa: E402


def history(*rows):
    return [Operation(client, "%016x" % client, reqid, begin, end, op, result, opnum)
            for reqid, (client, begin, end, op, result, opnum) in enumerate(rows, 1)]


def judge(*rows):
    return verdict.linearizable(history(*rows))


GOOD = {
    "nothing at all": [],
    "one after the other": [(0, 0, 1, "SET k a", "OK", 1), (0, 2, 3, "GET k", "a", 2)],
    "never written": [(0, 0, 1, "GET k", "NONE", 1)],
    "overlapping, in the order of their numbers": [
        (0, 0, 9, "SET k a", "OK", 2), (1, 1, 8, "SET k b", "OK", 1), (2, 9, 10, "GET k", "a", 3)],
    "numbers with gaps": [(0, 0, 1, "SET k a", "OK", 7), (0, 2, 3, "GET k", "a", 90)],
    "without a reply, it happened": [
        (0, 0, None, "SET k a", None, None), (1, 1, 2, "GET k", "a", 2)],
    "without a reply, it did not happen": [
        (0, 0, None, "SET k a", None, None), (1, 1, 2, "GET k", "NONE", 1)],
    "without a reply, it happened late": [
        (0, 0, None, "SET k a", None, None), (1, 1, 2, "SET k b", "OK", 1), (1, 3, 4, "GET k", "b", 2),
        (1, 5, 6, "GET k", "a", 4)],
    "two without a reply, two free numbers": [
        (0, 0, None, "SET k a", None, None), (1, 0, None, "SET m b", None, None),
        (2, 1, 2, "GET k", "a", 3), (2, 3, 4, "GET m", "b", 4)],
    "the same value twice without a reply": [
        (0, 0, None, "SET k a", None, None), (1, 0, None, "SET k a", None, None),
        (2, 1, 2, "GET k", "a", 2), (2, 3, 4, "SET k b", "OK", 3), (2, 5, 6, "GET k", "a", 5)],
}

BAD = {
    "a stale read": ([(0, 0, 1, "SET k a", "OK", 1), (0, 2, 3, "SET k b", "OK", 2),
                      (1, 4, 5, "GET k", "a", 3)], "written by op 1, and overwritten since"),
    "a lost write": ([(0, 0, 1, "SET k a", "OK", 1), (1, 2, 3, "GET k", "NONE", 2)], "a write was lost"),
    "two contents at one op number": ([(0, 0, 5, "SET k a", "OK", 1), (1, 0, 5, "SET k b", "OK", 1)],
                                      "op 1 is both"),
    "time travel": ([(0, 10, 11, "SET k a", "OK", 1), (1, 2, 3, "SET k b", "OK", 2)],
                    "had ended 7 ns before op 1"),
    "time travel by a third party": (
        [(0, 10, 20, "SET k a", "OK", 1), (1, 0, 30, "SET m b", "OK", 2), (2, 2, 3, "SET n c", "OK", 3)],
        "had ended 7 ns before op 1"),
    "an end before the beginning": ([(0, 5, 4, "SET k a", "OK", 1)], "1 ns before it began"),
    "a result from the future": ([(0, 0, 9, "GET k", "a", 1), (1, 0, 9, "SET k a", "OK", 2)],
                                 "op 2, in the future"),
    "a duplicate execution": (
        [(0, 0, 1, "SET k a", "OK", 1), (1, 2, 3, "SET k b", "OK", 2), (1, 4, 5, "GET k", "b", 3),
         (1, 6, 7, "GET k", "a", 5)], "written by op 1, and overwritten since"),
    "a value that nobody wrote": ([(0, 0, 1, "GET k", "z", 1)], "nobody had written that"),
    "a write refused": ([(0, 0, 1, "SET k a", "ERROR: full", 1)], "was answered 'ERROR: full'"),
    "an op number of 0": ([(0, 0, 1, "SET k a", "OK", 0)], "op number 0"),
    "without a reply, seen before it began": (
        [(1, 0, 1, "GET k", "a", 5), (0, 2, None, "SET k a", None, None)], "nobody had written"),
    "without a reply, it happened twice": (
        [(0, 0, None, "SET k a", None, None), (1, 1, 2, "GET k", "a", 2),
         (1, 3, 4, "SET k b", "OK", 4), (1, 5, 6, "GET k", "a", 6)], "nobody had written"),
    "without a reply, no number is free": (
        [(0, 0, None, "SET k a", None, None), (1, 1, 2, "GET k", "NONE", 1), (1, 3, 4, "GET k", "a", 2)],
        "no op number is free"),
    "two without a reply, one free number": (
        [(0, 0, None, "SET k a", None, None), (1, 0, None, "SET m b", None, None),
         (2, 1, 2, "GET k", "a", 2), (2, 3, 4, "GET m", "b", 3)], "no op number is free"),
    "without a reply, it began too late for its place": (
        [(1, 0, 1, "SET m x", "OK", 3), (0, 2, None, "SET k a", None, None), (1, 3, 4, "GET k", "a", 4)],
        "no op number is free"),
}


@pytest.mark.parametrize("name", GOOD)
def test_histories_that_pass(name):
    assert judge(*GOOD[name]) == (True, [])


@pytest.mark.parametrize("name", BAD)
def test_histories_that_do_not(name):
    rows, says = BAD[name]
    told, problems = judge(*rows)
    assert told is False and any(says in one for one in problems), problems


def test_one_request_answered_at_two_numbers():
    once, again = history((0, 0, 1, "SET k a", "OK", 1), (0, 2, 3, "SET k a", "OK", 2))
    told, problems = verdict.linearizable([once, again._replace(reqid=once.reqid)])
    assert told is False and "executed twice, as op 1 and as op 2" in problems[0]


def test_operations_of_another_kind():
    told, problems = judge((0, 0, 1, "INCR k", "1", 1))
    assert told == "could not be told: nobody knows what 'INCR k' should give" and problems == []


def random_history(seed):
    """What an atomic store gives to clients whose operations overlap; some replies are lost."""
    dice = random.Random(seed)
    free, rows, store, now = dict.fromkeys(range(6), 0), [], {}, 0
    for opnum in range(1, 400):
        now += dice.randrange(1, 10)
        client = dice.choice([c for c in free if free[c] < now] or [0])
        now = max(now, free[client] + 1)
        key = "k%d" % dice.randrange(4)
        begin = dice.randrange(free[client] + 1, now + 1)
        free[client] = now + dice.randrange(1, 20)
        if dice.random() < 0.5:
            store[key] = "v%d" % opnum
            row = "SET %s v%d" % (key, opnum), "OK"
        else:
            row = "GET %s" % key, store.get(key, "NONE")
        if dice.random() < 0.05:
            rows.append((client, begin, None, row[0], None, None))
            free[client] = now + 10 ** 9  # it waits for ever
            free[len(free)] = now
        else:
            rows.append((client, begin, free[client], *row, opnum))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_random_histories(seed):
    """Right ones pass; with one result, or one pair of numbers, changed they do not."""
    rows = random_history(seed)
    assert judge(*rows) == (True, [])
    dice = random.Random(seed)
    reads = [i for i, r in enumerate(rows) if r[3].startswith("GET") and r[4] not in (None, "NONE")]
    wrong = list(rows)
    i = dice.choice(reads)
    wrong[i] = (*rows[i][:4], "v0", rows[i][5])
    assert judge(*wrong)[0] is False
    done = sorted((r for r in rows if r[2]), key=lambda r: r[5])
    first = next(r for r in done if any(s[1] > r[2] for s in done))
    later = next(s for s in done if s[1] > first[2])
    wrong = [(*r[:5], {first[5]: later[5], later[5]: first[5]}.get(r[5], r[5])) for r in rows]
    assert judge(*wrong)[0] is False


# --- logs


def hexed(op):
    return op.encode().hex()


def log(node, *ops, committed=None, base=0, state=None, view=0, records=()):
    """ops: (client, reqid, text) from base + 1 on"""
    made = Log(node, committed)
    if base:
        made.add({"record": "snapshot", "op": base, "bytes": 0, "state": state})
    for op, (client, reqid, data) in enumerate(ops, base + 1):
        made.add({"record": "entry", "op": op, "view": view, "client": "%016x" % client,
                  "reqid": reqid, "data": hexed(data)})
    for record in records:
        made.add(record)
    return made


A, B, C = (1, 1, "SET k a"), (2, 1, "SET k b"), (3, 1, "SET k c")


@pytest.mark.parametrize("logs", [
    [log("r0", A, B, committed=2), log("r1", A, B, committed=2)],
    [log("r0", A, B, committed=2), log("r1", A, committed=1)],
    # what a deposed leader never got through
    [log("r0", A, C, committed=1), log("r1", A, committed=2, records=[
        {"record": "entry", "op": 2, "view": 1, "client": "%016x" % 2, "reqid": 1,
         "data": hexed("SET k b")}])],
    # cut off again
    [log("r0", A, C, committed=2, records=[
        {"record": "truncate", "op": 1},
        {"record": "entry", "op": 2, "view": 1, "client": "%016x" % 2, "reqid": 1,
         "data": hexed("SET k b")}]), log("r1", A, B, committed=2)],
    # replaced by another's snapshot
    [log("r0", A, C, committed=9, records=[{"record": "snapshot", "op": 9, "bytes": 1}]),
     log("r1", A, B, committed=2)],
    [log("r0", A, B, committed=2), log("r1", base=2, committed=2, state={"k": "b"})],
])
def test_logs_that_agree(logs):
    assert verdict.logs_agree(logs, []) == (True, [])


@pytest.mark.parametrize("logs, says", [
    ([log("r0", A, B, committed=2), log("r1", A, C, committed=2, view=1)],
     "op 2 is 'SET k b' in r0 and 'SET k c' in r1"),
    ([log("r0", A, B, committed=1), log("r1", A, C, committed=1)], "op 2 is"),  # in one view
    ([log("r0", A, B), log("r1", A, C)], "op 2 is"),
    ([log("r0", A, B, A, committed=3), log("r1", A, B, committed=2)],
     "r0 has one request twice, as op 1 and as op 3"),
    ([log("r0", A, B, committed=2), log("r1", base=2, committed=2, state={"k": "a"})],
     "the snapshot of r1 at op 2 has k = 'a', and it is 'b'"),
    ([log("r0", A, B, committed=2), log("r1", base=2, committed=2, state={"k": "b", "x": "y"})],
     "has x = 'y', and it is 'NONE'"),
])
def test_logs_that_do_not(logs, says):
    told, problems = verdict.logs_agree(logs, [])
    assert told is False and says in problems[0]


def test_a_log_with_what_nobody_asked_for():
    asked = [Operation("c0", "%016x" % 1, 1, 0, 1, "SET k z", "OK", 1)]
    told, problems = verdict.logs_agree([log("r0", A, committed=1)], asked)
    assert told is False and "'SET k z' was asked for" in problems[0]


def test_no_logs():
    assert verdict.logs_agree([], [])[0].startswith("could not be told")


def acked(*contents):
    return [Operation("c0", "%016x" % client, reqid, 0, 1, op, "OK", opnum)
            for opnum, (client, reqid, op) in enumerate(contents, 1)]


@pytest.mark.parametrize("logs", [
    [log("r0", A, B, committed=2), log("r1", A, B, committed=1), log("r2", A, committed=1)],
    [log("r0", A, B, committed=2), log("r1", base=2, committed=2), log("r2", committed=0)],
    [log("r0", A, B, committed=2), log("r1", A, B), log("r2", A)],  # journals of dead ones count
])
def test_acked_ops_kept(logs):
    assert verdict.no_acked_op_lost(acked(A, B), logs, 3) == (True, [])


@pytest.mark.parametrize("logs", [
    [log("r0", A, B, committed=2), log("r1", A, committed=1), log("r2", A, committed=1)],
    [log("r0", A, C, committed=2), log("r1", A, C, committed=2), log("r2", A, C, committed=2)],
    [log("r0", A, B, committed=2), log("r1", A, C), log("r2", A, committed=1)],
    [log("r0", A, B, A, committed=3), log("r1", A, C), log("r2", A, C, B)],  # in the wrong place
])
def test_acked_ops_lost(logs):
    told, problems = verdict.no_acked_op_lost(acked(A, B), logs, 3)
    assert told is False and problems[0].startswith("op 2 (c0's SET k b) was answered, and 1 of 3") or \
        "0 of 3" in problems[0]


def test_acked_ops_that_may_be_in_a_dead_kernel_log():
    logs = [log("r0", A, B, committed=2), log("r1", A), log("r2", A, committed=1)]
    told, problems = verdict.no_acked_op_lost(acked(A, B), logs, 3)
    assert told == ("could not be told: op 2 may stand in the kernel log of r1, which ended before it "
                    "could say") and problems == []


def test_acked_ops_without_a_journal():
    told, _ = verdict.no_acked_op_lost(acked(A), [log("r0", A, committed=1)], 3)
    assert told.startswith("could not be told: 2 of 3 replicas")
