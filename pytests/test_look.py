# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Looking into a rack: show, stats, top and capture say what is so.

          tor
     ______|_________________
    |     |     |     |      |
   [r0]  [r1]  [r2]  [c0]   [c1]     replicas under load from c1; c0 gets programs of other people
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios

import pytest

import bpf
from conftest import MODES, PATIENCE_S, ROOT, until
from net import link, namespaces
from racks import COMMAND, Rack, bpftool, rack_command

WITH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wireshark/with")
OPS = 300
ABORTED = struct.pack("=BBhi BBhi", 0xb7, 0, 0, 0, 0x95, 0, 0, 0)  # r0 = XDP_ABORTED; exit


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    with Rack(tmp_path_factory.mktemp("look"), replicas=3, clients=2, xdp="native") as one:
        one.up()
        yield one


@pytest.fixture
def cluster(cluster):
    return cluster.start()


def command(*arguments):
    done = rack_command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stats(rack, *options):
    return json.loads(command("stats", rack.name, "--json", *options))


def links(s):
    return {(l["from"], l["to"], l["kind"]): l["packets"] for l in s["links"]["counts"]}


def program(s, name, at):
    return next(p for p in s["programs"] if (p["name"], p["at"]) == (name, at))


def table(text, first):
    """The table whose heading begins with a word: [{heading: cell}]."""
    block = next(b for b in text.split("\n\n") if b.split("\n")[0].split()[0] == first)
    heading, *lines = block.splitlines()
    words = re.split(r"  +", heading.strip())
    return [dict(zip(words, re.split(r"  +", line.strip()))) for line in lines]


def drawn(text):
    """{row: [cell of each node]} of the drawing."""
    rows = {}
    for line in text.splitlines():
        label, *cells = re.split(r"  +", line.rstrip())
        rows.setdefault(label, []).extend(cells)
    return rows


# --- replicas and their traffic


def test_what_a_load_leaves(rack, cluster):
    before = links(stats(rack, "--links", "on"))
    cluster.load("--ops", OPS, "--clients", 2)
    said = cluster.settled()
    s = stats(rack, "--links", "off")
    sent = {key: n - before.get(key, 0) for key, n in links(s).items()}
    assert sent["c1", "r0", "Request"] >= OPS and sent["r0", "c1", "Reply"] >= OPS
    for i, report in enumerate(said):
        node, r = "r%d" % i, s["replicas"][i]
        assert (r["node"], r["status"], r["view"]) == (node, "normal", 0)
        assert (r["op"], r["applied"]) == (report["op"], report["applied"])
        xdp = program(s, "replica_xdp", node + " eth0")
        assert xdp["ours"] and xdp["mode"] == "native"
        assert sum(xdp["verdicts"].values()) == sum(
            r["kernel"]["reasons"][name] for name in r["kernel"]["reasons"]
            if not name.startswith("tc-") and name != "wake")
        if i:  # what XDP sent back is in the switch's count of its link
            assert xdp["verdicts"]["TX"] == sent[node, "r0", "MyPrepareOK"] > 0
    leader = program(s, "replica_tc", "r0 eth0")
    assert leader["verdicts"]["STOLEN"] == s["replicas"][0]["kernel"]["reasons"]["tc-broadcast"] > 0
    switch = program(s, "tor_ingress", "5 ports")
    assert switch["verdicts"]["REDIRECT"] == sum(n["reasons"]["redirect"] for n in s["nodes"])
    queue, = s["nodes"][1]["eth0"]["queues"]
    assert queue["xdp_tx"] >= sent["r1", "r0", "MyPrepareOK"]

    # Nobody looks any more: frames pass and are not counted.
    cluster.load("--ops", 20)
    after = stats(rack)
    assert links(after) == links(s) and not after["links"]["counting"]
    assert program(after, "tor_ingress", "5 ports")["verdicts"]["REDIRECT"] > \
        switch["verdicts"]["REDIRECT"]


