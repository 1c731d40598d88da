# SPDX-License-Identifier: Apache-2.0
"""What the benchmark leaves behind: a table for people, results.json for programs, a picture for both."""

import json
import os

from stats import advantage, best

COLOURS = {"penstock": "#c2410c", "haproxy": "#1d4ed8", "nginx": "#15803d", "floor": "#9ca3af"}


def number(value):
    """Three significant digits, and no exponent."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def cell(row, name):
    value = row["floor"] if name == "floor" else row["penstock"] if name == "penstock" else row["peers"].get(name)
    spread = row["spread"].get(name)
    if value is None:
        return "-"
    return number(value) + (f" ({number(spread[0])}..{number(spread[1])})" if spread else "")


def table(rows, peers, markdown=False):
    """The rows as aligned text; the brackets hold the lowest and the highest run."""
    names = ["penstock", *peers, "floor"]
    lines = [["row", "metric", "unit", "better", *names, "penstock / best peer"]]
    for row in rows:
        ratio = row["ratio_to_best"]
        lines.append(
            [row["id"], row["metric"], row["unit"], row["better"]]
            + [cell(row, name) for name in names]
            + ["-" if ratio is None else f"{ratio:.2f}"]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    if markdown:
        lines.insert(1, ["-" * width for width in widths])
    edge, between = ("| ", " | ") if markdown else ("", "  ")
    return "\n".join(
        (edge + between.join(text.ljust(width) for text, width in zip(line, widths)) + edge[::-1]).rstrip()
        for line in lines
    )


def write_json(path, value):
    """Whole or not at all."""
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)


def points(row, peers):
    """{name: how many times as good as the best peer} of those that are there."""
    values = {"penstock": row["penstock"], **row["peers"], "floor": row["floor"]}
    reference = best([row["peers"].get(name) for name in peers], row["better"])
    gained = {name: advantage(value, reference, row["better"]) for name, value in values.items()}
    return {name: value for name, value in gained.items() if value}


def picture(path, rows, peers, caption):
    """One line per row and metric, on a logarithmic scale: further right is better. False: no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.27 * len(rows)))
    for name in ["floor", *peers, "penstock"]:
        known = [(points(row, peers).get(name), -place) for place, row in enumerate(rows)]
        known = [point for point in known if point[0]]
        size, marker = (70, "D") if name == "penstock" else (40, "|" if name == "floor" else "o")
        axes.scatter(*zip(*known) if known else ([], []), s=size, marker=marker, label=name, color=COLOURS.get(name), zorder=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8])
    axes.set_yticks([-place for place in range(len(rows))], [f"{row['id']}  {row['metric']}" for row in rows])
    axes.grid(axis="both", linewidth=0.3)
    axes.set_xlabel("times as good as the best peer (right is better)")
    axes.set_title(caption, fontsize=8, pad=24)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2 + len(peers), fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
