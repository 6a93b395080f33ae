# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long a rack takes to come and go, beside `ip -batch` and Mininet: `make bench-rack`.

What each of them builds, of n servers:

    all        a namespace for each server and one device in it, with its MAC, MTU and address;
               its peer is a port of one Linux bridge
    rack, ip   the bridge in a namespace of its own; permanent neighbours for the replicas
    rack       offload switches off at both ends, programs on each port, /run/paxrack

`ip` is one `ip -batch` for what makes links and namespaces and one for each namespace that is to
be filled, written before the clock starts and run by one shell. Mininet's clock starts when it is
loaded; its hosts have a shell each, and it is given fewer rounds. They take turns, and everything happens in a mount and a
network namespace of its own with an empty /run, so nothing of this machine is in the way, and
nothing of it can be hit.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pytests"))
INSIDE = "--inside"
ROUNDS = {4: 7, 128: 5, 1000: 3}
MININET_ROUNDS = {4: 3, 128: 1}
REPLICAS = 3
RATIO = 0.25
UP_S, DOWN_S = 1.5, 0.5  # of 1000, wanted on a quiet machine
MININET = """
import os, sys, time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo
Mininet.inited = True  # else it changes limits and sysctls of the whole machine
topo = Topo()
topo.addSwitch("s1")
for i in range(int(sys.argv[1])):
    topo.addLink(topo.addHost("h%d" % (i + 1)), "s1")
begin = time.monotonic()
net = Mininet(topo, switch=LinuxBridge, controller=None, autoSetMacs=True, ipBase="198.18.0.0/20")
net.start()
up = time.monotonic()
net.stop()
print("seconds", up - begin, time.monotonic() - up)
"""


def say(text):
    """Progress, where a person looks on."""
    if sys.stderr.isatty():
        print("\r%-78s\r" % text, end="", file=sys.stderr, flush=True)


def timed(command):
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit("bench-rack: %s:\n%s" % (" ".join(command), done.stdout[-2000:]))
    return time.monotonic() - begin


class OurRack:
    name = "rack"

    def __init__(self, n, directory):
        from racks import COMMAND, Rack
        self.command = COMMAND
        self.rack = Rack(directory, replicas=REPLICAS, clients=n - REPLICAS)
        self.rack.write(**{**self.rack.keys, "subnet": "198.18.0.0/20"})

    def up(self):
        return timed([self.command, "up", self.rack.file])

    def down(self):
        return timed([self.command, "down", self.rack.name])

    def left(self):
        return self.rack.leftovers()


class Ip:
    """The same, as far as ip(8) can: written down first."""
    name = "ip -batch"

    def __init__(self, n, directory):
        nodes = ["r%d" % i for i in range(REPLICAS)] + ["c%d" % i for i in range(n - REPLICAS)]
        self.names = ["tor"] + nodes
        self.files = os.path.join(directory, "ip%d" % n)
        os.mkdir(self.files)
        mac = "02:12:34:56:%02x:%02x"
        links, tor = ["netns add tor"], [
            "link set lo up",
            "link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 up"]
        script = ["set -e", "ip -batch %s/links" % self.files, "ip -n tor -batch %s/tor" % self.files]
        for i, node in enumerate(nodes):
            links.append("netns add %s" % node)
            links.append(
                "link add %s netns tor address %s mtu 1500 numtxqueues 1 numrxqueues 1 type veth "
                "peer name eth0 netns %s address %s mtu 1500 numtxqueues 1 numrxqueues 1"
                % (node, "06" + (mac % (i >> 8, i & 255))[2:], node, mac % (i >> 8, i & 255)))
            tor.append("link set %s up master br0" % node)
            own = ["link set lo up", "link set eth0 up",
                   "addr add 198.18.%d.%d/20 dev eth0" % (i + 1 >> 8, i + 1 & 255)]
            own += ["neigh add 198.18.0.%d lladdr %s dev eth0 nud permanent" % (j + 1, mac % (0, j))
                    for j in range(REPLICAS) if j != i]
            self.write(node, own)
            script.append("ip -n %s -batch %s/%s" % (node, self.files, node))
        self.write("links", links)
        self.write("tor", tor)
        self.write("up", script)
        self.write("down", ["netns del %s" % name for name in self.names])

    def write(self, name, lines):
        with open(os.path.join(self.files, name), "w") as f:
            f.write("\n".join(lines) + "\n")

    def up(self):
        return timed(["sh", os.path.join(self.files, "up")])

    def down(self):
        return timed(["ip", "-batch", os.path.join(self.files, "down")])

    def left(self):
        return [n for n in self.names if os.path.exists("/run/netns/" + n)]


