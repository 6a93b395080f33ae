# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A report's page: one column, no script, nothing from elsewhere."""
import collections
import datetime
import html

import report_capture as capture
import report_plots
import report_spacetime
from report_text import count, span, whole

CHECKS = {
    "linearizable": "Linearizable: one order of all operations explains every answer, and in it whatever had ended "
                    "before another operation began comes before it.",
    "logs_agree": "Logs agree: no two replicas hold different operations at one op number, and none holds an "
                  "operation twice.",
    "no_acked_op_lost": "No acknowledged operation is lost: each one that was answered stands in the logs of a quorum.",
}

STYLE = """
:root { --ink: #1c2024; --muted: #6b7280; --line: #dfe3e8; --soft: #f5f6f8; --good: #00734f; --bad: #b83d00; }
* { box-sizing: border-box; }
html { background: #fff; }
body { max-width: 1000px; margin: 0 auto; padding: 44px 28px 80px; color: var(--ink);
  font: 15px/1.5 "Source Sans 3", "Noto Sans", "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; font-weight: 600; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 38px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); font-weight: 600; }
h3 { font-size: 15px; margin: 28px 0 6px; font-weight: 600; }
p { margin: 6px 0; }
.about { font-size: 17px; color: var(--muted); margin: 0 0 14px; }
.facts, .note, figcaption { color: var(--muted); font-size: 13px; }
.verdict { margin: 18px 0 0; padding: 10px 14px; border-left: 4px solid var(--good); background: var(--soft); font-size: 16px; max-width: none; }
.verdict.wrong { border-color: var(--bad); }
table { border-collapse: collapse; font-size: 13px; margin: 10px 0; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: right; font-weight: 600; color: var(--muted); padding: 3px 0 3px 14px; border-bottom: 1px solid var(--ink); vertical-align: bottom; }
td { text-align: right; padding: 3px 0 3px 14px; border-bottom: 1px solid var(--line); vertical-align: top; }
th.w, td.w { text-align: left; }
th:first-child, td:first-child { padding-left: 0; }
td.kind { font-weight: 600; } #checks td { font-weight: 400; }
tr.same td.kind { color: transparent; border-bottom-color: var(--line); }
td.zero { color: #b6bcc5; }
.yes { color: var(--good); font-weight: 600; } .no { color: var(--bad); font-weight: 600; }
.open { color: #8a6100; font-weight: 600; }
ul.problems { margin: 2px 0 8px; padding-left: 20px; font-size: 13px; color: var(--bad); }
ol.events { font-size: 13px; columns: 2; column-gap: 32px; padding-left: 22px; margin: 4px 0 0; }
ol.events li { break-inside: avoid; } ol.events li::marker { color: var(--bad); font-weight: 700; }
ol.events span { color: var(--muted); }
figure { margin: 10px 0 22px; } figure > svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.spacetime .label { font-size: 10.5px; fill: #1c2024; paint-order: stroke; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; }
.spacetime .time { font-size: 10.5px; fill: #6b7280; font-variant-numeric: tabular-nums; }
.spacetime .said { font-size: 11px; fill: #4b5260; } .spacetime .bad { font-size: 11px; fill: #b83d00; font-weight: 600; }
.spacetime .happened, .spacetime .time.event { font-size: 11px; fill: #b83d00; font-weight: 700; }
.spacetime .happened { paint-order: stroke; stroke: #fff; stroke-width: 7px; }
.spacetime .gap { font-size: 10.5px; fill: #6b7280; font-style: italic; }
.spacetime .lane { font-size: 13px; font-weight: 600; fill: #1c2024; }
.spacetime line { stroke-width: 1.3; } .spacetime line.life { stroke: #c9ced6; stroke-width: 1.4; }
.spacetime line.dead { stroke: #c8480a; stroke-width: 1.2; stroke-dasharray: 1 4; }
.spacetime line.event { stroke: #c8480a; stroke-width: 1; stroke-dasharray: 5 3; }
.spacetime .break { fill: #f5f6f8; } .spacetime .ring { fill: #fff; stroke-width: 1.5; }
.spacetime .cross { stroke-width: 2.2; fill: none; } .spacetime .key { stroke-width: 2; fill: none; }
.spacetime .packet:hover line { stroke-width: 2.6; }
@media (max-width: 700px) { body { padding: 20px 12px; } ol.events { columns: 1; } .wide { overflow-x: auto; } }
@media print { body { max-width: none; padding: 0; font-size: 12px; } h2 { break-after: avoid; } h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; } figure.tall { break-inside: auto; } }
"""


