# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures. What a test makes goes away with it, also when it fails."""
import functools
import json
import os
import select
import signal
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
PATIENCE_S = 30  # what must come true has come true by then, also on a busy machine
PAUSE_S = 0.002


def asked(question, patience_s=PATIENCE_S):
    """Ask until the answer is true, or patience ends; the last answer."""
    end = time.monotonic() + patience_s
    while True:
        answer = question()
        if answer or time.monotonic() >= end:
            return answer
        select.select([], [], [], PAUSE_S)


def until(question, what):
    """Ask until the answer is true; the answer. `what`, or what it returns, did not come true."""
    answer = asked(question)
    assert answer, "not within %d s: %s" % (PATIENCE_S, what() if callable(what) else what)
    return answer


# --- what a test needs of the machine


@functools.lru_cache(None)
def doctor():
    """{key: line} of `rack doctor`; nothing where it was not built, for somebody else's programs."""
    rack = os.path.join(BUILD, "rack")
    if not os.path.exists(rack):
        return {}
    done = subprocess.run([rack, "doctor", "--json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout)["checks"]


def lacking(name):
    """Why a test that needs it cannot run here, or nothing. "two_cpus", or a key of `rack doctor`."""
    if name == "two_cpus":
        has = len(os.sched_getaffinity(0))
        return "" if has >= 2 else "needs two CPUs, has %d" % has
    said = doctor()
    if said and name not in said and any(line["status"] == "missing" for line in said.values()):
        return "rack doctor: %s was not tried, something else is missing" % name
    if not said or said[name]["status"] in ("ok", "info"):
        return ""
    return "rack doctor: %s: %s" % (name, said[name]["found"])


# Both modes, as parameters of whatever attaches XDP programs to veth.
MODES = [pytest.param("native", marks=pytest.mark.needs("xdp_native", "xdp_tx")),
         pytest.param("generic", marks=pytest.mark.needs("xdp_generic"))]


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*names): skipped where the machine lacks one, says lacking()")
    if os.geteuid() != 0:
        pytest.exit("these tests make namespaces and load kernel programs: run them as root", 1)
    somebody_else_s = config.getoption("--object", default=None)
    if not somebody_else_s and not os.path.exists(os.path.join(BUILD, "replica.bpf.o")):
        pytest.exit("build/replica.bpf.o is missing: run `make programs units` first", 1)
    # Debian's tools stand in folders that a user's PATH need not have.
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if lacking(name):
                pytest.skip(lacking(name))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the test's daemons said."""
    report = (yield).get_result()
    if report.failed:
        for daemon in getattr(item, "daemons", []):
            report.sections.append(("log of " + daemon.name, daemon.log()))


class Daemon:
    """A process that a test started, and its output so far."""

    def __init__(self, command, log_path, **popen):
        self.name = os.path.basename(command[0])
        self.log_path = str(log_path)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, **popen)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def daemon(request, tmp_path):
    """daemon([command, ...]): runs until the test ends; its log is shown if the test fails."""
    request.node.daemons = []

    def start(command, **popen):
        path = tmp_path / ("daemon%d.log" % len(request.node.daemons))
        request.node.daemons.append(Daemon([str(c) for c in command], path, **popen))
        return request.node.daemons[-1]

    yield start
    for one in reversed(request.node.daemons):
        one.stop()


@pytest.fixture
def cluster(request, rack, tmp_path):
    """Replicas, not yet started, in the rack of the test's file."""
    from cluster import Cluster
    cluster = Cluster(rack, tmp_path)
    request.node.daemons = cluster.replicas
    yield cluster
    cluster.close()
    cluster.calm()


@pytest.fixture(scope="session", params=MODES)
def live_bench(request):
    from bench import Bench, one_cpu
    with one_cpu():
        bench = Bench(request.param)
    yield bench
    bench.close()


@pytest.fixture
def bench(live_bench):
    """A live link with the programs attached, in native and in generic mode."""
    from bench import one_cpu
    with one_cpu():
        yield live_bench


@pytest.fixture(scope="module", params=MODES)
def live_switch(request, tmp_path_factory):
    from bench import one_cpu
    from switch import Switch
    with one_cpu():
        live = Switch(tmp_path_factory.mktemp("switch"), request.param)
    with live.rack:
        yield live


@pytest.fixture
def switch(live_switch):
    """A rack with packet sockets in its nodes, in both modes; no rule is left after the test."""
    from bench import one_cpu
    with one_cpu():
        yield live_switch
        live_switch.reset()


@pytest.fixture
def follower(switch):
    """The replica's programs in r1 of the switch, for a leader in r0."""
    import socket
    from subject import Member, Replica
    replica = Replica()
    replica.start([Member(mac, ip, 12345) for ip, mac in list(switch.nodes.values())[:3]], 1)
    with switch.rack.namespace("r1"):
        link = replica.xdp.attach_xdp(socket.if_nametoindex("eth0"), switch.xdp)
    yield replica
    link.close()
    replica.close()
