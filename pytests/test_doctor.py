# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`rack doctor`: what a machine can do, and what is wrong with a rack. What it says is right."""
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import bpf
import conftest
from cluster import Client, Cluster
from conftest import BUILD, MODES
from net import PASS_CODE, Namespace, run
from racks import COMMAND, NETNS, RUN, Rack, bpftool, rack_command, signal_at


def doctor(*words, status=0):
    done = rack_command("doctor", *words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextlib.contextmanager
def visited(namespace):
    with namespace:
        yield
    namespace.close()


# --- a rack with one thing wrong


@contextlib.contextmanager
def a_rack(folder, mode):
    with Rack(folder, replicas=3, clients=1, testers=1, xdp=mode,
              nodes=[{"name": "t0", "spoof": True}]) as rack:
        rack.up()
        yield rack


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with a_rack(tmp_path_factory.mktemp("doctor"), "native") as rack:
        yield rack


@pytest.fixture(scope="module", params=MODES)
def either(request, tmp_path_factory):
    """Where the mode matters."""
    if request.param == "native":
        yield request.getfixturevalue("up")
    else:
        with a_rack(tmp_path_factory.mktemp("doctor"), "generic") as rack:
            yield rack


def findings(rack, status=1):
    said = doctor(rack.name, status=status)
    assert said["ok"] == (status == 0) and said["rack"] == rack.name
    return said["findings"]


def mended(rack, said):
    """The commands that it named, in their order; and all is well."""
    for one in said:
        subprocess.run(one["remedy"], shell=True, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
    assert findings(rack, status=0) == []


def port_entry(rack, node, **change):
    """tor_ports of the switch, with some fields changed, as bpftool has it in hexadecimal."""
    index = [n for n in rack.nodes() if n != "tor"].index(node)
    pin = rack.path("bpf/tor/tor_ports")
    entry = bpftool("map", "dump", "pinned", pin)[index]["value"]
    for at, byte in change.items():
        entry[int(at[1:])] = "0x%02x" % byte
    key = ["0x%02x" % b for b in index.to_bytes(4, "little")]
    subprocess.run(["bpftool", "map", "update", "pinned", pin, "key", *key, "value", *entry], check=True)


# name: (node whose end is changed, command there; what is found: key, node, end)
PLANTED = {
    "checksum-eth0": ("r0", "ethtool -K eth0 tx on", [("checksum_offload", "r0", "eth0")]),
    "checksum-port": ("tor", "ethtool -K r1 tx on", [("checksum_offload", "r1", "port")]),
    "checksum-of-received": ("c0", "ethtool -K eth0 rx on", [("checksum_offload", "c0", "eth0")]),
    "vlan-eth0": ("r2", "ethtool -K eth0 rxvlan on txvlan on", [("vlan_offload", "r2", "eth0")]),
    "vlan-port": ("tor", "ethtool -K c0 txvlan on", [("vlan_offload", "c0", "port")]),
    "gro-eth0": ("r1", "ethtool -K eth0 gro on", [("segmentation_offload", "r1", "eth0")]),
    "gro-port": ("tor", "ethtool -K r1 gro on", [("segmentation_offload", "r1", "port")]),
    "tso": ("r0", "ethtool -K eth0 sg on tx on tso on gso on",
            [("checksum_offload", "r0", "eth0"), ("segmentation_offload", "r0", "eth0")]),
    "mac-eth0": ("r1", "ip link set eth0 address 02:00:00:00:00:99",
                 [("mac", "r1", "eth0"), ("neighbour", "r1", "eth0"), ("neighbour", "r1", "eth0")]),
    "mac-port": ("tor", "ip link set t0 address 06:00:00:00:00:99", [("mac", "t0", "port")]),
    "mtu-eth0": ("c0", "ip link set eth0 mtu 1400", [("mtu", "c0", "eth0")]),
    "mtu-port": ("tor", "ip link set r2 mtu 1600", [("mtu", "r2", "port")]),
    "no-neighbour": ("r0", "ip neigh del ADDRESS-OF-r2 dev eth0", [("neighbour", "r0", "eth0")]),
    "neighbour-that-ages": ("r0", "ip neigh replace ADDRESS-OF-r2 lladdr MAC-OF-r2 dev eth0 nud reachable",
                            [("neighbour", "r0", "eth0")]),
    "neighbour-elsewhere": ("c0", "ip neigh replace ADDRESS-OF-r1 lladdr MAC-OF-r2 dev eth0 nud permanent",
                            [("neighbour", "c0", "eth0")]),
    "no-address": ("c0", "ip addr flush dev eth0", [("address", "c0", "eth0"), *[("neighbour", "c0", "eth0")] * 3]),
    "down-eth0": ("t0", "ip link set eth0 down",
                  [("down", "t0", "eth0"), *[("neighbour", "t0", "eth0")] * 3]),
    "down-port": ("tor", "ip link set c0 down", [("down", "c0", "port")]),
    "no-tc": ("tor", "tc filter del dev c0 ingress", [("tc_program", "c0", "port")]),
    "no-clsact": ("tor", "tc qdisc del dev r2 clsact", [("tc_program", "r2", "port")]),
    "no-member": ("tor", "ip link set r1 nomaster",
                  [("bridge", "r1", "port"), ("bridge_entry", "r1", "port")]),
    "no-entry": ("tor", "bridge fdb del MAC-OF-r0 dev r0 master", [("bridge_entry", "r0", "port")]),
    "does-not-forward": ("tor", "bridge link set dev t0 state 0", [("bridge_state", "t0", "port")]),
    "port-flags": ("tor", "bridge link set dev c0 isolated on flood off mcast_flood off bcast_flood off",
                   [("bridge_flag", "c0", "port")] * 4),
    "no-route": ("c0", "ip route del SUBNET", [("route", "c0", "eth0")]),
    "qdisc-eth0": ("c0", "tc qdisc add dev eth0 root pfifo limit 7", [("qdisc", "c0", "eth0")]),
    "qdisc-port": ("tor", "tc qdisc add dev r1 root bfifo limit 9000", [("qdisc", "r1", "port")]),
    "second-address": ("t0", "ip addr add 192.0.2.7/24 dev eth0", [("second_address", "t0", "eth0")]),
    # of all its ports the bridge is the cause
    "bridge-down": ("tor", "ip link set br0 down", [("down", "tor", "br0")]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_finds_and_mends(up, name):
    node, command, wanted = PLANTED[name]
    for other, (address, mac, _) in up.nodes().items():
        command = command.replace("ADDRESS-OF-" + other, address).replace("MAC-OF-" + other, mac)
    command = command.replace("SUBNET", up.keys["subnet"])
    up.exec(node, *command.split())
    said = findings(up)
    assert sorted((one["key"], one["node"], one["end"]) for one in said) == sorted(wanted)
    assert all(one["found"] and one["follows"] for one in said)
    mended(up, said)


def test_another_program_at_a_port(up):
    pin = up.path("bpf/tor/tor_release")
    up.exec("tor", *("tc filter replace dev r0 ingress protocol all prio 1 handle 1 bpf da pinned " + pin).split())
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("tc_program", "r0")]
    mended(up, said)


@contextlib.contextmanager
def pinned(rack, program):
    """Where commands in the rack find it."""
    pin = rack.path("bpf/tor/of_somebody")
    with open("/proc/self/fdinfo/%d" % program) as f:
        number = re.search(r"^prog_id:\s*(\d+)$", f.read(), re.M).group(1)
    subprocess.run(["bpftool", "prog", "pin", "id", number, pin], check=True)
    try:
        yield pin
    finally:
        os.unlink(pin)
        os.close(program)


def test_another_program_before_and_behind_the_switch(up):
    pin = up.path("bpf/tor/tor_release")
    for where in ("r0 ingress", "c0 egress"):
        up.exec("tor", *("tc filter add dev %s protocol all prio 1 handle 2 bpf da pinned %s" % (where, pin)).split())
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("tc_program", "r0"), ("tc_egress", "c0")]
    mended(up, said)


TCX_INGRESS, TCX_EGRESS = 46, 47  # enum bpf_attach_type


def test_programs_of_tcx(up):
    program = bpf.check(bpf.lib.bpf_obj_get(up.path("bpf/tor/tor_release").encode()), "tor_release")
    with up.namespace("tor"):
        held = [bpf.lib.bpf_link_create(program, socket.if_nametoindex(name), kind, None)
                for name, kind in (("r2", TCX_INGRESS), ("c0", TCX_EGRESS))]
    os.close(program)
    if min(held) < 0:
        pytest.skip("this kernel has no tcx")
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("tcx_program", "r2"), ("tcx_program", "c0")]
    mended(up, said)
    for link in held:
        os.close(link)


def test_another_xdp_program_at_ports(either):
    """Native or generic, in place of ours or where none belongs."""
    native = either.keys["xdp"] == "native"
    with pinned(either, bpf.load_raw("of_somebody", PASS_CODE)) as pin:
        for device, mode in (("r1", "native"), ("r2", "generic"), ("c0", "native"), ("t0", "generic")):
            if native and device.startswith("r"):
                either.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", device)
            either.exec("tor", "bpftool", "net", "attach", "xdpdrv" if mode == "native" else "xdpgeneric",
                        "pinned", pin, "dev", device)
        said = findings(either)
    assert [(one["key"], one["node"]) for one in said] == [("xdp_program", n) for n in ("r1", "r2", "c0", "t0")]
    mended(either, said)


def test_another_xdp_program_that_a_bpf_link_holds(up):
    program = bpf.load_raw("of_somebody", PASS_CODE)
    up.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "r1")
    with up.namespace("tor"):
        links = [bpf.attach_xdp(program, socket.if_nametoindex(name), "native") for name in ("r1", "t0")]
    os.close(program)
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("xdp_program", "r1"), ("xdp_program", "t0")]
    mended(up, said)
    for link in links:
        link.close()
    assert findings(up, status=0) == []


