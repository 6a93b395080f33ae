# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Behind the ToR the programs really run, in generic mode too.

    [r0] tester: leader --- tor --- [r1] programs under test      [r2]

The kernel skips generic XDP for packets that a TC program redirected; the ToR has to take another
way to a port whose server is in generic mode. So the runs are counted.
"""
import socket
import types

import pytest

from bench import one_cpu
from net import BARRIER_NOISE, Tester, same
from paxos import *
from racks import Rack
from subject import Member, Replica

COUNT = 40


@pytest.fixture(params=["generic", "native"])
def rack(request, tmp_path):
    with Rack(tmp_path, xdp=request.param) as rack, one_cpu():
        rack.up()
        yield rack


def end_of(rack, node):
    """A node: namespace, device, index, MAC and address."""
    space = rack.namespace(node)
    address, mac, _ = rack.nodes()[node]
    with space:
        index = socket.if_nametoindex("eth0")
    return types.SimpleNamespace(namespace=space, device="eth0", mac=mac, index=index,
                                 ip=address.split("/")[0])


def test_programs_run_behind_the_tor(rack):
    leader, node, _ = ends = [end_of(rack, "r%d" % i) for i in range(3)]
    members = [Member(e.mac, e.ip, PORT) for e in ends]
    replica = Replica()
    with node.namespace:
        link = replica.xdp.attach_xdp(node.index, rack.keys["xdp"])
    with leader.namespace:  # takes the acks, as the leader's process would
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((leader.ip, PORT))
    port = Tester(leader, node, leader.ip, node.ip)
    try:
        replica.start(members, 1, leader=0, view=3)
        port.barrier()
        replica.mark()
        for op in range(1, COUNT + 1):
            message = Paxos() / PrepareMessage(view=3, opnum=op, batchstart=op,
                                               request=[Request(op=b"x" * op)])
            if op % 2:
                sender.sendto(bytes(message), (node.ip, PORT))
            else:
                port.send(Ether(src=leader.mac, dst=node.mac) /
                          IP(src=leader.ip, dst=node.ip, id=op) / UDP() / message)
            ack = port.wait()
            same(ack, Ether(src=node.mac, dst=leader.mac) /
                 IP(src=node.ip, dst=leader.ip, id=Ether(ack)[IP].id, flags=Ether(ack)[IP].flags) /
                 UDP() / Paxos() / MyPrepareOK(view=3, opnum=op, replica_idx=1), "ack %d" % op)
        port.expect_none("ack")
        assert replica.counted(BARRIER_NOISE) == {"ack": COUNT}
        assert replica.last == COUNT
        # the twin: without the program nobody acks
        link.close()
        port.send(Ether(src=leader.mac, dst=node.mac) / IP(src=leader.ip, dst=node.ip) / UDP() /
                  message)
        port.expect_none("ack")
    finally:
        link.close()
        port.close()
        sender.close()
        replica.close()
