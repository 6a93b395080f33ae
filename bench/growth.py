#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""make bench-growth: throughput and latency as one thing grows, as tables and as docs/growth-*.svg.

    value size   16 bytes to 8 KiB: past 1400 a Prepare leaves the fast path as fragments
    replicas     3 to 15
    clients      1 to 1,000
"""
import contextlib
import os
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

import rig  # noqa: E402
from output import say  # noqa: E402
from rig import ECHO, ROOT, Rig  # noqa: E402

REPETITIONS = 3
SETS = {ECHO: "0.6", "none": "#d55e00", "all": "#0072b2"}  # colours that colour-blind people tell apart
SIZES = [16, 64, 256, 512, 1024, 1400, 2048, 4096, 8192]
REPLICAS = [3, 5, 7, 9, 11, 13, 15]
CLIENTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]


def medians(repetitions):
    return {name: statistics.median(one[name] for one in repetitions) for name in ("ops_per_s", "p50", "p99")}


def over_loads(loads):
    """{set: {x: figures}} with three replicas; loads: {x: (clients, options)}"""
    out = {}
    with Rig(3, "native") as one:
        for repetition in range(REPETITIONS):
            for offload in SETS:
                say("repetition %d of %d, %s" % (repetition + 1, REPETITIONS, offload))
                with one.cluster(offload) as cluster:
                    for x, (clients, options) in loads.items():
                        out.setdefault(offload, {}).setdefault(x, []).append(cluster.load(clients, *options))
    return {offload: {x: medians(each) for x, each in points.items()} for offload, points in out.items()}


def over_replicas(clients):
    out = {}
    with contextlib.ExitStack() as stack:
        racks = {n: stack.enter_context(Rig(n, "native")) for n in REPLICAS}
        for repetition in range(REPETITIONS):
            for offload in ("none", "all"):
                for n, one in racks.items():
                    say("repetition %d of %d, %s, %d replicas" % (repetition + 1, REPETITIONS, offload, n))
                    with one.cluster(offload) as cluster:
                        out.setdefault(offload, {}).setdefault(n, []).append(cluster.load(clients))
    return {offload: {x: medians(each) for x, each in points.items()} for offload, points in out.items()}


def draw(name, label, series, log):
    """Two panels side by side over the same x: throughput, and p50 with p99 above it."""
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": name,
                         "axes.spines.top": False, "axes.spines.right": False})
    figure, (rate, latency) = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained")
    for offload, points in series.items():
        xs = list(points)
        rate.plot(xs, [p["ops_per_s"] / 1000 for p in points.values()], "o-", ms=3, lw=1.3, color=SETS[offload],
                  label=offload)
        latency.plot(xs, [p["p50"] for p in points.values()], "o-", ms=3, lw=1.3, color=SETS[offload],
                     label=offload + " p50")
        latency.plot(xs, [p["p99"] for p in points.values()], ":", lw=1, color=SETS[offload], label="p99")
    for axes, title in ((rate, "thousand operations a second"), (latency, "latency, us (dotted: p99)")):
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel(label)
        axes.grid(axis="y", color="0.9", lw=0.6)
        if log:
            axes.set_xscale("log", base=2 if name == "size" else 10)
            axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
    rate.set_ylim(bottom=0)
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
    latency.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    rate.legend(frameon=False)
    path = os.path.join(ROOT, "docs", "growth-%s.svg" % name)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return path


def show(label, series):
    say("")
    sets = list(series)
    print("%-12s" % label + "".join("%28s" % one for one in sets))
    print("%-12s" % "" + "".join("%10s%9s%9s" % ("ops/s", "p50 us", "p99 us") for _ in sets))
    for x in next(iter(series.values())):
        print("%-12s" % x + "".join("%10.0f%9.1f%9.1f" % (p["ops_per_s"], p["p50"], p["p99"])
                                    for p in (series[one][x] for one in sets)))
    print(flush=True)


def main():
    for name, label, log, series in (
            ("size", "bytes in a value, 16 clients", True,
             lambda: over_loads({size: (16, ["--value-bytes", size, "--mix", 100]) for size in SIZES})),
            ("replicas", "replicas, 16 clients", False, lambda: over_replicas(16)),
            ("clients", "clients, 64-byte values", True, lambda: over_loads({n: (n, []) for n in CLIENTS}))):
        points = series()
        show(name, points)
        print("-> %s\n" % os.path.relpath(draw(name, label, points, log)), flush=True)


if __name__ == "__main__":
    rig.run("bench-growth", main)
