"""A replayed feed under load, then its last values. Run by scripts/replay-check."""

import argparse
import asyncio
import os
import random
import sys
import tempfile

import load
import replay_values
from feed import Feed, generate, interests
from gateway import Gateway

SEED = 1
SHARDS, SPEEDS = (1, 2), (1, 500)
VALUE_CLIENTS, VALUE_SPEED = 50, 10
CUTS_PER_S = 20
HEAD = "shards speed clients  cuts  frames/s  updates/s    conflated  p50 ms  p99 ms  lost dup reord torn  CPU %  RSS MiB"


def source(feed, speed, repeat):
    path = os.path.abspath(feed.path)
    return f'[[source]]\nkind = "replay"\npath = "{path}"\nspeed = {speed}\nrepeat = {str(repeat).lower()}\n'


def row(shards, speed, figures):
    connections, updates, visible = figures["connections"], figures["updates"], figures["visible_ms"]
    server = figures["server"]
    return (
        f"{shards:6} {speed:5} {connections['established']:7} {connections['returned']:5}"
        f" {figures['frames']['per_s']:9,.0f} {updates['per_s']:10,.0f} {updates['conflated']:12,}"
        f" {visible['p50']:7.1f} {visible['p99']:7.1f}"
        f" {updates['lost']:5} {updates['duplicated']:3} {updates['reordered']:5} {updates['torn']:4}"
        f" {server['cpu_percent']:6.1f} {server['rss_bytes'] / 2**20:8.1f}"
    )


def loads(feed, args, lists):
    """One load for each number of shards and speed; what was wrong."""
    arguments = ["--connections", str(args.connections), "--duration", f"{args.seconds}s"]
    arguments += ["--since-reconnects", str(CUTS_PER_S), "--expect", "connections.returned>0"]
    arguments += ["--expect", f"connections.established=={args.connections}", "--expect", "frames.total>0"]
    arguments += [word for patterns in lists for word in ("--topics", ",".join(patterns))]
    wrong = []
    print(HEAD)
    for shards in SHARDS:
        for speed in SPEEDS:
            with Gateway(source(feed, speed, True), server=f"shards = {shards}") as gateway:
                figures, broken = load.run(gateway, *arguments)
            print(row(shards, speed, figures), flush=True)
            wrong += [f"shards {shards}, speed {speed}: {what}" for what in broken]
    return wrong


def last_values(feed, lists):
    """One pass for each number of shards; what was wrong."""
    wrong = []
    deadline_s = feed.seconds / VALUE_SPEED + 60
    for shards in SHARDS:
        with Gateway(source(feed, VALUE_SPEED, False), server=f"shards = {shards}") as gateway:
            check = replay_values.check(gateway, feed, lists, VALUE_CLIENTS, SEED, deadline_s)
            clients, values, frames, resumes, broken = asyncio.run(check)
        print(
            f"one pass at speed {VALUE_SPEED}, shards {shards}: {clients} clients cut and resumed {resumes} times"
            f" took {frames} frames and held {values} last values, {len(broken)} of them wrong",
            flush=True,
        )
        wrong += [f"last values, shards {shards}: {what}" for what in broken]
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="replay-check", description=__doc__)
    parser.add_argument("feed", nargs="?", help="feed file of whole values; without it one is generated")
    parser.add_argument("--seconds", type=int, default=30, help="of each load (30)")
    parser.add_argument("--connections", type=int, default=1000, help="of each load (1000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        if args.feed is None:
            args.feed = os.path.join(directory, "generated.ndjson")
            generate(args.feed, SEED)
        feed = Feed(args.feed)
        lists = interests(feed.last, random.Random(SEED))
        print(
            f"{os.path.basename(feed.path)}: {feed.lines} updates of {len(feed.last)} topics in {feed.seconds:.1f} s;"
            f" {len(lists)} different interests, seed {SEED}"
        )
        wrong = loads(feed, args, lists) + last_values(feed, lists)
    for what in wrong[:20]:
        print(what)
    print("every promise held" if not wrong else f"{len(wrong)} promises were broken")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
