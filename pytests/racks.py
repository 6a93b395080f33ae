# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Racks for tests: a name and a subnet of their own, and what a machine must look like without.

    with Rack(replicas=3, clients=1) as rack:
        rack.up(); rack.exec("c0", "true"); rack.down()

signal_at(command, n) ends a command by SIGKILL at its n-th stop at a system call, so that "killed at any
moment" is every moment and the same one each time.
"""
import ctypes
import itertools
import json
import os
import signal
import subprocess

import yaml

from conftest import BUILD, asked
from net import Existing, Port

COMMAND = os.path.join(BUILD, "rack")
RUN = "/run/paxrack"
NETNS = "/run/netns"
serial = itertools.count()


def rack_command(*arguments, **options):
    """build/rack ...: a finished process with text in stdout and stderr."""
    return subprocess.run([COMMAND, *map(str, arguments)], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)


def bpftool(*arguments):
    """What it says, or None: what it was asked about may go away meanwhile."""
    done = subprocess.run(["bpftool", "-j", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.returncode == 0 else None


class End:
    """A device, as Port wants it."""

    def __init__(self, namespace, device):
        self.namespace, self.device = namespace, device


def free_subnet(number):
    """One that no rack has: other runs of these tests may be up at the same time."""
    taken = rack_command("ls").stdout
    subnets = ("198.19.%d.0/24" % ((os.getpid() * 7 + number + i) % 256) for i in range(256))
    return next(subnet for subnet in subnets if subnet not in taken)


class Rack:
    def __init__(self, directory, **keys):
        number = next(serial)
        self.name = "pt%d-%d" % (os.getpid(), number)
        self.file = os.path.join(str(directory), self.name + ".yaml")
        self.open = []
        self.write(rack=self.name, subnet=free_subnet(number), **keys)

    def write(self, **keys):
        keys.setdefault("replicas", 3)
        self.keys = keys
        with open(self.file, "w") as f:
            yaml.safe_dump(keys, f)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.open:
            one.close()
        rack_command("down", self.name)

    def up(self, *options):
        done = rack_command("up", self.file, *options)
        assert done.returncode == 0, done.stderr
        return done

    def down(self):
        done = rack_command("down", self.name)
        assert done.returncode == 0, done.stderr
        return done

    def exec(self, node, *command, check=True):
        done = rack_command("exec", self.name, node, "--", *command)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if check else done

    def start(self, node, *command, **popen):
        return subprocess.Popen([COMMAND, "exec", self.name, node, "--", *command], **popen)

    def nodes(self):
        """{node: (address, mac, processes)} as `rack ls` has it."""
        done = rack_command("ls", self.name)
        assert done.returncode == 0, done.stderr
        rows = [line.split(None, 3) for line in done.stdout.splitlines()[1:]]
        return {node: (address, mac, processes) for node, address, mac, processes in rows}

    def path(self, *parts):
        return os.path.join(RUN, self.name, *parts)

    def namespace(self, node):
        self.open.append(Existing(self.path("ns", node)))
        return self.open[-1]

    def port(self, node):
        """A packet socket at the node's eth0."""
        self.open.append(Port(End(self.namespace(node), "eth0")))
        return self.open[-1]

    def names(self):
        try:
            return sorted(n for n in os.listdir(NETNS) if n.startswith(self.name + "-"))
        except FileNotFoundError:
            return []

    def maps(self):
        """Ids of maps in which a ToR keeps this rack's MACs: they live as long as its programs.
        Other people's racks may come and go meanwhile."""
        h = 2166136261
        for byte in self.name.encode():
            h = (h ^ byte) * 16777619 & 0xffffffff  # FNV-1a, as in topo/rack.c
        mac = [2, h >> 16 & 255, h >> 8 & 255, h & 255, 0, 0]
        ids = [m["id"] for m in bpftool("map", "show") or [] if m.get("name") == "tor_ports"]
        return [i for i in ids if any(e["formatted"]["value"]["mac"] == mac
                                      for e in bpftool("map", "dump", "id", i) or [])]

    def leftovers(self):
        """Everything of this rack that is still there; nothing, after `down`.

        What a process that was killed held is let go by the kernel a moment after its end, and
        no later command can know of it: so this looks again while there is something.
        """
        left = []

        def nothing():
            left[:] = self._left()
            return not left

        asked(nothing, patience_s=10)
        return left

    def _left(self):
        left = self.names() + ["map %d" % i for i in self.maps()]
        if os.path.lexists(self.path()):
            left.append(self.path())
        with open("/proc/self/mountinfo") as f:
            left += [line for line in f if "/%s" % self.name in line]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid) as f:
                    if "PAXRACK=%s/" % self.name in f.read():
                        left.append("process " + pid)
            except OSError:
                pass
        return left


# --- ending a command at a chosen system call

PTRACE_TRACEME, PTRACE_SYSCALL, PTRACE_SETOPTIONS = 0, 24, 0x4200
PTRACE_O_EXITKILL = 0x100000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def traced(command, n, number):
    pid = os.fork()
    if pid == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        libc.ptrace(PTRACE_TRACEME, 0, None, None)
        os.execv(command[0], command)
    os.waitpid(pid, 0)  # stopped by its exec
    libc.ptrace(PTRACE_SETOPTIONS, pid, None, PTRACE_O_EXITKILL)
    deliver = 0
    for stop in itertools.count(1):
        if stop == n:
            os.kill(pid, number)
        libc.ptrace(PTRACE_SYSCALL, pid, None, deliver)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return status, stop
        caught = os.WSTOPSIG(status)
        deliver = 0 if caught == signal.SIGTRAP else caught


def stops(command):
    """Run a command: how often it stops, twice (before and after) at each system call."""
    status, n = traced(command, 0, 0)
    assert status == 0, "%s: wait status %d" % (" ".join(command), status)
    return n


def signal_at(command, n, number=signal.SIGKILL):
    """Run a command, send it a signal at its n-th stop; its wait status."""
    return traced(command, n, number)[0]
