# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Namespaces, links and ports for packet tests.

    tester, node = namespaces(2)
    link(tester, node)                   tester [eth0]-----[eth0] node
    port = Port(tester, "eth0")
    port.send(frame); port.expect(frame); port.expect_none()

Namespaces have no name: descriptors of this process hold them, so nothing is left behind
when it ends, however it ends. Nothing here sleeps: that no frame comes is known from a frame
sent after (Port.barrier).
"""
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

import bpf

CLONE_NEWNET = 0x40000000
WAIT_S = 5  # how long to wait for what must come, before saying that it did not

libc = ctypes.CDLL(None, use_errno=True)


def check(ret, what):
    if ret < 0:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (what, os.strerror(error)))


class Namespace:
    """A network namespace. `with namespace:` puts the calling thread, and what it starts, in it."""

    def __init__(self, label):
        self.label = label
        self.devices = 0
        self.entered = []
        self.fd = -1
        thread = threading.Thread(target=self._create)  # unshare must not move this thread
        thread.start()
        thread.join()
        if self.fd < 0:
            raise OSError("cannot create a network namespace: root is needed")
        with self:
            for name in ("all", "default"):  # else the kernel sends frames of its own
                with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name, "w") as f:
                    f.write("1")
            run("ip link set lo up")

    def _create(self):
        check(libc.unshare(CLONE_NEWNET), "unshare")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self):
        return "/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def __enter__(self):
        self.entered.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        check(libc.setns(self.fd, CLONE_NEWNET), "setns")
        return self

    def __exit__(self, *_):
        back = self.entered.pop()
        check(libc.setns(back, CLONE_NEWNET), "setns")
        os.close(back)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Existing(Namespace):
    """A namespace that somebody else made, by its path."""

    def __init__(self, path):
        self.label = os.path.basename(path)
        self.entered = []
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def namespaces(n, label="ns"):
    return [Namespace("%s%d" % (label, i)) for i in range(n)]


def run(command, stdin=None):
    """Run a command where the calling thread is; its output, or an error that shows it."""
    done = subprocess.run(command.split(), input=stdin, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError("%s: exit %d\n%s" % (command, done.returncode, done.stdout))
    return done.stdout


OFFLOADS = "tx off rx off tso off gso off gro off rxvlan off txvlan off"


class End:
    """One end of a link: its namespace, device, index and MAC."""

    def __init__(self, namespace, mac):
        self.namespace = namespace
        self.device = "eth%d" % namespace.devices
        self.mac = mac
        namespace.devices += 1

    def configure(self, mtu):
        with self.namespace:
            # One queue's worth of frames must never be dropped for want of room in a queue.
            run("ip link set %s mtu %d txqueuelen 10000 up" % (self.device, mtu))
            # Partial checksums and merged frames must not reach a program or a capture; a tag
            # that sits beside the frame is not seen by native XDP.
            run("ethtool -K %s %s" % (self.device, OFFLOADS))
            self.index = socket.if_nametoindex(self.device)

    def address(self, address, prefix=16):
        with self.namespace:
            run("ip addr add %s/%d dev %s" % (address, prefix, self.device))

    def neighbours(self, macs):
        """Permanent entries: {address: MAC}."""
        lines = ["neigh replace %s lladdr %s dev %s nud permanent" % (a, m, self.device)
                 for a, m in macs.items()]
        with self.namespace:
            run("ip -batch -", "\n".join(lines) + "\n")

    def ethtool(self, switches):
        with self.namespace:
            run("ethtool -K %s %s" % (self.device, switches))


links = 0


def link(a, b, mac_a=None, mac_b=None, mtu=1500):
    """A single-queue veth pair between two namespaces. Returns its two ends."""
    global links
    links += 1
    ends = [End(ns, mac or "02:aa:%02x:%02x:00:%02x" % (links >> 8, links & 255, i))
            for i, (ns, mac) in enumerate(((a, mac_a), (b, mac_b)))]
    one, two = ends
    with a:
        run("ip link add %s address %s numtxqueues 1 numrxqueues 1 type veth "
            "peer name %s address %s numtxqueues 1 numrxqueues 1 netns %s"
            % (one.device, one.mac, two.device, two.mac, b.path))
    for end in ends:
        end.configure(mtu)
    return ends


PASS_CODE = struct.pack("<BBhiBBhi", 0xb7, 0, 0, 2, 0x95, 0, 0, 0)  # r0 = XDP_PASS; exit


def let_peer_transmit(end):
    """Attach a program that passes everything: without one, frames that the other end sends by
    native XDP_TX are counted as sent and never arrive. Returns the descriptors that keep it."""
    program = bpf.load_raw("pass_all", PASS_CODE)
    with end.namespace:
        return program, bpf.attach_xdp(program, end.index, "native")


# --- frames

SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
TP_STATUS_CSUMNOTREADY = 1 << 3
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
ETH_P_ALL = 3


class Frame(bytes):
    """Bytes as they were on the wire, with what a packet socket says beside them."""
    to_host = True       # to the device's own MAC
    checksummed = True   # False: the UDP checksum is partial, the device would finish it


class Port:
    """A packet socket at one device: sends frames, and sees what arrives."""

    def __init__(self, end, sees_echoes=False):
        self.end = end
        with end.namespace:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self.socket.bind((end.device, ETH_P_ALL))
        self.socket.setblocking(False)
        self.sees_echoes = sees_echoes
        self.name = "%s/%s" % (end.namespace.label, end.device)

    def close(self):
        self.socket.close()

    def send(self, *frames):
        for frame in frames:
            self.socket.send(bytes(frame))

    def receive(self):
        """The next frame that arrived, or None. Echoes of barriers are not shown."""
        while True:
            try:
                data, ancillary, flags, address = self.socket.recvmsg(65536, 256)
            except BlockingIOError:
                return None
            if address[2] == PACKET_OUTGOING:
                continue
            frame = rebuilt(data, ancillary)
            frame.to_host = address[2] == 0
            if self.sees_echoes or not is_echo(frame):
                return frame

    def received(self):
        """All frames that have arrived."""
        return list(iter(self.receive, None))

    def wait(self):
        """The next frame; an error when none comes."""
        while True:
            frame = self.receive()
            if frame is not None:
                return frame
            if not select.select([self.socket], [], [], WAIT_S)[0]:
                raise AssertionError("%s: no frame came within %d s" % (self.name, WAIT_S))

    def expect(self, *frames, what="frame"):
        """These frames come, in this order."""
        for i, frame in enumerate(frames):
            same(self.wait(), frame, "%s: %s %d" % (self.name, what, i))

    def expect_none(self, what="frame"):
        got = self.received()
        assert not got, "%s: a %s that must not come:\n%s" % (self.name, what, shown(got))


# --- barriers

ECHO_ID = 0xbeef
NAPI_BUDGET = 64
# What one barrier adds to a program's counters.
BARRIER_NOISE = {"not-udp": NAPI_BUDGET + 1}


def is_icmp(frame):
    """Also what the node's stack says of a datagram for which it has no socket."""
    return frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x01"


