# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What benchmarks write for people: where they are, on standard error, and tables."""
import sys


def say(words):
    """Where it is: one line that is written over on a terminal, a line each elsewhere; "" ends it."""
    if sys.stderr.isatty():
        print("\r\x1b[K" + words, end="", file=sys.stderr, flush=True)
    elif words:
        print(words, file=sys.stderr, flush=True)


def table(headings, rows, left):
    """Columns as wide as what is in them; the first `left` are flush left."""
    cells = [[str(cell) for cell in row] for row in [*headings, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print("  ".join(cell.ljust(w) if i < left else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths))).rstrip())
