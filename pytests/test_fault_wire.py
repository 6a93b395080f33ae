# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Packets that a fault rule makes wait: in order, not a nanosecond early, judged like all others;
and the processes that this takes."""
import os
import re
import signal
import subprocess
import time

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from bench import one_cpu
from conftest import until
from net import same
from racks import COMMAND, Rack, rack_command, signal_at, stops
from switch import Switch, arrive_after, numbers, ops, timed

pytestmark = pytest.mark.needs("af_xdp")


def test_delay_releases_in_order_and_nothing_early(switch):
    switch.add("--from r1 --to r0 --kind Prepare delay 30ms")
    frames = switch.prepares("r1", "r0", 20)
    times = timed(switch, "r1", frames)
    order = arrive_after(switch, "r0", frames, [t + 30 * 10 ** 6 for t in times])
    assert order == list(range(20))
    assert switch.state("early") == 0
    log = switch.cleared_log()
    assert numbers(log, action="delay", delay_ns=30 * 10 ** 6) == list(range(1, 21))


def test_jitter_follows_from_seed_and_number(switch):
    switch.add("--from r1 --to r0 --kind Prepare --seed 5 delay 20ms jitter 15ms")
    frames = switch.prepares("r1", "r0", 20)
    delays = [5 * 10 ** 6 + switch.hashes(n, 5)[1] % (30 * 10 ** 6 + 1) for n in range(1, 21)]
    times = timed(switch, "r1", frames)
    arrive_after(switch, "r0", frames, [t + d for t, d in zip(times, delays)])
    assert switch.state("early") == 0
    assert [e["delay_ns"] for e in switch.cleared_log()] == delays


def test_delays_of_two_rules_add_up(switch):
    switch.add("--from r1 --to r0 --kind Prepare delay 10ms")
    switch.add("--to r0 --every 2 delay 20ms")
    frames = switch.prepares("r1", "r0", 4)
    times = timed(switch, "r1", frames)
    arrive_after(switch, "r0", frames, [t + (10 + 20 * (i % 2)) * 10 ** 6
                                        for i, t in enumerate(times)])
    assert switch.state("early") == 0


def reordered(n, every, k):
    """Packet i falls behind the k that follow it."""
    keys = {i: (i + k + 0.5 if i % every == 0 else i) for i in range(1, n + 1)}
    return sorted(keys, key=keys.get)


@pytest.mark.parametrize("every, k", [(3, 1), (3, 2), (5, 7), (1, 2)])
def test_reorder(switch, every, k):
    switch.add("--from r1 --to r0 --kind Prepare --every %d reorder %d" % (every, k))
    frames = switch.prepares("r1", "r0", 20)
    switch.ports["r1"].send(*frames)
    assert ops(switch.next("r0", 20)) == reordered(20, every, k)
    assert numbers(switch.cleared_log(), action="reorder") == list(range(every, 21, every))


def test_what_nothing_overtakes_is_not_held_for_ever(switch):
    switch.add("--from r1 --to r0 --kind Prepare reorder 5")
    frame = switch.prepare("r1", "r0", 1)
    times = timed(switch, "r1", [frame])
    arrive_after(switch, "r0", [frame], [times[0] + 10 ** 9])


def test_rate_sends_one_after_the_other(switch):
    switch.add("--from r1 --to r0 --kind Prepare rate 1mbit")
    frames = switch.prepares("r1", "r0", 10, size=1000)
    times = timed(switch, "r1", frames)
    sent = 0
    earliest = []
    for frame in frames:
        sent += len(frame) * 8 * 1000  # ns at 1 Mbit/s
        earliest.append(times[0] + sent)
    assert arrive_after(switch, "r0", frames, earliest) == list(range(10))
    assert switch.state("early") == 0


def test_rate_drops_what_would_wait_too_long(switch):
    switch.add("--from r1 --to r0 --kind Prepare rate 100kbit")
    frames = switch.prepares("r1", "r0", 10, size=1000)  # 85 ms each
    begin = time.monotonic()
    switch.ports["r1"].send(*frames)
    took = time.monotonic() - begin
    until(lambda: switch.counts(1)[0] == 10, "the rule to see them")
    log = switch.cleared_log()
    kept, dropped = numbers(log, action="rate"), numbers(log, action="rate-drop")
    assert sorted(kept + dropped) == list(range(1, 11))
    assert ops(switch.next("r0", len(kept))) == kept
    if took < 0.01:  # else some room came free while they were sent
        assert kept == [1, 2, 3]


def test_only_what_a_rule_takes_waits(switch):
    switch.add("--from r1 --to r0 --kind Prepare --every 2 delay 1s")
    held, reasons = switch.state("held"), switch.reasons("r1")
    assert ops(switch.arrivals("r1", "r0", switch.prepare("r1", "r0", 1))) == [1]
    for source, to in (("r2", "r0"), ("r0", "r1"), ("c0", "r0")):
        assert ops(switch.arrivals(source, to, switch.prepare(source, to, 1))) == [1]
    assert switch.state("held") == held
    switch.ports["r1"].send(switch.prepare("r1", "r0", 2))
    until(lambda: switch.reasons("r1")["held"] == reasons["held"] + 1, "a held packet")
    assert switch.state("held") == held + 1
    assert ops(switch.next("r0", 1)) == [2]


def test_tags_and_other_bytes_survive_the_wire(switch):
    switch.add("--from c0 --to r0 delay 1ms")
    frames = [switch.ether("c0", "r0") / Dot1Q(vlan=5) / switch.other("c0", "r0").payload,
              switch.ether("c0", "r0") / Dot1Q(vlan=5) / Dot1Q(vlan=6) /
              switch.other("c0", "r0").payload,
              switch.other("c0", "r0", b"z" * 1472),
              switch.ether("c0", "r0") / Raw(b"")]
    for frame in frames:
        switch.ports["c0"].send(frame)
        same(switch.ports["r0"].wait(), frame)


def test_frames_too_large_to_wait_are_told(tmp_path):
    with Rack(tmp_path, replicas=2, xdp="generic", link={"mtu": 9000}) as rack:
        rack.up()
        done = rack_command("fault", rack.name, "add", "delay", "1ms")
        assert done.returncode == 2 and "MTU" in done.stderr and "3400" in done.stderr
        assert rack_command("fault", rack.name, "add", "drop").returncode == 0


def test_the_largest_frames_that_wait(tmp_path):
    with one_cpu():
        switch = Switch(tmp_path, "native", link={"mtu": 3400})
        with switch.rack:
            switch.add("--from c0 --to r0 delay 1ms")
            frame = switch.other("c0", "r0", b"z" * (3400 - 28))
            switch.ports["c0"].send(frame)
            same(switch.ports["r0"].wait(), frame)


def test_programs_see_what_has_waited_and_what_they_answer_waits(switch, follower):
    switch.add("--from r0 --to r1 --kind Prepare delay 1ms")
    switch.add("--from r1 --to r0 --kind MyPrepareOK delay 1ms")
    lost = switch.add("--from r1 --to r0 --kind MyPrepareOK --nth 2 drop")
    for op in (1, 2, 3):
        switch.ports["r0"].send(switch.prepare("r0", "r1", op))
    assert ops(switch.next("r0", 2)) == [1, 3]
    assert follower.counted() == {"ack": 3} and follower.last == 3
    assert switch.counts(lost) == (3, 1)
    assert switch.state("early") == 0


def test_rules_compose(switch):
    """Each counts every packet, also those that another one drops; a copy waits as well."""
    drop = switch.add("--from r1 --to r0 --kind Prepare --every 2 drop")
    twice = switch.add("--from r1 --to r0 --kind Prepare --every 3 duplicate")
    delay = switch.add("--from r1 --to r0 --kind Prepare delay 5ms")
    switch.ports["r1"].send(*switch.prepares("r1", "r0", 9))
    assert ops(switch.next("r0", 7)) == [1, 3, 3, 5, 7, 9, 9]
    assert [switch.counts(r) for r in (drop, twice, delay)] == [(9, 4), (9, 3), (9, 9)]
    assert numbers(switch.cleared_log(), rule=twice) == [3, 6, 9]


def test_partition_holds_for_what_waits(switch):
    """Packets on their way when the link is cut do not arrive."""
    for delay_s in (0.5, 2, 8):  # a machine may be slow to cut the link
        switch.add("--from r1 --to r0 --kind Prepare delay %gs" % delay_s)
        released = switch.state("released")
        due = time.monotonic() + delay_s
        switch.ports["r1"].send(*switch.prepares("r1", "r0", 3))
        switch.fault("partition", "r1", "/", "r0")
        if time.monotonic() < due:
            break
        switch.reset()
    until(lambda: switch.state("released") == released + 3, "the wire")
    switch.ports["r0"].expect_none()
    assert switch.counts(0) == (3, 3)
    assert len(numbers(switch.cleared_log(), rule=0)) == 3


def test_counts_and_antispoof_hold_for_what_waits(switch):
    switch.add("--from r1 --to r0 delay 20ms")
    drop = switch.add("--from r1 --to r0 --kind Prepare --every 3 drop")
    before = switch.reasons("r1")
    spoofed = switch.prepare("r1", "r0", 99)
    spoofed[IP].src = switch.nodes["r2"][0]
    switch.ports["r1"].send(spoofed, *switch.prepares("r1", "r0", 7))
    assert ops(switch.next("r0", 5)) == [1, 2, 4, 5, 7]
    assert switch.counts(drop) == (7, 2)
    after = switch.reasons("r1")
    assert {k: after[k] - before[k] for k in after if after[k] != before[k]} == \
        {"spoof-ip": 1, "fault": 2, "held": 5}
    switch.ports["r0"].expect_none()


# --- the processes


def test_processes_run_only_while_a_rule_needs_them(switch):
    assert not switch.processes()
    delay = switch.add("--from r1 --to r0 delay 1ms")
    drop = switch.add("--from r1 --to r2 drop")
    assert switch.processes() == {"rack-wire", "rack-wire-guard", "rack-fault-log"}
    switch.fault("rm", delay)
    assert switch.processes() == {"rack-fault-log"}
    assert "wire" not in switch.rack.exec("tor", "ip", "-br", "link")
    switch.fault("partition", "r0", "/", "r1")
    switch.fault("rm", drop)
    assert switch.processes() == {"rack-fault-log"}
    switch.fault("heal")
    assert not switch.processes()
    assert switch.fault("ls") == "no rule and no partition\n"


def test_the_last_rule_goes_when_its_packets_have_gone(switch):
    rule = switch.add("--from r1 --to r0 --kind Prepare delay 300ms")
    frames = switch.prepares("r1", "r0", 3)
    times = timed(switch, "r1", frames)
    switch.fault("rm", rule)
    assert [bytes(f) for f in switch.ports["r0"].received()] == [bytes(f) for f in frames]
    assert time.monotonic_ns() >= times[-1] + 300 * 10 ** 6
    assert switch.state("early") == 0


def test_a_rule_added_while_the_wire_is_ending(switch):
    """A command that waits for the last packets is killed; the next rule has a wire all the same."""
    rule = switch.add("--from r1 --to r0 --kind Prepare delay 400ms")
    switch.ports["r1"].send(switch.prepare("r1", "r0", 1))
    remove = subprocess.Popen([COMMAND, "fault", switch.rack.name, "rm", str(rule)])
    until(lambda: switch.state("ending"), "the wire to be told")
    remove.kill()
    remove.wait()
    switch.add("--from r1 --to r0 --kind Prepare delay 1ms")
    switch.ports["r1"].send(switch.prepare("r1", "r0", 2))
    assert ops(switch.next("r0", 2)) == [1, 2]


@pytest.mark.parametrize("process", ["rack-wire", "rack-wire-guard"])
def test_a_wire_that_is_killed(switch, process):
    """What it held is lost, what has to wait goes nowhere, all else goes on; then a new one."""
    rule = switch.add("--from r1 --to r0 --kind Prepare delay 5ms")
    switch.ports["r1"].send(switch.prepare("r1", "r0", 1))
    assert ops(switch.next("r0", 1)) == [1]
    unheld = switch.state("unheld")
    os.kill(switch.process(process), signal.SIGKILL)
    until(lambda: switch.processes() == {"rack-fault-log"}, "its end")
    switch.ports["r1"].send(switch.prepare("r1", "r0", 2))
    until(lambda: switch.state("unheld") == unheld + 1, "the count of what is lost")
    assert "no process is there" in switch.fault("ls")
    assert ops(switch.arrivals("r2", "r0", switch.prepare("r2", "r0", 3))) == [3]
    assert switch.add("--from r2 --to r0 --kind Prepare delay 1ms") == rule + 1
    switch.ports["r1"].send(switch.prepare("r1", "r0", 4))
    assert ops(switch.next("r0", 1)) == [4]
    assert numbers(switch.cleared_log(), rule=rule) == [1, 2, 3]


def test_a_log_that_is_killed(switch):
    """Rules go on; what they do meanwhile is in the log when it runs again."""
    switch.add("--from r1 --to r0 --kind Prepare --every 2 drop")
    os.kill(switch.process("rack-fault-log"), signal.SIGKILL)
    until(lambda: not switch.processes(), "its end")
    assert ops(switch.arrivals("r1", "r0", *switch.prepares("r1", "r0", 5))) == [1, 3, 5]
    switch.add("--from r2 --to r1 drop")
    assert numbers(switch.cleared_log()) == [2, 4]


def alive(pid):
    try:
        with open("/proc/%s/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"  # which init has yet to see
    except FileNotFoundError:
        return False


def test_down_with_rules_leaves_nothing(tmp_path):
    with Rack(tmp_path, clients=1) as rack:
        rack.up()
        for words in ("--from r1 --to r0 delay 10s", "--every 2 drop"):
            assert rack_command("fault", rack.name, "add", *words.split()).returncode == 0
        assert rack_command("fault", rack.name, "partition", "r0", "/", "r2").returncode == 0
        log = rack.path("faults.jsonl")
        assert os.path.exists(log)
        frame = Ether(src=rack.nodes()["r1"][1], dst=rack.nodes()["r0"][1]) / Raw(b"x" * 50)
        rack.port("r1").send(frame)
        pids = re.findall(r"(\d+) \(", rack.nodes()["tor"][2])
        assert len(pids) == 3
        assert rack.down().stderr == ""
        assert not rack.leftovers()
        assert not [pid for pid in pids if alive(pid)]


def test_a_command_killed_at_any_moment(tmp_path):
    with Rack(tmp_path, replicas=2) as rack:
        rack.up()
        add = [COMMAND, "fault", rack.name, *"add --from r1 --to r0 delay 1ms".split()]
        total = stops(add)
        assert rack_command("fault", rack.name, "clear").returncode == 0
        killed = 0
        for step in range(12):
            killed += signal_at(add, 1 + total * step // 12) == signal.SIGKILL
            done = rack_command("fault", rack.name, "clear")
            assert done.returncode == 0, done.stderr
            assert rack_command("fault", rack.name, "ls").stdout == "no rule and no partition\n"
            until(lambda: rack.nodes()["tor"][2] == "-", "the end of its processes")
        assert killed > 8
        rack.down()
        assert not rack.leftovers()
