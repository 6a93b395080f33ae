# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""build/rack run with experiments, from outside: folders, figures, verdicts, and what is refused.

    experiment(timeline=[...])  ->  rack run FILE --out DIR  ->  summary, history, faults, captures
"""
import glob
import itertools
import json
import os
import pty
import re
import signal
import struct
import subprocess

import pytest
import yaml
from conftest import BUILD, MODES, ROOT

RACK = os.path.join(BUILD, "rack")
NAME = "ex%d" % os.getpid()
SUBNET = "198.18.%d.0/24" % (64 + os.getpid() % 128)  # not where the other tests build theirs
CHECKS = ["linearizable", "logs_agree", "no_acked_op_lost"]
serial = itertools.count()


def rack(*arguments, **options):
    return subprocess.run([RACK, *map(str, arguments)], capture_output=True, text=True, timeout=180,
                          **options)


def left_behind():
    found = [path for path in ["/run/paxrack/" + NAME] if os.path.exists(path)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if b"PAXRACK=" + NAME.encode() + b"/" in f.read():
                    found.append("process " + pid)
        except OSError:
            pass  # it ended meanwhile
    return found


class Results:
    """An experiment's folder, read."""

    def __init__(self, folder, done=None):
        self.folder, self.done = str(folder), done
        with open(self.path("summary.json")) as f:
            self.summary = json.load(f)
        self.runs = self.summary["runs"]
        self.history = self.lines("history.jsonl")
        self.faults = self.lines("faults.jsonl")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def lines(self, name):
        with open(self.path(name)) as f:
            return [json.loads(line) for line in f]

    def packets(self, port):
        """[(time in ns as everywhere, frame)]; scapy would take minutes for as many."""
        with open(self.path("capture", port + ".pcap"), "rb") as f:
            data = f.read()
        assert struct.unpack_from("<IHH", data) == (0xa1b23c4d, 2, 4)
        clock = self.summary["clock"]
        at, packets = 24, []
        while at < len(data):
            seconds, ns, length, _ = struct.unpack_from("<4I", data, at)
            now = seconds * 10**9 + ns - clock["realtime_ns"] + clock["monotonic_ns"]
            packets.append((now, data[at + 16:at + 16 + length]))
            at += 16 + length
        return packets

    def rewrite(self, name, change):
        """change(line as an object) -> object, or None: left out"""
        rows = [change(row) for row in self.lines(name)]
        with open(self.path(name), "w") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows if row)


TYPE = re.compile(rb"specpaxos\.vr\.(?:proto\.)?([A-Za-z]+)")


def kind_of(frame):
    """Of a message in a plain frame, or None."""
    found = TYPE.match(frame, 14 + 20 + 8 + 12)
    return found.group(1).decode().replace("Message", "") if found else None


def address(number):
    return bytes(map(int, SUBNET.replace("0/24", str(number)).split(".")))


