# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The unit tests in C: one test a binary, its output shown when it fails."""
import glob
import os
import subprocess

import pytest

from conftest import BUILD, ROOT

FOLDERS = ("netns", "replica", "sim", "topo")
SOURCES = sorted(os.path.splitext(os.path.basename(f))[0] for folder in FOLDERS
                 for f in glob.glob(os.path.join(ROOT, folder, "test_*.c")))


@pytest.mark.parametrize("name", SOURCES)
def test_unit(name):
    binary = os.path.join(BUILD, name)
    assert os.path.exists(binary), "build/%s is missing: run `make units`" % name
    done = subprocess.run([binary], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    assert done.returncode == 0, "exit status %d\n%s" % (done.returncode, done.stdout)
    assert "[  PASSED  ]" in done.stdout, done.stdout  # it ran tests
