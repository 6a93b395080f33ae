# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every program of every object file: this kernel's verifier takes it, and it attaches where it belongs."""
import glob
import os

import pytest

import bpf
from conftest import BUILD, MODES
from net import link, namespaces

# Those of kinds.bpf.o are there to be refused.
OBJECTS = sorted(set(glob.glob(os.path.join(BUILD, "*.bpf.o"))) - {os.path.join(BUILD, "kinds.bpf.o")})

# Of programs whose section does not tell.
TYPES = {"steer.bpf.o": {"steer_egress": "tc"}}


@pytest.fixture(scope="module")
def device():
    spaces = namespaces(2, "programs")
    yield link(*spaces)[0]
    for one in spaces:
        one.close()


@pytest.fixture(params=OBJECTS, ids=[os.path.basename(path).partition(".")[0] for path in OBJECTS])
def loaded(request):
    """An object file with all of its programs in the kernel."""
    one = bpf.Object(request.param, types=TYPES.get(os.path.basename(request.param)))
    yield one
    one.close()


def test_objects_were_found():
    assert OBJECTS


def test_loads(loaded):
    assert loaded.programs


def attached(loaded, device, kind, attach):
    """Each program of a kind, by itself."""
    with device.namespace:
        for one in loaded.programs.values():
            if one.type == kind:
                attach(one)


@pytest.mark.parametrize("mode", MODES)
def test_xdp_attaches(loaded, device, mode):
    attached(loaded, device, "xdp", lambda one: one.attach_xdp(device.index, mode).close())


def test_tc_attaches(loaded, device):
    def attach(one):
        one.attach_tc_egress(device.index)
        bpf.detach_tc_egress(device.index)

    attached(loaded, device, "tc", attach)
