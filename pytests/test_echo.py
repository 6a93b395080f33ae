# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""build/replica --echo: the floor that replication is measured against, on the loopback."""
import json
import os
import signal
import socket
import subprocess

import pytest

from conftest import BUILD

REPLICA, CLIENT = os.path.join(BUILD, "replica"), os.path.join(BUILD, "client")


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def config(tmp_path):
    """A cluster of three on free ports; only the first will be there."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    path = tmp_path / "cluster.conf"
    path.write_text("f 1\n" + "".join("replica %s:%d\n" % s.getsockname() for s in sockets))
    for one in sockets:
        one.close()
    return path


@pytest.mark.parametrize("busy", [[], ["--busy-poll", "50"]], ids=["sleeping", "busy"])
@pytest.mark.parametrize("clients", [1, 100])
def test_answers_rightly_all_by_itself(config, clients, busy):
    read, write = os.pipe()
    with subprocess.Popen([REPLICA, "--config", config, "--index", "0", "--echo", *busy,
                           "--ready-fd", str(write)], pass_fds=[write], stdout=subprocess.PIPE,
                          text=True) as echo:
        os.close(write)
        assert os.read(read, 10) == b"ready\n"
        os.close(read)
        # The client knows what each operation must give: a wrong reply is its failure.
        done = run(CLIENT, "--config", config, "--clients", clients, "--ops", 2000, "--json",
                   *busy)
        echo.send_signal(signal.SIGTERM)
        said = json.loads(echo.communicate(timeout=60)[0])
    assert done.returncode == 0, done.stderr
    assert said["status"] == "echo" and said["executed"] >= 2000


@pytest.mark.parametrize("option", ["--journal", "--iface"])
def test_has_neither_journal_nor_offloads(config, option):
    done = run(REPLICA, "--config", config, "--index", 0, "--echo", option, "x")
    assert done.returncode == 2 and done.stdout == ""
    assert option in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", [REPLICA, CLIENT])
def test_busy_polling_has_an_end(config, program):
    done = run(program, "--config", config, "--busy-poll", 1000001)
    assert done.returncode == 2 and "--busy-poll '1000001'" in done.stderr