def tag(name, inside, **attributes):
    words = "".join(' %s="%s"' % (key.rstrip("_"), html.escape(str(value))) for key, value in attributes.items() if value)
    return "<%s%s>%s</%s>" % (name, words, inside, name)


def say(words):
    return html.escape(words)


def table(head, rows, words=1, classes=None):
    """The first `words` columns are text. Cells are HTML."""
    kind = lambda i: "w" if i < words else ""  # noqa: E731
    out = [tag("tr", "".join(tag("th", h, class_=kind(i)) for i, h in enumerate(head)))]
    for number, row in enumerate(rows):
        cells = [tag("td", cell, class_=" ".join(filter(None, [
            kind(i), "kind" if i == 0 else "", "zero" if cell == "·" else ""]))) for i, cell in enumerate(row)]
        out.append(tag("tr", "".join(cells), class_=classes[number] if classes else ""))
    return tag("div", tag("table", "".join(out)), class_="wide")


def figure(svg, caption="", tall=False):
    return tag("figure", svg + (tag("figcaption", caption) if caption else ""), class_="tall" if tall else "")


def section(name, title, *parts):
    return tag("section", tag("h2", title) + "".join(parts), id=name)


# --- head and checks


def told(value):
    return {True: tag("span", "yes", class_="yes"), False: tag("span", "no", class_="no")}.get(
        value, tag("span", "could not be told", class_="open"))


def unexpected(summary):
    return [(run["offload"], check) for run in summary["runs"] for check in CHECKS
            if (run["checks"][check] is True) != summary["expect"].get(check, True)]


def head(results):
    summary = results.summary
    when = datetime.datetime.fromtimestamp(summary["clock"]["realtime_ns"] / 1e9)
    run = results.runs[0]
    facts = "%s · %s XDP · %s · %s in flight · seed %d" % (
        when.strftime("%Y-%m-%d %H:%M:%S"), summary["attach"], count(run["replicas"], "replica"),
        count(run["clients"], "operation"), summary["seed"])
    wrong = unexpected(summary)
    if wrong:
        verdict = "Not as expected: " + "; ".join("%s (offload %s)" % (check, offload) for offload, check in wrong)
    elif all(value is True for value in summary["checks"].values()):
        verdict = "All checks hold."
    else:
        verdict = "As expected, not all checks hold: " + ", ".join(
            check for check, value in summary["checks"].items() if value is not True)
    if summary["interrupted"]:
        verdict += " Interrupted: it was to last longer."
    elif any(run["failed"] for run in results.runs):
        verdict += " Not all of it could be carried out."
    return tag("header", tag("h1", say(summary["name"])) + tag("p", say(summary["about"] or ""), class_="about") +
               tag("p", say(facts), class_="facts") + tag("p", say(verdict), class_="verdict" + " wrong" * bool(wrong)))


def number(value, form="%.0f"):
    return "–" if value is None else whole(value) if form == "%.0f" else form % value


