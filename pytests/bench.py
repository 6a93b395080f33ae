# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A replica's programs on a live link; the tester plays every other replica.

    tester namespace                          node namespace
      Tester on eth0  [eth0]----------[eth0]  XDP program under test
      (replicas, leader or not)               Port on eth0: what the stack is given
                                              UDP socket on the replica port
"""
import collections
import contextlib
import os
import socket

from net import (BARRIER_NOISE, WAIT_S, Port, Tester, let_peer_transmit, link, namespaces, same,
                 shown)
from paxos import *
from subject import Member, Replica

NODE_MAC, NODE_IP = "02:00:0a:07:01:01", "10.7.1.1"
TESTER_MAC, TESTER_IP = "02:00:0a:07:02:01", "10.7.2.1"
MTU = 2500  # a Prepare can be larger than a slot

# What became of the frames of one exchange.
Outcome = collections.namedtuple("Outcome", "replies passed datagrams counted")


def member(i):
    return Member("02:00:0a:07:00:%02x" % (i + 1), "10.7.0.%d" % (i + 1), 13000 + i)


@contextlib.contextmanager
def one_cpu():
    """Frames are in order only while one CPU handles them (net.Tester)."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Bench:
    def __init__(self, mode):
        self.mode = mode
        self.open = []
        tester_ns, node_ns = self.spaces = namespaces(2, mode)
        self.far, self.near = link(tester_ns, node_ns, TESTER_MAC, NODE_MAC, MTU)
        self.near.address(NODE_IP)
        macs = {member(i).ip: member(i).mac for i in range(64)}
        self.near.neighbours({**macs, TESTER_IP: TESTER_MAC})
        if mode == "native":
            self.kept = let_peer_transmit(self.far)
        self.tester = Tester(self.far, self.near, TESTER_IP, NODE_IP)
        self.stack = Port(self.near)
        with node_ns:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NODE_IP, PORT))
        self.socket.setblocking(False)
        self.replica = Replica()
        self.link = self.attach(self.replica)

    def attach(self, replica):
        with self.near.namespace:
            return replica.xdp.attach_xdp(self.near.index, self.mode)

    @contextlib.contextmanager
    def programs(self, **options):
        """Other settings of the programs, for a while."""
        before = self.replica
        self.link.close()
        self.replica = Replica(**options)
        self.link = self.attach(self.replica)
        try:
            yield self.replica
        finally:
            self.link.close()
            self.replica.close()
            self.replica = before
            self.link = self.attach(before)

    def close(self):
        self.link.close()
        self.replica.close()
        for one in (self.socket, self.tester, self.stack, *self.spaces):
            one.close()

    def start(self, n=3, self_index=1, leader=0, members=(), **state):
        """A fresh replica in a cluster of n; `members`: {index: Member} that are not the usual."""
        table = [member(i) for i in range(n)]
        table[self_index] = Member(NODE_MAC, NODE_IP, PORT)
        for i, m in dict(members).items():
            table[i] = m
        self.members, self.index, self.leader = table, self_index, leader
        self.replica.start(table, self_index, leader=leader, **state)
        self.tester.received()
        self.stack.received()
        self.datagrams()

    # --- frames from the other replicas

    def headers(self, i, ip=None, udp=None, ether=None):
        """Ethernet, IP and UDP from replica i to the node."""
        m = self.members[i]
        return (Ether(**{"src": m.mac, "dst": NODE_MAC, **(ether or {})}) /
                IP(**{"src": m.ip, "dst": NODE_IP, "id": 0x1234, "flags": "DF", **(ip or {})}) /
                UDP(**{"sport": m.port, "dport": PORT, **(udp or {})}))

    def prepare(self, op=1, batchstart=None, view=None, body=None, sender=None, broadcast=0,
                **headers):
        view = self.replica.view if view is None else view
        batchstart = op if batchstart is None else batchstart
        message = PrepareMessage(view=view, opnum=op, batchstart=batchstart,
                                 request=[Request(op=b"op %d" % op, clientid=7, clientreqid=op)])
        sender = self.leader if sender is None else sender
        head = Paxos(type=message.type_name, view=view, op=op, third=batchstart,
                     broadcast=broadcast)
        return self.headers(sender, **headers) / head / (message if body is None else Raw(body))

    def ack(self, i, op, view=None, index=None, mine=True, **headers):
        """An ack of replica i: MyPrepareOK, or PrepareOK of user space if not `mine`."""
        body = (MyPrepareOK if mine else PrepareOKMessage)(
            view=self.replica.view if view is None else view, opnum=op,
            replica_idx=i if index is None else index)
        return self.headers(i, **headers) / Paxos() / body

    def expected_ack(self, prepare, op=None):
        """What the node must answer to a Prepare."""
        to = self.members[self.leader]
        ip = prepare[IP]
        return (Ether(src=NODE_MAC, dst=to.mac) /
                IP(src=NODE_IP, dst=to.ip, id=ip.id, tos=ip.tos, ttl=ip.ttl, flags=ip.flags) /
                UDP(sport=PORT, dport=to.port) / Paxos() /
                MyPrepareOK(view=prepare[Paxos].view, opnum=op or prepare[Paxos].op,
                            replica_idx=self.index))

    # --- what becomes of them

    def datagrams(self):
        out = []
        while True:
            try:
                out.append(self.socket.recv(65536))
            except BlockingIOError:
                return out

    def exchange(self, *frames):
        """Send; all that came of it: frames sent back, frames the stack got, datagrams the
        socket got, and the reasons counted."""
        self.replica.mark()
        self.tester.send(*frames)
        replies = self.tester.received()
        return Outcome(replies, self.stack.received(), self.datagrams(),
                       self.replica.counted(BARRIER_NOISE))

    def acked(self, prepare, op=None, reason="ack"):
        """This Prepare is answered as it must be, and nobody else hears of it."""
        out = self.exchange(prepare)
        assert len(out.replies) == 1, "%d replies, counted %s\n%s" % (
            len(out.replies), out.counted, shown(out.replies))
        same(out.replies[0], self.expected_ack(prepare, op), "the ack")
        assert (out.passed, out.datagrams, out.counted) == ([], [], {reason: 1})

    def passes(self, frame, *reasons):
        """This frame reaches the stack as it is, for one of the reasons, and does nothing else."""
        before = self.replica.memory()
        out = self.exchange(frame)
        assert not out.replies, "sent back for %s:\n%s" % (out.counted, shown(out.replies))
        assert len(out.passed) == 1, "the stack got %d frames, counted %s" % (
            len(out.passed), out.counted)
        same(out.passed[0], frame, "the frame given to the stack")
        assert len(out.counted) == 1 and list(out.counted.values()) == [1] and \
            set(out.counted) <= set(reasons), "counted %s, not %s" % (out.counted, reasons)
        unchanged = self.replica.memory() == before  # not in the assert: pytest would print it
        assert unchanged, "the state changed, counted %s" % out.counted
        return out
