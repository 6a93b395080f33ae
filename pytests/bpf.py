# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""libbpf for tests: load an object file, run and attach its programs, read its maps.

    o = Object("build/replica.bpf.o", rodata={"log_slots": 64}, max_entries={"elec_log": 64})
    o.program("replica_xdp").run(frame)            BPF_PROG_TEST_RUN
    state = o.map("elec_state").view("elec_state") a mapped array; state.control[1].view = 3

Nothing here knows a particular program: layouts and enumerators are read from the object's
own BTF, so any object file with BTF will do.
"""
import ctypes
import errno
import mmap
import os
import struct
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p

lib = ctypes.CDLL("libbpf.so.1", use_errno=True)

for _name in ("bpf_object__open_file", "bpf_object__next_map", "bpf_object__next_program",
              "bpf_object__btf", "bpf_map__initial_value", "btf__raw_data"):
    getattr(lib, _name).restype = c_void_p
lib.bpf_program__attach.restype = c_void_p
for _name in ("bpf_map__name", "bpf_program__name"):
    getattr(lib, _name).restype = c_char_p

XDP_VERDICTS = ("aborted", "drop", "pass", "tx", "redirect")
BPF_PROG_TYPE_XDP = 6
PROGRAM_TYPES = {"xdp": BPF_PROG_TYPE_XDP, "tc": 3}
BPF_XDP = 37
XDP_FLAGS = {"generic": 1 << 1, "native": 1 << 2}
BPF_MAP_TYPE_ARRAY = 2
BPF_MAP_TYPE_RINGBUF = 27
BPF_TC_EGRESS = 2
PER_CPU = (5, 6, 10, 21)  # map types: hash, array, LRU hash, cgroup storage
BPF_F_MMAPABLE = 1 << 10
BPF_ANY = 0


class BpfError(OSError):
    pass


# --- messages of libbpf and the verifier are kept for the error, not printed

log_lines = []

vsnprintf = ctypes.CDLL(None).vsnprintf
vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]


@ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
def _print(level, form, arguments):
    line = ctypes.create_string_buffer(1 << 16)
    vsnprintf(line, len(line), form, arguments)
    log_lines.append(line.value.decode(errors="replace").rstrip())
    del log_lines[:-200]
    return 0


lib.libbpf_set_print(_print)


def check(ret, what, why=""):
    if ret < 0:
        error = -ret if ret != -1 else ctypes.get_errno()
        raise BpfError(error, "%s: %s%s" % (what, os.strerror(error), why))
    return ret


def pointer(value, what):
    if not value:
        error = ctypes.get_errno()
        raise BpfError(error, "%s: %s\n%s" % (what, os.strerror(error), "\n".join(log_lines[-20:])))
    return c_void_p(value)


# --- BTF


class Btf:
    """Types of an object file: struct layouts and enumerators."""
    INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, \
        FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(1, 20)

    def __init__(self, data):
        magic, version, flags, head, type_off, type_len, str_off, str_len = \
            struct.unpack_from("<HBBIIIII", data)
        self.strings = data[head + str_off:head + str_off + str_len]
        self.types = [None]  # (kind, name, size or type, members)
        at, end = head + type_off, head + type_off + type_len
        while at < end:
            name, info, size = struct.unpack_from("<III", data, at)
            at += 12
            kind, count, flag = info >> 24 & 31, info & 0xffff, info >> 31
            form = {self.INT: "<I", self.ARRAY: "<III", self.STRUCT: "<III", self.UNION: "<III",
                    self.ENUM: "<Ii", self.FUNC_PROTO: "<II", self.VAR: "<I",
                    self.DATASEC: "<III", self.DECL_TAG: "<i", self.ENUM64: "<III"}.get(kind)
            if kind in (self.INT, self.ARRAY, self.VAR, self.DECL_TAG):
                count = 1
            members = []
            for _ in range(count if form else 0):
                members.append(struct.unpack_from(form, data, at))
                at += struct.calcsize(form)
            self.types.append((kind, self.string(name), size, members, flag))
        self.named = {(t[0], t[1]): i for i, t in enumerate(self.types) if t and t[1]}

    def string(self, at):
        return self.strings[at:self.strings.index(b"\0", at)].decode()

    def find(self, kind, name):
        if (kind, name) not in self.named:
            raise KeyError("no type %s in the object's BTF" % name)
        return self.named[kind, name]

    def plain(self, i):
        """Through typedef, const, volatile and type tags to the type itself."""
        while self.types[i][0] in (self.TYPEDEF, self.VOLATILE, self.CONST, self.RESTRICT,
                                   self.TYPE_TAG):
            i = self.types[i][2]
        return i

    def size(self, i):
        kind, _, size, members, _ = self.types[self.plain(i)]
        if kind == self.ARRAY:
            return members[0][2] * self.size(members[0][0])
        return 8 if kind == self.PTR else size

    def members(self, i):
        """{name: (offset in bytes, type)} of a struct."""
        return {self.string(name): ((offset & 0xffffff if self.types[i][4] else offset) // 8, t)
                for name, t, offset in self.types[i][3]}

    def enum(self, name):
        """{enumerator: value}"""
        return {self.string(m[0]): m[1]
                for m in self.types[self.find(self.ENUM, name)][3]}

    def variables(self, section):
        """{name: (offset, size)} of the variables of a section."""
        out = {}
        for var, offset, size in self.types[self.find(self.DATASEC, section)][3]:
            out[self.types[var][1]] = (offset, size)
        return out


class View:
    """A struct or array in memory, by its BTF: view.field, view.field[3].other = 5.

    Integers are in host byte order; arrays of bytes are bytes. What is read is a copy.
    """
    __slots__ = ("_memory", "_at", "_btf", "_type")

    def __init__(self, memory, btf, type_id, at=0):
        for slot, value in zip(View.__slots__, (memory, at, btf, btf.plain(type_id))):
            object.__setattr__(self, slot, value)

    def _place(self, name):
        try:
            offset, t = self._btf.members(self._type)[name]
        except KeyError:
            raise AttributeError("struct %s has no %s" % (self._btf.types[self._type][1], name))
        return self._at + offset, self._btf.plain(t)

    def _element(self, i):
        element, _, n = self._btf.types[self._type][3][0]
        if not 0 <= i < n:
            raise IndexError(i)
        return self._at + i * self._btf.size(element), self._btf.plain(element)

    def _get(self, at, t):
        kind, _, _, members, _ = self._btf.types[t]
        size = self._btf.size(t)
        if kind == Btf.ARRAY and self._btf.size(members[0][0]) == 1:
            return bytes(self._memory[at:at + size])
        if kind in (Btf.ARRAY, Btf.STRUCT, Btf.UNION):
            return View(self._memory, self._btf, t, at)
        # One load, not a copy of bytes: the words change under the reader.
        return INTEGERS[size].from_buffer(self._memory, at).value

    def _set(self, at, t, value):
        size = self._btf.size(t)
        if isinstance(value, (bytes, bytearray)):
            assert len(value) <= size, "%d bytes into %d" % (len(value), size)
            self._memory[at:at + len(value)] = value
        else:
            INTEGERS[size].from_buffer(self._memory, at).value = value

    def __getattr__(self, name):
        return self._get(*self._place(name))

    def __setattr__(self, name, value):
        self._set(*self._place(name), value)

    def __getitem__(self, i):
        return self._get(*self._element(i))

    def __setitem__(self, i, value):
        self._set(*self._element(i), value)

    def __len__(self):
        return self._btf.types[self._type][3][0][2]

    def __bytes__(self):
        return bytes(self._memory[self._at:self._at + self._btf.size(self._type)])

    def clear(self):
        size = self._btf.size(self._type)
        self._memory[self._at:self._at + size] = bytes(size)

    def dump(self, prefix=""):
        """{path: value} of what is not zero, for comparing and for messages."""
        kind = self._btf.types[self._type][0]
        out = {}
        names = range(len(self)) if kind == Btf.ARRAY else self._btf.members(self._type)
        for name in names:
            value = self[name] if kind == Btf.ARRAY else getattr(self, name)
            path = "%s[%d]" % (prefix, name) if kind == Btf.ARRAY else \
                "%s.%s" % (prefix, name) if prefix else name
            if isinstance(value, View):
                out.update(value.dump(path))
            elif any(value) if isinstance(value, bytes) else value:
                out[path] = value
        return out


INTEGERS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}


# --- objects


class Object:
    """An object file, loaded. Raises BpfError with the end of the verifier's log.

    `types`: {program: "xdp" or "tc"}, for an object whose sections do not tell: these programs
    are loaded and no others, and no map is pinned, whatever the object says.
    `reuse`: {map: descriptor of another's that takes its place}
    """

    def __init__(self, path, rodata=None, max_entries=None, flags=None, types=None, reuse=None):
        self.handle = None
        self.views = []
        del log_lines[:]
        handle = lib.bpf_object__open_file(os.fsencode(path), None)
        self.handle = pointer(handle, "cannot open %s" % path)
        self.maps, self.programs = {}, {}
        size = c_uint32()
        raw = pointer(lib.btf__raw_data(pointer(lib.bpf_object__btf(self.handle), "no BTF"),
                                        byref(size)), "no BTF")
        self.btf = Btf(ctypes.string_at(raw, size.value))
        for handle in self._each(lib.bpf_object__next_map):
            name = lib.bpf_map__name(handle).decode()
            self.maps[name] = Map(self, name, handle)
            if types is not None:
                check(lib.bpf_map__set_pin_path(handle, None), name)
        for name, entries in (max_entries or {}).items():
            check(lib.bpf_map__set_max_entries(self.maps[name].handle, c_uint32(entries)), name)
        for name, fd in (reuse or {}).items():
            check(lib.bpf_map__reuse_fd(self.maps[name].handle, fd), name)
        self._set_rodata(rodata or {})
        for handle in self._each(lib.bpf_object__next_program):
            name = lib.bpf_program__name(handle).decode()
            if name in (flags or {}):
                check(lib.bpf_program__set_flags(handle, c_uint32(flags[name])), name)
            if types is not None:
                check(lib.bpf_program__set_autoload(handle, name in types), name)
            if name in (types or {}):
                check(lib.bpf_program__set_type(handle, PROGRAM_TYPES[types[name]]), name)
        ret = lib.bpf_object__load(self.handle)
        if ret < 0:
            self.close()
            check(ret, "cannot load %s" % path, "\n" + "\n".join(log_lines[-20:]))
        for handle in self._each(lib.bpf_object__next_program):
            name = lib.bpf_program__name(handle).decode()
            self.programs[name] = Program(name, lib.bpf_program__fd(handle),
                                          lib.bpf_program__type(handle), handle)
        for one in self.maps.values():
            one.fd = lib.bpf_map__fd(one.handle)

    def _each(self, step):
        at = step(self.handle, None)
        while at:
            yield c_void_p(at)
            at = step(self.handle, c_void_p(at))

    def _set_rodata(self, values):
        if not values:
            return
        section = next(m for n, m in self.maps.items() if n.endswith(".rodata"))
        places = self.btf.variables(".rodata")
        size = c_size_t()
        memory = lib.bpf_map__initial_value(section.handle, byref(size))
        for name, value in values.items():
            offset, length = places[name]
            if isinstance(value, int):
                value = value.to_bytes(length, "little")
            assert len(value) == length, "%s has %d bytes" % (name, length)
            ctypes.memmove(memory + offset, value, length)

    def map(self, name):
        return self.maps[name]

    def program(self, name):
        return self.programs[name]

    def close(self):
        if self.handle:
            lib.bpf_object__close(self.handle)
            self.handle = None


class Map:
    def __init__(self, owner, name, handle):
        self.owner, self.name, self.handle, self.fd = owner, name, handle, -1

    @property
    def max_entries(self):
        return lib.bpf_map__max_entries(self.handle)

    @property
    def value_size(self):
        return lib.bpf_map__value_size(self.handle)

    @property
    def per_cpu(self):
        return lib.bpf_map__type(self.handle) in PER_CPU

    @property
    def cpus(self):
        """Values that stand behind one key."""
        return lib.libbpf_num_possible_cpus() if self.per_cpu else 1

    @property
    def is_ring(self):
        return lib.bpf_map__type(self.handle) == BPF_MAP_TYPE_RINGBUF

    def lookup(self, key):
        """The value of a key (an int: an index); of a per-CPU map a list, one value a CPU."""
        key = struct.pack("=I", key) if isinstance(key, int) else key
        stride = (self.value_size + 7) // 8 * 8
        value = ctypes.create_string_buffer(stride * self.cpus)
        check(lib.bpf_map_lookup_elem(self.fd, key, value), self.name)
        values = [value.raw[i * stride:i * stride + self.value_size] for i in range(self.cpus)]
        return values if self.per_cpu else values[0]

    def update(self, key, value):
        key = struct.pack("=I", key) if isinstance(key, int) else key
        check(lib.bpf_map_update_elem(self.fd, key, bytes(value), ctypes.c_uint64(BPF_ANY)),
              self.name)

    def counter(self, index):
        """Sum over CPUs of one u64."""
        return sum(struct.unpack("=Q", v)[0] for v in self.lookup(index))

    def counters(self):
        """counter() of each index, by one system call."""
        values = struct.unpack("=%dQ" % (self.max_entries * self.cpus), self.lookup_all())
        return [sum(values[at:at + self.cpus]) for at in range(0, len(values), self.cpus)]

    def mapped(self):
        """The memory of a mmapable array, shared with the programs."""
        stride = (self.value_size + 7) // 8 * 8
        length = (stride * self.max_entries + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        return mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def lookup_all(self):
        """Of an array: the values of all keys, as they stand in memory."""
        values = ctypes.create_string_buffer(self.value_size * self.cpus * self.max_entries)
        self._batch(lib.bpf_map_lookup_batch, (None, byref(c_uint32())), values)
        return values.raw

    def update_all(self, values):
        """Of an array: the opposite."""
        self._batch(lib.bpf_map_update_batch, (), bytes(values))

    def _batch(self, call, cursor, values):
        count = c_uint32(self.max_entries)
        keys = struct.pack("=%dI" % count.value, *range(count.value))
        ret = call(self.fd, *cursor, c_char_p(keys), values, byref(count), None)
        if ret != -errno.ENOENT:  # says only that there is no next key
            check(ret, self.name)

    def ring_records(self):
        """Of a ring buffer: the records that were submitted, taken out of it."""
        size = self.max_entries
        with mmap.mmap(self.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) \
                as consumer, mmap.mmap(self.fd, mmap.PAGESIZE + 2 * size, mmap.MAP_SHARED,
                                       mmap.PROT_READ, offset=mmap.PAGESIZE) as producer:
            at, = struct.unpack_from("=Q", consumer)
            end, = struct.unpack_from("=Q", producer)
            records = []
            while at < end:
                start = mmap.PAGESIZE + at % size
                head, = struct.unpack_from("=I", producer, start)
                length = head & (1 << 30) - 1
                if not head >> 30:  # neither busy nor discarded
                    records.append(producer[start + 8:start + 8 + length])
                at += (8 + length + 7) // 8 * 8
            consumer[:8] = struct.pack("=Q", end)
        return records

    def ring_drain(self):
        """Of a ring buffer: all that is in it counts as read."""
        with mmap.mmap(self.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) \
                as consumer, mmap.mmap(self.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ,
                                       offset=mmap.PAGESIZE) as producer:
            consumer[:8] = producer[:8]

    def view(self, type_name, memory=None, index=0):
        """One element of a mmapable array, as a struct."""
        btf = self.owner.btf
        stride = (self.value_size + 7) // 8 * 8
        return View(memory if memory is not None else self.mapped(), btf,
                    btf.find(Btf.STRUCT, type_name), index * stride)


# --- programs


class TestRun(Structure):
    _fields_ = [("sz", c_size_t), ("data_in", c_void_p), ("data_out", c_void_p),
                ("data_size_in", c_uint32), ("data_size_out", c_uint32),
                ("ctx_in", c_void_p), ("ctx_out", c_void_p),
                ("ctx_size_in", c_uint32), ("ctx_size_out", c_uint32),
                ("retval", c_uint32), ("repeat", c_int), ("duration", c_uint32),
                ("flags", c_uint32), ("cpu", c_uint32), ("batch_size", c_uint32)]


class LinkCreate(Structure):
    _fields_ = [("sz", c_size_t), ("flags", c_uint32), ("iter_info", c_void_p),
                ("iter_info_len", c_uint32), ("target_btf_id", c_uint32),
                ("union", ctypes.c_uint64 * 4)]


class TcHook(Structure):
    _fields_ = [("sz", c_size_t), ("ifindex", c_int), ("attach_point", c_int),
                ("parent", c_uint32)]


class TcOpts(Structure):
    _fields_ = [("sz", c_size_t), ("prog_fd", c_int), ("flags", c_uint32), ("prog_id", c_uint32),
                ("handle", c_uint32), ("priority", c_uint32)]


def sized(cls, **values):
    return cls(sz=ctypes.sizeof(cls), **values)


class Program:
    def __init__(self, name, fd, type_number, handle=None):
        self.name, self.fd, self.handle = name, fd, handle
        self.type = next((t for t, n in PROGRAM_TYPES.items() if n == type_number), "other")

    def run(self, frame, ctx=b"", room=512):
        """BPF_PROG_TEST_RUN: (return value, frame afterwards, context afterwards)."""
        data = bytes(frame)
        out = ctypes.create_string_buffer(len(data) + room)
        ctx_out = ctypes.create_string_buffer(max(len(ctx), 1))
        run = sized(TestRun, data_in=ctypes.cast(data, c_void_p), data_size_in=len(data),
                    data_out=ctypes.cast(out, c_void_p), data_size_out=len(out), repeat=1)
        if ctx:
            run.ctx_in, run.ctx_size_in = ctypes.cast(ctx, c_void_p), len(ctx)
            run.ctx_out, run.ctx_size_out = ctypes.cast(ctx_out, c_void_p), len(ctx_out)
        check(lib.bpf_prog_test_run_opts(self.fd, byref(run)), self.name)
        return run.retval, out.raw[:run.data_size_out], ctx_out.raw[:run.ctx_size_out]

    def run_xdp(self, frame, meta=b""):
        """(verdict by name, frame afterwards); `meta` stands before the frame, as metadata."""
        data = meta + bytes(frame)
        # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress
        ctx = struct.pack("=6I", len(meta), len(data), 0, 0, 0, 0) if meta else b""
        verdict, out, ctx = self.run(data, ctx)
        start = struct.unpack_from("=I", ctx)[0] if meta else 0
        return XDP_VERDICTS[verdict], out[start:]

    def run_tc(self, frame):
        """(TC_ACT_*, frame afterwards)"""
        verdict, out, _ = self.run(frame)
        return ctypes.c_int(verdict).value, out

    def attach(self):
        """Where its section says; detach() by what this returns."""
        return pointer(lib.bpf_program__attach(self.handle), "cannot attach %s" % self.name)

    def attach_xdp(self, ifindex, mode):
        return attach_xdp(self.fd, ifindex, mode)

    def attach_tc_egress(self, ifindex, priority=1, handle=1):
        """On a device of the namespace that the caller is in; goes away with the device, or by
        detach_tc_egress."""
        hook = sized(TcHook, ifindex=ifindex, attach_point=BPF_TC_EGRESS)
        ret = lib.bpf_tc_hook_create(byref(hook))
        if ret != -errno.EEXIST:
            check(ret, "cannot make clsact on device %d" % ifindex)
        opts = sized(TcOpts, prog_fd=self.fd, handle=handle, priority=priority)
        check(lib.bpf_tc_attach(byref(hook), byref(opts)), "cannot attach %s" % self.name)


def detach(link):
    """Ends what Program.attach() began."""
    check(lib.bpf_link__destroy(link), "cannot detach")


def detach_tc_egress(ifindex, priority=1, handle=1):
    hook = sized(TcHook, ifindex=ifindex, attach_point=BPF_TC_EGRESS)
    check(lib.bpf_tc_detach(byref(hook), byref(sized(TcOpts, handle=handle, priority=priority))),
          "cannot detach from device %d" % ifindex)


class Link:
    """An attached XDP program; close() detaches it, and so does the end of this process."""

    def __init__(self, fd):
        self.fd = fd

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def attach_xdp(program_fd, ifindex, mode):
    """`mode`: native or generic. On a device of the namespace that the caller is in."""
    opts = sized(LinkCreate, flags=XDP_FLAGS[mode])
    return Link(check(lib.bpf_link_create(program_fd, ifindex, BPF_XDP, byref(opts)),
                      "cannot attach XDP (%s) to device %d" % (mode, ifindex)))


def load_raw(name, code):
    """Load instructions as an XDP program; its descriptor."""
    return check(lib.bpf_prog_load(BPF_PROG_TYPE_XDP, name.encode(), b"GPL", code,
                                   c_size_t(len(code) // 8), None), name)
