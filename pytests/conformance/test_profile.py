# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Somebody else's programs: objects in the published layout, compiled here from objects/.

Two that behave pass every case that applies, each of those with one line made wrong fails the
case that is there for it, and what does not fit is told in one sentence.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from . import cases, executors, profile, report

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
ELECTRODE = os.path.join(HERE, "profiles/electrode.yaml")
CASES = {case.name: case for case in cases.load_all()}


def _compile(source, out):
    flags = f"-O2 -g -target bpf -mcpu=v3 -Wall -Werror -I{ROOT} -I/usr/include/{platform.machine()}-linux-gnu"
    done = subprocess.run(["clang", *flags.split(), "-c", source, "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(out)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    names = ("electrode", "recursive")
    return {n: _compile(os.path.join(HERE, f"objects/{n}.bpf.c"), folder / f"{n}.o") for n in names}


def _pytest(*arguments, suite=HERE, cwd=ROOT):
    command = [sys.executable, "-m", "pytest", suite, "-q", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


# -- objects that behave ---------------------------------------------------------------------


def test_an_object_that_behaves_passes_what_applies(objects):
    select = "testrun or broadcast or prepare-whole"
    done = _pytest("--object", objects["electrode"], "--profile", ELECTRODE, "-k", select)
    assert done.returncode == 0, done.stdout
    passed = int(re.search(r"^(\d+) passed, 0 failed$", done.stdout, re.M)[1])
    assert passed + sum(map(int, re.findall(r"do not apply: (\d+)", done.stdout))) == len(CASES)
    assert re.search(r"cases that do not apply: \d+: no lease", done.stdout)
    assert re.search(r"promise +testrun +generic +native", done.stdout)


def test_a_broadcast_that_recurses_passes(objects):
    done = _pytest("--object", objects["recursive"], "--profile", ELECTRODE, "-k", "broadcast or clone")
    assert done.returncode == 0 and ", 0 failed" in done.stdout, done.stdout


def test_the_tap_lets_the_recursion_run(objects):
    """Else the clones of clones would be missing, and nothing would say so."""
    executor = executors.TestRunExecutor(objects["recursive"], profile.Profile(ELECTRODE))
    case = executor.adapted(CASES["captured-prepare-broadcast"])
    try:
        ((step, outcome),) = executors.run_case(executor, case)
    finally:
        executor.close()
    assert len(outcome.frames) == 2 and not report.compare(step, outcome)


# -- and some that do not ----------------------------------------------------------------------

DEFECTS = {
    "forgets the MAC swap": (
        "\t__builtin_memcpy(f.eth->h_dest, f.eth->h_source, ETH_ALEN);\n", "",
        "prepare-whole", "frame out: Ethernet destination: 02:70:00:00:00:02, expected 02:70:00:00:00:01"),
    "folds a checksum once": (
        "f.ip->check = ~fold(ip_sum(f.ip));\n\tf.udp->source",
        "{ __u64 s = ip_sum(f.ip); s = (s & 0xffffffff) + (s >> 32); f.ip->check = ~((s & 0xffff) + (s >> 16)); }\n"
        "\tf.udp->source",
        "ack-ip-checksum-that-needs-two-folds", "one fold short"),
    "forgets a length": (
        "\tf.udp->len = bpf_htons(sizeof(*f.udp) + sizeof(*ack));\n", "",
        "prepare-whole", "frame out: UDP length: 113, expected 84"),
    "acks the newest op": (
        "op = *handed;\n\tf =", "op = r->last;\n\tf =",
        "again-an-older-one-names-that-one", "frame out: op: 10, expected 4"),
    "acks what it does not store": (
        "bpf_tail_call(ctx, &map_progs_xdp, WRITE_BUFFER);", "bpf_tail_call(ctx, &map_progs_xdp, PREPARE_REPLY);",
        "prepare-whole", "slot 0: 0 bytes, expected 48"),
    "counts a vote twice": (
        "before != votes->bits && ", "before != 77 && ",
        "three-replicas-the-same-vote-again", "verdict: PASS, expected DROP"),
    "counts a vote from anybody": (
        "!is_from(&f, index) || ", "",
        "ack-from-a-client", "state: acked[1]: (6, 12), expected (6, 10)"),
    "does not test the checksum": (
        "\treturn fold(sum) == 0xffff;", "\treturn fold(sum) != 0;",
        "prepare-udp-checksum-wrong", "verdict: TX, expected PASS"),
    "drops what is stale": (
        "if (!fast || r->status", "if (fast && fast[0] < r->view)\n\t\treturn XDP_DROP;\n\tif (!fast || r->status",
        "view-before-the-current", "verdict: DROP, expected PASS"),
    "skips the last peer": (
        "i < REPLICAS; i++)\n\t\tif (i != self)", "i < REPLICAS - 1; i++)\n\t\tif (i != self)",
        "broadcast-to-two-peers", "frames out: 1, expected 2"),
    "leaves the flag set": (
        "\tfast[0] &= ~WIRE_BROADCAST;\n", "",
        "broadcast-to-two-peers", "frames out: 0, expected 2"),
}  # fmt: skip


def _compile_wrong(defect, folder):
    old, new = DEFECTS[defect][:2]
    with open(os.path.join(HERE, "objects/electrode.bpf.c"), encoding="utf-8") as f:
        source = f.read()
    assert source.count(old) == 1
    (folder / "wrong.bpf.c").write_text(source.replace(old, new))
    return _compile(folder / "wrong.bpf.c", folder / "wrong.o")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_and_told(defect, tmp_path):
    name, told = DEFECTS[defect][2:]
    path = _compile_wrong(defect, tmp_path)
    executor = executors.TestRunExecutor(path, profile.Profile(ELECTRODE))
    try:
        for step, outcome in executors.run_case(executor, executor.adapted(CASES[name])):
            lines = report.compare(step, outcome)
            if lines:
                break
    finally:
        executor.close()
    assert any(told in line for line in lines), lines


def test_a_run_that_fails_and_its_junit_xml(tmp_path):
    path, xml = _compile_wrong("counts a vote twice", tmp_path), tmp_path / "report.xml"
    done = _pytest(
        "--object", path, "--profile", ELECTRODE, "-k", "three-replicas", f"--junitxml={xml}"
    )
    assert done.returncode == 1, done.stdout
    assert 'failures that begin with "verdict: PASS, expected DROP": 4 of testrun, 4 of generic' in done.stdout
    assert re.search(r"^\d+ passed, 4 failed$", done.stdout, re.M)
    told = {case.get("name"): case.find("failure") for case in ET.parse(xml).iter("testcase")}
    assert told["test_case[testrun-three-replicas-led-by-the-last]"] is None
    text = told["test_case[native-three-replicas-the-same-vote-again]"].text
    place = r"three-replicas-the-same-vote-again \(pytests/conformance/cases/three.yaml:\d+\) on native:"
    assert re.search(place + r"\n  verdict: PASS, expected DROP\n", text)
    assert re.search(r"\n  packet: Ether\(.*\n  saved: .*\.pcap ", text)


# -- what does not fit -------------------------------------------------------------------------

GOOD = open(ELECTRODE, encoding="utf-8").read()
MISFITS = {
    "an unknown key": ("layout: maps", "layuot: maps", r":5: a profile has no key 'layuot'"),
    "an unknown layout": ("layout: maps", "layout: map", r":5: layout: elec or maps"),
    "no entry": ("  xdp: fastPaxos_main\n", "", r"programs: xdp, .* is missing"),
    "no such program": ("fastPaxos_main", "fast_main", r"has no program fast_main \(it has: .*fastPaxos_main"),
    "no such tail call": ("3: WriteBuffer_main", "3: Write", r"has no program Write "),
    "no such table": ("map_progs_xdp:", "map_progs:", r"tail_calls: there is no map map_progs "),
    "no such index": ("4: PrepareFast", "5: PrepareFast", r"map map_progs_xdp has 5 entries, none for index 5"),
    "no such map": ("view: {map: map_ctr_state", "view: {map: map_state", r"view: there is no map map_state"),
    "another size": ("size: 32", "size: 40", r"map map_ctr_state has values of 32 bytes, the profile says 40"),
    "a field outside": ("at: 24, type: u64", "at: 28, type: u64", r"last at 28 does not fit map map_ctr_state"),
    "an unknown type": ("at: 24, type: u64", "at: 24, type: u65", r":24: last: type: one of u8"),
    "no such fact": ("{port: 12345}", "{prt: 12345}", r":\d+: unless has no key 'prt'"),
    "no such reason": ("reasons: [no-checksum]", "reasons: [no-sum]", r":\d+: .*there is no 'no-sum'"),
    "no because": ("because: no lease, ", "", r":\d+: leave_out: because"),
    "not YAML": ("layout: maps", "layout: [maps", r"wrong.yaml:\d+: "),
    "no ring named": ("ring: map_prepare_buffer, ", "", r":\d+: log: {ring"),
    "a type that is a list": ("at: 24, type: u64", "at: 24, type: [u64]", r":24: last: type"),
    "no ring": ("ring: map_prepare_buffer", "ring: map_quorum", r"map map_quorum is not a ring buffer"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_a_profile_that_does_not_fit(objects, tmp_path, what):
    old, new, told = MISFITS[what]
    assert old in GOOD
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(profile.ProfileError) as e:
        executors.open_programs(objects["electrode"], profile.Profile(str(path)))
    assert re.search(told, str(e.value)) and "\n" not in str(e.value), str(e.value)


def _refused(*arguments, **options):
    """Exit status 2 and one sentence; what it says."""
    done = _pytest(*arguments, **options)
    assert done.returncode == 2 and done.stdout == "", (done.returncode, done.stdout)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_run_ends_with_one_sentence(objects, tmp_path):
    (tmp_path / "text.o").write_text("no object")
    mine = objects["electrode"]
    assert "there is no such object file" in _refused("--object", "nothing.o")
    assert "cannot be read as a profile" in _refused("--object", mine, "--profile", "nothing.yaml")
    assert "text.o: cannot be loaded" in _refused("--object", str(tmp_path / "text.o"))
    assert "does not fit" in _refused("--object", mine), "ours is the default profile"
    (tmp_path / "out.yaml").write_text(GOOD.replace("other: 1", "other: -1"))
    told = _refused("--object", mine, "--profile", str(tmp_path / "out.yaml"))
    assert "map map_ctr_state: -1 at 0 does not fit u32" in told


def test_a_wrong_case_file_is_named_with_its_line(tmp_path):
    """In a copy of the suite: the real one is in use."""
    shutil.copytree(os.path.join(ROOT, "pytests"), tmp_path / "pytests", symlinks=True)
    shutil.copytree(os.path.join(ROOT, "bpf"), tmp_path / "bpf")
    path = tmp_path / "pytests/conformance/cases/gate.yaml"
    path.write_text(path.read_text().replace("expect: PASS lease", "expect: PASS leese", 1))
    line = path.read_text()[: path.read_text().index("leese")].count("\n") + 1
    suite = str(tmp_path / "pytests/conformance")
    object_path = os.path.join(ROOT, "build/replica.bpf.o")
    told = _refused("--object", object_path, suite=suite, cwd=tmp_path)
    assert told == f"pytests/conformance/cases/gate.yaml:{line}: expect: a verdict and a reason of bpf/reasons.h\n"
