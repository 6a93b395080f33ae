# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What our processes may do once they are set up, what happens when one of them dies, and what somebody
without privileges can do in a rack: nothing.

             tor  rack-wire, its guard, rack-fault-log
      ________|___________
     |     |     |        |
    [r0]  [r1]  [r2]     [c0]            replicas, each with a guard

That a spoofed source does not leave its port: test_tor.py (antispoof), test_fault_wire.py (what waits). That
a packet of an outsider is neither broadcast nor acked: conformance/cases/broadcast.yaml (from any address, MAC,
port), prepare.yaml and acks.yaml (sender), test_broadcast.py.
"""
import os
import re
import signal
import subprocess

import pytest

from cluster import Client
from conftest import PATIENCE_S, until
from racks import COMMAND, NETNS, Rack, rack_command

NOBODY = 65534
NONE = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
NET_ADMIN, BPF, DAC_OVERRIDE = 1 << 12, 1 << 39, 1 << 1


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    with Rack(tmp_path_factory.mktemp("rack"), xdp="native", clients=2) as rack:
        rack.up()
        yield rack


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def capabilities(pid):
    said = status(pid)
    return {name: int(said[name], 16) for name in NONE}


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(word) for word in f.read().split()]


def guard_of(replica):
    guard, = children(replica.process.pid)
    return guard


def alive(pid):
    try:
        return not status(pid)["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


def tc_filters(replica):
    return replica.cluster.rack.exec(replica.node, "tc", "filter", "show", "dev", "eth0", "egress")


# --- what they may


def test_a_replica_at_work_has_no_privilege(cluster):
    cluster.start()
    for replica in cluster.replicas:
        said = status(replica.process.pid)
        assert capabilities(replica.process.pid) == NONE
        assert said["Seccomp"] == "2" and said["NoNewPrivs"] == "1"
        guard = guard_of(replica)
        kept = NET_ADMIN | BPF | DAC_OVERRIDE
        assert capabilities(guard) == {**NONE, "CapPrm": kept, "CapEff": kept}
        assert status(guard)["NoNewPrivs"] == "1"


def test_the_switch_s_processes_have_no_privilege(rack):
    assert rack_command("fault", rack.name, "add", "--from", "r0", "delay", "1ms").returncode == 0
    found = dict(reversed(pair) for pair in re.findall(r"(\d+) \((\S+)\)", rack.nodes()["tor"][2]))
    assert set(found) == {"rack-wire", "rack-wire-guard", "rack-fault-log"}
    for name in ("rack-wire", "rack-fault-log"):
        said = status(int(found[name]))
        assert capabilities(int(found[name])) == NONE
        assert said["Seccomp"] == "2" and said["NoNewPrivs"] == "1"
    assert capabilities(int(found["rack-wire-guard"])) == {**NONE, "CapPrm": NET_ADMIN, "CapEff": NET_ADMIN}
    assert rack_command("fault", rack.name, "clear").returncode == 0
    assert rack.nodes()["tor"][2] == "-"


def test_a_journal_is_replaced_and_taken_up_again(cluster):
    """The replica opens, renames and removes nothing itself any more."""
    cluster.start()
    before = [os.stat(r.journal).st_ino for r in cluster.replicas]

    def replaced():
        cluster.load("--ops", 3000, "--clients", 16, "--value-bytes", 8000, "--mix", 100)
        return all(os.stat(r.journal).st_ino != ino for r, ino in zip(cluster.replicas, before))
    until(replaced, "every journal was written anew")
    assert not any(os.path.exists(r.journal + ".new") for r in cluster.replicas)
    follower = cluster.replicas[1]
    follower.kill()
    follower.start()
    cluster.agree()
    assert [r.end()["recoveries"] for r in cluster.replicas] == [0, 0, 0]


# --- when one of them dies


@pytest.mark.parametrize("how", ["end", "kill"])
def test_nothing_is_attached_after_a_replica(cluster, how):
    cluster.start()
    replica = cluster.replicas[0]
    guard = guard_of(replica)
    assert replica.xdp() and "replica_tc" in tc_filters(replica)
    getattr(replica, how)()
    if how == "kill":
        until(lambda: not alive(guard), "the end of the guard")
    assert not alive(guard)
    assert replica.xdp() is None and not tc_filters(replica)
    assert "clsact" not in cluster.rack.exec(replica.node, "tc", "qdisc", "show", "dev", "eth0")


def test_killed_and_restarted_at_once(cluster):
    """What the last life's guard still has to remove is never what the next one attached."""
    cluster.start()
    replica = cluster.replicas[1]
    for _ in range(5):
        replica.kill()
        replica.start()
        assert replica.xdp() and "replica_tc" in tc_filters(replica)


def test_no_replica_without_its_guard(cluster):
    cluster.start()
    replica = cluster.replicas[1]
    with Client(cluster) as client:
        client.serve(50)
        os.kill(guard_of(replica), signal.SIGKILL)
        assert replica.process.wait(PATIENCE_S) == 1
        assert "keeps the privileges has ended" in replica.log()
        assert replica.xdp() is None
        replica.over()
        replica.start()
        client.serve(50)
        client.finish()
        cluster.agree([client])


