# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A guard over a switch of paths, memory and queues of the path afxdp, and input that is refused."""
import contextlib
import itertools
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import until
from racks import COMMAND, Rack, bpftool, rack_command
from steering import Steered

RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]))
s.bind(("", 9))
if sys.argv[1] == "SOCK_STREAM":
    s.listen()
    s = s.accept()[0]
buffer = bytearray(1 << 20)
while s.recv_into(buffer):
    pass
"""
SEND = """
import socket, sys, time
s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]))
s.bind(("", 9))
while True:
    try:
        s.connect((sys.argv[2], 9))
        break
    except ConnectionRefusedError:
        time.sleep(0.01)
data = b"x" * int(sys.argv[3])
while True:
    try:
        s.send(data)
    except ConnectionRefusedError:
        pass
    if len(data) < 1000:
        time.sleep(0.00002)
"""
FILL = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 1))
for _ in range(1000):
    s.sendto(b"x", (sys.argv[1], 2))
"""

BURSTS = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(100):
        s.sendto(b"x" * 1000, (sys.argv[1], 9))
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    with Rack(tmp_path_factory.mktemp("guard"), replicas=1, clients=2) as rack:
        rack.up()
        yield rack


def steer(rack, *words, status=0):
    done = rack_command("steer", rack.name, *words)
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout if status == 0 else done.stderr + done.stdout


def path_of(rack, node):
    row = next(line for line in steer(rack, "ls").splitlines() if line.startswith(node))
    return re.split("  +", row)[1]


@contextlib.contextmanager
def load(rack, kind, size):
    """c0 sends to c1 as fast as it can: a stream, or datagrams."""
    address = rack.nodes()["c1"][0]
    both = [rack.start("c1", "/usr/bin/python3", "-c", RECEIVE, kind),
            rack.start("c0", "/usr/bin/python3", "-c", SEND, kind, address, str(size))]
    try:
        sent = sent_frames(rack)
        until(lambda: sent_frames(rack) > sent + 1000, "traffic")
        yield
    finally:
        for one in both:
            one.kill()
            one.wait()


def sent_frames(rack):
    dump = bpftool("map", "dump", "pinned", rack.path("bpf/tor/tor_counts"))
    return sum(sum(v["value"]["by_reason"]) for v in dump[1]["formatted"]["values"])


def process(rack):
    return int(re.search(r"(\d+) \(rack-steer\)", rack.nodes()["tor"][2])[1])


def state(rack):
    dump = bpftool("map", "dump", "pinned", rack.path("bpf/tor/steer_state"))
    return dump[0]["formatted"]["value"]


@contextlib.contextmanager
def standing_still(rack):
    """The process on the path afxdp. It goes on afterwards, if it is still there."""
    pid = process(rack)
    forwarder = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(forwarder, signal.SIGSTOP)
        status = pathlib.Path("/proc/%d/status" % pid)
        until(lambda: "\nState:\tT" in status.read_text(), "a process that stands still")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(forwarder, signal.SIGCONT)
        os.close(forwarder)


@contextlib.contextmanager
def steered_back(rack):
    try:
        yield
    finally:
        steer(rack, "rm", "all")
        steer(rack, "path", "c0", "tc")


def has_no_room(rack, send=lambda: True):
    """c0's socket, once as much was sent to it."""
    full = state(rack)["socket_full"]
    until(lambda: send() and state(rack)["socket_full"] > full, "a socket without room")


