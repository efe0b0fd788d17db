"""The main job on a feed: many clients of mixed interests while it repeats, 20 of them a second cut and resumed with
`since`, on shards 1 and 2 at speeds 1 and 500; then one pass after which every independent client must hold the feed's
last values, byte for byte. Without a feed one is generated."""

import asyncio
import os
import random
import tempfile

import load
from feed import Feed, generate, interests
from gateway import Gateway, replay

SEED = 1
SHARDS, SPEEDS = (1, 2), (1, 500)
VALUE_CLIENTS, VALUE_SPEED = 50, 10
CUTS_PER_S = 20
HEAD = "shards speed clients  cuts  frames/s  updates/s    conflated  p50 ms  p99 ms  lost dup reord torn  CPU %  RSS MiB"


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


def loads(feed, args, lists, verdict):
    """One load for each number of shards and speed."""
    arguments = ["--connections", str(args.clients), "--duration", f"{args.seconds}s"]
    arguments += ["--since-reconnects", str(CUTS_PER_S), "--expect", "connections.returned>0"]
    arguments += ["--expect", f"connections.established=={args.clients}", "--expect", "frames.total>0"]
    arguments += [word for patterns in lists for word in ("--topics", ",".join(patterns))]
    print(HEAD)
    for shards in SHARDS:
        for speed in SPEEDS:
            with Gateway(replay(feed.path, speed), server=f"shards = {shards}") as gateway:
                figures, broken = load.finish(load.start(gateway, *arguments))
            print(row(shards, speed, figures), flush=True)
            for what in broken:
                verdict.say(f"shards {shards}, speed {speed}: {what}")


def last_values(feed, lists, verdict):
    """One pass for each number of shards."""
    # Its packages are there once it runs, not where only --help is asked for.
    from checks import replay_values

    deadline_s = feed.seconds / VALUE_SPEED + 60
    for shards in SHARDS:
        with Gateway(replay(feed.path, VALUE_SPEED, repeat=False), server=f"shards = {shards}") as gateway:
            check = replay_values.check(gateway, feed, lists, VALUE_CLIENTS, SEED, deadline_s)
            clients, values, frames, resumes, broken = asyncio.run(check)
        print(
            f"one pass at speed {VALUE_SPEED}, shards {shards}: {clients} clients cut and resumed {resumes} times"
            f" took {frames} frames and held {values} last values, {len(broken)} of them wrong",
            flush=True,
        )
        for what in broken:
            verdict.say(f"last values, shards {shards}: {what}")


def arguments(parser):
    parser.add_argument("feed", nargs="?", help="feed file of whole values; without it one is generated")
    parser.add_argument("--seconds", type=int, default=30, help="of each load (30)")
    parser.add_argument("--clients", type=int, default=1000, help="of each load (1000)")


def run(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path = args.feed or os.path.join(directory, "generated.ndjson")
        if not args.feed:
            generate(path, SEED)
        feed = Feed(path)
        lists = interests(feed.last, random.Random(SEED))
        print(
            f"{os.path.basename(feed.path)}: {feed.lines} updates of {len(feed.last)} topics in {feed.seconds:.1f} s;"
            f" {len(lists)} different interests, seed {SEED}"
        )
        loads(feed, args, lists, verdict)
        last_values(feed, lists, verdict)