def test_a_look_ends_by_itself(rack, cluster):
    load = cluster.rack.start("c1", COMMAND.replace("rack", "client"), "--config", cluster.config,
                              "--ops", "1000000", stdout=subprocess.DEVNULL)
    try:
        top = subprocess.Popen([COMMAND, "top", rack.name, "--interval", "0.1"],
                               stdout=subprocess.PIPE, text=True)
        until(lambda: "Request" in top.stdout.readline(), "top sees the load")
        top.kill()  # so it switches nothing off
        top.communicate()
        until(lambda: not stats(rack)["links"]["counting"], "the look ends")

        def passed():
            return program(stats(rack), "tor_ingress", "5 ports")["verdicts"]["REDIRECT"]
        now, frames = links(stats(rack)), passed()
        until(lambda: passed() > frames + 100, "frames pass")
        assert links(stats(rack)) == now
    finally:
        load.terminate()
        load.wait()


def test_the_dead_are_shown(rack, cluster):
    cluster.load("--ops", 20)
    cluster.replicas[2].kill()

    # no load: nothing is outstanding, so nothing is sent again, but its Commits get no answer
    until(lambda: stats(rack)["replicas"][0]["dead_peers"] == ["r2"], "the leader says that r2 is dead")
    s = stats(rack)
    assert s["replicas"][2]["pid"] is None and s["replicas"][1]["dead_peers"] == []
    assert s["replicas"][0]["pid"] == cluster.replicas[0].process.pid
    rows = table(command("top", rack.name, "--once", "--interval", "0.1"), "replica")
    assert [(r["replica"], r["status"], r["dead"]) for r in rows] == [
        ("r0", "leader", "r2"), ("r1", "follower", "-"), ("r2", "ended", "-")]
    assert drawn(command("show", rack.name))["role"][:3] == ["leader", "follower", "replica, ended"]


def test_a_silent_replica(rack, cluster):
    """Stopped, it tells nothing: that is said, and its lease passes what the kernel gets."""
    cluster.replicas[1].stop()

    def silent():
        cluster.load("--ops", 20)
        return table(command("top", rack.name, "--once", "--interval", "0.1"),
                     "replica")[1]["status"] == "silent"
    until(silent, "r1 is silent")
    assert stats(rack)["replicas"][1]["kernel"]["reasons"]["lease"] > 0
    cluster.replicas[1].go_on()
    until(lambda: stats(rack)["replicas"][1]["silent_us"] < 10**6, "it tells again")


# --- exceptions


def raw_socket(namespace, device):
    with namespace:
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        one.bind((device, 0))
    return one


def to_all(mac):
    """To all, so that the bridge takes it: generic XDP does not see what TC redirects."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x88\xb5" + bytes(50)


@pytest.mark.parametrize("mode", MODES)
def test_aborted(rack, mode):
    """A program of somebody else's that aborts is seen by all that look, and by its id."""
    assert not stats(rack)["exceptions"]
    fd = bpf.load_raw("somebody_elses", ABORTED)
    with rack.namespace("c0"):
        attached = bpf.attach_xdp(fd, socket.if_nametoindex("eth0"), mode)
    try:
        number = bpftool("prog", "show", "name", "somebody_elses")["id"]
        with raw_socket(rack.namespace("c1"), "eth0") as sender:
            sender.send(to_all(rack.nodes()["c1"][1]))
        found = until(lambda: stats(rack)["exceptions"], "the exception is counted")
        assert [(e["program"], e["node"], e["side"], e["action"]) for e in found] == [
            (number, "c0", "eth0", "ABORTED")]
        s = stats(rack)
        aborted = s["exceptions"][0]["count"]
        theirs = program(s, "somebody_elses", "c0 eth0")
        assert (theirs["ours"], theirs["mode"], theirs["verdicts"]["ABORTED"]) == (False, mode, aborted)
        assert theirs["verdicts"]["DROP"] == (0 if mode == "native" else None)

        text = command("top", rack.name, "--once", "--interval", "0.1")
        row = next(r for r in table(text, "XDP") if r["XDP"] == "somebody_elses")
        assert (row["at"], row["mode"]) == ("c0 eth0", mode) and int(row["ABORTED"]) >= aborted
        assert re.search(r" [1-9]\d* aborted, 0 failed", text.splitlines()[0])
        assert re.fullmatch(r"[1-9]\d* ABORTED", drawn(command("show", rack.name))["exceptions"][3])
        assert "color=red" in command("show", rack.name, "--dot")
    finally:
        attached.close()
        os.close(fd)
    until(lambda: not stats(rack)["exceptions"], "a program that is gone is nobody's")


