# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An experiment's folder (docs/experiments.md).

    results.py finish DIR    out of what the runs left in parts/: histories, faults, summary, verdicts
    results.py check DIR     the verdicts again, from the files alone

Both print a table and end with status 0 only if every check came out as the experiment expects.
"""
import glob
import json
import os
import re
import shutil
import struct
import sys

import verdict

CHECKS = ["linearizable", "logs_agree", "no_acked_op_lost"]
HEAD = re.compile(r'\{"client":(\d+),')  # of a client's line; run and node go before
SHOWN = 3  # problems of a check that are printed


def read_json(path):
    with open(path) as f:
        return json.load(f)


def write_json(path, value):
    with open(path + ".new", "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
    os.rename(path + ".new", path)


def lines_of(path):
    """Whole ones only: who was killed may have left half of one."""
    with open(path) as f:
        for line in f:
            if line.endswith("\n"):
                yield line


# --- what the runs left, put together


def merge_history(folder, runs):
    with open(os.path.join(folder, "history.jsonl"), "w") as out:
        for run in runs:
            for node in run["client_nodes"]:
                path = os.path.join(folder, "parts", "%d-%s.jsonl" % (run["run"], node))
                if not os.path.exists(path):
                    continue
                new = r'{"run":%d,"node":"%s","client":"%s.\1",' % (run["run"], node, node)
                for line in lines_of(path):
                    out.write(HEAD.sub(new, line, count=1))


def merge_faults(folder, runs):
    with open(os.path.join(folder, "faults.jsonl"), "w") as out:
        for run in runs:
            number = run["run"]
            rows = []
            path = os.path.join(folder, "parts", "%d-faults.jsonl" % number)
            if os.path.exists(path):
                for line in lines_of(path):
                    rows.append((json.loads(line)["time_ns"], '{"run":%d,%s' % (number, line[1:])))
            for index, event in enumerate(run["events"]):
                for name in ("begin", "end"):
                    if event[name + "_ns"]:
                        row = {"run": number, "time_ns": event[name + "_ns"], "event": name,
                               "what": event["what"], "index": index}
                        rows.append((event[name + "_ns"], json.dumps(row) + "\n"))
            rows.sort(key=lambda row: row[0])
            out.writelines(line for _, line in rows)


def faults_of(run):
    """{rule: {seen, taken}}: the same words twice in a timeline are one rule."""
    faults = {}
    for event in run["events"]:
        if "taken" in event:
            row = faults.setdefault(event["what"], {"seen": 0, "taken": 0})
            row["seen"] += event["seen"]
            row["taken"] += event["taken"]
    return faults


# --- what the files say


def read_history(folder):
    """{run: ([Operation], number of sends)}"""
    runs = {}
    path = os.path.join(folder, "history.jsonl")
    for number, line in enumerate(lines_of(path), 1):
        try:
            o = json.loads(line)
            operations, sends = runs.setdefault(o["run"], ([], [0]))
            operations.append(verdict.Operation(
                o["client"], o["id"], o["reqid"], o["invoked_ns"], o["completed_ns"], o["op"],
                o["result"], o["opnum"]))
            sends[0] += o["sends"]
        except (ValueError, KeyError, TypeError) as why:
            sys.exit("results: %s:%d: not an operation: %r" % (path, number, why))
    return runs


def snapshot_state(data):
    """{key: value} of a snapshot of replica/vr_snapshot.c with the application of replica/kv.c"""
    data = bytes.fromhex(data)
    _, clients = struct.unpack_from("<QQ", data)
    at = 16
    for _ in range(clients):
        at += 32 + struct.unpack_from("<Q", data, at + 24)[0]
    at += 8
    state = {}
    while at < len(data):
        key, value = struct.unpack_from("<II", data, at)
        at += 8
        text = data[at:at + key + value].decode("latin-1")
        state[text[:key]] = text[key:]
        at += key + value
    return state


def read_logs(folder, run):
    logs = []
    for path in sorted(glob.glob(os.path.join(folder, "journal", "%d-*.jsonl" % run["run"]))):
        node = os.path.basename(path).split("-", 1)[1][:-len(".jsonl")]
        log = verdict.Log(node, run["reports"].get(node, {}).get("committed"))
        last = None  # snapshot: only the last one is looked into
        for number, line in enumerate(lines_of(path), 1):
            try:
                record = json.loads(line)
                if record["record"] == "snapshot":
                    last = record.pop("data", None)
                log.add(record)
            except (ValueError, KeyError) as why:
                sys.exit("results: %s:%d: not a record: %r" % (path, number, why))
        if last:
            log.state = snapshot_state(last)
        logs.append(log)
    return logs


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] / 1000 if ordered else None


def figures(run, operations, sends):
    """From the history: what its clients saw."""
    done = [o for o in operations if o.completed is not None]
    latency = sorted(o.completed - o.invoked for o in done)
    ends = sorted(o.completed for o in done)
    # From the first request: before that the clients' processes were being started. Who waits
    # in vain for a last reply waits to the end.
    begin = min((o.invoked for o in operations), default=run["start_ns"])
    edges = [begin] + ends + ([run["end_ns"]] if len(done) < len(operations) or not ends else [])
    seconds = (ends[-1] - begin) / 1e9 if ends else 0
    return {
        "ops": len(done),
        "unanswered": len(operations) - len(done),
        "ops_per_s": round(len(done) / seconds, 1) if seconds > 0 else 0,
        "retransmits": sends - len(operations),
        "latency_us": {"p50": percentile(latency, 0.5), "p99": percentile(latency, 0.99),
                       "p999": percentile(latency, 0.999),
                       "max": latency[-1] / 1000 if latency else None},
        "unavailable_ms": round(max(b - a for a, b in zip(edges, edges[1:])) / 1e6, 1),
    }


# --- verdicts


def judge(folder, run, operations):
    """{check: verdict}, {check: problems}"""
    logs = read_logs(folder, run)
    foreign = [node for node in run["foreign"] if node.startswith("c")]
    untold = None
    if foreign or not run["client_nodes"]:
        untold = "could not be told: %s keeps no history of ours" % (", ".join(foreign) or "nobody")
    elif not operations:
        untold = "could not be told: there is no operation"
    told = {
        "linearizable": (untold, []) if untold else verdict.linearizable(operations),
        "logs_agree": verdict.logs_agree(logs, operations),
        "no_acked_op_lost": (untold, []) if untold else verdict.no_acked_op_lost(
            operations, logs, run["replicas"]),
    }
    return {c: told[c][0] for c in CHECKS}, {c: told[c][1] for c in CHECKS if told[c][1]}


def together(runs):
    """One that is false makes all false; else one that is a sentence speaks for all."""
    checks = {}
    for check in CHECKS:
        told = [run["checks"][check] for run in runs]
        checks[check] = (False if False in told else
                         next((one for one in told if one is not True), True if told else
                              "could not be told: there was no run"))
    return checks


def judge_all(folder, summary):
    history = read_history(folder)
    for number, run in enumerate(summary["runs"]):
        operations, _ = history.get(number, ([], [0]))
        run["checks"], run["problems"] = judge(folder, dict(run, run=number), operations)
    summary["checks"] = together(summary["runs"])


def unexpected(summary):
    """[(offload, check)]: expected is true, or what is not true."""
    return [(run["offload"], check) for run in summary["runs"] for check in CHECKS
            if (run["checks"][check] is True) != summary["expect"].get(check, True)]


# --- for people


def cell(value, form):
    return "-" if value is None else form % value


def print_table(summary, out=sys.stdout):
    rows = [["offload", "ops/s", "p50 us", "p99 us", "unavailable ms", *CHECKS]]
    for run in summary["runs"]:
        checks = [{True: "true", False: "false"}.get(run["checks"][c], "?") for c in CHECKS]
        rows.append([run["offload"], cell(run["ops_per_s"], "%.0f"),
                     cell(run["latency_us"]["p50"], "%.1f"), cell(run["latency_us"]["p99"], "%.1f"),
                     cell(run["unavailable_ms"], "%.1f"), *checks])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        line = "  ".join(c.ljust(w) if i == 0 or i > 4 else c.rjust(w)
                         for i, (c, w) in enumerate(zip(row, widths)))
        print(line.rstrip(), file=out)
    for run in summary["runs"]:
        for check in CHECKS:
            told = run["checks"][check]
            if isinstance(told, str):
                print("%s: %s: %s" % (run["offload"], check, told), file=out)
            for problem in run["problems"].get(check, [])[:SHOWN]:
                print("%s: %s: %s" % (run["offload"], check, problem), file=out)
    for offload, check in unexpected(summary):
        print("%s: %s is not as expected" % (offload, check), file=out)


def finish(folder):
    head = read_json(os.path.join(folder, "parts", "experiment.json"))
    parts = sorted(glob.glob(os.path.join(folder, "parts", "*[0-9].json")),
                   key=lambda path: int(os.path.basename(path)[:-len(".json")]))
    runs = [read_json(path) for path in parts]
    merge_history(folder, runs)
    merge_faults(folder, runs)
    history = read_history(folder)
    summary = {key: head[key] for key in ("name", "about", "seed", "attach", "clock", "expect", "reasons")}
    summary["interrupted"] = any(run["interrupted"] for run in runs)
    summary["runs"] = []
    for run in runs:
        operations, sends = history.get(run["run"], ([], [0]))
        row = {key: run[key] for key in ("offload", "replicas", "clients", "start_ns", "end_ns")}
        row.update(figures(run, operations, sends[0]))
        row["cpu_us_per_op"] = round(run["cpu_us"] / row["ops"], 2) if row["ops"] else None
        for key in ("counters", "reports", "capture", "client_nodes", "foreign", "failed"):
            row[key] = run[key]
        row["faults"] = faults_of(run)
        row["events"] = [{key: event[key] for key in ("what", "begin_ns", "end_ns", "rule")}
                         for event in run["events"]]
        row["checks"], row["problems"] = judge(folder, run, operations)
        summary["runs"].append(row)
    summary["checks"] = together(summary["runs"])
    write_json(os.path.join(folder, "summary.json"), summary)
    shutil.rmtree(os.path.join(folder, "parts"))
    for run, row in zip(runs, summary["runs"]):
        late = [e["what"] for e in run["events"] if not e["begin_ns"]]
        if late and not row["failed"]:
            print("%s: did not take place: %s" % (row["offload"], "; ".join(late)), file=sys.stderr)
    return summary


def check(folder):
    path = os.path.join(folder, "summary.json")
    try:
        summary = read_json(path)
        judge_all(folder, summary)
    except OSError as why:
        sys.exit("results: %s: %s" % (why.filename, why.strerror))
    except (ValueError, KeyError, TypeError) as why:
        sys.exit("results: %s is not what an experiment wrote: %r" % (path, why))
    write_json(path, summary)
    return summary


def main(verb, folder):
    summary = {"finish": finish, "check": check}[verb](folder)
    print("%s, seed %d, %s XDP: %s" % (summary["name"], summary["seed"], summary["attach"], folder))
    print_table(summary)
    return 1 if unexpected(summary) or not summary["runs"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("finish", "check"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
