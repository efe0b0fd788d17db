"""The independent client, on the `websockets` package: it checks every promise that a frame makes about itself.

It judges exactness, so it shares no code with loadgen nor with `client`."""

import asyncio
import json
import logging

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

WAIT_S = 10

# unittest runs the loop in debug mode, which warns of every step over 0.1 s; publishing blocks for that long.
logging.getLogger("asyncio").setLevel(logging.ERROR)


def matches(pattern, topic):
    return pattern in ("*", topic) or (pattern.endswith(".*") and topic.startswith(pattern[:-1]))


class Subscription:
    """What one subscription holds: updates by topic, and the position that proves continuity."""

    def __init__(self):
        self.version = 0
        self.held = {}
        self.asked = []
        self.parts = []

    def apply(self, frame):
        """Takes a snapshot or batch; parts take effect with the last one."""
        for part in self.parts[:1]:
            for key in ("op", "from", "version"):
                assert frame.get(key) == part.get(key), f"parts differ in {key}: {frame} after {part}"
        self.parts.append(frame)
        if frame.get("more"):
            return
        updates = [update for part in self.parts for update in part["updates"]]
        self.parts = []
        if frame["op"] == "batch":
            assert frame["from"] <= self.version, f"lost: from {frame['from']} is above position {self.version}"
            assert frame["from"] <= frame["version"], f"from is above version: {frame}"
        else:
            assert not any(update.get("gone") for update in updates), f"a removed topic in a snapshot: {frame}"
        self.version = max(self.version, frame["version"])
        self.take(frame["op"], updates)

    def take(self, op, updates):
        """Holds the newest of the updates of a whole snapshot or batch, of `latest` topics all of them."""
        names = [update["topic"] for update in updates]
        assert len(names) == len(set(names)), f"a latest topic appears twice in one {op}: {names}"
        if op == "snapshot":
            # What was asked for and is absent does not exist.
            for topic in [name for name in self.held if any(matches(asked, name) for asked in self.asked)]:
                if topic not in names:
                    del self.held[topic]
        for update in updates:
            if topic_v(self.held.get(update["topic"])) < update["v"]:
                self.held[update["topic"]] = update

    def value(self, topic):
        """The data held for a topic; None where it is gone or never came."""
        update = self.held.get(topic)
        return None if update is None or update.get("gone") else update["data"]


def topic_v(update):
    return 0 if update is None else update["v"]


class Subscriber:
    """One connection. Frames are sorted to their subscription by `class`."""

    def __init__(self, socket):
        self.socket = socket
        self.subscriptions = {}
        self.classes = {}
        self.epoch = None
        self.notices = []
        self.payload = ""

    @classmethod
    async def connect(cls, url, **options):
        options.setdefault("compression", None)
        return cls(await connect(url, proxy=None, max_size=None, **options))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def send(self, **op):
        await self.socket.send(json.dumps(op))

    async def next(self, wait_s=WAIT_S):
        """The next frame, parsed and applied."""
        payload = await asyncio.wait_for(self.socket.recv(), wait_s)
        assert isinstance(payload, str), f"a binary frame came: {payload[:80]!r}"
        self.payload = payload
        frame = json.loads(payload)
        match frame["op"]:
            case "subscribed":
                self.epoch = frame["epoch"]
                name = frame["sub"]
                self.classes = {number: sub for number, sub in self.classes.items() if sub != name}
                assert frame["class"] not in self.classes, f"two live subscriptions share a class: {frame}"
                self.classes[frame["class"]] = name
                subscription = self.subscriptions.setdefault(name, Subscription())
                # A first `since` is where this connection begins.
                subscription.version = subscription.version or frame["version"]
            case "unsubscribed":
                name = frame["sub"]
                self.classes = {number: sub for number, sub in self.classes.items() if sub != name}
                if "class" in frame:
                    self.classes[frame["class"]] = name
                else:
                    self.subscriptions.pop(name, None)
            case "snapshot" | "batch":
                assert frame["class"] in self.classes, f"a frame of no live subscription: {frame}"
                self.subscriptions[self.classes[frame["class"]]].apply(frame)
            case "notice":
                self.notices.append(frame)
        return frame

    async def until(self, op):
        """Reads on to the next frame with this op."""
        while True:
            frame = await self.next()
            if frame["op"] == op:
                return frame

    async def until_value(self, topic, value, sub=""):
        """Reads on until the subscription holds this value of the topic."""
        async with asyncio.timeout(WAIT_S):
            while self.subscriptions[sub].value(topic) != value:
                await self.next()

    async def subscribe(self, *topics, **fields):
        """Subscribes; returns `subscribed` and the snapshot or batch that follows it."""
        self.subscriptions.setdefault(fields.get("sub", ""), Subscription()).asked = topics
        await self.send(op="subscribe", topics=list(topics), **fields)
        subscribed = await self.until("subscribed")
        while (first := await self.next()).get("class") != subscribed["class"]:
            pass
        return subscribed, first

    async def closed(self):
        """Reads to the end; the close code the gateway sent."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code

    def since(self, sub=""):
        return f"{self.epoch}:{self.subscriptions[sub].version}"
