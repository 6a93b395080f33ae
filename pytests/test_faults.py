# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fault rules in the ToR: which packets they take, and what becomes of those."""
import os
import re
import socket
import time

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

import paxos
from conftest import PATIENCE_S
from net import same
from paxos import Fragment, Paxos
from racks import rack_command
from switch import KIND_NUMBER, PORT, numbers, ops


# --- which packets


@pytest.mark.parametrize("which, taken", [
    ("--every 3", [3, 6, 9]), ("--nth 4", [4]), ("--every 1", list(range(1, 11))), ("--nth 11", []),
    ("", list(range(1, 11))), ("--probability 1", list(range(1, 11))),
])
def test_a_rule_takes_exactly_what_it_names(switch, which, taken):
    rule = switch.add("--from r1 --to r0 --kind Prepare %s drop" % which)
    frames = switch.prepares("r1", "r0", 10)
    got = switch.arrivals("r1", "r0", *frames)
    assert ops(got) == [op for op in range(1, 11) if op not in taken]
    for frame in got:
        same(frame, frames[ops([frame])[0] - 1])
    assert switch.counts(rule) == (10, len(taken))
    log = switch.cleared_log()
    assert [{k: e[k] for k in ("rule", "action", "from", "to", "kind", "number")} for e in log] == [
        {"rule": rule, "action": "drop", "from": "r1", "to": "r0", "kind": "Prepare", "number": n}
        for n in taken]
    times = [e["time_ns"] for e in log]
    assert times == sorted(times) and all(t <= time.monotonic_ns() for t in times)


def test_the_same_seed_gives_the_same_list(switch):
    lists = []
    for seed in (7, 7, 8):
        switch.add("--from r1 --to r0 --kind Prepare --probability 0.3 --seed %d drop" % seed)
        got = switch.arrivals("r1", "r0", *switch.prepares("r1", "r0", 50))
        lists.append(numbers(switch.cleared_log()))
        assert ops(got) == [n for n in range(1, 51) if n not in lists[-1]]
        assert lists[-1] == [n for n in range(1, 51)
                             if switch.hashes(n, seed)[0] < int(0.3 * 2 ** 64)]
    assert lists[0] == lists[1] != lists[2]


