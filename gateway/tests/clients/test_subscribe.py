"""Subscribing, publishing and leaving, as a Python client sees them."""

import asyncio
import json
import subprocess
import unittest

from gateway import Gateway
from subscriber import Subscriber

CONFIG = """
[fanout]
interval_ms = 20
heartbeat = "500ms"
frame_bytes_max = "4KiB"
"""


class Subscribe(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway(CONFIG))

    async def test_a_snapshot_then_batches_with_the_values_published(self):
        self.gateway.publish(("first.a", {"n": 1}))
        async with await Subscriber.connect(self.gateway.url) as client:
            subscribed, snapshot = await client.subscribe("first.*", id=7, interval_ms=50)
            self.assertEqual(subscribed["id"], 7)
            self.assertEqual(subscribed["sub"], "")
            self.assertEqual(subscribed["topics"], ["first.*"])
            self.assertEqual(subscribed["interval_ms"], 50)
            self.assertRegex(subscribed["epoch"], "^[0-9a-f]{16}$")
            self.assertEqual(snapshot["op"], "snapshot")
            self.assertEqual(subscribed["version"], snapshot["version"])
            (update,) = snapshot["updates"]
            self.assertEqual((update["topic"], update["v"], update["data"]), ("first.a", 1, {"n": 1}))
            self.gateway.publish(("first.a", {"n": 2}))
            self.gateway.publish(("first.b", None))
            await client.until_value("first.a", {"n": 2})
            while "first.b" not in client.subscriptions[""].held:
                await client.next()
            self.assertEqual(client.subscriptions[""].held["first.a"]["v"], 2)

    async def test_data_is_passed_on_byte_for_byte(self):
        raw = '{"b" : 1.50,"a":[ 1e2, "\\u00e9" ]}'
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("raw.t")
            answer = self.gateway.request("POST", "/publish", f'{{"topic":"raw.t","data":{raw}}}')
            self.assertEqual(answer, (200, {"accepted": 1}))
            async with asyncio.timeout(10):
                while raw not in await client.socket.recv():
                    pass

    async def test_an_empty_snapshot_comes_where_no_topic_matches(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            _, snapshot = await client.subscribe("nobody.here")
            self.assertEqual((snapshot["op"], snapshot["updates"]), ("snapshot", []))

    async def test_a_second_subscription_has_its_own_class_and_interval(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            one, _ = await client.subscribe("two.a", interval_ms=20)
            two, _ = await client.subscribe("two.*", sub="other", interval_ms=100)
            self.assertNotEqual(one["class"], two["class"])
            self.assertEqual((two["sub"], two["interval_ms"]), ("other", 100))
            self.gateway.publish(("two.a", 1), ("two.b", 2))
            await client.until_value("two.a", 1)
            await client.until_value("two.b", 2, sub="other")
            self.assertNotIn("two.b", client.subscriptions[""].held)

    async def test_a_subscription_grows_and_its_snapshot_covers_the_new_patterns(self):
        self.gateway.publish(("grow.a", 1), ("grow.b", 2))
        async with await Subscriber.connect(self.gateway.url) as client:
            before, _ = await client.subscribe("grow.a", interval_ms=40)
            after, snapshot = await client.subscribe("grow.b")
            self.assertEqual(set(after["topics"]), {"grow.a", "grow.b"})
            self.assertEqual(after["interval_ms"], 40)
            self.assertNotEqual(after["class"], before["class"])
            self.assertEqual([update["topic"] for update in snapshot["updates"]], ["grow.b"])
            same, _ = await client.subscribe("grow.b")
            self.assertEqual(same["class"], after["class"], "an op that changes nothing keeps its class")

    async def test_nothing_of_a_topic_comes_after_unsubscribed(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("left.*", "stay.*")
            for n in range(50):
                self.gateway.publish((f"left.t{n % 5}", n), ("stay.t", n))
                if n == 20:
                    await client.send(op="unsubscribe", id="u", topics=["left.*", "never.*"])
            unsubscribed = await client.until("unsubscribed")
            self.assertEqual((unsubscribed["id"], unsubscribed["topics"]), ("u", ["left.*"]))
            client.subscriptions[""].held.clear()
            await client.until_value("stay.t", 49)
            self.assertEqual(list(client.subscriptions[""].held), ["stay.t"])
            await client.send(op="unsubscribe")
            unsubscribed = await client.until("unsubscribed")
            self.assertNotIn("class", unsubscribed)
            self.gateway.publish(("stay.t", 50))
            await client.send(op="ping", id=1)
            self.assertEqual((await client.next())["op"], "pong")

    async def test_unsubscribe_of_an_unknown_subscription_answers_with_no_topics(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.send(op="unsubscribe", sub="unknown", id=3)
            answer = await client.next()
            self.assertEqual((answer["op"], answer["topics"], answer["id"]), ("unsubscribed", [], 3))

    async def test_a_heartbeat_moves_the_position_while_nothing_changes(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            _, snapshot = await client.subscribe("quiet.t")
            self.gateway.publish(("noise.t", 1))
            batch = await client.until("batch")
            self.assertEqual(batch["updates"], [])
            while client.subscriptions[""].version <= snapshot["version"]:
                await client.until("batch")

    async def test_a_long_snapshot_comes_in_parts_within_the_frame_limit(self):
        blob = "x" * 500
        self.gateway.publish(*[(f"long.t{n:02}", blob) for n in range(40)])
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.send(op="subscribe", topics=["long.*"])
            lengths = []
            while True:
                payload = await asyncio.wait_for(client.socket.recv(), 10)
                frame = json.loads(payload)
                if frame["op"] == "snapshot":
                    lengths.append((len(payload), len(frame["updates"])))
                    if not frame.get("more"):
                        break
            self.assertGreater(len(lengths), 1)
            self.assertEqual(sum(updates for _, updates in lengths), 40)
            self.assertLessEqual(max(length for length, _ in lengths), 4096)

    async def test_an_atomic_publish_is_never_seen_in_halves(self):
        topics = [f"atomic.t{n}" for n in range(30)]
        async with await Subscriber.connect(self.gateway.url) as client:
            self.gateway.publish(*[(topic, -1) for topic in topics])
            await client.subscribe("atomic.*", interval_ms=0)

            def publish():
                for n in range(200):
                    self.gateway.publish(*[(topic, n) for topic in topics])

            publishing = asyncio.get_running_loop().run_in_executor(None, publish)
            held = client.subscriptions[""]
            while held.value(topics[0]) != 199:
                frame = await client.next()
                if not frame.get("more"):
                    self.assertEqual(len({held.value(topic) for topic in topics}), 1, "torn")
            await publishing

    async def test_a_removed_topic_is_gone_and_may_be_reborn(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            self.gateway.publish(("gone.t", 1))
            await client.subscribe("gone.*")
            status, _ = self.gateway.request("DELETE", "/topics/gone.t")
            self.assertIn(status, (200, 204))
            held = client.subscriptions[""].held
            while not held["gone.t"].get("gone"):
                await client.next()
            self.assertEqual(held["gone.t"]["v"], 2)
            self.assertEqual(self.gateway.request("GET", "/topics/gone.t")[0], 404)
            self.assertEqual(self.gateway.request("DELETE", "/topics/gone.t")[0], 404)
            _, snapshot = await client.subscribe("gone.t", sub="late")
            self.assertEqual(snapshot["updates"], [])
            self.gateway.publish(("gone.t", 2))
            await client.until_value("gone.t", 2)
            self.assertEqual(held["gone.t"]["v"], 3)

    async def test_a_subscription_rides_on_the_url(self):
        self.gateway.publish(("url.t", 5), ("elsewhere.t", 6))
        url = f"{self.gateway.url}?topics=url.t,more.*&interval_ms=30"
        async with await Subscriber.connect(url) as client:
            subscribed = await client.until("subscribed")
            self.assertEqual((set(subscribed["topics"]), subscribed["interval_ms"]), ({"url.t", "more.*"}, 30))
            await client.until_value("url.t", 5)
            self.assertNotIn("elsewhere.t", client.subscriptions[""].held)

    async def test_curl_publishes(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            await client.subscribe("curl.*")
            for content_type, body in [
                ("application/json", '{"topic":"curl.one","data":1}'),
                ("application/x-ndjson; charset=utf-8", '{"topic":"curl.two","data":2}\n\n{"topic":"curl.three","data":3}\n'),
            ]:
                command = ["curl", "-sS", "-H", f"Content-Type: {content_type}", "--data-binary", body]
                answer = subprocess.run([*command, f"http://{self.gateway.admin}/publish"], capture_output=True, text=True)
                self.assertEqual(answer.returncode, 0, answer.stderr)
                self.assertIn("accepted", json.loads(answer.stdout))
            for topic, value in [("curl.one", 1), ("curl.two", 2), ("curl.three", 3)]:
                await client.until_value(topic, value)

    async def test_bad_publishes_are_refused_with_their_index(self):
        post = lambda body, kind="application/json": self.gateway.request("POST", "/publish", body, kind)
        status, answer = post('[{"topic":"bad.a","data":1},{"topic":"bad..b","data":1}]')
        self.assertEqual((status, answer["accepted"], answer["index"]), (400, 0, 1))
        self.assertEqual(self.gateway.request("GET", "/topics/bad.a")[0], 404, "an array is all or nothing")
        status, answer = post('{"topic":"bad.c","data":1}\nnot json\n{"topic":"bad.d","data":1}', "application/x-ndjson")
        self.assertEqual((status, answer["accepted"], answer["index"]), (400, 1, 1))
        self.assertEqual(post('{"topic":"bad.e"}')[0], 400, "data may be null, not absent")
        self.assertEqual(post('{"topic":"bad.f","data":1,"ts":1700000000}')[0], 400, "a ts in seconds is refused")
        self.assertEqual(post("a=b", "application/x-www-form-urlencoded")[0], 415)

    async def test_topics_are_listed_in_order_and_in_pages(self):
        self.gateway.publish(*[(f"list.t{n}", n) for n in (3, 1, 2)])
        status, page = self.gateway.request("GET", "/topics?prefix=list.&limit=2")
        self.assertEqual((status, [topic["topic"] for topic in page]), (200, ["list.t1", "list.t2"]))
        _, page = self.gateway.request("GET", "/topics?prefix=list.&after=list.t2")
        self.assertEqual([topic["topic"] for topic in page], ["list.t3"])
        status, topic = self.gateway.request("GET", "/topics/list.t3")
        self.assertEqual((status, topic["v"], topic["data"]), (200, 1, 3))
        status, metrics = self.gateway.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn("fanwire_", metrics)
        self.assertEqual(self.gateway.request("GET", "/readyz")[0], 200)
