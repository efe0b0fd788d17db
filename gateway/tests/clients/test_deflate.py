"""permessage-deflate as the Python package `websockets` speaks it."""

import asyncio
import json
import unittest

from gateway import Gateway
from subscriber import Subscriber
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

CONFIG = """
[fanout]
interval_ms = 20
frame_bytes_max = "4KiB"
"""


def offer(**parameters):
    return {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**parameters)]}


def quotes(n):
    return [{"bid": 100 + n + i, "ask": 101 + n + i, "venue": "x"} for i in range(40)]


class Deflate(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway(CONFIG))

    def metric(self, sample):
        lines = self.gateway.request("GET", "/metrics")[1].splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(sample))

    async def test_every_way_of_offering_it_gets_the_same_values(self):
        ways = [
            {"compression": "deflate"},
            offer(client_max_window_bits=True),
            offer(client_max_window_bits=9, server_max_window_bits=9),
            offer(server_no_context_takeover=True, client_no_context_takeover=True),
            offer(server_max_window_bits=12),
            {"compression": None},
        ]
        for n, way in enumerate(ways):
            with self.subTest(way=n):
                self.gateway.publish(("ways.q", quotes(n + 1000)))
                async with await Subscriber.connect(self.gateway.url, **way) as client:
                    agreed = [extension.name for extension in client.socket.protocol.extensions]
                    self.assertEqual(agreed, ["permessage-deflate"] if n < 5 else [])
                    await client.subscribe("ways.*")
                    for step in range(3):
                        before = self.metric('fanwire_compressed_frames_total{result="smaller"}')
                        self.gateway.publish(("ways.q", quotes(n + 10 * step)))
                        await client.until_value("ways.q", quotes(n + 10 * step))
                        after = self.metric('fanwire_compressed_frames_total{result="smaller"}')
                        self.assertEqual(after - before, 1 if n < 5 else 0)

    async def test_parts_and_resumption_come_compressed(self):
        self.gateway.publish(*((f"parts.t{n}", quotes(n)) for n in range(20)))
        async with await Subscriber.connect(self.gateway.url, compression="deflate") as client:
            await client.subscribe("parts.*")
            while len(client.subscriptions[""].held) < 20:
                await client.next()
            since = client.since()
        self.gateway.publish(*((f"parts.t{n}", quotes(n + 7)) for n in range(0, 20, 2)))
        async with await Subscriber.connect(self.gateway.url, compression="deflate") as client:
            _, batch = await client.subscribe("parts.*", since=since)
            self.assertEqual((batch["op"], batch["from"]), ("batch", int(since.split(":")[1])))
            for n in range(0, 20, 2):
                await client.until_value(f"parts.t{n}", quotes(n + 7))

    async def test_what_the_client_says_may_be_compressed_and_in_fragments(self):
        before = self.metric("fanwire_inflated_messages_total")
        self.gateway.publish(("said.t", 1))
        async with await Subscriber.connect(self.gateway.url, compression="deflate") as client:
            op = json.dumps({"op": "subscribe", "topics": [f"said.{'x' * 50}.{n}" for n in range(99)] + ["said.t"]})
            await client.socket.send([op[at : at + 100] for at in range(0, len(op), 100)])
            await client.until("subscribed")
            await client.until("snapshot")
            self.assertEqual(client.subscriptions[""].value("said.t"), 1)
        self.assertEqual(self.metric("fanwire_inflated_messages_total") - before, 1)

    async def test_without_by_the_url(self):
        async with await Subscriber.connect(f"{self.gateway.url}?compress=0", compression="deflate") as client:
            self.assertEqual(client.socket.protocol.extensions, [])

    async def test_a_bomb_closes_who_sent_it(self):
        async with await Subscriber.connect(self.gateway.url, compression="deflate") as other:
            await other.subscribe("bomb.*")
            async with await Subscriber.connect(self.gateway.url, compression="deflate") as client:
                await client.socket.send(" " * 60_000)
                await asyncio.wait_for(client.socket.wait_closed(), 10)
                self.assertEqual(client.socket.close_code, 1009)
                self.assertIn("100 times", client.socket.close_reason)
            self.gateway.publish(("bomb.t", 1))
            await other.until_value("bomb.t", 1)
