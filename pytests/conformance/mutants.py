# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Is the suite any good? It runs against our programs with one defect each, and must find each.

    mutants/NAME.patch   what is wrong, one sentence
                         Breaks: the promise
                         Test: the test that sees it, if no packet case can (a race of two CPUs)

A mutant is a tree of its own in build/mutants/NAME: bpf/ patched, build/ with its object, pytests/
a link, so that the tests in it load that object. It is killed by the first case that fails, or
else by its test. One that does not apply, compile or load is a mistake in the suite, no kill; so
are two whose failures are the same in every case, for then one of them tells nothing.

    make mutants [T='NAME NAME']
"""

import collections
import concurrent.futures
import glob
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import bpf

from . import cases, executors, profile, report

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
PATCHES = os.path.join(HERE, "mutants")
BUILD = os.path.join(ROOT, "build/mutants")
HEADER = re.compile(r"(?P<about>.+(?:\n.+)*?)\nBreaks: (?P<promise>[SL]\d+)\n(?:Test: (?P<test>.+)\n)?\n---")


class MutantError(Exception):
    """A mutant that cannot be judged; the text says why."""


class Mutant(NamedTuple):
    name: str
    path: str  # of its patch; none: the programs as they are
    about: str
    promise: str
    test: str  # arguments of pytest, or None


class Killed(NamedTuple):
    by: str  # name of a case, or a test
    lines: tuple  # what was wrong


def read(path):
    """The mutant that a patch describes."""
    with open(path, encoding="utf-8") as f:
        header = HEADER.match(f.read())
    if not header:
        raise MutantError(f"{os.path.relpath(path)}: begins with one sentence and `Breaks: PROMISE`")
    name = os.path.basename(path)[: -len(".patch")]
    return Mutant(name, path, header["about"], header["promise"], header["test"])


def read_all(folder=PATCHES):
    return [read(path) for path in sorted(glob.glob(os.path.join(folder, "*.patch")))]


# -- building --------------------------------------------------------------------------------


def _run(command, cwd, what):
    # Not the make that started us: its jobserver is not ours.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MutantError(f"{what}:\n{done.stdout}{done.stderr}".rstrip())


def copy(tree):
    """A new tree with the programs as they are."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "bpf"), os.path.join(tree, "bpf"))
    os.symlink(os.path.join(ROOT, "pytests"), os.path.join(tree, "pytests"))