def test_a_stopped_replica_is_stopped(cluster):
    """SIGSTOP meets the protocol itself, so that the lease runs out."""
    cluster.start()
    replica = cluster.replicas[1]
    with Client(cluster) as client:
        client.serve(50)
        replica.stop()
        expired = replica.kernel("lease")
        until(lambda: replica.kernel("lease") > expired, "the lease runs out")
        replica.go_on()
        client.serve(50)
        client.finish()
        cluster.agree([client])


# --- somebody without privileges


def as_nobody(rack, node, *command):
    return rack.exec(node, "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
                     *command, check=False)


def refused(done):
    assert done.returncode != 0, done.stdout
    assert re.search(r"not permitted|denied|needs root", done.stderr + done.stdout,
                     re.I), done.stderr + done.stdout


def test_nobody_reaches_pins_and_files(cluster):
    rack = cluster.rack
    cluster.start()
    assert os.stat(rack.path()).st_mode & 0o777 == 0o700
    for path in ("bpf/tor/tor_rules", "bpf/r0/elec_state", "journal/r0", "pids", "ns/tor", "cluster.conf"):
        rack.exec("r0", "stat", rack.path(path))
        refused(as_nobody(rack, "r0", "stat", rack.path(path)))


@pytest.mark.parametrize("kind", ["map", "prog", "link"])
def test_nobody_reaches_bpf_objects_by_id(cluster, kind):
    """Ids are easily guessed: the first that the kernel gives to root is refused to nobody."""
    cluster.start()
    ask = """if True:
        import ctypes, os, sys
        lib, number = ctypes.CDLL("libbpf.so.1", use_errno=True), ctypes.c_uint32()
        got = lib.bpf_%s_get_next_id(0, ctypes.byref(number))
        number = number.value or int(sys.argv[1])
        fd = lib.bpf_%s_get_fd_by_id(number)
        print(number, fd, os.strerror(ctypes.get_errno()))
        sys.exit(fd < 0)""" % (kind, kind)
    done = cluster.rack.exec("r0", "/usr/bin/python3", "-c", ask, "1")
    number = done.split()[0]
    refused(as_nobody(cluster.rack, "r0", "/usr/bin/python3", "-c", ask, number))


@pytest.mark.parametrize("command", [
    "ip link set dev eth0 xdp off", "ip link set dev eth0 down", "tc filter del dev eth0 egress",
    "tc qdisc del dev eth0 clsact", "ip neigh flush dev eth0"])
def test_nobody_detaches(cluster, command):
    cluster.start()
    replica = cluster.replicas[0]
    refused(as_nobody(cluster.rack, "r0", *command.split()))
    assert replica.xdp() and "replica_tc" in tc_filters(replica)


def test_nobody_enters_another_node(rack):
    for node in ("tor", "r1"):
        path = os.path.join(NETNS, "%s-%s" % (rack.name, node))
        rack.exec("r0", "nsenter", "--net=" + path, "true")
        refused(as_nobody(rack, "r0", "nsenter", "--net=" + path, "true"))


def test_nobody_makes_frames_or_rules(rack):
    raw = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
    rack.exec("r0", "/usr/bin/python3", "-c", raw)
    refused(as_nobody(rack, "r0", "/usr/bin/python3", "-c", raw))
    with open(COMMAND, "rb") as command:  # its folder may be root's alone
        done = subprocess.run(["/proc/self/fd/%d" % command.fileno(), "fault", rack.name, "add", "drop"],
                              user=NOBODY, group=NOBODY, extra_groups=[], text=True, pass_fds=[command.fileno()],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    refused(done)


def test_nobody_signals_or_traces_a_replica(cluster):
    cluster.start()
    replica = cluster.replicas[0]
    for pid in (replica.process.pid, guard_of(replica)):
        refused(as_nobody(cluster.rack, "r0", "sh", "-c", "kill -9 %d" % pid))
        refused(as_nobody(cluster.rack, "r0", "cat", "/proc/%d/environ" % pid))
    assert replica.report()


# --- nothing outside its namespace


def sockets(*command):
    """pids of whoever has a socket there: UDP, TCP, raw, packet, or listens at a Unix one."""
    said = subprocess.check_output([*command, "ss", "-H", "-n", "-p", "-a", "-t", "-u", "-w", "-0"], text=True)
    said += subprocess.check_output([*command, "ss", "-H", "-n", "-p", "-l", "-x"], text=True)
    return {int(pid) for pid in re.findall(r"pid=(\d+)", said)}


def test_nothing_listens_outside_its_namespace(cluster):
    cluster.start()
    cluster.fault("add", "--from", "r0", "delay", "1ms")
    ours = {int(pid) for _, _, said in cluster.rack.nodes().values() for pid in re.findall(r"(\d+) \(", said)}
    ours |= {guard_of(r) for r in cluster.replicas}
    assert len(ours) == 3 + 3 + 3
    for replica in cluster.replicas:
        node = "--net=" + cluster.rack.path("ns", replica.node)
        assert sockets("nsenter", node) & ours == {replica.process.pid}
    assert not sockets() & ours
