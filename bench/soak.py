#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""make soak MINUTES=10: full load for long. Memory stays flat, latency does not grow, the log is cut.

The run is cut into windows, each with a client of its own, so that each has a p99 of its own; the
replicas run through. Exit status 0 only if everything is as wanted.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

import rig

WINDOWS = 12
CLIENTS = 64
# Between the median of the first third, after the first window, and that of the last third:
MEMORY_GROWTH = 1.05
P99_GROWTH = 1.5
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


def sample(one, cluster, seconds):
    said = cluster.load(CLIENTS, seconds=seconds)
    reports = cluster.reports()
    return {"ops_per_s": said["ops_per_s"], "p50": said["p50"], "p99": said["p99"],
            "memory_kib": max(memory_of(p) for p in cluster.replicas.values()),
            "journals_kib": sum(os.stat(one.path("journal", node)).st_blocks * 512
                                for node in cluster.replicas) // KIB,
            "maps_kib": sum(maps_of(one, node) for node in cluster.replicas) // KIB,
            "held": max(r["op"] - r["base"] for r in reports), "base": min(r["base"] for r in reports)}


FORM = "%6s  %9s  %8s  %8s  %16s  %12s  %9s  %14s  %12s"


def show(number, minutes, s):
    print(FORM % ("%.1f" % (number * minutes / WINDOWS), "%.0f" % s["ops_per_s"], "%.1f" % s["p50"], "%.1f" % s["p99"],
                  "%.1f" % (s["memory_kib"] / KIB), "%.1f" % (s["journals_kib"] / KIB),
                  "%.1f" % (s["maps_kib"] / KIB), s["held"], s["base"]), flush=True)


def growth(samples, name):
    """The last third against the first; the first window warms up."""
    third = max(1, len(samples) // 3)
    first, last = samples[1:1 + third], samples[-third:]
    return statistics.median(s[name] for s in last) / max(1, statistics.median(s[name] for s in first))


def verdicts(samples):
    """[(text, is it so)]"""
    out = []
    for name, text, bound in (("memory_kib", "memory of the largest replica", MEMORY_GROWTH),
                              ("journals_kib", "journals", MEMORY_GROWTH),
                              ("maps_kib", "kernel maps", MEMORY_GROWTH), ("p99", "p99", P99_GROWTH)):
        ratio = growth(samples, name)
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
    print(FORM % ("", "", "p50", "p99", "largest replica", "journals", "maps", "operations", "operations"))
    print(FORM % ("minute", "ops/s", "us", "us", "MiB", "MiB", "MiB", "held", "cut off"), flush=True)
    samples = []
    with rig.Rig(3, "native") as one, one.cluster("all") as cluster:
        for number in range(1, WINDOWS + 1):
            samples.append(sample(one, cluster, seconds))
            show(number, minutes, samples[-1])
    said = verdicts(samples)
    print("\np99 %.1f us at the start, %.1f us at the end; %.1f and %.1f MiB in the largest replica" % (
        samples[1]["p99"], samples[-1]["p99"], samples[1]["memory_kib"] / KIB, samples[-1]["memory_kib"] / KIB))
    for text, good in said:
        print("%-90s %s" % (text, "met" if good else "missed"))
    met = sum(good for _, good in said)
    print("%d met, %d missed" % (met, len(said) - met))
    return 0 if met == len(said) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except rig.Failure as e:
        sys.exit("soak: %s" % e)
    except KeyboardInterrupt:
        sys.exit("\nsoak: interrupted")
