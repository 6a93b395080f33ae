# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Replicas that run and die: real processes in a real rack, in native and in generic mode.

              tor
      _________|_____________
     |     |     |     |     |
    [r0]  [r1]  [r2]  [c0]  [c1]        replicas: --journal, --pin; c0: a client that remembers

Each test begins with a new cluster and ends with all replicas of one mind: one log, op by op, in
it whatever was acknowledged, and one state made of it.
"""
import glob
import os
import random
import re
import shutil
import socket
import subprocess
import time

import pytest
from scapy.utils import rdpcap

from cluster import Client
from conftest import MODES, until
from net import link, namespaces
from paxos import PORT, UDP
from racks import Rack

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors")


@pytest.fixture(scope="module", params=MODES)
def rack(request, tmp_path_factory):
    with Rack(tmp_path_factory.mktemp("rack"), xdp=request.param, clients=2) as rack:
        rack.up()
        yield rack


def test_follower_killed_and_restarted(cluster):
    cluster.start()
    follower = cluster.replicas[1]
    with Client(cluster) as client:
        client.serve(100)
        follower.kill()
        client.serve(100)
        acked = follower.start().report()["kernel.ack"]
        client.serve(100)
        until(lambda: follower.report()["kernel.ack"] > acked, "it acks in the kernel again")
        client.finish()
        said = cluster.agree([client])
    assert said[1]["recoveries"] == 0  # it remembered


def test_leader_killed(cluster, capsys):
    cluster.start()
    with Client(cluster) as client:
        client.serve(100)
        cluster.replicas[0].kill()
        killed = time.monotonic()
        client.wait(lambda: max(client.views) > 0, "another leader serves")
        served = client.views[max(client.views)] - killed
        with capsys.disabled():
            print(" service back after %.2f s " % served, end="")
        assert served < 10
        # The kernel knows of the new view: the follower in it acks there.
        follower = next(r for r in cluster.replicas[1:] if r is not cluster.leader())
        acked = follower.kernel("ack")
        client.serve(100)
        until(lambda: follower.kernel("ack") > acked, "it acks in the kernel")
        cluster.replicas[0].start()
        client.serve(100)
        client.finish()
        said = cluster.agree([client])
    assert said[0]["view"] > 0 and not said[0]["leader"]


def test_all_killed_at_one_moment(cluster):
    cluster.start()
    with Client(cluster, width=16) as client:
        client.serve(300)
        for replica in cluster.replicas:
            replica.process.kill()
        for replica in cluster.replicas:
            replica.kill()
        for replica in cluster.replicas:
            replica.start(ready=False)
        for replica in cluster.replicas:
            replica.wait_ready()
        client.serve(300)
        client.finish()
        said = cluster.agree([client])
    assert [s["recoveries"] for s in said] == [0, 0, 0]


def test_nothing_commits_without_followers(cluster):
    cluster.start()
    leader = cluster.replicas[0]
    with Client(cluster) as client:
        client.serve(100)
        for follower in cluster.replicas[1:]:
            follower.kill()
        resends = leader.report()["prepare-resends"]
        # Acks that were under way have arrived when it has to send again.
        before = until(lambda: newer(leader.report(), "prepare-resends", resends), "it sends again")
        after = until(lambda: newer(leader.report(), "peer-deaths", 1), "it gives both up")
        assert after["committed"] == before["committed"] and after["op"] > after["committed"]
        assert client.count() <= after["committed"]
        for follower in cluster.replicas[1:]:
            follower.start()
        client.serve(100)
        client.finish()
        cluster.agree([client])


def newer(report, name, than):
    return report if report[name] > than else None


def test_stopped_follower_acks_until_its_lease_ends(cluster):
    """The other follower is dead: what commits, commits by acks that the kernel makes alone."""
    cluster.start("--lease-ms", 500)
    leader, stopped, dead = cluster.replicas
    with Client(cluster) as client:
        client.serve(100)
        dead.kill()
        client.serve(100)
        stopped.stop()
        before, served = stopped.kernel("ack"), client.count()
        until(lambda: stopped.kernel("lease") > 0, "its lease ends")
        acks, last = stopped.kernel("ack"), stopped.gate()[2]
        assert acks > before and client.count() > served
        passed = stopped.kernel("lease")
        until(lambda: stopped.kernel("lease") > passed + 3, "more is sent to it")
        assert (stopped.kernel("ack"), stopped.gate()[2]) == (acks, last)
        assert leader.report()["committed"] <= last
        stopped.go_on()
        client.serve(100)
        dead.start()
        client.finish()
        cluster.agree([client])
        assert stopped.report()["prepares-kernel"] >= acks


def test_second_process_is_refused(cluster):
    cluster.start()
    first = cluster.replicas[1]
    with Client(cluster) as client:
        client.serve(100)
        second = cluster.rack.exec("r1", *first.command(), check=False)
        assert second.returncode == 1
        assert "cannot bind replica 1's address " + cluster.addresses[1] in second.stderr
        # Where nothing else is in the way, the locks are: the same address in another network.
        spaces = namespaces(2)
        eth0, _ = link(*spaces)
        eth0.address(cluster.addresses[1], 24)
        eth0.neighbours({address: "02:00:00:00:00:01" for address in cluster.addresses})
        with spaces[0]:
            second = subprocess.run(first.command(), stderr=subprocess.PIPE, text=True)
            assert second.returncode == 1
            assert "another process has the maps in " + first.pins in second.stderr
            second = subprocess.run(first.command(offload="none"), stderr=subprocess.PIPE, text=True)
            assert second.returncode == 1
            assert ("cannot open the journal %s: another process has it" % first.journal
                    in second.stderr)
        for space in spaces:
            space.close()
        acked = first.report()["kernel.ack"]
        client.serve(100)
        assert first.report()["kernel.ack"] > acked
        client.finish()
        cluster.agree([client])


# --- without a memory


def lose_journal(replica):
    os.unlink(replica.journal)


def lose_pins(replica):
    shutil.rmtree(replica.pins)


def lose_both(replica):
    lose_journal(replica)
    lose_pins(replica)


def swap_pins(replica):
    """The maps of an earlier cluster stand where its own did."""
    shutil.rmtree(replica.pins)
    os.rename(replica.pins + "-earlier", replica.pins)


def older_journal(replica):
    """As it was a while ago, as a restored backup is."""
    os.rename(replica.journal + ".old", replica.journal)


@pytest.mark.parametrize("lose", [lose_journal, lose_pins, lose_both, swap_pins, older_journal])
def test_who_lost_its_memory_recovers(cluster, lose):
    replica = cluster.replicas[1]
    if lose is swap_pins:
        with Client(cluster.start()) as client:
            client.serve(100)
        cluster.close()
        os.rename(replica.pins, replica.pins + "-earlier")
    cluster.start()
    with Client(cluster) as client:
        client.serve(100)
        shutil.copy(replica.journal, replica.journal + ".old")
        copied = replica.report()["op"]
        client.serve(100)
        # what is still in the kernel log alone, an older journal does not lack
        until(lambda: replica.report()["op"] > copied, "its journal goes on")
        replica.kill()
        lose(replica)
        client.serve(100)
        replica.start()
        until(lambda: replica.report()["recoveries"] == 1, "it recovers")
        client.serve(100)
        client.finish()
        cluster.agree([client])


def test_who_ended_in_order_needs_no_maps(cluster):
    cluster.start()
    replica = cluster.replicas[1]
    with Client(cluster) as client:
        client.serve(100)
        replica.end()
        lose_pins(replica)
        client.serve(100)
        replica.start()
        client.serve(100)
        client.finish()
        assert cluster.agree([client])[1]["recoveries"] == 0


def test_foreign_and_damaged_journals_are_refused(cluster):
    cluster.start()
    replica, other = cluster.replicas[1:]
    with Client(cluster) as client:
        client.serve(100)
        replica.kill()
        used = replica.recorded()[1]
        with open(replica.journal, "rb") as f:
            whole = f.read()
        with open(other.journal, "rb") as f:
            foreign = f.read()
        half = used // 2
        flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1:]
        for data, says in [(foreign, "is the journal of replica 2, not of replica 1"),
                           (whole[:half], "is cut off"),
                           (flipped, "is damaged"),
                           (b"# not one\n" * 100, "is not a journal"),
                           (b"", "is too short for a journal")]:
            with open(replica.journal, "wb") as f:
                f.write(data)
            assert says in replica.refused()
        with open(replica.journal, "wb") as f:
            f.write(whole)
        assert "cannot make the journal" in replica.refused("--format")
        replica.start()
        client.serve(100)
        client.finish()
        assert cluster.agree([client])[1]["recoveries"] == 0


# --- partitions


def test_split_brain(cluster):
    """The leader is cut off with a client of its own. What it proposes meanwhile stands at op
    numbers at which the others decide something else: it must give way."""
    cluster.start()
    old = cluster.replicas[0]
    with Client(cluster, "c0") as here, Client(cluster, "c1") as there:
        here.serve(50)
        there.serve(50)
        cluster.partition("r0,c0", "r1,r2,c1")
        with Client(cluster, "c0") as late:  # whose requests nobody else can have
            proposed = until(lambda: of_clients(old, late.ids), "it proposes")
            view = old.report()["view"]
            there.wait(lambda: max(there.views) > view, "the others elect another")
            there.serve(100)
            alone = old.report()
            assert alone["leader"] and alone["view"] == view
            assert not late.acked and max(here.acked) <= alone["committed"] < min(proposed)
            others = cluster.replicas[1].entries()
            assert all(others[op] != entry for op, entry in proposed.items())
            cluster.heal()
            until(lambda: old.report()["view"] > view and old.report()["status"] == "normal",
                  "the old leader learns of the new view")
            for client in (here, there, late):
                client.serve(50)
                client.finish()
            cluster.agree([here, there, late])


def of_clients(replica, ids):
    """The ops of these clients that a replica has recorded."""
    return {op: entry for op, entry in replica.entries().items() if entry.client in ids}


@pytest.mark.parametrize("groups", [
    ["--one-way", "r0", "r1,r2,c0,c1"],  # the leader is deaf to nobody, and nobody hears it
    ["r0", "r1"],                        # two do not hear each other, the third hears both
], ids=["mute", "chain"])
def test_partitions_in_which_a_majority_can_serve(cluster, groups):
    cluster.start()
    with Client(cluster) as client:
        client.serve(100)
        cluster.partition(*groups)
        client.serve(200)
        cluster.heal()
        client.serve(100)
        client.finish()
        cluster.agree([client])


@pytest.mark.parametrize("others", ["r1,r2", "r1,r2,c0,c1"], ids=["replicas", "all"])
def test_deaf_leader(cluster, others):
    """Its Commits could keep the others quiet for ever, though it hears no ack. It must give way
    while the cut lasts; of the new view it learns when the cut ends."""
    cluster.start()
    old = cluster.replicas[0]
    with Client(cluster) as client:
        client.serve(100)
        cluster.partition("--one-way", others, "r0")
        client.wait(lambda: max(client.views) > 0, "another leader serves")
        client.serve(100)
        alone = old.report()
        assert alone["view"] == 0 and alone["leader"] and alone["deaf"] >= 1
        cluster.heal()
        until(lambda: old.report()["view"] > 0, "the old leader learns of the new view")
        client.serve(100)
        client.finish()
        cluster.agree([client])


# --- lost packets


def test_lost_packets_cost_resends(cluster):
    """Of each kind that normal operation sends, one in ten is lost on each link."""
    cluster.start()
    kinds = ["Request", "Reply", "Prepare", "MyPrepareOK", "PrepareOK", "Commit"]
    with Client(cluster) as client:
        client.serve(100)
        for kind in kinds:
            cluster.fault("add", "--kind", kind, "--every", 10, "drop")
        client.serve(500)
        lost = cluster.rules()
        cluster.fault("clear")
        assert len(lost) == len(kinds) and all(taken for _, taken in lost), lost
        acked = [r.report()["kernel.ack"] for r in cluster.replicas]
        client.serve(100)
        until(lambda: sum(r.report()["kernel.ack"] > acked[r.index] for r in cluster.replicas) == 2,
              "both followers are on the fast path again")
        client.finish()
        assert all(s["peer-deaths"] == 0 for s in cluster.agree([client]))


def test_lost_packets_of_a_view_change(cluster):
    cluster.start()
    with Client(cluster) as client:
        client.serve(100)
        for kind in ["StartViewChange", "DoViewChange", "StartView"]:
            cluster.fault("add", "--kind", kind, "--every", 2, "drop")
        cluster.replicas[0].kill()
        client.serve(100)
        for kind in ["Recovery", "RecoveryResponse", "RequestStateTransfer", "StateTransfer"]:
            cluster.fault("add", "--kind", kind, "--every", 2, "drop")
        lose_both(cluster.replicas[0])
        cluster.replicas[0].start()
        client.serve(100)
        client.finish()
        said = cluster.agree([client])
        cluster.fault("clear")
    assert said[0]["recoveries"] == 1


# --- programs that go away, programs that come back


def test_programs_detached_under_load(cluster):
    cluster.start()
    leader, follower, _ = cluster.replicas
    with Client(cluster) as client:
        client.serve(100)
        follower.detach_xdp()
        before = follower.kernel("ack")
        client.serve(100)
        assert follower.kernel("ack") == before and follower.report()["prepares-user"] > 0
        leader.detach_xdp()
        before = leader.kernel("absorbed")
        client.serve(100)
        assert leader.kernel("absorbed") == before and leader.report()["acks-user"] > 0
        leader.detach_tc()
        client.serve(100)
        # The same program in the other mode, attached by somebody else in the middle of it.
        follower.attach_xdp("generic" if cluster.rack.keys["xdp"] == "native" else "native")
        client.serve(100)
        client.finish()
        cluster.agree([client])


def test_journals_lie_in_large_pages(cluster):
    """In small ones a first touch costs more than what is written there (docs/speed.md)."""
    with open("/proc/mounts") as f:
        assert re.search(r"^paxrack /run/paxrack/%s tmpfs \S*huge=advise" % cluster.rack.name, f.read(), re.M)
    cluster.start()
    with Client(cluster) as client:
        client.serve(100)
        # One that a machine short of memory leaves in small pages is slower and no worse.
        assert max(one.journal_in_large_pages_kb() for one in cluster.replicas) >= 2048
        client.finish()
        cluster.agree([client])


# --- anything may arrive


def test_garbage_on_the_replica_port(cluster):
    cluster.start()
    random_bytes = random.Random(1)
    captures = [bytes(p[UDP].payload) for path in sorted(glob.glob(VECTORS + "/*.pcap"))
                for p in rdpcap(path) if UDP in p]

    def garbage():
        data = bytearray(random_bytes.choice(captures))
        kind = random_bytes.randrange(4)
        if kind == 0:
            return random_bytes.randbytes(random_bytes.randrange(1473))
        if kind == 1:
            return bytes(data[:random_bytes.randrange(len(data))])
        for _ in range(random_bytes.randrange(1, 5)):
            data[random_bytes.randrange(len(data))] ^= 1 << random_bytes.randrange(8)
        return bytes(data) + (b"more" if kind == 2 else b"")

    def flood():
        for _ in range(150):
            for address in cluster.addresses:
                away.sendto(garbage(), (address, PORT))
        client.serve(10)
        return [sum(count for name, count in r.report().items() if name.startswith("bad-"))
                for r in cluster.replicas]

    with Client(cluster) as client:
        client.serve(100)
        with cluster.rack.namespace("c1"):
            away = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with away:
            until(lambda: min(flood()) > 1000, "every replica has read a lot of garbage")
        client.finish()
        cluster.agree([client])


# --- a log that is cut off


@pytest.mark.parametrize("rack", ["native"], indirect=True)
def test_who_was_away_for_long_gets_a_snapshot(cluster):
    """Log and journal are bounded: what they no longer hold comes as the state made of it."""
    load = "--mix", 100, "--value-bytes", 1200, "--keys", 1000, "--clients", 32, "--ops", 30000
    cluster.start()
    leader, _, away = cluster.replicas
    with Client(cluster) as before:
        before.serve(100)
        before.finish()
    away.kill()
    cluster.load(*load)
    memory = leader.memory_kb()
    assert leader.report()["base"] > away.recorded()[0]
    cluster.load(*load)
    assert leader.memory_kb() < memory + 4096
    assert os.stat(leader.journal).st_blocks * 512 < 100 << 20
    away.start()
    until(lambda: away.report()["snapshots-taken"] > 0, "a snapshot comes")
    with Client(cluster) as after:
        after.serve(100)
        after.finish()
        cluster.agree([before, after])
