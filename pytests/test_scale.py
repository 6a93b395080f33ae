# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Racks with several ToRs, and over several hosts.

              spine                         host a             host b
         _______|_______                     spine              spine
       br0             br1                     |__ vxlan ~~~ vxlan __|
      r0 c0          r1 r2 c1                 br0                  br1
"""
import json
import os
import re
import subprocess

import pytest

from conftest import MODES
from net import run
from racks import COMMAND, Rack, rack_command
from switch import Switch, ops, timed, arrive_after
from test_partition import all_pairs, reach

TORS = [{"nodes": ["r0", "c0"]}, {"nodes": ["r1-r2", "c1"]}]


@pytest.fixture(scope="module", params=MODES)
def live_spine(request, tmp_path_factory):
    from bench import one_cpu
    with one_cpu():
        live = Switch(tmp_path_factory.mktemp("spine"), request.param, clients=2, tors=TORS)
    with live.rack:
        yield live


@pytest.fixture
def spine(live_spine):
    from bench import one_cpu
    with one_cpu():
        yield live_spine
        live_spine.reset()


def crossed(rack, device="down1"):
    """Packets that the spine sent down to a ToR."""
    link = json.loads(rack.exec("tor", "ip", "-s", "-j", "link", "show", device))[0]
    return link["stats64"]["tx"]["packets"]


# --- the spine


def raw(frames):
    return [bytes(frame) for frame in frames]


@pytest.mark.parametrize("mode", MODES)
def test_replicas_commit_through_the_kernel_across_tors(tmp_path, mode):
    """All offloads: broadcasts go down to both followers, their acks come up, one of which
    completes the quorum."""
    with Rack(tmp_path, clients=1, xdp=mode, tors=[{"nodes": ["r0", "c0"]}, {}]) as rack:
        rack.up()
        before = crossed(rack), crossed(rack, "down0")
        done = rack_command("run", rack.file, "--offload", "all", "--ops", 2000)
        assert done.returncode == 0, done.stderr
        row = next(l.split() for l in done.stdout.splitlines() if l.startswith("all"))
        acked, again, clones, absorbed = map(float, row[-4:])
        assert acked and clones and absorbed
        assert crossed(rack) - before[0] >= clones
        assert crossed(rack, "down0") - before[1] >= acked


def test_every_node_is_where_the_file_says(spine):
    ls = rack_command("ls", spine.rack.name).stdout.splitlines()[1:]
    assert {l.split()[0]: l.split()[3] for l in ls} == {
        "r0": "br0", "c0": "br0", "r1": "br1", "r2": "br1", "c1": "br1", "tor": "-"}
    links = {l["ifname"]: l.get("master") for l in
             json.loads(spine.rack.exec("tor", "ip", "-j", "link"))}
    assert links["r0"] == links["up0"] == "br0" and links["c1"] == links["up1"] == "br1"
    assert links["down0"] == links["down1"] == "spine"


def test_all_reach_all_and_only_other_tors_by_the_spine(spine):
    counts = [crossed(spine.rack)]
    for source, to in (("r1", "r2"), ("r0", "c0"), ("r0", "r1"), ("c0", "c1")):
        frame = spine.prepare(source, to, 1)
        assert raw(spine.arrivals(source, to, frame)) == raw([frame])
        counts.append(crossed(spine.rack))
    # arrivals() ends with a mark that c0 sends, or r2 to c0; to r1, r2, c1 it comes down
    assert counts[2] - counts[1] == 0 and counts[3] - counts[2] == 2
    assert spine.reasons("r0")["uplink"] >= 1 and spine.reasons("c0")["uplink"] >= 1


def test_one_to_all_arrives_once_everywhere(spine):
    frame = spine.arp("c0")
    spine.ports["c0"].send(frame)
    for to in ("r0", "r1", "r2", "c1"):
        assert raw(spine.arrivals("c0", to)) == raw([frame]), to


def test_a_partition_holds_across_the_spine(spine):
    cut = [(a, b) for a in ("r0", "c0") for b in ("r1", "r2", "c1")]
    spine.fault("partition", "r0,c0", "/", "r1,r2,c1")
    assert reach(spine) == all_pairs(spine) - set(cut) - {(b, a) for a, b in cut}
    before = spine.counts(0)[1]
    spine.ports["c0"].send(spine.arp("c0"))
    assert raw(spine.arrivals("r2", "r0")) == raw([spine.arp("c0")])
    assert spine.counts(0)[1] - before == 3
    spine.fault("heal")
    assert reach(spine) == all_pairs(spine)


def test_one_to_all_obeys_each_link_across_the_spine(spine):
    spine.fault("partition", "c0", "/", "r1")
    spine.ports["c0"].send(spine.arp("c0"))
    assert spine.arrivals("c0", "r1") == []
    for to in ("r0", "r2", "c1"):
        assert raw(spine.arrivals("c0", to)) == raw([spine.arp("c0")])


def test_a_healthy_spine_yields_no_finding(live_spine):
    done = rack_command("doctor", live_spine.rack.name)
    assert "br1" not in done.stdout and "is no port of the bridge" not in done.stdout


def test_each_frame_is_judged_once(spine):
    drop = spine.add("--from r0 --to r1 --every 2 drop")
    got = spine.arrivals("r0", "r1", *spine.prepares("r0", "r1", 10))
    assert ops(got) == [1, 3, 5, 7, 9] and spine.counts(drop) == (10, 5)
    assert spine.reasons("r1")["spoof-mac"] == 0


def test_what_waits_goes_on_by_the_spine(spine):
    spine.add("--from r0 --to r2 delay 20ms")
    frames = spine.prepares("r0", "r2", 3)
    before = crossed(spine.rack)
    sent = timed(spine, "r0", frames)
    arrive_after(spine, "r2", frames, [t + 20000000 for t in sent])
    assert crossed(spine.rack) - before == 3


def test_a_spoofed_source_does_not_cross(spine):
    before = spine.reasons("r0")["spoof-mac"]
    frame = spine.prepare("c0", "r1", 1)
    assert spine.arrivals("r0", "r1", frame) == []
    assert spine.reasons("r0")["spoof-mac"] == before + 1


# --- two hosts

UNDER = "203.0.113.%d"


class Hosts:
    """Two outer namespaces, each with a /run of its own, and a link between them."""

    def __init__(self, mtu=1550):
        self.held = [subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-ec",
             "mount -t tmpfs tmpfs /run; mount -t sysfs sysfs /sys; echo up; exec sleep 1000"],
            stdout=subprocess.PIPE) for _ in range(2)]
        assert [p.stdout.readline() for p in self.held] == [b"up\n"] * 2
        name = "ps%d" % os.getpid()
        run("ip link add %s mtu %d netns %d type veth peer name %s mtu %d netns %d"
            % (name, mtu, self.held[0].pid, name, mtu, self.held[1].pid))
        for i in range(2):
            self.run(i, "ip", "addr", "add", UNDER % (i + 1) + "/24", "dev", name)
            self.run(i, "ip", "link", "set", name, "up")

    def command(self, host, *command):
        return ["nsenter", "--target", str(self.held[host].pid), "--mount", "--net", *map(str, command)]

    def run(self, host, *command, status=0):
        done = subprocess.run(self.command(host, *command), capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def rack(self, host, *words, status=0):
        return self.run(host, COMMAND, *words, status=status)

    def left(self, host):
        return [n for n in self.run(host, "ls", "/run").split() if n in ("paxrack", "netns")]

    def close(self):
        for i in range(2):
            if self.held[i].poll() is None:
                subprocess.run(self.command(i, COMMAND, "down", "--all"), capture_output=True)
                self.held[i].kill()
            self.held[i].wait()


@pytest.fixture
def hosts():
    hosts = Hosts()
    yield hosts
    hosts.close()


def stretched(tmp_path, **keys):
    rack = Rack(tmp_path, clients=2, tors=[{"nodes": ["r0", "c0"], "host": UNDER % 1},
                                           {"host": UNDER % 2}], **keys)
    return rack, [rack.keys["subnet"].replace(".0/24", ".%d" % (i + 1)) for i in range(5)]


PING = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "echo":
    s.bind(("", 7))
    print("bound", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(data, peer)
s.settimeout(float(sys.argv[2]))
s.connect((sys.argv[1], 7))
for size in (1, 1400):
    s.send(bytes(size))
    assert len(s.recv(65536)) == size
"""