def test_the_program_that_a_steering_path_needs(either):
    mode = "xdpdrv" if either.keys["xdp"] == "native" else "xdpgeneric"
    for node in ("r0", "c0"):
        assert rack_command("steer", either.name, "path", node, "xdp").returncode == 0
    try:
        pin = either.path("bpf/tor/tor_pass")
        either.exec("tor", "bpftool", "net", "attach", mode, "pinned", pin, "dev", "r0", "overwrite")
        either.exec("tor", "bpftool", "net", "detach", mode, "dev", "c0")
        said = findings(either)
        assert [(one["key"], one["node"]) for one in said] == [("xdp_steer", "r0"), ("xdp_steer", "c0")]
        mended(either, said)
    finally:
        for node in ("r0", "c0"):
            rack_command("steer", either.name, "path", node, "tc")
    assert findings(either, status=0) == []


def test_xdp_pass_in_the_other_mode(up):
    pin = up.path("bpf/tor/tor_pass")
    up.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "r2")
    up.exec("tor", "bpftool", "net", "attach", "xdpgeneric", "pinned", pin, "dev", "r2")
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("xdp_pass", "r2")]
    mended(up, said)


def test_xdp_pass(either):
    """Needed where a node's own program bounces acks."""
    if either.keys["xdp"] == "generic":
        either.exec("tor", "bpftool", "net", "attach", "xdpdrv", "pinned", either.path("bpf/tor/tor_pass"),
                "dev", "r1")
        assert findings(either, status=0) == [], "one more does no harm"
        either.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "r1")
        return
    either.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "r1")
    said = findings(either)
    assert [(one["key"], one["node"], one["end"]) for one in said] == [("xdp_pass", "r1", "port")]
    mended(either, said)


