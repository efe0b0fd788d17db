"""What a check or benchmark found: rows with their goals, promises that were broken, and the exit code."""

import contextlib
import json
import operator

HOLDS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}
SIGNS = {"<=": "≤", ">=": "≥", "==": "="}
BROKEN_SHOWN = 20


class Verdict:
    """`figures` are the rows printed so far; `broken` says in words what was not as promised, missed goals included."""

    def __init__(self):
        self.figures, self.broken = [], []

    def figure(self, what, measured, comparison=None, goal=None, unit="", note=""):
        """Prints a row; one that misses its goal is broken, and so is one that has no figure."""
        shown = "no figure" if measured is None else number(measured)
        holds = comparison is None or (measured is not None and HOLDS[comparison](measured, goal))
        shown += f" {unit}" if unit else ""
        if comparison:
            shown += f" (goal {SIGNS[comparison]} {number(goal)}) {'ok' if holds else 'MISSED'}"
        print(f"{what}: {shown}{f'; {note}' if note else ''}", flush=True)
        self.figures.append(
            {"what": what, "measured": measured, "goal": f"{comparison} {goal}" if comparison else None, "ok": holds}
        )
        if not holds:
            self.broken.append(f"{what}: a goal is missed")
        return holds

    def ratio(self, what, measured, of, unit, comparison, goal, note=""):
        """A row for `measured` ÷ `of`, both in `unit`."""
        note = f"{measured:.2f} ÷ {of:.2f} {unit}{f'; {note}' if note else ''}"
        return self.figure(what, measured / of, comparison, goal, note=note)

    def say(self, what):
        """Adds a promise that was broken."""
        print(what, flush=True)
        self.broken.append(what)

    def check(self, what, holds, found=""):
        """A promise that holds or not; `found` is what was there."""
        if holds:
            print(f"{what}: ok", flush=True)
        else:
            self.say(f"{what}: not so; found {found}")

    @contextlib.contextmanager
    def part(self, name):
        """A part of it: an error in it is broken, and does not keep the others from being measured."""
        try:
            yield
        except Exception as error:
            self.say(f"{name}: {type(error).__name__} {error}")

    def write(self, path, **beside):
        with open(path, "w") as file:
            json.dump(beside | {"figures": self.figures, "ok": not self.broken}, file, indent=2)
            file.write("\n")

    def end(self) -> int:
        """Prints the last lines; the exit code."""
        for what in self.broken[:BROKEN_SHOWN]:
            print(f"BROKEN {what}")
        goals = [figure for figure in self.figures if figure["goal"]]
        told = f", {sum(figure['ok'] for figure in goals)} of {len(goals)} goals met" if goals else ""
        print(f"{len(self.broken)} broken{told}" if self.broken else f"every promise held{told}")
        return 1 if self.broken else 0


def number(value):
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
