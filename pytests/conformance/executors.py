# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Who can run a case: one interface and four executors.

    model      the reference model
    testrun    the loaded programs through BPF_PROG_TEST_RUN, clones read from a tap device
    generic    the programs attached to a live veth, XDP in generic mode
    native     the same in native mode

    executor.load(state)                      user space writes the whole state
    executor.send(program, frame, context)    one frame -> Outcome
"""

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import time
from typing import NamedTuple

import bpf
import net

from . import model
from .mapped import MappedPrograms
from .profile import OBJECT, OURS, Profile, ProfileError, refusal
from .programs import Programs


class Unavailable(Exception):
    """This executor cannot run here; the text says what is missing."""


class Outcome(NamedTuple):
    verdict: str  # PASS TX DROP, OK STOLEN, or what else the program returned
    counters: dict  # reasons counted by this frame: {name: times}
    frames: list  # PASS, OK: [the frame that went on]; TX: [what was sent]; STOLEN: clones in order
    state: model.State  # afterwards


class Executor:
    """One way to run the programs. Not shared by threads; close() leaves nothing behind."""

    name = ""

    def load(self, state):
        raise NotImplementedError

    def send(self, program, frame, context):
        raise NotImplementedError

    def adapted(self, case):
        """The case as this executor can show it."""
        return case

    def close(self):
        pass


class ModelExecutor(Executor):
    """(a) the reference model."""

    name = "model"

    def __init__(self):
        self.state = None

    def load(self, state):
        self.state = state.copy()

    def send(self, program, frame, context):
        run = model.tc if program == "tc" else model.xdp
        result = run(self.state, frame, context)
        counters = {result.reason: 1, **result.notes}
        return Outcome(result.verdict, counters, result.frames, self.state.copy())


# -- the loaded programs -------------------------------------------------------------------


def open_programs(path, profile, offloads=model.OFFLOAD_ALL, port=model.PORT, slot_count=128, frags=False):
    """An object's programs, loaded as a profile says; ProfileError when they do not fit it."""
    if profile.mapped:
        return MappedPrograms(path, profile, frags)
    try:
        return Programs(path, offloads, port, slot_count, frags, profile.data["programs"])
    except KeyError as e:
        missing = str(e.args[0])
    except StopIteration:
        missing = "constant (section .rodata)"
    except bpf.BpfError as e:
        raise refusal(path, e) from None
    raise ProfileError(f"{path} does not fit {profile.path}: it has no {missing}")


class ProgramsExecutor(Executor):
    """What runs loaded programs: one load for each set of constants that cases ask for."""

    def __init__(self, path=OBJECT, profile=None):
        self.path, self.profile = path, profile or Profile(OURS)
        self.loaded = {}
        self.programs = None

    def choose(self, state, frags=False):
        """The programs loaded with a state's constants."""
        key = (state.offloads, state.port, state.slot_count, frags)
        if self.profile.mapped:  # constants of its own
            key = (model.OFFLOAD_ALL, model.PORT, 128, frags)
        if key not in self.loaded:
            self.loaded[key] = open_programs(self.path, self.profile, *key)
        return self.loaded[key]

    def load(self, state):
        self.programs = self.choose(state)
        self.programs.load(state)

    def adapted(self, case):
        return self.profile.adapted(case, self.choose(case.steps[0].before))

    def close(self):
        for programs in self.loaded.values():
            programs.close()


class Tap:
    """A tap device: what a clone sends to it can be read from its descriptor."""

    TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000

    def __init__(self, name):
        self.name = name
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH", name.encode(), self.IFF_TAP | self.IFF_NO_PI)
        fcntl.ioctl(self.fd, self.TUNSETIFF, request)
        net.run(f"ip link set {name} mtu 3000 up")
        self.index = net.socket.if_nametoindex(name)
        self.frames()

    def frames(self):
        out = []
        while True:
            try:
                out.append(os.read(self.fd, 65536))
            except BlockingIOError:
                return out

    @contextlib.contextmanager
    def down(self):
        net.run(f"ip link set {self.name} down")
        yield
        net.run(f"ip link set {self.name} up")


