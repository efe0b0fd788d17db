"""A subscriber to everything that keeps books, trades and last values, and reads by a habit of its own."""

import asyncio
import contextlib
import itertools
import random
import socket

from subscriber import Subscriber, Subscription, matches
from websockets.exceptions import ConnectionClosed

SLOW_BYTES_PER_S = 16 * 1024
STALL_S = (2, 8)
SINCE_S = 1
LAPSED = 4004


class Kept(Subscription):
    """`books` {topic: {key: value}}, `trades` {topic: [(v, data)]}, `told` {topic: trades said to be missing}, `last`
    {topic: data}, `v` of each topic; `wrong`: promises broken."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.books, self.trades, self.told, self.last, self.v, self.wrong = {}, {}, {}, {}, {}, []
        self.frames = self.snapshots = 0
        # Whether this is a later connection, in which a snapshot is what the positions should have spared.
        self.resuming = False

    def apply(self, frame):
        self.frames += 1
        super().apply(frame)

    def take(self, op, updates):
        if op == "snapshot":
            self.snapshots += self.resuming
            # It replaces books and values; trades that were counted stay counted.
            self.books, self.last = {}, {}
            self.v = {topic: v for topic, v in self.v.items() if ".trade." in topic}
        names = set()
        for update in updates:
            topic, v = update["topic"], update["v"]
            held = self.v.get(topic, 0)
            if v <= held:
                continue
            self.v[topic] = v
            if "set" in update or "del" in update or update.get("reset"):
                book = self.books.setdefault(topic, {})
                if update.get("reset"):
                    book.clear()
                for key in update.get("del", []):
                    book.pop(key, None)
                book.update(update.get("set", {}))
            elif ".trade." in topic:
                self.trade(topic, v, held, update, op)
            elif topic in names:
                self.wrong.append(f"{self.name}: {topic} twice in a {op}")
            else:
                names.add(topic)
                self.last[topic] = update["data"]

    def trade(self, topic, v, held, update, op):
        missing = v - held - 1
        if missing > update.get("gap", 0) and not (op == "snapshot" and not self.trades.get(topic)):
            self.wrong.append(f"{self.name}: {topic} steps from {held} to {v}, gap {update.get('gap')}")
        if missing:
            self.told[topic] = self.told.get(topic, 0) + missing
        self.trades.setdefault(topic, []).append((v, update["data"]))


class Client:
    """`habit`: steady, slow (16 KB/s), stall (nothing for seconds, again and again) or since (reconnects
    every second)."""

    def __init__(self, name, habit, interval_ms, patterns, seed):
        self.name, self.habit, self.interval_ms, self.patterns = name, habit, interval_ms, patterns
        self.random = random.Random(seed)
        self.kept, self.since = Kept(name), None
        self.resumed = self.lapsed = 0
        self.hurrying = asyncio.Event()

    def hurry(self):
        """The feed is over: read on without the habit."""
        self.hurrying.set()

    def is_at(self, counts):
        return all(self.kept.v.get(topic, 0) >= v for topic, v in counts.items() if self.wants(topic))

    def wants(self, topic):
        return any(matches(pattern, topic) for pattern in self.patterns)

    async def run(self, addresses):
        """Connects to the first of `addresses`, one that reconnects to the next each time."""
        for attempt in itertools.count():
            address = addresses[attempt % len(addresses)]
            url = f"ws://{address}/ws?topics={','.join(self.patterns)}&interval_ms={self.interval_ms}"
            if self.since:
                url += f"&since={self.since}"
                self.resumed += 1
            self.kept.parts, self.kept.resuming = [], attempt > 0
            async with self.wire(address) as wire, await Subscriber.connect(url, sock=wire, ping_interval=None) as client:
                client.subscriptions[""] = self.kept
                try:
                    await self.read(client)
                except ConnectionClosed as closed:
                    code = closed.rcvd.code if closed.rcvd else None
                    if code != LAPSED:
                        raise RuntimeError(f"{self.name} was closed with {code}") from closed
                    self.lapsed += 1
                if client.epoch:
                    self.since = client.since()

    async def read(self, client):
        loop = asyncio.get_running_loop()
        leave = loop.time() + SINCE_S
        while True:
            leaves = self.habit == "since" and not self.hurrying.is_set()
            try:
                frame = await client.next(max(0.0, leave - loop.time()) if leaves else None)
            except TimeoutError:
                return
            if frame["op"] in ("error", "notice") and frame["code"] != "overload":
                self.kept.wrong.append(f"{self.name}: {frame}")

    @contextlib.asynccontextmanager
    async def wire(self, address):
        """A connected socket; that of a slow or stalling client comes through a throttle."""
        host, port = address.rsplit(":", 1)
        there, loop = socket.socket(), asyncio.get_running_loop()
        there.setblocking(False)
        if self.habit not in ("slow", "stall"):
            await loop.sock_connect(there, (host, int(port)))
            yield there
            return
        # Before the connect, or the window is already larger.
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await loop.sock_connect(there, (host, int(port)))
        here, inner = socket.socketpair()
        inner.setblocking(False)
        pumps = [asyncio.create_task(self.throttle(there, inner)), asyncio.create_task(pump(inner, there))]
        try:
            yield here
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            there.close()
            inner.close()

    async def throttle(self, source, sink):
        loop = asyncio.get_running_loop()
        stall = loop.time() + self.random.uniform(0, STALL_S[1])
        while data := await loop.sock_recv(source, 4096 if not self.hurrying.is_set() else 1 << 20):
            await loop.sock_sendall(sink, data)
            if self.habit == "slow":
                await self.pause(len(data) / SLOW_BYTES_PER_S)
            elif loop.time() > stall:
                await self.pause(self.random.uniform(*STALL_S))
                stall = loop.time() + self.random.uniform(0, STALL_S[1])
        sink.close()

    async def pause(self, seconds):
        if self.hurrying.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.hurrying.wait(), seconds)


async def pump(source, sink):
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, 1 << 16):
        await loop.sock_sendall(sink, data)
