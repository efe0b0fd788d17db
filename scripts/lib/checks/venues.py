"""The configurations of configs/venues against recordings of the venues' feeds. Each recording is played to the gateway as
fast as it reads; at the end every book must equal the reference's, level by level as numbers, each in a topic of its own,
and as many topics must have as many trades. Then again with faults: the connection is cut at a random message, answers of
snapshots come 500 messages late, each is refused once with 429, and, where the venue counts, three messages are left out,
or its counts begin anew. After those each topic must have the book that it had without faults, or it must be told by its
own name, or by a pattern of its venue alone, to be stale or to have a gap.

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
import tomllib
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
FAULTS = ("cut", "late", "refused", "lost", "restart")
COUNTED = ("lost", "restart")
LATE_MESSAGES = 500
LOST = 3
# What is counted anew begins here: above the answers of then, so that none can be joined to it.
ANEW = 1000
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


def mapped(config, recording):
    """What each message becomes by itself: rows with the number of the message."""
    lines = "\n".join(message if isinstance(message, str) else "" for message in recording.messages)
    command = [os.environ["GATEWAY_BIN"], "--map", os.path.join(CONFIGS, f"{config}.toml")]
    told = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    return [row | {"line": row["line"] - 1} for row in map(json.loads, told)]


def changes(rows):
    """Numbers of messages that change a book which a later one changes too: a hole before that one shows."""
    seen, found = set(), []
    for row in reversed(rows):
        if "set" in row and "whole" not in row:
            if row["topic"] in seen:
                found.append(row["line"])
            seen.add(row["topic"])
    return found


def restarted(recording, rows, at):
    """The messages, whose books count anew from number `at` on, each from ANEW."""
    messages, begun = list(recording.messages), {}
    for row in rows:
        if row["line"] < at or "seq" not in row or "set" not in row:
            continue
        named = [name for name in ("seq", "seq_first", "seq_prev") if name in row]
        begin = begun.setdefault(row["topic"], min(row[name] for name in named))
        for name in named:
            anew = str(max(row[name] - begin + ANEW, 0))
            messages[row["line"]] = re.sub(rf"(?<![\d.]){row[name]}(?![\d.])", anew, messages[row["line"]])
    return messages


class Venue:
    """Plays a recording to whoever connects; the first connection has the fault. `rows`: what its messages become."""

    def __init__(self, config, recording, fault, rng, rows):
        self.recording, self.fault = recording, fault
        with open(os.path.join(CONFIGS, f"{config}.toml"), "rb") as file:
            maps = tomllib.load(file)["source"][0]["map"]
        # Where the answers have their counts.
        self.count_at = next((entry["snapshot"]["seq"] for entry in maps if "snapshot" in entry), None)
        count = len(recording.messages)
        may_lose = changes(rows)
        self.first, self.restart_at = recording.messages, None
        if fault == "restart" and may_lose:
            self.restart_at = rng.choice(may_lose[len(may_lose) // 4:])
            self.first = restarted(recording, rows, self.restart_at)
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
        if body and self.restart_at is not None and self.sent > self.restart_at and self.connections == 1:
            body = uncounted(body, self.count_at)
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
            for number, message in enumerate(self.first if first else self.recording.messages):
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


def uncounted(body, pointer):
    """An answer of a time when nothing was counted yet."""
    document = json.loads(body)
    *path, last = pointer.split("/")[1:]
    within = document
    for step in path:
        within = within[step]
    within[last] = type(within[last])(0)
    return json.dumps(document)


def answer(status, body):
    body = body.encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
    return Response(status, "OK" if status == 200 else "No", headers, body)


def plain(number):
    return str(Decimal(str(number)).normalize())


class Judge:
    """The gateway's books beside the reference's. `topics`: where each of these is; None: it is to be found."""

    def __init__(self, gateway, truth, topics=None):
        self.truth = {name: tuple(levels(side) for side in sides) for name, sides in truth["books"].items()}
        held = gateway.topics()
        self.books = {topic: self._book(gateway, topic) for topic in held if ".book." in topic}
        self.trades = sorted(count for count in truth["trades"].values() if count)
        self.traded = sorted(v for topic, v in held.items() if ".trade." in topic and v)
        self.told = [pattern for row in gateway.request("GET", "/status")[1] for pattern in row["topics"]]
        self.topics = self._found() if topics is None else topics

    @staticmethod
    def _book(gateway, topic):
        sides = ({}, {})
        data = gateway.request("GET", "/topics/" + urllib.parse.quote(topic, safe=""))[1]["data"] or {}
        for key, size in data.items():
            sides[0 if key[0] == "b" else 1][plain(key[1:])] = plain(size)
        return sides

    def _found(self):
        """A topic of its own for each of the reference's books; names differ, so what they hold tells. Books without a
        level say nothing, and are one like another."""
        left, found = dict(self.books), {}
        for name, book in self.truth.items():
            topic = next((topic for topic, held in left.items() if held == book), None)
            if topic is not None:
                found[name] = topic
                del left[topic]
        return found

    def wrong(self):
        """Names of books that their topics do not have."""
        return [name for name, book in self.truth.items()
                if name not in self.topics or self.books.get(self.topics[name]) != book]

    def is_told(self, name):
        """That its topic is not to be relied upon, by its own name or as one of its venue's books."""
        topic = self.topics.get(name)
        return topic is not None and any(
            pattern == topic or (pattern.endswith(".*") and topic.startswith(pattern[:-1])) for pattern in self.told)


