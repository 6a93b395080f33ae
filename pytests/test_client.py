# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""build/client against replicas that the test plays: who is asked, when again, what is believed.

    client ---- lo ---- three sockets, in one thread; `behave(index, request)` gives the replies
"""
import collections
import json
import os
import select
import signal
import socket
import subprocess
import threading

import pytest

from conftest import BUILD
from paxos import KINDS, Paxos

CLIENT = os.path.join(BUILD, "client")
ReplyMessage = KINDS["Reply"]


def client(*arguments):
    return subprocess.run([CLIENT, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Replicas:
    """The cluster that `behave` plays; a plain one leads view 1 and keeps a key-value store."""

    def __init__(self, folder, behave=None, view=1):
        self.behave = behave or self.plain
        self.view = view
        self.asked = collections.Counter()  # requests by replica
        self.executed = collections.Counter()  # by client and request id: once each, please
        self.store = {}
        self.last = {}  # of each client: request id and reply
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for one in self.sockets:
            one.bind(("127.0.0.1", 0))
        self.conf = folder / "cluster.conf"
        self.conf.write_text("f 1\n" + "".join("replica %s:%d\n" % s.getsockname()
                                               for s in self.sockets))
        self.wake, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.close()
        self.thread.join()
        for one in [self.wake, *self.sockets]:
            one.close()

    def serve(self):
        while True:
            ready = select.select([self.wake, *self.sockets], [], [])[0]
            if self.wake in ready:
                return
            for one in ready:
                data, sender = one.recvfrom(65536)
                index = self.sockets.index(one)
                self.asked[index] += 1
                for reply in self.behave(index, Paxos(data).payload.request):
                    one.sendto(bytes(reply), sender)

    def plain(self, index, request):
        return [self.execute(request)] if index == self.view % 3 else []

    def execute(self, request):
        """The client table of VR: the last request of a client is answered again, not done again."""
        number, reply = self.last.get(request.clientid, (-1, None))
        if number != request.clientreqid:
            self.executed[request.clientid, request.clientreqid] += 1
            reply = self.reply(request, self.apply(bytes(request.op)))
            self.last[request.clientid] = request.clientreqid, reply
        return reply

    def apply(self, op):
        verb, key, *value = op.split(b" ", 2)
        if verb == b"SET":
            self.store[key] = value[0]
            return b"OK"
        return self.store.get(key, b"NONE")

    def reply(self, request, text):
        return Paxos() / ReplyMessage(view=self.view, opnum=len(self.executed), reply=text,
                                      clientreqid=request.clientreqid)


def run(replicas, *arguments, status=0):
    done = client("--config", replicas.conf, "--json", *arguments)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_load(tmp_path):
    with Replicas(tmp_path) as replicas:
        said = run(replicas, "--ops", 100, "--clients", 4)
    assert said["ops"] == 100 and said["clients"] == 4 and said["view"] == 1
    assert said["wrong"] == 0 and said["interrupted"] is False
    latency = said["latency_us"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    assert said["ops_per_s"] == pytest.approx(said["ops"] / said["seconds"], rel=0.01)
    assert len(replicas.executed) == 100


def test_asks_the_leader_once_it_is_known(tmp_path):
    with Replicas(tmp_path) as replicas:
        again = run(replicas, "--ops", 50, "--clients", 1)["retransmits"]  # on a busy machine
    assert replicas.asked == {0: 1 + again, 1: 50 + again, 2: 1 + again}


def test_finds_a_new_leader(tmp_path):
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            if len(replicas.executed) == 20:
                replicas.view = 5  # replica 2 leads, replica 1 is silent from now on
            return replicas.plain(index, request)
        replicas.behave = behave
        said = run(replicas, "--ops", 40, "--clients", 1)
    assert said["ops"] == 40 and said["view"] == 5 and said["retransmits"] >= 1
    assert set(replicas.executed.values()) == {1}


def test_sends_again_what_is_lost(tmp_path):
    seen = collections.Counter()
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            seen[request.clientreqid, index] += 1
            lost = request.clientreqid % 10 == 0 and seen[request.clientreqid, index] == 1
            return [] if lost else replicas.plain(index, request)
        replicas.behave = behave
        said = run(replicas, "--ops", 40, "--clients", 1)
    assert said["ops"] == 40 and said["retransmits"] >= 4 and said["wrong"] == 0
    assert set(replicas.executed.values()) == {1}


def test_doubled_and_late_replies_count_once(tmp_path):
    held = []
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            replies = replicas.plain(index, request) * 2 + held[-1:]
            held.extend(replies[:1])
            return replies
        replicas.behave = behave
        said = run(replicas, "--ops", 50, "--clients", 2)
    assert said["ops"] == 50 and said["wrong"] == 0
    assert len(replicas.executed) == 50


def test_what_is_no_reply_is_not_believed(tmp_path):
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            good = replicas.plain(index, request)
            bad = bytes(replicas.reply(request, b"wrong"))
            return [b"", bad[:-1], bad + b"\0", b"\0" * 100] + good
        replicas.behave = behave
        said = run(replicas, "--ops", 20)
    assert said["ops"] == 20 and said["wrong"] == 0


@pytest.mark.parametrize("text", [b"", b"ERROR: full", b"OK "])
def test_a_wrong_reply_is_told(tmp_path, text):
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            replies = replicas.plain(index, request)
            if replies and len(replicas.executed) == 10:
                return [replicas.reply(request, text)]
            return replies
        replicas.behave = behave
        done = client("--config", replicas.conf, "--ops", 20, "--clients", 1)
    assert done.returncode == 1
    assert "1 of 20 replies were wrong" in done.stderr and "'%s'" % text.decode() in done.stderr


def test_lost_writes_are_told(tmp_path):
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            if len(replicas.executed) == 50:
                replicas.store.clear()
            return replicas.plain(index, request)
        replicas.behave = behave
        done = client("--config", replicas.conf, "--ops", 200, "--clients", 2, "--keys", 10,
                      "--seed", 1)
    assert done.returncode == 1 and "replies were wrong" in done.stderr


def test_mix_keys_and_value_size(tmp_path):
    ops = []
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            ops.append(bytes(request.op).split(b" "))
            return replicas.plain(index, request)
        replicas.behave = behave
        run(replicas, "--ops", 60, "--clients", 3, "--keys", 6, "--mix", 100, "--value-bytes", 1200)
        assert {op[0] for op in ops} == {b"SET"} and {len(op[2]) for op in ops} == {1200}
        assert len({op[1] for op in ops}) == 6
        ops.clear()
        run(replicas, "--ops", 10, "--mix", 0)
        assert {op[0] for op in ops} == {b"GET"}


def test_a_seed_repeats_the_load(tmp_path):
    def load(*arguments):
        ops = []
        with Replicas(tmp_path) as replicas:
            def behave(index, request):
                if index == 1:
                    verb, key = bytes(request.op).split(b" ")[:2]
                    ops.append((verb, key.split(b"-")[1]))
                return replicas.plain(index, request)
            replicas.behave = behave
            run(replicas, "--ops", 50, "--clients", 1, *arguments)
        return ops
    assert load("--seed", 3) == load("--seed", 3) != load("--seed", 4)


def test_nobody_answers(tmp_path):
    with Replicas(tmp_path, behave=lambda index, request: []) as replicas:
        done = client("--config", replicas.conf, "--give-up", 1)
    assert done.returncode == 1 and done.stdout == ""
    assert "no reply from any of the 3 replicas" in done.stderr and done.stderr.count("\n") == 1


def test_interrupt_prints_what_there_is(tmp_path):
    begun = threading.Event()
    with Replicas(tmp_path) as replicas:
        def behave(index, request):
            if len(replicas.executed) == 20:
                begun.set()
            return replicas.plain(index, request)
        replicas.behave = behave
        process = subprocess.Popen([CLIENT, "--config", replicas.conf, "--ops", "1000000", "--json"],
                                   stdout=subprocess.PIPE, text=True)
        assert begun.wait(30)
        process.send_signal(signal.SIGINT)
        said = json.loads(process.communicate(timeout=30)[0])
    assert process.returncode == 0 and said["interrupted"] is True and said["ops"] >= 10


@pytest.mark.parametrize("arguments, status, says", [
    ([], 2, "--config"),
    (["--config"], 2, "--config"),
    (["--bogus"], 2, "'--bogus'"),
    (["--clients", "0"], 2, "--clients '0'"),
    (["--clients", "4x"], 2, "--clients '4x'"),
    (["--mix", "101"], 2, "--mix '101'"),
    (["--ops", "-1"], 2, "--ops '-1'"),
    (["--config", "x", "y"], 2, "'y'"),
    (["--config", "x", "--ops", "1", "--seconds", "1"], 2, "--seconds"),
    (["--config", "x", "--progress-fd", "99"], 2, "--progress-fd 99"),
    (["--config", "/nonexistent"], 1, "/nonexistent: No such file"),
    (["--config", "/"], 1, "/: Is a directory"),
])
def test_bad_arguments(arguments, status, says):
    done = client(*arguments)
    assert done.returncode == status and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("text, line, says", [
    ("f 1\n", 1, "wants 3 replicas"),
    ("replica 1.2.3.4:5\n", 1, "no line 'f NUMBER'"),
    ("f one\n", 1, "'one'"),
    ("# two\nf 1\nf 1\n", 3, "second time"),
    ("f 0\nreplica 1.2.3.4\n", 2, "HOST:PORT"),
    ("f 0\nreplica 1.2.3.4:0\n", 2, "HOST:PORT"),
    ("f 0\nreplica 1.2.3.4:65536\n", 2, "HOST:PORT"),
    ("f 0\nreplica 1.2.3.4:5 6\n", 2, "one value"),
    ("f 0\nreplica no.such.host.invalid:5\n", 2, "no.such.host.invalid"),
    ("f 1\nreplica 1.2.3.4:5\nreplica 1.2.3.4:5\n", 3, "replica 0 already"),
    ("f 0\nmulticast 1.2.3.4:5\n", 2, "'multicast'"),
    ("f 1\n" + "".join("replica 1.2.3.%d:5\n" % i for i in range(4)), 5, "wants 3 replicas"),
])
def test_bad_cluster_conf(tmp_path, text, line, says):
    conf = tmp_path / "cluster.conf"
    conf.write_text(text)
    done = client("--config", conf)
    assert done.returncode == 1 and done.stdout == ""
    assert "%s:%d: " % (conf, line) in done.stderr and says in done.stderr
    assert done.stderr.count("\n") == 1
