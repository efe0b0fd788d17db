"""The configurations of configs/venues against recordings of the venues' feeds. Each recording is played to the gateway as
fast as it reads; at the end every book must equal the reference's, level by level as numbers, and the number of trades
too. Then again with faults: the connection is cut at a random message, answers of snapshots come 500 messages late, each
is refused once with 429, and, where the venue counts, three messages are left out. After those every book must be
exact, or its topic must be told to be stale or to have a gap.

A directory of recordings has, for each VENUE, VENUE.ws.* with a message a line, `SECONDS: TEXT` (bytes as Python writes
them), VENUE.http.* with answers, `URL -> SECONDS: BODY`, each perhaps gzipped, and VENUE.truth.json.gz with
{"books": {NAME: [{PRICE: SIZE}, {PRICE: SIZE}]}, "trades": {NAME: COUNT}}.

  scripts/check venues DIRECTORY                      all that are there
  scripts/check venues DIRECTORY binance okx          those configurations
  scripts/check venues DIRECTORY --seed 7 --faults lost"""

import ast
import asyncio
import contextlib
import glob
import gzip
import json
import os
import random
import re
import subprocess
import threading
import time
import urllib.parse
from decimal import Decimal

from gateway import Gateway
from machine import ROOT
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

CONFIGS = os.path.join(ROOT, "configs", "venues")
# Configuration: what its recording is called.
RECORDED = {
    "binance": "BINANCE",
    "binance-futures": "BINANCE_FUTURES",
    "bitfinex": "BITFINEX",
    "bitstamp": "BITSTAMP",
    "bybit-v2": "BYBIT",
    "coinbase": "COINBASE",
    "deribit": "DERIBIT",
    "fmfw": "FMFW",
    "gate": "GATEIO",
    "gemini": "GEMINI",
    "htx": "HUOBI",
    "kraken-futures": "KRAKEN_FUTURES",
    "kraken-v1": "KRAKEN",
    "kucoin": "KUCOIN",
    "okx": "OKX",
    "phemex": "PHEMEX",
    "probit": "PROBIT",
    "upbit": "UPBIT",
}
FAULTS = ("cut", "late", "refused", "lost")
LATE_MESSAGES = 500
LOST = 3
QUIET_S = 2.0
WAIT_S = 30.0


def arguments(parser):
    parser.add_argument("directory", help="of recordings")
    parser.add_argument("configs", nargs="*", help="names in configs/venues; default: all that were recorded")
    parser.add_argument("--faults", default=",".join(FAULTS), help="after the plain run; empty: none")
    parser.add_argument("--seed", type=int, default=1)


def opened(pattern):
    for path in sorted(glob.glob(pattern)):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
            yield from (line.rstrip("\n") for line in file)


class Recording:
    """What a venue sent, in the order in which it did, and what it answered by HTTP."""

    def __init__(self, directory, venue):
        rows = []
        for line in opened(f"{directory}/{venue}.ws.*"):
            at, _, body = line.partition(": ")
            with contextlib.suppress(ValueError):
                rows.append((float(at), ast.literal_eval(body) if body[:2] in ("b'", 'b"') else body))
        self.messages = [body for _, body in sorted(rows, key=lambda row: row[0])]
        self.answers = {}
        for line in opened(f"{directory}/{venue}.http.*"):
            url, arrow, rest = line.partition(" -> ")
            if arrow:
                parts = urllib.parse.urlsplit(url)
                target = parts.path + (f"?{parts.query}" if parts.query else "")
                self.answers.setdefault(target, rest.partition(": ")[2].split(" header: ")[0])
        with gzip.open(f"{directory}/{venue}.truth.json.gz", "rt") as file:
            self.truth = json.load(file)


def changes(config, recording):
    """Numbers of messages that change a book which a later one changes too: a hole before that one shows."""
    lines = "\n".join(message if isinstance(message, str) else "" for message in recording.messages)
    command = [os.environ["GATEWAY_BIN"], "--map", os.path.join(CONFIGS, f"{config}.toml")]
    told = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    seen, found = set(), []
    for row in map(json.loads, reversed(told)):
        if "set" in row and "whole" not in row:
            if row["topic"] in seen:
                found.append(row["line"] - 1)
            seen.add(row["topic"])
    return found


class Venue:
    """Plays a recording to whoever connects; the first connection has the fault. `may_lose`: numbers of messages."""

    def __init__(self, recording, fault, rng, may_lose):
        self.recording, self.fault = recording, fault
        count = len(recording.messages)
        self.cut_at = rng.randrange(count // 10, count) if fault == "cut" else None
        self.lost = set(rng.sample(may_lose, min(LOST, len(may_lose)))) if fault == "lost" else set()
        self.sent, self.connections, self.refused = 0, 0, set()
        self.done = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.ready.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join()

    def _run(self):
        self.loop.run_until_complete(self._serve())

    async def _serve(self):
        self.ended = asyncio.Event()
        options = {"process_request": self._request, "max_size": None, "compression": None, "ping_interval": None}
        async with serve(self._play, "127.0.0.1", 0, **options) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.ended.wait()

    async def _request(self, _, request):
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return None
        if self.fault == "late":
            while self.sent < min(LATE_MESSAGES, len(self.recording.messages)):
                await asyncio.sleep(0.01)
        body = self.recording.answers.get(request.path)
        if self.fault == "refused" and body and request.path not in self.refused:
            self.refused.add(request.path)
            return answer(429, "{}")
        return answer(200, body) if body else answer(404, "{}")

    async def _play(self, socket):
        first, self.connections = self.connections == 0, self.connections + 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)
        listening = asyncio.create_task(self._listen(socket))
        try:
            for number, message in enumerate(self.recording.messages):
                if first and number == self.cut_at:
                    socket.transport.abort()
                    return
                if not (first and number in self.lost):
                    await socket.send(message)
                self.sent = max(self.sent, number + 1)
            self.done.set()
            await listening
        except ConnectionClosed:
            pass

    async def _listen(self, socket):
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass


