# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The simulator: clean on a few seeds, the same for the same seed, and not blind."""
import glob
import os
import re
import subprocess

import pytest

from conftest import BUILD, ROOT

SIM = os.path.join(BUILD, "sim")


def sim(*options):
    return subprocess.run([SIM, *[str(o) for o in options]], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("replicas", [3, 5])
@pytest.mark.parametrize("offload", ["all", "none", "ack", "broadcast,quorum"])
def test_clean(replicas, offload):
    done = sim("--seeds", 6, "--replicas", replicas, "--offload", offload)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 seeds, 0 violations, \d+ events/s$", done.stdout, re.M), done.stdout
    if offload in ("all", "ack"):
        share = float(re.search(r"acks made by the kernel: ([\d.]+) %", done.stdout).group(1))
        assert share > 0, done.stdout


def test_same_seed_same_transcript():
    first, second = (sim("--seed", 42, "--trace") for _ in range(2))
    assert first.returncode == 0, first.stdout[-4000:] + first.stderr
    assert first.stdout == second.stdout
    assert "Prepare" in first.stdout
    assert sim("--seed", 43, "--trace").stdout != first.stdout


def test_a_seed_does_not_depend_on_the_ones_before():
    """The maps of the programs outlive a seed: nothing of them may show in the next one."""
    alone = [sim("--seed", seed, "--steps", 200).stderr for seed in (7, 8, 9)]
    assert all(re.match(r"1 seed, 0 violations", text) for text in alone), alone
    together = sim("--seed", 7, "--seeds", 3, "--steps", 200, "--jobs", 1)
    assert together.returncode == 0, together.stdout


@pytest.mark.parametrize("name", ["commit-on-one-ack", "checksum-untested"])
def test_finds_a_planted_mistake(name):
    done = subprocess.run(["tools/planted", "2000", name], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert "NOT FOUND" not in done.stdout and name in done.stdout


def test_planted_mistakes_apply():
    """The sources move on; each mistake must still be one of theirs."""
    patches = glob.glob(os.path.join(ROOT, "sim/planted/*.patch"))
    patches += glob.glob(os.path.join(ROOT, "race/planted/*.patch"))
    assert len(patches) > 20
    for patch in patches:
        with open(patch) as f:
            done = subprocess.run(["patch", "--dry-run", "-s", "-p1"], cwd=ROOT, stdin=f, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, patch + ":\n" + done.stdout


@pytest.mark.parametrize("options, names", [
    (["--nonsense"], "--nonsense"),
    (["--replicas", "0"], "--replicas"),
    (["--replicas", "3;5"], "--replicas"),
    (["--faults", "lightning"], "lightning"),
    (["--offload", "half"], "half"),
    (["--steps", "none"], "--steps"),
])
def test_usage(options, names):
    done = sim(*options)
    assert done.returncode == 2
    assert names in done.stderr and not done.stdout
