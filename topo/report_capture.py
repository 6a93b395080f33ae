# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Packets from an experiment's captures: who sent what to whom, and what became of it.

    r0.pcap  --- Prepare 7 --->  \\
                                  one Packet(sent, arrived): the same bytes at two ports of the switch
    r1.pcap  --- Prepare 7 --->  /

What left a node and never arrived was dropped by the switch; faults.jsonl says which rule did it. What
the kernel's programs did with a packet no capture shows: it is told from the packets that follow
(an ack made in XDP names its Prepare; which ack completes a quorum is arithmetic).
"""
import bisect
import collections
import glob
import os
import struct

SNAP = 256  # CAPTURE_BYTES
MAGIC, MAGIC_FRAGMENT = 0x20050318, 0x20101010
BROADCAST = 1 << 31
CLOCKS_NS = 1_000  # how well the capture's clock and the log's are known to each other
ACK_NS = 50_000_000  # an ack made in XDP leaves at once, unless its CPU has other things to do
LOG_NS = 100_000  # from a packet's arrival in the switch to its line in the log; commonly 300 ns
LEASE_NS = 200_000_000

ACKS = ("PrepareOK", "MyPrepareOK")
VIEW_CHANGE = ("StartViewChange", "DoViewChange", "StartView")
LOST = ("drop", "partition", "rate-drop")

# What the kernel did: at the sender, and at the receiver.
CLONE, MADE = "cloned in TC", "made in XDP"
ACKED, ABSORBED, AGAIN = "acked in XDP", "absorbed in XDP", "says nothing new, absorbed in XDP"
QUORUM, PASSED, NOBODY = "completes a quorum, passed", "to user space", "nobody is there"


# What a frame says. first: of a batch; replica: that acks; committed: what a leader says of itself.
Message = collections.namedtuple("Message", "kind view op first replica committed flagged text",
                                 defaults=[None] * 5 + [False, None])


class Packet:
    """On one link. `arrived` is None where no capture shows it."""

    def __init__(self, sent, source, target, message):
        self.sent, self.arrived, self.source, self.target = sent, None, source, target
        self.kind, self.view, self.op, self.first, self.replica, self.committed, self.flagged, self.text = message
        self.message = message
        self.run = None
        self.fate = None  # what a rule did to it: action, rule, its number on link and kind
        self.delay = 0
        self.copy = False
        self.at_sender = self.at_receiver = None

    def label(self):
        if self.kind == "other" and self.text:
            return self.text
        parts = [self.kind]
        if self.view is not None:
            parts.append("v%d" % self.view)
        if self.op is not None:
            batch = self.first and self.first < self.op
            parts.append("#%d–%d" % (self.first, self.op) if batch else "#%d" % self.op)
        if self.text:
            parts.append(self.text)
        return " ".join(parts)


# --- frames


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def fields(data, at=0):
    """{number: value} of a protobuf message, the first of each, as far as it was captured."""
    found = {}
    try:
        while at < len(data):
            key, at = varint(data, at)
            if key & 7 == 0:
                value, at = varint(data, at)
            elif key & 7 == 2:
                length, at = varint(data, at)
                value = data[at:at + length]
                at += length
            else:
                break
            found.setdefault(key >> 3, value)
    except IndexError:
        pass
    return found


# In which field of the body stand view, op, and what is committed?
BODY = {"Commit": (1, 2, 2), "Reply": (1, 2, 2), "RequestStateTransfer": (1, 2, None),
        "StateTransfer": (1, 2, None), "StartViewChange": (1, None, None), "DoViewChange": (1, 3, None),
        "StartView": (1, 2, 3), "RecoveryResponse": (1, 4, None)}


def request_text(body):
    """SET k7, of an operation of replica/kv.c"""
    op = fields(fields(body).get(1, b"")).get(1, b"")
    words = bytes(op).decode("latin-1").split(" ")[:2]
    return " ".join(words)[:16] if words[0] in ("SET", "GET") else None


def message(payload):
    """Of a datagram"""
    if len(payload) < 12:
        return Message("other")
    magic, length = struct.unpack_from("<IQ", payload)
    if magic == MAGIC_FRAGMENT:
        return Message("fragment")
    if magic != MAGIC or length > 64 or len(payload) < 32 + length:
        return Message("other")
    kind = bytes(payload[12:12 + length]).decode("latin-1").rsplit(".", 1)[-1].removesuffix("Message")
    word, op, third = struct.unpack_from("<III", payload, 12 + length)
    flagged = bool(word & BROADCAST)
    if kind == "Prepare":
        return Message(kind, word & ~BROADCAST, op, first=third, flagged=flagged)
    if kind in ACKS:
        return Message(kind, word, op, replica=third)
    body = payload[32 + length:]
    if kind == "Request":
        return Message(kind, text=request_text(body))
    found = fields(body)
    view, op, committed = (found.get(number) for number in BODY.get(kind, (None, None, None)))
    return Message(kind, view, op, committed=committed, flagged=flagged)


def decode(frame):
    """Of a whole frame"""
    if frame[12:14] == b"\x08\x06":
        return Message("arp")
    if frame[12:14] != b"\x08\x00" or len(frame) < 34 or frame[14] != 0x45:
        return Message("other")
    if frame[20] & 0x3f or frame[21]:
        return Message("other", text="piece of an IP packet")
    if frame[23] == 1:
        return Message("other", text="ICMP: nobody listens" if frame[34:36] == b"\x03\x03" else "ICMP")
    return message(frame[42:]) if frame[23] == 17 else Message("other")


def frames(path):
    """[(time, captured bytes)] of a pcap file of topo/capture.c; what was cut off ends it"""
    with open(path, "rb") as f:
        data = f.read()
    if data[:4] != struct.pack("<I", 0xa1b23c4d):
        return
    at, size = 24, len(data)
    while at + 16 <= size:
        seconds, ns, length, _ = struct.unpack_from("<4I", data, at)
        at += 16
        if at + length > size:
            return
        yield seconds * 1_000_000_000 + ns, data[at:at + length]
        at += length


# --- both ends of a packet


def node_names(summary):
    """As the rack numbers them: replicas, clients; a MAC ends with the number (bpf/tor.h)."""
    run = summary["runs"][0]
    clients = len(run["client_nodes"]) + sum(node.startswith("c") for node in run["foreign"])
    return ["r%d" % i for i in range(run["replicas"])] + ["c%d" % i for i in range(clients)]


def read_ports(folder, summary):
    """(departures, arrivals): each [(time, from, to, bytes)] in order of time"""
    offset = summary["clock"]["monotonic_ns"] - summary["clock"]["realtime_ns"]
    names = node_names(summary)
    departures, arrivals = [], []
    for path in glob.glob(os.path.join(folder, "capture", "*.pcap")):
        port = os.path.basename(path)[:-len(".pcap")]
        for time, frame in frames(path):
            if len(frame) < 14:
                continue
            number = frame[10] << 8 | frame[11]
            source = names[number] if number < len(names) else "other"
            number = frame[4] << 8 | frame[5]
            target = "all" if frame[0] & 1 else names[number] if number < len(names) else "other"
            if source == port:
                departures.append((time + offset, source, target, frame))
            else:
                arrivals.append((time + offset, source, port, frame))
    departures.sort(key=lambda row: row[0])
    arrivals.sort(key=lambda row: row[0])
    return departures, arrivals


def mark_faults(packets, faults):
    """Which packet does each line of faults.jsonl speak of? The last one before it."""
    flows = collections.defaultdict(list)
    for packet in packets:
        flows[packet.source, packet.target, packet.kind].append(packet)
    times = {flow: [p.sent for p in rows] for flow, rows in flows.items()}
    for fault in faults:
        flow = fault["from"], fault["to"], fault["kind"]
        if flow not in flows:
            continue
        at = bisect.bisect_right(times[flow], fault["time_ns"] + CLOCKS_NS) - 1
        # one packet may be taken by several rules: the same time, another rule
        while at >= 0 and flows[flow][at].fate and flows[flow][at].fate[1] == fault["rule"]:
            at -= 1
        if at < 0 or fault["time_ns"] - times[flow][at] > LOG_NS:
            continue
        packet = flows[flow][at]
        if packet.fate is None or fault["action"] in LOST:
            packet.fate = fault["action"], fault["rule"], fault["number"]
        packet.delay = max(packet.delay, fault.get("delay_ns", 0))


def mark_copies(packets, frame_of):
    """In generic mode the switch makes a second copy by taking a frame in once more: it passes the
    sender's port twice."""
    doubled = {}
    for p, frame in zip(packets, frame_of):
        key = p.source, p.target, frame
        before = doubled.pop(key, None)
        if before and not p.fate and p.sent - before.sent < LOG_NS:
            p.copy, p.fate = True, before.fate
        elif p.fate and p.fate[0] == "duplicate":
            doubled[key] = p