def doctor(hosts, rack):
    """What `rack doctor` finds of vxlan, and that its commands mend it."""
    def findings(status):
        done = subprocess.run(hosts.command(0, COMMAND, "doctor", rack.name, "--json"), text=True,
                              stdout=subprocess.PIPE)
        assert done.returncode == status
        return json.loads(done.stdout)["findings"]

    for commands, wanted in (
            (["ip link set vxlan down", "ip link set up0 down"], ["down", "down"]),
            (["bridge fdb del MAC dev vxlan self", "bridge fdb del 0:0:0:0:0:0 dev vxlan self",
              "tc qdisc del dev vxlan clsact"], ["tc_program", "vxlan_host", "vxlan_node"]),
            (["ip link del vxlan"], ["device_gone"])):
        assert findings(0) == []
        mac = next(l.split()[2] for l in hosts.rack(0, "ls", rack.name).splitlines() if l.startswith("c1"))
        for command in commands:
            hosts.rack(0, "exec", rack.name, "tor", "--", *command.replace("MAC", mac).split())
        said = findings(1)
        assert sorted(one["key"] for one in said) == wanted
        for one in said:
            hosts.run(0, "sh", "-c", one["remedy"])
    assert findings(0) == []


def test_a_rack_over_two_hosts(hosts, tmp_path):
    """The same file on both; what each builds is what is behind its own ToR."""
    rack, address = stretched(tmp_path)
    for host in range(2):
        hosts.rack(host, "up", rack.file)
    ls = [l.split() for l in hosts.rack(1, "ls", rack.name).splitlines()[1:]]
    assert {l[0]: l[3] for l in ls} == {"r0": UNDER % 1, "c0": UNDER % 1, "r1": "br1", "r2": "br1",
                                        "c1": "br1", "tor": "-"}
    assert "not on this host, but on " + UNDER % 1 in hosts.rack(1, "exec", rack.name, "r0", "--",
                                                                "true", status=1)
    assert re.search(r"^ +tor0, on %s\n.+\n.+\n +\[r0\] +\[c0\]$" % UNDER % 1, hosts.rack(1, "show", rack.name), re.M)
    assert "  spine -> tor0 [dir=none, label=\"vxlan\", style=dashed];" in hosts.rack(1, "show", rack.name, "--dot")
    echo = subprocess.Popen(hosts.command(1, COMMAND, "exec", rack.name, "c1", "--",
                                          "/usr/bin/python3", "-c", PING, "echo"),
                            stdout=subprocess.PIPE)
    try:
        assert echo.stdout.readline() == b"bound\n"
        ping = ["exec", rack.name, "c0", "--", "/usr/bin/python3", "-c", PING, address[4]]
        hosts.rack(0, *ping, 20)  # ARP goes to all, the rest to one
        hosts.rack(0, "fault", rack.name, "partition", "c0", "/", "c1")
        assert "timed out" in hosts.rack(0, *ping, 1, status=1)
        hosts.rack(0, "fault", rack.name, "heal")
        hosts.rack(0, *ping, 20)
        doctor(hosts, rack)
    finally:
        echo.kill()
        echo.wait()
    for host in range(2):
        hosts.rack(host, "down", rack.name)
        assert hosts.left(host) == []
        assert "vxlan" not in hosts.run(host, "ip", "-br", "link")


