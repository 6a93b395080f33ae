# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The leader's broadcast, made by TC: one send, one frame for every other replica (S9, S10).

One link, the tester reads all clones there:        tester [eth0]-----[eth0] leader (TC)

A star, each follower sees what reaches it:          [f1] [f2] ... [f14]
                                                       |    |        |
                                                     bridge (tor) ------[eth0] leader (TC)
"""
import contextlib
import socket
import struct

import pytest
from scapy.layers.inet import TCP
from scapy.utils import checksum

import bpf
from bench import NODE_IP, NODE_MAC, one_cpu
from conftest import MODES
from net import OFFLOADS, Port, let_peer_transmit, link, namespaces, run, same, shown
from paxos import *
from subject import Member, Replica
from test_odd_frames import add, body_length, options, payload, put, get, tagged, with_ip

pytestmark = pytest.mark.needs("tc_egress")

UDP_SEGMENT = 103


@pytest.fixture
def leader(bench):
    """The bench, with the TC program on the node's way out."""
    with bench.near.namespace:
        bench.replica.tc.attach_tc_egress(bench.near.index)
    yield bench
    with bench.near.namespace:
        bpf.detach_tc_egress(bench.near.index)


def flagged(bench, body=None, to=None, ip=None, udp=None, ether=None, kind=None):
    """A broadcast as the leader's socket sends it: to the first other replica."""
    first = bench.members[to if to is not None else min(set(range(2)) - {bench.index})]
    message = kind or PrepareMessage(view=5, opnum=8, batchstart=7,
                                     request=[Request(op=b"a"), Request(op=b"b", clientreqid=2)])
    head = Paxos(broadcast=1)
    if body is not None:
        head = Paxos(broadcast=1, type=message.type_name, view=5, op=8, third=7)
        message = Raw(body)
    return (Ether(**{"src": NODE_MAC, "dst": first.mac, **(ether or {})}) /
            IP(**{"src": NODE_IP, "dst": first.ip, "id": 77, "flags": "DF", **(ip or {})}) /
            UDP(**{"sport": PORT, "dport": first.port, **(udp or {})}) / head / message)


def clone(frame, member):
    """What the replica at `member` must get for a broadcast."""
    p = Ether(bytes(frame))
    p.dst, p[IP].dst, p[UDP].dport = member.mac, member.ip, member.port
    p[Paxos].broadcast = 0
    del p[IP].chksum, p[UDP].chksum
    return p


def sent_by(bench, send):
    """Frames that left the node for one act, and the reasons counted."""
    bench.tester.received()
    bench.replica.mark()
    send()
    out = bench.tester.received()
    # the answer to the barrier's ping goes this way too
    return out, bench.replica.counted({"not-udp": 65, "tc-other": 1})


def cloned(n):
    """Every clone goes through the program once more, without the flag."""
    return {"tc-broadcast": 1, "tc-clone": n, "tc-plain": n}


def reaches_all(bench, frame, send=None):
    others = [m for i, m in enumerate(bench.members) if i != bench.index]
    out, counted = sent_by(bench, send or (lambda: bench.stack.send(frame)))
    assert counted == cloned(len(others))
    to = [Ether(bytes(f)).dst for f in out]
    assert sorted(to) == sorted(m.mac for m in others), "each follower once"
    for got, mac in zip(out, to):
        peer = next(m for m in others if m.mac == mac)
        same(got, clone(frame, peer), "the frame for " + peer.ip)


def leaves_as_it_is(bench, frame, *reasons):
    out, counted = sent_by(bench, lambda: bench.stack.send(frame))
    assert len(out) == 1, "counted %s\n%s" % (counted, shown(out))
    same(out[0], frame, "the frame")
    assert len(counted) == 1 and set(counted) <= set(reasons) and \
        list(counted.values()) == [1], "counted %s, not %s" % (counted, reasons)


@pytest.mark.parametrize("n, index", [(3, 0), (3, 1), (3, 2), (5, 0), (5, 3), (7, 0), (7, 6),
                                      (15, 0), (15, 9), (64, 0), (64, 63), (64, 30)])
def test_each_follower_once(leader, n, index):
    leader.start(n=n, self_index=index, leader=index)
    reaches_all(leader, flagged(leader))


@pytest.mark.parametrize("to", [1, 2, 6])
def test_whomever_it_was_addressed_to(leader, to):
    leader.start(n=7, self_index=0, leader=0)
    reaches_all(leader, flagged(leader, to=to))


