"""What was measured: one table of ratios, and everything as JSON."""

import dataclasses
import json
import statistics

FANWIRE = "fanwire"


@dataclasses.dataclass
class Figure:
    """One server's figure of a row: its median over rounds, or why there is none."""

    values: list[float]
    note: str = ""
    rounds: list = dataclasses.field(default_factory=list)
    settings: str = ""

    @property
    def median(self):
        return statistics.median(self.values) if self.values else None

    def spread(self):
        """Half of what lies between the least and the most, in percent of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median * 100 if self.median else 0

    def as_json(self):
        rounds = [dataclasses.asdict(one) if dataclasses.is_dataclass(one) else one for one in self.rounds]
        return {
            "median": self.median, "values": self.values, "note": self.note, "rounds": rounds, "settings": self.settings
        }


@dataclasses.dataclass
class Row:
    """Figures of all servers in one unit; `more_is_better` where a ratio above 1 is in a server's favour."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    # A difference, which may be about nothing: no ratio of it says anything.
    difference: bool = False
    figures: dict[str, Figure] = dataclasses.field(default_factory=dict)

    def ratio(self, name):
        """A server's median ÷ Fanwire's, or None."""
        if self.difference:
            return None
        ours, theirs = (self.figures.get(one) for one in (FANWIRE, name))
        return theirs.median / ours.median if ours and theirs and ours.median and theirs.median else None

    def best_rival(self):
        """(name, median) of the rival that stands best, or None."""
        medians = {name: one.median for name, one in self.figures.items() if name not in (FANWIRE, "floor") and one.median}
        if not medians:
            return None
        name = (max if self.more_is_better else min)(medians, key=medians.get)
        return name, medians[name]


class Results:
    def __init__(self, machine, quick):
        self.machine, self.quick = machine, quick
        self.rows, self.servers = [], {}

    def server(self, name, title, version, settings):
        self.servers[name] = {"title": title, "version": version, "settings": settings}

    def row(self, *words):
        self.rows.append(Row(*words))
        return self.rows[-1]

    def as_json(self):
        rows = [
            {
                "row": row.key, "title": row.title, "unit": row.unit, "more_is_better": row.more_is_better,
                "figures": {name: figure.as_json() | {"ratio": row.ratio(name)} for name, figure in row.figures.items()},
            }
            for row in self.rows
        ]
        return {"machine": self.machine, "quick": self.quick, "servers": self.servers, "rows": rows}

    def markdown(self):
        """The table, what its notes say, and the versions."""
        names = [name for name in self.servers if any(name in row.figures for row in self.rows)]
        notes, lines = [], []
        lines.append("| | " + " | ".join(self.servers[name]["title"] for name in names) + " |")
        lines.append("| --- |" + " --- |" * len(names))
        for row in self.rows:
            cells = [self.cell(row, name, notes) for name in names]
            lines.append(f"| {row.key}: {row.title}, {row.unit} | " + " | ".join(cells) + " |")
        lines += ["", "Each cell: the figure ÷ Fanwire's (median, ± half of what lies between the rounds)."]
        lines += [f"[{number}] {note}" for number, note in enumerate(notes, 1)] + [""]
        lines += [f"- {one['title']} {one['version']}: {one['settings']}" for one in self.servers.values()]
        words = "  ".join(f"{key} {value}" for key, value in self.machine.items())
        return "\n".join([*lines, "", words, *(["A quick run: its windows are short."] if self.quick else [])]) + "\n"

    def cell(self, row, name, notes):
        figure = row.figures.get(name)
        if figure is None:
            return "–"
        mark = ""
        if figure.note:
            if figure.note not in notes:
                notes.append(figure.note)
            mark = f" [{notes.index(figure.note) + 1}]"
        if figure.median is None:
            return f"–{mark}"
        ratio = row.ratio(name)
        told = f"{shown(figure.median)}" + (f" ±{figure.spread():.0f} %" if len(figure.values) > 1 else "")
        return (f"{ratio:.2f} ({told})" if ratio and name != FANWIRE else told) + mark

    def write(self, directory):
        (directory / "compare.md").write_text(self.markdown())
        (directory / "compare.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")


def shown(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