class Mininet:
    """Comes and goes in one process."""
    name = "Mininet"

    def __init__(self, n, directory):
        self.n = n

    def up(self):
        done = subprocess.run([sys.executable, "-c", MININET, str(self.n)], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode:
            sys.exit("bench-rack: Mininet:\n%s" % done.stderr[-2000:])
        line = next(l for l in done.stdout.splitlines() if l.startswith("seconds"))
        up, self.took = map(float, line.split()[1:])
        return up

    def down(self):
        return self.took

    def left(self):
        links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout
        return [l.split()[0] for l in links.splitlines() if l.split()[0] != "lo"]


def measure(n, directory):
    """{tool: (seconds up, seconds down, leftovers)}: medians, leftovers of all rounds."""
    tools = [kind(n, directory) for kind in (OurRack, Ip, Mininet)
             if kind is not Mininet or n in MININET_ROUNDS]
    got = {tool.name: ([], [], []) for tool in tools}
    for i in range(ROUNDS[n]):
        for tool in tools[i % len(tools):] + tools[:i % len(tools)]:
            if isinstance(tool, Mininet) and i >= MININET_ROUNDS[n]:
                continue
            say("%d servers, round %d of %d: %s" % (n, i + 1, ROUNDS[n], tool.name))
            ups, downs, left = got[tool.name]
            ups.append(tool.up())
            downs.append(tool.down())
            left += tool.left()
    say("")
    return {name: (statistics.median(ups), statistics.median(downs), left)
            for name, (ups, downs, left) in got.items()}


def main():
    outcomes = []

    def target(text, met):
        outcomes.append(met)
        print("%-66s %s" % (text, "met" if met else "missed"), flush=True)

    print("servers  tool            up s     down s  left behind")
    with tempfile.TemporaryDirectory() as directory:
        results = {}
        for n in ROUNDS:
            results[n] = measure(n, directory)
            for name, (up, down, left) in results[n].items():
                print("%7d  %-10s  %8.3f   %8.3f  %11d" % (n, name, up, down, len(left)), flush=True)
    print()
    for n, result in results.items():
        ratio = result["rack"][0] / result["ip -batch"][0]
        target("%4d servers: up in %.2f of ip -batch's time, %.2f wanted" % (n, ratio, RATIO),
               ratio <= RATIO)
    for n, result in results.items():
        left = result["rack"][2]
        target("%4d servers: %d things left behind, 0 wanted" % (n, len(left)), not left)
    up, down, _ = results[1000]["rack"]
    print("1000 servers: up in %.2f s, down in %.2f s (%.1f and %.1f on a quiet machine wanted; "
          "load here %.1f)" % (up, down, UP_S, DOWN_S, os.getloadavg()[0]))
    print("%d met, %d missed" % (outcomes.count(True), outcomes.count(False)))


if __name__ == "__main__":
    if INSIDE in sys.argv:
        main()
    else:
        os.execvp("unshare", ["unshare", "--mount", "--net", "sh", "-ec",
                              'mount -t tmpfs tmpfs /run; mount -t sysfs sysfs /sys; ip link set lo up; exec "$@"',
                              "sh", sys.executable, os.path.abspath(__file__), INSIDE])