@pytest.mark.parametrize("length", [0, 1, 2, 99, 100, 1514 - 107 - 1, 1514 - 107])
def test_any_size(leader, length):
    leader.start(n=5, self_index=0, leader=0)
    reaches_all(leader, flagged(leader, body=(bytes(range(256)) * 6)[:length]))


def test_commit(leader):
    leader.start(n=5, self_index=0, leader=0)
    reaches_all(leader, flagged(leader, kind=CommitMessage(view=1, opnum=2)))


@pytest.mark.parametrize("ip", [
    dict(id=0, flags=0), dict(id=0xffff), dict(ttl=1), dict(ttl=255), dict(tos=0xb8)], ids=str)
def test_headers_are_kept(leader, ip):
    leader.start(n=5, self_index=0, leader=0)
    reaches_all(leader, flagged(leader, ip=ip))


def test_a_checksum_that_becomes_zero(leader):
    """0 would mean "none": it is sent as 0xffff."""
    leader.start(n=3, self_index=0, leader=0)
    peer = leader.members[2]
    port = peer.port + Ether(bytes(clone(flagged(leader), peer)))[UDP].chksum
    port = (port & 0xffff) + (port >> 16)
    leader.start(n=3, self_index=0, leader=0, members={2: peer._replace(port=port)})
    frame = flagged(leader)
    assert Ether(bytes(clone(frame, leader.members[2])))[UDP].chksum == 0xffff
    reaches_all(leader, frame)


KEPT = {
    # name: (what is changed in the leader, frame, reasons)
    "no flag": (None, lambda b: flagged_off(b), "tc-plain"),
    "from another port": (None, lambda b: flagged(b, udp=dict(sport=PORT + 1)), "tc-other"),
    "ARP": (None, lambda b: put(flagged(b), 12, "H", 0x0806), "tc-other"),
    "VLAN tag": (None, lambda b: tagged(struct.pack("!HH", 0x8100, 5))(flagged(b)), "tc-other"),
    "TCP": (None, lambda b: Ether(src=NODE_MAC, dst=b.members[1].mac) /
            IP(src=NODE_IP, dst=b.members[1].ip) / TCP(sport=PORT, dport=PORT), "tc-other"),
    "another magic": (None, lambda b: payload(lambda d: b"\x19" + d[1:])(flagged(b)), "tc-other"),
    "a message to a client": (None, lambda b: flagged_off(b, ReplyMessage(reply=b"x")),
                              "tc-plain"),
    "first fragment": (None, lambda b: with_ip(6, "H", lambda _: 0x2000)(flagged(b)),
                       "tc-fragment"),
    "later fragment": (None, lambda b: with_ip(6, "H", lambda _: 0x0010)(flagged(b)),
                       "tc-fragment"),
    "fragment of a message": (None, lambda b: payload(
        lambda d: struct.pack("<I", MAGIC_FRAGMENT) + d[4:])(flagged(b)), "tc-fragment"),
    "an ack": (None, lambda b: flagged(b, kind=PrepareOKMessage(view=1, opnum=2)), "tc-kind"),
    "MyPrepareOK": (None, lambda b: flagged(b, kind=MyPrepareOK(view=1, opnum=2)), "tc-kind"),
    "a Request": (None, lambda b: flagged(b, kind=RequestMessage()), "tc-kind"),
    "an unknown kind": (None, lambda b: payload(
        lambda d: d[:12] + b"S" + d[13:])(flagged(b)), "tc-kind"),
    "IP options": (None, lambda b: options(flagged(b)), "tc-odd", "tc-other"),
    "body length": (None, lambda b: body_length(add(1))(flagged(b)), "tc-odd"),
    "body length's upper half": (None, lambda b: body_length(add(1 << 32))(flagged(b)), "tc-odd"),
    "bytes behind the body": (None, lambda b: payload(lambda d: d + b"\0")(flagged(b)), "tc-odd"),
    "bytes behind the packet": (None, lambda b: bytes(flagged(b)) + b"\0", "tc-odd"),
    "UDP length": (None, lambda b: put(flagged(b), 38, "H", get(flagged(b), 38, "H") - 1),
                   "tc-odd"),
    "TTL 0": (None, lambda b: with_ip(8, "B", lambda _: 0)(flagged(b)), "tc-odd"),
    "no members": (lambda r: setattr(r.control, "n", 0), lambda b: flagged(b), "tc-not-ready"),
    "never started": (lambda r: r.state.clear(), lambda b: flagged(b), "tc-not-ready"),
    "another's MAC": (None, lambda b: flagged(b, ether=dict(src="02:00:0a:07:00:03")),
                      "tc-not-ready"),
    "another's address": (None, lambda b: flagged(b, ip=dict(src="10.7.0.3")), "tc-not-ready"),
}