def apply(mutant, tree, *options):
    """The patch of a mutant, to a tree."""
    command = ["patch", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", *options, "-i", mutant.path]
    _run(command, tree, f"{os.path.relpath(mutant.path)} does not apply to bpf/ any more")


def build(mutant, folder=BUILD):
    """The object of a mutant, as the Makefile makes it."""
    tree = os.path.join(folder, mutant.name)
    copy(tree)
    if mutant.path:
        apply(mutant, tree)
    command = ["make", "-f", os.path.join(ROOT, "Makefile"), "B=build", "build/replica.bpf.o"]
    _run(command, tree, f"{mutant.name} does not compile")
    return os.path.join(tree, "build/replica.bpf.o")


# -- judging ---------------------------------------------------------------------------------


def failures(path, every):
    """Yields a Killed for each case that fails on an object, on BPF_PROG_TEST_RUN."""
    executor = executors.TestRunExecutor(path)
    try:
        for case in every:
            if executor.name not in case.skip:
                lines = _differences(executor, case)
                if lines:
                    yield Killed(case.name, tuple(lines))
    except (bpf.BpfError, profile.ProfileError) as e:
        raise MutantError(f"{os.path.relpath(path)}: {e}") from None
    finally:
        executor.close()


def _differences(executor, case):
    """What is wrong at the first step of a case that fails."""
    try:
        for number, (step, outcome) in enumerate(executors.run_case(executor, case)):
            lines = report.compare(step, outcome)
            if lines:
                return [f"step {number + 1}: {line}" for line in lines] if number else lines
    except executors.Unavailable:
        pass
    except AssertionError as e:  # a program wrote where it must not
        return [str(e)]
    return []


def judge(mutant, every, folder=BUILD):
    """The first failure of a mutant, or None; or a MutantError."""
    try:
        return next(failures(build(mutant, folder), every), None)
    except MutantError as e:
        return e


def test_fails(mutant, folder=BUILD):
    """Does the named test fail in the mutant's tree? Killed, None or a MutantError."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *mutant.test.split()]
    done = subprocess.run(command, cwd=os.path.join(folder, mutant.name), capture_output=True, text=True, check=False)
    if done.returncode > 1:
        return MutantError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    if done.returncode == 0:
        return None
    why = re.findall(r"^E +(?:AssertionError: |Failed: )?(.+)", done.stdout, re.MULTILINE)
    return Killed(mutant.test, (why[0] if why else "fails",))


def vector(mutant, every, folder=BUILD):
    """All failures of a mutant that was built."""
    return tuple(failures(os.path.join(folder, mutant.name, "build/replica.bpf.o"), every))


# -- all of them -----------------------------------------------------------------------------


def twins(killed, pool, every, folder):
    """Groups of mutants that fail in the same cases, with the same differences."""
    first = collections.defaultdict(list)
    for mutant, verdict in killed.items():
        if verdict.by != mutant.test:
            first[verdict].append(mutant)
    alike = [mutant for group in first.values() if len(group) > 1 for mutant in group]
    same = collections.defaultdict(list)
    for mutant, seen in zip(alike, pool.map(vector, alike, [every] * len(alike), [folder] * len(alike))):
        same[seen].append(mutant.name)
    return [names for names in same.values() if len(names) > 1]


def _show(mutant, verdict):
    if isinstance(verdict, Killed):
        print(f"{mutant.name}: {mutant.promise}, killed by {verdict.by}: {verdict.lines[0]}", flush=True)
    elif verdict:
        print(f"{mutant.name}: cannot be judged: {verdict}", flush=True)
    else:
        print(f"{mutant.name}: SURVIVED: {mutant.about}", flush=True)


def run(mutants, every, folder=BUILD):
    """Judges all; prints each, then the closing line. True: all were killed."""
    original = Mutant("the-programs-themselves", None, "", "", None)
    verdict = judge(original, every, folder)
    tests = sorted({mutant.test for mutant in mutants if mutant.test})
    for test in [] if verdict else tests:
        verdict = verdict or test_fails(original._replace(test=test), folder)
    if verdict:
        why = f"{verdict.by}: {verdict.lines[0]}" if isinstance(verdict, Killed) else verdict
        print(f"nothing can be told: the programs as they are fail: {why}")
        return False

    verdicts = {}
    jobs = len(os.sched_getaffinity(0))
    fork = multiprocessing.get_context("fork")  # the cases are read once
    with concurrent.futures.ProcessPoolExecutor(jobs, fork) as pool:
        judged = pool.map(judge, mutants, [every] * len(mutants), [folder] * len(mutants))
        for mutant, verdict in zip(mutants, judged):
            verdicts[mutant] = verdict
            if verdict or not mutant.test:
                _show(mutant, verdict)
        killed = {mutant: v for mutant, v in verdicts.items() if isinstance(v, Killed)}
        alike = twins(killed, pool, every, folder)
    for mutant, verdict in verdicts.items():
        if not verdict and mutant.test:  # a race: one at a time
            verdicts[mutant] = test_fails(mutant, folder)
            _show(mutant, verdicts[mutant])
    for names in alike:
        print(f"the same failures in every case: {', '.join(names)}")

    verdicts = list(verdicts.values())
    survived = verdicts.count(None)
    errors = sum(isinstance(v, MutantError) for v in verdicts)
    if errors:
        print(f"{errors} could not be judged")
    print(f"{len(mutants)} mutants: {len(mutants) - survived - errors} killed, {survived} survived")
    return not (survived or errors or alike)


def main(names):
    mutants = read_all()
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        sys.exit(f"no mutant {', '.join(sorted(unknown))} in {os.path.relpath(PATCHES)}")
    chosen = [mutant for mutant in mutants if not names or mutant.name in names]
    return 0 if run(chosen, cases.load_all()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
