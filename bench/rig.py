# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Racks for benchmarks: replicas started with one set of offloads, a load, what it cost.

    with Rig(3, "native") as rig:
        with rig.cluster("all") as cluster:     or "none", ..., or ECHO: no replication at all
            cluster.load(clients=16)            {"ops_per_s": ..., "p50": ..., ...}

All costs are taken of the processes that were started here, so that what else the machine does is not
in them. Times are in microseconds.
"""
import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
sys.path.insert(0, os.path.join(ROOT, "pytests"))
import bpf  # noqa: E402

ECHO = "echo"
PATIENCE_S = 60
# Not measured: the first view, neighbours, and the first touch of each slot of the kernel logs (8,192
# of them): where the kernel's page tables are shadowed by a hypervisor it costs as much as an operation.
WARM_OPS = 10000
RUN = "/run/paxrack"


class Failure(Exception):
    """One sentence for the user."""


def run(name, main):
    """A benchmark's main(): what ends it takes its racks and processes along."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except Failure as e:
        sys.exit("%s: %s" % (name, e))
    except KeyboardInterrupt:
        sys.exit("\n%s: interrupted" % name)


def rack(*arguments):
    done = subprocess.run([os.path.join(BUILD, "rack"), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(done.stderr.strip())
    return done.stdout


def cpu_us(pid):
    """Time on a CPU so far; what the kernel did on its behalf (system calls, soft interrupts) included."""
    with open("/proc/%d/schedstat" % pid) as f:
        return int(f.read().split()[0]) / 1000


def wake_ups(pid):
    """How often it slept and was woken."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))


class SystemCalls:
    """Counts those of some processes; costs every system call of the machine a little."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.object = bpf.Object(os.path.join(BUILD, "bench", "count.bpf.o"))
        self.counts = self.object.map("system_calls")
        for pid in self.pids:
            self.counts.update(struct.pack("=I", pid), struct.pack("=Q", 0))
        self.link = self.object.program("count_sys_enter").attach()
        return self

    def __exit__(self, *_):
        bpf.detach(self.link)
        self.object.close()

    def count(self, pid):
        return struct.unpack("=Q", self.counts.lookup(struct.pack("=I", pid)))[0]


class Rig:
    """A rack of n replicas and a client."""

    def __init__(self, n, xdp):
        self.n, self.xdp = n, xdp
        self.name = "bench%d-%d%s" % (os.getpid() % 10000, n, xdp[0])

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="paxrack-bench-")
        path = os.path.join(self.folder.name, "rack.yaml")
        subnet = (os.getpid() * 11 + self.n * 2 + (self.xdp == "generic")) % 250
        with open(path, "w") as f:
            print("rack: %s\nsubnet: 198.19.%d.0/24\nreplicas: %d\nclients: 1\nxdp: %s" % (
                self.name, subnet, self.n, self.xdp), file=f)
        try:
            rack("up", path)
        except Failure:
            self.folder.cleanup()
            raise
        self.config = self.path("cluster.conf")
        return self

    def __exit__(self, *_):
        rack("down", self.name)
        self.folder.cleanup()

    def path(self, *parts):
        return os.path.join(RUN, self.name, *parts)

    def start(self, node, command, **popen):
        return subprocess.Popen([os.path.join(BUILD, "rack"), "exec", self.name, node, "--", *map(str, command)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **popen)

    def frames(self):
        """Frames that came into the switch from its nodes so far."""
        dump = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", self.path("bpf", "tor", "tor_counts")],
                              stdout=subprocess.PIPE, check=True).stdout
        return sum(int(byte_8, 16) << 8 * (i % 8) for one in json.loads(dump) for cpu in one["values"]
                   for i, byte_8 in enumerate(cpu["value"]))

    def cluster(self, offload, *options):
        return Cluster(self, offload, options)


def start_all(rig, commands, log):
    """{node: command} -> {node: process}, each of which has said that it is ready."""
    out, waiting = {}, {}
    try:
        for node, command in commands.items():
            read, write = os.pipe()
            waiting[node] = read
            out[node] = rig.start(node, [*command, "--ready-fd", write], stderr=log, pass_fds=[write])
            os.close(write)
        for node, read in waiting.items():
            if not select.select([read], [], [], PATIENCE_S)[0] or os.read(read, 16) != b"ready\n":
                log.seek(0)
                raise Failure("%s did not start: %s" % (node, log.read().decode(errors="replace").strip()))
    except BaseException:
        stop_all(out)
        raise
    finally:
        for read in waiting.values():
            os.close(read)
    return out


def stop_all(processes):
    for one in processes.values():
        one.terminate()
    for one in processes.values():
        one.communicate()


class Cluster:
    def __init__(self, rig, offload, options):
        self.rig, self.offload, self.options = rig, offload, options

    def commands(self):
        rig, replica = self.rig, os.path.join(BUILD, "replica")
        if self.offload == ECHO:
            alone = os.path.join(rig.folder.name, "echo.conf")
            with open(rig.config) as f:
                first = next(line for line in f if line.startswith("replica"))
            with open(alone, "w") as f:
                f.write("f 0\n" + first)
            self.config = alone
            return {"r0": [replica, "--config", alone, "--index", 0, "--echo", *self.options]}
        self.config = rig.config
        for i in range(rig.n):  # each cluster is a new one
            shutil.rmtree(rig.path("bpf", "r%d" % i), ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(rig.path("journal", "r%d" % i))
        return {"r%d" % i: [replica, "--config", rig.config, "--index", i, "--iface", "eth0", "--offload",
                            self.offload, "--xdp", rig.xdp, "--pin", rig.path("bpf", "r%d" % i), "--journal",
                            rig.path("journal", "r%d" % i), "--format", *self.options] for i in range(rig.n)}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.log = stack.enter_context(tempfile.TemporaryFile())
            self.replicas = start_all(self.rig, self.commands(), self.log)
            stack.callback(stop_all, self.replicas)
            self.client(1, "--ops", WARM_OPS)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def client(self, clients, *options):
        """(its figures, time on a CPU)"""
        process = self.rig.start("c0", [os.path.join(BUILD, "client"), "--config", self.config, "--clients", clients,
                                        "--json", *options], stderr=self.log)
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it still has its figures in /proc
            cpu = cpu_us(process.pid)
            said = process.communicate()[0]
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            self.log.seek(0)
            raise Failure("the client failed: %s" % self.log.read().decode(errors="replace").strip())
        return json.loads(said), cpu

    @contextlib.contextmanager
    def endless_client(self, clients):
        """(process, file of its progress lines): a load for as long as the caller wants."""
        read, write = os.pipe()
        process = self.rig.start("c0", [os.path.join(BUILD, "client"), "--config", self.config, "--clients", clients,
                                        "--seconds", 1000000, "--progress-fd", write], stderr=self.log,
                                 pass_fds=[write])
        os.close(write)
        try:
            with os.fdopen(read) as lines:
                yield process, lines
        finally:
            process.terminate()
            process.communicate()

    def reports(self):
        """What each replica says of itself."""
        out = []
        for process in self.replicas.values():
            process.send_signal(signal.SIGUSR1)
            out.append(json.loads(process.stdout.readline()))
        return out

    def figures(self):
        return {"cpu": sum(cpu_us(p.pid) for p in self.replicas.values()),
                "wake_ups": [wake_ups(p.pid) for p in self.replicas.values()],
                "frames": self.rig.frames(),
                "reports": self.reports()}

    def load(self, clients, *options, seconds=1):
        """Figures of one load. Costs are per operation."""
        before = self.figures()
        said, client_cpu = self.client(clients, "--seconds", seconds, *options)
        after = self.figures()
        ops = said["ops"]

        def gained(name):
            return sum(a.get(name, 0) - b.get(name, 0) for a, b in zip(after["reports"], before["reports"]))

        woken = [a - b for a, b in zip(after["wake_ups"], before["wake_ups"])]
        polls = gained("polls")
        return {"ops_per_s": said["ops_per_s"], **said["latency_us"], "retransmits": said["retransmits"],
                "cpu_us_per_op": (after["cpu"] - before["cpu"] + client_cpu) / ops,
                "frames_per_op": (after["frames"] - before["frames"]) / ops,
                "wake_ups_leader": woken[0] / ops,
                "wake_ups_follower": sum(woken[1:]) / ops / max(1, len(woken) - 1),
                "messages_per_poll": gained("poll-messages") / polls if polls else None}

    def system_calls(self, clients, seconds=1):
        """Of the leader, and of a follower, per operation; in a load of its own, which they slow down."""
        pids = [p.pid for p in self.replicas.values()]
        with SystemCalls(pids) as calls:
            ops = self.client(clients, "--seconds", seconds)[0]["ops"]
            counts = [calls.count(pid) / ops for pid in pids]
        return {"system_calls_leader": counts[0],
                "system_calls_follower": sum(counts[1:]) / max(1, len(counts) - 1)}


def bare_loop(rig, offload, in_flight, ops):
    """The floor: fixed packets, no client, no encoding, no log (bench/loop.c)."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        command = [os.path.join(BUILD, "loop"), "--config", rig.config, "--offload", offload, "--xdp", rig.xdp]
        followers = start_all(rig, {"r%d" % i: [*command, "--index", i] for i in range(1, rig.n)}, log)
        stack.callback(stop_all, followers)
        leader = rig.start("r0", [*command, "--index", 0, "--in-flight", in_flight, "--ops", ops], stderr=log)
        said = leader.communicate()[0]
        if leader.returncode:
            log.seek(0)
            raise Failure("the loop failed: %s" % log.read().decode(errors="replace").strip())
    return json.loads(said)
