# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The rack command: built, looked at, entered, removed, from whatever state it was left in."""
import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess

import pytest

from conftest import MODES, until
from net import run
from racks import COMMAND, NETNS, RUN, Rack, bpftool, rack_command, signal_at, stops

NOBODY = 65534


@pytest.fixture
def rack(tmp_path):
    with Rack(tmp_path, clients=1, testers=1) as rack:
        yield rack


@pytest.fixture
def other(tmp_path):
    with Rack(tmp_path, replicas=1) as rack:
        yield rack


# --- what is built


def test_up_shows_every_node(rack):
    rack.up()
    nodes = rack.nodes()
    assert list(nodes) == ["r0", "r1", "r2", "c0", "t0", "tor"]
    net = rack.keys["subnet"].rsplit(".", 1)[0]
    assert [nodes[n][0] for n in nodes][:5] == ["%s.%d" % (net, i) for i in range(1, 6)]
    macs = [nodes[n][1] for n in nodes][:5]
    assert [m[-5:] for m in macs] == ["00:%02x" % i for i in range(5)]
    assert len({m[:11] for m in macs}) == 1 and macs[0].startswith("02:")
    assert rack.names() == sorted("%s-%s" % (rack.name, n) for n in nodes)
    line = [l for l in rack_command("ls").stdout.splitlines() if l.split()[0] == rack.name][0]
    assert line.split()[1:5] == ["up", "5", "native", rack.keys["subnet"]]


def test_devices_are_as_listed(rack):
    rack.up()
    for node, (address, mac, _) in rack.nodes().items():
        if node == "tor":
            continue
        eth0 = json.loads(rack.exec(node, "ip", "-d", "-j", "addr", "show", "eth0"))[0]
        assert eth0["address"] == mac and eth0["operstate"] == "UP"
        assert eth0["num_tx_queues"] == eth0["num_rx_queues"] == 1
        assert [a["local"] for a in eth0["addr_info"]] == [address]  # and no IPv6 one
        lo = json.loads(rack.exec(node, "ip", "-j", "addr", "show", "lo"))[0]
        assert "UP" in lo["flags"]


def test_replicas_are_permanent_neighbours_of_all(rack):
    rack.up()
    nodes = rack.nodes()
    for node in ("r1", "c0", "t0"):
        got = {n["dst"]: (n["lladdr"], n["state"])
               for n in json.loads(rack.exec(node, "ip", "-j", "neigh"))}
        assert got == {nodes[r][0]: (nodes[r][1], ["PERMANENT"])
                       for r in ("r0", "r1", "r2") if r != node}


OFFLOADS = re.compile(r"^(tx-checksumming|rx-checksumming|scatter-gather|tcp-segmentation-offload|"
                      r"generic-segmentation-offload|generic-receive-offload|"
                      r"[rt]x-vlan-offload|tx-udp-segmentation): (\w+)", re.M)


@pytest.mark.parametrize("node, device", [("r0", "eth0"), ("c0", "eth0"), ("tor", "r0"),
                                          ("tor", "c0")])
def test_offloads_are_off_at_both_ends(rack, node, device):
    rack.up()
    states = OFFLOADS.findall(rack.exec(node, "ethtool", "-k", device))
    assert len(states) == 9 and {state for _, state in states} == {"off"}


def test_an_idle_rack_is_silent(rack):
    rack.up()
    for node in rack.nodes():
        path = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
        assert rack.exec(node, "cat", path).strip() == "1"
    bridge = json.loads(rack.exec("tor", "ip", "-d", "-j", "link", "show", "br0"))[0]
    data = bridge["linkinfo"]["info_data"]
    assert data["stp_state"] == 0 and data["mcast_snooping"] == 0
    links = json.loads(rack.exec("tor", "ip", "-s", "-j", "link"))
    assert {l["ifname"]: l["stats64"]["rx"]["packets"] for l in links if "master" in l} == \
        dict.fromkeys(["r0", "r1", "r2", "c0", "t0"], 0)


