# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A follower's ack, made by XDP: Prepare in, kernel log, MyPrepareOK out (S1-S7, S10)."""
import random
import select

import pytest

from net import same
from paxos import *
from subject import BUSY, FROZEN, word

# Bytes of a Prepare around its body (Ethernet 14, IP 20, UDP 8, magic to body length 65), and
# of the ack.
AROUND, ACK = 107, 118
SLOT_DATA = 2032


def body(length, seed=0):
    return random.Random(length * 1000 + seed).randbytes(length)


def slot_holds(bench, prepare):
    head = prepare[Paxos]
    slot = bench.replica.slot(head.third)
    payload = bytes(head)
    assert (slot.epoch, slot.first, slot.last, slot.len) == \
        (bench.replica.epoch, head.third, head.op, len(payload))
    assert slot.data[:slot.len] == payload


@pytest.mark.parametrize("length", [
    0, 1, ACK - AROUND - 1, ACK - AROUND, ACK - AROUND + 1, 12, 13, 100, 101, 777,
    1513 - AROUND, 1514 - AROUND, SLOT_DATA - 65 - 1, SLOT_DATA - 65],
    ids=lambda b: "frame%d" % (AROUND + b))
def test_prepare_is_stored_and_acked(bench, length):
    bench.start(n=3, self_index=1, leader=0)
    prepare = bench.prepare(op=1, body=body(length))
    assert len(prepare) == AROUND + length
    bench.acked(prepare)
    slot_holds(bench, prepare)
    assert bench.replica.last == 1 and not bench.replica.state.gate & (BUSY | FROZEN)


def test_prepare_larger_than_a_slot_is_passed(bench):
    bench.start()
    bench.passes(bench.prepare(body=body(SLOT_DATA - 65 + 1)), "too-large")
    bench.acked(bench.prepare(body=body(SLOT_DATA - 65)))


@pytest.mark.parametrize("ip", [
    dict(id=0, flags=0), dict(id=0xffff, flags="DF"), dict(ttl=1), dict(ttl=255),
    dict(tos=0xb8), dict(tos=0x03, ttl=17, id=1, flags=0)], ids=str)
def test_ack_keeps_what_the_prepare_had(bench, ip):
    bench.start()
    bench.acked(bench.prepare(ip=ip))


@pytest.mark.parametrize("n, index, leader", [(3, 0, 1), (3, 2, 0), (5, 4, 3), (64, 63, 62),
                                              (64, 0, 63)])
def test_ack_of_any_replica_to_any_leader(bench, n, index, leader):
    view = 3 * n + leader
    bench.start(n=n, self_index=index, leader=leader, view=view)
    bench.acked(bench.prepare())


@pytest.mark.parametrize("view", [0, 1, 0x01020304, 0x7ffffffe])
@pytest.mark.parametrize("last", [0, 0xfffe, 0x01020304, 0xfffffffe])
def test_ack_of_any_view_and_op(bench, view, last):
    bench.start(view=view, last=last)
    prepare = bench.prepare(op=last + 1)
    bench.acked(prepare)
    slot_holds(bench, prepare)


@pytest.mark.parametrize("epoch", [0, 1, 2, (1 << 30) - 1])
def test_ack_in_any_epoch(bench, epoch):
    bench.start(epoch=epoch)
    prepare = bench.prepare()
    bench.acked(prepare)
    slot_holds(bench, prepare)


def test_a_run_fills_the_log_and_stops_at_its_end(bench):
    bench.start()
    slots = bench.replica.slots
    prepares = [bench.prepare(op=i) for i in range(1, slots + 1)]
    for prepare in prepares:
        bench.acked(prepare)
    for prepare in prepares:
        slot_holds(bench, prepare)
    bench.passes(bench.prepare(op=slots + 1), "log-full")
    bench.replica.state.consumed = 1
    bench.acked(bench.prepare(op=slots + 1))
    slot_holds(bench, bench.prepare(op=slots + 1))
    bench.passes(bench.prepare(op=slots + 2), "log-full")


def test_a_batch_counts_whole_against_the_log(bench):
    bench.start()
    slots = bench.replica.slots
    bench.acked(bench.prepare(op=slots - 1, batchstart=1))
    bench.passes(bench.prepare(op=slots + 1, batchstart=slots), "log-full")
    bench.acked(bench.prepare(op=slots))