def join(packets, frame_of, arrivals):
    """Arrivals find their departures: the same bytes on the same link, the oldest first; or, if they
    are nobody's, one that a rule damaged. Yields second copies, which nobody sent as such."""
    waiting, damaged = collections.defaultdict(collections.deque), collections.defaultdict(collections.deque)
    sent = {}
    merged = sorted([(p.sent, 0, i) for i, p in enumerate(packets)] +
                    [(row[0], 1, i) for i, row in enumerate(arrivals)])
    for time, arrival, i in merged:
        if not arrival:
            p = packets[i]
            key = p.source, p.target, frame_of[i]
            if p.fate and p.fate[0] == "corrupt":
                damaged[p.source, p.target, len(frame_of[i])].append(p)
            elif not (p.fate and p.fate[0] in LOST):
                waiting[key].append(p)
                sent[key] = p
            continue
        _, source, target, frame = arrivals[i]
        key = source, target, frame
        if waiting[key]:
            waiting[key].popleft().arrived = time
        elif key in sent and sent[key].fate and sent[key].fate[0] == "duplicate":
            p = sent[key]
            copy = Packet(p.sent, source, target, p.message)
            copy.arrived, copy.copy, copy.fate = time, True, p.fate
            yield copy
        elif damaged[source, target, len(frame)]:
            damaged[source, target, len(frame)].popleft().arrived = time


