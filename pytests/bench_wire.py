# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How late the wire releases packets: `make bench-wire`. The ToR's own program measures, when a
packet is back from the wire, against the time at which it was due. On a quiet machine 20 us at
p50 and 100 us at p99 are wanted; other people's load shows here first."""
import re
import sys
import tempfile

from conftest import until
from racks import Rack, rack_command

SENDER = """
import socket, sys, time
address, count, gap = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
at = time.monotonic()
for i in range(count):
    at += gap
    while time.monotonic() < at:
        pass
    s.sendto(b"x" * 64, (address, 9))
"""
RUNS = [(50, 2000), (200, 2000), (200, 20000), (1000, 2000), (1000, 20000)]  # us, packets/s
SECONDS = 2


def in_the_wire(rack):
    ls = rack_command("fault", rack.name, "ls").stdout
    got, sent = map(int, re.search(r"got (\d+), sent on (\d+)", ls).groups())
    return got - sent


def main():
    with tempfile.TemporaryDirectory() as directory, Rack(directory, clients=1) as rack:
        rack.up()
        address = rack.nodes()["r0"][0]
        print("delay us  packets/s  packets  late us: p50    p99    max")
        for delay_us, rate in RUNS:
            words = "add --from c0 --to r0 --kind other delay %dus" % delay_us
            done = rack_command("fault", rack.name, *words.split())
            assert done.returncode == 0, done.stderr
            count = rate * SECONDS
            rack.exec("c0", "/usr/bin/python3", "-c", SENDER, address, str(count), str(1 / rate))
            until(lambda: not in_the_wire(rack), "the last packet")
            ls = rack_command("fault", rack.name, "ls").stdout
            late = re.search(r"late p50 ([\d.]+) us, p99 ([\d.]+) us, max ([\d.]+) us", ls).groups()
            print("%8d  %9d  %7d  %13s  %5s  %5s" % (delay_us, rate, count, *late))
            sys.stdout.flush()
            rack_command("fault", rack.name, "clear")


if __name__ == "__main__":
    main()
