# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A leader's wait for a quorum, in XDP: of the acks for an op exactly the one that completes the
quorum reaches the socket; what is not an ack of its sender counts for nothing (S3, S6, S7)."""
import pytest

from paxos import *
from subject import FROZEN, word


def start(bench, n, leader=0, sent=8, view=None, **state):
    bench.start(n=n, self_index=leader, leader=leader, sent=sent,
                view=4 * n + leader if view is None else view, **state)


def others(n, leader):
    return [i for i in range(n) if i != leader]


def absorbed(bench, frame, reason="absorbed"):
    out = bench.exchange(frame)
    assert (out.replies, out.passed, out.datagrams) == ([], [], [])
    assert out.counted == {reason: 1}


def completes(bench, frame):
    """This ack, and nothing else, reaches the socket, as it is."""
    out = bench.exchange(frame)
    assert out.counted == {"quorum": 1} and not out.replies
    assert [bytes(f) for f in out.passed] == [bytes(frame)]
    assert out.datagrams == [bytes(frame[Paxos])]


@pytest.mark.parametrize("n", [3, 4, 5, 7, 15, 64])
@pytest.mark.parametrize("mine", [True, False], ids=["MyPrepareOK", "PrepareOK"])
def test_exactly_the_completing_ack_passes(bench, n, mine):
    leader = n // 2
    start(bench, n, leader)
    f = (n - 1) // 2
    for op in (1, 2, 3):
        for count, i in enumerate(others(n, leader), 1):
            ack = bench.ack(i, op, mine=mine)
            if count == f:
                completes(bench, ack)
            else:
                absorbed(bench, ack)
            assert bench.replica.committed == (op if count >= f else op - 1)
            assert bench.replica.acked(i) == op
    assert bench.replica.acked(leader) == 0


@pytest.mark.parametrize("mine", [True, False], ids=["MyPrepareOK", "PrepareOK"])
def test_acks_are_for_all_ops_up_to_theirs(bench, mine):
    start(bench, 5, sent=9)
    absorbed(bench, bench.ack(1, 5, mine=mine))
    completes(bench, bench.ack(2, 3, mine=mine))   # 1..3 by 1 and 2
    assert bench.replica.committed == 3
    absorbed(bench, bench.ack(3, 2, mine=mine))
    completes(bench, bench.ack(3, 4, mine=mine))   # 4 by 1 and 3
    assert bench.replica.committed == 4
    completes(bench, bench.ack(4, 9, mine=mine))   # 5 by 1 and 4
    assert bench.replica.committed == 5
    completes(bench, bench.ack(1, 9, mine=mine))
    assert bench.replica.committed == 9


def test_one_replica_alone_commits_nothing(bench):
    """S3: never because of one packet, however often it comes."""
    start(bench, 5)
    absorbed(bench, bench.ack(1, 1))
    for mine in (True, False, True):
        absorbed(bench, bench.ack(1, 1, mine=mine), "ok-again")
    absorbed(bench, bench.ack(1, 8))
    absorbed(bench, bench.ack(1, 7), "ok-again")
    assert bench.replica.committed == 0
    completes(bench, bench.ack(2, 1))


def test_a_late_ack_does_not_pass_twice(bench):
    start(bench, 3)
    completes(bench, bench.ack(1, 4))
    absorbed(bench, bench.ack(2, 4))
    absorbed(bench, bench.ack(1, 4), "ok-again")
    absorbed(bench, bench.ack(2, 3), "ok-again")


@pytest.mark.parametrize("quorum", [1, 2, 6])
def test_quorum_is_the_control_pages(bench, quorum):
    start(bench, 7, quorum=quorum)
    for i in range(1, quorum):
        absorbed(bench, bench.ack(i, 1))
    completes(bench, bench.ack(quorum, 1))


@pytest.mark.parametrize("epoch", [0, 1, 2, (1 << 30) - 1])
@pytest.mark.parametrize("op", [1, 0xffff, 0xffffffff])
def test_any_epoch_and_op(bench, epoch, op):
    start(bench, 3, epoch=epoch, sent=op)
    completes(bench, bench.ack(2, op))
    assert bench.replica.state.committed == word(epoch, op)
    assert bench.replica.state.acked[2] == word(epoch, op)


@pytest.mark.parametrize("view", [0, 0x7ffffffe])
def test_any_view(bench, view):
    start(bench, 3, view=view)
    completes(bench, bench.ack(1, 1))


@pytest.mark.parametrize("ip", [dict(ttl=1, tos=0xb8, id=0, flags=0), dict(ttl=255)], ids=str)
def test_headers_of_an_ack_may_differ(bench, ip):
    start(bench, 3)
    completes(bench, bench.ack(1, 1, ip=ip))


def set_words(name, value):
    return lambda r: setattr(r.state, name, value)


REFUSED = {
    # name: (what is changed in the leader, ack, reason). Replica 1 of 5 acks op 1.
    "stale view": (None, dict(view=24), "ok-view"),
    "later view": (None, dict(view=26), "ok-view"),
    "view that does not fit": (None, dict(view=VIEW_UNFIT), "ok-view"),
    "op 0": (None, dict(op=0), "ok-zero"),
    "no such replica": (None, dict(index=5), "ok-index"),
    "no replica at all": (None, dict(index=0xffffffff), "ok-index"),
    "own index": (None, dict(index=0), "ok-self"),
    "another's index": (None, dict(index=2), "ok-sender"),
    "of another MAC": (None, dict(ether=dict(src="02:00:0a:07:00:03")), "ok-sender"),
    "of another address": (None, dict(ip=dict(src="10.7.0.3")), "ok-sender"),
    "of another port": (None, dict(udp=dict(sport=13002)), "ok-sender"),
    "of own addresses": (None, dict(ether=dict(src="02:00:0a:07:01:01"), ip=dict(src="10.7.1.1"),
                                    udp=dict(sport=PORT), index=0), "ok-self"),
    "op never sent": (None, dict(op=9), "ok-unsent"),
    "op of the far future": (None, dict(op=0xffffffff), "ok-unsent"),
    "nothing sent": (set_words("sent", word(1, 0)), {}, "ok-unsent"),
    "sent in another epoch": (set_words("sent", word(2, 8)), {}, "ok-epoch"),
    "acked in another epoch": (lambda r: r.state.acked.__setitem__(1, word(3, 0)), {},
                               "ok-epoch"),
    "to another MAC": (None, dict(ether=dict(dst="02:00:0a:07:01:02")), "not-own-address"),
    "to another address": (None, dict(ip=dict(dst="10.7.1.2")), "not-own-address"),
    "to a follower": (lambda r: setattr(r.control, "leader", 2), {}, "not-leader"),
    "while frozen": (lambda r: setattr(r.state, "gate", r.state.gate | FROZEN), {}, "frozen"),
    "while closed": (lambda r: setattr(r.control, "status", 0), {}, "not-normal"),
    "gate of another epoch": (lambda r: setattr(r.state, "gate", word(r.epoch + 1, 0)), {},
                              "not-normal"),
    "lease over": (lambda r: setattr(r.state, "now_ns", r.state.stamp_ns + r.state.lease_ns + 1),
                   {}, "lease"),
}


@pytest.mark.parametrize("mine", [True, False], ids=["MyPrepareOK", "PrepareOK"])
@pytest.mark.parametrize("why", REFUSED)
def test_does_not_count(bench, why, mine):
    change, ack, reason = REFUSED[why]
    start(bench, 5)
    frame = bench.ack(**{"i": 1, "op": 1, "mine": mine, **ack})
    if change:
        change(bench.replica)
    bench.passes(frame, reason)
    # the same, but for what was refused, counts; so the refused one left no trace
    start(bench, 5)
    if not change:
        bench.passes(frame, reason)
    absorbed(bench, bench.ack(1, 1, mine=mine))
    completes(bench, bench.ack(2, 1, mine=mine))


@pytest.mark.parametrize("who, what", [(2, word(2, 8)), (2, word(0, 8)), (0, word(1, 8))],
                         ids=["later epoch", "older epoch", "own word"])
def test_words_that_make_no_quorum(bench, who, what):
    """Of five, replica 1 acks; what stands for another epoch or for the leader itself is nobody's
    ack."""
    start(bench, 5)
    bench.replica.state.acked[who] = what
    absorbed(bench, bench.ack(1, 4))
    absorbed(bench, bench.ack(1, 8))
    assert bench.replica.committed == 0
    completes(bench, bench.ack(3, 5))
    assert bench.replica.committed == 5


def test_a_quorum_of_none_is_never_complete(bench):
    start(bench, 3, quorum=0)
    absorbed(bench, bench.ack(1, 1))
    assert bench.replica.committed == 0


@pytest.mark.parametrize("field, value", [("view", 26), ("view", 25 + (1 << 32)), ("opnum", 2),
                                          ("opnum", 1 + (1 << 32)), ("replica_idx", 2)])
def test_body_that_contradicts_its_header(bench, field, value):
    start(bench, 5, view=25)
    ack = bench.ack(1, 1)
    ack[Paxos].view, ack[Paxos].op, ack[Paxos].third = 25, 1, 1
    setattr(ack[MyPrepareOK], field, value)
    bench.passes(ack, "ok-body")
    absorbed(bench, bench.ack(1, 1))


@pytest.mark.parametrize("mine", [True, False], ids=["MyPrepareOK", "PrepareOK"])
def test_wrong_checksum_does_not_count(bench, mine):
    start(bench, 3)
    good = bench.ack(1, 1, mine=mine)
    summed = Ether(bytes(good))[UDP].chksum
    for wrong in (summed ^ 1, summed ^ 0x8000, summed ^ 0xffff):
        good[UDP].chksum = wrong
        bench.passes(good, "udp-checksum")
    del good[UDP].chksum
    completes(bench, good)


def test_switched_off(bench):
    with bench.programs(offloads=("broadcast", "ack")):
        start(bench, 3)
        bench.passes(bench.ack(1, 1), "off")
    start(bench, 3)
    completes(bench, bench.ack(1, 1))
