# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a failure says: causes before consequences, and how a checksum is wrong."""

import struct

import pytest

from . import cases, executors, frames, report

CASES = {case.name: case for case in cases.load_all()}


def _ack(name="ack-checksum-that-needs-two-folds"):
    step = CASES[name].steps[0]
    return step, step.frames[0]


def _told(step, ack):
    state = step.after
    return report.compare(step, executors.Outcome("TX", {"ack": 1}, [ack], state))


def _with_udp_sum(frame, value):
    return frame[:40] + struct.pack("!H", value & 0xFFFF) + frame[42:]


def test_what_holds_says_nothing():
    step, ack = _ack()
    assert not _told(step, ack)


@pytest.mark.parametrize("kind", ["zero", "pseudo-header only", "one fold short", "not updated", "other"])
def test_a_wrong_checksum_is_classified(kind):
    step, ack = _ack()
    pseudo = frames.pseudo_header(ack[26:30], ack[30:34], len(ack) - 34)
    data = pseudo + ack[34:40] + b"\0\0" + ack[42:]
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    value = {
        "zero": 0,
        "pseudo-header only": frames.ones_sum(pseudo),
        "one fold short": ~((total & 0xFFFF) + (total >> 16)),
        "not updated": int.from_bytes(step.frame[40:42], "big"),
        "other": int.from_bytes(ack[40:42], "big") ^ 0x40,
    }[kind]
    (line,) = _told(step, _with_udp_sum(ack, value))
    assert line.startswith("frame out: UDP checksum: ") and f": {kind}" in line


def test_a_consequence_is_called_one():
    """A wrong TTL with an IP checksum to match: one cause, one consequence, in this order."""
    step, ack = _ack()
    ip = ack[14:22] + b"\x11" + ack[23:24] + b"\0\0" + ack[26:34]
    wrong = ack[:14] + ip[:10] + struct.pack("!H", frames.checksum(ip)) + ip[12:] + ack[34:]
    cause, consequence = _told(step, wrong)
    assert cause == "frame out: IP TTL: 17, expected 64"
    assert consequence.startswith("frame out: IP checksum: ") and "follows from the above" in consequence


def test_a_forgotten_length_stands_first():
    """The frame cut, the IP length not: length first, the checksum that does not fit last."""
    step, ack = _ack()
    wrong = ack[:16] + b"\x01\0" + ack[18:]
    lines = _told(step, wrong)
    assert lines[0] == "frame out: IP total length: 256, expected 104"
    assert lines[1].startswith("frame out: IP checksum: ") and "wrong for these bytes" in lines[1]


def test_state_and_slot():
    step, ack = _ack()
    state = step.before.copy()
    told = report.compare(step, executors.Outcome("PASS", {"gap": 1}, [step.frame], state))
    assert told[0] == "verdict: PASS, expected TX"
    assert told[1] == "counted: gap, expected ack"
    assert any(line.startswith("state: last op: 56505, expected 56506") for line in told)
    assert any(line.startswith("slot 58: ") for line in told)


def test_a_failure_is_complete(tmp_path):
    case = CASES["gap-of-one"]
    step = case.steps[0]
    outcome = executors.Outcome("DROP", {"gap": 1}, [], step.before)
    text = report.failure(case, 0, step, outcome, "testrun", tmp_path)
    assert "gap-of-one (" in text and "on testrun" in text and "verdict: DROP, expected PASS" in text
    saved = (tmp_path / "gap-of-one-testrun.pcap").read_bytes()
    assert step.frame in saved
    expression = text.split("packet: ")[1].split("\n")[0]
    import paxos
    import scapy.all

    assert bytes(eval(expression, {**vars(scapy.all), **vars(paxos)})) == step.frame


def test_captures_hold_what_the_cases_say():
    """The published followers' ack and ours differ in the checksum alone: theirs is 0."""
    prepare = cases.read_capture("PrepareMessage.offload.pcap", 1)
    theirs = cases.read_capture("MyPrepareOK.offload.pcap", 1)
    assert frames.ack_of(prepare, 0, 1, 1, udp_sum=0) == theirs
