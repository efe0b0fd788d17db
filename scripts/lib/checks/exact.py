"""Feeds are replayed to independent clients at several intervals, some of which read slowly, stall or come back with
`since`; at the end each must hold every book level by level as the files' lines make it, the last value of every other
topic, and every trade once, in order. Without a feed one is generated and played at speed 10.

  scripts/check exact FEED.ndjson… --speed 100 --passes 200 --clients 24
  scripts/check exact FEED.ndjson… --chained 2    clients move between two gateways chained behind a third"""

import asyncio
import contextlib
import json
import os
import tempfile
import time

from feed import generate_books
from gateway import Gateway, replay
from machine import resident_mib

INTERVALS_MS = (0, 100, 1000, 5000)
# How clients read, in turn at each interval.
HABITS = ("steady", "steady", "slow", "stall", "since", "steady", "since", "steady")
LEAD_S = 3  # of feed time at speed 1: all clients are there before the first line
SETTLE_S = 90
POLICIES = """
[[topic]]
pattern = "*.book.*"
mode = "keyed"
[[topic]]
pattern = "*.trade.*"
mode = "stream"
ring_updates = 10000
ring_bytes = "8MiB"
"""


def kind(topic):
    """As POLICIES has it."""
    segments = topic.split(".")
    named = segments[1] if len(segments) > 2 else ""
    return {"book": "keyed", "trade": "stream"}.get(named, "latest")


class Truth:
    """What the lines of feed files make: `books`, `last` values, `trades` in order, and updates by topic."""

    def __init__(self):
        self.books, self.last, self.trades, self.counts = {}, {}, {}, {}

    def take(self, line):
        topic = line["topic"]
        self.counts[topic] = self.counts.get(topic, 0) + 1
        match kind(topic):
            case "keyed":
                book = self.books.setdefault(topic, {})
                if line.get("reset"):
                    book.clear()
                book.update(line.get("set", {}))
                for key in line.get("del", []):
                    book.pop(key, None)
            case "stream":
                self.trades.setdefault(topic, []).append(line["data"])
            case "latest":
                self.last[topic] = line["data"]

    def wrong(self, client):
        """What a client holds otherwise, in words."""
        if behind := [topic for topic, v in self.counts.items() if client.wants(topic) and client.kept.v.get(topic, 0) < v]:
            # Of one that is not there yet nothing can be said; Python reads some MB/s for all clients together.
            yield f"{client.name}: {len(behind)} topics are not at their end {SETTLE_S} s after it; try fewer --clients"
            return
        for topic, book in self.books.items():
            if client.wants(topic) and (held := client.kept.books.get(topic)) != book:
                keys = [key for key in {*book, *(held or {})} if (held or {}).get(key) != book.get(key)]
                yield f"{client.name}: {topic} differs in {len(keys)} of {len(book)} levels, {keys[:3]}"
        for topic, value in self.last.items():
            if client.wants(topic) and client.kept.last.get(topic) != value:
                yield f"{client.name}: {topic} is {client.kept.last.get(topic)}, not {value}"
        for topic, trades in self.trades.items():
            if not client.wants(topic):
                continue
            held = client.kept.trades.get(topic, [])
            if [data for _, data in held] != [trades[v - 1] for v, _ in held]:
                yield f"{client.name}: trades of {topic} are not the file's"
            elif not client.kept.told.get(topic) and len(held) != len(trades):
                yield f"{client.name}: {len(held)} of {len(trades)} trades of {topic}, and no gap was told"
            elif len(held) + client.kept.told.get(topic, 0) < len(trades):
                yield f"{client.name}: {len(trades) - len(held)} trades of {topic} missing, fewer were told"
        yield from client.kept.wrong


def prepared(path, directory, truth, passes, lead_us):
    """A copy of the feed with a lead, as many times over as `passes`; its length in seconds of feed time."""
    with open(path) as file:
        lines = [line for line in file if line.strip()]
    period_us = json.loads(lines[-1])["at_us"] + 1
    copy = os.path.join(directory, os.path.basename(path))
    parsed = [json.loads(line) for line in lines]
    tails = [line[line.index(",") :] for line in lines]
    assert all(line.startswith('{"at_us":') for line in lines), f"{path}: at_us has to come first in each line"
    with open(copy, "w") as file:
        for number in range(passes):
            begin_us = lead_us + number * period_us
            for line, tail in zip(parsed, tails):
                file.write(f'{{"at_us":{line["at_us"] + begin_us}{tail}')
                truth.take(line)
    return copy, (lead_us + passes * period_us) / 1e6


