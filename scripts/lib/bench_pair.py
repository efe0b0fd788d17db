"""CPU per frame and memory per client of two builds of the gateway. Run by scripts/bench-pair."""

import argparse
import json
import os
import statistics
import sys
import tempfile

import bench_wire
import load
import machine
from gateway import Gateway

GOAL = 1.05
NAMES = "before", "after"


def paired(args, figure):
    """{name: [figure of each round]}; whoever begins takes turns."""
    seen = {name: [] for name in NAMES}
    for n in range(args.rounds):
        for name in NAMES if n % 2 == 0 else reversed(NAMES):
            os.environ["GATEWAY_BIN"] = args.binaries[name]
            seen[name].append(figure())
    return seen


def cpu_us(args, path, how):
    """CPU µs of the gateway per frame."""
    cpu_s, report = bench_wire.round_of(args, path, args.clients, how)
    return cpu_s / report["frames"]["total"] * 1e6


def memory_bytes():
    """Resident bytes that one more idle subscribed client takes."""
    few, many = bench_wire.MEMORY_CLIENTS
    rss = []
    for clients in (few, many):
        with Gateway("[fanout]\ninterval_ms = 1000\n", server="shards = 1") as gateway:
            arguments = ["--connections", str(clients), "--duration", "1s", "--topics", "*"]
            report, broken = load.run(gateway, *arguments)
            if broken:
                raise RuntimeError("\n".join(broken))
            rss.append(report["server"]["rss_bytes"])
    return (rss[1] - rss[0]) / (many - few)


def row(name, unit, seen):
    """Prints the two medians, their ratio and how far rounds lie apart; whether the goal holds."""
    before, after = (statistics.median(seen[name]) for name in NAMES)
    spread = ", ".join(f"{a / b:.2f}" for b, a in zip(seen["before"], seen["after"]))
    holds = after / before <= GOAL
    print(
        f"{name:20} {after:8.2f} ÷ {before:8.2f} {unit} = {after / before:.3f} (at most {GOAL});"
        f" rounds {spread}{'' if holds else '  MISSED'}",
        flush=True,
    )
    return holds


def main():
    parser = argparse.ArgumentParser(prog="bench-pair", description=__doc__)
    parser.add_argument("before", help="the other build of the gateway")
    parser.add_argument("feed", nargs="?", default=os.path.join(machine.ROOT, "configs", "feed.ndjson"))
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=6, help="of each window (6)")
    parser.add_argument("--only", choices=[*bench_wire.NAMES.values(), "memory"], action="append")
    args = parser.parse_args()
    args.binaries = {"before": os.path.abspath(args.before), "after": os.environ["GATEWAY_BIN"]}
    holds = []
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path = os.path.join(directory, "feed.ndjson")
        _, args.certificate = bench_wire.certificate(directory)
        bench_wire.prepared(args.feed, path, args.seconds + 40)
        for how, name in bench_wire.NAMES.items():
            if args.only and name not in args.only:
                continue
            holds.append(row(f"CPU, {name}", "µs/frame", paired(args, lambda: cpu_us(args, path, how))))
    if not args.only or "memory" in args.only:
        holds.append(row("memory, idle client", "B", paired(args, memory_bytes)))
    print(f"machine: {json.dumps(machine.describe())}")
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
