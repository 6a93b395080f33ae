# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Replicas that run and die: real processes in a real rack, in native and in generic mode.

              tor
      _________|_____________
     |     |     |     |     |
    [r0]  [r1]  [r2]  [c0]  [c1]        replicas: --journal, --pin; c0: a client that remembers

Each test begins with a new cluster and ends with all replicas of one mind: one log, op by op, in
it whatever was acknowledged, and one state made of it.
"""
import subprocess
import time

import pytest

from cluster import Client, Cluster, until
from net import link, namespaces
from racks import Rack


@pytest.fixture(scope="module", params=["native", "generic"])
def rack(request, tmp_path_factory):
    with Rack(tmp_path_factory.mktemp("rack"), xdp=request.param, clients=2) as rack:
        rack.up()
        yield rack


@pytest.fixture
def cluster(request, rack, tmp_path):
    cluster = Cluster(rack, tmp_path)
    request.node.daemons = cluster.replicas
    yield cluster
    cluster.close()


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
    assert [s["view"] for s in said] == [0, 0, 0]
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
        client.serve(100)
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