class TestRunExecutor(ProgramsExecutor):
    """(b) BPF_PROG_TEST_RUN, in a namespace with the devices that contexts name."""

    name = "testrun"
    __test__ = False  # not a test class, whatever its name says to pytest
    TC = {0: "OK", 2: "SHOT", 4: "STOLEN", 0xFFFFFFFF: "UNSPEC"}

    def __init__(self, path=OBJECT, profile=None):
        super().__init__(path, profile)
        self.namespace = net.Namespace("testrun")
        with self.namespace:
            self.tap = Tap("tap0")
            net.run("ip link add ingress0 numrxqueues 2 numtxqueues 2 up type veth peer name ingress1")
            self.ingress = net.socket.if_nametoindex("ingress0")

    def close(self):
        super().close()
        os.close(self.tap.fd)
        self.namespace.close()

    def send(self, program, frame, context):
        if not context.tailroom:
            state = self.programs.before
            self.programs = self.choose(state, frags=True)
            self.programs.load(state)
        self.programs.mark()
        with self.namespace:
            verdict, frames = (self._tc if program == "tc" else self._xdp)(frame, context)
        return Outcome(verdict, self.programs.counted(), frames, self.programs.state())

    def _xdp(self, frame, context):
        # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress
        data = bytes(context.meta) + frame
        end = len(data)
        if not context.tailroom:
            # What lies behind data_end goes to a fragment: a whole page, which cannot grow.
            data += bytes(mmap.PAGESIZE)
        ifindex = self.ingress if context.ifindex else 0
        ctx = struct.pack("=6I", context.meta, end, 0, ifindex, context.queue, 0)
        try:
            number, out, ctx = self.programs.xdp.run(data, ctx)
        except bpf.BpfError as e:
            if e.errno == errno.EINVAL and not context.tailroom:
                raise Unavailable("this kernel's BPF_PROG_TEST_RUN makes no fragments") from None
            raise
        out = out[struct.unpack_from("=I", ctx)[0] :]
        if not context.tailroom:
            out = out[: len(out) - mmap.PAGESIZE]
        verdict = bpf.XDP_VERDICTS[number].upper() if number < 5 else str(number)
        return verdict, [out] if verdict in ("PASS", "TX") else []

    def _tc(self, frame, context):
        # struct __sk_buff: ifindex is its 11th word, gso_segs and gso_size the 42nd and 45th
        ctx = bytearray(192)
        struct.pack_into("=I", ctx, 10 * 4, self.tap.index)
        if context.gso:
            struct.pack_into("=I", ctx, 41 * 4, 2)
            struct.pack_into("=I", ctx, 44 * 4, 300)
        with contextlib.nullcontext() if context.link else self.tap.down():
            with self.programs.leaving_by(self.tap.index):
                number, out, _ = self.programs.tc.run(frame, bytes(ctx))
        verdict = self.TC.get(number, str(number))
        frames = ([out] if verdict == "OK" else []) + self.tap.frames()
        return self.programs.left(frame, verdict, frames, context.link)


class LiveExecutor(ProgramsExecutor):
    """(c), (d) a live veth. The tester is everybody else; the node has the programs.

        tester namespace                  node namespace
          net.Tester [eth0]--------[eth0] XDP on ingress, TC on egress
                                          net.Port: what the stack is given, and a sender
    """

    NODE, TESTER = ("02:71:00:00:00:01", "10.78.0.1"), ("02:71:00:00:00:02", "10.78.0.2")
    MTU = 2500  # a Prepare can be larger than a slot
    # Of a barrier: frames that are no UDP come in, the stack's answer goes out.
    NOISE = {**net.BARRIER_NOISE, "tc-other": 1}

    def __init__(self, mode, path=OBJECT, profile=None):
        super().__init__(path, profile)
        self.name = self.mode = mode
        self.cpus = os.sched_getaffinity(0)
        self.spaces = net.namespaces(2, mode)
        self.far, self.near = net.link(*self.spaces, self.TESTER[0], self.NODE[0], self.MTU)
        self.near.address(self.NODE[1])
        self.near.neighbours({self.TESTER[1]: self.TESTER[0]})
        self.passing = net.let_peer_transmit(self.far) if mode == "native" else None
        self.tester = net.Tester(self.far, self.near, self.TESTER[1], self.NODE[1])
        self.stack = net.Port(self.near)
        self.link = self.attached = None

    def close(self):
        self._detach()
        super().close()
        self.tester.close()
        self.stack.close()
        for space in self.spaces:
            space.close()

    def _detach(self):
        if self.attached:
            self.link.close()
            with self.near.namespace:
                if self.attached.tc:
                    bpf.detach_tc_egress(self.near.index)

    def load(self, state):
        super().load(state)
        if self.attached is not self.programs:
            self._detach()
            self.attached = self.programs
            with self.near.namespace:
                self.link = self.programs.xdp.attach_xdp(self.near.index, self.mode)
                if self.programs.tc:
                    self.programs.tc.attach_tc_egress(self.near.index)

    @contextlib.contextmanager
    def _one_cpu(self):
        """Frames are in order only while one CPU handles them (net.Tester)."""
        os.sched_setaffinity(0, {min(self.cpus)})
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.cpus)

    def send(self, program, frame, context):
        with self._one_cpu():
            self.tester.received()
            self.stack.received()
            self.programs.mark()
            (self.stack if program == "tc" else self.tester).send(frame)
            sent, passed = self.tester.received(), self.stack.received()
            counters = self.programs.counted(self.NOISE)
            state = self.programs.state()
        if program == "tc":
            # A clone passes the program once more, without its flag.
            again = counters.get("tc-plain", 0) - counters.get("tc-clone", 0)
            counters["tc-plain"] = again
            counters = {name: n for name, n in counters.items() if n}
            verdict = "STOLEN" if any(model.REASONS[n].verdict == "drop" for n in counters) else "OK"
            verdict, sent = self.programs.left(frame, verdict, sent, context.link)
            return Outcome(verdict, counters, sent, state)
        verdict = "TX" if sent else "PASS" if passed else "DROP"
        return Outcome(verdict, counters, sent + passed, state)


# The executors, in the order in which they run: each by an object and its profile.
OPEN = {
    "model": lambda path, profile: ModelExecutor(),
    "testrun": TestRunExecutor,
    "generic": lambda path, profile: LiveExecutor("generic", path, profile),
    "native": lambda path, profile: LiveExecutor("native", path, profile),
}


def with_clock(state):
    """A state whose stamp counts from now of the kernel's clock."""
    out = state.copy()
    out.stamp_ns += time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return out


def run_case(executor, case):
    """Yields (step, outcome) for each step until the caller stops."""
    for step in case.steps:
        if step.load:
            executor.load(with_clock(step.before) if step.clock else step.before)
        context = step.context
        if step.clock:
            context = context._replace(clock_ns=time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        yield step, executor.send(case.program, step.frame, context)