def test_an_mtu_that_vxlan_leaves_no_room_for(hosts, tmp_path):
    rack, _ = stretched(tmp_path, link={"mtu": 1501})
    said = hosts.rack(0, "up", rack.file, status=1)
    assert len(said.splitlines()) == 1 and "VXLAN's 50 bytes" in said and "mtu: 1500" in said
    assert hosts.left(0) == []


def test_a_rack_of_other_hosts_only(tmp_path):
    rack, _ = stretched(tmp_path)
    done = rack_command("up", rack.file)
    assert done.returncode == 1 and "no ToR of %s is on this host" % rack.name in done.stderr
    assert not rack.leftovers()


# --- files that cannot be


@pytest.mark.parametrize("keys, says", [
    ({"tors": [{"nodes": ["r0"]}, {"nodes": ["r1-r2", "c0", "c1", "r0"]}]}, "r0 is behind ToR 0 and"),
    ({"tors": [{"nodes": ["r0"]}, {"nodes": ["r1-r2", "c0"]}]}, "c1 is behind none"),
    ({"tors": [{"nodes": ["r0"]}, {}, {}]}, "ToR 1 and ToR 2 name no nodes"),
    ({"tors": [{"nodes": ["r0-c1"]}, {}]}, "'r0-c1' is neither a node"),
    ({"tors": [{"nodes": ["r2-r0"]}, {}]}, "'r2-r0' is neither"),
    ({"tors": [{"nodes": ["r3"]}, {}]}, "'r3' is neither"),
    ({"tors": [{"nodes": ["../x"]}, {}]}, "'../x' is no node"),
    ({"tors": [{"nodes": ["r0"], "host": "192.0.2.1"}, {}]}, "all of them name a host"),
    ({"tors": [{"nodes": ["r0"], "host": "192.0.2"}, {"host": "192.0.2.1"}]}, "'192.0.2' is no IPv4"),
    ({"tors": [{"nodes": ["r0"]}, {}], "vxlan": {"id": 7}}, "no ToR has a host"),
    ({"tors": [{"host": "192.0.2.1"}], "vxlan": {"id": 1 << 24}}, "more than 16777215"),
    ({"tors": [{"host": "192.0.2.1"}], "vxlan": {"port": 65536}}, "more than 65535"),
])
def test_tors_that_cannot_be(tmp_path, keys, says):
    rack = Rack(tmp_path, clients=2, **keys)
    done = rack_command("up", rack.file)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and says in done.stderr
    assert re.match(r"rack: %s:\d+: " % re.escape(rack.file), done.stderr)
    assert not rack.leftovers()


