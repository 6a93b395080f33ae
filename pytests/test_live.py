# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Replicas that run and die: real processes in a real rack, in native and in generic mode.

              tor
      _________|_____________
     |     |     |     |     |
    [r0]  [r1]  [r2]  [c0]  [c1]        replicas: --journal, --pin; c0: a client that remembers

Each test begins with a new cluster and ends with all replicas of one mind: one log, op by op, in
it whatever was acknowledged, and one state made of it.
"""
import time

import pytest

from cluster import Client, Cluster, until
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