def read_packets(folder, summary, faults):
    """Every captured packet, by the time at which it was sent. `faults`: lines of faults.jsonl."""
    departures, arrivals = read_ports(folder, summary)
    packets = [Packet(time, source, target, decode(frame)) for time, source, target, frame in departures]
    mark_faults(packets, [f for f in faults if "rule" in f])
    frame_of = [row[3] for row in departures]
    mark_copies(packets, frame_of)
    packets += join(packets, frame_of, arrivals)
    packets.sort(key=lambda p: (p.sent, p.copy))
    for p in packets:
        p.run = next((number for number, run in enumerate(summary["runs"])
                      if p.sent <= run["end_ns"]), len(summary["runs"]) - 1)
    for number, run in enumerate(summary["runs"]):
        judge([p for p in packets if p.run == number], run)
    return packets


# --- what the kernel did with them


def without_programs(run, node, part):
    """[(begin, end)]: when `node` had no such program (xdp, tc; process: when none ran at all), or
    one that passed everything."""
    gone = []
    for event in run["events"]:
        verb, _, words = event["what"].partition(" ")
        if event["begin_ns"] is None or words.split(" ")[0] != node:
            continue
        end = event["end_ns"] or run["end_ns"]
        if verb == "kill" or (verb == "detach" and (words.endswith(" tc") == (part == "tc"))):
            gone.append((event["begin_ns"], end))
        elif verb == "stop" and part == "xdp":
            gone.append((event["begin_ns"] + LEASE_NS, end))
    again = {"attach %s %s" % (node, part), "restart " + node, "format " + node}
    if part == "xdp":
        again.add("attach " + node)
    back = [event["begin_ns"] for event in run["events"] if event["begin_ns"] and event["what"] in again]
    return [(begin, min([end] + [b for b in back if b > begin])) for begin, end in gone]


