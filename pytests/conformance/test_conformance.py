# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every case on every executor (cases.py, executors.py)."""

import pytest

from . import executors, report


def test_case(case, executor, results, failures_folder):
    """One case on one executor: each step gives what the case says."""
    if executor.name in case.skip:
        results.skip(case, executor.name, case.skip[executor.name])
        pytest.skip(f"{executor.name}: {case.skip[executor.name]}")
    for number, (step, outcome) in enumerate(executors.run_case(executor, case)):
        if report.compare(step, outcome):
            results.fail(case, executor.name)
            pytest.fail(
                report.failure(case, number, step, outcome, executor.name, failures_folder), pytrace=False
            )
    results.passed(case, executor.name)
