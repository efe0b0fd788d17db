"""loadgen's raw mode against servers that do not speak Fanwire's protocol: the echo example, npm `ws`, nchan and
nats-server. Each brings frames/s to 100 connections, and their age in milliseconds where messages are stamped."""

import contextlib
import json
import os
import time

import load
import process
import tools
from peers import nats as nats_server
from peers import nchan

PEERS = tools.ROOT / "scripts" / "lib" / "peers"
CONNECTIONS, PER_S = 100, 20


class Server:
    """A server that runs: where loadgen connects, and what it is told beside."""

    def __init__(self, url, *arguments):
        self.url, self.arguments = url, arguments


def stamped(n):
    return json.dumps({"ts": time.time_ns() // 1000, "n": n})


@contextlib.contextmanager
def echo():
    """Answers what it is told, so every connection speaks."""
    with process.running(os.environ["ECHO_BIN"], "--port", "0") as running:
        says = ["--send", '{"ts":{now_us}}', "--send-every", f"{1000 // PER_S}ms"]
        yield Server(f"ws://{process.listening(running)['data']}/ws", *says)


@contextlib.contextmanager
def ws():
    with process.running("node", PEERS / "ws_ticks.cjs", PER_S) as running:
        yield Server(f"ws://{process.listening(running)['data']}/")


@contextlib.contextmanager
def nginx():
    with nchan.server() as (_, url, port), nchan.publishing(port, stamped, PER_S):
        yield Server(url)


@contextlib.contextmanager
def nats():
    """Its protocol is lines of text, here inside WebSocket messages."""
    with nats_server.server("nats-server") as (_, port, url), process.until_listening(port) as publisher:
        publisher.sendall(b'CONNECT {"verbose":false}\r\n')

        def publish(n):
            message = stamped(n).encode()
            publisher.sendall(b"PUB ticks %d\r\n%b\r\n" % (len(message), message))

        with process.ticking(publish, PER_S):
            yield Server(url, "--send", 'CONNECT {"verbose":false}\r\nSUB ticks 1\r\n')


# What each needs beside loadgen.
SERVERS = {"echo": (echo, "echo"), "ws": (ws, "node"), "nchan": (nginx, "nchan"), "nats": (nats, "nats")}


def measure(name, seconds):
    """loadgen's report of one server."""
    server, needs = SERVERS[name]
    tools.need(needs)
    with server() as running:
        words = ["--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--stamp", "json:ts"]
        return load.raw(running.url, *words, *running.arguments)


def arguments(parser):
    parser.add_argument("--seconds", type=int, default=5, help="of each load (5)")
    parser.add_argument("servers", nargs="*", metavar="SERVER", help=f"of {', '.join(SERVERS)} (all)")


def run(args, verdict):
    print(f"{CONNECTIONS} connections, {PER_S} messages/s to each, {args.seconds} s")
    for name in args.servers or SERVERS:
        with verdict.part(name):
            if name not in SERVERS:
                raise RuntimeError(f"no server known here: {', '.join(SERVERS)}")
            report = measure(name, args.seconds)
            ages, connections = report["arrival_ms"], report["connections"]
            shown = [f"{key} {'none' if ages[key] is None else f'{ages[key]:.2f}'} ms" for key in ("p50", "p99")]
            note = f"age {', '.join(shown)}; {connections['failed']} failed, {connections['closed']} closed"
            verdict.figure(f"{name:<5} frames/s", report["frames"]["per_s"], ">=", 1, note=note)
            if ages["p50"] is None or connections["established"] < CONNECTIONS:
                verdict.say(f"{name}: {connections['established']} connections, median age {ages['p50']}")
