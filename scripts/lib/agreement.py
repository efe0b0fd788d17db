"""loadgen and an independent receiver on the same publish log. Run by scripts/agreement."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import load
from feed import steady
from gateway import Gateway

SEED, TOPICS, INTERVAL_MS = 1, 20, 1000
# The log goes on while a receiver connects and settles.
SPARE_S = 60
APART_MAX = 0.05
FIGURES = ("frames/s", "visible p50 ms", "visible p99 ms")
LIB = os.path.dirname(os.path.abspath(__file__))


def pinned(cpu):
    """Gateway and receiver on a CPU each, where there are two."""
    return ["taskset", "-c", str(cpu)] if len(os.sched_getaffinity(0)) > 1 else []


def loadgen(gateway, args):
    words = ["--connections", str(args.connections), "--topics", "*", "--interval-ms", str(INTERVAL_MS)]
    report, broken = load.run(gateway, *words, "--duration", f"{args.seconds}s", prefix=pinned(1))
    if broken:
        raise RuntimeError("; ".join(broken))
    return report["frames"]["per_s"], report["visible_ms"]["p50"], report["visible_ms"]["p99"]


def independent(gateway, args):
    words = [gateway.url, args.connections, args.seconds, INTERVAL_MS]
    command = [*pinned(1), sys.executable, os.path.join(LIB, "receiver.py"), *map(str, words)]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures["frames_per_s"], figures["visible_ms"]["p50"], figures["visible_ms"]["p99"]


RECEIVERS = {"loadgen": loadgen, "independent": independent}


def measure(args, log, number):
    """One round: every receiver's figures, each with a gateway that begins the log anew."""
    source = f'[[source]]\nkind = "replay"\npath = "{log}"\nrepeat = false\n'
    figures = {}
    # The order alternates too, so that a drift of the machine favours nobody.
    for name in list(RECEIVERS)[:: 1 if number % 2 else -1]:
        with Gateway(source, server="shards = 1", prefix=pinned(0)) as gateway:
            figures[name] = RECEIVERS[name](gateway, args)
        print(f"{number:5} {name:<12}" + "".join(f"{value:>16.2f}" for value in figures[name]), flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(prog="agreement", description=__doc__)
    parser.add_argument("--connections", type=int, default=200, help="of each receiver (200)")
    parser.add_argument("--rounds", type=int, default=5, help="of each receiver (5)")
    parser.add_argument("--seconds", type=int, default=40, help="of each window (40)")
    args = parser.parse_args()
    print(f"{args.connections} clients, {TOPICS} topics × 1 update/s, interval {INTERVAL_MS} ms, {args.seconds} s a window")
    print("round receiver    " + "".join(f"{figure:>16}" for figure in FIGURES))
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        log = os.path.join(directory, "log.ndjson")
        steady(log, SEED, TOPICS, args.seconds + SPARE_S)
        rounds = [measure(args, log, number) for number in range(1, args.rounds + 1)]
    wrong = False
    for at, figure in enumerate(FIGURES):
        own, other = (statistics.median(figures[name][at] for figures in rounds) for name in RECEIVERS)
        apart = abs(own / other - 1)
        wrong |= apart > APART_MAX
        verdict = "agree" if apart <= APART_MAX else "DISAGREE"
        print(f"median {figure:<16} loadgen {own:10.2f}  independent {other:10.2f}  apart {apart:.2%}  {verdict}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
