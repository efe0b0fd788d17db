"""The rivals, each set up as its own documents say is best, with the small program that each needs as application."""

import contextlib
import os
import subprocess
from typing import Callable, NamedTuple

import process
import tools
from compare.load import SERVER_CPU, Served
from machine import pinned
from peers import nats, nchan

PEERS = tools.PEERS
SAYS_TOPICS = ["--send", "{topics}"]
CONFLATED, AS_IT_COMES = ["--stamp", "key:oldest"], ["--stamp", "key:ts"]


class Rival(NamedTuple):
    """`needs` are names that `tools.need` knows; `cannot` says why of rows that it has no answer to.

    `served(load)` is a context manager of Served. `code` has the files of its conflation, whose lines count."""

    title: str
    needs: tuple[str, ...]
    version: Callable[[], str]
    settings: str
    served: Callable
    code: tuple[str, ...] = ()
    cannot: dict[str, str] = {}


@contextlib.contextmanager
def application(load, *command, collects=False):
    """A program of ours that takes the load's updates on stdin and serves clients itself."""
    words = ["--every-ms", load.every_ms] if load.every_ms else []
    if load.certificate:
        words += ["--cert", load.certificate[0], "--key", load.certificate[1]]
    words += ["--deflate"] if load.deflate else []
    with contextlib.ExitStack() as stack:
        feed = None
        if load.per_s:
            feed = stack.enter_context(process.running(*load.feed("lines"), text=False))
        stdin = feed.stdout if feed else subprocess.PIPE
        server = stack.enter_context(process.running(*pinned(SERVER_CPU), *command, *words, stdin=stdin))
        if feed:
            # Ours would keep the pipe open when the server ends.
            feed.stdout.close()
            feed.stdout = None
        scheme = "wss" if load.certificate else "ws"
        url = f"{scheme}://{process.listening(server)['data']}/"
        says = [*SAYS_TOPICS, *(CONFLATED if load.every_ms else AS_IT_COMES)]
        per_s = 1000 / load.every_ms if load.every_ms else load.frames_per_s
        yield Served(url, server.pid, says, per_s, collects)


@contextlib.contextmanager
def nats_server(load):
    """Clients are subscribers of the broker itself; the feed publishes to it."""
    binary = tools.RIVALS / "bin" / "nats-server"
    options = {"certificate": load.certificate, "compression": load.deflate, "prefix": pinned(SERVER_CPU)}
    with nats.server(binary, **options) as (running, port, url), feeding(load, "nats", port):
        says = ["--send", 'CONNECT {"verbose":false}\r\n', "--send", "SUB {topic} {place}\r\n"]
        # It gathers several messages in a frame: their number says nothing.
        yield Served(url, running.pid, [*says, *AS_IT_COMES])


@contextlib.contextmanager
def nchan_server(load):
    """Clients are subscribers of nginx itself, by their URL; the feed publishes to it over HTTP."""
    with nchan.server(*(load.certificate or ()), prefix=pinned(SERVER_CPU)) as (pid, url, port):
        with feeding(load, "post", port):
            url = url.replace("/ws", "/own?ids={topics}")
            yield Served(url, pid, AS_IT_COMES, load.frames_per_s)


@contextlib.contextmanager
def feeding(load, form, port):
    if not load.per_s:
        yield
        return
    with process.running(*load.feed(form, f"127.0.0.1:{port}")):
        yield


def npm_version(name):
    """Of a package whose directory NODE_PATH has, with that of Node.js."""

    def version():
        of_package = process.output("node", "-p", f"require('{name}/package.json').version").strip()
        return f"{name} {of_package}, Node.js {process.output('node', '--version').strip()}"

    return version


def debian_version(*names):
    def version():
        lines = process.output("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names).splitlines()
        return ", ".join(lines)

    return version


def gorilla_version():
    go = process.output(tools.RIVALS / "bin" / "go", "version").split()[2]
    return f"{debian_version('golang-github-gorilla-websocket-dev')()}, {go}"


def tungstenite_version():
    return ", ".join(tools.locked(PEERS / "tungstenite" / "Cargo.lock", "tokio-tungstenite", "tungstenite", "tokio"))


def nats_version():
    return process.output(tools.RIVALS / "bin" / "nats-server", "--version").split()[-1]


NODE = ["node", "--expose-gc"]
JS, GO, RUST = ("conflation.cjs",), ("go/conflation.go",), ("tungstenite/src/conflation.rs",)
BROKER = "a broker: it has no application that could conflate, and no turn for one to hand it a frame for each client"
BUFFERS = "maxBackpressure 1 MiB"

RIVALS = {
    "uws": Rival(
        "uWebSockets",
        ("uws",),
        npm_version(tools.UWS_NAME),
        f"`publish` to topics, `send` of conflated bytes, SHARED_COMPRESSOR, {BUFFERS}",
        lambda load: application(load, *NODE, PEERS / "uws.cjs", collects=True),
        JS,
    ),
    "bun": Rival(
        "Bun",
        ("bun",),
        lambda: process.output(os.environ["BUN_BIN"], "--version").strip(),
        f"as uWebSockets, of which its server is made; `compress: 'shared'`, {BUFFERS}",
        lambda load: application(load, os.environ["BUN_BIN"], PEERS / "bun.cjs", collects=True),
        JS,
    ),
    "ws": Rival(
        "ws",
        ("node",),
        npm_version("ws"),
        "a Buffer for all of a room, no context takeover, level 3, skipUTF8Validation",
        lambda load: application(load, *NODE, PEERS / "ws.cjs", collects=True),
        JS,
    ),
    "tungstenite": Rival(
        "tokio-tungstenite",
        ("tungstenite",),
        tungstenite_version,
        "one thread, a task and a channel for each client, what waits is flushed at once, mimalloc",
        lambda load: application(load, os.environ["TUNGSTENITE_BIN"]),
        RUST,
        {"c": "no permessage-deflate"},
    ),
    "gorilla": Rival(
        "gorilla/websocket",
        ("gorilla",),
        gorilla_version,
        "prepared messages, two goroutines a client, pooled write buffers, GOGC 400",
        lambda load: application(load, os.environ["GORILLA_BIN"], collects=True),
        GO,
    ),
    "nats": Rival(
        "nats-server",
        ("rivals",),
        nats_version,
        "core NATS over WebSocket, a subject a topic",
        nats_server,
        (),
        {"b2": BROKER, "c": BROKER},
    ),
    "nchan": Rival(
        "nginx + nchan",
        ("nchan",),
        debian_version("nginx", "libnginx-mod-nchan"),
        "one worker, a channel a topic, channels by the URL, messages not stored",
        nchan_server,
        (),
        {"b2": BROKER, "c": BROKER},
    ),
}