def test_tcp_between_nodes(rack):
    rack.up()
    server = rack.start("r0", "/usr/bin/python3", "-c", """if True:
        import socket
        s = socket.create_server(("", 7))
        print("listening", flush=True)
        c = s.accept()[0]
        got = b""
        while True:
            d = c.recv(65536)
            if not d: break
            got += d
        c.sendall(b"%d" % len(got))""", stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"listening\n"
    out = rack.exec("c0", "/usr/bin/python3", "-c", """if True:
        import socket, sys
        s = socket.create_connection((sys.argv[1], 7), timeout=10)
        s.sendall(bytes(1 << 20)); s.shutdown(socket.SHUT_WR)
        print(s.recv(100).decode())""", rack.nodes()["r0"][0])
    assert int(out) == 1 << 20
    assert server.wait(10) == 0


@pytest.mark.parametrize("xdp", MODES)
def test_ports_carry_the_programs_of_the_mode(rack, xdp):
    rack.up("--xdp", xdp)
    shown = json.loads(rack.exec("tor", "bpftool", "-j", "net"))[0]
    assert sorted(t["devname"] for t in shown["tc"] if t["name"] == "tor_ingress") == \
        ["c0", "r0", "r1", "r2", "t0"]
    assert sorted(x["devname"] for x in shown["xdp"]) == \
        (["r0", "r1", "r2"] if xdp == "native" else [])


def test_cluster_conf_has_the_published_format(rack):
    rack.up()
    with open(rack.path("cluster.conf")) as f:
        lines = f.read().splitlines()
    nodes = rack.nodes()
    assert lines == ["f 1"] + ["replica %s:12345" % nodes[r][0] for r in ("r0", "r1", "r2")]


def test_mtu_and_cpus_of_the_file(rack):
    rack.write(**rack.keys, link={"mtu": 3000}, nodes=[{"name": "r1", "cpus": [0]}])
    rack.up()
    assert json.loads(rack.exec("tor", "ip", "-j", "link", "show", "r0"))[0]["mtu"] == 3000
    assert json.loads(rack.exec("r0", "ip", "-j", "link", "show", "eth0"))[0]["mtu"] == 3000
    status = rack.exec("r1", "cat", "/proc/self/status")
    assert re.search(r"^Cpus_allowed_list:\t0$", status, re.M)


def test_two_racks_side_by_side(rack, other):
    rack.up()
    other.up()
    assert rack.nodes()["r0"][1] != other.nodes()["r0"][1]
    other.down()
    assert not other.leftovers()
    rack.exec("c0", "true")


# --- up again, and what stands in the way


def test_up_of_a_rack_that_is_up_changes_nothing(rack):
    rack.up()
    before = os.stat(rack.path("up")).st_mtime_ns, os.stat(rack.path("ns/r0")).st_ino
    again = rack.up()
    assert "is up already" in again.stdout
    assert before == (os.stat(rack.path("up")).st_mtime_ns, os.stat(rack.path("ns/r0")).st_ino)


def test_up_with_another_description_is_refused(rack):
    rack.up()
    rack.write(**{**rack.keys, "clients": 2})
    done = rack_command("up", rack.file)
    assert done.returncode == 1 and "another description" in done.stderr
    assert "c1" not in rack.nodes()


def refused(rack, *words):
    done = rack_command("up", rack.file)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert not os.path.exists(rack.path()) and not rack.maps()


@contextlib.contextmanager
def foreign(path):
    """Something in /run/netns that no rack made. A folder that is not empty is not a rack's to
    remove, so that is done here."""
    os.makedirs(NETNS, exist_ok=True)
    os.symlink("/proc/self/ns/net", path)
    try:
        yield
    finally:
        os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(NETNS)


def test_a_taken_name_is_named(rack):
    path = "%s/%s-r1" % (NETNS, rack.name)
    with foreign(path):
        refused(rack, path, "taken")
        assert os.path.lexists(path)


def test_a_subnet_of_another_rack_is_named(rack, other):
    rack.up()
    other.write(rack=other.name, subnet=rack.keys["subnet"].replace("/24", "/25"))
    refused(other, rack.keys["subnet"], rack.name)
    assert not other.leftovers()


@pytest.mark.parametrize("kind", ["address", "route"])
def test_a_subnet_of_this_host_is_named(rack, kind):
    device = "pt%d" % os.getpid()
    net = rack.keys["subnet"].rsplit(".", 1)[0]
    run("ip link add %s type veth peer name %sp" % (device, device))
    try:
        run("ip link set %s up" % device)
        run("ip link set %sp up" % device)  # a route wants a link with a carrier
        if kind == "address":
            run("ip addr add %s.9/26 dev %s" % (net, device))
        else:
            run("ip route add %s.0/22 dev %s" % (net.rsplit(".", 1)[0] + "." +
                                                 str(int(net.split(".")[2]) & ~3), device))
        refused(rack, rack.keys["subnet"], device, kind)
    finally:
        run("ip link del " + device)
    rack.up()


def test_the_kernels_own_words_when_it_refuses(rack):
    rack.write(**rack.keys, link={"mtu": 9000})  # too large for native XDP on a veth
    refused(rack, "Peer MTU is too large")
    assert not rack.leftovers()
    rack.up("--xdp", "generic")


# --- bad input


HEAD = "rack: x\nsubnet: 198.18.9.0/24\nreplicas: 3\n"


@pytest.mark.parametrize("text, line, words", [
    ("", None, ["empty"]),
    ("# nothing\n", None, ["no rack"]),
    (HEAD + "foo: 3\n", 4, ["foo", "unexpected key"]),
    (HEAD + "nodes:\n- name: r0\n  colour: red\n", 6, ["nodes[1]", "colour"]),
    ("rack: x\nsubnet: 198.18.9.0/24\n", 2, ["replicas", "missing"]),
    ("rack: x\nsubnet: 198.18.9.0/24\nreplicas: three\n", 3, ["replicas", "three"]),
    ("rack: x\nsubnet: 198.18.9.0/24\nreplicas: 65\n", 3, ["replicas", "65", "1 to 64"]),
    ("rack: x\nsubnet: 198.18.9.0/24\nreplicas: -1\n", 3, ["replicas", "-1"]),
    ("rack: x\nsubnet: 198.18.9.0/30\nreplicas: 3\n", 2, ["subnet", "room for 2"]),
    ("rack: x\nsubnet: 198.18.9.1/24\nreplicas: 3\n", 2, ["subnet", "bits set"]),
    ("rack: x\nsubnet: 198.18.9/24\nreplicas: 3\n", 2, ["subnet", "198.18.9/24"]),
    ("rack: x\nsubnet: 127.9.0.0/24\nreplicas: 3\n", 2, ["subnet", "hosts"]),
    ("rack: X/y\nsubnet: 198.18.9.0/24\nreplicas: 3\n", 1, ["rack", "X/y"]),
    (HEAD + "clients: 5000\n", 4, ["clients", "1023"]),
    (HEAD + "clients: 1000\ntesters: 21\n", 5, ["testers", "1023 nodes"]),
    (HEAD + "xdp: fast\n", 4, ["xdp", "fast"]),
    (HEAD + "link: {mtu: 20}\n", 4, ["mtu", "20"]),
    (HEAD + "nodes:\n- name: r3\n", 5, ["r3"]),
    (HEAD + "nodes:\n- name: r0\n- name: r0\n", 5, ["r0", "twice"]),
    (HEAD + "nodes:\n- name: r0\n  cpus: [100000]\n", 5, ["r0", "100000"]),
    (HEAD + "nodes:\n- name: r0\n  cpus: [0, a]\n", 6, ["nodes[1].cpus[2]", "'a'"]),
    (HEAD + "nodes:\n- spoof: yes\n", 5, ["nodes[1]", "name", "missing"]),
    (HEAD + "clients: 1\nclients: 2\n", 5, ["clients", "already"]),
    (HEAD + "\tclients: 1\n", 4, ["tab"]),
    (HEAD + "clients: [1\n", 4, ["clients"]),
    (HEAD + "clients: 3x\n", 4, ["clients", "'3x' is no whole number"]),
    (HEAD + "clients: 3.5\n", 4, ["clients", "'3.5' is no whole number"]),
    (HEAD + "clients: 010\n", 4, ["clients", "'010' is no whole number"]),
    (HEAD + "link:\n  queues: 0\n", 5, ["queues", "'0' is no number from 1"]),
    (HEAD + "nodes:\n- name: r0\n  cpus: [0, 1x]\n", 6, ["cpus", "'1x' is no whole number"]),
    (HEAD + "nodes:\n- name: r0\n  cpus: []\n", 6, ["cpus"]),
    (HEAD + "nodes:\n- name: r0\n  spoof: maybe\n", 6, ["spoof", "'maybe' is no true and no false"]),
    (HEAD + "tors: []\n", 4, ["tors"]),
    (HEAD + "---\nrack: y\n", 5, ["a second document"]),
    (HEAD + "# clients: 7\nclients: 4001\n", 5, ["clients", "4001"]),
    ("- a\n", 1, []),
])
def test_a_wrong_file_is_told_with_line_and_key(tmp_path, text, line, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    done = rack_command("up", path)
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("rack: %s:" % path + ("%d:" % line if line else ""))
    for word in words:
        assert word in done.stderr
    assert not os.path.exists(RUN + "/x")


def test_an_unreadable_file_is_named(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        done = rack_command("up", path)
        assert done.returncode == 2 and str(path) in done.stderr


@pytest.mark.parametrize("arguments", [
    [], ["fly"], ["up"], ["up", "a", "b"], ["up", "--fast", "a"], ["up", "a", "--xdp"],
    ["up", "a", "--xdp", "odd"], ["down"], ["down", "--everything"], ["down", "../x"],
    ["ls", "a", "b"], ["ls", "-l"], ["exec"], ["exec", "x", "r0"], ["exec", "x", "r0", "--"],
    ["exec", "-i", "x", "r0", "true"], ["shell"], ["shell", "a", "b", "c"],
    ["fault"], ["fault", "x"], ["fault", "x", "fly"],
], ids=" ".join)
def test_wrong_usage_is_exit_2(arguments):
    done = rack_command(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert "usage: rack" in done.stderr


def test_help_lists_every_command():
    done = rack_command("help")
    assert done.returncode == 0
    for command in ("up", "down", "ls", "exec", "shell", "run", "fault"):
        assert re.search(r"^  %s " % command, done.stdout, re.M)


@pytest.mark.parametrize("arguments", [["up", "FILE"], ["down", "x"], ["down", "--all"], ["ls"],
                                       ["exec", "x", "r0", "true"], ["shell", "x"],
                                       ["fault", "x", "ls"]], ids=" ".join)
def test_needs_root_and_says_so(rack, tmp_path, arguments):
    file = tmp_path / "r.yaml"
    file.write_text(HEAD)
    arguments = [str(file) if a == "FILE" else a for a in arguments]
    # As nobody, with the command and its file opened beforehand: folders may be root's.
    with open(COMMAND, "rb") as command:
        os.chmod(tmp_path, 0o755)
        done = subprocess.run(["/proc/self/fd/%d" % command.fileno(), *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=NOBODY,
                              group=NOBODY, extra_groups=[], pass_fds=[command.fileno()])
    assert done.returncode in (1, 2) and not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "root" in done.stderr or "Permission denied" in done.stderr


@pytest.mark.parametrize("command", [["exec", "NAME", "r0", "true"], ["ls", "NAME"]], ids=" ".join)
def test_a_rack_that_is_not_there_is_named(rack, command):
    done = rack_command(*[rack.name if a == "NAME" else a for a in command])
    assert done.returncode == 1 and rack.name in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- exec and shell


def test_exec_has_the_commands_exit_status_and_environment(rack):
    rack.up()
    assert rack.exec("r1", "sh", "-c", "exit 7", check=False).returncode == 7
    assert rack.exec("r1", "sh", "-c", "kill -TERM $$", check=False).returncode == -signal.SIGTERM
    assert rack.exec("r1", "no-such-command", check=False).returncode == 127
    assert rack.exec("r1", "sh", "-c", "echo $PAXRACK").strip() == rack.name + "/r1"
    assert {"tor_counts", "tor_ingress", "tor_pass", "tor_ports"} <= \
        set(rack.exec("tor", "ls", rack.path("bpf/tor")).split())
    done = rack.exec("r9", "true", check=False)
    assert done.returncode == 2 and "r9" in done.stderr


def test_a_shell_takes_down_what_it_built(rack):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, "shell", rack.file])
    os.write(terminal, b"echo in-$PAXRACK; exit 3\n")
    said = b""
    while True:
        assert select.select([terminal], [], [], 20)[0], said
        try:
            got = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        said += got
    assert os.waitpid(pid, 0)[1] == 0
    assert b"in-%s/c0" % rack.name.encode() in said
    assert b"[%s/c0]" % rack.name.encode() in said  # the prompt
    os.close(terminal)
    assert not rack.leftovers()


def test_a_shell_that_is_ended_takes_down_what_it_built(rack):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, "shell", rack.file, "r1"])
    said = b""
    while b"[%s/r1]" % rack.name.encode() not in said:
        assert select.select([terminal], [], [], 20)[0], said
        said += os.read(terminal, 4096)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert not rack.leftovers()


def test_a_shell_leaves_up_what_was_up(rack):
    rack.up()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, "shell", rack.name, "tor"])
    os.write(terminal, b"exit\n")
    while select.select([terminal], [], [], 20)[0]:
        try:
            os.read(terminal, 4096)
        except OSError:
            break
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    rack.exec("c0", "true")