# --- a machine with too little room


@pytest.mark.parametrize("limit, says", [
    ("ulimit -n 32", ["64 open files", "have 32"]),
    ("echo 5 > FAKE; mount --bind FAKE /proc/sys/user/max_net_namespaces",
     ["6 network namespaces", "may be 5", "user.max_net_namespaces"]),
    ("echo 7 > FAKE; mount --bind FAKE /proc/sys/fs/mount-max",
     ["8 mounts", "may be 7", "fs.mount-max"]),
    ("echo MemAvailable: 17000 kB > FAKE; mount --bind FAKE /proc/meminfo",
     ["about 17 MiB", "16 are available"]),
])
@pytest.mark.parametrize("enough", [False, True])
def test_which_limit_a_rack_is_too_large_for(tmp_path, limit, says, enough):
    """Five nodes; with room for one more there is room."""
    if enough:
        limit = re.sub(r"\b(32|5|7|17000)\b", lambda m: {"32": "64", "5": "6", "7": "8",
                                                         "17000": "17664"}[m[0]], limit)
    with Rack(tmp_path, clients=2) as rack:
        done = subprocess.run(["unshare", "--mount", "sh", "-ec", limit.replace(
            "FAKE", str(tmp_path / "fake")) + '; exec "$@"', "sh", COMMAND, "up", rack.file],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == (0 if enough else 1), done.stderr
        if not enough:
            assert len(done.stderr.splitlines()) == 1
            assert all(word in done.stderr for word in says), done.stderr
            assert not rack.leftovers()
