# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An experiment's report: in a real browser, against the kernel's own counters, and what is refused."""
import collections
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from browser import Browser
from conftest import BUILD

sys.path.insert(0, BUILD)
import report_capture  # noqa: E402

RACK = os.path.join(BUILD, "rack")
NAME = "rp%d" % os.getpid()
SUBNET = "10.99.%d.0/24" % (os.getpid() % 256)
SECTIONS = ["checks", "runs", "time", "latency", "diagrams", "packets"]
RULE = "--from r0 --to r1 --kind Prepare --every 3 drop"


def rack(*arguments, **options):
    return subprocess.run([RACK, *map(str, arguments)], capture_output=True, text=True, timeout=180, **options)


def experiment(folder, **keys):
    path = folder / "experiment.yaml"
    keys = {"experiment": "pictures", "about": "a <b>\"rule\"</b> & a crash",
            "rack": {"rack": NAME, "subnet": SUBNET, "replicas": 3, "clients": 1}, **keys}
    path.write_text(yaml.safe_dump(keys, sort_keys=False))
    return path


def run(folder, *options, **keys):
    try:
        return rack("run", experiment(folder, **keys), "--out", folder / "out", *options)
    finally:
        if os.path.exists("/run/paxrack/" + NAME):
            rack("down", NAME)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of an experiment with a rule and a crash, two runs."""
    folder = tmp_path_factory.mktemp("report")
    done = run(folder, offload=["none", "all"], load={"clients": 1, "seconds": 2},
               capture={"at": ["200ms"]}, timeline=[{"at": "300ms", "fault": RULE, "for": "300ms"},
                                                    {"at": "800ms", "kill": "r0"}])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pictures: %s/out/report.html\n" % folder in done.stdout
    return folder / "out"


def read(folder):
    """(packets, summary)"""
    with open(folder / "summary.json") as f:
        summary = json.load(f)
    with open(folder / "faults.jsonl") as f:
        faults = [json.loads(line) for line in f]
    return report_capture.read_packets(str(folder), summary, faults), summary


@pytest.fixture
def results(original, tmp_path):
    shutil.copytree(original, tmp_path / "results", ignore=shutil.ignore_patterns("journal"))  # of no use here
    return tmp_path / "results"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(str(tmp_path_factory.mktemp("browser"))) as one:
        yield one


# --- in a browser


BOXES = """
[...document.querySelectorAll('svg.spacetime:not(.legend)')].map(svg =>
  [...svg.querySelectorAll('text')].map(t => { const b = t.getBBox();
    return [t.getAttribute('class'), t.textContent, b.x, b.y, b.x + b.width, b.y + b.height]; }))
