#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""report.py DIR [--around TIME]...: report.html of an experiment's folder (docs/experiments.md).

--around: also a space-time diagram of the packets around that time since the load began.
"""
import os
import re
import sys
import time

SLOW_S = 2
DIAGRAMS_MAX = 12
TOGETHER_NS = 5_000_000  # events that begin within this are one
NEAR_NS = 50_000_000  # --around: a packet must be so near
TIME = re.compile(r"(\d+(?:\.\d*)?)(us|ms|s)")
UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9}


def fail(status, words):
    print("rack: " + words, file=sys.stderr)
    sys.exit(status)


def parse_arguments(arguments):
    folder, around = None, []
    arguments = list(arguments)
    while arguments:
        one = arguments.pop(0)
        if one == "--around":
            text = arguments.pop(0) if arguments else ""
            found = TIME.fullmatch(text)
            if not found:
                fail(2, "--around '%.40s': want a number and us, ms or s" % text)
            around.append((text, float(found.group(1)) * UNITS[found.group(2)]))
        elif folder is None and not one.startswith("-"):
            folder = one
        else:
            fail(2, "'%.40s' is too much" % one)
    if folder is None:
        fail(2, "want the folder of one experiment")
    return folder, around


class Progress:
    """A word on a terminal, once it takes long."""

    def __init__(self):
        self.begin, self.shown = time.monotonic(), False

    def __call__(self, words):
        if sys.stderr.isatty() and (self.shown or time.monotonic() - self.begin > SLOW_S):
            print("\r\033[Kreport: " + words, end="", file=sys.stderr, flush=True)
            self.shown = True

    def end(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def moments(run):
    """[(time, title, event)] of what the timeline did, what began together as one"""
    found = []
    for event in run["events"]:
        begin = event["begin_ns"]
        if begin is None:
            continue
        if found and begin - found[-1][0] < TOGETHER_NS:
            found[-1] = (found[-1][0], found[-1][1] + ", " + event["what"], found[-1][2])
        else:
            found.append((begin, event["what"], event))
    return found


def marks_of(run):
    """[(time, words)] of what a diagram marks"""
    marks = []
    for event in run["events"]:
        if event["begin_ns"]:
            marks.append((event["begin_ns"], event["what"]))
            if event["end_ns"] and event["end_ns"] > event["begin_ns"] and not event["what"].startswith("kill "):
                marks.append((event["end_ns"], "end of: " + event["what"]))
    return marks


def around_times(results, around, drawn):
    """[(title, svg)] of what was asked for"""
    pictures = []
    for text, ns in around:
        lasted = max(run["end_ns"] - run["start_ns"] for run in results.runs)
        if ns > lasted:
            fail(1, "--around %s: no run lasted so long, the longest %.1f s" % (text, lasted / 1e9))
        before = len(pictures)
        for number, run in enumerate(results.runs):
            zero = run["start_ns"] + int(ns)
            if any(abs(p.sent - zero) < NEAR_NS for p in drawn[number]):
                chosen = spacetime.choose(drawn[number], zero)
                pictures.append(("Around %s, %s" % (text, results.title(number)),
                                 spacetime.draw(chosen, drawn[number], run, marks_of(run), zero)))
        if len(pictures) == before:
            fail(1, "--around %s: no packet was captured then (`capture: {at: [%s]}` in the experiment's file captures "
                 "there)" % (text, text))
    return pictures


def draw_moments(results, drawn):
    """([(title, svg)], [what was left out])"""
    pictures, left_out = [], []
    for number, run in enumerate(results.runs):
        found = moments(run)
        for (begin, title, event), after in zip(found, [m[0] for m in found[1:]] + [run["end_ns"]]):
            at = "%.2f s" % ((begin - run["start_ns"]) / 1e9)
            chosen = spacetime.choose(drawn[number], begin, event, after)
            if len(pictures) >= DIAGRAMS_MAX // len(results.runs) * (number + 1) or not chosen:
                left_out.append("%s at %s, %s" % (title, at, results.title(number)))
                continue
            pictures.append(("%s at %s, %s" % (title, at, results.title(number)),
                             spacetime.draw(chosen, drawn[number], run, marks_of(run), begin)))
    return pictures, left_out


def make(folder, around):
    progress = Progress()
    progress("reading %s" % folder)
    try:
        results = data.Results(folder)
    except data.Broken as why:
        progress.end()
        fail(1, str(why))
    progress("drawing packets")
    drawn = [spacetime.drawable([p for p in results.packets if p.run == number])
             for number in range(len(results.runs))]
    asked = around_times(results, around, drawn)
    pictures, left_out = draw_moments(results, drawn)
    progress("plotting")
    text = page.page(results, asked + pictures, left_out)
    path = os.path.join(folder, "report.html")
    try:
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)
    except OSError as why:
        fail(1, "cannot write %s: %s" % (path, why.strerror))
    progress.end()
    return path


if __name__ == "__main__":
    wanted = parse_arguments(sys.argv[1:])
    try:
        import report_data as data
        import report_page as page
        import report_spacetime as spacetime
    except ImportError as why:
        if why.name not in ("matplotlib", "numpy"):
            raise
        fail(1, "no report.html: it is made with python3-matplotlib, which is not installed (apt-get install "
             "python3-matplotlib, then `rack report %s`)" % wanted[0])
    print("pictures: " + make(*wanted))