def levels(side):
    return {plain(price): plain(size) for price, size in side.items()}


def counts(text):
    """Whether the changes of its books have a count by which a hole shows."""
    entries = re.split(r"^\[\[source\.map\]\]", text, flags=re.M)
    changes = [entry for entry in entries if "levels =" in entry and "reset = true" not in entry]
    return bool(changes) and all(re.search(r"^seq = ", entry, re.M) and "seq_sparse" not in entry for entry in changes)


def play(config, recording, fault, rng, rows=(), topics=None):
    with open(os.path.join(CONFIGS, f"{config}.toml")) as file:
        text = file.read()
    with Venue(config, recording, fault, rng, rows) as venue:
        here = f"127.0.0.1:{venue.port}"
        text = re.sub(r"wss?://[^/\"']+", f"ws://{here}", text)
        text = re.sub(r"https?://[^/\"']+", f"http://{here}", text)
        # Recordings have no answer with a token.
        text = re.sub(r"^\[source\.token\]\n(?:\w.*\n)*", "", text, flags=re.M)
        text = re.sub(r"\{@token[^}]*\}", "none", text)
        text = text.replace('kind = "websocket"', 'kind = "websocket"\nbackoff_min = "50ms"\nbackoff_max = "1s"')
        with Gateway(text, log=True) as gateway:
            if not venue.done.wait(WAIT_S):
                raise RuntimeError(f"{config}: the recording was not taken within {WAIT_S:g} s")
            time.sleep(QUIET_S)
            return Judge(gateway, recording.truth, topics)


def judge(args, verdict, config, faults):
    """Plays a recording; gives whether it comes out exact without faults."""
    recording = Recording(args.directory, RECORDED[config])
    with open(os.path.join(CONFIGS, f"{config}.toml")) as file:
        is_counted = counts(file.read())
    judge = play(config, recording, None, random.Random(args.seed))
    wrong, topics = judge.wrong(), judge.topics
    print(f"{config}: books {len(judge.truth) - len(wrong)} of {len(judge.truth)}, "
          f"trades {sum(judge.traded)} of {sum(judge.trades)}", flush=True)
    is_exact = not wrong and (not judge.trades or judge.traded == judge.trades)
    if not is_exact:
        verdict.say(f"{config}: not exact, books {wrong[:3]}, trades by topic {judge.traded} of {judge.trades}")
    rows = mapped(config, recording) if is_counted and set(COUNTED) & set(faults) else ()
    for fault in faults:
        if fault in COUNTED and not is_counted or fault in ("late", "refused") and not recording.answers:
            continue
        with verdict.part(f"{config}, {fault}"):
            judge = play(config, recording, fault, random.Random(args.seed), rows, topics)
            wrong = judge.wrong()
            untold = [name for name in wrong if not judge.is_told(name)]
            print(f"{config}, {fault}: exact {len(judge.truth) - len(wrong)}, told {len(wrong) - len(untold)}, "
                  f"neither {len(untold)}", flush=True)
            if untold:
                verdict.say(f"{config}, {fault}: neither exact nor told: {untold[:3]}")
    return is_exact


def run(args, verdict):
    names = args.configs or list(RECORDED)
    faults = [fault for fault in args.faults.split(",") if fault]
    exact = 0
    for config in names:
        with verdict.part(config):
            exact += judge(args, verdict, config, faults)
    verdict.figure("recordings that come out exact", exact, "==", len(names))