@pytest.mark.parametrize("kind, size, says", [
    ("SOCK_STREAM", 1 << 18, r"throughput fell by \d+ %, more than 20 %"),
    ("SOCK_DGRAM", 64, r"[\d.]+ % were lost, more than 0.1 %"),
])
def test_a_worse_path_is_left(rack, kind, size, says):
    """All that comes to it is lost, from the first frame on: another flow of c0 took it before, so
    that its process need not answer when the guard sends this one there."""
    flow = "%s:c0:9:c1:9" % {"SOCK_STREAM": "tcp", "SOCK_DGRAM": "udp"}[kind]
    address = rack.nodes()["c1"][0]
    with steered_back(rack):
        steer(rack, "add", flow, "mac", "tc")
        steer(rack, "add", "udp:c0:1:c1:2", "mac", "afxdp")
        with standing_still(rack):
            has_no_room(rack, lambda: rack.exec("c0", "/usr/bin/python3", "-c", FILL, address) == "")
            with load(rack, kind, size):
                said = steer(rack, "path", flow, "afxdp", "--guard", "1s", status=1)
            assert re.search(flow + r" is back on tc: .*\b" + says, said), said
            assert re.search(flow + r" +mac +tc$", steer(rack, "ls"), re.M)


def test_a_better_path_is_kept(rack):
    with steered_back(rack), load(rack, "SOCK_DGRAM", 64):
        steer(rack, "path", "c0", "afxdp")
        with standing_still(rack):
            has_no_room(rack)
            said = steer(rack, "path", "c0", "tc", "--guard", "1s")
        before, after = (float(n) for n in re.findall(r"([\d.]+) % lost", said))
        assert before > 90 and after < before / 2, said
        assert "c0 stays on tc" in said
        assert path_of(rack, "c0") == "tc"