STACK, SPOOF = 2, 1  # enum tor_port_flag


def test_redirect_for_the_mode(either):
    generic = either.keys["xdp"] == "generic"
    port_entry(either, "r2", _6=0 if generic else STACK)
    said = findings(either)
    assert [(one["key"], one["node"]) for one in said] == [("redirect", "r2")]
    assert ("generic" if generic else "native") in said[0]["found"]
    mended(either, said)


def test_redirect_for_the_mode_that_the_node_really_has(either):
    other = "native" if either.keys["xdp"] == "generic" else "generic"
    program = bpf.load_raw("pass_all", PASS_CODE)
    with either.namespace("r0"):
        link = bpf.attach_xdp(program, socket.if_nametoindex("eth0"), other)
    try:
        said = findings(either)
        wanted = ["redirect"] if other == "generic" else ["xdp_pass", "redirect"]
        assert [one["key"] for one in said] == wanted and {one["node"] for one in said} == {"r0"}
        mended(either, said)
    finally:
        link.close()
        os.close(program)
    said = findings(either)
    assert "redirect" in [one["key"] for one in said], "without it the rack's mode counts again"
    mended(either, said)
    if other == "native":
        either.exec("tor", "bpftool", "net", "detach", "xdpdrv", "dev", "r0")


def test_what_the_switch_thinks_of_a_node(up):
    port_entry(up, "r0", _0=0x99)
    port_entry(up, "c0", _16=1)  # behind another ToR
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("switch_entry", "r0"), ("switch_entry", "c0")]
    mended(up, said)
    port_entry(up, "t0", _6=0)  # it may spoof
    said = findings(up)
    assert [(one["key"], one["node"]) for one in said] == [("switch_entry", "t0")]
    mended(up, said)


