"""What keyed conflation costs: CPU of the gateway per delivered kB (µs), of keyed topics ÷ of `latest` ones, on frames
of the same size; 2,000 clients of one class, 8 frames/s of about 1 KB, one shard, alternated, medians. And the memory of
100 books of 2,000 levels (MiB)."""

import json
import os
import random
import tempfile
import time

import load
from gateway import Gateway, replay
from machine import pinned, resident_mib
from rounds import alternated, apart, medians

FRAMES_PER_S = 8
RATIO_MAX, MEMORY_MIB_MAX = 1.1, 40.0
BOOKS, LEVELS = 100, 2000
KEYED = '[[topic]]\npattern = "*.book.*"\nmode = "keyed"\n'


def size(rng):
    return f"{rng.uniform(1, 9):.8f}"


def price(level):
    return f"{'ab'[level % 2]}{30000 + level / 100:.2f}"


def feed(path, keyed, seconds, seed=1):
    """Books that change 40 levels at a time, or quotes of which ten change: about 1 KB either way."""
    rng = random.Random(seed)
    with open(path, "w") as file:
        for n in range(FRAMES_PER_S * (seconds + 20)):
            at_us = n * 1_000_000 // FRAMES_PER_S
            if keyed:
                levels = rng.sample(range(LEVELS), 36)
                lines = [{"topic": "v.book.A", "set": {price(level): size(rng) for level in levels}}]
            else:
                lines = [{"topic": f"v.quote.S{i}", "data": {"bid": size(rng), "ask": size(rng)}} for i in range(10)]
            for line in lines:
                file.write(json.dumps({"at_us": at_us, **line}, separators=(",", ":")) + "\n")


def cost(args, path):
    """(CPU µs of the gateway per delivered kB, bytes a frame)"""
    config = f"{KEYED}[fanout]\ninterval_ms = 125\n{replay(path)}"
    with Gateway(config, server="shards = 1\ncpus = [0]") as gateway:
        words = ["--connections", str(args.clients), "--topics", "*", "--duration", f"{args.seconds}s"]
        report = load.run(gateway, *words, prefix=pinned(1))
    frame_bytes = report["bytes"]["payload"] / report["frames"]["total"]
    return load.cpu_us_of_frame(report) / (frame_bytes / 1e3), frame_bytes


def memory():
    """MiB of a gateway with one shard that holds the books."""
    rng = random.Random(1)
    with Gateway(KEYED, server="shards = 1") as gateway:
        for book in range(BOOKS):
            levels = {price(level): size(rng) for level in range(LEVELS)}
            body = json.dumps({"topic": f"v.book.S{book}", "reset": True, "set": levels})
            status, answer = gateway.request("POST", "/publish", body)
            assert status == 200, answer
        time.sleep(0.5)
        return resident_mib(gateway.pid)


def arguments(parser):
    parser.add_argument("--clients", type=int, default=2000, help="of one class (2000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each kind (5)")
    parser.add_argument("--seconds", type=int, default=12, help="of each window (12)")


def run(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        paths = {kind: os.path.join(directory, kind) for kind in ("latest", "keyed")}
        for kind, path in paths.items():
            feed(path, kind == "keyed", args.seconds)
        show = lambda kind, seen: print(f"  {kind:6} {seen[0]:.3f} CPU µs/kB, {seen[1]:.0f} bytes a frame", flush=True)
        measures = {kind: lambda path=path: cost(args, path) for kind, path in paths.items()}
        seen = alternated(measures, args.rounds, show)
    latest, keyed = medians(seen, lambda one: one[0])
    rounds = f"rounds {apart(seen, lambda one: one[0])}"
    verdict.ratio("CPU per byte, keyed ÷ latest", keyed, latest, "µs/kB", "<=", RATIO_MAX, rounds)
    verdict.figure(f"{BOOKS} books of {LEVELS} levels on one shard, resident", memory(), "<=", MEMORY_MIB_MAX, "MiB")
