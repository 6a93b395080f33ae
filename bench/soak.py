#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""make soak MINUTES=10: full load for long. Memory stays flat, latency does not grow, the log is cut.

One client, whose progress lines (five a second: operations, rate and p99 since the last one) are
gathered into windows: what is shown of a window are medians of its lines. Exit status 0 only if
everything is as wanted.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

import rig

WINDOWS = 12
CLIENTS = 64
# Between the median of the first third, after the first window, and that of the last third:
MEMORY_GROWTH = 1.05
P99_GROWTH = 1.5
JOURNAL_GROWTH = 1.5  # of the largest size in a third: a journal grows until it is written anew
KIB = 1024


def memory_of(process):
    """KiB of its own, of the pages it shares with nobody."""
    with open("/proc/%d/status" % process.pid) as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))


def maps_of(one, node):
    """Bytes of a replica's kernel maps."""
    total = 0
    folder = one.path("bpf", node)
    for name in os.listdir(folder):
        done = subprocess.run(["bpftool", "-j", "map", "show", "pinned", os.path.join(folder, name)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if not done.returncode:  # else it is no map
            total += int(json.loads(done.stdout).get("bytes_memlock", 0))
    return total


def window(lines, until):
    """Medians of the progress lines up to a moment: operations a second and p99."""
    got = []
    while not got or time.monotonic() < until:
        line = lines.readline().split()
        if not line:
            raise rig.Failure("the client ended too early")
        got.append([float(one) for one in line])
    return {"ops_per_s": statistics.median(g[1] for g in got), "p99": statistics.median(g[2] for g in got)}


def sample(one, cluster, client, lines, until):
    said = window(lines, until)
    reports = cluster.reports()
    processes = {**cluster.replicas, "c0": client}
    return {**said, "memory_kib": max(memory_of(p) for p in processes.values()),
            "journals_kib": sum(os.stat(one.path("journal", node)).st_blocks * 512
                                for node in cluster.replicas) // KIB,
            "maps_kib": sum(maps_of(one, node) for node in cluster.replicas) // KIB,
            "held": max(r["op"] - r["base"] for r in reports), "base": min(r["base"] for r in reports)}


FORM = "%6s  %9s  %8s  %16s  %9s  %9s  %12s  %12s"


def show(number, minutes, s):
    print(FORM % ("%.1f" % (number * minutes / WINDOWS), "%.0f" % s["ops_per_s"], "%.1f" % s["p99"],
                  "%.1f" % (s["memory_kib"] / KIB), "%.1f" % (s["journals_kib"] / KIB),
                  "%.1f" % (s["maps_kib"] / KIB), s["held"], s["base"]), flush=True)


def growth(samples, name, of):
    """The last third against the first; the first window warms up."""
    third = max(1, len(samples) // 3)
    first, last = samples[1:1 + third], samples[-third:]
    return of(s[name] for s in last) / max(1, of(s[name] for s in first))


def verdicts(samples):
    """[(text, is it so)]"""
    out = []
    for name, text, of, bound in (("memory_kib", "memory of the largest process", statistics.median, MEMORY_GROWTH),
                                  ("journals_kib", "the largest size of journals", max, JOURNAL_GROWTH),
                                  ("maps_kib", "kernel maps", statistics.median, MEMORY_GROWTH),
                                  ("p99", "p99", statistics.median, P99_GROWTH)):
        ratio = growth(samples, name, of)
        out.append(("%s: end against start %.2f x, want <= %.2f x" % (text, ratio, bound), ratio <= bound))
    cut = all(b["base"] > a["base"] for a, b in zip(samples, samples[1:]))
    out.append(("the log is cut in every window, at most %d operations are held" % max(s["held"] for s in samples),
                cut))
    return out


def main():
    parser = argparse.ArgumentParser(description="full load for long: memory and latency stay flat")
    parser.add_argument("minutes", type=float, help="how long, from 1")
    minutes = parser.parse_args().minutes
    if not 1 <= minutes <= 10000:
        parser.error("minutes: want 1 to 10000")
    seconds = max(1, round(minutes * 60 / WINDOWS))
    print("three replicas, native XDP, all offloads, %d clients, %d windows of %d s\n" % (CLIENTS, WINDOWS, seconds))
    print(FORM % ("", "", "p99", "largest process", "journals", "maps", "operations", "operations"))
    print(FORM % ("minute", "ops/s", "us", "MiB", "MiB", "MiB", "held", "cut off"), flush=True)
    samples = []
    with rig.Rig(3, "native") as one, one.cluster("all") as cluster:
        with cluster.endless_client(CLIENTS) as (client, lines):
            began = time.monotonic()
            for number in range(1, WINDOWS + 1):
                samples.append(sample(one, cluster, client, lines, began + number * seconds))
                show(number, minutes, samples[-1])
    said = verdicts(samples)
    print("\np99 %.1f us at the start, %.1f us at the end; %.1f and %.1f MiB in the largest process" % (
        samples[1]["p99"], samples[-1]["p99"], samples[1]["memory_kib"] / KIB, samples[-1]["memory_kib"] / KIB))
    for text, good in said:
        print("%-90s %s" % (text, "met" if good else "missed"))
    met = sum(good for _, good in said)
    print("%d met, %d missed" % (met, len(said) - met))
    return 0 if met == len(said) else 1


if __name__ == "__main__":
    rig.run("soak", main)
