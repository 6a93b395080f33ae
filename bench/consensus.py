#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""make bench: the speed of consensus, beside its floors, in one run.

Repetitions are interleaved (each goes once through everything), so that what else the machine does
falls on all alike; what is printed is medians, and ratios of medians. build/bench.json has it all.
"""
import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import time

import programs
import rig
import targets
from output import table
from rig import BUILD, ECHO, Rig

OFFLOADS = ["none", "broadcast", "ack", "quorum", "all"]
CLIENTS = [1, 16, 64]
LOOPS = [("all", 1, 100000), ("all", 32, 200000), ("none", 1, 30000), ("none", 32, 60000)]


def plan(quick):
    """[(replicas, xdp, offload, [clients])]"""
    echo = [(1, "native", ECHO, CLIENTS)]
    if quick:
        return echo + [(3, "native", one, CLIENTS) for one in ("none", "all")] + \
            [(7, "native", one, [1]) for one in ("none", "all")]
    return echo + [(n, xdp, one, CLIENTS) for xdp in ("native", "generic") for n in (3, 5, 7) for one in OFFLOADS]


class Progress:
    """Done and to do, on standard error."""

    def __init__(self, steps):
        self.done, self.steps, self.began = 0, steps, time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self, text):
        spent = time.monotonic() - self.began
        left = spent / self.done * (self.steps - self.done) if self.done else None
        self.done += 1
        text = "bench: %3d/%d  %-40s %s" % (self.done, self.steps, text,
                                            "" if left is None else "about %d s left" % left)
        if self.live:
            print("\r\x1b[K" + text, end="", file=sys.stderr, flush=True)
        elif self.done % 10 == 1:
            print(text.rstrip(), file=sys.stderr, flush=True)

    def over(self):
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def rack_of(racks, stack, replicas, xdp):
    """One for each size and mode, up until the end. The echo is r0 of the rack of three."""
    key = (max(replicas, 3), xdp)
    if key not in racks:
        racks[key] = stack.enter_context(Rig(*key))
    return racks[key]


def measure(rows, repetitions, stack):
    """({row: [figures of each repetition]}, {loop: [figures]}, {row: system calls})"""
    racks, loads, loops, calls = {}, {}, {}, {}
    progress = Progress((repetitions * (sum(len(clients) for *_, clients in rows) + len(LOOPS)) +
                         sum(len(clients) for *_, clients in rows)))
    for repetition in range(repetitions + 1):
        for replicas, xdp, offload, clients in rows:
            with rack_of(racks, stack, replicas, xdp).cluster(offload) as cluster:
                for n in clients:
                    row = (replicas, xdp, offload, n)
                    progress.step("%d replicas, %s, %s, %d client%s" % (*row, "" if n == 1 else "s"))
                    if repetition < repetitions:
                        loads.setdefault(row, []).append(cluster.load(n))
                    else:  # at the end: counting costs every system call a little
                        calls[row] = cluster.system_calls(n)
        if repetition == repetitions:
            break
        for offload, in_flight, ops in LOOPS:
            progress.step("bare loop, %s, %d in flight" % (offload, in_flight))
            loops.setdefault((offload, in_flight), []).append(
                rig.bare_loop(racks[3, "native"], offload, in_flight, ops))
    progress.over()
    return loads, loops, calls


def medians(repetitions):
    return {name: statistics.median(values) if None not in values else None
            for name in repetitions[0] for values in [[one[name] for one in repetitions]]}


# --- the tables


def shown(value, form):
    return "-" if value is None else form % value


def print_rows(rows):
    headings = [["", "", "", "", "", "p50", "p99", "p99.9", "CPU us", "frames", "system calls", "", "wake-ups", "",
                 "messages"],
                ["repl.", "XDP", "offload", "clients", "ops/s", "us", "us", "us", "per op", "per op", "leader",
                 "follower", "leader", "follower", "per poll"]]
    lines = []
    for (replicas, xdp, offload, clients), row in rows.items():
        follows = replicas > 1
        lines.append([replicas, xdp, offload, clients, "%.0f" % row["ops_per_s"], "%.1f" % row["p50"],
                      "%.1f" % row["p99"], "%.0f" % row["p999"], "%.1f" % row["cpu_us_per_op"],
                      "%.2f" % row["frames_per_op"], "%.2f" % row["system_calls_leader"],
                      shown(row["system_calls_follower"] if follows else None, "%.2f"),
                      "%.3f" % row["wake_ups_leader"],
                      shown(row["wake_ups_follower"] if follows else None, "%.3f"),
                      shown(row["messages_per_poll"], "%.1f")])
    table(headings, lines, 3)


def print_loops(loops):
    print("\nthe bare loop of a commit among three replicas: fixed packets, no client, no encoding, no log")
    table([["offload", "in flight", "ops/s", "p50 us", "p99 us"]],
          [[offload, in_flight, "%.0f" % one["ops_per_s"], "%.1f" % one["p50_us"], "%.1f" % one["p99_us"]]
           for (offload, in_flight), one in loops.items()], 1)


def print_programs(figures):
    print("\nthe kernel programs, ns a packet above an empty program")
    table([], [[programs.WORDS[name], "%.0f" % ns] for name, ns in figures.items()], 1)


def main():
    parser = argparse.ArgumentParser(description="the speed of consensus, beside its floors")
    parser.add_argument("--quick", action="store_true", help="what the targets need, and no more")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="of everything (3)")
    options = parser.parse_args()
    if options.repetitions < 1:
        parser.error("--repetitions: want a number from 1")
    load = os.getloadavg()[0]
    print("%s, Linux %s, %d CPUs, load %.1f%s\n" % (
        platform.machine(), platform.release(), os.cpu_count(), load,
        ": this machine is busy, expect noise" if load > 0.5 * os.cpu_count() else ""), flush=True)
    with contextlib.ExitStack() as stack:
        loads, loops, calls = measure(plan(options.quick), options.repetitions, stack)
    rows = {row: {**medians(one), **calls[row]} for row, one in loads.items()}
    loops = {row: medians(one) for row, one in loops.items()}
    kernel = programs.figures()
    lines, met, missed = targets.report(rows, kernel)
    print_rows(rows)
    print_loops(loops)
    print_programs(kernel)
    print("\n" + "\n".join(lines))
    path = os.path.join(BUILD, "bench.json")
    with open(path, "w") as f:
        json.dump({"kernel": platform.release(), "cpus": os.cpu_count(), "load": load,
                   "repetitions": options.repetitions,
                   "rows": [{**dict(zip(("replicas", "xdp", "offload", "clients"), row)), **figures,
                             "repetitions": loads[row]} for row, figures in rows.items()],
                   "loops": [{"offload": offload, "in_flight": n, **one} for (offload, n), one in loops.items()],
                   "programs_ns": kernel, "met": met, "missed": missed, "targets": lines}, f, indent=1)
    print("\n%s has all of it\n%d met, %d missed" % (os.path.relpath(path), met, missed))


if __name__ == "__main__":
    rig.run("bench", main)
