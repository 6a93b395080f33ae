# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs every case on every executor; `--conformance` closes with a table and a count of cases.

`--object FILE.o --profile FILE.yaml` runs them on somebody else's programs (profile.py). A
case file, a profile or an object that cannot be used ends the run at once: one sentence,
exit status 2.
"""

import os
import sys

import bpf
import pytest

from . import cases, executors, model, report
from .profile import OBJECT, OURS, Profile, ProfileError

FAILURES = os.path.normpath(os.path.join(os.path.dirname(__file__), "../../build/conformance"))


class Results:
    """What became of each case on each executor."""

    def __init__(self):
        self.cases = {}
        self.verdicts = {}  # {(case name, executor): "passed" or "failed"}
        self.left_out = {}  # {reason: {executor: number of cases}}
        self.begins = {}  # {topic of the first difference: {executor: number of failures}}
        self.foreign = {}  # {reason: number of cases} that do not apply to the programs

    def note(self, case, executor, verdict):
        self.cases[case.name] = case
        self.verdicts[case.name, executor] = verdict

    def leave_out(self, case, executor, reason):
        self.verdicts.pop((case.name, executor), None)
        by_executor = self.left_out.setdefault(reason, {})
        by_executor[executor] = by_executor.get(executor, 0) + 1

    def begin(self, executor, lines):
        by_executor = self.begins.setdefault(report.topic(lines[0]), {})
        by_executor[executor] = by_executor.get(executor, 0) + 1

    def said(self, name):
        """{executor: verdict} about a case."""
        return {executor: v for (n, executor), v in self.verdicts.items() if n == name}

    def count(self):
        """(passed, failed): a case passes when no executor that ran it disagrees."""
        failed = {name for (name, _), verdict in self.verdicts.items() if verdict == "failed"}
        return len(self.cases) - len(failed), len(failed)

    def table(self):
        """Promise x executor: passed/run; what was left out; who disagreed."""
        ran = [name for name in cases.EXECUTORS if any(e == name for _, e in self.verdicts)]
        lines = ["promise " + "".join(f"{name:>12}" for name in ran)]
        for promise in cases.PROMISES:
            lines.append(f"{promise:8}" + "".join(f"{self._share(promise, name):>12}" for name in ran))
        for reason, number in self.foreign.items():
            lines.append(f"cases that do not apply: {number}: {reason}")
        for reason, by_executor in self.left_out.items():
            shown = ", ".join(f"{n} of {executor}" for executor, n in by_executor.items())
            lines.append(f"cases left out: {shown}: {reason}")
        for name, case in self.cases.items():
            said = self.said(name)
            if "failed" in said.values():
                told = ", ".join(f"{executor} {verdict}" for executor, verdict in said.items())
                lines.append(f"{name} ({case.at()}): {told}")
        return lines

    def topics(self):
        """Failures by what they begin with, the most frequent first."""
        if sum(sum(one.values()) for one in self.begins.values()) < 2:
            return []
        order = sorted(self.begins.items(), key=lambda item: -max(item[1].values()))
        return [f"failures that begin with \"{topic}\": " +
                ", ".join(f"{n} of {executor}" for executor, n in by_executor.items())
                for topic, by_executor in order]  # fmt: skip

    def _share(self, promise, executor):
        named = [name for name, case in self.cases.items() if promise in case.promises]
        verdicts = [self.verdicts.get((name, executor)) for name in named]
        return f"{verdicts.count('passed')}/{len(verdicts) - verdicts.count(None)}"


RESULTS = Results()


def pytest_addoption(parser):
    parser.addoption(
        "--conformance", action="store_true", help="close with a table, promise x executor, and a count of cases"
    )
    parser.addoption("--object", metavar="FILE.o", help="test the programs of this object file, not ours")
    parser.addoption("--profile", metavar="FILE.yaml", help="its names and layout (default: paxrack.yaml)")


SUBJECT = pytest.StashKey()  # (object file, Profile): whose programs are tested


def subject_of(config):
    if SUBJECT not in config.stash:
        path = config.getoption("--object", default=None)
        profile = Profile(config.getoption("--profile", default=None) or OURS)
        config.stash[SUBJECT] = (os.path.relpath(path) if path else OBJECT, profile)
    return config.stash[SUBJECT]


def is_foreign(config):
    return bool(config.getoption("--object", default=None) or config.getoption("--profile", default=None))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Before anything runs: are the files that were given any good?"""
    try:
        cases.load_all()
        path, profile = subject_of(config)
        if is_foreign(config) and os.geteuid() == 0:
            programs = executors.open_programs(path, profile)
            programs.load(model.State())
            programs.close()
    except (cases.CaseError, ProfileError) as e:
        print(e, file=sys.stderr)
        return 2
    except bpf.BpfError as e:
        print(f"{path} does not fit {profile.path}: {e.strerror}", file=sys.stderr)
        return 2
    return None


def pytest_report_header(config):
    if not is_foreign(config):
        return None
    path, profile = subject_of(config)
    return f"object: {path}, profile: {profile.path} ({profile.data.get('about', 'no word about it')})"


def pytest_ignore_collect(collection_path, config):
    """Tests of the suite itself say nothing about somebody else's programs."""
    wanted = ["test_conformance.py"]
    if is_foreign(config) and collection_path.suffix == ".py":
        wanted += [] if subject_of(config)[1].mapped else ["test_frozen_late.py", "test_raised_once.py"]
        return collection_path.name not in wanted or None
    return None


@pytest.fixture
def subject(request):
    return subject_of(request.config)


@pytest.fixture
def results():
    return RESULTS


@pytest.fixture
def failures_folder():
    return FAILURES


@pytest.fixture(scope="session")
def executor(request):
    """One of the executors, opened once."""
    try:
        opened = executors.OPEN[request.param](*subject_of(request.config))
    except executors.Unavailable as e:
        pytest.skip(f"{request.param}: {e}")
    yield opened
    opened.close()


def pytest_generate_tests(metafunc):
    if not {"executor", "case"} <= set(metafunc.fixturenames):
        return
    try:
        every, pairs = cases.load_all(), []
    except cases.CaseError as e:
        pytest.fail(str(e), pytrace=False)
    profile, foreign = subject_of(metafunc.config)[1], is_foreign(metafunc.config)
    for name in executors.OPEN:
        if foreign and name == "model":
            continue  # it has nothing to say about somebody else's programs
        for case in every:
            if foreign and profile.why_not(case):
                continue
            if name in case.skip:
                RESULTS.leave_out(case, name, case.skip[name])
            else:
                pairs.append(pytest.param(name, case, id=f"{name}-{case.name}"))
    for case in every if foreign else ():
        reason = profile.why_not(case)
        if reason:
            RESULTS.foreign[reason] = RESULTS.foreign.get(reason, 0) + 1
    metafunc.parametrize("executor, case", pairs, indirect=["executor"], scope="session")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    if session.config.getoption("--conformance", default=False) or is_foreign(session.config):
        passed, failed = RESULTS.count()
        print("\n".join([""] + RESULTS.table() + RESULTS.topics() + [f"{passed} passed, {failed} failed"]))
