# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""build/rack run, from outside: its table, its exit status, and that nothing stays behind.

    rack run FILE --offload none --offload all
      -> stdout: a table with a row per run, then why packets went to user space
"""
import os
import pty
import re
import select
import signal
import subprocess

import pytest

from conftest import BUILD, MODES

RACK = os.path.join(BUILD, "rack")
NAME = "run%d" % os.getpid()
SUBNET = "198.19.%d.0/24" % (os.getpid() % 256)
COLUMNS = ["ops_per_s", "p50", "p99", "max", "cpu", "prepares", "acked", "again", "clones",
           "absorbed"]


def rack(*arguments, **options):
    return subprocess.run([RACK, *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          **options)


def left_behind():
    """What of the rack is still there: its folder, names of namespaces, processes."""
    found = [path for path in ["/run/paxrack/" + NAME] if os.path.exists(path)]
    if os.path.isdir("/run/netns"):
        found += [name for name in os.listdir("/run/netns") if name.startswith(NAME + "-")]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if b"PAXRACK=" + NAME.encode() + b"/" in f.read():
                    found.append("process " + pid)
        except OSError:
            pass  # it ended meanwhile
    return found


@pytest.fixture
def file(tmp_path):
    """A rack file; whatever a failed test leaves of its rack goes away with it."""
    path = tmp_path / "rack.yaml"
    path.write_text("rack: %s\nsubnet: %s\nreplicas: 3\nclients: 1\n" % (NAME, SUBNET))
    yield path
    if left_behind():
        rack("down", NAME)


def rows(output):
    """{offload: {column: number}} and {reason: [count of each run]}."""
    first, _, rest = output.split("\n\n", 1)[1].partition("\n\n")
    lines = [line.split() for line in first.splitlines()[2:]]
    table = {line[0]: dict(zip(COLUMNS, map(float, line[1:]))) for line in lines}
    reasons = {line.split()[0]: list(map(int, line.split()[1:len(table) + 1]))
               for line in rest.splitlines()[1:]}
    return table, reasons


@pytest.mark.parametrize("mode", MODES)
def test_table(file, mode):
    done = rack("run", file, "--offload", "none", "--offload", "all", "--ops", 500, "--xdp", mode)
    assert done.returncode == 0, done.stderr
    assert left_behind() == []
    table, reasons = rows(done.stdout)
    assert list(table) == ["none", "all"]
    for row in table.values():
        assert row["ops_per_s"] > 0 and 0 < row["p50"] <= row["p99"] <= row["max"]
        assert 0 < row["prepares"] <= 500
    none, all = table["none"], table["all"]
    assert [none[c] for c in ("acked", "again", "clones", "absorbed")] == [0, 0, 0, 0]
    assert all["acked"] >= 0.9 * 2 * all["prepares"]
    assert all["clones"] >= 0.9 * 2 * all["prepares"]
    assert all["absorbed"] >= 0.9 * all["prepares"]
    # Requests of the client are the leader's user space's.
    assert reasons["other-kind"][0] == 0 and reasons["other-kind"][1] >= 500
    assert reasons["quorum"][0] == 0 and reasons["quorum"][1] > 0


def test_each_offload_alone(file):
    done = rack("run", file, "--offload", "broadcast", "--offload", "ack", "--offload",
                "quorum", "--ops", 300, "--clients", 2)
    assert done.returncode == 0, done.stderr
    table, _ = rows(done.stdout)
    counted = {name: [column for column in ("acked", "clones", "absorbed") if row[column]]
               for name, row in table.items()}
    assert counted == {"broadcast": ["clones"], "ack": ["acked"], "quorum": ["absorbed"]}


def test_an_offload_that_is_not_at_work_is_an_error(file):
    """Prepares larger than a frame are for user space: the table says so, and so does the status."""
    done = rack("run", file, "--offload", "all", "--ops", 300, "--value-bytes", 3000)
    assert done.returncode == 1
    assert "all: " in done.stderr and "Prepares acked in XDP, but the load implies" in done.stderr
    table, reasons = rows(done.stdout)
    assert table["all"]["acked"] < 0.9 * 2 * table["all"]["prepares"]
    assert reasons["ip-fragment"][0] > 0
    assert left_behind() == []


def test_a_rack_that_is_up_is_used_and_stays(file):
    assert rack("up", file).returncode == 0
    done = rack("run", file, "--offload", "none", "--ops", 200)
    assert done.returncode == 0, done.stderr
    done = rack("run", NAME, "--offload", "all", "--ops", 200)
    assert done.returncode == 0, done.stderr
    done = rack("run", NAME, "--xdp", "generic")
    assert done.returncode == 1 and "built from another description" in done.stderr
    assert left_behind() != [] and not any("process" in one for one in left_behind())
    assert rack("down", NAME).returncode == 0
    assert left_behind() == []


class Running:
    """A long `rack run` with a terminal for its progress; used when the load is under way."""

    def __init__(self, file):
        self.screen, end = pty.openpty()
        self.process = subprocess.Popen([RACK, "run", file, "--offload", "all", "--ops", "10000000"],
                                        stdout=subprocess.PIPE, stderr=end, start_new_session=True)
        os.close(end)
        self.text = ""
        while not re.search(r"all: \d+ of 10000000 operations, \d+/s, p99 \d+ us", self.text):
            assert self.read(), self.text

    def read(self):
        try:
            data = os.read(self.screen, 65536)
        except OSError:  # EIO: nobody holds the other end
            data = b""
        self.text += data.decode()
        return data

    def end(self):
        """Everything it said, and its status."""
        while self.read():
            pass
        os.close(self.screen)
        self.process.stdout.close()
        return self.text, self.process.wait(60)


def pids_of(node):
    folder = "/run/paxrack/%s/pids" % NAME
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as f:
            if f.read().strip() == node:
                yield int(name.split(".")[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(file, number):
    running = Running(file)
    running.process.send_signal(number)
    text, status = running.end()
    assert status == 1 and "rack: interrupted" in text
    assert left_behind() == []


@pytest.mark.parametrize("node", ["r0", "r1"])
def test_a_replica_dies(file, node):
    running = Running(file)
    for pid in pids_of(node):
        os.kill(pid, signal.SIGKILL)
    text, status = running.end()
    assert status == 1
    assert "replica %s ended by itself (killed by signal 9)" % node in text
    assert left_behind() == []


def test_the_client_dies(file):
    running = Running(file)
    for pid in pids_of("c0"):
        os.kill(pid, signal.SIGKILL)
    text, status = running.end()
    assert status == 1 and "the client in c0 failed (killed by signal 9)" in text
    assert left_behind() == []


def test_killed(file):
    """Even SIGKILL leaves no process, and `down` does the rest."""
    running = Running(file)
    pidfds = [os.pidfd_open(pid) for node in ("r0", "r1", "r2", "c0") for pid in pids_of(node)]
    assert len(pidfds) == 4
    running.process.kill()
    running.end()
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 30)[0]  # readable: it is over
        os.close(pidfd)
    assert rack("down", NAME).returncode == 0
    assert left_behind() == []


def test_no_progress_without_a_terminal(file):
    done = rack("run", file, "--offload", "none", "--ops", 200)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if "waiting for another rack" not in line]
    assert said == [] and "\r" not in done.stdout and "\033" not in done.stdout


@pytest.mark.parametrize("arguments, status, says", [
    ([], 2, "which RACK or FILE"),
    (["FILE", "FILE"], 2, "one RACK or FILE"),
    (["FILE", "--offload", "xdp"], 2, "--offload 'xdp'"),
    (["FILE", "--offload", "none,ack"], 2, "--offload 'none,ack'"),
    (["FILE", "--offload", "ack,"], 2, "--offload 'ack,'"),
    (["FILE", "--ops", "0"], 2, "--ops '0'"),
    (["FILE", "--clients", "many"], 2, "--clients 'many'"),
    (["FILE", "--value-bytes", "9000"], 2, "--value-bytes '9000'"),
    (["FILE", "--xdp", "offloaded"], 2, "--xdp 'offloaded'"),
    (["FILE", "--bogus"], 2, "'--bogus'"),
    (["FILE", "--ops"], 2, "--ops wants a value"),
    (["/nonexistent.yaml"], 2, "/nonexistent.yaml"),
])
def test_bad_arguments(file, arguments, status, says):
    done = rack("run", *[file if one == "FILE" else one for one in arguments])
    assert done.returncode == status and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert left_behind() == []


@pytest.mark.parametrize("line, says", [
    ("clients: 0", "has no client node"),
    ("replicas: 4", "2f + 1"),
    ("nodes: [{name: r1, command: ./other}]", "r1 has a command of its own"),
])
def test_racks_that_cannot_run(file, line, says):
    key = line.split(":")[0]
    kept = [one for one in file.read_text().splitlines() if not one.startswith(key + ":")]
    file.write_text("\n".join(kept + [line]) + "\n")
    done = rack("run", file, "--ops", 100)
    assert done.returncode == 1 and says in done.stderr
    assert left_behind() == []