def test_batch(bench):
    bench.start(last=5)
    prepare = bench.prepare(op=9, batchstart=6)
    bench.acked(prepare)
    slot_holds(bench, prepare)
    assert bench.replica.last == 9


def test_largest_batch(bench):
    bench.start()
    bench.passes(bench.prepare(op=65, batchstart=1), "prepare-batch")
    bench.acked(bench.prepare(op=64, batchstart=1))


def test_duplicate_is_acked_again_and_not_stored(bench):
    bench.start()
    first = bench.prepare(op=1, body=body(50))
    bench.acked(first)
    bench.acked(bench.prepare(op=2))
    slot = bytes(bench.replica.slot(1))
    bench.acked(first, reason="ack-again")
    # the leader's bytes are the same by the protocol; if they are not, the first ones stay
    bench.acked(bench.prepare(op=1, body=body(50, seed=1)), reason="ack-again")
    assert bytes(bench.replica.slot(1)) == slot
    assert bench.replica.last == 2


def test_duplicate_names_its_own_op(bench):
    bench.start()
    bench.acked(bench.prepare(op=3, batchstart=1))
    bench.acked(bench.prepare(op=7, batchstart=4))
    bench.acked(bench.prepare(op=3, batchstart=1), reason="ack-again")
    bench.acked(bench.prepare(op=2, batchstart=2), reason="ack-again")


def test_duplicate_with_wrong_checksum_is_not_acked(bench):
    bench.start()
    prepare = bench.prepare(op=1)
    bench.acked(prepare)
    wrong = bytearray(bytes(prepare))
    wrong[-1] ^= 1
    bench.passes(bytes(wrong), "udp-checksum")
    bench.acked(prepare, reason="ack-again")


def test_ops_that_user_space_took(bench):
    """elec_advance(): user space moved the last op itself, and the fast path goes on."""
    bench.start(last=4)
    bench.passes(bench.prepare(op=8), "gap")
    bench.replica.state.gate = word(bench.replica.epoch, 7)
    bench.acked(bench.prepare(op=8))
    bench.acked(bench.prepare(op=6), reason="ack-again")