def flagged_off(bench, kind=None):
    p = flagged(bench, kind=kind)
    p[Paxos].broadcast = 0
    return p


@pytest.mark.parametrize("why", KEPT)
def test_leaves_as_it_is(leader, why):
    change, make, *reasons = KEPT[why]
    leader.start(n=5, self_index=0, leader=0)
    frame = make(leader)
    if change:
        change(leader.replica)
    leaves_as_it_is(leader, frame, *reasons)
    leader.start(n=5, self_index=0, leader=0)
    reaches_all(leader, flagged(leader))


# --- from a real socket


def message():
    return Paxos(broadcast=1) / PrepareMessage(view=5, opnum=8, batchstart=7,
                                               request=[Request(op=b"from a socket")])


@contextlib.contextmanager
def switches(end, switched):
    end.ethtool(switched)
    try:
        yield
    finally:
        end.ethtool(OFFLOADS)


def test_from_a_socket(leader):
    """As above, but the kernel makes the headers."""
    leader.start(n=5, self_index=0, leader=0)
    data = bytes(message())
    first = leader.members[1]
    out, counted = sent_by(leader, lambda: leader.socket.sendto(data, (first.ip, first.port)))
    assert counted == cloned(4)
    made_from = Ether(bytes(out[0]))
    for got, member in zip(sorted(out, key=lambda f: f[:6]), leader.members[1:]):
        assert got.checksummed
        frame = flagged(leader, kind=message().payload,
                        ip=dict(id=made_from[IP].id, flags=made_from[IP].flags))
        same(got, clone(frame, member), "the frame for " + member.ip)
    # the twin: without the flag it goes to whom it was addressed
    plain = message()
    plain.broadcast = 0
    out, counted = sent_by(leader, lambda: leader.socket.sendto(bytes(plain),
                                                                (first.ip, first.port)))
    assert counted == {"tc-plain": 1} and len(out) == 1
    assert bytes(Ether(bytes(out[0]))[Paxos]) == bytes(plain)


def test_with_checksum_offload(leader):
    """The device is to finish the checksum: what stands there is the sum of the new pseudo
    header, and nothing of what was rewritten."""
    leader.start(n=5, self_index=0, leader=0)
    first = leader.members[1]
    with switches(leader.near, "tx on"):
        out, counted = sent_by(leader, lambda: leader.socket.sendto(bytes(message()),
                                                                    (first.ip, first.port)))
    assert counted == cloned(4) and len(out) == 4
    for got in out:
        p = Ether(bytes(got))
        assert not got.checksummed and p[Paxos].broadcast == 0
        pseudo = got[26:34] + struct.pack("!HH", 17, p[UDP].len)
        assert p[UDP].chksum == checksum(pseudo) ^ 0xffff, "partial sum for " + p[IP].dst
        assert checksum(got[14:34]) == 0, "IP checksum"


def test_message_larger_than_a_frame(leader):
    """IP fragments: user space sends to each peer; they are left alone, flag and all."""
    leader.start(n=3, self_index=0, leader=0)
    data = bytes(Paxos(broadcast=1) / PrepareMessage(request=[Request(op=bytes(6000))]))
    first = leader.members[1]
    out, counted = sent_by(leader, lambda: leader.socket.sendto(data, (first.ip, first.port)))
    assert {Ether(bytes(f)).dst for f in out} == {first.mac}
    assert counted == {"tc-fragment": len(out)} and len(out) == 3
    datagram = b"".join(bytes(Ether(bytes(f))[IP].payload)
                        for f in sorted(out, key=lambda f: Ether(bytes(f))[IP].frag))
    assert datagram[8:] == data


def test_segmented_by_the_kernel(leader):
    """A GSO packet holds several datagrams: left alone, each arrives as it was."""
    leader.start(n=3, self_index=0, leader=0)
    data = bytes(message())
    first = leader.members[1]
    with switches(leader.near, "tx on gso on"):
        leader.socket.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(data))
        try:
            out, counted = sent_by(
                leader, lambda: leader.socket.sendto(data * 3, (first.ip, first.port)))
        finally:
            leader.socket.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    assert counted == {"tc-fragment": 1}
    carried = b"".join(bytes(Ether(bytes(f))[UDP].payload) for f in out)
    assert carried == data * 3 and {Ether(bytes(f)).dst for f in out} == {first.mac}


# --- through a switch, to followers of their own


