"""Clients of mixed interests during one pass of a feed: in the end each holds exactly the feed's last values."""

import asyncio
import random

from feed import SPACE, members
from subscriber import Subscriber, Subscription, matches, topic_v

CONNECT_WITHIN_S = 1.5
SETTLE_S = 5


def data_texts(payload):
    """The bytes of every update's `data` in a frame, in order; None for an update without one."""
    texts = []
    spans = {key: begin for key, begin, _ in members(payload, 0)}
    at = SPACE.match(payload, spans["updates"] + 1).end()
    while payload[at] != "]":
        text = None
        for key, begin, end in members(payload, at):
            if key == "data":
                text = payload[begin:end]
        texts.append(text)
        at = SPACE.match(payload, end).end()
        if payload[at] == ",":
            at = SPACE.match(payload, at + 1).end()
    return texts


class ExactSubscriber(Subscriber):
    """Keeps the text of each value, of the highest `v` seen, in `texts`."""

    async def next(self):
        frame = await super().next()
        if frame["op"] in ("snapshot", "batch"):
            for update, text in zip(frame["updates"], data_texts(self.payload), strict=True):
                v, _ = self.texts.get(update["topic"], (0, None))
                if update["v"] > v:
                    self.texts[update["topic"]] = (update["v"], text)
        return frame


async def follow(url, patterns, expected, finished, rng):
    """One client's pass: cut off and resumed on the way, until it holds what the feed ends with.

    Returns ({topic: (v, data text)}, frames, resumes)."""
    await asyncio.sleep(rng.uniform(0, CONNECT_WITHIN_S))
    held, texts, since = Subscription(), {}, None
    interval_ms = rng.choice([0, 50, 100, 250])
    frames, resumes, cuts = 0, 0, rng.choice([0, 1, 2])
    while True:
        async with await ExactSubscriber.connect(url) as client:
            client.texts, client.subscriptions[""], held.parts = texts, held, []
            fields = {"since": since} if since else {}
            _, first = await client.subscribe(*patterns, interval_ms=interval_ms, **fields)
            assert first["op"] == ("batch" if since else "snapshot"), f"subscribe {fields} was answered with {first}"
            cut_after = rng.randrange(1, 8) if cuts else None
            while cut_after is None or cut_after > 0:
                held_v = {topic: topic_v(held.held.get(topic)) for topic in expected}
                if held_v == {topic: v for topic, (v, _) in expected.items()}:
                    return texts, frames, resumes
                waits_s = finished.result() + SETTLE_S - asyncio.get_running_loop().time() if finished.done() else 1
                if waits_s <= 0:
                    return texts, frames, resumes
                try:
                    await asyncio.wait_for(client.next(), waits_s)
                except TimeoutError:
                    continue
                frames += 1
                cut_after = None if cut_after is None else cut_after - 1
            since = client.since()
            client.socket.transport.abort()
        cuts, resumes = cuts - 1, resumes + 1


async def end_of_pass(gateway, feed, finished):
    """Waits until the gateway has taken every line; then all of its topics have the feed's counts."""
    loop = asyncio.get_running_loop()
    counts = {topic: count for topic, (count, _) in feed.last.items()}
    while True:
        topics = await asyncio.to_thread(gateway.topics)
        if topics == counts:
            return finished.set_result(loop.time())
        assert all(v <= counts.get(topic, 0) for topic, v in topics.items()), f"more than the feed has: {topics}"
        await asyncio.sleep(0.1)


async def check(gateway, feed, lists, clients, seed, deadline_s):
    """Runs `clients` of them; (clients, values, frames, resumes, what was wrong)."""
    finished = asyncio.get_running_loop().create_future()
    tasks, expectations = [], []
    for n in range(clients):
        patterns = lists[n % len(lists)]
        expected = {t: value for t, value in feed.last.items() if any(matches(p, t) for p in patterns)}
        expectations.append((patterns, expected))
        tasks.append(follow(gateway.url, patterns, expected, finished, random.Random(f"{seed} {n}")))
    async with asyncio.timeout(deadline_s):
        *results, _ = await asyncio.gather(*tasks, end_of_pass(gateway, feed, finished))
    wrong = []
    for (patterns, expected), (texts, _, _) in zip(expectations, results, strict=True):
        for topic in sorted(expected.keys() | texts.keys()):
            if texts.get(topic) != expected.get(topic):
                wrong.append(f"{patterns}: {topic} is {texts.get(topic)}, the feed ends with {expected.get(topic)}")
    values = sum(len(expected) for _, expected in expectations)
    return clients, values, sum(r[1] for r in results), sum(r[2] for r in results), wrong