def inside(time, spans):
    return any(begin <= time < end for begin, end in spans)


class Quorum:
    """What the leader's XDP program does with acks, as bpf/leader.bpf.h does."""

    def __init__(self, replicas):
        self.needed = replicas // 2
        self.view = self.committed = None
        self.acked = {}

    def enter(self, view):
        if self.view is None or view > self.view:
            self.view, self.committed, self.acked = view, 0, {}

    def learn(self, said):
        """The leader told somebody what is committed: it is, whether the acks were captured or not."""
        self.enter(said.view)
        if said.view == self.view:
            self.committed = max(self.committed, said.committed)

    def take(self, ack):
        self.enter(ack.view)
        if ack.view < self.view or not ack.op:
            return PASSED
        if ack.op <= self.acked.get(ack.replica, 0):
            return AGAIN
        self.acked[ack.replica] = ack.op
        highest = sorted(self.acked.values(), reverse=True)
        now = highest[self.needed - 1] if len(highest) >= self.needed else 0
        if now <= self.committed:
            return ABSORBED
        self.committed = now
        return QUORUM


def judge(packets, run):
    """Fills at_sender and at_receiver of one run's packets."""
    offload = run["offload"].split(",")
    every = "all" in offload
    gone = {(node, part): without_programs(run, node, part)
            for node in {p.target for p in packets} | {p.source for p in packets}
            for part in ("xdp", "tc")}
    if every or "broadcast" in offload:
        sent = set()
        for p in packets:
            key = p.source, p.target, p.view, p.op
            if p.kind in ("Prepare", "Commit") and not p.copy and p.source.startswith("r"):
                if not p.flagged and key not in sent and not inside(p.sent, gone[p.source, "tc"]):
                    p.at_sender = CLONE
                if p.kind == "Prepare":
                    sent.add(key)
    if every or "ack" in offload:
        judge_prepares(packets)
    if every or "quorum" in offload:
        judge_acks(packets, run, gone)
    dead = {node: without_programs(run, node, "process") for node in {p.target for p in packets}}
    for p in packets:
        if p.arrived and inside(p.arrived, dead[p.target]):
            p.at_receiver = NOBODY


def judge_prepares(packets):
    made = collections.defaultdict(collections.deque)
    for p in packets:
        if p.kind == "MyPrepareOK" and not p.copy:
            p.at_sender = MADE
            made[p.source, p.target, p.view, p.op].append(p.sent)
    for p in sorted((p for p in packets if p.kind == "Prepare" and p.arrived), key=lambda p: p.arrived):
        acks = made[p.target, p.source, p.view, p.op]
        while acks and acks[0] < p.arrived:
            acks.popleft()
        if acks and acks[0] < p.arrived + ACK_NS:
            acks.popleft()
            p.at_receiver = ACKED
        else:
            p.at_receiver = PASSED


def judge_acks(packets, run, gone):
    leaders = collections.defaultdict(lambda: Quorum(run["replicas"]))
    told = [(p.sent, p) for p in packets if p.committed is not None and p.source.startswith("r")]
    acks = [(p.arrived, p) for p in packets if p.kind in ACKS and p.arrived]
    for _, p in sorted(told + acks, key=lambda row: row[0]):
        if p.committed is not None:
            leaders[p.source].learn(p)
            continue
        damaged = p.fate and p.fate[0] == "corrupt"
        if damaged or p.view % run["replicas"] != int(p.target[1:]) or inside(
                p.arrived, gone[p.target, "xdp"]):
            p.at_receiver = PASSED
        else:
            p.at_receiver = leaders[p.target].take(p)
