"""Slow clients beside 1,000 others on one shard.

Two clients are slow. The stalled one asks for everything and stops reading for a while. The throttled one reads 16 KB/s
of a feed of over 200 KB/s into a small receive buffer. The others' latencies come from three loads: alone, with the
slow clients, alone again; their visible p50 and p99 (ms) with the slow clients are at most 1.2 times those without.

When the stalled client reads again, what the kernel held comes first and the frame it was stuck on is finished; the
first frame that begins after those must leave it with at least the `v` of every topic that GET /topics told just
before it read again."""

import threading
import time

import load
from client import Client
from gateway import Gateway, synthetic

SYMBOLS = 2000
CONFIG = synthetic(SYMBOLS, 20_000)
INTERVAL_MS = 100
READS_BEFORE_S, READS_AFTER_S = 1, 3
THROTTLED_BYTES_PER_S, THROTTLED_CHUNK_BYTES, THROTTLED_TOPICS = 16_000, 2_000, 200
SETTLE_S = 30
RATIO_MAX = 1.2


def names(begin, count):
    return [f"tick.S{n:04}" for n in range(begin, begin + count)]


class SlowClient(threading.Thread):
    """A client that reads less than it is sent: `told` says what it saw, `wrong` which promise was broken."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.told, self.wrong = gateway, [], []

    def run(self):
        try:
            self.check()
        except Exception as error:
            self.wrong.append(f"{type(self).__name__}: {error!r}")


class Stalled(SlowClient):
    """Reads everything, stops for `stall_s`, reads again."""

    def __init__(self, gateway, stall_s):
        super().__init__(gateway)
        self.stall_s = stall_s

    def check(self):
        client = Client(self.gateway.data, ["*"], INTERVAL_MS)
        batches = client.batches()
        ends = time.monotonic() + READS_BEFORE_S
        while time.monotonic() < ends:
            next(batches)
        position, behind_before_us = client.position, client.behind_us
        client.behind_us = []
        time.sleep(self.stall_s)
        newest = self.gateway.topics()
        received, sent = client.kernel_bytes()
        in_kernel = client.offset + len(client.buffer) + received + sent
        self.told.append(
            f"stalled client: {self.stall_s} s without reading, from version {position}: {received} bytes wait in its"
            f" socket, {sent} in the gateway's; {len(newest)} topics to catch up with"
        )
        resumed, older = time.monotonic(), 0
        while (batch := next(batches))[0] < in_kernel:
            older += 1
        begin, updates = batch
        missing = client.missing(newest)
        below = sum(update["v"] < newest[update["topic"]] for update in updates)
        self.told.append(
            f"stalled client: read again: {older} batches ({begin - in_kernel} bytes past the kernel's) begun before;"
            f" the next one has {len(updates)} updates, came after {(time.monotonic() - resumed) * 1e3:.0f} ms"
            f" and its oldest change is {client.behind_us[-1] / 1e6:.1f} s old;"
            f" {below} of them and {len(missing)} of all topics are older than before it read again"
        )
        if missing or below:
            self.wrong.append(f"stalled client: behind after the first new frame: {dict(list(missing.items())[:5])}")
        client.behind_us = []
        ends = time.monotonic() + READS_AFTER_S
        while time.monotonic() < ends:
            _, updates = next(batches)
            old = [update for update in updates if update["v"] < newest[update["topic"]]]
            if old:
                self.wrong.append(f"stalled client: an older value after the newest: {old[0]}")
        median = lambda values: sorted(values)[len(values) // 2] / 1e3
        self.told.append(
            f"its batches' median age was {median(behind_before_us):.0f} ms before and"
            f" {median(client.behind_us):.0f} ms after, {len(client.behind_us)} batches in {READS_AFTER_S} s"
        )
        client.socket.close()


class Throttled(SlowClient):
    """Reads 16 KB/s until told to finish, then on until it holds what the gateway had at that moment."""

    def __init__(self, gateway):
        super().__init__(gateway)
        self.ending = threading.Event()

    def check(self):
        topics = names(0, THROTTLED_TOPICS)
        client = Client(self.gateway.data, topics, INTERVAL_MS, receive_bytes=8192)
        began, received = time.monotonic(), 0

        def receive(_):
            nonlocal received
            time.sleep(max(0, began + received / THROTTLED_BYTES_PER_S - time.monotonic()))
            data = client.socket.recv(THROTTLED_CHUNK_BYTES)
            received += len(data)
            return data

        batches = client.batches(receive)
        count = 0
        while not self.ending.is_set():
            next(batches)
            count += 1
        listed = self.gateway.topics()
        newest = {topic: listed[topic] for topic in topics}
        ended = time.monotonic()
        while client.missing(newest) and time.monotonic() < ended + SETTLE_S:
            next(batches)
            count += 1
        now = time.monotonic()
        ages = sorted(client.behind_us)
        self.told.append(
            f"throttled client: {received / (now - began) / 1e3:.1f} KB/s in {now - began:.1f} s, {count} batches"
            f" instead of {(now - began) * 1e3 / INTERVAL_MS:.0f}, age of the oldest change"
            f" p50 {ages[len(ages) // 2] / 1e6:.1f} s max {ages[-1] / 1e6:.1f} s;"
            f" the newest values of the end were held {now - ended:.1f} s later"
        )
        if missing := client.missing(newest):
            self.wrong.append(f"throttled client: {len(missing)} values not held {SETTLE_S} s after the end")
        client.socket.close()


def others(gateway, args, seconds):
    """A load of clients with 20 topics each, in 20 different lists."""
    lists = [names(n * SYMBOLS // 20, 20) for n in range(20)]
    arguments = ["--connections", str(args.clients), "--duration", f"{seconds}s"]
    arguments += ["--interval-ms", str(INTERVAL_MS), "--expect", f"connections.established=={args.clients}"]
    arguments += [word for topics in lists for word in ("--topics", ",".join(topics))]
    return load.start(gateway, *arguments)


def show(name, figures):
    visible, updates = figures["visible_ms"], figures["updates"]
    print(
        f"{name:<18} visible p50 {visible['p50']:6.1f} ms  p99 {visible['p99']:6.1f} ms  max {visible['max']:6.1f} ms"
        f"  {figures['frames']['per_s']:7,.0f} frames/s  lost {updates['lost']} dup {updates['duplicated']}"
        f" reordered {updates['reordered']}  gateway CPU {figures['server']['cpu_percent']:5.1f} %"
        f"  RSS {figures['server']['rss_bytes'] / 2**20:.1f} MiB",
        flush=True,
    )
    return visible


def loads(gateway, args, verdict):
    """The three loads: [alone, beside, alone again]."""
    seconds = READS_BEFORE_S + args.stall + READS_AFTER_S
    figures = []
    for name in ("alone", "with slow clients", "alone again"):
        running = others(gateway, args, seconds)
        slow = [Stalled(gateway, args.stall), Throttled(gateway)] if name == "with slow clients" else []
        for client in slow:
            client.start()
        report, broken = load.finish(running)
        figures.append(show(name, report))
        wrong = [f"{name}: {what}" for what in broken]
        for client in slow:
            if isinstance(client, Throttled):
                client.ending.set()
            client.join(SETTLE_S * 2)
            if client.is_alive():
                wrong.append(f"{type(client).__name__}: still waiting for a frame after {SETTLE_S * 2} s")
            wrong += client.wrong
            print("\n".join(client.told), flush=True)
        for what in wrong:
            verdict.say(what)
    return figures


def arguments(parser):
    parser.add_argument("--clients", type=int, default=1000, help="of the others (1000)")
    parser.add_argument("--stall", type=int, default=10, help="seconds without reading (10)")


def run(args, verdict):
    with Gateway(CONFIG, server="shards = 1") as gateway:
        # Every symbol has a value before anybody counts topics.
        while len(gateway.topics()) < SYMBOLS:
            time.sleep(0.1)
        alone, beside, again = loads(gateway, args, verdict)
    for key in ("p50", "p99"):
        without = max(alone[key], again[key])
        what = f"the others' visible {key}, with slow clients ÷ without"
        verdict.ratio(what, beside[key], without, "ms", "<=", RATIO_MAX)
