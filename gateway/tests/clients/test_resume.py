"""Reconnecting with `since`: nothing is missed and nothing that is held comes again."""

import asyncio
import contextlib
import unittest

from gateway import Gateway
from subscriber import Subscriber, Subscription

CONFIG = """
[fanout]
interval_ms = 0
[limits]
tombstones = 10
"""


class Resume(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway(CONFIG))

    async def test_since_brings_what_changed_and_only_that(self):
        self.gateway.publish(("back.a", 1), ("back.b", 1), ("back.c", 1))
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("back.*")
            since = client.since()
            position = client.subscriptions[""].version
        self.gateway.publish(("back.b", 2))
        self.gateway.publish(("back.b", 3))
        self.gateway.request("DELETE", "/topics/back.c")
        async with await Subscriber.connect(self.gateway.url) as client:
            subscribed, batch = await client.subscribe("back.*", since=since)
            self.assertEqual(subscribed["version"], position)
            self.assertEqual((batch["op"], batch["from"]), ("batch", position))
            self.assertEqual([update["topic"] for update in batch["updates"]], ["back.b", "back.c"])
            self.assertEqual(client.subscriptions[""].value("back.b"), 3)
            self.assertTrue(batch["updates"][1]["gone"])

    async def test_since_answers_with_an_empty_batch_where_nothing_changed(self):
        self.gateway.publish(("still.t", 1))
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("still.t")
            since = client.since()
        url = f"{self.gateway.url}?topics=still.t&since={since}"
        async with await Subscriber.connect(url) as client:
            await client.until("subscribed")
            batch = await client.next()
            self.assertEqual((batch["op"], batch["updates"]), ("batch", []))

    async def test_a_position_that_cannot_be_answered_gets_a_snapshot(self):
        self.gateway.publish(("other.t", 1))
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("other.t")
            epoch, version = client.epoch, client.subscriptions[""].version
        foreign = f"{int(epoch, 16) ^ 1:016x}"
        for since in (f"{foreign}:{version}", f"{epoch}:{version + 1000000}"):
            async with await Subscriber.connect(self.gateway.url) as client:
                _, first = await client.subscribe("other.t", since=since)
                self.assertEqual((first["op"], len(first["updates"])), ("snapshot", 1), since)

    async def test_a_position_older_than_the_tombstones_gets_a_snapshot(self):
        self.gateway.publish(("stone.keep", 1))
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("stone.*")
            since = client.since()
        for n in range(15):
            self.gateway.publish((f"stone.t{n}", n))
            self.gateway.request("DELETE", f"/topics/stone.t{n}")
        async with await Subscriber.connect(self.gateway.url) as client:
            _, first = await client.subscribe("stone.*", since=since)
            self.assertEqual(first["op"], "snapshot")
            self.assertEqual([update["topic"] for update in first["updates"]], ["stone.keep"])

    async def test_a_client_that_keeps_reconnecting_under_load_misses_nothing(self):
        topics = [f"load.t{n}" for n in range(20)]
        held = Subscription()
        since = None
        publishing = True

        def publish():
            for n in range(600):
                self.gateway.publish((topics[n % 20], n))

        load = asyncio.get_running_loop().run_in_executor(None, publish)
        rounds = 0
        while publishing:
            publishing = not load.done()
            rounds += 1
            async with await Subscriber.connect(self.gateway.url) as client:
                # What was held before the reconnect stays held; the new connection only adds to it.
                held.asked, held.parts = ["load.*"], []
                client.subscriptions[""] = held
                _, first = await client.subscribe("load.*", **({"since": since} if since else {}))
                if since:
                    self.assertEqual((first["op"], first["from"]), ("batch", int(since.split(":")[1])))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1 if publishing else 0):
                        for _ in range(5):
                            await client.next()
                since = client.since()
        await load
        self.assertGreater(rounds, 2)
        for n, topic in enumerate(topics):
            self.assertEqual(held.value(topic), 580 + n, f"after {rounds} reconnects")
