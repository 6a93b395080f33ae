# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Nothing is left behind, whoever is killed when: a slice of `make kill-test`."""
import os
import re
import subprocess

import pytest

from conftest import BUILD, ROOT


def kill_test(*arguments):
    return subprocess.run([os.path.join(ROOT, "tools/kill-test"), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def test_nothing_is_left():
    done = kill_test(BUILD, 20)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("\n20 kills, 0 leftovers\n"), done.stdout


CLEAN_UPS = 11  # the first ten are before any kill


def test_what_is_left_is_found(tmp_path):
    """With a `rack` of which one clean-up, the first after a kill, leaves a file behind."""
    os.symlink(os.path.join(BUILD, "tor.bpf.o"), tmp_path / "tor.bpf.o")
    script = tmp_path / "rack"
    script.write_text("""#!/bin/sh
        count=/run/scratch/clean-ups
        case "$1 $2" in
        down*|*--clean) echo >> $count; if [ $(wc -l < $count) = %d ]; then touch /run/left; fi
        esac
        exec %s/rack "$@"
        """ % (CLEAN_UPS, BUILD))
    script.chmod(0o755)
    done = kill_test(tmp_path, 3, 1)
    assert done.returncode == 1, done.stdout
    assert re.search(r"^new: file /run/left ", done.stdout, re.M), done.stdout
    assert done.stdout.endswith("\n3 kills, 1 leftovers\n"), done.stdout


@pytest.mark.parametrize("arguments", [[], [BUILD], [BUILD, "0"], [BUILD, "many"],
                                       [BUILD, "1", "x"]], ids=len)
def test_usage(arguments):
    done = kill_test(*arguments)
    assert done.returncode == 2 and done.stdout.startswith("usage: tools/kill-test")
