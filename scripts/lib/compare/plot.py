"""The plot of compare.json: plot.py JSON PNG. A panel for each row, a bar for each server, Fanwire's as the line at 1."""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = 3


def bars(axes, row, titles):
    figures = {name: figure for name, figure in row["figures"].items() if figure["median"]}
    ours = row["figures"].get("fanwire", {}).get("median")
    names = sorted(figures, key=lambda name: figures[name]["median"], reverse=not row["more_is_better"])
    values = [figures[name]["median"] for name in names]
    low = [value - min(figures[name]["values"]) for name, value in zip(names, values)]
    high = [max(figures[name]["values"]) - value for name, value in zip(names, values)]
    colours = ["#1f6feb" if name == "fanwire" else "#b8c0cc" for name in names]
    axes.barh([titles[name] for name in names], values, xerr=[low, high], color=colours, ecolor="#444")
    for place, (name, value) in enumerate(zip(names, values)):
        ratio = f"  {value / ours:.2f} ×" if ours else ""
        axes.annotate(ratio, (value, place), va="center", fontsize=7)
    if ours:
        axes.axvline(ours, color="#1f6feb", linewidth=0.8, linestyle=":")
    better = "more is better" if row["more_is_better"] else "less is better"
    axes.set_title(f"{row['row']}: {row['title']}", fontsize=9)
    axes.set_xlabel(f"{row['unit']}, {better}", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.18)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main(source, target):
    with open(source) as file:
        results = json.load(file)
    titles = {name: server["title"] for name, server in results["servers"].items()}
    rows = [row for row in results["rows"] if any(figure["median"] for figure in row["figures"].values())]
    if not rows:
        return
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(5.2 * columns, 2.9 * lines), squeeze=False)
    for axes in panels.flat[len(rows):]:
        axes.set_visible(False)
    for axes, row in zip(panels.flat, rows):
        bars(axes, row, titles)
    machine = results["machine"]
    figure.suptitle(f"{machine['commit']}, {machine['date'][:10]}, {machine['cpu']}, kernel {machine['kernel']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
