"""CPU and memory of keyed topics. Run by scripts/bench-keyed."""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time

import load
from gateway import Gateway

CLIENTS, FRAMES_PER_S, SECONDS = 2000, 8, 12
RATIO_MAX, MEMORY_MIB_MAX = 1.2, 40.0
BOOKS, LEVELS = 100, 2000
KEYED = '[[topic]]\npattern = "*.book.*"\nmode = "keyed"\n'


def size(rng):
    return f"{rng.uniform(1, 9):.8f}"


def price(level):
    return f"{'ab'[level % 2]}{30000 + level / 100:.2f}"


def feed(path, keyed, seed=1):
    """Books that change 40 levels at a time, or quotes of which ten change: about 1 KB either way."""
    rng = random.Random(seed)
    with open(path, "w") as file:
        for n in range(FRAMES_PER_S * (SECONDS + 20)):
            at_us = n * 1_000_000 // FRAMES_PER_S
            if keyed:
                levels = rng.sample(range(LEVELS), 36)
                lines = [{"topic": "v.book.A", "set": {price(level): size(rng) for level in levels}}]
            else:
                lines = [{"topic": f"v.quote.S{i}", "data": {"bid": size(rng), "ask": size(rng)}} for i in range(10)]
            for line in lines:
                file.write(json.dumps({"at_us": at_us, **line}, separators=(",", ":")) + "\n")


def cost(path):
    """CPU µs of the gateway per delivered kB, and bytes a frame."""
    source = f'{KEYED}[fanout]\ninterval_ms = 125\n[[source]]\nkind = "replay"\npath = "{path}"\n'
    with Gateway(source, server="shards = 1\ncpus = [0]") as gateway:
        promises = load.PROMISES
        arguments = ["--connections", str(CLIENTS), "--topics", "*", "--duration", f"{SECONDS}s"]
        report, broken = load.run(gateway, *arguments, promises=promises, prefix=("taskset", "-c", "1"))
    if broken:
        raise RuntimeError("\n".join(broken))
    payload, frames = report["bytes"]["payload"], report["frames"]["total"]
    return report["server"]["cpu_percent"] / 100 * SECONDS * 1e6 / (payload / 1e3), payload / frames


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
        with open(f"/proc/{gateway.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def main():
    parser = argparse.ArgumentParser(prog="bench-keyed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    costs = {"keyed": [], "latest": []}
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        for kind in costs:
            feed(os.path.join(directory, kind), kind == "keyed")
        for _ in range(args.rounds):
            for kind, seen in costs.items():
                us, frame = cost(os.path.join(directory, kind))
                seen.append(us)
                print(f"{kind:6}: {us:.3f} CPU µs/kB, {frame:.0f} bytes a frame", flush=True)
    keyed, latest = (statistics.median(costs[kind]) for kind in ("keyed", "latest"))
    mib = memory()
    print(f"CPU per byte, keyed ÷ latest: {keyed:.3f} ÷ {latest:.3f} µs/kB = {keyed / latest:.2f} (at most {RATIO_MAX})")
    print(f"{BOOKS} books of {LEVELS} levels on one shard: {mib:.1f} MiB resident (at most {MEMORY_MIB_MAX:.0f})")
    sys.exit(keyed > latest * RATIO_MAX or mib > MEMORY_MIB_MAX)


if __name__ == "__main__":
    main()
