# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An experiment's folder as a report needs it: times as arrays, so that a million operations are fast."""
import collections
import json
import os
import re

import numpy as np

import report_capture

LINE = re.compile(rb'\{"run": ?(\d+), ?[^\n]*?"invoked_ns": ?(\d+), ?"completed_ns": ?(\d+|null),[^\n]*\}\n')
CHUNK = 1 << 24

# Of one run, in order of completion; times in ns. `unanswered`: when those without a reply began.
History = collections.namedtuple("History", "completed latency unanswered")


class Broken(Exception):
    """A sentence: why there is nothing to make a report of."""


def read_summary(folder):
    path = os.path.join(folder, "summary.json")
    try:
        with open(path) as f:
            summary = json.load(f)
        for run in summary["runs"]:
            for key in ("offload", "replicas", "clients", "start_ns", "end_ns", "ops", "unanswered", "ops_per_s",
                        "latency_us", "unavailable_ms", "cpu_us_per_op", "retransmits", "counters", "faults",
                        "capture", "checks", "problems", "client_nodes", "foreign"):
                run[key]
            for event in run["events"]:
                event["what"], event["begin_ns"], event["end_ns"], event["rule"]
        summary["name"], summary["seed"], summary["attach"], summary["expect"], summary["reasons"]
        summary["clock"]["realtime_ns"], summary["clock"]["monotonic_ns"]
    except FileNotFoundError:
        raise Broken("%s is no experiment's folder: it has no summary.json" % folder)
    except OSError as why:
        raise Broken("%s: %s" % (path, why.strerror))
    except (ValueError, KeyError, TypeError) as why:
        raise Broken("%s is not what an experiment wrote: %r" % (path, why))
    if not summary["runs"]:
        raise Broken("%s: there was no run" % folder)
    return summary


def read_history(folder, runs):
    """[History], one for each run"""
    path = os.path.join(folder, "history.jsonl")
    rows = []
    try:
        with open(path, "rb") as f:
            rest = b""
            for block in iter(lambda: f.read(CHUNK), b""):
                block = rest + block
                end = block.rfind(b"\n") + 1
                rest = block[end:]
                found = LINE.findall(block[:end])
                if len(found) != block.count(b"\n", 0, end):
                    raise Broken("%s is not what an experiment wrote" % path)
                rows.append(np.array([(int(run), int(begin), 0 if done == b"null" else int(done))
                                      for run, begin, done in found], dtype=np.int64).reshape(-1, 3))
    except OSError as why:
        raise Broken("%s: %s" % (path, why.strerror))
    table = np.concatenate(rows) if rows else np.empty((0, 3), np.int64)
    histories = []
    for number in range(runs):
        mine = table[table[:, 0] == number]
        done = mine[mine[:, 2] > 0]
        done = done[np.argsort(done[:, 2])]
        histories.append(History(done[:, 2], done[:, 2] - done[:, 1], mine[mine[:, 2] == 0][:, 1]))
    return histories


def read_faults(folder):
    path = os.path.join(folder, "faults.jsonl")
    try:
        with open(path) as f:
            return [json.loads(line) for line in f]
    except OSError as why:
        raise Broken("%s: %s" % (path, why.strerror))
    except ValueError as why:
        raise Broken("%s is not what an experiment wrote: %s" % (path, why))


class Results:
    def __init__(self, folder):
        self.summary = read_summary(folder)
        self.runs = self.summary["runs"]
        self.histories = read_history(folder, len(self.runs))
        self.faults = read_faults(folder)
        self.packets = report_capture.read_packets(folder, self.summary, self.faults)

    def title(self, number):
        """Two runs of one set of offloads are told apart."""
        name = self.runs[number]["offload"]
        same = [i for i, run in enumerate(self.runs) if run["offload"] == name]
        return "offload %s" % name + (", run %d" % (same.index(number) + 1) if len(same) > 1 else "")