async def watch(gateways, truth, clients, end):
    """Runs the clients until each holds all updates of all topics, or SETTLE_S after `end`."""
    addresses = [gateway.data for gateway in gateways]
    turns = [addresses[n % len(addresses) :] + addresses[: n % len(addresses)] for n in range(len(clients))]
    tasks = [asyncio.create_task(client.run(turn)) for client, turn in zip(clients, turns)]
    while time.monotonic() < end + SETTLE_S:
        await asyncio.sleep(0.2)
        if time.monotonic() > end:
            for client in clients:
                client.hurry()
            if all(client.is_at(truth.counts) for client in clients):
                break
        broken = [task for task in tasks if task.done()]
        if broken:
            broken[0].result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def client_of(n, truth, speed):
    """The n-th client. More trades than 16 KB/s can carry are not for those who read that little."""
    # Its packages are there once it runs, not where only --help is asked for.
    from checks.exact_client import Client

    interval_ms = INTERVALS_MS[n % len(INTERVALS_MS)]
    habit = HABITS[n // len(INTERVALS_MS) % len(HABITS)]
    patterns = ["*"]
    if speed > 10 and habit in ("slow", "stall"):
        patterns = sorted({topic[: topic.rindex(".")] + ".*" for topic in truth.books | truth.last})
    return Client(f"client {n} ({habit}, {interval_ms} ms)", habit, interval_ms, patterns, n)


def check(args, feeds):
    """What was wrong, in words."""
    truth = Truth()
    lead_us = int(LEAD_S * args.speed * 1e6)
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        copies = [prepared(feed, directory, truth, args.passes, lead_us) for feed in feeds]
        config = POLICIES + "".join(replay(path, args.speed, repeat=False) for path, _ in copies)
        with contextlib.ExitStack() as stack:
            server = f"shards = {args.shards}"
            gateway = stack.enter_context(Gateway(config, server=server))
            chain = chained_to(gateway)
            chained = [stack.enter_context(Gateway(chain, server=server)) for _ in range(args.chained)]
            end = time.monotonic() + max(seconds for _, seconds in copies) / args.speed
            clients = [client_of(n, truth, args.speed) for n in range(args.clients)]
            asyncio.run(watch(chained or [gateway], truth, clients, end))
            wrong = [what for client in clients for what in truth.wrong(client)]
            wrong += [what for each in [gateway, *chained] for what in served(each, truth)]
            resident = resident_mib(gateway.pid)
    resumed = sum(client.resumed for client in clients)
    told = sum(sum(client.kept.told.values()) for client in clients)
    print(
        f"speed {args.speed:g}, {args.passes} passes, shards {args.shards}, chained {args.chained}: {len(clients)} clients took"
        f" {sum(client.kept.frames for client in clients):,} frames, resumed {resumed} times ({sum(c.kept.snapshots for c in clients)}"
        f" by snapshot), were closed with 4004 {sum(c.lapsed for c in clients)} times, told of {told} missing trades;"
        f" {len(truth.books)} books of {sum(map(len, truth.books.values()))} levels,"
        f" {sum(map(len, truth.trades.values())):,} trades, {len(truth.last)} last values each; gateway {resident:.0f} MiB",
        flush=True,
    )
    return wrong


def served(gateway, truth):
    """What GET /topics/NAME says otherwise."""
    values = truth.books | truth.last | {topic: trades[-1] for topic, trades in truth.trades.items()}
    for topic, value in values.items():
        status, answer = gateway.request("GET", f"/topics/{topic}")
        if status != 200 or (answer["data"], answer["v"]) != (value, truth.counts[topic]):
            yield f"GET /topics/{topic}: {status}, v {answer.get('v')} of {truth.counts[topic]}, or another value"


def chained_to(gateway):
    """The configuration of a gateway behind another."""
    return f'{POLICIES}[[source]]\nkind = "fanwire"\nurl = "{gateway.url}"\n'


@contextlib.contextmanager
def feeds_of(args, speed):
    """The feeds, or one generated at that speed; `args.speed` is set where it is not given."""
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        feeds = args.feeds
        args.speed = args.speed or (1.0 if feeds else speed)
        if not feeds:
            feeds = [os.path.join(directory, "generated.ndjson")]
            generate_books(feeds[0], seed=1)
        yield feeds


def arguments(parser):
    parser.add_argument("feeds", nargs="*", help="feed files; without one a feed is generated, played at speed 10")
    parser.add_argument("--speed", type=float, help="of the replay (1)")
    parser.add_argument("--passes", type=int, default=1, help="how often the feeds are played (1)")
    parser.add_argument("--clients", type=int, default=64, help="in all (64)")
    parser.add_argument("--shards", type=int, default=2, help="of each gateway (2)")
    parser.add_argument("--chained", type=int, default=0, help="gateways behind the first; clients are on them (0)")


def run(args, verdict):
    with feeds_of(args, speed=10.0) as feeds:
        for what in check(args, feeds):
            verdict.say(what)
