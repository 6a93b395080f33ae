# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A cluster that runs in a rack: real processes to kill and stop, a client that remembers.

    cluster = Cluster(rack, folder); cluster.start()
    with Client(cluster) as client:
        client.serve(100)                   100 more operations acknowledged
        cluster.replicas[0].kill()
        client.serve(100)
    cluster.agree([client])

Nothing here sleeps. What must come true is asked for until it does: a replica says what it is at
SIGUSR1, and a question is answered within a turn of its loop.
"""
import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from conftest import BUILD, PATIENCE_S, until
from paxos import MAGIC, PORT
from racks import bpftool, rack_command

sys.path.insert(0, os.path.join(BUILD, "py"))
import vr_pb2  # noqa: E402

ENTRY = re.compile(r'{"record":"entry","op":(\d+),')
Entry = collections.namedtuple("Entry", "client reqid data")


# --- a replica


class Replica:
    """One replica's process, in its node; its journal and its pins outlive it."""

    def __init__(self, cluster, index):
        self.cluster, self.index = cluster, index
        self.node = "r%d" % index
        self.name = "replica %s" % self.node
        self.journal = cluster.rack.path("journal", self.node)
        self.pins = cluster.rack.path("bpf", self.node)
        self.log_path = os.path.join(cluster.folder, self.node + ".log")
        self.process = self.attached = None

    def command(self, *options, offload="all"):
        return [str(word) for word in (
            os.path.join(BUILD, "replica"), "--config", self.cluster.config, "--index", self.index,
            "--iface", "eth0", "--offload", offload, "--xdp", self.cluster.rack.keys["xdp"],
            "--pin", self.pins, "--journal", self.journal,
            "--status", self.cluster.rack.path("status", self.node), *options)]

    def start(self, *options, ready=True, **settings):
        read, write = os.pipe()
        command = self.command(*options, "--ready-fd", write, **settings)
        with open(self.log_path, "ab") as log:
            self.process = self.cluster.rack.start(self.node, *command, stdout=subprocess.PIPE,
                                                   stderr=log, pass_fds=[write])
        os.close(write)
        self.ready = read
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        select.select([self.ready], [], [], PATIENCE_S)
        said = os.read(self.ready, 16)
        os.close(self.ready)
        assert said == b"ready\n", "%s is not ready:\n%s" % (self.name, self.log())

    def refused(self, *options, **settings):
        """Started, it must end with status 1; the sentence that it says."""
        before = len(self.log())
        self.start(*options, ready=False, **settings)
        assert self.process.wait(PATIENCE_S) == 1, "%s was not refused" % self.name
        os.close(self.ready)
        self.over()
        return self.log()[before:]

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # signals

    def kill(self):
        """SIGKILL, and it is over."""
        self.process.kill()
        self.process.wait()
        self.over()

    def over(self):
        if self.attached:
            self.cluster.rack.exec(self.node, "bpftool", "net", "detach", self.attached, "dev", "eth0")
            self.attached = None
        self.process.stdout.close()
        self.process = None

    def end(self):
        """SIGTERM: it ends in good order; its last report."""
        self.process.terminate()
        said = json.loads(self.process.stdout.readline())
        assert self.process.wait(PATIENCE_S) == 0
        self.over()
        return said

    def stop(self):
        """SIGSTOP, and it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def report(self):
        """What it says of itself now: the JSON line, as a dictionary."""
        self.process.send_signal(signal.SIGUSR1)
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "%s is silent" % self.name
        line = self.process.stdout.readline()
        assert line, "%s ended by itself:\n%s" % (self.name, self.log())
        return json.loads(line)

    # from outside

    def memory_kb(self):
        """Resident, without the shared: its own memory."""
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    def journal_in_large_pages_kb(self):
        with open("/proc/%d/smaps" % self.process.pid) as f:
            mapping = re.search(r"/journal/%s\n(?:.*\n)*?ShmemPmdMapped:\s+(\d+)" % self.node, f.read())
        return int(mapping.group(1))

    def pinned(self, name):
        return os.path.join(self.pins, name)

    def gate(self):
        """(frozen, epoch, last op), as the programs see it; the process need not run."""
        word = bpftool("map", "dump", "pinned", self.pinned("elec_state"))[0]["formatted"]["value"]["gate"]
        return bool(word >> 63), word >> 32 & (1 << 30) - 1, word & 0xffffffff

    def kernel(self, reason):
        """A counter of its programs; the process need not run."""
        key = self.cluster.reasons.index(reason)
        row = bpftool("map", "lookup", "pinned", self.pinned("elec_counts"), "key",
                      *struct.pack("<I", key))
        return sum(cpu["value"] for cpu in row["formatted"]["values"])

    def xdp(self):
        """What is attached to its device: {"id": of the program, ...}."""
        link, = json.loads(self.cluster.rack.exec(self.node, "ip", "-j", "link", "show", "eth0"))
        return link["xdp"]["prog"] if "xdp" in link else None

    def detach_xdp(self):
        """Behind its back: the link that its process holds is there, and leads nowhere."""
        self.program = self.xdp()["id"]
        link, = (l["id"] for l in bpftool("link", "show") if l.get("prog_id") == self.program)
        subprocess.run(["bpftool", "link", "detach", "id", str(link)], check=True)
        assert self.xdp() is None

    KINDS = {"native": "xdpdrv", "generic": "xdpgeneric"}

    def attach_xdp(self, mode):
        """The program that detach_xdp() took away; it belongs to no process, and stays."""
        self.attached = self.KINDS[mode]
        self.cluster.rack.exec(self.node, "bpftool", "net", "attach", self.attached,
                               "id", str(self.program), "dev", "eth0")

    def detach_tc(self):
        self.cluster.rack.exec(self.node, "tc", "filter", "del", "dev", "eth0", "egress")

    def records(self, since=0):
        """Of its journal, as they were appended; entries from op `since` on."""
        done = subprocess.run([os.path.join(BUILD, "journal"), self.journal], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr + done.stdout[-500:]
        for line in done.stdout.splitlines():
            entry = ENTRY.match(line)
            if not entry or int(entry.group(1)) >= since:
                yield json.loads(line)

    def recorded(self):
        """The last op in its journal, and the bytes that it takes."""
        *_, end = self.records(since=1 << 63)
        return end["last"], end["bytes"]

    def entries(self, since=0):
        """{op: Entry}: what the records come to, ops below a snapshot as far as they are there."""
        entries = {}
        last = 0
        for record in self.records(since):
            if record["record"] == "entry":
                last = record["op"]
                entries[last] = Entry(int(record["client"], 16), record["reqid"],
                                      bytes.fromhex(record["data"]))
            elif record["record"] == "truncate":
                for op in range(record["op"] + 1, last + 1):
                    entries.pop(op, None)
                last = min(last, record["op"])
            elif record["record"] == "snapshot":
                last = max(last, record["op"])
        return entries


# --- all of them


class Cluster:
    def __init__(self, rack, folder):
        self.rack, self.folder = rack, str(folder)
        self.config = rack.path("cluster.conf")
        self.addresses = [rack.nodes()["r%d" % i][0].split("/")[0]
                          for i in range(rack.keys["replicas"])]
        self.replicas = [Replica(self, i) for i in range(rack.keys["replicas"])]

    def start(self, *options, **settings):
        """New replicas, of a new cluster, led by the first: it is there before the others can miss it,
        however long it takes on this machine to load programs."""
        for replica in self.replicas:
            if os.path.exists(replica.journal):
                os.unlink(replica.journal)
            shutil.rmtree(replica.pins, ignore_errors=True)
            replica.start("--format", *options, ready=replica.index == 0, **settings)
        for replica in self.replicas[1:]:
            replica.wait_ready()
        said = self.replicas[0].report()
        self.reasons = [name[len("kernel."):] for name in said if name.startswith("kernel.")]
        return self

    def close(self):
        for replica in self.replicas:
            if replica.process:
                replica.kill()

    # the ToR

    def fault(self, *words):
        done = rack_command("fault", self.rack.name, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def partition(self, *groups):
        """Groups of nodes that do not reach each other; "--one-way" first: not the later ones."""
        options = [g for g in groups if g.startswith("--")]
        groups = [g for g in groups if not g.startswith("--")]
        self.fault("partition", *options, *" / ".join(groups).split())

    def heal(self):
        self.fault("heal")

    def calm(self):
        self.fault("heal")
        self.fault("clear")

    def rules(self):
        """[(what, how many packets it took)] of the rules in force."""
        lines = self.fault("ls").splitlines()[1:]
        rows = [line.split(None, 3) for line in lines if line.split()[0].isdigit()]
        return [(what, int(taken)) for _, _, taken, what in rows]

    # the replicas

    def running(self):
        return [r for r in self.replicas if r.process]

    def leader(self):
        """Whoever leads, once somebody does."""
        return until(lambda: next((r for r in self.running() if r.report()["leader"]), None),
                     "a replica leads")

    def settled(self):
        """Every replica that runs is normal, in one view, and has executed the same ops, all."""
        said = []

        def same():
            said[:] = [r.report() for r in self.running()]
            return (all(s["status"] == "normal" and s["applied"] == s["op"] for s in said) and
                    len({(s["view"], s["op"]) for s in said}) == 1)
        until(same, lambda: "the replicas agree: %s" % [
            {k: v for k, v in s.items() if v and not k.startswith("kernel")} for s in said])
        return said

    def agree(self, clients=()):
        """All replicas that run hold one log, and in it everything that was acknowledged, where
        the acknowledgement said."""
        said = self.settled()
        since = max(s["base"] for s in said) + 1
        logs = [r.entries(since) for r in self.running()]
        for op in range(since, said[0]["op"] + 1):
            contents = {log[op] for log in logs if op in log}
            assert len(contents) == 1, "op %d has %d contents: %s" % (op, len(contents), contents)
        whole = {op: entry for log in logs for op, entry in log.items()}
        for client in clients:
            assert client.problems == []
            for op, entry in client.acked.items():
                assert op <= said[0]["op"], "op %d was acknowledged and is gone" % op
                assert whole.get(op, entry) == entry, "op %d was acknowledged as %s, it is %s" % (
                    op, entry, whole[op])
            client.check_state()
        return said

    def load(self, *options):
        """build/client, to its end: many operations, each reply checked. Its figures."""
        done = self.rack.exec("c1", os.path.join(BUILD, "client"), "--config", self.config,
                              "--json", *map(str, options))
        return json.loads(done)

    def query(self, replica, op):
        """What an UnloggedRequest says: the state of this one replica."""
        with self.rack.namespace("c0"):
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        body = vr_pb2.UnloggedRequestMessage()
        body.req.op, body.req.clientid, body.req.clientreqid = op, 1, 1
        with asking:
            asking.settimeout(0.2)

            def ask():
                asking.sendto(message("UnloggedRequest", body), (self.addresses[replica.index], PORT))
                try:
                    return asking.recv(65536)
                except socket.timeout:
                    return None
            said = until(ask, "%s answers a query" % replica.name)
        reply = vr_pb2.UnloggedReplyMessage()
        reply.ParseFromString(parse(said)[1])
        return reply.reply


# --- a client

HEAD = struct.Struct("<IQ")


def message(kind, body):
    name = b"specpaxos.vr.proto.%sMessage" % kind.encode()
    data = body.SerializeToString()
    return HEAD.pack(MAGIC, len(name)) + name + bytes(12) + struct.pack("<Q", len(data)) + data


def parse(datagram):
    """(type name, body)"""
    _, length = HEAD.unpack_from(datagram)
    return datagram[12:12 + length], datagram[12 + length + 20:]


class Flight:
    """An operation that is not yet answered."""

    def __init__(self, client, reqid, op, expected):
        self.entry, self.expected = Entry(client, reqid, op), expected
        body = vr_pb2.RequestMessage()
        body.req.op, body.req.clientid, body.req.clientreqid = op, client, reqid
        self.datagram = message("Request", body)
        self.sent, self.due = False, 0


class Client(threading.Thread):
    """`width` clients that write and read each its own key, one operation after the other.

    What was acknowledged is kept, op by op; what cannot be right of a reply is a problem.
    """
    RESEND_S = 0.05

    def __init__(self, cluster, node="c0", width=4):
        super().__init__(daemon=True)
        self.cluster = cluster
        with cluster.rack.namespace(node):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ids = [int.from_bytes(os.urandom(8), "little") for _ in range(width)]
        self.acked = {}      # op number: Entry
        self.seen = {}       # request id: (op number, reply)
        self.values = {}     # client: what its key holds
        self.views = {}      # view: time of the first acknowledgement in it
        self.problems = []
        self.flights = {}    # request id: Flight
        self.leader = None   # index of who answered last
        self.ending = self.dead = False
        self.changed = threading.Condition()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.dead = True
        self.join()
        self.socket.close()

    def count(self):
        return len(self.acked)

    def wait(self, question, what):
        with self.changed:
            came = self.changed.wait_for(lambda: self.problems or question(), PATIENCE_S)
        assert not self.problems, self.problems
        assert came, "not within %d s: %s; %s" % (
            PATIENCE_S, what, [r.report() for r in self.cluster.running()])

    def serve(self, count):
        """Wait until so many more operations have been acknowledged."""
        goal = self.count() + count
        self.wait(lambda: self.count() >= goal, "%d operations are served" % count)

    def finish(self):
        """Begin nothing new, and wait for what is in flight."""
        self.ending = True
        self.wait(lambda: not self.flights, "what was in flight is served")

    def check_state(self):
        """What every replica that runs has made of the acknowledged operations; after finish()."""
        for replica in self.cluster.running():
            for client, value in self.values.items():
                held = self.cluster.query(replica, b"GET " + key_of(client))
                assert held == value, "%s holds %s, acknowledged was %s" % (
                    replica.name, held, value)

    # in the thread

    def run(self):
        for i in range(len(self.ids)):
            self.begin(i, 1)
        while self.flights and not self.dead:
            now = time.monotonic()
            for flight in self.flights.values():
                if flight.due <= now:
                    self.send(flight)
            if select.select([self.socket], [], [], self.RESEND_S)[0]:
                self.receive(self.socket.recv(65536))

    def begin(self, i, turn):
        """The turn-th operation of the i-th client. A reply names the request id alone."""
        client, reqid = self.ids[i], turn * len(self.ids) + i
        key = key_of(client)
        if turn % 2:
            flight = Flight(client, reqid, b"SET %s %d" % (key, turn), b"OK")
        else:
            flight = Flight(client, reqid, b"GET " + key, b"%d" % (turn - 1))
        self.flights[reqid] = flight
        self.send(flight)

    def send(self, flight):
        if flight.sent:
            self.leader = None
        flight.sent, flight.due = True, time.monotonic() + self.RESEND_S
        for index, address in enumerate(self.cluster.addresses):
            if self.leader in (None, index):
                try:
                    self.socket.sendto(flight.datagram, (address, PORT))
                except OSError:
                    pass  # as good as lost

    def receive(self, datagram):
        reply = vr_pb2.ReplyMessage()
        reply.ParseFromString(parse(datagram)[1])
        answer = reply.opnum, reply.reply
        flight = self.flights.get(reply.clientreqid)
        with self.changed:
            if self.seen.setdefault(reply.clientreqid, answer) != answer:
                self.problems.append("request %d was answered %s and %s" % (
                    reply.clientreqid, self.seen[reply.clientreqid], answer))
            if flight:
                self.leader = reply.view % len(self.cluster.addresses)
                self.take(reply, flight)
            self.changed.notify_all()

    def take(self, reply, flight):
        if reply.reply != flight.expected:
            self.problems.append("%s was answered %s" % (flight.entry, reply.reply))
        if self.acked.setdefault(reply.opnum, flight.entry) != flight.entry:
            self.problems.append("op %d was acknowledged as %s and %s" % (
                reply.opnum, self.acked[reply.opnum], flight.entry))
        self.views.setdefault(reply.view, time.monotonic())
        turn, i = divmod(flight.entry.reqid, len(self.ids))
        self.values[self.ids[i]] = b"%d" % (turn if turn % 2 else turn - 1)
        del self.flights[flight.entry.reqid]
        if not self.ending:
            self.begin(i, turn + 1)


def key_of(client):
    return b"key-%016x" % client