"""
OVERLAP = 2  # a line's box is higher than its letters


def test_in_a_browser(original, browser):
    page = browser.open(original / "report.html")
    assert page.said == []
    assert page.fetched == ["file://%s/report.html" % original]
    assert page.run("document.title") == "pictures, seed 1"
    assert page.run("document.querySelector('.about').textContent") == 'a <b>"rule"</b> & a crash'
    assert page.run("[...document.querySelectorAll('section')].map(s => s.id)") == SECTIONS
    for name in SECTIONS:
        width, height, text = page.run(
            "(s => [s.offsetWidth, s.offsetHeight, s.innerText.length])(document.getElementById('%s'))" % name)
        assert width > 800 and height > 80 and text > 40, name
    # one column: nothing to scroll sideways
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    sizes = page.run("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map("
                     "b => [b.width, b.height])")
    assert len(sizes) == 2 + 1 + 1 + 4  # over time, latency, legend, a rule and a crash in each run
    assert all(width > 800 and height > 30 for width, height in sizes)
    # ids are said once, or one plot's clip path is another's
    assert page.run("(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))") == 0
    assert len(page.pdf()) > 20000


def test_what_it_says(original, browser):
    with open(original / "summary.json") as f:
        summary = json.load(f)
    page = browser.open(original / "report.html")
    text = {name: page.run("document.getElementById('%s').innerText" % name) for name in SECTIONS}
    assert "All checks hold" in page.run("document.querySelector('.verdict').innerText")
    assert text["checks"].count("yes") == 6
    for number in summary["runs"]:
        assert "{:,}".format(number["ops"]).replace(",", "\u202f") in text["runs"]
    assert text["time"].count("fault " + RULE + " at ") == 2
    assert text["diagrams"].count("dropped by rule 1") >= 2 and "nobody is there" in text["diagrams"]
    assert "acked in XDP" in text["diagrams"] and "completes a quorum" in text["diagrams"]
    assert "StartView v1" in text["diagrams"]
    assert "stored, published, acked" in text["packets"]  # bpf/reasons.h's own words


def test_no_label_covers_another(original, browser):
    page = browser.open(original / "report.html")
    width = 1000
    for texts in page.run(BOXES):
        assert len(texts) > 40
        for kind, words, left, top, right, bottom in texts:
            assert left >= 0 and right <= width, words
        for kinds in (("label",), ("time", "time event"), ("said", "bad")):
            boxes = [box for box in texts if box[0] in kinds]
            for i, a in enumerate(boxes):
                for b in boxes[i + 1:]:
                    apart = a[4] <= b[2] or b[4] <= a[2] or a[5] - OVERLAP <= b[3] or b[5] - OVERLAP <= a[3]
                    assert apart, (a, b)


@pytest.mark.parametrize("planted, said", [
    ("<script>throw new Error('planted')</script>", "Uncaught"),
    ("<script>console.error('planted')</script>", "planted"),
    ("<img src='planted.png'>", "ERR_FILE_NOT_FOUND"),
])
def test_a_page_that_is_broken_is_noticed(results, browser, planted, said):
    path = results / "report.html"
    path.write_text(path.read_text().replace("</body>", planted + "</body>"))
    page = browser.open(path)
    assert any(said in one for one in page.said), page.said


# --- what it tells of the kernel


def test_deduced_verdicts_are_the_kernel_s(tmp_path):
    """All packets of a run were captured: the sums are what the programs counted themselves."""
    done = run(tmp_path, offload=["none", "all"], load={"clients": 2, "ops": 1500},
               capture={"around": "60s", "packets": 0, "at": ["0ms"]}, timeline=[{"at": "20ms", "fault": RULE}])
    assert done.returncode == 0, done.stdout + done.stderr
    packets, summary = read(tmp_path / "out")
    without, kernel = summary["runs"]
    assert without["capture"]["lost"] == kernel["capture"]["lost"] == 0
    assert {p.at_receiver for p in packets if p.run == 0} == {None}
    found = collections.Counter(p.at_receiver for p in packets if p.run == 1)
    counted = collections.Counter(kernel["counters"])
    # what was sent again for the last operations was not captured any more: a few
    assert 0 <= counted["ack"] + counted["ack-again"] - found[report_capture.ACKED] <= 5
    leader = [found[key] for key in (report_capture.QUORUM, report_capture.ABSORBED, report_capture.AGAIN)]
    assert 0 <= counted["quorum"] + counted["absorbed"] + counted["ok-again"] - sum(leader) <= 5
    assert found[report_capture.ACKED] > 100
    assert abs(leader[0] - counted["quorum"]) <= 0.02 * counted["quorum"]  # two acks at once, on two CPUs
    assert counted["absorbed"] > 10
    # each line of the log is one packet that did not arrive
    lost = [p for p in packets if p.fate and p.fate[0] == "drop"]
    assert len(lost) == sum(rule["taken"] for rule in kernel["faults"].values()) + sum(
        rule["taken"] for rule in without["faults"].values()) > 5
    assert all(p.arrived is None and p.target == "r1" for p in lost)
    unseen = [p for p in packets if p.arrived is None and not p.fate and p.target != "all"]
    assert len(unseen) <= 2, [p.label() for p in unseen]  # on their way when the capture ended


# --- again, around a time, and what is refused


def test_around_a_time(results, browser):
    before = (results / "report.html").read_text()
    (results / "report.html").unlink()
    done = rack("report", results)
    assert (done.returncode, done.stderr) == (0, "")
    assert (results / "report.html").read_text() == before  # nothing in it depends on when it was made
    packets, summary = read(results)
    times = ["%dms" % ((p.sent - summary["runs"][1]["start_ns"]) / 1e6) for p in packets if p.run == 1]
    assert rack("report", results, "--around", times[0], "--around", times[-1]).returncode == 0
    page = browser.open(results / "report.html")
    titles = page.run("[...document.querySelectorAll('#diagrams h3')].map(h => h.innerText)")
    asked = [title for title in titles if title.startswith("Around")]
    assert len(titles) == 4 + len(asked)
    assert {"Around %s, offload all" % times[0], "Around %s, offload all" % times[-1]} <= set(asked)


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def forget_key(folder):
    summary = json.loads((folder / "summary.json").read_text())
    del summary["runs"][1]["events"][0]["begin_ns"]
    (folder / "summary.json").write_text(json.dumps(summary))


def empty_captures(folder):
    shutil.rmtree(folder / "capture")


REFUSED = {
    "nothing": (None, [], 2, "want the folder of one experiment"),
    "two": (None, ["DIR", "DIR"], 2, "want the folder of one experiment"),
    "option": (None, ["DIR", "--about", "2s"], 2, "'--about'"),
    "no-folder": (None, ["/nonexistent"], 2, "/nonexistent is no experiment's folder"),
    "no-time": (None, ["DIR", "--around"], 2, "'--around'"),
    "no-unit": (None, ["DIR", "--around", "2"], 2, "--around '2': want a number and us, ms or s"),
    "too-late": (None, ["DIR", "--around", "99s"], 1, "--around 99s: no run lasted so long"),
    "not-captured": (empty_captures, ["DIR", "--around", "1s"], 1, "no packet was captured then"),
    "no-summary": (remove("summary.json"), ["DIR"], 2, "it has no summary.json"),
    "no-json": (write("summary.json", "{"), ["DIR"], 1, "summary.json is not what an experiment wrote"),
    "a-list": (write("summary.json", "[]"), ["DIR"], 1, "summary.json is not what an experiment wrote"),
    "no-key": (forget_key, ["DIR"], 1, "KeyError('begin_ns')"),
    "no-history": (remove("history.jsonl"), ["DIR"], 1, "history.jsonl: No such file"),
    "no-operation": (write("history.jsonl", "{}\n"), ["DIR"], 1, "history.jsonl is not what"),
    "no-fault": (write("faults.jsonl", "drop\n"), ["DIR"], 1, "faults.jsonl is not what"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(results, name):
    spoil, arguments, status, says = REFUSED[name]
    if spoil:
        spoil(results)
    before = (results / "report.html").read_text()
    done = rack("report", *[results if one == "DIR" else one for one in arguments])
    assert (done.returncode, done.stdout) == (status, "") and says in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert (results / "report.html").read_text() == before
    assert not (results / "report.html.new").exists()


def test_captures_cut_short(results):
    """A disk that was full: what there is can be read."""
    path = results / "capture" / "r1.pcap"
    path.write_bytes(path.read_bytes()[:-7])
    (results / "capture" / "r2.pcap").write_bytes(b"")
    assert rack("report", results).returncode == 0


def test_without_matplotlib(tmp_path):
    """No picture, one sentence; what was found out is worth the same."""
    (tmp_path / "matplotlib.py").write_text("raise ImportError('no', name='matplotlib')\n")
    os.environ["PYTHONPATH"] = str(tmp_path)
    try:
        done = run(tmp_path, load={"clients": 1, "ops": 50})
    finally:
        del os.environ["PYTHONPATH"]
    assert done.returncode == 0 and (tmp_path / "out" / "summary.json").exists()
    said = [line for line in done.stderr.splitlines() if "waiting for another" not in line]
    assert len(said) == 1 and "python3-matplotlib, which is not installed" in said[0]
    assert not (tmp_path / "out" / "report.html").exists()
    assert rack("report", tmp_path / "out").returncode == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "No packet was captured" in text  # nothing happened
