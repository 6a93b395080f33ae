# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Space-time diagrams: nodes are lanes, time runs downwards, each packet is an arrow and a row.

         c0        r0        r1        r2
  +0 us  |         |-Prepare v0 #7---->|         cloned in TC -> acked in XDP
  +3 us  |         |<-MyPrepareOK v0 #7|         made in XDP -> completes a quorum, passed
  +9 us  |         |-Prepare v0 #8--x  |         dropped by rule 1

Rows are as far apart as text needs, whatever time lies between; what is left out is said. SVG is written
here and not plotted: it is lines and text whose places are known, and each arrow has a tooltip.
"""
import bisect
import html

import report_capture as capture
from report_text import count, offset, span

ROWS_MAX = 72
WIDTH, TIME_X, LANES_X, LANES_END, WORDS_X = 1000, 88, 130, 690, 718
ROW, BREAK, HEAD = 18, 34, 30
GAP_NS = 5_000_000  # a silence that is said
EVENT_MAX = 80  # characters

COLORS = {"client": "#5b6270", "prepare": "#0072b2", "ack": "#00835f", "change": "#a8487d", "rest": "#8a8f98",
          "bad": "#c8480a", "held": "#b07800"}
KINDS = {"Request": "client", "Reply": "client", "Prepare": "prepare", "PrepareOK": "ack",
         "MyPrepareOK": "ack", "StartViewChange": "change", "DoViewChange": "change",
         "StartView": "change", "Recovery": "change", "RecoveryResponse": "change"}
LEGEND = [("client", "Request, Reply"), ("prepare", "Prepare"), ("ack", "PrepareOK, MyPrepareOK"),
          ("change", "view change, recovery"), ("rest", "other"), ("held", "held by a rule"),
          ("bad", "dropped, damaged")]


# --- which packets


def drawable(packets):
    return [p for p in packets if p.kind != "arp" and p.target not in ("all", "other")]


def add(ranges, begin, end, size):
    ranges.append((max(begin, 0), min(end, size)))


def indices(ranges):
    """Of all ranges, the first ones first, as many as there is room for."""
    chosen = []
    for begin, end in ranges:
        for i in range(begin, end):
            if i not in chosen and len(chosen) < ROWS_MAX:
                chosen.append(i)
    return sorted(chosen)


def first(packets, begin, test):
    return next((i for i in range(begin, len(packets)) if test(packets[i])), None)


def choose(packets, time, event=None, until=None):
    """What to show of one run's packets: those around a time; of an event, until the next one, also
    the first packet that it took and how that one was made good, the first ones of a replica that
    came back, the view change that came of it, and its end."""
    times = [p.sent for p in packets]
    at, size = bisect.bisect_left(times, time), len(packets)
    ranges = []
    if event is None:
        add(ranges, at - 20, at + 30, size)
        return [packets[i] for i in indices(ranges)]
    last = bisect.bisect_left(times, until)
    add(ranges, at - 5, at + 14, size)
    if event["rule"] is not None:
        hit = first(packets, at, lambda p: p.fate and p.fate[1] == event["rule"] and p.sent < until)
        if hit is not None:
            p = packets[hit]
            add(ranges, hit - 4, hit + 12, size)
            again = first(packets, hit + 1, lambda q: q.op is not None and not q.copy and
                          (q.source, q.target, q.kind, q.view, q.op) ==
                          (p.source, p.target, p.kind, p.view, p.op))
            if again is not None:
                add(ranges, again - 2, again + 5, size)
    if event["what"].startswith(("restart ", "format ")):
        node = event["what"].split(" ")[1]
        back = first(packets, at, lambda p: p.source == node and p.kind != "other" and p.sent < until)
        if back is not None:
            add(ranges, back - 2, back + 16, size)
    change = first(packets, at, lambda p: p.kind in capture.VIEW_CHANGE)
    if change is not None and change < last:
        add(ranges, change - 3, change + 5, size)
        served = first(packets, change, lambda p: p.kind == "StartView")
        if served is not None:
            add(ranges, served - 4, served + 6, size)
            answer = first(packets, served, lambda p: p.kind == "Reply")
            if answer is not None:
                add(ranges, answer - 7, answer + 4, size)
    if event["end_ns"] and event["begin_ns"] < event["end_ns"] < until - GAP_NS:
        end = bisect.bisect_left(times, event["end_ns"])
        add(ranges, end - 3, end + 10, size)
    return [packets[i] for i in indices(ranges)]


# --- words


def words(p):
    """(what became of it, is it bad news)"""
    said, bad = [], False
    if p.flagged:
        said.append("asks TC for a broadcast")
    if p.at_sender:
        said.append(p.at_sender)
    if p.copy:
        said.append("second copy, made by rule %d" % p.fate[1])
    elif p.fate:
        action, rule, _ = p.fate
        said.append({"drop": "dropped by rule %d", "partition": "cut by the partition",
                     "rate-drop": "dropped: no room at the rate of rule %d",
                     "corrupt": "damaged by rule %d", "duplicate": "duplicated by rule %d",
                     "reorder": "put behind others by rule %d"}.get(
                         action, "held for %s by rule %%d" % span(p.delay)))
        if "%d" in said[-1]:
            said[-1] %= rule
        bad = action in capture.LOST or action == "corrupt"
    if p.at_receiver and p.arrived:
        said.append(p.at_receiver)
    return " → ".join(said), bad


def color(p):
    if p.fate and (p.fate[0] in capture.LOST or p.fate[0] == "corrupt"):
        return COLORS["bad"]
    if p.fate and p.fate[0] in ("delay", "rate", "reorder") and not p.copy:
        return COLORS["held"]
    return COLORS[KINDS.get(p.kind, "rest")]


def lanes(chosen, run):
    """Replicas in the middle, clients around them."""
    seen = {p.source for p in chosen} | {p.target for p in chosen}
    replicas = ["r%d" % i for i in range(run["replicas"])]
    clients = sorted((n for n in seen if n.startswith("c")), key=lambda n: int(n[1:]))
    half = (len(clients) + 1) // 2
    replicas = [n for n in replicas if n in seen or run["replicas"] <= 7]
    return clients[:half] + replicas + clients[half:]


# --- rows


def rows_of(chosen, packets, marks):
    """[(kind, what)]: packets, events, and what was left out between them."""
    items = [(p.sent, 1, "packet", p) for p in chosen] + [(mark[0], 0, "event", mark) for mark in marks]
    items.sort(key=lambda item: item[:2])
    times = [p.sent for p in packets]
    shown = {id(p) for p in chosen}
    rows, before = [], None
    for time, _, kind, what in items:
        if before is not None:
            between = packets[bisect.bisect_left(times, before):bisect.bisect_right(times, time)]
            hidden = sum(id(p) not in shown for p in between)
            if hidden or time - before > GAP_NS:
                rows.append(("break", (time - before, hidden)))
        rows.append((kind, what))
        before = time
    return rows


def draw(chosen, packets, run, marks, zero):
    """SVG. `marks`: [(time, text)] of what happened meanwhile; times are told from `zero` on."""
    first_sent, last_sent = chosen[0].sent, chosen[-1].sent
    rows = rows_of(chosen, packets, [m for m in marks if first_sent <= m[0] <= last_sent])
    names = lanes(chosen, run)
    step = (LANES_END - LANES_X) / max(len(names) - 1, 1)
    x = {name: LANES_X + i * step for i, name in enumerate(names)}
    ys, y = [], HEAD + 14
    for kind, _ in rows:
        y += BREAK / 2 if kind == "break" else 0
        ys.append(y)
        y += BREAK / 2 + ROW / 2 if kind == "break" else ROW + (4 if kind == "event" else 0)
    height = y + 6
    body = lane_lines(names, x, height, run, rows, ys)
    sent = [(row[1].sent, at) for row, at in zip(rows, ys) if row[0] == "packet"]
    for (kind, what), at in zip(rows, ys):
        if kind == "break":
            body.append(draw_break(what, at))
        elif kind == "event":
            body.append(draw_event(what, at, zero))
        else:
            body.append(draw_packet(what, at, x, step, sent, zero))
    return ('<svg class="spacetime" viewBox="0 0 %d %d" role="img">%s</svg>' % (WIDTH, height, "".join(body)))


def text(x, y, words, style="", anchor="start"):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>' % (
        x, y, anchor, style, html.escape(words))


def lane_lines(names, x, height, run, rows, ys):
    out = []
    for name in names:
        dead = capture.without_programs(run, name, "process")
        out.append(text(x[name], HEAD - 8, name, "lane", "middle"))
        spans, begin, was = [], HEAD, None
        for (kind, what), y in zip(rows, ys):
            time = what.sent if kind == "packet" else what[0] if kind == "event" else None
            now = was if time is None else capture.inside(time, dead)
            if now != was and was is not None:
                spans.append((begin, y, was))
                begin = y
            was = now
        spans.append((begin, height, was))
        for begin, end, gone in spans:
            out.append('<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" class="%s"/>' % (
                x[name], x[name], begin, end, "dead" if gone else "life"))
    return out


def draw_break(what, y):
    ns, hidden = what
    said = span(ns) + " later" + (", %s not shown" % count(hidden, "packet") if hidden else "")
    return ('<rect x="0" y="%.1f" width="%d" height="16" class="break"/>' % (y - 12, LANES_END + 24) +
            text((LANES_X + LANES_END) / 2, y, "⋯ %s ⋯" % said, "gap", "middle"))


def draw_event(what, y, zero):
    return ('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="event"/>' % (TIME_X + 8, LANES_END + 24, y, y) +
            text(TIME_X, y + 3.5, offset(what[0] - zero), "time event", "end") +
            text(LANES_X + 9, y + 3.5, what[1] if len(what[1]) <= EVENT_MAX else what[1][:EVENT_MAX] + "…", "happened"))


def arrival_y(p, y, sent):
    """Where on the page its time of arrival is: between the rows of the packets sent around then."""
    if p.arrived is None:
        return y + 5
    at = bisect.bisect_right(sent, (p.arrived, float("inf"))) - 1
    time, top = sent[at]
    if at + 1 < len(sent):
        ahead, bottom = sent[at + 1]
        top += (bottom - top) * min((p.arrived - time) / max(ahead - time, 1), 1)
    return min(max(top, y + 5), y + 6 * ROW)


def arrow(tip_x, tip_y, dx, dy, fill):
    length = (dx * dx + dy * dy) ** 0.5
    ux, uy = dx / length, dy / length
    points = [(tip_x, tip_y), (tip_x - 7 * ux - 3 * uy, tip_y - 7 * uy + 3 * ux),
              (tip_x - 7 * ux + 3 * uy, tip_y - 7 * uy - 3 * ux)]
    return '<polygon points="%s" fill="%s"/>' % (" ".join("%.1f,%.1f" % point for point in points), fill)


def glyph(kind, x, y, fill):
    """What the kernel did, at an arrow's end."""
    if kind == capture.ACKED:
        return '<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>' % (x, y, COLORS["ack"])
    if kind in (capture.ABSORBED, capture.AGAIN):
        return '<circle cx="%.1f" cy="%.1f" r="3.6" class="ring" stroke="%s"/>' % (x, y, COLORS["ack"])
    if kind == capture.QUORUM:
        return '<path d="M%.1f %.1fl5 5-5 5-5-5z" fill="%s"/>' % (x, y - 5, COLORS["ack"])
    if kind == capture.PASSED:
        return '<rect x="%.1f" y="%.1f" width="6.4" height="6.4" class="ring" stroke="%s"/>' % (
            x - 3.2, y - 3.2, fill)
    if kind == capture.CLONE:
        return '<path d="M%.1f %.1fl4.5 8h-9z" fill="%s"/>' % (x, y - 5, fill)
    return ""