def is_echo(frame):
    return is_icmp(frame) and frame[38:40] == struct.pack("!H", ECHO_ID)


class Tester(Port):
    """The far end of a link to a node: plays everybody else there.

    barrier() returns when the node is done with all that was sent before, and what it sent for
    it has arrived. A ping is not enough: frames sent by native XDP_TX leave when the poll that
    took them ends, after an answer by the stack to a ping in the same poll. A poll takes at
    most 64 frames, so 64 frames that nobody answers go before the ping. All this needs one
    CPU: frames that a test sends from two are in no order.
    """
    __test__ = False  # no test class, whatever its name says to pytest

    def __init__(self, end, node_end, address, node_address):
        Port.__init__(self, end, sees_echoes=True)
        self.number = 0
        self.held = []
        ip = Ether(src=end.mac, dst=node_end.mac) / IP(src=address, dst=node_address)
        self.filler = bytes(ip / ICMP(type="echo-reply", id=ECHO_ID, seq=0))
        self.ping = lambda: bytes(ip / ICMP(id=ECHO_ID, seq=self.number))

    def barrier(self):
        self.number = self.number % 0xffff + 1
        self.send(*[self.filler] * NAPI_BUDGET, self.ping())
        wanted = struct.pack("!H", self.number)
        while True:
            frame = Port.wait(self)
            if not is_icmp(frame):
                self.held.append(frame)
            elif is_echo(frame) and frame[40:42] == wanted:
                return

    def wait(self):
        while not self.held:
            frame = Port.wait(self)
            if not is_icmp(frame):
                self.held.append(frame)
        return self.held.pop(0)

    def received(self):
        """All that the node sent for what was sent to it."""
        self.barrier()
        frames, self.held = self.held, []
        return frames


def rebuilt(data, ancillary):
    """The kernel takes a VLAN tag out of the frame before any packet socket sees it."""
    checksummed = True
    for level, kind, cmsg in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", cmsg[:20])
            checksummed = not status & TP_STATUS_CSUMNOTREADY
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
    frame = Frame(data)
    frame.checksummed = checksummed
    return frame


# --- comparing, field by field


def fields(packet, prefix=""):
    """{layer.field: value} of every field down to the last."""
    out = {}
    seen = {}
    while packet:
        name = type(packet).__name__
        seen[name] = seen.get(name, -1) + 1
        if seen[name]:
            name += "[%d]" % seen[name]
        for field in packet.fields_desc:
            value = packet.getfieldval(field.name)
            if isinstance(value, list) and value and isinstance(value[0], Packet):
                for i, one in enumerate(value):
                    out.update(fields(one, "%s%s.%s[%d]." % (prefix, name, field.name, i)))
            elif isinstance(value, Packet):
                out.update(fields(value, "%s%s.%s." % (prefix, name, field.name)))
            else:
                out["%s%s.%s" % (prefix, name, field.name)] = field.i2repr(packet, value)
        packet = packet.payload
    return out


def difference(got, wanted):
    """One line for each field that differs."""
    a, b = fields(Ether(bytes(got))), fields(Ether(bytes(wanted)))
    lines = ["  %-28s got %-24s wanted %s" % (k, a.get(k, "nothing"), b.get(k, "nothing"))
             for k in list(b) + [k for k in a if k not in b] if a.get(k) != b.get(k)]
    return "\n".join(lines or ["  the same fields, other bytes:", "  got    " + bytes(got).hex(),
                               "  wanted " + bytes(wanted).hex()])


def same(got, wanted, what="frame"):
    if bytes(got) != bytes(wanted):
        raise AssertionError("%s (%d bytes, wanted %d) differs:\n%s"
                             % (what, len(got), len(bytes(wanted)), difference(got, wanted)))


def shown(frames):
    return "\n".join(Ether(bytes(f)).show(dump=True) for f in frames)