def test_exceptions_outside_are_not_ours(rack):
    spaces = namespaces(2, "look")
    try:
        a, b = link(*spaces)
        fd = bpf.load_raw("outside", ABORTED)
        with a.namespace:
            attached = bpf.attach_xdp(fd, a.index, "native")
        number = bpftool("prog", "show", "name", "outside")["id"]
        with raw_socket(b.namespace, b.device) as sender:
            sender.send(to_all("02:00:00:00:00:01"))
        seen = rack.path("bpf", "watch", "watch_counts")
        until(lambda: any(e["formatted"]["key"]["program"] == number
                          for e in bpftool("map", "dump", "pinned", seen)), "the kernel tells of it")
        assert stats(rack)["exceptions"] == []
        attached.close()
        os.close(fd)
    finally:
        for one in spaces:
            one.close()


# --- top


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments, lines=24, columns=80, term="xterm"):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ["TERM"] = term
            os.execv(COMMAND, [COMMAND, *arguments])
        self.resize(lines, columns)

    def resize(self, lines, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, text):
        said = b""
        while text not in said:
            assert select.select([self.fd], [], [], PATIENCE_S)[0], said
            said += os.read(self.fd, 65536)

    def key(self, text):
        os.write(self.fd, text)

    def end(self):
        """Its exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass  # what a terminal says when nobody is left on it
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_top_on_a_terminal(rack):
    top = Terminal("top", rack.name, "--interval", "0.1")
    try:
        top.wait_for(b"q quit")
        top.key(b"h")
        top.wait_for(b"this help, or back")
        top.key(b"h\t\n>r")
        top.wait_for(b"tor_pass")
        top.resize(10, 40)
        top.wait_for(b"XDP")
    finally:
        top.key(b"q")
        assert top.end() == 0


def test_top_sideways(rack):
    """Where there is no room for all columns, keys lead to them, and so does sorting by one of them."""
    right, left = b"\x1bOC", b"\x1bOD"
    # too few lines for those of the help that name columns
    top = Terminal("top", rack.name, "--interval", "0.1", lines=12, columns=40)
    try:
        top.wait_for(b"q quit")
        top.key(b"\t\nh")  # links have the focus, programs come next
        for keys, heading in ((right * 20, b"CPU %"), (left * 20, b"ABORTED"), (b">" * 9, b"ns/run")):
            top.wait_for(b"shift-tab")
            top.key(keys + b"h")  # where the help was the heading is drawn anew
            top.wait_for(heading)
            top.key(b"h")
    finally:
        top.key(b"q")
        assert top.end() == 0


def test_top_on_no_terminal_that_is_known(rack):
    top = Terminal("top", rack.name, term="bogus")
    top.wait_for(b"rack: cannot use this terminal (TERM=bogus); --once prints lines")
    assert top.end() == 1


def test_top_when_the_rack_goes(tmp_path):
    with Rack(tmp_path, replicas=1) as one:
        one.up()
        top = Terminal("top", one.name, "--interval", "0.1")
        top.wait_for(b"q quit")
        one.down()
        top.wait_for(b"it is not up")
        assert top.end() == 1
        assert one.leftovers() == []


def test_top_as_lines(rack):
    text = command("top", rack.name, "--count", 2, "--interval", "0.1")
    assert len(re.findall(r"^\d\d:\d\d:\d\d  %s  native XDP" % rack.name, text, re.M)) == 2
    assert {r["port"] for r in table(text, "port")} == {"r0", "r1", "r2", "c0", "c1"}


# --- capture


class Capture:
    """rack capture ..., begun; the end of `with` is its Ctrl-C."""

    def __init__(self, rack, *arguments):
        self.rack, self.arguments = rack, arguments

    def __enter__(self):
        self.process = subprocess.Popen([COMMAND, "capture", self.rack.name, *self.arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # it listens to every protocol in the switch's namespace
        until(lambda: " 0003 " in self.rack.exec("tor", "cat", "/proc/net/packet"), "it listens")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.out, self.err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, self.err


def test_capture_opens_in_wireshark(rack, cluster, tmp_path):
    path = str(tmp_path / "all.pcapng")
    before = links(stats(rack, "--links", "on"))
    with Capture(rack, "-w", path):
        before = links(stats(rack))
        cluster.load("--ops", 50)
        cluster.settled()
        after = links(stats(rack, "--links", "off"))
    fields = ["frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction",
              "eth.src", "eth.dst", "paxrack.kind", "_ws.col.Info"]
    done = subprocess.run([WITH, "tshark", "-r", path, "-T", "fields",
                           *(word for f in fields for word in ("-e", f))],
                          text=True, capture_output=True, check=False)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows, done.stderr
    assert [r[0] for r in rows] == sorted(r[0] for r in rows)
    assert {int(r[2], 16) for r in rows} == {1}  # each where it came in, and so once
    by_mac = {mac: node for node, (_, mac, _) in rack.nodes().items()}
    assert all(by_mac[r[3]] == r[1] for r in rows)
    for key in (("r1", "r0", "MyPrepareOK"), ("r0", "r1", "Prepare"), ("r0", "r2", "Prepare")):
        seen = sum(by_mac[r[3]] == key[0] and by_mac.get(r[4]) == key[1] and
                   r[-1].split()[0] == key[2] for r in rows)
        assert seen == after[key] - before.get(key, 0) > 0


def test_capture_as_lines(rack, cluster):
    with Capture(rack, "r1") as one:
        cluster.load("--ops", 20)
        cluster.settled()
    line = re.compile(r"\d\d:\d\d:\d\d\.\d{6}  (\w+) +(->|=>) (\w+) +\d+ B  (\w+) +(.*)")
    seen = [line.fullmatch(text).groups() for text in one.out.splitlines()]
    assert {(a, arrow) for a, arrow, *_ in seen if arrow == "->"} == {("r1", "->")}
    assert {b for _, arrow, b, *_ in seen if arrow == "=>"} <= {"r1", "all"}
    prepared = [what for a, _, b, kind, what in seen if (a, b, kind) == ("r0", "r1", "Prepare")]
    acked = [what for a, _, b, kind, what in seen if (a, b, kind) == ("r1", "r0", "MyPrepareOK")]
    assert any(re.match(r"view 0  op \d+(-\d+)?  committed \d+$", what) for what in prepared)
    assert any(re.match(r"view 0  op \d+$", what) for what in acked)


def test_capture_names_the_port(rack):
    """A frame with the source of another stands at the port that it came in by, and was dropped."""
    nodes = {node: row for node, row in rack.nodes().items() if node != "tor"}
    macs = {node: bytes.fromhex(mac.replace(":", "")) for node, (_, mac, _) in nodes.items()}
    addresses = {node: socket.inet_aton(address) for node, (address, _, _) in nodes.items()}

    def udp(to, mac, address):
        return macs[to] + macs[mac] + struct.pack("!H BBHHHBBH4s4s HHHH", 0x800, 0x45, 0, 32, 0, 0, 64, 17,
                                                  0, addresses[address], addresses[to], 9, 9, 12, 0) + b"odd!"
    with Capture(rack, "--both") as one, raw_socket(rack.namespace("c0"), "eth0") as sender:
        for frame in (udp("c1", "c0", "c0"), udp("c1", "r0", "r0"), udp("c1", "c0", "r0"),
                      b"\xff" * 6 + macs["c0"] + b"\x88\xb5" + bytes(46)):
            sender.send(frame)
    seen = [re.sub(" +", " ", line.split(maxsplit=1)[1]) for line in one.out.splitlines()
            if "no message" in line or "88b5" in line]
    odd = " 46 B udp 4 bytes: no message"
    assert [line for line in seen if odd in line] == [
        "c0 -> c1" + odd, "c0 => c1" + odd, "c0 -> c1" + odd + " (as r0: dropped, spoof-mac)",
        "c0 -> c1" + odd + " (as %s: dropped, spoof-ip)" % nodes["r0"][0]]
    to_all = " 60 B ethertype 0x88b5"
    assert sorted(line for line in seen if odd not in line) == sorted(
        ["c0 -> all" + to_all, *("c0 => %s%s (to all)" % (n, to_all) for n in ("r0", "r1", "r2", "c1"))])


def test_capture_ends_after_so_many(rack, cluster):
    done = rack_command("capture", rack.name, "-c", 3)  # an idle leader gives signs of life
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3


# --- names, drawings, bad input


def documented():
    """The programs that docs/looking-in.md names."""
    with open(os.path.join(ROOT, "docs/looking-in.md")) as page:
        return set(re.findall(r"`(\w+)`", re.search(r"programs have names: (.*?)\.\n", page.read(), re.S)[1]))


def test_bpftool_finds_them_by_name(rack, cluster, tmp_path):
    """With everything on, the page names those that are there, and no other."""
    with Rack(tmp_path, replicas=1, clients=1, tors=[{"nodes": ["r0"]}, {}]) as full:
        full.up()
        command("fault", full.name, "add", "--from", "r0", "delay", "1ms")
        command("steer", full.name, "path", "c0", "afxdp")
        names = {p.get("name", "") for p in bpftool("prog", "show")}
        names.discard("steer_egress")  # people attach that themselves: docs/egress.md
        assert documented() == {n for n in names if re.match("(replica|steer|tor|watch)_", n)}
        for name in documented():
            assert bpftool("prog", "show", "name", name), name
    assert bpftool("prog", "show", "name", "nobodys_program") in (None, [])


DOT = re.compile(r'  \w+( -> \w+)? \[(\w+=(\w+|"([^"\\]|\\.)*")(, |(?=\])))+\];')


def test_drawings(rack, cluster):
    cluster.partition("c0", "r2")
    cluster.fault("add", "--from", "r0", "--kind", "Prepare", "--every", "7", "drop")
    text = command("show", rack.name)
    rows = drawn(text)
    assert rows["address"] == [rack.nodes()[n][0] for n in ("r0", "r1", "r2", "c0", "c1")]
    assert rows["role"] == ["leader", "follower", "follower", "client", "client"]
    for label, what in (("eth0 XDP", "replica_xdp native"), ("eth0 TC", "replica_tc out"),
                        ("port XDP", "tor_pass native")):
        assert rows[label][:3] == [what] * 3 and set(rows[label][3:]) <= {"-"}
    assert [c.split()[1] for c in rows["processes"][:3]] == ["replica"] * 3
    assert "c0 does not reach r2" in text and "--every 7 drop" in text
    first, *lines, last = command("show", rack.name, "--dot").splitlines()
    assert (first, last) == ('digraph "%s" {' % rack.name, "}")
    assert [line for line in lines if not DOT.fullmatch(line)] == []
    assert any(line.startswith("  c0 -> r2 [") for line in lines)
    assert any(line.startswith("  r0 -> tor [") and "drop Prepare" in line for line in lines)


def under(text):
    """{what stands above a part of the drawing: names of its columns}"""
    parts = {}
    for block in text.split("\n\n")[1:]:
        above, _, _, names = block.splitlines()[:4]
        parts.setdefault(above.strip(), []).extend(names.split())
    return parts


def test_several_tors_are_drawn(tmp_path):
    with Rack(tmp_path, replicas=3, clients=9, tors=[{"nodes": ["r0", "c0"]}, {"nodes": ["r1"]}, {}]) as one:
        one.up()
        text = command("show", one.name)
        behind = {"br0": ["r0", "c0"], "br1": ["r1"], "br2": ["r2", *("c%d" % i for i in range(1, 9))]}
        assert under(text) == {"spine": ["[br0]", "[br1]", "[br2]"],
                               **{tor: ["[%s]" % n for n in nodes] for tor, nodes in behind.items()}}
        assert drawn(text)["uplink"] == ["up0", "up1", "up2"] and ", 3 ToRs, " in text
        command("fault", one.name, "add", "--from", "r0", "drop")
        dot = command("show", one.name, "--dot").splitlines()
        edges = [tuple(line.split()[:3:2]) for line in dot if " -> " in line]
        assert sorted(edges) == sorted([("r0", "spine"), *(("spine", tor) for tor in behind),
                                        *((tor, n) for tor, nodes in behind.items() for n in nodes)])
        assert [line for line in dot[1:-1] if not DOT.fullmatch(line)] == []


@pytest.mark.parametrize("arguments", [
    ["show"], ["show", "RACK", "RACK"], ["show", "RACK", "--png"], ["top"], ["top", "RACK", "--interval", "0"],
    ["top", "RACK", "--count", "-1"], ["top", "RACK", "--often"], ["top", "RACK", "--once", "--count", "2"], ["stats", "RACK"],
    ["stats", "RACK", "--json", "--for", "x"], ["stats", "RACK", "--links", "maybe"],
    ["stats", "RACK", "--links", "on", "--for", "1"], ["capture", "RACK", "-c", "0"],
    ["capture", "RACK", "r0", "r1"], ["capture", "RACK", "-w"]], ids=" ".join)
def test_usage(rack, arguments):
    done = rack_command(*[rack.name if a == "RACK" else a for a in arguments])
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"rack %s: .+; usage: rack %s .+\n" % (arguments[0], arguments[0]), done.stderr)


@pytest.mark.parametrize("words, sentence", [
    (["--x", "RACK"], "there is no option --x"), (["--dot"], "which RACK?")], ids=str)
def test_options_of_show(rack, words, sentence):
    done = rack_command("show", *[rack.name if word == "RACK" else word for word in words])
    assert done.returncode == 2 and done.stderr.startswith("rack show: %s; " % sentence)


@pytest.mark.parametrize("status, arguments", [
    # a rack that is not up, a file that the machine lets nobody write
    *((1, [verb, "no-such-rack", *more]) for verb, *more in (
        ["show"], ["top", "--once"], ["stats", "--json"], ["capture"], ["ls"], ["doctor"],
        ["exec", "r0", "true"], ["fault", "ls"], ["steer", "ls"])),
    (1, ["capture", "RACK", "-w", "/proc/version"]),
    # what is no name of a rack, no node, no file
    *((2, [verb, "A_B/..", *more]) for verb, *more in (
        ["show"], ["top", "--once"], ["stats", "--json"], ["capture"], ["ls"], ["doctor"],
        ["exec", "r0", "true"], ["fault", "ls"], ["steer", "ls"], ["down"], ["shell"], ["up"], ["run"])),
    (2, ["exec", "RACK", "r9", "true"]), (2, ["capture", "RACK", "r9"]), (2, ["shell", "RACK", "r9"]),
    (2, ["capture", "RACK", "tor"]), (2, ["fault", "RACK", "add", "--from", "r9", "drop"]),
    (2, ["steer", "RACK", "path", "r9", "xdp"]), (2, ["capture", "RACK", "-w", "/proc/no/such/file"]),
    (2, ["capture", "RACK", "-w", "/proc"])],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_refused(rack, status, arguments):
    """1: the state of rack or machine is against it; 2: what was typed cannot be."""
    done = rack_command(*[rack.name if a == "RACK" else a for a in arguments])
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_left(tmp_path):
    with Rack(tmp_path, replicas=1) as one:
        one.up()
        pins = one.path("bpf", "watch")
        ids = [bpftool("prog", "show", "pinned", os.path.join(pins, name))["id"]
               for name in ("watch_exception", "watch_redirect")]
        stats(one, "--links", "on")
        one.down()
        assert one.leftovers() == []
        assert [i for i in ids if bpftool("prog", "show", "id", i)] == []