# --- down


def test_down_leaves_nothing(rack):
    rack.up()
    assert rack.maps() and rack.names()
    program = bpftool("prog", "show", "pinned", rack.path("bpf/tor/tor_ingress"))["id"]
    rack.down()
    assert not rack.leftovers()
    assert bpftool("prog", "show", "id", program) is None
    assert "not up" in rack_command("down", rack.name).stdout


def ends(process):
    return process.wait(10)


def test_down_ends_what_runs_there(rack):
    rack.up()
    polite = rack.start("r0", "sleep", "1000")
    deaf = rack.start("r1", "sh", "-c", "trap '' TERM HUP; echo deaf; while :; do sleep 1000; done",
                      stdout=subprocess.PIPE)
    assert deaf.stdout.readline() == b"deaf\n"
    stopped = rack.start("c0", "sleep", "1000")
    # Offspring with no parent that is recorded any more.
    rack.exec("c0", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & exit 0")
    until(lambda: rack.nodes()["c0"][2] != "-" and rack.nodes()["r0"][2] != "-", "both are there")
    assert "(sleep)" in rack.nodes()["r0"][2]
    os.kill(stopped.pid, signal.SIGSTOP)
    rack.down()
    assert ends(polite) == -signal.SIGTERM and ends(stopped) == -signal.SIGTERM
    assert ends(deaf) == -signal.SIGKILL
    assert not rack.leftovers()


def test_down_names_a_foreign_process_and_leaves_it(rack):
    rack.up()
    foreign = subprocess.Popen(["nsenter", "--net=" + rack.path("ns/r1"), "cat"],
                               stdin=subprocess.PIPE)
    try:
        inode = os.stat(rack.path("ns/r1")).st_ino
        until(lambda: os.stat("/proc/%d/ns/net" % foreign.pid).st_ino == inode, "it is in")
        done = rack.down()
        assert "process %d (cat)" % foreign.pid in done.stderr and rack.name + "-r1" in done.stderr
        assert foreign.poll() is None
        assert not rack.leftovers()
    finally:
        foreign.kill()
        foreign.wait()


def test_a_reused_pid_is_spared(rack):
    rack.up()
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        with open(rack.path("pids/%d.1" % bystander.pid), "w") as f:
            f.write("r0\n")  # of a process that is long over
        rack.down()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_down_all(rack, other):
    """In a mount namespace with a /run of its own: elsewhere other people's racks may be up."""
    script = """set -e
        mount -t tmpfs none /run
        {rack} up {a} && {rack} up {b}
        ls /run/netns | wc -l
        {rack} down --all
        ls -A /run | wc -l""".format(rack=COMMAND, a=rack.file, b=other.file)
    out = subprocess.check_output(["unshare", "--mount", "sh", "-c", script], text=True)
    up_a, up_b, names, down_a, down_b, left = out.splitlines()
    assert {down_a, down_b} == {rack.name + " is down", other.name + " is down"}
    assert (int(names), int(left)) == (6 + 2, 0)


def test_links_of_others_in_run_netns_stay(rack):
    rack.up()
    path = "%s/%s-mine" % (NETNS, rack.name)  # our pattern, somebody else's target
    with foreign(path):
        rack.down()
        assert os.path.lexists(path)


# --- killed


STEPS = 16  # moments at which a command gets a signal, evenly over all its system calls


def moments(command, shift=0.0, steps=STEPS):
    """Stops of a command. It makes fewer when other people's racks go away meanwhile, so
    a few of the last may lie behind its end: `killed` counts."""
    total = stops(command)
    return [1 + int(total * (step + shift) / steps) for step in range(steps)]


@pytest.mark.parametrize("then", ["down", "up"])
def test_up_killed_at_any_moment(rack, then):
    up, killed = [COMMAND, "up", rack.file], 0
    for n in moments(up, 0.5 * (then == "up")):
        rack.down()
        assert not rack.leftovers()
        killed += signal_at(up, n) == signal.SIGKILL
        if then == "up":
            rack.up()
            rack.exec("r0", "true")
    rack.down()
    assert not rack.leftovers()
    assert killed > STEPS * 3 / 4


def test_down_killed_at_any_moment(rack):
    down, killed = [COMMAND, "down", rack.name], 0
    rack.up()
    for n in moments(down):
        rack.up()
        killed += signal_at(down, n) == signal.SIGKILL
        rack.down()
        assert not rack.leftovers()
    assert killed > STEPS * 3 / 4


def test_ctrl_c_during_up_removes_all_again(rack):
    up = [COMMAND, "up", rack.file]
    interrupted = 0
    for n in moments(up, steps=10)[:7]:  # later on all nodes are there: it is up
        rack.down()
        ended = signal_at(up, n, signal.SIGINT)
        if ended == 0:  # how often it looks whether the bridge forwards differs: it was up before
            assert "is up already" in rack.up().stdout
            continue
        assert ended == signal.SIGINT
        assert not rack.leftovers()
        interrupted += 1
    assert interrupted >= 3


def mount_tmpfs(path):
    run("mount -t tmpfs none " + path)


@pytest.mark.parametrize("state", ["folder", "mounted", "mounted twice", "folders"])
@pytest.mark.parametrize("then", ["down", "up"])
def test_half_made_states(rack, state, then):
    os.makedirs(rack.path())
    if state != "folder":
        mount_tmpfs(rack.path())
    if state == "mounted twice":
        mount_tmpfs(rack.path())
    if state == "folders":
        for folder in ("ns", "pids", "bpf"):
            os.mkdir(rack.path(folder))
        with open(rack.path("ns/tor"), "w"):
            pass  # made, not mounted on
    assert [l.split()[1] for l in rack_command("ls").stdout.splitlines()
            if l.split()[0] == rack.name] == ["incomplete"]
    if then == "up":
        rack.up()
        rack.exec("r0", "true")
    rack.down()
    assert not rack.leftovers()


def test_what_is_not_ours_is_not_removed(rack):
    os.makedirs(rack.path())
    keep = rack.path("keep")
    with open(keep, "w"):
        pass
    try:
        done = rack_command("down", rack.name)
        assert done.returncode == 1 and "not empty" in done.stderr
        assert os.path.exists(keep)
    finally:
        os.unlink(keep)
        rack.down()


def test_a_copy_in_another_mount_namespace_does_not_keep_it(rack):
    rack.up()
    inode = os.stat(rack.path("ns/r1")).st_ino
    copy = subprocess.Popen(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c",
                             "echo ready; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert copy.stdout.readline() == b"ready\n"
        rack.down()
        with open("/proc/%d/mountinfo" % copy.pid) as f:
            assert not [l for l in f if "nsfs" in l and "net:[%d]" % inode in l]
    finally:
        copy.kill()
        copy.wait()
