"""loadgen against a receiver whose frame parsing nobody here wrote (Python `websockets`): the same publish log, each
receiver alone, in alternated rounds. Their medians of frames/s, visible p50 and p99 (ms) lie within 5 %."""

import json
import os
import sys
import tempfile

import load
from feed import steady
from gateway import Gateway, replay
from machine import pinned
from process import output
from rounds import alternated, medians

SEED, TOPICS, INTERVAL_MS = 1, 20, 1000
# The log goes on while a receiver connects and settles.
SPARE_S = 60
APART_MAX = 0.05
FIGURES = ("frames/s", "visible p50 ms", "visible p99 ms")
HERE = os.path.dirname(os.path.abspath(__file__))


def loadgen(gateway, args):
    words = ["--connections", str(args.clients), "--topics", "*", "--interval-ms", str(INTERVAL_MS)]
    report = load.run(gateway, *words, "--duration", f"{args.seconds}s", prefix=pinned(1))
    return report["frames"]["per_s"], report["visible_ms"]["p50"], report["visible_ms"]["p99"]


def independent(gateway, args):
    words = [gateway.url, args.clients, args.seconds, INTERVAL_MS]
    command = [*pinned(1), sys.executable, os.path.join(HERE, "agreement_receiver.py"), *map(str, words)]
    figures = json.loads(output(*command))
    return figures["frames_per_s"], figures["visible_ms"]["p50"], figures["visible_ms"]["p99"]


RECEIVERS = {"loadgen": loadgen, "independent": independent}


def arguments(parser):
    parser.add_argument("--clients", type=int, default=200, help="of each receiver (200)")
    parser.add_argument("--rounds", type=int, default=5, help="of each receiver (5)")
    parser.add_argument("--seconds", type=int, default=40, help="of each window (40)")


def run(args, verdict):
    print(f"{args.clients} clients, {TOPICS} topics × 1 update/s, interval {INTERVAL_MS} ms, {args.seconds} s a window")
    print("receiver    " + "".join(f"{figure:>16}" for figure in FIGURES))

    def measure(receive):
        # A gateway of its own, that begins the log anew.
        with Gateway(replay(log, repeat=False), server="shards = 1", prefix=pinned(0)) as gateway:
            return receive(gateway, args)

    def show(name, figures):
        print(f"{name:<12}" + "".join(f"{value:>16.2f}" for value in figures), flush=True)

    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        log = os.path.join(directory, "log.ndjson")
        steady(log, SEED, TOPICS, args.seconds + SPARE_S)
        measures = {name: lambda receive=receive: measure(receive) for name, receive in RECEIVERS.items()}
        seen = alternated(measures, args.rounds, show)
    for at, figure in enumerate(FIGURES):
        own, other = medians(seen, lambda figures: figures[at])
        note = f"loadgen {own:.2f}, independent {other:.2f}"
        verdict.figure(f"{figure} apart", abs(own / other - 1), "<=", APART_MAX, note=note)
