"""Connections that ask for everything at 100,000 topics, beside others. Run by scripts/storm-check.

The gateway runs with configs/production.toml. 100 clients at 100 ms see values that are published all the time;
their latencies come from one load alone and one beside each storm: 1,000 connections from five addresses that do
not read, the same as MessagePack, and the same with one address whose 200 connections do read. Each connection
names one topic more that nobody else asks for, so that it shares no frame. Memory is the gateway's resident memory
at its highest during the storm, above before.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import selectors
import socket
import sys
import threading
import time

import load
from gateway import Gateway

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESSES, CONNECTIONS_EACH = 5, 200
VALUE = "v" * 40
PROBES, PROBE_S = 20, 0.05
OTHERS, INTERVAL_MS = 100, 100
SETTLE_S = 2
P99_RATIO_MAX, MEMORY_SLACK_MB = 1.5, 64


def production():
    """configs/production.toml without its [server], and its pinned_bytes in MiB."""
    text = (ROOT / "configs" / "production.toml").read_text()
    text = text[text.index("[fanout]") :]
    return text, int(re.search(r'^pinned_bytes = "(\d+)MiB"', text, re.MULTILINE)[1])


def fill(gateway, topics):
    for begin in range(0, topics, 20_000):
        lines = (json.dumps({"topic": f"big.t{n:06}", "data": VALUE}) for n in range(begin, min(begin + 20_000, topics)))
        status, answer = gateway.request("POST", "/publish", "\n".join(lines), "application/x-ndjson")
        assert status == 200, f"publish answered {status} {answer}"


def resident_mb(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


class Background(threading.Thread):
    """Something that goes on until it is ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ending = threading.Event()
        self.start()

    def end(self):
        self.ending.set()
        self.join()


class Publisher(Background):
    def __init__(self, gateway):
        self.gateway = gateway
        super().__init__()

    def run(self):
        n = 0
        while not self.ending.wait(PROBE_S):
            n += 1
            self.gateway.publish(*((f"probe.t{i}", n) for i in range(PROBES)))


class Memory(Background):
    def __init__(self, gateway):
        self.gateway, self.before_mb = gateway, resident_mb(gateway)
        self.peak_mb = self.before_mb
        super().__init__()

    def run(self):
        while not self.ending.wait(0.02):
            self.peak_mb = max(self.peak_mb, resident_mb(self.gateway))


class Storm(Background):
    """The connections; those of the first `readers` addresses read what they are sent and drop it."""

    def __init__(self, gateway, msgpack, readers):
        self.selector, self.sockets, self.bytes = selectors.DefaultSelector(), [], 0
        host, port = gateway.data.rsplit(":", 1)
        for n in range(ADDRESSES * CONNECTIONS_EACH):
            address = n // CONNECTIONS_EACH
            sock = socket.socket()
            reads = address < readers
            if not reads:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.bind((f"127.0.7.{address + 1}", 0))
            sock.connect((host, int(port)))
            sock.sendall(self.request(n, msgpack))
            if reads:
                sock.setblocking(False)
                self.selector.register(sock, selectors.EVENT_READ)
            self.sockets.append(sock)
        super().__init__()

    @staticmethod
    def request(n, msgpack):
        lines = [f"GET /ws?topics=*,storm.z{n} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        lines += ["Sec-WebSocket-Protocol: fanwire.msgpack.v1"] if msgpack else []
        return "\r\n".join([*lines, "", ""]).encode()

    def run(self):
        while not self.ending.is_set():
            for key, _ in self.selector.select(0.05) if self.selector.get_map() else []:
                try:
                    data = key.fileobj.recv(1 << 18)
                except OSError:
                    data = b""
                self.bytes += len(data)
                if not data:
                    self.selector.unregister(key.fileobj)
            if not self.selector.get_map():
                self.ending.wait(0.05)

    def end(self):
        super().end()
        for sock in self.sockets:
            sock.close()


def row(args, name, storm=None):
    """(p99 of the others in ms, memory above before in MB, bytes that readers read, what was wrong)."""
    config, _ = production()
    with Gateway(config, server='drain = "1s"') as gateway:
        fill(gateway, args.topics)
        publisher = Publisher(gateway)
        arguments = ["--connections", str(OTHERS), "--topics", "probe.*", "--interval-ms", str(INTERVAL_MS)]
        running = load.start(gateway, *arguments, "--duration", f"{args.seconds}s")
        time.sleep(SETTLE_S)
        memory = Memory(gateway)
        storming = Storm(gateway, *storm) if storm else None
        report, wrong = load.finish(running)
        memory.end()
        if storming:
            storming.end()
        publisher.end()
    read = storming.bytes if storming else 0
    return report["visible_ms"]["p99"], memory.peak_mb - memory.before_mb, read, [f"{name}: {what}" for what in wrong]


def main():
    parser = argparse.ArgumentParser(prog="storm-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=100_000, help="that there are (100000)")
    parser.add_argument("--seconds", type=int, default=15, help="of each load (15)")
    args = parser.parse_args()
    memory_max = production()[1] + MEMORY_SLACK_MB
    quiet, _, _, wrong = row(args, "quiet")
    print(f"{'quiet':<24} visible p99 {quiet:6.1f} ms", flush=True)
    storms = [("as JSON", (False, 0)), ("as MessagePack", (True, 0)), ("200 of them read", (False, 1))]
    for name, storm in storms:
        p99, memory, read, broken = row(args, name, storm)
        wrong += broken
        held = p99 <= P99_RATIO_MAX * quiet and memory <= memory_max
        wrong += [] if held else [f"{name}: a goal is missed"]
        told = f"  {read / 2**20:,.0f} MiB were read" if storm[1] else ""
        print(
            f"{name:<24} visible p99 {p99:6.1f} ms, {p99 / quiet:.2f} x quiet (goal {P99_RATIO_MAX})"
            f"  memory {memory:+6.0f} MB (goal {memory_max}){told}",
            flush=True,
        )
    for what in wrong[:20]:
        print(what)
    print("every goal is met" if not wrong else f"{len(wrong)} goals are missed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