def test_each_link_and_kind_has_its_own_numbers(switch):
    switch.add("--to r0 --every 2 drop")
    for source in ("r1", "r2"):
        frames = []
        for op in range(1, 6):
            frames += [switch.prepare(source, "r0", op),
                       switch.udp(source, "r0", Paxos() / paxos.CommitMessage(opnum=op))]
        switch.ports[source].send(*frames)
        got = switch.next("r0", 6)
        assert [bytes(f) for f in got] == [bytes(f) for i, f in enumerate(frames)
                                           if i // 2 in (0, 2, 4)]
    log = switch.cleared_log()
    for source in ("r1", "r2"):
        for kind in ("Prepare", "Commit"):
            assert numbers(log, **{"from": source, "kind": kind}) == [2, 4]


def test_other_links_directions_and_kinds_are_untouched(switch):
    rule = switch.add("--from r1 --to r0 --kind Prepare drop")
    for source, to in (("r0", "r1"), ("r2", "r0"), ("r1", "r2"), ("c0", "r0")):
        assert ops(switch.arrivals(source, to, switch.prepare(source, to, 1))) == [1]
    other = switch.other("r1", "r0")
    assert [bytes(f) for f in switch.arrivals("r1", "r0", other)] == [bytes(other)]
    assert switch.counts(rule) == (0, 0)


def one_of_each(switch, source, to):
    frames = {name: switch.udp(source, to, Paxos() / body()) for name, body in paxos.KINDS.items()}
    frames["fragment"] = switch.udp(source, to, Fragment() / Raw(b"x" * 30))
    frames["arp"] = switch.ether(source, to) / ARP(
        op="is-at", hwsrc=switch.nodes[source][1], psrc=switch.nodes[source][0],
        hwdst=switch.nodes[to][1], pdst=switch.nodes[to][0])
    frames["other"] = switch.other(source, to)
    return frames


def test_every_kind_is_told_by_its_name(switch):
    frames = one_of_each(switch, "r1", "r0")
    assert set(frames) == set(KIND_NUMBER)
    rules = {kind: switch.add("--from r1 --to r0 --kind %s --nth 1 drop" % kind) for kind in frames}
    assert not switch.arrivals("r1", "r0", *frames.values())
    assert {kind: switch.counts(rule) for kind, rule in rules.items()} == \
        dict.fromkeys(frames, (1, 1))
    got = switch.arrivals("r1", "r0", *frames.values())  # the second of each
    assert [bytes(f) for f in got] == [bytes(f) for f in frames.values()]


def odd_frames(switch):
    prepare = switch.prepare("r1", "r0", 1)
    payload = bytes(prepare[UDP].payload)
    near = payload.replace(b"PrepareMessage", b"PrepareMessagf")
    return {
        "one-letter": (switch.udp("r1", "r0", Raw(near)), "other"),
        "other-port": (switch.udp("r1", "r0", Raw(payload), udp={"sport": 9, "dport": 7}),
                       "Prepare"),
        "ip-options": (switch.udp("r1", "r0", Raw(payload), options=b"\x01" * 8), "Prepare"),
        "first-fragment": (switch.udp("r1", "r0", Raw(payload), flags="MF"), "Prepare"),
        "later-fragment": (switch.udp("r1", "r0", Raw(payload), frag=4), "other"),
        "tagged": (switch.ether("r1", "r0") / Dot1Q(vlan=5) / prepare.payload, "other"),
        "no-checksum": (switch.udp("r1", "r0", Raw(payload), udp={"chksum": 0}), "Prepare"),
        "cut-in-name": (switch.udp("r1", "r0", Raw(payload[:30])), "other"),
        "cut-behind-name": (switch.udp("r1", "r0", Raw(payload[:12 + 33])), "Prepare"),
        "tcp": (Ether(bytes(switch.ip("r1", "r0", proto=6) / Raw(b"\0" * 8 + payload))), "other"),
    }


@pytest.mark.parametrize("name", ["one-letter", "other-port", "ip-options", "first-fragment",
                                  "later-fragment", "tagged", "no-checksum", "cut-in-name",
                                  "cut-behind-name", "tcp"])
def test_the_kind_of_odd_frames(switch, name):
    frame, kind = odd_frames(switch)[name]
    wanted = switch.add("--from r1 --to r0 --kind %s drop" % kind)
    assert not switch.arrivals("r1", "r0", frame)
    assert switch.counts(wanted) == (1, 1)


def test_a_window_of_time(switch):
    before = time.monotonic_ns()
    early = switch.add("--from r1 --to r0 --kind Prepare --between 300ms 1000s drop")
    late = switch.add("--from r1 --to r0 --kind Prepare --between 1000s 2000s duplicate")
    sent = 0
    while True:
        sent += 1
        if not switch.arrivals("r1", "r0", switch.prepare("r1", "r0", sent)):
            break
    assert switch.counts(early) == (sent, 1) and switch.counts(late) == (sent, 0)
    log = switch.cleared_log()
    assert numbers(log) == [sent]
    assert log[0]["time_ns"] - before >= 300 * 10 ** 6


def test_a_window_that_is_over(switch):
    rule = switch.add("--from r1 --to r0 --kind Prepare --between 0s 1ns drop")
    assert ops(switch.arrivals("r1", "r0", switch.prepare("r1", "r0", 1))) == [1]
    assert switch.counts(rule) == (1, 0)


# --- duplicate, corrupt


def test_duplicate(switch):
    switch.add("--from r1 --to r0 --kind Prepare --every 2 duplicate")
    got = ops(switch.arrivals("r1", "r0", *switch.prepares("r1", "r0", 5)))
    if switch.xdp == "generic":  # the second copy takes the stack's path once more
        got.sort()
    assert got == [1, 2, 2, 3, 4, 4, 5]
    assert numbers(switch.cleared_log(), action="duplicate") == [2, 4]


def flipped(switch, frame, number, seed, gap=(24, 28)):
    """The frame with the one bit changed that must be: of IP's bytes, without UDP's length and
    checksum when that covers the rest."""
    total = len(frame) - 14
    places = [i for i in range(total) if not gap[0] <= i < gap[1]]
    bit = switch.hashes(number, seed)[1] % (len(places) * 8)
    out = bytearray(bytes(frame))
    out[14 + places[bit // 8]] ^= 1 << bit % 8
    return bytes(out)


def test_corrupt_changes_one_bit_that_a_checksum_covers(switch):
    switch.add("--from r1 --to r0 --kind Prepare --seed 3 corrupt")
    frames = switch.prepares("r1", "r0", 40)
    got = switch.arrivals("r1", "r0", *frames)
    assert [bytes(f) for f in got] == [flipped(switch, f, n + 1, 3) for n, f in enumerate(frames)]
    assert numbers(switch.cleared_log(), action="corrupt") == list(range(1, 41))


def test_corrupt_leaves_alone_what_no_checksum_covers(switch):
    rule = switch.add("--from r1 --to r0 corrupt")
    arp = one_of_each(switch, "r1", "r0")["arp"]
    tagged = odd_frames(switch)["tagged"][0]
    got = switch.arrivals("r1", "r0", arp, tagged)
    assert [bytes(f) for f in got] == [bytes(arp), bytes(tagged)]
    assert switch.counts(rule) == (2, 0)
    # Without UDP checksum, and in fragments: in the IP header only.
    for name in ("no-checksum", "first-fragment", "later-fragment"):
        frame = bytes(odd_frames(switch)[name][0])
        got = [bytes(f) for f in switch.arrivals("r1", "r0", *[Raw(frame)] * 20)]
        assert len(got) == 20 and frame not in got
        assert {f[:14] + f[34:] for f in got} == {frame[:14] + frame[34:]}


def kernel_log():
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(fd, 0, os.SEEK_END)
    return fd


def complaints(fd):
    out = []
    while True:
        try:
            line = os.read(fd, 8192).decode(errors="replace")
        except BlockingIOError:
            os.close(fd)
            return out
        if re.search(r"csum|checksum|short packet|WARNING|BUG", line):
            out.append(line)


@pytest.fixture
def stacks(switch):
    """r0 and c0 have their addresses, and know each other's."""
    for node, other in (("r0", "c0"), ("c0", "r0")):
        switch.rack.exec(node, "ip", "addr", "add", switch.nodes[node][0] + "/24", "dev", "eth0")
        switch.rack.exec(node, "ip", "neigh", "replace", switch.nodes[other][0], "lladdr",
                         switch.nodes[other][1], "dev", "eth0", "nud", "permanent")
    yield
    for node in ("r0", "c0"):
        switch.rack.exec(node, "ip", "addr", "flush", "dev", "eth0")


@pytest.mark.parametrize("checksum", [True, False])
def test_what_is_corrupt_reaches_no_application_and_no_kernel_log(switch, stacks, checksum):
    with switch.rack.namespace("r0"):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with switch.rack.namespace("c0"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kmsg = kernel_log()
    with server, client:
        server.bind((switch.nodes["r0"][0], PORT))
        server.settimeout(PATIENCE_S)
        client.setsockopt(socket.SOL_SOCKET, 11, 0 if checksum else 1)  # SO_NO_CHECK
        client.connect((switch.nodes["r0"][0], PORT))
        rule = switch.add("--from c0 --to r0 --kind other --every 2 corrupt")
        for i in range(400):
            client.send(b"%d" % i)
        assert [int(server.recv(100)) for _ in range(200)] == list(range(0, 400, 2))
        switch.clear()
        client.send(b"last")
        assert server.recv(100) == b"last"
    assert rule and not complaints(kmsg)


# --- what cannot be


@pytest.mark.parametrize("words, said", [
    ("add", "what is to be done"),
    ("add explode", "no action 'explode'"),
    ("add drop drop", "too much"),
    ("add --from r9 drop", "r9"),
    ("add --from r1 --to r1 drop", "same node"),
    ("add --from", "wants a node"),
    ("add --kind Prepared drop", "Prepared"),
    ("add --every 0 drop", "--every '0'"),
    ("add --every 2 --nth 3 drop", "only one of"),
    ("add --nth -1 drop", "--nth '-1'"),
    ("add --probability 1.1 drop", "1.1"),
    ("add --probability 0 drop", "--probability '0'"),
    ("add --probability x drop", "--probability 'x'"),
    ("add --seed -1 drop", "--seed '-1'"),
    ("add --between 2s 1s drop", "later"),
    ("add --between 2s drop", "drop"),
    ("add --between 2 3 drop", "--between '2'"),
    ("add --loud drop", "--loud"),
    ("add delay", "delay ''"),
    ("add delay 20", "delay '20'"),
    ("add delay 11s", "up to 10 s"),
    ("add delay 1ms jitter 2ms", "jitter"),
    ("add delay 1ms 2ms", "too much"),
    ("add reorder 0", "reorder '0'"),
    ("add reorder 1001", "reorder '1001'"),
    ("add rate 10", "rate '10'"),
    ("add rate 1kbit", "rate '1kbit'"),
    ("add --kind arp corrupt", "no checksum"),
    ("rm", "number"),
    ("rm x", "'x'"),
    ("clear all", "all"),
    ("ls -l", "-l"),
    ("heal r0", "r0"),
    ("partition", "two groups"),
    ("partition r0", "two groups"),
    ("partition r0 /", "two groups"),
    ("partition / r0", "two groups"),
    ("partition r0 / r0", "twice"),
    ("partition r0 / r7", "r7"),
    ("mend", "mend"),
])
def test_what_cannot_be_is_refused_in_one_sentence(switch, words, said):
    error = switch.fault(*words.split(), status=2)
    assert error.startswith("rack fault: ") and len(error.splitlines()) == 1
    assert said in error
    assert switch.fault("ls") == "no rule and no partition\n" and not switch.processes()


def test_a_rule_that_is_not_there(switch):
    assert "no rule 3" in switch.fault("rm", "3", status=1)
    done = rack_command("fault", "no-such-rack", "ls")
    assert done.returncode == 1 and "no-such-rack" in done.stderr


def test_64_rules_and_no_more(switch):
    for i in range(64):
        assert switch.add("--from r1 --to r0 --kind Prepare --nth %d drop" % (2 * i + 1)) == i + 1
    assert "64" in switch.fault("add", "drop", status=1)
    got = switch.arrivals("r1", "r0", *switch.prepares("r1", "r0", 10))
    assert ops(got) == [2, 4, 6, 8, 10]
    switch.fault("rm", "7")
    assert switch.add("--from r1 --to r0 drop") == 7  # the lowest that is free


def test_ls_prints_rules_as_they_were_written(switch):
    for words in ("--from r1 --to * --kind Prepare --every 3 drop",
                  "--from * --to r0 --kind * --probability 0.05 --seed 7 delay 200us jitter 50us",
                  "--from r2 --to r0 --kind MyPrepareOK --nth 12 --between 2s 4s reorder 2",
                  "--from * --to * --kind arp rate 1000000bit"):
        rule = switch.add(words)
        line, = [l for l in switch.fault("ls").splitlines() if l.split()[0] == str(rule)]
        assert line.split(None, 3)[3] == words
