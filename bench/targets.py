# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which targets are met: pure functions over the results of bench/consensus.py.

`rows` is {(replicas, xdp, offload, clients): figures}; the echo is (1, "native", "echo", clients).
A target is (text, figure, bound); a figure that was not measured is None, and its target missed.
"""
ECHO = "echo"


def ratio(a, b):
    return a / b if a is not None and b else None


class Results:
    def __init__(self, rows, programs):
        self.rows, self.programs = rows, programs

    def one(self, offload, clients, figure, replicas=3):
        row = self.rows.get((1 if offload == ECHO else replicas, "native", offload, clients), {})
        return row.get(figure)

    def against(self, offload, other, clients, figure, replicas=3):
        return ratio(self.one(offload, clients, figure, replicas), self.one(other, clients, figure, replicas))


def targets(r):
    """[(text, figure, "<=" or ">=", bound, form)]"""
    out = [("all: p50 against the echo's, 1 client", r.against("all", ECHO, 1, "p50"), "<=", 1.5, "%.2f x")]
    out += [("all: ops/s against the echo's, %d clients" % n, r.against("all", ECHO, n, "ops_per_s"), ">=", 0.7,
             "%.2f x") for n in (16, 64)]
    out += [("none: p50 against the echo's, 1 client", r.against("none", ECHO, 1, "p50"), "<=", 3, "%.2f x"),
            ("none: ops/s against the echo's, 16 clients", r.against("none", ECHO, 16, "ops_per_s"), ">=", 0.35,
             "%.2f x")]
    gains = [("ops_per_s", ">=", 1.6, "ops/s"), ("p50", "<=", 0.6, "p50"), ("cpu_us_per_op", "<=", 0.6, "CPU per op")]
    three = {figure: r.against("all", "none", 1, figure) for figure, *_ in gains}
    out += [("all against none: %s, 1 client" % text, three[figure], sign, bound, "%.2f x")
            for figure, sign, bound, text in gains]
    # "at 7 replicas more" than at 3
    out += [("all against none: %s, 1 client, 7 replicas: more than with 3" % text,
             r.against("all", "none", 1, figure, 7), sign, three[figure], "%.2f x") for figure, sign, _, text in gains]
    out += [("%s, above an empty program" % text, r.programs.get(name), "<=", bound, "%.0f ns")
            for name, bound, text in (("fresh", 120, "a fresh Prepare of 100 bytes stored and acked"),
                                      ("absorbed", 40, "an absorbed ack"), ("clone", 450, "a clone"))]
    return out


def wishes(r):
    """Absolute figures, which hold for a quiet machine only: [(text, figure, bound)]"""
    return [("all, 1 client: over %d k ops/s wished for" % 50, r.one("all", 1, "ops_per_s"), 50000),
            ("all, 64 clients: over %d k ops/s wished for" % 120, r.one("all", 64, "ops_per_s"), 120000)]


def is_met(figure, sign, bound):
    if figure is None or bound is None:
        return False
    return figure <= bound if sign == "<=" else figure >= bound


def report(rows, programs):
    """(lines to print, how many are met, how many missed)"""
    results = Results(rows, programs)
    lines, met = [], 0
    judged = targets(results)
    width = max(len(text) for text, *_ in judged)
    for text, figure, sign, bound, form in judged:
        good = is_met(figure, sign, bound)
        met += good
        shown = [form % one if one is not None else "-" for one in (figure, bound)]
        lines.append("%-*s  %10s  want %s %8s  %s" % (width, text, shown[0], sign, shown[1],
                                                      "met" if good else "missed"))
    for text, figure, _ in wishes(results):
        lines.append("%-*s  %10s  %s" % (width, text, "-" if figure is None else "%.1f k" % (figure / 1000), "info"))
    return lines, met, len(judged) - met
