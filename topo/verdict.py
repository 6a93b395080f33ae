# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Verdicts over what clients saw and replicas kept. Pure functions: no files, no processes.

    linearizable(operations)                  the op number of each reply is the witness order
    logs_agree(logs, operations)              one log, as far as each replica knows
    no_acked_op_lost(operations, logs, n)     what was answered stands in a quorum's logs

Each returns (verdict, problems): True; False with the first sentences that say what is wrong; or a
string that says why it could not be told. docs/experiments.md has the definitions.

Finding *an* order that explains a history is hard in general; to test a given one is a sort and a
replay. The replicas give it: a reply carries the op number at which it was executed.
"""
import bisect
import collections
import heapq

PROBLEMS_MAX = 5

# invoked, completed in ns; completed, result, opnum None: no reply. id and reqid: of the request.
Operation = collections.namedtuple("Operation",
                                   "client id reqid invoked completed op result opnum")
Entry = collections.namedtuple("Entry", "client reqid data")  # data: hex, as build/journal has it


class Untold(Exception):
    """Why a question cannot be answered."""


def judged(check):
    def judge(*arguments):
        problems = []
        try:
            for problem in check(*arguments):
                problems.append(problem)
                if len(problems) == PROBLEMS_MAX:
                    break
        except Untold as why:
            if not problems:
                return "could not be told: %s" % why, []
        return not problems, problems
    return judge


def who(o):
    return "%s's %s" % (o.client, o.op if len(o.op) <= 40 else o.op[:37] + "...")


def quote(text):
    return "'%s'" % (text if len(text) <= 40 else text[:37] + "...")


# --- linearizable


def parse(o):
    """(verb, key, value or None)"""
    verb, _, rest = o.op.partition(" ")
    if verb == "SET" and " " in rest:
        key, _, value = rest.partition(" ")
        return verb, key, value
    if verb == "GET" and rest and " " not in rest:
        return verb, rest, None
    raise Untold("nobody knows what %s should give" % quote(o.op))


@judged
def linearizable(operations):
    answered = sorted((o for o in operations if o.completed is not None), key=lambda o: o.opnum)
    yield from unsound(answered)
    yield from out_of_time(answered)
    yield from misfits(answered, [o for o in operations if o.completed is None])


def unsound(answered):
    seen = {}
    before = None
    for o in answered:
        if o.opnum < 1:
            yield "%s was answered with op number %d" % (who(o), o.opnum)
        if o.completed < o.invoked:
            yield "%s ended %d ns before it began" % (who(o), o.invoked - o.completed)
        if before and before.opnum == o.opnum:
            yield "op %d is both %s and %s" % (o.opnum, who(before), who(o))
        if (o.id, o.reqid) in seen:
            yield "%s was executed twice, as op %d and as op %d" % (who(o), seen[o.id, o.reqid],
                                                                   o.opnum)
        seen[o.id, o.reqid] = o.opnum
        before = o


def out_of_time(answered):
    """Somebody began after somebody else had ended, and has the lower number."""
    last = None  # to begin, of all with lower numbers
    for o in answered:
        if last and o.completed < last.invoked:
            yield "op %d (%s) had ended %d ns before op %d (%s) began" % (
                o.opnum, who(o), last.invoked - o.completed, last.opnum, who(last))
        if last is None or o.invoked > last.invoked:
            last = o


class Lower:
    """Above which op number an operation must stand that began at some time."""

    def __init__(self, answered):
        self.times, self.highest = [], []
        for o in sorted(answered, key=lambda o: o.completed):
            self.times.append(o.completed)
            self.highest.append(max(o.opnum, self.highest[-1] if self.highest else 0))

    def __call__(self, invoked):
        before = bisect.bisect_left(self.times, invoked)
        return self.highest[before - 1] if before else 0


def misfits(answered, unanswered):
    """Replay. Where a result needs an operation that got no reply, that one happened, once, at a
    number that is free: above all that ended before it began, above the last one on its key
    (before that it would have been overwritten, or seen), below the one that saw it. Of several
    that would do, the one that may stand lowest: for what comes later they are all alike."""
    lower = Lower(answered)
    waiting = collections.defaultdict(list)  # (key, value): [(lower, operation)]
    for o in unanswered:
        verb, key, value = parse(o)
        if verb == "SET":
            waiting[key, value].append((lower(o.invoked), o))
    for rows in waiting.values():
        rows.sort(key=lambda row: row[0], reverse=True)
    store, touched = {}, {}
    happened = []  # (above, below, operation)
    for o in answered:
        verb, key, value = parse(o)
        if verb == "SET":
            if o.result != "OK":
                yield "op %d (%s) was answered %s" % (o.opnum, who(o), quote(o.result))
            store[key] = value
        elif o.result != store.get(key, "NONE"):
            rows = waiting.get((key, o.result))
            if rows and rows[-1][0] < o.opnum:
                above, late = rows.pop()
                happened.append((max(above, touched.get(key, 0)), o.opnum, late))
                store[key] = o.result
            else:
                yield explain(o, key, store, answered)
        touched[key] = o.opnum
    yield from without_room(happened, {o.opnum for o in answered})


def explain(o, key, store, answered):
    want = store.get(key, "NONE")
    text = "op %d (%s) gave %s, not %s: " % (o.opnum, who(o), quote(o.result), quote(want))
    if o.result == "NONE":
        return text + "a write was lost"
    for other in answered:
        if parse(other) == ("SET", key, o.result):
            return text + ("that was written by op %d, %s" % (
                other.opnum, "and overwritten since" if other.opnum < o.opnum else "in the future"))
    return text + "nobody had written that"


def without_room(happened, taken):
    """Give each its own free number; the one whose room ends first goes first."""
    happened.sort(key=lambda row: row[0])
    waiting, number = [], 0
    at = 0
    while at < len(happened) or waiting:
        if not waiting:
            number = max(number, happened[at][0])
        number += 1
        while number in taken:
            number += 1
        while at < len(happened) and happened[at][0] < number:
            heapq.heappush(waiting, (happened[at][1], at, happened[at][2]))
            at += 1
        if waiting:
            below, _, o = heapq.heappop(waiting)
            if number >= below:
                yield "%s got no reply and was seen by op %d, and no op number is free for it" % (
                    who(o), below)


# --- logs


class Log:
    """What a replica's journal comes to: `entries` by op number, with their views; ops up to
    `base` are in a snapshot whose contents are `state` (None: not known)."""

    def __init__(self, node, committed=None):
        self.node, self.committed = node, committed  # committed None: it did not live to say
        self.entries, self.views = {}, {}
        self.base = self.last = 0
        self.state = None

    def add(self, record):
        kind = record["record"]
        if kind == "entry":
            self.last = op = record["op"]
            self.entries[op] = Entry(record["client"], record["reqid"], record["data"])
            self.views[op] = record["view"]
        elif kind == "truncate":
            for op in range(record["op"] + 1, self.last + 1):
                self.entries.pop(op, None)
            self.last = min(self.last, record["op"])
        elif kind == "snapshot":
            self.base = record["op"]
            self.state = record.get("state")
            if self.base > self.last:  # another replica's: what was here before may be anything
                self.entries.clear()
                self.last = self.base


def contents_differ(logs):
    """(op, {contents: [log]}) where not all that have it have the same."""
    for op in range(1, max((log.last for log in logs), default=0) + 1):
        contents = {}
        for log in logs:
            if op in log.entries:
                contents.setdefault(log.entries[op], []).append(log)
        if len(contents) > 1:
            yield op, contents


def text(entry):
    return quote(bytes.fromhex(entry.data).decode("latin-1"))


def at_odds(op, contents):
    """Do two who know it to be committed, or got it in one view, disagree?"""
    known = {}
    for entry, logs in contents.items():
        for log in logs:
            reasons = [("view", log.views[op])]
            if log.committed is not None and op <= log.committed:
                reasons.append(("committed", None))
            for reason in reasons:
                other, node = known.setdefault(reason, (entry, log.node))
                if other != entry:
                    return "op %d is %s in %s and %s in %s" % (op, text(other), node, text(entry),
                                                              log.node)
    return None


@judged
def logs_agree(logs, operations):
    if not logs:
        raise Untold("there is no replica of ours")
    for op, contents in contents_differ(logs):
        problem = at_odds(op, contents)
        if problem:
            yield problem
    asked = {(o.id, o.reqid): o for o in operations}
    for log in logs:
        seen = {}
        for op, entry in sorted(log.entries.items()):
            request = entry.client, entry.reqid
            if request in seen:
                yield "%s has one request twice, as op %d and as op %d: %s" % (
                    log.node, seen[request], op, text(entry))
            seen[request] = op
            o = asked.get(request)
            if o and o.op.encode("latin-1").hex() != entry.data:
                yield "%s has %s as op %d, and %s was asked for" % (log.node, text(entry), op,
                                                                   quote(o.op))
    yield from wrong_states(logs)


def wrong_states(logs):
    """A snapshot is what the operations up to it come to, where some replica has all of them."""
    merged = {}
    for log in logs:
        for op, entry in log.entries.items():
            if log.committed is not None and op <= log.committed:
                merged[op] = entry
    snapshots = sorted(((log.base, log) for log in logs if log.state is not None),
                       key=lambda row: row[0])
    store, op = {}, 0
    for base, log in snapshots:
        while op < base and op + 1 in merged:
            op += 1
            data = bytes.fromhex(merged[op].data).decode("latin-1")
            if data.startswith("SET "):
                key, _, value = data[4:].partition(" ")
                store[key] = value
        if op < base:
            return
        if store != log.state:
            keys = [k for k in {**store, **log.state} if store.get(k) != log.state.get(k)]
            yield "the snapshot of %s at op %d has %s = %s, and it is %s" % (
                log.node, base, keys[0], quote(log.state.get(keys[0], "NONE")),
                quote(store.get(keys[0], "NONE")))


@judged
def no_acked_op_lost(operations, logs, replicas):
    if len(logs) < replicas:
        raise Untold("%d of %d replicas have no journal of ours" % (replicas - len(logs), replicas))
    quorum = replicas // 2 + 1
    dead = [log.node for log in logs if log.committed is None]
    untold = None
    for o in operations:
        if o.completed is None:
            continue
        entry = Entry(o.id, o.reqid, o.op.encode("latin-1").hex())
        holders = silent = 0
        for log in logs:
            if o.opnum in log.entries:
                holders += log.entries[o.opnum] == entry
            elif o.opnum <= log.base:
                holders += 1
            elif log.committed is None:
                silent += 1
        if holders >= quorum:
            continue
        if holders + silent < quorum:
            yield "op %d (%s) was answered, and %d of %d replicas have it" % (
                o.opnum, who(o), holders, replicas)
        elif untold is None:
            untold = o
    if untold:
        raise Untold("op %d may stand in the kernel log of %s, which ended before it could say" % (
            untold.opnum, " or ".join(dead)))
