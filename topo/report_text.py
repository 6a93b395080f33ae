# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Numbers for people."""


def span(ns):
    """A duration with three digits or so: 1.2 µs, 35 µs, 2.04 ms, 312 ms, 1.50 s"""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if ns >= size * 0.9995:
            value = ns / size
            return "%.*f %s" % (2 if value < 10 else 1 if value < 100 else 0, value, unit)
    value = ns / 1e3
    return "%.*f µs" % (1 if value < 100 else 0, value)


def offset(ns):
    """A time before or after another, to the microsecond: +35.2 µs, −1.204 ms, +1 502.340 ms"""
    sign, ns = ("−", -ns) if ns < 0 else ("+", ns)
    if ns < 1_000_000:
        return "%s%.1f µs" % (sign, ns / 1e3)
    return "%s%s.%03d ms" % (sign, whole(ns // 1_000_000), ns // 1000 % 1000)


def whole(number):
    return "{:,}".format(round(number)).replace(",", "\N{NARROW NO-BREAK SPACE}")


def count(number, noun):
    return "%s %s%s" % (whole(number), noun, "" if number == 1 else "s")
