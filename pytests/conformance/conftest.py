# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs every case on every executor; `--conformance` closes with a table and a count of cases."""

import os

import pytest

from . import cases, executors

FAILURES = os.path.normpath(os.path.join(os.path.dirname(__file__), "../../build/conformance"))


class Results:
    """What became of each case on each executor."""

    def __init__(self):
        self.cases = {}
        self.verdicts = {}  # {(case name, executor): "passed" or "failed"}
        self.left_out = {}  # {(reason): {executor: number of cases}}

    def note(self, case, executor, verdict):
        self.cases[case.name] = case
        self.verdicts[case.name, executor] = verdict

    def leave_out(self, case, executor, reason):
        self.verdicts.pop((case.name, executor), None)
        by_executor = self.left_out.setdefault(reason, {})
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
        for reason, by_executor in self.left_out.items():
            shown = ", ".join(f"{n} of {executor}" for executor, n in by_executor.items())
            lines.append(f"cases left out: {shown}: {reason}")
        for name, case in self.cases.items():
            said = self.said(name)
            if "failed" in said.values():
                told = ", ".join(f"{executor} {verdict}" for executor, verdict in said.items())
                lines.append(f"{name} ({case.at()}): {told}")
        return lines

    def _share(self, promise, executor):
        named = [name for name, case in self.cases.items() if promise in case.promises]
        verdicts = [self.verdicts.get((name, executor)) for name in named]
        return f"{verdicts.count('passed')}/{len(verdicts) - verdicts.count(None)}"


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
    if "case" not in metafunc.fixturenames:
        return
    every, pairs = cases.load_all(), []
    for name in executors.OPEN:
        for case in every:
            if name in case.skip:
                RESULTS.leave_out(case, name, case.skip[name])
            else:
                pairs.append(pytest.param(name, case, id=f"{name}-{case.name}"))
    metafunc.parametrize("executor, case", pairs, indirect=["executor"], scope="session")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    if session.config.getoption("--conformance", default=False):
        passed, failed = RESULTS.count()
        print("\n".join([""] + RESULTS.table() + [f"{passed} passed, {failed} failed"]))
