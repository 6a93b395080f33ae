# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two CPUs drive copies of the same Prepares into one replica at once (S1, S6).

    driver on CPU a [eth0]-----[eth0] node: one program, one gate, one log
    driver on CPU b [eth0]-----[eth1]

A single-queue veth is polled by one CPU at a time, so it takes two links. Copies of an op differ:
some have a wrong checksum, some are whole and valid but of other bytes (a leader never sends such:
here they show whose bytes are in the slot). Each acked op's slot must hold one whole valid copy,
and go on holding the one that was there when the first ack was seen.
"""
import collections
import ctypes
import gc
import hashlib
import multiprocessing
import os
import pickle
import random
import traceback

import pytest

from bench import NODE_IP, NODE_MAC, member
from conftest import MODES
from net import BARRIER_NOISE, Port, Tester, let_peer_transmit, libc, link, namespaces
from paxos import *
from subject import BUSY, Member, Replica

OPS = 1000          # of one run
VARIANTS = 3        # valid copies of one op with different bytes
WRONG = 8           # copies with a wrong checksum in one burst
BODY = 1300         # a long copy is overwritten more easily
RUNS = 20           # at most, until the claim was contended

Seen = collections.namedtuple("Seen", "acked sent")  # {op: hash of its slot}, frames sent

CPUS = sorted(os.sched_getaffinity(0))


def frame(members, op, variant):
    body = random.Random(op * VARIANTS + variant).randbytes(BODY)
    leader = members[0]
    return bytes(Ether(src=leader.mac, dst=NODE_MAC) / IP(src=leader.ip, dst=NODE_IP, flags="DF") /
                 UDP(sport=leader.port, dport=PORT) /
                 Paxos(type=PrepareMessage.type_name, view=0, op=op, third=op) / Raw(body))


def corrupted(data, rng):
    out = bytearray(data)
    out[rng.randrange(107, len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def content(replica, op):
    slot = replica.slot(op)
    return slot.epoch, slot.first, slot.last, hashlib.sha1(slot.data[:slot.len]).digest()


class Burst:
    """Frames sent by one system call: Python between two of them would leave no room for a race."""

    def __init__(self, frames):
        self.count = len(frames)
        self.buffers = [ctypes.create_string_buffer(f, len(f)) for f in frames]
        self.parts = (Part * self.count)(*[Part(ctypes.addressof(b), len(b)) for b in self.buffers])
        self.messages = (Message * self.count)()
        for message, part in zip(self.messages, self.parts):
            message.parts, message.count = ctypes.pointer(part), 1

    def send(self, port):
        sent = libc.sendmmsg(port.socket.fileno(), self.messages, self.count, 0)
        assert sent == self.count, "%d of %d frames sent" % (sent, self.count)


class Part(ctypes.Structure):
    """struct iovec"""
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("name_len", ctypes.c_uint32),
                ("parts", ctypes.POINTER(Part)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_len", ctypes.c_size_t),
                ("flags", ctypes.c_size_t), ("sent", ctypes.c_size_t)]  # int and padding


def drive(replica, port, copies, seed, both_ready):
    """Send copies of the op that is next, whoever moves it on, until the last one is stored."""
    rng = random.Random(seed)
    bursts = {}
    for op in range(1, OPS + 1):
        whole = [copies[op, v] for v in range(VARIANTS)]
        # Wrong copies hold the claim but do not move the op on: the next copy can race too.
        wrong = [corrupted(rng.choice(whole), rng) for _ in range(WRONG)]
        mixed = whole + wrong[WRONG // 2:]
        rng.shuffle(mixed)
        old = [copies[op - 1, rng.randrange(VARIANTS)]] if op > 1 else []
        bursts[op] = Burst(wrong[:WRONG // 2] + mixed + old)
    acked, sent = {}, 0

    def look(replies):
        for reply in replies:
            # scapy would take longer than a burst: magic, T, type name, view, op
            assert reply[54:78] == MyPrepareOK.type_name, Ether(reply).show(dump=True)
            op = int.from_bytes(reply[82:86], "little")
            if op not in acked:
                acked[op] = content(replica, op)

    gc.disable()
    both_ready.wait(60)
    while replica.last < OPS:
        burst = bursts[replica.last % OPS + 1]
        burst.send(port)
        sent += burst.count
        look(Port.received(port))  # what is there; the end waits for the rest
    look(port.received())
    return Seen(acked, sent)


def in_process(cpu, function, *arguments):
    """Start function(*arguments) on a CPU of its own; a function that gives its result."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.sched_setaffinity(0, {cpu})
            try:
                result = function(*arguments)
            except BaseException:
                result = traceback.format_exc()
            with os.fdopen(write, "wb") as out:
                pickle.dump(result, out)
        finally:
            os._exit(0)
    os.close(write)

    def result():
        with os.fdopen(read, "rb") as pipe:
            data = pipe.read()
        os.waitpid(pid, 0)
        value = pickle.loads(data)
        assert not isinstance(value, str), value
        return value

    return result


@pytest.fixture(params=MODES)
def lanes(request):
    """A replica that is reached by two links, and a port at the far end of each."""
    spaces = one, two, node = namespaces(3, "lane")
    replica = Replica(slots=4096)
    ports, kept = [], []
    for space in (one, two):
        far, near = link(space, node, mac_b=NODE_MAC)
        net = "10.8.%d." % len(ports)
        near.address(net + "1", 24)
        near.neighbours({net + "2": far.mac})
        if request.param == "native":
            kept.append(let_peer_transmit(far))
        with node:
            kept.append(replica.xdp.attach_xdp(near.index, request.param))
        ports.append(Tester(far, near, net + "2", net + "1"))
    yield replica, ports
    for thing in kept:
        (thing[1] if isinstance(thing, tuple) else thing).close()
    replica.close()
    for thing in (*ports, *spaces):
        thing.close()


@pytest.mark.needs("two_cpus")
def test_no_foreign_bytes_in_an_acked_slot(lanes):
    replica, ports = lanes
    members = [member(0), Member(NODE_MAC, NODE_IP, PORT), member(2)]
    copies = {(op, v): frame(members, op, v) for op in range(1, OPS + 1) for v in range(VARIANTS)}
    valid = {op: {(1, op, op, hashlib.sha1(copies[op, v][42:]).digest()): v
                  for v in range(VARIANTS)} for op in range(1, OPS + 1)}
    for run in range(RUNS):
        replica.start(members, 1)
        both_ready = multiprocessing.get_context("fork").Barrier(2)
        running = [in_process(cpu, drive, replica, port, copies, run * 2 + i, both_ready)
                   for i, (cpu, port) in enumerate(zip(CPUS, ports))]
        seen = [result() for result in running]
        counted = replica.counted({k: 2 * n for k, n in BARRIER_NOISE.items()})

        assert replica.last == OPS and not replica.state.gate & BUSY
        assert counted["ack"] == OPS, "each op is stored once"
        for op in range(1, OPS + 1):
            now = content(replica, op)
            assert now in valid[op], "op %d: the slot holds no whole copy" % op
            for one in seen:
                assert one.acked.get(op, now) == now, "op %d: other bytes than when acked" % op
        assert set(seen[0].acked) | set(seen[1].acked) == set(range(1, OPS + 1))
        assert sum(one.sent for one in seen) == sum(counted.values())
        assert counted["udp-checksum"] > 0 and counted["ack-again"] > 0
        if counted.get("claim-lost"):
            return
    pytest.fail("in %d runs of %d ops no claim was lost: nothing was contended" % (RUNS, OPS))