def runs(results):
    rows = []
    for i, run in enumerate(results.runs):
        latency = run["latency_us"]
        us = [number(latency[key], "%.0f") for key in ("p50", "p99", "p999", "max")]
        rows.append([say(results.title(i)), whole(run["ops"]), number(run["ops_per_s"]), *us, number(run["unavailable_ms"], "%.1f"),
                     number(run["cpu_us_per_op"], "%.0f"), whole(run["retransmits"]), whole(run["unanswered"])])
    columns = ["run", "operations", "ops/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "longest time<br>without reply, ms",
               "CPU µs<br>per op", "sent<br>again", "without<br>reply"]
    return section("runs", "Runs", table(columns, rows))


def checks(results):
    rows, problems = [], []
    for check, words in CHECKS.items():
        expected = results.summary["expect"].get(check, True)
        title, _, rest = words.partition(": ")
        rows.append([tag("b", say(title) + ":") + " " + say(rest)] + [told(run["checks"][check]) for run in results.runs] +
                    ["" if expected else "must not hold here"])
        for i, run in enumerate(results.runs):
            value = run["checks"][check]
            found = ([value] if isinstance(value, str) else []) + run["problems"].get(check, [])
            if found:
                problems.append(tag("p", say("%s, %s:" % (title, results.title(i))), class_="note") +
                                tag("ul", "".join(tag("li", say(one)) for one in found), class_="problems"))
    columns = [""] + [say(results.title(i)) for i in range(len(results.runs))] + [""]
    return section("checks", "Checks", table(columns, rows), *problems)


# --- over time


def event_list(run):
    items = []
    for event in run["events"]:
        if event["begin_ns"] is None:
            items.append(tag("li", say(event["what"]) + " <span>did not take place</span>"))
            continue
        begin = (event["begin_ns"] - run["start_ns"]) / 1e9
        when = "at %.2f s" % begin
        if event["end_ns"] is None:
            when += ", to the end"
        elif event["end_ns"] > event["begin_ns"]:
            when += ", for %s" % span(event["end_ns"] - event["begin_ns"])
        items.append(tag("li", say(event["what"]) + " " + tag("span", say(when))))
    return tag("ol", "".join(items), class_="events") if items else ""


def over_time(results):
    parts = [tag("p", "Throughput and latency of what was answered then, in %d steps; marked: what the timeline did." %
                 report_plots.BINS, class_="note")]
    for i, run in enumerate(results.runs):
        parts.append(tag("h3", say(results.title(i).capitalize())))
        parts.append(figure(report_plots.over_time(results, i) if len(results.histories[i].completed) else
                            "<p>No operation was answered.</p>", event_list(run)))
    return section("time", "Over time", *parts)


def latency(results):
    return section("latency", "Latency", figure(report_plots.distributions(results)))


# --- packets


def dot(value):
    return whole(value) if value else "·"


def rules(results, number):
    run = results.runs[number]
    faults = run["faults"]
    if not faults:
        return ""
    actions = collections.Counter((f["kind"], f["from"], f["to"], f["action"]) for f in results.faults
                                  if f["run"] == number and "rule" in f)
    rows = [[say(what), whole(counts["seen"]), whole(counts["taken"])] for what, counts in faults.items()]
    out = table(["rule of the switch", "packets seen", "taken"], rows)
    columns = sorted({key[3] for key in actions})
    links = collections.defaultdict(collections.Counter)
    for (kind, source, target, action), times in actions.items():
        links[kind, source, target][action] += times
    out += kind_table(["kind", "link", *columns], {key: [dot(counts[c]) for c in columns]
                                                   for key, counts in links.items()})
    return tag("h3", say("What rules did, %s" % results.title(number))) + out


def kind_table(columns, cells):
    rows, classes, before = [], [], None
    for key in sorted(cells):
        kind, source, target = key
        rows.append([say(kind), "%s&nbsp;→&nbsp;%s" % (say(source), say(target)), *cells[key]])
        classes.append("same" if kind == before else "")
        before = kind
    return table(columns, rows, 2, classes)