def answer(status, body):
    body = body.encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
    return Response(status, "OK" if status == 200 else "No", headers, body)


def plain(number):
    return str(Decimal(str(number)).normalize())


class Judge:
    """The gateway's books beside the reference's."""

    def __init__(self, gateway, truth):
        self.truth = {name: tuple(levels(side) for side in sides) for name, sides in truth["books"].items()}
        self.trades = sum(truth["trades"].values())
        topics = gateway.topics()
        self.books = {topic: self._book(gateway, topic) for topic in topics if ".book." in topic}
        self.traded = sum(v for topic, v in topics.items() if ".trade." in topic)
        self.told = [pattern for row in gateway.request("GET", "/status")[1] for pattern in row["topics"]]

    @staticmethod
    def _book(gateway, topic):
        sides = ({}, {})
        data = gateway.request("GET", "/topics/" + urllib.parse.quote(topic, safe=""))[1]["data"] or {}
        for key, size in data.items():
            sides[0 if key[0] == "b" else 1][plain(key[1:])] = plain(size)
        return sides

    def wrong(self):
        """Books that no topic has: the reference's name, and the topic that is nearest; None: there is none."""
        def alike(topic, book):
            return sum(len(set(held.items()) & set(side.items())) for held, side in zip(self.books[topic], book))

        held, wanted = list(self.books.values()), list(self.truth.values())
        others = [topic for topic, book in self.books.items() if book not in wanted]
        for name, book in self.truth.items():
            if book not in held:
                yield name, max(others, key=lambda topic: alike(topic, book), default=None)

    def is_told(self, topic):
        """That it is not to be relied upon."""
        if topic is None:
            return any(pattern not in self.books for pattern in self.told)
        return any(pattern == topic or pattern == "*" or (pattern.endswith(".*") and topic.startswith(pattern[:-1]))
                   for pattern in self.told)


def levels(side):
    return {plain(price): plain(size) for price, size in side.items()}


def counts(text):
    """Whether the changes of its books have a count by which a hole shows."""
    entries = re.split(r"^\[\[source\.map\]\]", text, flags=re.M)
    changes = [entry for entry in entries if "levels =" in entry and "reset = true" not in entry]
    return bool(changes) and all(re.search(r"^seq = ", entry, re.M) and "seq_sparse" not in entry for entry in changes)


def play(config, recording, fault, rng, may_lose=()):
    with open(os.path.join(CONFIGS, f"{config}.toml")) as file:
        text = file.read()
    with Venue(recording, fault, rng, may_lose) as venue:
        here = f"127.0.0.1:{venue.port}"
        text = re.sub(r"wss?://[^/\"']+", f"ws://{here}", text)
        text = re.sub(r"https?://[^/\"']+", f"http://{here}", text)
        text = text.replace('kind = "websocket"', 'kind = "websocket"\nbackoff_min = "50ms"\nbackoff_max = "1s"')
        with Gateway(text, log=True) as gateway:
            if not venue.done.wait(WAIT_S):
                raise RuntimeError(f"{config}: the recording was not taken within {WAIT_S:g} s")
            time.sleep(QUIET_S)
            return Judge(gateway, recording.truth)


def run(args, verdict):
    names = args.configs or list(RECORDED)
    faults = [fault for fault in args.faults.split(",") if fault]
    exact = 0
    for config in names:
        recording = Recording(args.directory, RECORDED[config])
        with open(os.path.join(CONFIGS, f"{config}.toml")) as file:
            is_counted = counts(file.read())
        with verdict.part(config):
            judge = play(config, recording, None, random.Random(args.seed))
            wrong = list(judge.wrong())
            print(f"{config}: books {len(judge.truth) - len(wrong)} of {len(judge.truth)}, "
                  f"trades {judge.traded} of {judge.trades}", flush=True)
            if wrong or (judge.trades and judge.traded != judge.trades):
                verdict.say(f"{config}: not exact, {wrong[:3]}")
            else:
                exact += 1
        for fault in faults:
            if fault == "lost" and not is_counted or fault in ("late", "refused") and not recording.answers:
                continue
            with verdict.part(f"{config}, {fault}"):
                may_lose = changes(config, recording) if fault == "lost" else ()
                judge = play(config, recording, fault, random.Random(args.seed), may_lose)
                wrong = list(judge.wrong())
                untold = [name for name, topic in wrong if not judge.is_told(topic)]
                print(f"{config}, {fault}: exact {len(judge.truth) - len(wrong)}, told {len(wrong) - len(untold)}, "
                      f"neither {len(untold)}", flush=True)
                if untold:
                    verdict.say(f"{config}, {fault}: neither exact nor told: {untold[:3]}")
    verdict.figure("recordings that come out exact", exact, "==", len(names))