def test_device_gone(tmp_path):
    with Rack(tmp_path, replicas=1) as rack:
        rack.up()
        rack.exec("r0", "ip", "link", "del", "eth0")
        said = findings(rack)
        assert [(one["key"], one["end"]) for one in said] == [("device_gone", "eth0"), ("device_gone", "port")]
        mended(rack, said[:1])
        rack.exec("tor", "ip", "link", "set", "r0", "down", "name", "rv7a")
        said = findings(rack)
        assert [(one["key"], one["end"]) for one in said] == [("device_gone", "port")]
        mended(rack, said)


def test_what_joins_tors(tmp_path):
    """Several at a time, each named once."""
    with Rack(tmp_path, replicas=3, tors=[{"nodes": ["r%d" % i]} for i in range(3)]) as rack:
        rack.up()
        assert findings(rack, status=0) == []
        for plants in (
                [("up1", "down", "ip link set up1 down"), ("down2", "bridge", "ip link set down2 nomaster"),
                 ("up0", "mtu", "ip link set up0 mtu 1400"), ("down0", "mac", "ip link set down0 address 06:0:0:0:0:99")],
                [("up1", "bridge", "ip link set up1 nomaster"), ("down1", "mtu", "ip link set down1 mtu 1400"),
                 ("up2", "mac", "ip link set up2 address 06:0:0:0:0:99"), ("down0", "down", "ip link set down0 down")],
                [("up1", "tc_program", "tc qdisc del dev up1 clsact"),
                 ("down1", "tc_program", "tc qdisc del dev down1 clsact"),
                 ("up2", "checksum_offload", "ethtool -K up2 gro on tx on"), ("up2", "segmentation_offload", None),
                 ("down2", "bridge_flag", "bridge link set dev down2 flood off")],
                [("spine", "down", "ip link set spine down"), ("br2", "down", "ip link set br2 down"),
                 ("up0", "xdp_program", "bpftool net attach xdpdrv pinned %s dev up0" % rack.path("bpf/tor/tor_pass"))],
                [("br1", "device_gone", "ip link del br1")]):
            for _, _, command in plants:
                if command:
                    rack.exec("tor", *command.split())
            said = findings(rack)
            assert {one["node"] for one in said} == {"tor"}
            assert sorted((one["end"], one["key"]) for one in said) == sorted((d, key) for d, key, _ in plants)
            mended(rack, said)


def test_all_at_once_for_people(either):
    either.exec("r0", "ethtool", "-K", "eth0", "tx", "on")
    either.exec("tor", "tc", "qdisc", "del", "dev", "c0", "clsact")
    done = rack_command("doctor", either.name)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("  wrong")] == [
        ["wrong", "r0", "eth0"], ["wrong", "c0", "port"]]
    commands = [line.partition("-> ")[2] for line in lines if "-> " in line]
    for command in commands:
        subprocess.run(command, shell=True, check=True)
    done = rack_command("doctor", either.name)
    assert done.returncode == 0 and done.stdout == "%s is well: 5 nodes, %s XDP\n" % (
        either.name, either.keys["xdp"])


@pytest.mark.parametrize("mode", MODES)
def test_a_rack_at_work_is_well(tmp_path, mode):
    with Rack(tmp_path, replicas=3, clients=1, xdp=mode) as rack:
        rack.up()
        cluster = Cluster(rack, tmp_path)
        cluster.start()
        try:
            with Client(cluster) as client:
                client.serve(50)
                assert findings(rack, status=0) == []
                cluster.replicas[2].kill()
                assert findings(rack, status=0) == []
        finally:
            cluster.close()


def test_a_rack_with_fault_rules_is_well(up):
    rack_command("fault", up.name, "add", "--from", "r0", "delay", "1ms")
    rack_command("fault", up.name, "partition", "r0", "/", "r1,r2")
    try:
        assert findings(up, status=0) == []
    finally:
        rack_command("fault", up.name, "clear")
        rack_command("fault", up.name, "heal")