def draw_packet(p, y, x, step, sent, zero):
    fill = color(p)
    x1, x2, y2 = x[p.source], x[p.target], arrival_y(p, y, sent)
    way = 1 if x2 > x1 else -1
    lost = p.fate and p.fate[0] in capture.LOST
    said, bad = words(p)
    if lost:  # it ends before the next lane
        whole = abs(x2 - x1)
        x2 = x1 + way * (min(step, whole) * 0.82)
        y2 = y + 4
    dash = ' stroke-dasharray="4 3"' if p.copy or (p.arrived is None and not lost) else ""
    out = ['<g class="packet"><title>%s</title>' % html.escape(
        "%s → %s: %s; sent %s, %s%s" % (p.source, p.target, p.label(), offset(p.sent - zero),
                                      "arrived %s later" % span(p.arrived - p.sent) if p.arrived
                                      else "not seen to arrive", "; " + said if said else ""))]
    out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>' % (x1, y, x2, y2, fill, dash))
    if lost:
        out.append('<path d="M%.1f %.1fl8 8m0-8l-8 8" stroke="%s" class="cross"/>' % (x2 - 4, y2 - 4, fill))
    else:
        shown = glyph(p.at_receiver, x2, y2, fill) if p.arrived else ""
        near = 5 if shown else 1
        out.append(arrow(x2 - way * near, y2, x2 - x1, y2 - y, fill) + shown)
    out.append(glyph(p.at_sender, x1, y, fill) or '<circle cx="%.1f" cy="%.1f" r="1.8" fill="%s"/>' % (
        x1, y, fill))
    out.append(text(x1 + way * 9, y - 2.5, p.label(), "label", "start" if way > 0 else "end"))
    out.append(text(TIME_X, y + 3.5, offset(p.sent - zero), "time", "end"))
    out.append(text(WORDS_X, y + 3.5, said, "bad" if bad else "said"))
    out.append("</g>")
    return "".join(out)


def legend():
    out, at = [], 0
    for name, said in LEGEND:
        out.append('<path d="M%d 10h18" stroke="%s" class="key"/>' % (at, COLORS[name]))
        out.append(text(at + 23, 13.5, said, "said"))
        at += 38 + 6.3 * len(said)
    glyphs = [(capture.CLONE, "cloned in TC"), (capture.ACKED, "acked in XDP"), (capture.ABSORBED, "absorbed in XDP"),
              (capture.QUORUM, "completes a quorum"), (capture.PASSED, "to user space, though this offload is on")]
    at = 5
    for kind, said in glyphs:
        out.append(glyph(kind, at, 30, COLORS["prepare"]))
        out.append(text(at + 10, 33.5, said, "said"))
        at += 30 + 6.3 * len(said)
    return '<svg class="spacetime legend" viewBox="0 0 %d 40" role="img">%s</svg>' % (WIDTH, "".join(out))
