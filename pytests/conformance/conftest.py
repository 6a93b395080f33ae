# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs every case on every executor; `--conformance` closes with a table and a count of cases."""

import os

import pytest

from . import cases, executors

FAILURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/conformance")


class Results:
    """What became of each case on each executor."""

    def __init__(self):
        self.cases = {}
        self.verdicts = {}  # {(case name, executor): "passed", "failed" or "left out"}
        self.skips = {}  # {(executor, reason): [case names]}

    def _note(self, case, executor, verdict):
        self.cases[case.name] = case
        self.verdicts[case.name, executor] = verdict

    def passed(self, case, executor):
        self._note(case, executor, "passed")

    def fail(self, case, executor):
        self._note(case, executor, "failed")

    def skip(self, case, executor, reason):
        self._note(case, executor, "left out")
        self.skips.setdefault((executor, reason), []).append(case.name)

    def count(self):
        """(passed, failed): a case passes when no executor that ran it disagrees."""
        failed = {name for (name, _), verdict in self.verdicts.items() if verdict == "failed"}
        return len(self.cases) - len(failed), len(failed)

    def table(self):
        """Promise x executor: passed/run."""
        ran = [name for name in cases.EXECUTORS if any(e == name for _, e in self.verdicts)]
        lines = ["promise " + "".join(f"{name:>12}" for name in ran)]
        for promise in cases.PROMISES:
            row = f"{promise:8}"
            for executor in ran:
                verdicts = [
                    self.verdicts.get((case.name, executor))
                    for case in self.cases.values()
                    if promise in case.promises
                ]
                good, bad = verdicts.count("passed"), verdicts.count("failed")
                row += f"{f'{good}/{good + bad}':>12}"
            lines.append(row)
        for (executor, reason), names in self.skips.items():
            lines.append(f"left out of {executor}: {len(names)} cases: {reason}")
        for name in self.cases:
            said = {e: v for (n, e), v in self.verdicts.items() if n == name and v != "left out"}
            if "failed" in said.values():
                told = ", ".join(f"{e} {v}" for e, v in said.items())
                lines.append(f"{name} ({self.cases[name].at()}): {told}")
        return lines


RESULTS = Results()


def pytest_addoption(parser):
    parser.addoption(
        "--conformance", action="store_true", help="close with a table, promise x executor, and a count of cases"
    )


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
        opened = executors.OPEN[request.param]()
    except executors.Unavailable as e:
        pytest.skip(f"{request.param}: {e}")
    yield opened
    opened.close()


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        every = cases.load_all()
        metafunc.parametrize("executor", list(executors.OPEN), indirect=True, scope="session")
        metafunc.parametrize("case", every, ids=[case.name for case in every])


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    if session.config.getoption("--conformance", default=False):
        passed, failed = RESULTS.count()
        print("\n".join([""] + RESULTS.table() + [f"{passed} passed, {failed} failed"]))