def test_a_rack_that_steers_is_well(either):
    """Its ports run another program, and its nodes poll."""
    try:
        for node, path in (("r0", "xdp"), ("r1", "bridge"), ("c0", "tc")):
            done = rack_command("steer", either.name, "path", node, path)
            assert done.returncode == 0, done.stderr
        assert findings(either, status=0) == []
    finally:
        for node in ("r0", "r1"):
            rack_command("steer", either.name, "path", node, "tc")
    assert findings(either, status=0) == []


# --- the machine


@pytest.fixture(scope="module")
def machine():
    return doctor()["checks"]


KEYS = """privileges kernel cpus numa socket_buffers jit btf lockdown bpf_fs switch_programs
replica_programs kinds_taken kinds_refused namespaces bridge veth offload_switches tc_ingress tc_egress
tcx xdp_native xdp_generic xdp_tx xdp_tx_alone af_xdp af_xdp_zero_copy
tracepoint_xdp_exception tracepoint_xdp_redirect_err""".split()


def test_every_line(machine):
    for key in KEYS:
        one = machine[key]
        assert one["status"] in ("ok", "info", "warn"), (key, one)
        assert one["found"]
        assert one["status"] not in ("warn", "missing") or (one["follows"] and one["remedy"])


def test_says_what_is_so(machine):
    """What can be asked for in another way."""
    with open("/proc/sys/kernel/osrelease") as f:
        assert "Linux " + f.read().strip() in machine["kernel"]["found"]
    assert machine["cpus"]["found"].startswith("%d of " % len(os.sched_getaffinity(0)))
    assert not [key for key in machine if key.startswith("program.two.")]
    for name in os.listdir("/sys/class/net"):
        assert ("device." + name in machine) == os.path.exists("/sys/class/net/%s/device" % name)


def test_leaves_nothing():
    """The kernel frees maps a moment after their last user; other runs may be at it as well."""
    def probes():
        return {m["id"] for m in bpftool("map", "show") or [] if m.get("name", "").startswith("probe_")}

    def mounts():
        with open("/proc/self/mountinfo") as f:
            return [line for line in f if RUN not in line]

    before = mounts()
    with visited(Namespace("doctor")):
        doctor()
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
    assert mounts() == before
    left = probes()
    conftest.until(lambda: not left & probes(), "the kernel let go of the probes' maps")


def test_one_cpu():
    done = subprocess.run(["taskset", "-c", str(min(os.sched_getaffinity(0))), COMMAND, "doctor", "--json"],
                          stdout=subprocess.PIPE, text=True)
    cpus = json.loads(done.stdout)["checks"]["cpus"]
    assert cpus["status"] == "warn" and cpus["found"].startswith("1 of ")


def test_without_privileges():
    done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", COMMAND, "doctor", "--json"],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert not said["ok"] and said["checks"]["privileges"]["status"] == "missing"
    assert "kernel" in said["checks"] and "veth" not in said["checks"]