CAPTURED = ["captured", "arrived", "lost", "copies", "damaged", "held"]
KERNEL = {"cloned in TC": ("at_sender", [capture.CLONE]), "made in XDP": ("at_sender", [capture.MADE]),
          "acked in XDP": ("at_receiver", [capture.ACKED]),
          "absorbed in XDP": ("at_receiver", [capture.ABSORBED, capture.AGAIN]),
          "completed<br>a quorum": ("at_receiver", [capture.QUORUM]), "to user<br>space": ("at_receiver", [capture.PASSED])}


def captured(results, number):
    packets = [p for p in results.packets if p.run == number]
    run = results.runs[number]
    if not packets:
        return tag("p", say("%s: no packet was captured." % results.title(number).capitalize()), class_="note")
    links = collections.defaultdict(collections.Counter)
    for p in packets:
        c = links[p.kind, p.source, p.target]
        c["captured"] += not p.copy
        c["copies"] += p.copy
        c["arrived"] += p.arrived is not None
        if p.fate:
            c["lost"] += p.fate[0] in capture.LOST
            c["damaged"] += p.fate[0] == "corrupt"
            c["held"] += p.fate[0] in ("delay", "rate", "reorder")
        for name, (where, values) in KERNEL.items():
            c[name] += getattr(p, where) in values
    used = [name for name in (*CAPTURED, *KERNEL) if name in CAPTURED[:2] or any(c[name] for c in links.values())]
    head = ["kind", "link", *used]
    missed = ", %s found no room" % count(run["capture"]["lost"], "packet") if run["capture"]["lost"] else ""
    return (tag("h3", say("Captured packets, %s" % results.title(number))) +
            tag("p", say("%s at the ports of the switch%s." % (count(run["capture"]["packets"], "packet"), missed)), class_="note") +
            kind_table(head, {key: [dot(c[name]) for name in used] for key, c in links.items()}))


def counters(results):
    reasons = results.summary["reasons"]
    names = [name for name in reasons if any(run["counters"].get(name) for run in results.runs)]
    if not names:
        return ""
    rows = [[say(name), say(reasons[name]["verdict"]), say(reasons[name]["text"]),
             *[dot(run["counters"].get(name, 0)) for run in results.runs]] for name in names]
    columns = ["reason", "verdict", "", *[say(results.title(i)) for i in range(len(results.runs))]]
    return (tag("h3", "What the kernel programs counted, all replicas, the whole run") + table(columns, rows, 3))


def packets(results):
    parts = [tag("p", "Captures cover only the time around events; what the kernel did with a captured packet is told from "
                 "the packets that follow it. The programs' own counters, below, cover everything.", class_="note")]
    for i in range(len(results.runs)):
        parts += [rules(results, i), captured(results, i)]
    return section("packets", "Packets", *parts, counters(results))


# --- diagrams


def diagrams(results, pictures, left_out):
    parts = [tag("p", "Each row is one packet as the switch saw it leave its sender; times count from the event. On the right: "
                 "what became of it. Rows are as far apart as text needs, not as time was.", class_="note"),
             figure(report_spacetime.legend())]
    for title, svg in pictures:
        parts += [tag("h3", say(title)), figure(svg, tall=True)]
    if not pictures:
        parts = [tag("p", "No packet was captured: nothing happened around which to look, or the file says "
                     "<code>around: 0</code>.")]
    if left_out:
        parts.append(tag("p", say("Not drawn: %s. `rack report --around TIME` draws one of them." % "; ".join(left_out)),
                         class_="note"))
    return section("diagrams", "Space and time", *parts)


def page(results, pictures, left_out):
    name = "%s, seed %d" % (results.summary["name"], results.summary["seed"])
    body = [head(results), checks(results), runs(results), over_time(results), latency(results),
            diagrams(results, pictures, left_out), packets(results)]
    return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>%s</style></head>\n"
            "<body>%s</body></html>\n" % (say(name), STYLE, "\n".join(body)))