REFUSED = {
    # name: (what is changed in the replica, Prepare, reason). Ops 1..4 are stored.
    "frozen": (lambda r: setattr(r.state, "gate", r.state.gate | FROZEN), {}, "frozen"),
    "busy": (lambda r: setattr(r.state, "gate", r.state.gate | BUSY), {}, "claim-lost"),
    "closed": (lambda r: setattr(r.control, "status", 0), {}, "not-normal"),
    "page of another epoch": (lambda r: setattr(r.control, "epoch", r.epoch + 2), {},
                              "not-normal"),
    "gate of another epoch": (lambda r: setattr(r.state, "gate", word(r.epoch + 1, 4)), {},
                              "not-normal"),
    "no members": (lambda r: setattr(r.control, "n", 0), {}, "not-normal"),
    "lease over": (lambda r: setattr(r.state, "now_ns", r.state.stamp_ns + r.state.lease_ns + 1),
                   {}, "lease"),
    "no lease": (lambda r: setattr(r.state, "lease_ns", 0), {}, "lease"),
    "never stamped": (lambda r: setattr(r.state, "stamp_ns", 0), {}, "lease"),
    "to another MAC": (None, dict(ether=dict(dst="02:00:0a:07:01:02")), "not-own-address"),
    "to every MAC": (None, dict(ether=dict(dst="ff:ff:ff:ff:ff:ff")), "not-own-address"),
    "to another address": (None, dict(ip=dict(dst="10.7.1.2")), "not-own-address"),
    "to a leader": (lambda r: setattr(r.control, "leader", 1), {}, "is-leader"),
    "of another replica": (None, dict(sender=2), "not-from-leader"),
    "of another MAC": (None, dict(ether=dict(src="02:00:0a:07:00:02")), "not-from-leader"),
    "of another address": (None, dict(ip=dict(src="10.7.0.3")), "not-from-leader"),
    "of another port": (None, dict(udp=dict(sport=13001)), "not-from-leader"),
    "flagged": (None, dict(broadcast=1), "flagged"),
    "older view": (None, dict(view=8), "prepare-view"),
    "newer view": (None, dict(view=10), "prepare-view"),
    "view that does not fit": (None, dict(view=VIEW_UNFIT), "prepare-view"),
    "op 0": (None, dict(op=0), "prepare-zero"),
    "batchstart 0": (None, dict(batchstart=0), "prepare-zero"),
    "batchstart above op": (None, dict(batchstart=6), "prepare-order"),
    "batch too long": (None, dict(op=69), "prepare-batch"),
    "gap": (None, dict(op=6, batchstart=6), "gap"),
    "far gap": (None, dict(op=0xffffffff, batchstart=0xffffffff), "gap"),
    "overlap": (None, dict(batchstart=4), "overlap"),
    "overlap from far": (None, dict(batchstart=1), "overlap"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused(bench, why):
    change, prepare, reason = REFUSED[why]

    def start():
        bench.start(n=3, self_index=1, leader=0, view=9, last=4)
        return bench.prepare(**{"op": 5, "batchstart": 5, **prepare})

    frame = start()
    if change:
        change(bench.replica)
    bench.passes(frame, reason)
    start()
    bench.acked(bench.prepare(op=5))  # the same, but for what was refused


def test_lease_holds_to_its_last_moment(bench):
    bench.start()
    state = bench.replica.state
    state.now_ns = state.stamp_ns + state.lease_ns
    bench.acked(bench.prepare(op=1))
    state.now_ns = state.stamp_ns  # a clock that other CPUs see a little earlier
    bench.acked(bench.prepare(op=2))
    state.now_ns = state.stamp_ns - 1
    bench.acked(bench.prepare(op=3))


def test_lease_by_the_kernel_clock(bench):
    """Not overridden: a stamp of long ago is over, one far in the future is not."""
    bench.start()
    bench.replica.state.now_ns = 0
    bench.replica.state.stamp_ns = 1
    bench.replica.state.lease_ns = 1
    bench.passes(bench.prepare(), "lease")
    bench.replica.state.lease_ns = 1 << 62
    bench.acked(bench.prepare())


def test_switched_off(bench):
    with bench.programs(offloads=("broadcast", "quorum")):
        bench.start()
        bench.passes(bench.prepare(), "off")
    bench.start()
    bench.acked(bench.prepare())


def test_a_sleeping_reader_is_woken_once(bench):
    bench.start()
    wake = bench.replica.object.map("elec_wake")
    wake.ring_drain()

    def readable():
        return bool(select.select([wake.fd], [], [], 0)[0])

    out = bench.exchange(bench.prepare(op=1))
    assert out.counted == {"ack": 1} and not readable()
    bench.replica.state.sleeping = 1
    out = bench.exchange(bench.prepare(op=2), bench.prepare(op=3))
    assert out.counted == {"ack": 2, "wake": 1}
    assert bench.replica.state.sleeping == 0 and readable()
    wake.ring_drain()
    assert not readable()


def test_a_backlog_is_waited_for(bench):
    bench.start()
    bench.replica.state.sleeping = 1
    bench.replica.state.wake_backlog = 3
    out = bench.exchange(bench.prepare(op=1), bench.prepare(op=2))
    assert out.counted == {"ack": 2} and bench.replica.state.sleeping == 1
    out = bench.exchange(bench.prepare(op=3))
    assert out.counted == {"ack": 1, "wake": 1} and bench.replica.state.sleeping == 0


def checksum_of(packet):
    return Ether(bytes(packet))[UDP].chksum


def test_a_checksum_that_computes_to_zero(bench):
    """0 means "none": it is sent as 0xffff, and taken so (S6)."""
    bench.start()
    # One's complement: a word that is the checksum of the frame with 0 there makes the sum ffff.
    # The body begins in the middle of a word (65 bytes stand before it).
    missing = checksum_of(bench.prepare(body=b"x" + bytes(2) + b"x" * 7))
    prepare = bench.prepare(body=b"x" + missing.to_bytes(2, "big") + b"x" * 7)
    assert checksum_of(prepare) == 0xffff
    bench.acked(prepare)


def test_an_ack_whose_checksum_computes_to_zero(bench):
    bench.start()
    leader = bench.members[0]
    ack = bench.expected_ack(bench.prepare())
    # One's complement: adding the checksum to the leader's port makes the sum ffff.
    port = leader.port + checksum_of(ack)
    port = (port & 0xffff) + (port >> 16)
    bench.start(members={0: leader._replace(port=port)})
    assert checksum_of(bench.expected_ack(bench.prepare())) == 0xffff
    bench.acked(bench.prepare())