def test_root_of_a_container():
    """Root in name: without CAP_SYS_ADMIN and CAP_NET_ADMIN there is no rack."""
    done = subprocess.run(["setpriv", "--bounding-set", "-sys_admin,-net_admin", COMMAND, "doctor", "--json"],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 1
    checks = json.loads(done.stdout)["checks"]
    assert checks["privileges"]["found"] == "root without CAP_SYS_ADMIN CAP_NET_ADMIN"
    assert checks["namespaces"]["status"] == "missing"


def test_programs_of_other_people():
    """Named, and left alone."""
    program = bpf.load_raw("of_somebody", PASS_CODE)
    with visited(Namespace("doctor")):
        subprocess.run("ip link add one type veth peer name two".split(), check=True)
        link = bpf.attach_xdp(program, socket.if_nametoindex("two"), "generic")
        said = [one for key, one in doctor()["checks"].items() if key.startswith("program.two.")]
        link.close()
    os.close(program)
    assert len(said) == 1 and said[0]["status"] == "info"
    assert said[0]["found"].startswith("generic XDP program of_somebody (id ")


# --- tests ask it


def test_tests_are_skipped_where_something_is_missing(monkeypatch):
    said = {"af_xdp": {"status": "warn", "found": "refused: no such thing"},
            "btf": {"status": "info", "found": "none"}, "xdp_tx": {"status": "ok", "found": "16 of 16"}}
    monkeypatch.setattr(conftest, "doctor", lambda: said)
    assert conftest.lacking("af_xdp") == "rack doctor: af_xdp: refused: no such thing"
    assert not conftest.lacking("btf") and not conftest.lacking("xdp_tx")
    with pytest.raises(KeyError):
        conftest.lacking("a-word-that-doctor-never-says")
    said["veth"] = {"status": "missing", "found": "no such kind"}
    assert conftest.lacking("tc_egress") == "rack doctor: tc_egress was not tried, something else is missing"


def test_a_skip_says_why():
    done = subprocess.run(["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-m", "pytest",
                           "-q", "-rs", "-p", "no:cacheprovider", "test_race.py", "-k", "test_clean"],
                          cwd=os.path.dirname(__file__), stdout=subprocess.PIPE, text=True)
    assert "1 skipped" in done.stdout and "needs two CPUs, has 1" in done.stdout


# --- leftovers


def test_leftovers(tmp_path):
    with Rack(tmp_path, replicas=2) as rack, Rack(tmp_path, replicas=1) as alive:
        alive.up()
        for n in itertools.count(500, 100):  # the nodes are being made
            assert signal_at([COMMAND, "up", rack.file], n) == signal.SIGKILL
            if rack.names() or os.path.exists(rack.path("ns/r1")):
                break
            rack.down()
        key = "leftovers." + rack.name
        said = doctor()["checks"]
        assert said[key]["status"] == "warn" and said[key]["remedy"].endswith("doctor --clean")
        assert "leftovers." + alive.name not in said
        assert doctor("--clean")["checks"][key]["found"] == "removed"
        assert key not in doctor("--clean")["checks"]
        assert not rack.leftovers()
        assert findings(alive, status=0) == []


def test_leftover_links(tmp_path):
    """Ours lead below /run/paxrack; a link, or a name, of somebody else stays."""
    with Rack(tmp_path, replicas=1) as rack:
        rack.up()  # /run/netns is there
        gone, foreign = rack.name + "x", "%s-tor" % rack.name.replace("pt", "foreign")
        ours, theirs = ("%s/%s" % (NETNS, name) for name in (gone + "-tor", foreign))
        os.symlink("%s/%s/ns/tor" % (RUN, gone), ours)
        os.symlink("/proc/self/ns/net", theirs)
        try:
            assert doctor()["checks"]["leftovers." + gone]["status"] == "warn"
            doctor("--clean")
            assert not os.path.lexists(ours) and os.path.lexists(theirs)
        finally:
            for path in (ours, theirs):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


# --- bad input


@pytest.mark.parametrize("words, status, sentence", [
    (["--nonsense"], 2, "there is no option --nonsense"),
    (["a", "b"], 2, "one RACK at most"),
    (["--clean", "a"], 2, "--clean is for dead racks"),
    (["no-such-rack"], 1, "there is no such rack"),
    (["Not A Name"], 2, "is no name of a rack"),
])
def test_bad_input(words, status, sentence):
    done = rack_command("doctor", *words)
    assert done.returncode == status and sentence in done.stderr and not done.stdout


# --- what a replica says of it


@pytest.fixture
def replica(tmp_path, daemon):
    """One replica, alone, on a device that has no native XDP: a bridge. replica(mode): its log."""
    namespace = Namespace("alone")
    config = tmp_path / "cluster.conf"
    config.write_text("f 0\nreplica 10.79.1.1:12345\n")

    def start(mode, program=None):
        read, write = os.pipe()
        with namespace:
            for line in ("link add eth0 type bridge", "link set eth0 up", "addr add 10.79.1.1/24 dev eth0"):
                run("ip " + line)
            link = program and bpf.attach_xdp(program, socket.if_nametoindex("eth0"), "generic")
            one = daemon([os.path.join(BUILD, "replica"), "--config", config, "--index", 0, "--iface", "eth0",
                          "--xdp", mode, "--ready-fd", write], pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as ready:
            said = ready.readline()  # empty when it ended
        if link:
            link.close()
        return said == "ready\n", one.log()

    yield start
    namespace.close()


def test_replica_names_the_fast_path_that_it_gives_up(replica):
    ready, log = replica("native")
    assert ready and log.count("without ") == 1
    assert "replica: without ack and quorum in the kernel: eth0 has no native XDP" in log


def test_replica_has_nothing_to_give_up(replica):
    ready, log = replica("generic")
    assert ready and "without " not in log


def test_replica_that_finds_another_program_does_not_start(replica):
    """That can be mended, so nothing is given up."""
    program = bpf.load_raw("of_somebody", PASS_CODE)
    ready, log = replica("generic", program)
    os.close(program)
    assert not ready and "eth0 already has an XDP program" in log