class Star:
    FOLLOWERS = 14
    SENTINEL = 9  # UDP port

    def __init__(self, mode):
        self.tor, self.node, *rest = self.spaces = namespaces(2 + self.FOLLOWERS, "star")
        with self.tor:
            run("ip link add br0 type bridge mcast_snooping 0")
            run("ip link set br0 up")
        self.uplink, self.near = self.plug(self.node, NODE_MAC)
        self.near.address(NODE_IP)
        self.followers = []
        for i, space in enumerate(rest, 1):
            port, end = self.plug(space, "02:00:0a:07:03:%02x" % i)
            end.member = Member(end.mac, "10.7.3.%d" % i, 14000 + i)
            end.port, end.at_tor = Port(end), port
            self.followers.append(end)
        self.near.neighbours({f.member.ip: f.mac for f in self.followers})
        self.replica = Replica()
        if mode == "native":
            self.kept = let_peer_transmit(self.uplink)
        with self.node:
            self.link = self.replica.xdp.attach_xdp(self.near.index, mode)
            self.replica.tc.attach_tc_egress(self.near.index)
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NODE_IP, PORT))
        self.other.bind((NODE_IP, self.SENTINEL))

    def plug(self, space, mac):
        ends = link(self.tor, space, mac_b=mac)
        with self.tor:
            run("ip link set %s master br0" % ends[0].device)
        return ends

    def start(self, n, index):
        self.reached = self.followers[:n - 1]
        table = [f.member for f in self.reached]
        table.insert(index, Member(NODE_MAC, NODE_IP, PORT))
        self.replica.start(table, index, leader=index)

    def broadcast(self, data):
        first = self.reached[0].member
        self.replica.mark()
        self.socket.sendto(data, (first.ip, first.port))
        for f in self.followers:
            self.other.sendto(b"after", (f.member.ip, self.SENTINEL))
        return self.replica.counted({"tc-other": len(self.followers)})

    def arrived(self, follower):
        """What came to this follower's own MAC before the sentinel."""
        out = []
        while True:
            frame = follower.port.wait()
            p = Ether(bytes(frame))
            if not frame.to_host:
                continue  # flooded by the bridge
            if p[UDP].sport == self.SENTINEL:
                return out
            out.append(p)

    def close(self):
        self.link.close()
        self.replica.close()
        for one in (self.socket, self.other, *(f.port for f in self.followers), *self.spaces):
            one.close()


@pytest.fixture(scope="module", params=MODES)
def star(request):
    with one_cpu():
        star = Star(request.param)
        yield star
        star.close()


def arrives_once(star, follower, data):
    got = star.arrived(follower)
    assert len(got) == 1, "%d frames at %s" % (len(got), follower.member.ip)
    p = got[0]
    assert (p.src, p.dst, p[IP].src, p[IP].dst) == \
        (NODE_MAC, follower.mac, NODE_IP, follower.member.ip)
    assert (p[UDP].sport, p[UDP].dport) == (PORT, follower.member.port)
    assert p[Paxos].broadcast == 0
    unflagged = Paxos(data)
    unflagged.broadcast = 0
    assert bytes(p[Paxos]) == bytes(unflagged)
    sums = p[IP].chksum, p[UDP].chksum
    del p[IP].chksum, p[UDP].chksum
    again = Ether(bytes(p))
    assert (again[IP].chksum, again[UDP].chksum) == sums


@pytest.mark.parametrize("n", [3, 5, 7, 15])
@pytest.mark.parametrize("who", ["first", "another", "last"])
def test_star(star, n, who):
    star.start(n, {"first": 0, "another": n // 2, "last": n - 1}[who])
    data = bytes(message())
    assert star.broadcast(data) == cloned(n - 1)
    for follower in star.followers:
        if follower in star.reached:
            arrives_once(star, follower, data)
        else:
            assert star.arrived(follower) == [], "not a member"


@pytest.mark.parametrize("n", [3, 5, 7, 15])
def test_first_peer_dead(star, n):
    """The message is addressed to the first peer: that it is dead keeps nobody from theirs."""
    star.start(n, 0)
    data = bytes(message())
    dead = star.reached[0]
    with dead.namespace:
        run("ip link set %s down" % dead.device)
    try:
        assert star.broadcast(data) == cloned(n - 1)
        for follower in star.followers[1:]:
            if follower in star.reached:
                arrives_once(star, follower, data)
            else:
                assert star.arrived(follower) == [], "not a member"
    finally:
        with dead.namespace:
            run("ip link set %s up" % dead.device)
