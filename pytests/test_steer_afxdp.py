# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The path afxdp: who gets how much of its memory, what is refused for want of it, and that what fails
is counted and mended. And that a path given again repairs what it needs."""
import contextlib
import re
import struct

import pytest

from conftest import until
from steering import Steered, flow_key
from test_steer_guard import standing_still

PAGE = 1 << 20
FRAMES = PAGE // 2048  # in the least memory


@pytest.fixture(params=["native", "generic"])
def fresh(request, tmp_path):
    switch = Steered(tmp_path, request.param)
    with switch.rack:
        yield switch


@pytest.fixture
def native(tmp_path):
    switch = Steered(tmp_path)
    with switch.rack:
        yield switch


def counts(switch):
    return switch.state_of()["afxdp"]


def arrive(switch, source, to, n, port=7):
    """n frames, by the path afxdp."""
    frames = [switch.datagram(source, to, port, b"%d" % i) for i in range(n)]
    assert switch.counted(source, lambda: (switch.ports[source].send(*frames),
                                           switch.ports[to].expect(*frames))) == {"afxdp": n}


# --- shares of the memory


def test_a_second_node_has_memory_too(fresh):
    fresh.steer("path", "c0", "afxdp")
    arrive(fresh, "c0", "t1", 50)
    fresh.steer("path", "t0", "afxdp")
    arrive(fresh, "t0", "t1", 100)
    arrive(fresh, "c0", "t1", 100)
    after = counts(fresh)
    assert after["no_frames"] == fresh.state_of()["socket_full"] == after["remade_lost"] == 0
    assert (after["umem_bytes"], after["remade"], after["shared_anew"]) == (PAGE, 0, 1)
    # what a node had is the others' when it leaves
    fresh.steer("path", "c0", "tc")
    until(lambda: counts(fresh)["shared_anew"] == 2, "new shares")
    with standing_still(fresh.rack):
        frames = [fresh.datagram("t0", "t1", data=b"%d" % i) for i in range(FRAMES)]
        fresh.ports["t0"].send(*frames)
    fresh.ports["t1"].expect(*frames)


def test_a_node_with_other_rules_takes_no_share(native):
    native.steer("add", "udp:c0:1:r0:2", "mac", "tc")
    native.steer("path", "t0", "afxdp")
    frames = [native.datagram("t0", "t1", data=b"%d" % i) for i in range(FRAMES)]
    with standing_still(native.rack):
        native.ports["t0"].send(*frames)
    native.ports["t1"].expect(*frames)
    assert counts(native)["no_frames"] == 0
    # its twin does
    native.steer("add", "udp:c0:1:r0:2", "mac", "afxdp")
    with standing_still(native.rack):
        native.ports["t0"].send(*frames)
    native.ports["t1"].expect(*frames[:FRAMES // 2])
    until(lambda: counts(native)["no_frames"] == FRAMES // 2, "the count of those that had no room")
    assert counts(native)["umem_bytes"] == 2 * PAGE


def test_sockets_that_the_memory_is_enough_for(tmp_path):
    """Eight nodes of 16 sockets each get 16 frames a socket of the largest memory; nine do not."""
    switch = Steered(tmp_path, replicas=1, clients=9, link={"queues": 16})
    rules = ["udp:c%d:7:t1:9 mac afxdp" % i for i in range(9)]
    with switch.rack:
        switch.steer("add", *rules[0].split())
        assert counts(switch)["umem_bytes"] == PAGE
        with switch.rules(rules[:8]):
            assert counts(switch)["umem_bytes"] == 4 * PAGE
            for i in range(8):
                arrive(switch, "c%d" % i, "t1", 16)
            said = switch.steer("add", *rules[8].split(), status=1)
            assert said.count("\n") == 1 and "144 sockets, 16 for each of 9 nodes" in said
            assert "at most 4194304 bytes, is enough for 128" in said
            assert "udp:c8" not in switch.steer("ls")
            arrive(switch, "c0", "t1", 16)
            assert counts(switch)["no_frames"] == 0


def test_memory_grows_to_its_limit_and_no_further(tmp_path):
    switch = Steered(tmp_path, afxdp={"umem_bytes": 2 * PAGE})
    with switch.rack:
        switch.steer("path", "c0", "afxdp")
        lost = 0
        for frames, room, size in ((1100, 1024, 4 * PAGE), (2100, 2048, 4 * PAGE)):
            with standing_still(switch.rack):
                switch.ports["c0"].send(*[switch.datagram("c0", "t1")] * frames)
            lost += frames - room
            until(lambda: counts(switch)["no_frames"] == lost, "the count of those that had no room")
            switch.next("t1", room)
            until(lambda: counts(switch)["umem_bytes"] == size, "memory")
        arrive(switch, "c0", "t1", 50)  # it has looked again, and once more
        after = counts(switch)
        assert (after["umem_bytes"], after["remade"]) == (4 * PAGE, 1)
        switch.steer("path", "c0", "tc")  # what was counted stays
        said = re.sub("  +", "  ", switch.steer("ls"))
        assert "for want of memory  %d\n" % lost in said
        assert "frames lost, for a port that there is not  0\n" in said


# --- what fails


def test_a_full_transmit_ring(native):
    """What a device that is down did not take stays in the ring until it is full. None is lost, and
    when the device is up again each frame goes out once; only the first may still take the stack."""
    native.steer("add", "udp:c0:5:t1:9", "t0", "afxdp")
    frames = [native.datagram("c0", "t1", 5, b"%d" % i) for i in range(FRAMES + 100)]
    before = counts(native)
    native.rack.exec("tor", "ip", "link", "set", "t0", "down")
    try:
        for at in range(0, len(frames), 100):
            native.ports["c0"].send(*frames[at:at + 100])
            native.ports["t1"].expect(*frames[at:at + 100])
        after = counts(native)
        assert after["to_stack"] - before["to_stack"] == len(frames)
        assert after["lost"] == before["lost"]
        assert len(frames) <= after["retries"] - before["retries"] <= 3 * len(frames)
    finally:
        native.rack.exec("tor", "ip", "link", "set", "t0", "up")
    with contextlib.suppress(OSError):  # its socket tells of it once
        native.ports["t0"].receive()
    native.ports["c0"].send(native.datagram("c0", "t1", 5, b"first"))
    native.gather(1, "t0", "t1")
    for i in range(3):
        frame = native.datagram("c0", "t1", 5, b"up %d" % i)
        native.ports["c0"].send(frame)
        native.ports["t0"].expect(frame)
    for port in native.ports.values():
        port.expect_none()


def test_a_frame_for_a_port_that_there_is_not(native):
    """No command makes such a rule."""
    native.steer("add", "udp:c0:5:t1:9", "t0", "afxdp")
    frame = native.datagram("c0", "t1", 5)
    native.rack.exec("tor", "bpftool", "map", "update", "pinned",
                     native.rack.path("bpf/tor/steer_table"), "key", *map(str, flow_key(frame)),
                     "value", *map(str, struct.pack("=I", 999 | 4 << 16)))
    native.ports["c0"].send(frame)
    until(lambda: counts(native)["no_port"] == 1, "the counter")
    for port in native.ports.values():
        port.expect_none()


# --- given again


def test_a_path_given_again_repairs_what_it_needs(native):
    native.steer("path", "c0", "xdp")
    frames = [native.datagram("c0", "t1", data=b"%d" % i) for i in range(10)]
    native.rack.exec("t1", "ethtool", "-K", "eth0", "gro", "off")
    native.steer("path", "c0", "xdp")
    assert native.counted("c0", lambda: (native.ports["c0"].send(*frames),
                                         native.ports["t1"].expect(*frames))) == {"xdp": 10}
    assert native.state_of()["redirect_errs"] == 0
