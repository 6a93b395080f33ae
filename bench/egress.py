# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""make bench-egress: every path through the switch, in one run.

    [t0] --- port --- path: tc, xdp, bridge, afxdp --- port --- [t1]

In turn on each path, RUNS times: 64-byte datagrams as fast as one process sends them, then one TCP
stream (iperf3) for each queue. Medians, and their ratio to the bridge of the same rack. CPU is that of
sender, receiver and rack-steer, in which the kernel forwards for them; what it left to ksoftirqd is
not in it. Absolute figures drift, ratios hold better. Then the datagrams alone on afxdp with the largest
memory and each of several fill thresholds, in turn too.
"""
import collections
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "pytests"))
import bpf  # noqa: E402
from output import say, table  # noqa: E402
from racks import Rack, rack_command  # noqa: E402

BUILD = os.path.join(ROOT, "build")
PACKETS = os.path.join(BUILD, "packets")
PATHS = ["bridge", "tc", "xdp", "afxdp"]
RUNS = int(os.environ.get("RUNS", 3))
SECONDS = float(os.environ.get("SECONDS", 1))
PAYLOAD = 18  # bytes: the smallest frame, of 64 with its checksum
FLOWS = 16
UMEM_MAX = 1 << 22  # bytes: 2,048 frames
FILL_THRESHOLDS = [32, 128, 512, 2048]

Run = collections.namedtuple("Run", "kpps lost gbit cpu_us skbs balance")


def finish(process):
    """What it said, and the CPU seconds that it took."""
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("bench-egress: exit status %d of %s" % (process.returncode, process.args[-5:]))
    return said, usage.ru_utime + usage.ru_stime


class Bench:
    def __init__(self, rack, queues):
        self.rack, self.queues = rack, queues
        self.address = rack.nodes()["t1"][0]
        self.counter = bpf.Object(os.path.join(BUILD, "bench/skb.bpf.o"))
        self.attached = [
            bpf.check(bpf.lib.bpf_raw_tracepoint_open(point, self.counter.program(name).fd), name)
            for point, name in ((b"consume_skb", "skb_consumed"), (b"kfree_skb", "skb_dropped"))]

    def close(self):
        for fd in self.attached:
            os.close(fd)
        self.counter.close()

    def freed(self):
        return self.counter.map("skb_freed").counter(0)

    def per_queue(self):
        """Frames of each queue of t0's port; none are counted while it does not poll."""
        said = self.rack.exec("tor", "ethtool", "-S", "t0")
        return [int(n) for n in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", said)]

    def forwarder_s(self):
        """CPU seconds of the process on the path afxdp."""
        found = re.search(r"(\d+) \(rack-steer\)", self.rack.nodes()["tor"][2])
        if not found:
            return 0
        with open("/proc/%s/schedstat" % found[1]) as f:
            return int(f.read().split()[0]) / 1e9

    def packets(self):
        receiver = self.rack.start("t1", PACKETS, "receive", stdout=subprocess.PIPE, text=True)
        receiver.stdout.readline()
        queues, forwarder, freed = self.per_queue(), self.forwarder_s(), self.freed()
        sender = self.rack.start("t0", PACKETS, "send", self.address, str(SECONDS), str(PAYLOAD),
                                 str(FLOWS), stdout=subprocess.PIPE, text=True)
        sent, sender_s = finish(sender)
        time.sleep(0.05)  # what is on its way
        freed = self.freed() - freed
        receiver.send_signal(signal.SIGTERM)
        got, receiver_s = finish(receiver)
        busy = sender_s + receiver_s + self.forwarder_s() - forwarder
        queues = [after - before for before, after in zip(queues, self.per_queue())]
        balance = min(queues) / max(queues) if queues and max(queues) else None
        return int(got), int(sent), busy, freed, balance

    def tcp_gbit(self):
        server = self.rack.start("t1", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                seconds = max(1, round(SECONDS))  # iperf3 takes whole ones
                done = self.rack.exec("t0", "iperf3", "-c", self.address, "-t", str(seconds), "-P",
                                      str(self.queues), "-J", check=False)
                said = json.loads(done.stdout)
                if "error" not in said:
                    return said["end"]["sum_received"]["bits_per_second"] / 1e9
                time.sleep(0.05)
            raise SystemExit("bench-egress: iperf3: " + said["error"])
        finally:
            server.kill()
            server.wait()

    def run(self, path, tcp=True):
        done = rack_command("steer", self.rack.name, "path", "t0", path)
        if done.returncode:
            raise SystemExit("bench-egress: " + done.stderr.strip())
        got, sent, busy, freed, balance = self.packets()
        return Run(got / SECONDS / 1e3, 100 - 100 * got / sent if sent else 0,
                   self.tcp_gbit() if tcp else None, busy * 1e6 / max(got, 1), freed / max(got, 1), balance)


def middle(runs, field):
    values = [getattr(r, field) for r in runs if getattr(r, field) is not None]
    return statistics.median(values) if values else None


def text(runs, field, form):
    value = middle(runs, field)
    return "-" if value is None else form % value


def ratio(runs, base, field):
    return "%.2f" % (middle(runs, field) / (middle(base, field) or 1))


PATH_HEAD = ["path", "mode", "queues", "kpps", "x", "lost %", "TCP Gbit/s", "x", "CPU us/packet", "x",
             "skbs/packet", "balance"]
FILL_HEAD = ["path", "mode", "fill_threshold", "kpps", "x", "lost %", "CPU us/packet", "x"]


def path_row(path, mode, queues, runs, base):
    return [path, mode, str(queues), text(runs, "kpps", "%.0f"), ratio(runs, base, "kpps"),
            text(runs, "lost", "%.1f"), text(runs, "gbit", "%.2f"), ratio(runs, base, "gbit"),
            text(runs, "cpu_us", "%.2f"), ratio(runs, base, "cpu_us"), text(runs, "skbs", "%.2f"),
            text(runs, "balance", "%.2f")]


def fill_row(threshold, runs, base):
    return ["afxdp", "native", str(threshold), text(runs, "kpps", "%.0f"), ratio(runs, base, "kpps"),
            text(runs, "lost", "%.1f"), text(runs, "cpu_us", "%.2f"), ratio(runs, base, "cpu_us")]


@contextlib.contextmanager
def rack_with(directory, mode, queues, **keys):
    with Rack(directory, replicas=1, testers=2, xdp=mode, link={"queues": queues}, **keys) as rack:
        rack.up()
        bench = Bench(rack, queues)
        try:
            yield bench
        finally:
            bench.close()


def measure_paths(directory):
    """[row]: every path in every kind of rack."""
    rows = []
    for mode in ("native", "generic"):
        for queues in (1, 2):
            runs = {path: [] for path in PATHS}
            with rack_with(directory, mode, queues) as bench:
                for n in range(RUNS):
                    for path in PATHS:
                        say("%s, queues: %d, run %d of %d, %s" % (mode, queues, n + 1, RUNS, path))
                        runs[path].append(bench.run(path))
            rows += [path_row(path, mode, queues, runs[path], runs["bridge"]) for path in PATHS]
    return rows


def measure_fill(directory):
    """[row]: one for each threshold, in racks of the same time."""
    runs = {threshold: [] for threshold in FILL_THRESHOLDS}
    with contextlib.ExitStack() as stack:
        benches = {threshold: stack.enter_context(rack_with(
            directory, "native", 1, afxdp={"umem_bytes": UMEM_MAX, "fill_threshold": threshold}))
            for threshold in FILL_THRESHOLDS}
        for n in range(RUNS):
            for threshold, bench in benches.items():
                say("fill_threshold %d, run %d of %d" % (threshold, n + 1, RUNS))
                runs[threshold].append(bench.run("afxdp", tcp=False))
    return [fill_row(threshold, runs[threshold], runs[FILL_THRESHOLDS[0]]) for threshold in runs]


def main():
    with tempfile.TemporaryDirectory() as directory:
        paths, fill = measure_paths(directory), measure_fill(directory)
    say("")
    table([PATH_HEAD], paths, 2)
    print("\nx: to the bridge of the same rack. kpps: 64-byte frames that arrived. skbs: freed, for each "
          "of them.\nbalance: frames of the emptiest queue to those of the fullest; - : the port does "
          "not poll, and has no count.\n")
    table([FILL_HEAD], fill, 2)
    print("\nx: to the first. Memory of %d frames." % (UMEM_MAX // 2048))


if __name__ == "__main__":
    main()
