"""What a client, a class, a topic or a restart costs where little exists, where much does, and the ratio: it should
grow with what changed, not with what exists.

Each cost is a row of `costs --list` (benches/src/bin/costs/), which also has its two sizes and its goals. It drives the
engine's sequencer and one shard, on sockets and a clock that are simulated: no network, no kernel. A figure is the median
of --samples, at both sizes by turns, over --rounds processes. Where time is too noisy, the ratio is of instructions,
counted by callgrind; with --instructions all are, which other work on the machine does not disturb. A goal in
milliseconds is judged by time only."""

import json
import os
import pathlib
import re
import statistics
import tempfile

import process
import tools
from rounds import alternated

# Where the counted part begins and ends, in benches/src/bin/costs/cost.rs.
COUNTED = "costs::cost::measured*"


def program(*words, prefix=()):
    return process.output(*prefix, os.environ["COSTS_BIN"], *words)


def timed(cost, size, samples):
    return json.loads(program(cost["name"], size, "--samples", samples))


def instructions(cost, size, samples):
    """Instructions of a sample, the mean of all."""
    tools.need("valgrind")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        out = pathlib.Path(directory, "out")
        prefix = ("valgrind", "--tool=callgrind", "--quiet", "--collect-atstart=no", f"--toggle-collect={COUNTED}")
        program(cost["name"], size, "--samples", samples, prefix=(*prefix, f"--callgrind-out-file={out}"))
        counted = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    return round(int(counted[1]) / samples)


def measure(cost, args, verdict):
    small, large = cost["sizes"]
    name, sizes = f"{cost['name']}, {large:,} ÷ {small:,}", (small, large)
    is_counted = args.instructions or cost["is_counted"]
    row = {"cost": cost["name"], "what": cost["what"], "sizes": sizes}
    if not args.instructions:
        seen = alternated({size: lambda size=size: timed(cost, size, args.samples) for size in sizes}, args.rounds)
        row["us"] = [statistics.median(one["ns"] for one in seen[size]) / 1e3 for size in sizes]
        if seen[large][0]["mib"]:
            mib_max = seen[large][0]["mib"][1]
            row["mib"] = [statistics.median(one["mib"][0] for one in seen[size]) for size in sizes]
    if is_counted:
        row["instructions"] = [instructions(cost, size, args.counted) for size in sizes]
    if is_counted and not all(row["instructions"]):
        # The longest of many is told by time alone.
        return
    # One row for whoever reads it by machine.
    print(json.dumps(row, ensure_ascii=False), flush=True)
    before, after = row["instructions"] if is_counted else row["us"]
    unit = "instructions" if is_counted else "µs"
    verdict.ratio(name, after, before, unit, "<=", cost["ratio_max"], cost["what"])
    if cost["ms_max"] and "us" in row:
        verdict.figure(f"{cost['name']} at {large:,}", row["us"][1] / 1e3, "<=", cost["ms_max"], "ms")
    if "mib" in row:
        note = f"{row['mib'][0]:.0f} at {small:,}"
        verdict.figure(f"{cost['name']} at {large:,}, memory", row["mib"][1], "<=", mib_max, "MiB", note)


def arguments(parser):
    parser.add_argument("costs", nargs="*", metavar="COST", help="only these (all)")
    parser.add_argument("--instructions", action="store_true", help="count instructions in place of time, for all")
    parser.add_argument("--samples", type=int, default=15, help="of a process, timed (15)")
    parser.add_argument("--counted", type=int, default=3, help="samples of a process, counted (3)")
    parser.add_argument("--rounds", type=int, default=5, help="processes at each size (5)")


def run(args, verdict):
    rows = [json.loads(line) for line in program("--list").splitlines()]
    unknown = set(args.costs) - {cost["name"] for cost in rows}
    if unknown:
        raise RuntimeError(f"there is no cost {', '.join(sorted(unknown))}; there are {', '.join(c['name'] for c in rows)}")
    for cost in rows:
        if not args.costs or cost["name"] in args.costs:
            with verdict.part(cost["name"]):
                measure(cost, args, verdict)
