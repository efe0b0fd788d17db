"""What the servers of a row are asked to do, and how loadgen judges them: all in the same way."""

import dataclasses
import json
import os

import process
from machine import pinned

SERVER_CPU, LOADGEN_CPU = 0, 1
TOPICS, LIST, UPDATES_PER_S = 1000, 20, 2000
EVERY_MS = 250
# A client whose newest frame is older than this does not count.
VISIBLE_MS = 500
SEED = 7


@dataclasses.dataclass(frozen=True)
class Load:
    """What an application is to do with which updates.

    `own`: every client has its own Zipf watchlist of LIST in TOPICS; else all have the one topic there is.
    `per_s` updates of all topics together, 0: none come. `bytes`: what an update is padded to, None: quotes.
    `every_ms`: what changed, each so many ms, in one frame; 0: each update as it comes. `interval_ms`: what Fanwire's
    clients ask for; its conflation needs no application. `certificate`: (certificate, key) of a TLS listener."""

    own: bool = True
    per_s: float = UPDATES_PER_S
    bytes: int | None = None
    every_ms: int = 0
    interval_ms: int = EVERY_MS
    certificate: tuple[str, str] | None = None
    deflate: bool = False

    @property
    def topics(self):
        return TOPICS if self.own else 1

    def feed(self, form, *address):
        """The command that makes the updates; on the generator's CPU, as it is no part of a server."""
        padded = ["--bytes", self.bytes] if self.bytes else []
        words = ["--topics", self.topics, "--rate", self.per_s, *padded]
        return [*pinned(LOADGEN_CPU), os.environ["FEED_BIN"], form, *address, *words]

    @property
    def frames_per_s(self):
        """What one client is sent a second, if nothing is left out, by a server that sends each update in a frame."""
        of_topic = self.per_s / self.topics
        return of_topic * LIST if self.own else of_topic


@dataclasses.dataclass
class Served:
    """A server that runs: where loadgen connects, what it says there, and what a frame's age is read from."""

    url: str
    pid: int
    words: list[str]
    # Frames that one client is sent a second, where the server's frames say so much.
    frames_per_s: float | None = None
    # It collects garbage on SIGUSR2.
    collects: bool = False


def judged(served, load, connections, seconds, *words, warm_up_s=2):
    """loadgen's report."""
    topics = f"tick.S{{0000..{load.topics - 1:04}}}"
    lists = f"zipf:{LIST}" if load.own else "one"
    command = [*pinned(LOADGEN_CPU), os.environ["LOADGEN_BIN"], "--url", served.url, "--server-pid", served.pid]
    command += ["--connections", connections, "--duration", f"{seconds}s", "--warm-up", f"{warm_up_s}s"]
    command += ["--threads", 1, "--seed", SEED, "--topics", topics, "--interests", lists, *served.words]
    command += ["--insecure"] if served.url.startswith("wss:") else []
    command += ["--deflate"] if load.deflate else []
    return json.loads(process.output(*command, *words).splitlines()[-1])


def fails(served, report):
    """Why a load is not held in words, or None."""
    connections = report["connections"]
    if connections["established"] < connections["requested"]:
        return f"{connections['established']} of {connections['requested']} connected"
    if connections["closed"]:
        return f"{connections['closed']} closed"
    p99 = report["visible_ms"]["p99"]
    if p99 is None:
        return "no frame came"
    if p99 > VISIBLE_MS:
        return f"p99 {p99:.0f} ms"
    per_s = report["frames"]["per_s"] / connections["established"]
    if served.frames_per_s and per_s < 0.9 * served.frames_per_s:
        return f"{per_s:.1f} of {served.frames_per_s:.1f} frames/s a client"
    return None
