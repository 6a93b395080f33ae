# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The plots of a report, each as SVG for a page: throughput and latency over time, distributions."""
import io
import re

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

from report_text import span  # noqa: E402

# Okabe and Ito's colours, which nobody confuses; curves differ in their strokes too.
RUNS = [("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#56b4e9", "-"), ("#e69f00", "--")]
INK, MUTED, FAULT = "#1c2024", "#6b7280", "#c8480a"
BINS = 120
POINTS = 400  # of a curve

plt.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "text.color": INK,
    "axes.edgecolor": "#b8bec6", "axes.labelcolor": INK, "axes.linewidth": 0.7, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#e7eaee", "grid.linewidth": 0.6,
    "axes.axisbelow": True, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.minor.size": 0, "ytick.minor.size": 0, "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5, "lines.linewidth": 1.4, "legend.frameon": False, "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
})


def svg(figure, name):
    """Ids of several figures on one page must differ."""
    out = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r' (width|height)="[^"]*pt"', "", text, count=2)
    text = re.sub(r'id="((?:figure|axes|patch|text|line2d|xtick|ytick|legend|matplotlib)[^"]*)"',
                  r'id="%s-\1"' % name, text)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)


def micros(value, _=None):
    return span(value * 1000).replace(".00 ", " ").replace(".0 ", " ")


def thousands(value, _=None):
    return "%gk" % (value / 1000) if value >= 1000 else "%g" % value


# --- over time


def bins_of(history, run):
    """(edges in s since the load began, ops/s, {percentile: us}) with nan where nothing ended"""
    seconds = (run["end_ns"] - run["start_ns"]) / 1e9
    edges = np.linspace(0, seconds, BINS + 1)
    at = (history.completed - run["start_ns"]) / 1e9
    cut = np.searchsorted(at, edges)
    rate = np.diff(cut) / (edges[1] - edges[0])
    percentiles = {p: np.full(BINS, np.nan) for p in (50, 99, 100)}
    for i in range(BINS):
        inside = history.latency[cut[i]:cut[i + 1]]
        if len(inside):
            for p in percentiles:
                percentiles[p][i] = np.percentile(inside, p) / 1000
    return edges, rate, percentiles


def longest_gap(history, run):
    """(begin, end) in s: no reply for so long"""
    ends = (history.completed - run["start_ns"]) / 1e9
    if len(ends) < 2:
        return 0, 0
    if len(history.unanswered):
        ends = np.append(ends, (run["end_ns"] - run["start_ns"]) / 1e9)
    at = np.argmax(np.diff(ends))
    return ends[at], ends[at + 1]


def events_of(run):
    """[(numbers, begin, end)] in s: those that begin together are one; end None: a moment"""
    found = []
    for number, event in enumerate(run["events"], 1):
        if event["begin_ns"] is None:
            continue
        begin = (event["begin_ns"] - run["start_ns"]) / 1e9
        end = ((event["end_ns"] or run["end_ns"]) - run["start_ns"]) / 1e9
        if found and abs(found[-1][1] - begin) < 0.005:
            found[-1] = (found[-1][0] + [number], found[-1][1], max(found[-1][2], end))
        else:
            found.append(([number], begin, end))
    return found


def mark_events(run, axes, seconds):
    """Bands for what lasts, lines where it begins, numbers above, in two rows if they are close."""
    last, row = -1.0, 0
    for numbers, begin, end in events_of(run):
        for axis in axes:
            if end > begin:
                axis.axvspan(begin, end, color=FAULT, alpha=0.08, lw=0)
            axis.axvline(begin, color=FAULT, lw=0.8, alpha=0.8)
        row = 1 - row if begin - last < 0.03 * seconds else 0
        last = begin
        axes[0].annotate(" ".join(map(str, numbers)), (begin, 1), xycoords=("data", "axes fraction"),
                         xytext=(0, 3 + 10 * row), textcoords="offset points", ha="center", fontsize=8.5,
                         color=FAULT, weight="bold")


def tops(results):
    """(ops/s, us, us): all runs on the same scales"""
    rate, low, high = 1, [], []
    for run, history in zip(results.runs, results.histories):
        if len(history.completed):
            _, rates, percentiles = bins_of(history, run)
            rate = max(rate, rates.max())
            low.append(np.nanmin(percentiles[50]))
            high.append(np.nanmax(percentiles[100]))
    return rate * 1.06, min(low, default=10) * 0.7, max(high, default=1000) * 1.5


