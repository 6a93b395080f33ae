# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every case on every executor (cases.py, executors.py)."""

import pytest

from . import executors, report


def test_case(case, executor, results, failures_folder):
    """One case on one executor: each step gives what the case says."""
    results.note(case, executor.name, "failed")  # until it has held to the end
    try:
        for number, (step, outcome) in enumerate(executors.run_case(executor, executor.adapted(case))):
            lines = report.compare(step, outcome)
            if lines:
                results.begin(executor.name, lines)
                story = report.failure(case, number, step, outcome, executor.name, failures_folder)
                pytest.fail(story, pytrace=False)
    except executors.Unavailable as e:
        results.leave_out(case, executor.name, str(e))
        pytest.skip(f"{executor.name}: {e}")
    results.note(case, executor.name, "passed")
