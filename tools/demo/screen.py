# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: headings, checks, tables. Colour on a terminal only."""
import os
import sys
import textwrap

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def heading(text):
    print(f"\n{paint('1;36', text)}", flush=True)


def say(text):
    print(f"  {text}", flush=True)


def quote(text, indent=4):
    """Words of others: a command with what it printed, or a file."""
    for line in text.rstrip().splitlines():
        print(" " * indent + paint(2, line), flush=True)


def table(columns, rows):
    """`columns`: heading and width at most; what is longer goes on below. Rows hold text."""
    widths = [min(limit, max(len(title), *(len(str(row[i])) for row in rows)) if rows else len(title))
              for i, (title, limit) in enumerate(columns)]
    rule = "  " + "-+-".join("-" * width for width in widths)
    print("  " + " | ".join(paint(1, title.ljust(width)) for (title, _), width in zip(columns, widths)).rstrip())
    print(rule)
    for row in rows:
        cells = [textwrap.wrap(str(cell), width) or [""] for cell, width in zip(row, widths)]
        for i in range(max(map(len, cells))):
            print("  " + " | ".join((cell[i] if i < len(cell) else "").ljust(width)
                                    for cell, width in zip(cells, widths)).rstrip())
    sys.stdout.flush()


def size(n_bytes):
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


class Checks:
    """What the demo claims. Each claim is printed with its verdict; one that is not true makes the demo fail."""

    def __init__(self):
        self.held = 0
        self.broken = []

    def claim(self, sentence, is_true, why=""):
        if is_true:
            self.held += 1
            print(f"  {paint(32, 'yes')}  {sentence}", flush=True)
        else:
            self.broken.append(sentence)
            print(f"  {paint(31, 'NO')}   {sentence}", flush=True)
            quote(str(why), 7)
        return is_true
