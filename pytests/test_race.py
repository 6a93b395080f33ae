# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""User space against the loaded programs on two CPUs: a slice of `make race`."""
import os
import re
import subprocess

import pytest

from conftest import BUILD, ROOT

RACE = os.path.join(BUILD, "race")
TRIES = 8  # of a second each, until each window was hit

# What two CPUs must have run into, else nothing was tested.
HITS = ("frozen-late", "claim-lost", "wake", "quorum", "absorbed", "ack-again", "log-full", "udp-checksum")


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


@pytest.mark.needs("two_cpus")
def test_clean():
    missing = set(HITS)
    for _ in range(TRIES):
        done = run(RACE, "--time", "1")
        assert done.returncode == 0, done.stdout
        assert re.search(r"^\d+ runs, 0 violations$", done.stdout, re.M), done.stdout
        counts = dict(re.findall(r"(\S+) (\d+)(?:,|$)", done.stdout, re.M))
        missing -= {name for name in missing if int(counts[name])}
        if not missing:
            return
    pytest.fail("not hit: %s\n%s" % (sorted(missing), done.stdout))


@pytest.mark.needs("two_cpus")
@pytest.mark.parametrize("name", ["no-claim", "freeze-does-not-wait", "frozen-ignored"])
def test_finds_a_planted_race(name):
    done = run("tools/race", "0", name)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^%s +\d+ s  S[12]: " % name, done.stdout, re.M), done.stdout
    assert done.stdout.endswith("1 of 1 planted races found\n")


@pytest.mark.parametrize("options", [["--nonsense"], ["--time", "long"], ["--seed", "x"], ["more"]])
def test_usage(options):
    done = run(RACE, *options)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("usage: race")