def over_time(results, number):
    run, history = results.runs[number], results.histories[number]
    seconds = (run["end_ns"] - run["start_ns"]) / 1e9
    edges, rate, percentiles = bins_of(history, run)
    rate_top, low, high = tops(results)
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(9.6, 4.1), height_ratios=[1, 1.25])
    figure.subplots_adjust(left=0.075, right=0.94, top=0.93, bottom=0.105, hspace=0.13)
    mark_events(run, (top, bottom), seconds)
    top.stairs(rate, edges, fill=True, color="#0072b2", alpha=0.18, lw=0)
    top.stairs(rate, edges, color="#0072b2", lw=1.2)
    top.set_ylim(0, rate_top)
    top.yaxis.set_major_formatter(FuncFormatter(thousands))
    top.set_ylabel("ops/s")
    begin, end = longest_gap(history, run)
    if end - begin > max(0.02 * seconds, 0.02):
        top.annotate("", (begin, rate_top * 0.12), (end, rate_top * 0.12),
                     arrowprops={"arrowstyle": "<->", "color": INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 0})
        inside, left = end - begin > 0.25 * seconds, begin > 0.5 * seconds
        at, shift, side = ((begin + end) / 2, (0, 8), "center") if inside else (
            (begin, (-6, 0), "right") if left else (end, (6, 0), "left"))
        top.annotate("no reply for %s" % span((end - begin) * 1e9), (at, rate_top * 0.12), xytext=shift,
                     textcoords="offset points", va="center", ha=side, fontsize=8.5,
                     bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5})
    middle = (edges[:-1] + edges[1:]) / 2
    styles = {50: ("#0072b2", "-", "p50"), 99: ("#d55e00", "-", "p99"), 100: ("#8a8f98", ":", "max")}
    placed = []
    for p, (color, line, name) in styles.items():
        bottom.plot(middle, percentiles[p], color=color, ls=line, label=name, marker=".", ms=2.2)
        known = np.flatnonzero(~np.isnan(percentiles[p]))
        if len(known):
            placed.append([np.log10(percentiles[p][known[-1]]), name, color])
    bottom.set_yscale("log")
    bottom.set_ylim(low, high)
    apart = 0.07 * np.log10(high / low)
    for before, now in zip([None] + placed, placed):
        now[0] = now[0] if before is None else max(now[0], before[0] + apart)
        bottom.annotate(now[1], (1, 10 ** now[0]), xycoords=("axes fraction", "data"), xytext=(5, 0),
                        textcoords="offset points", va="center", color=now[2], weight="bold", fontsize=8.5)
    bottom.yaxis.set_major_formatter(FuncFormatter(micros))
    bottom.yaxis.set_minor_formatter(NullFormatter())
    bottom.set_ylabel("latency")
    bottom.set_xlabel("seconds since the load began", color=MUTED)
    bottom.set_xlim(0, seconds)
    figure.align_ylabels()
    return svg(figure, "time%d" % number)


# --- distributions


def distributions(results):
    """How many are done after so long; how many are not yet."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.3))
    figure.subplots_adjust(left=0.065, right=0.99, top=0.9, bottom=0.15, wspace=0.17)
    longest = max((len(h.latency) for h in results.histories), default=0)
    for number, history in enumerate(results.histories):
        size = len(history.latency)
        if not size:
            continue
        color, line = RUNS[number % len(RUNS)]
        latency = np.sort(history.latency) / 1000
        at = np.unique(np.clip(np.linspace(0, size - 1, POINTS).astype(int), 0, size - 1))
        left.step(latency[at], (at + 1) / size * 100, color=color, ls=line, where="post", label=results.title(number))
        # of the tail each one counts: as many points to each decade
        behind = np.unique(np.geomspace(1, size, POINTS).astype(int))
        right.step(latency[size - behind], behind / size * 100, color=color, ls=line, where="post",
                   label=results.title(number))
    for axis in (left, right):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(micros))
        axis.xaxis.set_minor_formatter(NullFormatter())
    left.set_title("answered within this time, % of operations", loc="left", fontsize=9, color=INK)
    left.set_ylim(0, 101)
    right.set_title("not yet answered after this time, % of operations", loc="left", fontsize=9, color=INK)
    right.set_yscale("log")
    right.set_ylim(100 / max(longest, 1) * 0.8, 130)
    right.yaxis.set_major_formatter(FuncFormatter(lambda v, _: "%g %%" % v))
    right.yaxis.set_minor_formatter(NullFormatter())
    left.yaxis.set_major_formatter(FuncFormatter(lambda v, _: "%g %%" % v))
    left.legend(loc="lower right")
    return svg(figure, "latency")
