# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The mutants themselves (mutants.py); `make mutants` judges all of them."""

import os

import pytest

from . import cases, mutants

EVERY = mutants.read_all()


def _cases(name):
    return cases.load_file(os.path.join(cases.HERE, "cases", name))


def _changed(mutant):
    """What a patch takes away and adds, and where."""
    with open(mutant.path, encoding="utf-8") as f:
        return tuple(line for line in f.read().splitlines() if line[:1] in ("+", "-", "@"))


def test_enough_and_none_twice():
    assert len(EVERY) >= 40
    seen = {}
    for mutant in EVERY:
        changed = _changed(mutant)
        assert changed not in seen, f"{mutant.name} is {seen[changed]}"
        seen[changed] = mutant.name


def test_each_names_a_promise():
    assert {mutant.promise for mutant in EVERY} >= set(cases.PROMISES)


def test_each_still_applies(tmp_path):
    tree = str(tmp_path / "tree")
    mutants.copy(tree)
    for mutant in EVERY:
        mutants.apply(mutant, tree, "--dry-run")


@pytest.mark.parametrize(
    "name, file, case, difference",
    [
        ("ack-ttl-reset", "prepare.yaml", "ttl-largest-kept", "frame out: IP TTL: 64, expected 255"),
        ("ok-from-anybody", "acks.yaml", "ack-of-another-replica-s-index", "counted: quorum, expected ok-sender"),
        ("tc-flag-left-set", "broadcast.yaml", "broadcast-to-two-peers", "frame 1 of 2: broadcast flag: 1, expected 0"),
    ],
)
def test_a_mutant_is_killed_by_a_case(tmp_path, name, file, case, difference):
    (mutant,) = (mutant for mutant in EVERY if mutant.name == name)
    killed = mutants.judge(mutant, _cases(file), str(tmp_path))
    assert killed.by == case and killed.lines[0] == difference


PATCH = """A line less.
Breaks: S5

--- a/bpf/parse.bpf.h
+++ b/bpf/parse.bpf.h
@@ -1,3 +1,2 @@
 /* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
 /*
- * From a frame to a framed message. Nothing is believed that was not tested: the frame
"""


def _mutant(tmp_path, name, text):
    path = tmp_path / f"{name}.patch"
    path.write_text(text)
    return mutants.read(str(path))


def test_what_is_no_mutant_is_told(tmp_path, capfd):
    """Survivors, twins, what does not apply or compile: each is named, and all is not well."""
    survivor = _mutant(tmp_path, "survivor", PATCH)
    stale = _mutant(tmp_path, "stale", PATCH.replace("From a frame", "From any frame"))
    broken = _mutant(tmp_path, "broken", PATCH.replace(" /*\n- *", "-/*\n  *"))
    two = [_mutant(tmp_path, name, open(EVERY[0].path, encoding="utf-8").read()) for name in ("one", "other")]
    all_of_them = [survivor, stale, broken, *two]
    assert not mutants.run(all_of_them, _cases("captures.yaml"), str(tmp_path))
    out = capfd.readouterr().out
    assert "survivor: SURVIVED: A line less." in out
    assert "stale: cannot be judged: " in out and "stale.patch does not apply to bpf/ any more" in out
    assert "broken: cannot be judged: broken does not compile" in out
    assert "the same failures in every case: one, other" in out
    assert out.endswith("2 could not be judged\n5 mutants: 2 killed, 1 survived\n")


def test_a_patch_without_a_promise_is_named(tmp_path):
    with pytest.raises(mutants.MutantError, match="nameless.patch: begins with"):
        _mutant(tmp_path, "nameless", PATCH.replace("Breaks: S5\n", ""))