@pytest.fixture
def lab(tmp_path):
    """lab(keys of an experiment..., options=[...]): Results; the rack goes away whatever happens."""
    def write(**keys):
        path = tmp_path / ("%d.yaml" % next(serial))
        keys.setdefault("experiment", "x")
        keys.setdefault("rack", {"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 1})
        keys.setdefault("load", {"clients": 2, "ops": 500})
        path.write_text(yaml.safe_dump(keys, sort_keys=False))
        return path

    def run(*options, status=0, **keys):
        folder = tmp_path / ("out%d" % next(serial))
        done = rack("run", write(**keys), "--out", folder, *options)
        assert done.returncode == status, done.stdout + done.stderr
        assert left_behind() == []
        return Results(folder, done)

    run.write, run.folder = write, tmp_path
    yield run
    if left_behind():
        rack("down", NAME)


# --- figures


def test_figures(lab):
    r = lab("--seed", 5, "--offload", "none", "--offload", "all",
            rack={"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 2}, about="nothing")
    s = r.summary
    assert (s["name"], s["seed"], s["attach"], s["about"]) == ("x", 5, "native", "nothing")
    assert s["checks"] == dict.fromkeys(CHECKS, True) and not s["interrupted"]
    assert [run["offload"] for run in r.runs] == ["none", "all"]
    for number, run in enumerate(r.runs):
        rows = [o for o in r.history if o["run"] == number]
        assert run["replicas"] == 3 and run["clients"] == 4
        assert run["ops"] == len(rows) == 1000 and run["unanswered"] == 0
        assert {o["client"] for o in rows} == {"c0.0", "c0.1", "c1.0", "c1.1"}
        assert {o["node"] for o in rows} == {"c0", "c1"}
        assert len({o["op"].split()[1] for o in rows} - {"k%d" % i for i in range(100)}) == 0
        for o in rows:
            assert run["start_ns"] < o["invoked_ns"] < o["completed_ns"] < run["end_ns"]
        latency = run["latency_us"]
        assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]
        assert run["ops_per_s"] > 0 and run["cpu_us_per_op"] > 0 and run["unavailable_ms"] > 0
        assert run["faults"] == {} and run["checks"] == dict.fromkeys(CHECKS, True)
        assert set(run["reports"]) == {"r0", "r1", "r2"}
        assert {p["committed"] for p in run["reports"].values()} == {1000}
        for node in run["reports"]:
            with open(r.path("journal", "%d-%s.jsonl" % (number, node))) as f:
                assert sum('"record":"entry"' in line for line in f) == 1000
    none, all = r.runs
    assert none["counters"] == {}
    assert all["counters"]["ack"] > 0 and all["counters"]["tc-clone"] > 0
    assert glob.glob(r.path("capture", "*")) == []  # nothing happened around which to look
    # both clients wrote the same keys, and read what the other wrote
    of = {node: {o["op"] for o in r.history if o["node"] == node} for node in ("c0", "c1")}
    seen = {o["result"] for o in r.history if o["node"] == "c0" and o["op"].startswith("GET")}
    assert any(op.split()[2] in seen for op in of["c1"] if op.startswith("SET"))


def test_a_seed_gives_the_same_operations(lab):
    def operations(r):
        return [[o["op"].split(".")[0] for o in r.history if o["client"] == c]
                for c in ("c0.0", "c0.1")]
    first, again, other = (operations(lab("--seed", n, offload=["none"])) for n in (1, 1, 2))
    count = min(len(c) for rows in (first, again, other) for c in rows)
    assert [c[:count] for c in first] == [c[:count] for c in again]
    assert [c[:count] for c in first] != [c[:count] for c in other]


def test_rack_by_its_path_and_generic_mode(lab):
    (lab.folder / "rack.yaml").write_text("rack: %s\nsubnet: %s\nreplicas: 3\nclients: 1\n" % (
        NAME, SUBNET))
    r = lab(rack="rack.yaml", xdp="generic")
    assert r.summary["attach"] == "generic" and r.runs[0]["counters"]["ack"] > 0


# --- what the timeline says


def events(r, run=0):
    return [(e["event"], e["what"]) for e in r.faults if "event" in e and e["run"] == run]


def test_packets_of_a_rule(lab):
    """Every verdict stands in faults.jsonl, and the capture shows the copy that is missing."""
    words = "fault --from r0 --to r1 --kind Prepare --every 3 drop"
    r = lab(load={"clients": 1, "seconds": 2}, capture={"around": "200ms", "packets": 0},
            timeline=[{"at": "300ms", "fault": words[len("fault "):], "for": "1s"}])
    run, = r.runs
    assert run["checks"] == dict.fromkeys(CHECKS, True)
    dropped = [f for f in r.faults if "rule" in f]
    assert run["faults"] == {words: {"seen": run["faults"][words]["seen"], "taken": len(dropped)}}
    assert len(dropped) == run["faults"][words]["seen"] // 3 > 5
    assert [f["number"] for f in dropped] == [3 * (i + 1) for i in range(len(dropped))]
    assert {(f["action"], f["from"], f["to"], f["kind"]) for f in dropped} == {
        ("drop", "r0", "r1", "Prepare")}
    assert events(r) == [("begin", words), ("end", words)]
    begin, end = (f["time_ns"] for f in r.faults if "event" in f)
    assert all(begin < f["time_ns"] < end for f in dropped)
    assert [f["time_ns"] for f in r.faults] == sorted(f["time_ns"] for f in r.faults)
    # At the leader's port they are all there, at the follower's those that were not dropped.
    looked = dropped[0]["time_ns"] - 10**6, dropped[0]["time_ns"] + 10**8  # inside the first capture

    def prepares(port):
        return sum(looked[0] < now < looked[1] and kind_of(frame) == "Prepare" and
                   frame[30:34] == address(2) for now, frame in r.packets(port))
    missing = prepares("r0") - prepares("r1")
    inside = sum(looked[0] < f["time_ns"] < looked[1] for f in dropped)
    assert run["capture"]["lost"] == 0 and run["capture"]["packets"] > prepares("r0") > 10
    assert abs(missing - inside) <= 2 and missing > 2


def test_the_leader_dies_and_comes_back(lab):
    r = lab(load={"clients": 4, "seconds": 4},
            timeline=[{"at": "300ms", "kill": "r0"}, {"at": "1500ms", "restart": "r0"}])
    run, = r.runs
    assert run["checks"] == dict.fromkeys(CHECKS, True), run["problems"]
    assert events(r) == [("begin", "kill r0"), ("begin", "restart r0"), ("end", "restart r0"),
                         ("end", "kill r0")]
    kill, restart = run["events"]
    assert run["start_ns"] + 3 * 10**8 <= kill["begin_ns"] < restart["begin_ns"] <= kill["end_ns"]
    assert run["unavailable_ms"] > 200  # nobody is suspected sooner
    views = {o["view"] for o in r.history if o["view"] is not None}
    assert 0 in views and max(views) >= 1
    assert run["reports"]["r0"]["view"] >= 1 and len(run["reports"]) == 3
    assert len({p["op"] for p in run["reports"].values()}) == 1


def test_a_replica_that_stays_dead(lab):
    r = lab(load={"clients": 2, "seconds": 1}, timeline=[{"at": "300ms", "kill": "r2"}])
    run, = r.runs
    assert run["checks"] == dict.fromkeys(CHECKS, True)
    assert set(run["reports"]) == {"r0", "r1"} and run["events"][0]["end_ns"] is None


def test_stop_and_partition(lab):
    r = lab(rack={"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 2},
            load={"clients": 2, "seconds": 3}, capture={"around": "0"},
            timeline=[{"at": "200ms", "stop": "r1", "for": "500ms"},
                      {"at": "1s", "partition": "r0,c0 / r1,r2,c1", "for": "1s"}])
    run, = r.runs
    assert run["checks"] == dict.fromkeys(CHECKS, True), run["problems"]
    cut, = run["faults"].values()
    assert cut["taken"] == cut["seen"] == sum(f.get("rule") == 0 for f in r.faults) > 0
    # Who asks while it lasts is served by the majority, if at all: the other client waits for its end
    # (what is written down as that is a little later than the first packet that passes).
    # It began when the first packet was dropped: what is written down is when it was asked for.
    began, end = min(f["time_ns"] for f in r.faults if f.get("rule") == 0), run["events"][1]["end_ns"]
    served = {o["node"] for o in r.history if o["completed_ns"] and
              began + 10**8 < o["invoked_ns"] and o["completed_ns"] < end - 10**8}
    assert "c0" not in served
    assert {o["node"] for o in r.history if o["completed_ns"]} == {"c0", "c1"}
    assert glob.glob(r.path("capture", "*")) == []


@pytest.mark.parametrize("mode", MODES)
def test_programs_that_go_and_come_back(lab, mode):
    """While r1's program is gone r1 acks nothing in the kernel; before and after it does."""
    r = lab(xdp=mode, load={"clients": 1, "seconds": 2}, capture={"around": "3s", "packets": 0, "at": ["0ms"]},
            timeline=[{"at": "500ms", "detach": "r1 xdp"}, {"at": "700ms", "detach": "r0 tc"},
                      {"at": "900ms", "attach": "r0 tc"}, {"at": "1s", "attach": "r1 xdp"}])
    run, = r.runs
    assert run["checks"] == dict.fromkeys(CHECKS, True), run["problems"]
    # one event begins when the one before it is carried out
    going, gone, _, back = (e["begin_ns"] for e in run["events"])
    assert [e["what"] for e in run["events"]] == ["detach r1 xdp", "detach r0 tc", "attach r0 tc",
                                                 "attach r1 xdp"]
    before, without, after = set(), set(), set()
    for now, frame in r.packets("r1"):
        if frame[26:30] == address(2):
            if now < going:
                before.add(kind_of(frame))
            elif gone < now < back:
                without.add(kind_of(frame))
            elif now > back:
                after.add(kind_of(frame))
    assert "MyPrepareOK" in before and "MyPrepareOK" in after
    assert "PrepareOK" in without and "MyPrepareOK" not in without


def test_a_run_without_such_programs(lab):
    r = lab(offload=["none"], load={"clients": 1, "seconds": 1},
            timeline=[{"at": "100ms", "detach": "r1 xdp", "for": "200ms"}])
    assert r.runs[0]["events"][0]["begin_ns"] is None and events(r) == []


# --- verdicts


WIPE = [{"at": "400ms", what: node} for what in ("kill", "format") for node in ("r0", "r1", "r2")]


def test_an_experiment_that_must_fail(lab):
    """Replicas started as new ones have lost what was acknowledged: it shows, and can be expected."""
    load = {"clients": 2, "seconds": 2}
    r = lab(timeline=WIPE, load=load, status=1)
    run, = r.runs
    assert run["checks"]["linearizable"] is False and run["checks"]["no_acked_op_lost"] is False
    assert "is both" in run["problems"]["linearizable"][0]
    assert "was answered, and 0 of 3 replicas have it" in r.done.stdout
    assert r.summary["checks"]["no_acked_op_lost"] is False
    expected = {"linearizable": {"expect": False}, "no_acked_op_lost": {"expect": False}}
    lab(timeline=WIPE, load=load, checks=expected)


def test_what_is_expected_to_fail_must(lab):
    r = lab(checks={"logs_agree": {"expect": False}}, status=1)
    assert "logs_agree is not as expected" in r.done.stdout


def stale(r):
    """The last read of a value gets the one before the last."""
    reads = [o for o in r.history if o["op"].startswith("GET") and o["result"] not in (None, "NONE")]
    last = max(reads, key=lambda o: o["opnum"])
    return lambda o: dict(o, result="stale") if o == last else o


@pytest.mark.parametrize("check, name, change", [
    ("linearizable", "history.jsonl", stale),
    ("linearizable", "history.jsonl",
     lambda r: lambda o: dict(o, opnum=o["opnum"] - 1) if o["opnum"] == 250 else o),
    ("no_acked_op_lost", "journal/0-r0.jsonl", lambda r: lambda e: None if e.get("op") == 300 else e),
    ("logs_agree", "journal/0-r1.jsonl",
     lambda r: lambda e: dict(e, data="00") if e.get("op") == 300 else e),
])
def test_check_of_changed_files(lab, check, name, change):
    """The same files judged again give the same; with one line changed they do not."""
    r = lab(offload=["none"])
    assert rack("check", r.folder).returncode == 0
    if check == "no_acked_op_lost":  # one is not enough: two of three still have it
        r.rewrite("journal/0-r2.jsonl", change(r))
    r.rewrite(name, change(r))
    done = rack("check", r.folder)
    assert done.returncode == 1 and "none: %s: " % check in done.stdout, done.stdout
    again = Results(r.folder)
    assert again.runs[0]["checks"][check] is False and again.summary["checks"][check] is False
    assert again.runs[0]["problems"][check]


def test_foreign_programs(lab):
    """Nothing is known of what they hold: the verdicts say so."""
    mark = lab.folder / "mark"
    nodes = [{"name": "r2", "command": "sh -c 'echo {index} {iface} {conf} > %s; exec sleep 100'" % mark}]
    r = lab(rack={"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 1, "nodes": nodes}, status=1)
    assert r.runs[0]["checks"]["linearizable"] is True
    assert "1 of 3 replicas have no journal of ours" in r.runs[0]["checks"]["no_acked_op_lost"]
    assert mark.read_text() == "2 eth0 /run/paxrack/%s/cluster.conf\n" % NAME
    nodes = [{"name": "c0", "command": "sleep 1"}]
    r = lab(rack={"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 1, "nodes": nodes},
            checks={c: {"expect": c == "logs_agree"} for c in CHECKS})
    for check in ("linearizable", "no_acked_op_lost"):
        assert r.runs[0]["checks"][check] == "could not be told: c0 keeps no history of ours"


# --- folders, interruptions, refusals


def test_folders_are_not_overwritten(lab, tmp_path):
    file = lab.write(offload=["none"], experiment="mine")
    done = rack("run", file, "--seed", 9, cwd=tmp_path)
    folder = tmp_path / "results" / "mine-9"
    assert done.returncode == 0 and (folder / "summary.json").exists()
    assert (folder / "experiment.yaml").read_text() == file.read_text()
    before = (folder / "summary.json").read_text()
    done = rack("run", file, "--seed", 9, cwd=tmp_path)
    assert done.returncode == 1 and "is there already: give --force" in done.stderr
    assert (folder / "summary.json").read_text() == before
    (folder / "report.html").write_text("old")
    assert rack("run", file, "--seed", 9, "--force", cwd=tmp_path).returncode == 0
    assert (folder / "summary.json").read_text() != before
    assert (folder / "report.html").read_text() != "old"


def test_force_empties_nothing_else(lab, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1").write_text("...")
    done = rack("run", lab.write(), "--out", folder, "--force")
    assert done.returncode == 1 and "is no experiment's folder" in done.stderr
    assert (folder / "chapter1").read_text() == "..."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(lab, number):
    """It ends, cleans up, and judges what there is."""
    file = lab.write(load={"clients": 2, "seconds": 600}, offload=["none", "all"],
                     timeline=[{"at": "100ms", "fault": "--every 9 duplicate"}])
    folder = lab.folder / "out"
    screen, end = pty.openpty()
    process = subprocess.Popen([RACK, "run", file, "--out", folder], stdout=subprocess.PIPE, stderr=end,
                               text=True, start_new_session=True)
    os.close(end)
    text = ""
    while not re.search(r"x: none: \d\.\d s, [1-9]\d* ops/s, p99 \d+ us, fault --every 9 dup", text):
        text += os.read(screen, 65536).decode()
    process.send_signal(number)
    out = process.communicate(timeout=60)[0]
    os.close(screen)
    assert process.returncode == 1 and left_behind() == []
    r = Results(folder)
    run, = r.runs  # the second did not begin
    assert r.summary["interrupted"] and run["ops"] > 0 and "none" in out
    assert run["checks"]["linearizable"] is True and run["checks"]["logs_agree"] is True
    assert run["events"][0]["end_ns"]


def test_a_replica_that_dies_by_itself(lab):
    """That ends the experiment, whatever the checks say."""
    file = lab.write(load={"clients": 2, "seconds": 600})
    folder = lab.folder / "out"
    process = subprocess.Popen([RACK, "run", file, "--out", folder], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    part = folder / "parts" / "0-c0.jsonl"
    while not part.exists() or not part.stat().st_size:
        assert process.poll() is None
    pids = "/run/paxrack/%s/pids" % NAME
    victim, = [name for name in os.listdir(pids) if open(os.path.join(pids, name)).read() == "r1\n"]
    os.kill(int(victim.split(".")[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "replica r1 ended by itself (killed by signal 9)" in said
    assert left_behind() == [] and Results(folder).runs[0]["failed"]


def test_a_rack_that_is_up_is_somebody_s(lab):
    (lab.folder / "rack.yaml").write_text("rack: %s\nsubnet: %s\nreplicas: 3\nclients: 1\n" % (
        NAME, SUBNET))
    assert rack("up", lab.folder / "rack.yaml").returncode == 0
    done = rack("run", lab.write(), "--out", lab.folder / "out")
    assert done.returncode == 1 and "wants one of its own" in done.stderr
    assert not (lab.folder / "out").exists()
    assert rack("down", NAME).returncode == 0


WRONG = {
    "no-name": ("experiment: No Name", 1, "experiment: 'No Name' is no name"),
    "key": ("sed: 1", 3, "unexpected key: sed"),
    "xdp": ("xdp: hw", 3, "xdp: 'hw': want native or generic"),
    "offload": ("offload: [ack, fast]", 3, "offload: 'fast': want none, all"),
    "load": ("load: {seconds: 3, ops: 5}", 3, "ops: seconds says when to end already"),
    "clients": ("load: {clients: 0}", 3, "clients: want 1 to 4096"),
    "number": ("load: {clients: many}", 3, "load.clients"),
    "time": ("timeline:\n- {at: 1, kill: r0}", 4, "at: '1': want a number and us, ms or s"),
    "nothing": ("timeline:\n- {at: 1s}", 4, "at: nothing to do"),
    "two": ("timeline:\n- {at: 1s, kill: r0, stop: r1}", 4, "two things to do"),
    "second-entry": ("timeline:\n- {at: 1s, kill: r0}\n- {at: 2s, kill: r7}", 5,
                     "kill: 'r7' is no replica of " + NAME),
    "client": ("timeline:\n- {at: 1s, kill: c0}", 4, "kill: 'c0' is no replica"),
    "back": ("timeline:\n- {at: 1s, kill: r0, for: 1s}", 4, "for: nothing takes a kill back"),
    "rule": ("timeline:\n- {at: 1s, fault: '--kind Preprepare drop'}", 4, "fault: "),
    "partition": ("timeline:\n- {at: 1s, partition: 'r0 / r9'}", 4, "partition: "),
    "program": ("timeline:\n- {at: 1s, detach: r0 tcx}", 4, "detach: want a replica and xdp or tc"),
    "check": ("checks: {fast: {expect: true}}", 3, "unexpected key: fast"),
    "capture": ("capture: {around: soon}", 3, "around: 'soon': want"),
    "syntax": ("load: [", 4, "from here on it is no YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_with_line_and_key(tmp_path, name):
    text, line, says = WRONG[name]
    path = tmp_path / "wrong.yaml"
    head = "" if text.startswith("experiment") else "experiment: x\n"
    path.write_text("%srack: {rack: %s, subnet: %s, replicas: 3, clients: 1}\n%s\n" % (
        head, NAME, SUBNET, text) if head else
        "%s\nrack: {rack: %s, subnet: %s, replicas: 3, clients: 1}\n" % (text, NAME, SUBNET))
    done = rack("run", path, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("rack: %s:%d: " % (path, line)) and says in done.stderr, done.stderr
    assert not (tmp_path / "out").exists() and left_behind() == []


@pytest.mark.parametrize("arguments, says", [
    (["EXPERIMENT", "--ops", "5"], "--ops: what an experiment does stands in its file"),
    (["EXPERIMENT", "--seed", "-1"], "--seed '-1'"),
    (["EXPERIMENT", "--offload", "fast"], "--offload 'fast'"),
    (["RACK", "--seed", "1"], "--seed is for experiments"),
    (["RACK", "--force"], "--force is for experiments"),
])
def test_bad_arguments(lab, arguments, says):
    (lab.folder / "rack.yaml").write_text("rack: %s\nsubnet: %s\nreplicas: 3\nclients: 1\n" % (
        NAME, SUBNET))
    files = {"EXPERIMENT": lab.write(), "RACK": lab.folder / "rack.yaml"}
    done = rack("run", *[files.get(one, one) for one in arguments])
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments, status, says", [
    ([], 2, "want the folder of one experiment"),
    (["/nonexistent"], 2, "/nonexistent"),
])
def test_bad_arguments_of_check(arguments, status, says):
    done = rack("check", *arguments)
    assert done.returncode == status and says in done.stderr


def test_the_gallery_is_well_formed():
    """At least ten, each named as its file, each saying what to expect."""
    paths = glob.glob(os.path.join(ROOT, "topo", "experiments", "*.yaml"))
    assert len(paths) >= 10
    for path in paths:
        with open(path) as f:
            text = f.read()
        keys = yaml.safe_load(text)
        assert keys["experiment"] == os.path.basename(path)[:-len(".yaml")]
        assert keys["about"] and text.splitlines()[1].startswith("# ")