@contextlib.contextmanager
def guarded(rack, *words):
    """A command that measures what was before."""
    child = subprocess.Popen([COMMAND, "steer", rack.name, "path", *words], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.stdout.readline().startswith("measuring all that ")
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_process_that_does_not_answer(rack):
    """r0's frames take its path already; c1's cannot."""
    steer(rack, "path", "r0", "afxdp")
    try:
        before = configured(rack)
        with standing_still(rack):
            said = steer(rack, "path", "c1", "afxdp", "--guard", "200ms", status=1)
        assert "the process on the path afxdp does not answer" in said and "stays" not in said
        assert configured(rack) == before
        steer(rack, "path", "c1", "afxdp")
        assert path_of(rack, "c1") == "afxdp"
    finally:
        steer(rack, "path", "c1", "tc")
        steer(rack, "path", "r0", "tc")


def test_a_change_that_fails_half_way_is_put_back(tmp_path):
    """The table is written before the ports: those are made read-only to user space."""
    with Rack(tmp_path, clients=2) as rack:
        rack.up()
        steer(rack, "add", "udp:c0:1:c1:2", "r0,r1", "tc")
        rack.exec("tor", "bpftool", "map", "freeze", "pinned", rack.path("bpf/tor/tor_ports"))
        before = configured(rack)
        rules = tmp_path / "rules"
        rules.write_text("udp:c0:1:c1:2 r0 xdp\nudp:c0:2:c1:2 r1,r2\nudp:c1:1:c0:2 mac tc\n")
        said = steer(rack, "load", rules, status=1)
        assert "cannot write the ports" in said and said.count("\n") == 1
        assert configured(rack) == before
        steer(rack, "add", "udp:c0:1:c1:2", "r1,r2", "tc")  # concerns no port
        assert "r1,r2" in steer(rack, "ls")


def test_nobody_reads_what_the_guard_says(rack):
    """As `| head -1` does: the worse path is left all the same."""
    flow, address = "udp:c0:9:c1:9", rack.nodes()["c1"][0]
    with steered_back(rack):
        steer(rack, "add", flow, "mac", "tc")
        steer(rack, "add", "udp:c0:1:c1:2", "mac", "afxdp")
        with standing_still(rack):
            has_no_room(rack, lambda: rack.exec("c0", "/usr/bin/python3", "-c", FILL, address) == "")
            with load(rack, "SOCK_DGRAM", 64), \
                    guarded(rack, flow, "afxdp", "--guard", "200ms") as child:
                child.stdout.close()
                assert child.wait() == 1
        assert re.search(flow + r" +mac +tc$", steer(rack, "ls"), re.M)


def test_interrupted_before_anything_was_changed(rack):
    before = configured(rack)
    with guarded(rack, "c0", "xdp", "--guard", "1000s") as child:
        child.send_signal(signal.SIGINT)
        assert child.communicate() == ("c0 was not changed: it was interrupted\n", "")
    assert child.returncode == 1 and configured(rack) == before


def test_another_command_meanwhile(rack):
    """What that one made stays, and is not said to be the guard's."""
    with guarded(rack, "c0", "xdp", "--guard", "1s") as child:
        until(lambda: path_of(rack, "c0") == "xdp" or child.poll() is not None, "the switch")
        steer(rack, "path", "c0", "bridge")
        out, err = child.communicate()
    assert child.returncode == 1 and "stays" not in out and "back" not in out
    assert "another command changed c0 meanwhile" in err
    assert path_of(rack, "c0") == "bridge"
    steer(rack, "path", "c0", "tc")


def test_a_flow_that_had_no_rule(rack):
    with guarded(rack, "udp:c0:7:c1:7", "xdp", "--guard", "1000s") as child:
        child.send_signal(signal.SIGTERM)
        assert "udp:c0:7:c1:7 was not changed" in child.communicate()[0]
    said = steer(rack, "path", "udp:c0:7:c1:7", "bridge", "--guard", "200ms")
    assert "what c0 sends" not in said and "udp:c0:7:c1:7 stays on bridge\n" in said
    assert "now steered by rules: c0; what is in none of them takes the bridge" in said
    steer(rack, "rm", "all")


def test_traffic_in_bursts(rack):
    """Most of the time there is none."""
    address = rack.nodes()["c1"][0]
    both = [rack.start("c1", "/usr/bin/python3", "-c", RECEIVE, "SOCK_DGRAM"),
            rack.start("c0", "/usr/bin/python3", "-c", BURSTS, address)]
    try:
        sent = sent_frames(rack)
        until(lambda: sent_frames(rack) > sent + 100, "traffic")
        said = rack_command("steer", rack.name, "path", "c0", "tc", "--guard", "600ms").stdout
        rates = re.findall(r"([\d.]+) frames/s", said)  # which is more is the clock's affair
        assert len(rates) == 2 and all(float(rate) > 100 for rate in rates), said
    finally:
        for one in both:
            one.kill()
            one.wait()


def test_a_share_of_all(rack):
    steer(rack, "path", "c0", "bridge", "--share", "100%")
    assert path_of(rack, "c0") == "bridge"
    steer(rack, "path", "c0", "tc", "--share", "0.001%")
    assert path_of(rack, "c0") == "bridge, 0.0% tc"  # its twin: a flow in 65536
    steer(rack, "path", "c0", "tc")


def test_a_share_goes_first(rack):
    """Whether the bridge then does is the machine's affair."""
    with load(rack, "SOCK_DGRAM", 64):
        done = rack_command("steer", rack.name, "path", "c0", "bridge", "--guard", "400ms",
                            "--share", "10%")
    measured = re.findall("^(before|10.0 % on bridge|on bridge) ", done.stdout, re.M)
    assert measured[:2] == ["before", "10.0 % on bridge"]
    if done.returncode:
        assert "c0 is back on tc" in done.stdout and path_of(rack, "c0") == "tc"
    else:
        assert measured[2:] == ["on bridge"] and path_of(rack, "c0") == "bridge"
    steer(rack, "path", "c0", "tc")


# --- afxdp


def test_memory_is_made_larger_under_load(tmp_path):
    with Steered(tmp_path).rack as rack:
        switch = Steered.__new__(Steered)
        switch.rack = rack
        switch.nodes = {n: v[:2] for n, v in rack.nodes().items() if n != "tor"}
        c0, t1 = rack.port("c0"), rack.port("t1")
        switch.steer("path", "c0", "afxdp")
        frame = switch.datagram("c0", "t1")
        with standing_still(rack):
            c0.send(*[frame] * 1000)
        until(lambda: state(rack)["afxdp"]["umem_bytes"] > 1 << 20, "more memory")
        after = state(rack)
        assert after["afxdp"]["umem_bytes"] == 1 << 21 and after["afxdp"]["remade"] == 1
        assert after["afxdp"]["remade_lost"] == 0
        assert after["socket_full"] == 1000 - 512
        for _ in range(512):  # what there was room for has not been lost
            t1.expect(frame)
        c0.send(*[frame] * 200)
        for _ in range(200):
            t1.expect(frame)
        listed = switch.steer("ls")
        for what, n in (("bytes of memory", 1 << 21), ("times that memory was made larger", 1),
                        ("frames lost, no room at its socket", 1000 - 512),
                        ("  of them for want of memory", after["afxdp"]["no_frames"])):
            assert re.search(r"^%s +%d$" % (what, n), listed, re.M), listed
        switch.steer("path", "c0", "tc")
        rack.down()
        assert not rack.leftovers()


@pytest.mark.parametrize("path", ["tc", "xdp", "bridge", "afxdp"])
def test_two_queues(tmp_path, path):
    switch = Steered(tmp_path, link={"queues": 2})
    with switch.rack as rack:
        switch.steer("path", "c0", path)
        frames = [switch.datagram("c0", "t1", port) for port in range(1000, 1100)]
        switch.ports["c0"].send(*frames)
        got = switch.gather(len(frames), "t1")["t1"]
        assert sorted(map(bytes, got)) == sorted(map(bytes, frames))
        if path in ("xdp", "afxdp"):
            said = rack.exec("tor", "ethtool", "-S", "c0")
            assert all(int(n) > 10 for n in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", said))


def test_down_takes_everything_with_it(tmp_path):
    with Rack(tmp_path, clients=2) as rack:
        rack.up()
        steer(rack, "path", "c0", "xdp")
        steer(rack, "path", "c1", "afxdp")
        steer(rack, "add", "udp:r0:1:r1:2", "r1,r2", "xdp")
        os.kill(int(re.search(r"(\d+) \(rack-steer\)", rack.nodes()["tor"][2])[1]), signal.SIGKILL)
        rack.down()
        assert not rack.leftovers()


# --- refused


REFUSED = {
    "no such node": ("path c9 xdp", 2, "'c9' names no port of"),
    "no such path": ("path c0 fast", 2, "'fast' is no path: tc, xdp, bridge or afxdp"),
    "no path": ("path c0", 2, "path wants a node or a flow, and a path"),
    "no flow": ("add udp:c0:1:c1", 2, "'udp:c0:1:c1' is no flow"),
    "neither tcp nor udp": ("add icmp:c0:1:c1:2", 2, "'icmp' is neither tcp nor udp"),
    "no port number": ("add udp:c0:1:c1:70000", 2, "'70000' is no UDP or TCP port"),
    "source is no node": ("add udp:192.0.2.1:1:c1:2", 2, "192.0.2.1 is no node of"),
    "names no port": ("add udp:c0:1:c1:2 c7", 2, "'c7' names no port of"),
    "twice in the group": ("add udp:c0:1:c1:2 r0,r0", 2, "r0 stands in the group twice"),
    "back to the sender": ("add udp:c0:1:c1:2 c0", 2, "c0 cannot be sent what it sends"),
    "the bridge goes by MAC": ("add udp:c0:1:c1:2 r0 bridge", 2, "where its MAC says"),
    "no rule": ("rm udp:c0:1:c1:2", 1, "that flow has no rule"),
    "no file": ("load /nonexistent", 1, "cannot read /nonexistent"),
    "no share": ("path c0 xdp --share 0%", 2, "'0%' is no share"),
    "a share of one flow": ("path udp:c0:1:c1:2 xdp --share 5%", 2, "this is one flow"),
    "no time": ("path c0 xdp --guard 5", 2, "'5' is no time for a guard"),
}


@contextlib.contextmanager
def ruled(rack, *words):
    steer(rack, "add", *words)
    yield
    steer(rack, "rm", "all")


def test_the_path_of_a_node_that_has_rules(rack):
    """It is that of rules without one; where there are none, and for a share, it is refused."""
    with ruled(rack, "udp:c0:1:c1:2", "mac", "tc"):
        before = configured(rack)
        said = steer(rack, "path", "c0", "xdp", status=1)
        assert "c0 has rules, none of which would take the path xdp" in said
        assert "nothing was changed" in said and said.count("\n") == 1
        assert configured(rack) == before and path_of(rack, "c0") == "table, else bridge"
        steer(rack, "add", "udp:c0:2:c1:2")
        steer(rack, "add", "udp:c0:3:c1:2", "r0")  # the bridge sends nothing there
        said = steer(rack, "path", "c0", "xdp", "--share", "50%", status=1)
        assert "a share is of a node that has none" in said and said.count("\n") == 1
        said = steer(rack, "path", "c0", "bridge")
        assert "c0 has 3 rules, 1 of which take its path" in said
        listed = steer(rack, "ls")
        assert re.search("^udp:c0:1:c1:2 +mac +tc$", listed, re.M)
        assert re.search("^udp:c0:2:c1:2 +mac +bridge, as c0$", listed, re.M)
        assert re.search("^udp:c0:3:c1:2 +r0 +tc$", listed, re.M)
    assert path_of(rack, "c0") == "bridge"
    steer(rack, "path", "c0", "tc")


def test_groups_fill_up(rack, tmp_path):
    """256 of them; another one only in place of one."""
    groups = [",".join(pair) for pair in itertools.combinations(
        ["r0"] + ["t%d" % i for i in range(23)], 2)][:257]
    rules = tmp_path / "rules"

    def load(lines, **status):
        rules.write_text("\n".join(lines))
        return steer(wide, "load", rules, **status)
    with Rack(tmp_path, clients=1, testers=23) as wide:
        wide.up()
        lines = ["udp:c0:%d:r0:1 %s" % (i, group) for i, group in enumerate(groups)]
        assert "would have more than 256 groups" in load(lines, status=1)
        assert "udp:" not in steer(wide, "ls")
        # the last line of a flow counts
        load(["udp:c0:0:r0:1 %s" % group for group in groups[1:]] + lines[:256])
        said = steer(wide, "add", "udp:c0:256:r0:1", groups[256], status=1)
        assert "would have more than 256 groups" in said and said.count("\n") == 1
        steer(wide, "add", "udp:c0:256:r0:1", groups[255])  # one that is there
        steer(wide, "add", "udp:c0:7:r0:1", groups[256])
        listed = steer(wide, "ls")
        assert re.search("^udp:c0:7:r0:1 +%s " % groups[256], listed, re.M)
        assert re.search("^udp:c0:8:r0:1 +%s " % groups[8], listed, re.M)


@pytest.mark.parametrize("words", ["--help", "RACK --help", "RACK add -h", "RACK path c0 --help"])
def test_help(rack, words):
    done = rack_command("steer", *words.replace("RACK", rack.name).split())
    assert done.returncode == 0 and not done.stderr
    for word in ("TO", "mac", "# begins a comment", "the last counts", "200ms to 3600s"):
        assert word in done.stdout


@pytest.mark.parametrize("name", REFUSED)
def test_refused(rack, name):
    words, status, says = REFUSED[name]
    before = configured(rack)
    said = steer(rack, *words.split(), status=status)
    assert says in said and said.count("\n") == 1 and len(said) < 160
    assert said.endswith("; see `rack steer --help`\n") == (status == 2)
    assert configured(rack) == before


def configured(rack):
    return [bpftool("map", "dump", "pinned", rack.path("bpf/tor", name))
            for name in ("tor_ports", "steer_table", "steer_groups")]


@pytest.mark.parametrize("n, status", [(16384, 0), (16385, 1)])
def test_the_table_fills_up(rack, tmp_path, n, status):
    lines = ["udp:c0:%d:c1:%d mac tc" % (i % 60000, 1 + i // 60000) for i in range(n)]
    path = tmp_path / "rules"
    path.write_text("# many\n" + "\n".join(lines) + "\n")
    said = steer(rack, "load", path, status=status)
    if status:
        assert "would have 16385 flows and has room for 16384; nothing was changed" in said
        assert "udp:" not in steer(rack, "ls")
        return
    listed = [line.split()[0] for line in steer(rack, "ls").splitlines() if line.startswith("udp:")]
    assert sorted(listed) == sorted(line.split()[0] for line in lines)
    said = steer(rack, "add", "tcp:c0:1:c1:2", status=1)
    assert "nothing was changed" in said
    # nor is it measured first
    said = steer(rack, "path", "tcp:c0:1:c1:2", "xdp", "--guard", "1000s", status=1)
    assert "nothing was changed" in said and said.count("\n") == 1
    steer(rack, "add", "udp:c0:1:c1:1", "r0")  # a new rule for a flow that is there needs no room
    steer(rack, "rm", "all")
    assert "udp:" not in steer(rack, "ls")


def test_a_file_with_a_wrong_line_changes_nothing(rack, tmp_path):
    path = tmp_path / "rules"
    path.write_text("udp:c0:1:c1:2 r0 xdp\n\nudp:c0:3:c1:4 r9\n")
    said = steer(rack, "load", path, status=2)
    assert "rules:3: 'r9' names no port" in said and "nothing was changed" in said
    assert "udp:" not in steer(rack, "ls")
    path.write_bytes(b"udp:c0:1:c1:2 r0\0 xdp\n")
    said = steer(rack, "load", path, status=2)
    assert "rules:1: there is a byte of 0x00, which is no text; nothing was changed" in said


def test_a_file_with_carriage_returns(rack, tmp_path):
    path = tmp_path / "rules"
    path.write_bytes(b"# two\r\n\r\nudp:c0:1:c1:2 r0 xdp\r\nudp:c0:3:c1:4 # where it goes\r\n")
    assert "2 rules\n" in steer(rack, "load", path)
    assert re.search("^udp:c0:1:c1:2 +r0 +xdp$", steer(rack, "ls"), re.M)
    steer(rack, "rm", "all")
    path.write_bytes(b"udp:c0:1:c1:2 r0 x\rdp\n")
    assert "rules:1: there is a byte of 0x0d" in steer(rack, "load", path, status=2)


@pytest.mark.parametrize("path", ["xdp", "afxdp"])
def test_a_device_that_has_another_program(rack, path):
    other = rack.path("bpf/tor/tor_wire")
    rack.exec("tor", "bpftool", "net", "attach", "xdpdrv", "pinned", other, "dev", "c0")
    try:
        before = configured(rack)
        said = steer(rack, "path", "c0", path, status=1)
        assert "c0: its port has another XDP program" in said and said.count("\n") == 1
        assert configured(rack) == before
        assert "rack-steer" not in rack.nodes()["tor"][2]
        steer(rack, "path", "c0", "bridge")
        steer(rack, "path", "c0", "tc")
    finally:
        rack.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "c0")


def test_frames_too_large_for_afxdp(tmp_path):
    with Rack(tmp_path, clients=2, link={"mtu": 9000}, xdp="generic") as rack:
        rack.up()
        said = steer(rack, "path", "c0", "afxdp", status=1)
        assert "frames of an MTU of 9000 are too large for the path afxdp, which takes 3800" in said
        assert path_of(rack, "c0") == "tc"
        steer(rack, "path", "c0", "xdp")


@pytest.mark.parametrize("keys, says", [
    ({"link": {"queues": 17}}, "queues: 17 is more than 16"),
    ({"afxdp": {"umem_bytes": 1 << 23}}, "umem_bytes: 8388608 is no power of two in"),
    ({"afxdp": {"umem_bytes": 1000000}}, "umem_bytes: 1000000 is no power of two in"),
    ({"afxdp": {"fill_threshold": 4096}}, "fill_threshold: 4096 is more than 2048"),
    ({"afxdp": {"cpus": [4000]}}, "there is no CPU 4000"),
])
def test_files_that_are_refused(tmp_path, keys, says):
    with Rack(tmp_path, **keys) as rack:
        done = rack_command("up", rack.file)
        assert done.returncode == 2 and says in done.stderr
