# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What differs between what had to happen and what happened, in words.

First causes before consequences: a wrong length also changes both checksums, so a
checksum that is right for the bytes it stands in is called a consequence, and one that
is not is classified by how it is wrong.
"""

import os
import re
import struct

from . import frames, model

# -- one frame in named fields, causes first -------------------------------------------------


def dissect(frame):
    """[(name, value)]: lengths, then addresses and flags, then the message, sums last."""
    out = [("frame length", len(frame))]
    if len(frame) < 42 or frame[12:15] != b"\x08\x00\x45":
        return out + [("bytes", frame.hex())]
    _, tos, total, ip_id, frag, ttl, proto, ip_sum = struct.unpack_from("!BBHHHBBH", frame, 14)
    sport, dport, udp_len, udp_sum = struct.unpack_from("!HHHH", frame, 34)
    payload = frame[42:]
    out += [("IP total length", total), ("UDP length", udp_len)]
    out += [("Ethernet destination", frame[0:6].hex(":")), ("Ethernet source", frame[6:12].hex(":"))]
    out += [("IP source", _dotted(frame[26:30])), ("IP destination", _dotted(frame[30:34]))]
    out += [("UDP source port", sport), ("UDP destination port", dport)]
    out += [("IP TOS", tos), ("IP id", ip_id), ("IP flags and offset", hex(frag)), ("IP TTL", ttl)]
    out += [("IP protocol", proto)]
    out += _dissect_message(payload)
    return out + [("IP checksum", ip_sum), ("UDP checksum", udp_sum)]


def _dotted(ip):
    return ".".join(map(str, ip))


def _dissect_message(payload):
    if len(payload) < 12:
        return [("payload", payload.hex())]
    magic, length = struct.unpack_from("<IQ", payload)
    if magic != model.MAGIC or len(payload) < length + 32:
        return [("magic", hex(magic)), ("payload", payload.hex())]
    words = struct.unpack_from("<III", payload, 12 + length)
    body_len = struct.unpack_from("<Q", payload, 24 + length)[0]
    out = [("magic", hex(magic)), ("T", length), ("type name", payload[12 : 12 + length].decode("latin1"))]
    out += [("broadcast flag", words[0] >> 31), ("view", words[0] & 0x7FFFFFFF), ("op", words[1])]
    out += [("third word", words[2]), ("B", body_len), ("body", payload[32 + length :].hex())]
    return out


def summary(frame):
    """A frame in one line."""
    seen = dict(dissect(frame))
    if "type name" not in seen:
        return f"{len(frame)} bytes"
    kind = seen["type name"].rpartition(".")[2].removesuffix("Message")
    words = f"view {seen['view']}, op {seen['op']}, third word {seen['third word']}"
    return f"{kind} of {len(frame)} bytes to {seen['IP destination']} ({words})"


# -- checksums ---------------------------------------------------------------------------------


def _folded_once(data, order):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"{order}{len(data) // 2}H", data))
    once = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return once if order == "!" else once >> 8 | (once & 0xFF) << 8


def classify_checksum(which, got, before):
    """How the checksum in frame `got` stands to its own bytes. None: it is right for them."""
    if which == "IP":
        value, data, pseudo = got[24:26], got[14:24] + b"\0\0" + got[26:34], None
        old = before[24:26]
    else:
        value, old = got[40:42], before[40:42]
        pseudo = frames.pseudo_header(got[26:30], got[30:34], struct.unpack_from("!H", got, 38)[0])
        data = pseudo + got[34:40] + b"\0\0" + got[42:]
    value, old = (int.from_bytes(v, "big") for v in (value, old))
    right = frames.checksum(data)
    if value == right or (pseudo and value == 0xFFFF and right == 0):
        return None if value or not pseudo else "zero: a computed 0 goes out as 0xffff"
    if value == 0:
        return "zero"
    if pseudo and value in (frames.ones_sum(pseudo), frames.checksum(pseudo)):
        return "pseudo-header only (partial)"
    if value in (_folded_once(data, "!"), _folded_once(data, "<")):
        return "one fold short"
    if value == old:
        return "not updated after a rewrite: that of the frame that came in"
    if value == (right >> 8 | (right & 0xFF) << 8):
        return "other: bytes swapped"
    return f"other: {right:#06x} would be right for these bytes"


# -- comparing -----------------------------------------------------------------------------------


def compare_frames(expected, got, before, label):
    """Lines: field by field."""
    if expected == got:
        return []
    want, have = dissect(expected), dict(dissect(got))
    lines, causes = [], 0
    for name, value in want:
        seen = have.get(name)
        if name.endswith("checksum") and causes and seen == value != 0:
            if classify_checksum(name.split()[0], got, before):
                lines.append(f"{label}: {name}: {seen:#06x}: as expected, so wrong for these bytes")
            continue
        if seen == value:
            continue
        if name.endswith("checksum"):
            which = name.split()[0]
            kind = classify_checksum(which, got, before) if len(got) >= 42 else None
            if kind is None and causes:
                lines.append(f"{label}: {name}: {seen:#06x}: right for these bytes, follows from the above")
                continue
            shown = f"{seen:#06x}" if seen is not None else "none"
            lines.append(f"{label}: {name}: {shown}, expected {value:#06x}: {kind or 'valid'}")
            continue
        causes += 1
        lines.append(f"{label}: {name}: {_difference(seen, value)}")
    if not lines:  # same fields, other bytes: short frames only
        lines.append(f"{label}: {got.hex()}, expected {expected.hex()}")
    return lines


def _difference(seen, value):
    """Long hex by its first difference."""
    if isinstance(seen, str) and isinstance(value, str) and len(seen) + len(value) > 160:
        return _first_difference(bytes.fromhex(value), bytes.fromhex(seen))
    return f"{seen}, expected {value}"


def state_fields(s):
    """{name: value}: what programs may change."""
    out = {"frozen": s.frozen, "busy": s.busy, "epoch": s.epoch, "last op": s.last}
    for i, w in enumerate(s.acked):
        out[f"acked[{i}]"] = (model.word_epoch(w), model.word_op(w))
    out["committed"] = (model.word_epoch(s.committed), model.word_op(s.committed))
    out["sent"] = (model.word_epoch(s.sent), model.word_op(s.sent))
    out["sleeping"], out["consumed"] = s.sleeping, s.consumed
    out["wake_backlog"], out["lease_ns"], out["now_ns"] = s.wake_backlog, s.lease_ns, s.now_ns
    return out


EMPTY = model.Slot(0, 0, 0, b"")


def compare_states(expected, got):
    lines = []
    want, have = state_fields(expected), state_fields(got)
    for name, value in want.items():
        if have[name] != value:
            lines.append(f"state: {name}: {have[name]}, expected {value}")
    for index in sorted(set(expected.slots) | set(got.slots)):
        slot, seen = expected.slots.get(index, EMPTY), got.slots.get(index, EMPTY)
        if slot.data is None or slot == seen:
            continue
        if seen.data is None:
            lines.append(f"slot {index}: content not specified, expected op {slot.first}")
            continue
        for name in ("epoch", "first", "last"):
            if getattr(slot, name) != getattr(seen, name):
                lines.append(f"slot {index}: {name}: {getattr(seen, name)}, expected {getattr(slot, name)}")
        if slot.data != seen.data:
            lines.append(f"slot {index}: {_first_difference(slot.data, seen.data)}")
    return lines


def _first_difference(want, have):
    if len(want) != len(have):
        return f"{len(have)} bytes, expected {len(want)}"
    at = next(i for i, (a, b) in enumerate(zip(want, have)) if a != b)
    return f"byte {at} is {have[at]:#04x}, expected {want[at]:#04x}"


def compare(step, outcome):
    """Lines of differences, first causes first; empty when the step holds."""
    lines, same = [], outcome.verdict == step.verdict
    if not same:
        lines.append(f"verdict: {outcome.verdict}, expected {step.verdict}")
        lines += [f"came out: {summary(frame)}" for frame in outcome.frames if frame != step.frame]
    if outcome.counters != step.counters:
        lines.append(f"counted: {_counted(outcome.counters)}, expected {_counted(step.counters)}")
    if same and len(outcome.frames) != len(step.frames):
        lines.append(f"frames out: {len(outcome.frames)}, expected {len(step.frames)}")
    for i, (want, have) in enumerate(zip(step.frames, outcome.frames) if same else ()):
        label = "frame out" if len(step.frames) == 1 else f"frame {i + 1} of {len(step.frames)}"
        lines += compare_frames(want, have, step.frame, label)
    return lines + compare_states(step.after, outcome.state)


def topic(line):
    """What a line of difference is about, without its values: equal for failures of one kind."""
    if line.startswith("verdict: "):
        return line
    return re.sub(r"\d+", "N", line.rpartition(": ")[0] if ", expected " in line else line)


def _counted(counters):
    return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in counters.items()) or "nothing"


# -- showing ----------------------------------------------------------------------------------------


def scapy_line(frame):
    """An expression that rebuilds the packet in scapy, with the Paxos layer where it fits."""
    plain = f"Ether(bytes.fromhex({frame.hex()!r}))"
    try:
        import paxos  # noqa: F401  (binds its layers)
        from scapy.layers.l2 import Ether
        import scapy.all

        line = Ether(frame).command()
        scope = {**vars(scapy.all), **vars(paxos)}
        return line if bytes(eval(line, scope)) == frame else plain  # pylint: disable=eval-used
    except Exception:  # pylint: disable=broad-except
        return plain  # no scapy here, or a frame that it does not take: the bytes always do


def write_pcap(path, packets):
    """A capture with the frames in their order."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, packet in enumerate(packets):
            f.write(struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet)


def failure(case, number, step, outcome, executor, folder):
    """The whole story of a step that failed."""
    where = f" step {number + 1}" if len(case.steps) > 1 else ""
    lines = [f"{case.name}{where} ({case.path}:{step.line}) on {executor}:"]
    lines += [f"  {line}" for line in compare(step, outcome)]
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{case.name}-{executor}.pcap")
    line = scapy_line(step.frame)
    lines.append(f"  packet: {line if len(line) < 1000 else f'rdpcap({path!r})[0]'}")
    write_pcap(path, [step.frame, *outcome.frames])
    lines.append(f"  saved:  {path} (the frame in, then what came out)")
    return "\n".join(lines)
