"""Connections that ask for everything at 100,000 topics, beside others.

The gateway runs with configs/production.toml. 100 clients at 100 ms see values that are published all the time;
their latencies come from one load alone and one beside each storm: 1,000 connections from five addresses that do
not read, the same as MessagePack, and the same with one address whose 200 connections do read. Each connection
names one topic more that nobody else asks for, so that it shares no frame. Memory is the gateway's resident memory
at its highest during the storm, above before, in MiB; latencies in ms.
"""

import selectors
import threading
import time

import load
from client import connected, handshake
from gateway import Gateway
from machine import resident_mib
from production import fill, production

ADDRESSES, CONNECTIONS_EACH = 5, 200
VALUE = "v" * 40
PROBES, PROBE_S = 20, 0.05
OTHERS, INTERVAL_MS = 100, 100
SETTLE_S = 2
# (whether as MessagePack, of how many addresses the connections read).
STORMS = {"as JSON": (False, 0), "as MessagePack": (True, 0), "200 of them read": (False, 1)}
P99_RATIO_MAX, MEMORY_SLACK_MIB = 1.5, 64


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
        self.pid, self.before_mib = gateway.pid, resident_mib(gateway.pid)
        self.peak_mib = self.before_mib
        super().__init__()

    def run(self):
        while not self.ending.wait(0.02):
            self.peak_mib = max(self.peak_mib, resident_mib(self.pid))


class Storm(Background):
    """The connections; those of the first `readers` addresses read what they are sent and drop it."""

    def __init__(self, gateway, msgpack, readers):
        self.selector, self.sockets, self.bytes = selectors.DefaultSelector(), [], 0
        protocol = ["Sec-WebSocket-Protocol: fanwire.msgpack.v1"] if msgpack else []
        for n in range(ADDRESSES * CONNECTIONS_EACH):
            address = n // CONNECTIONS_EACH
            reads = address < readers
            sock = connected(gateway.data, None if reads else 4096, f"127.0.7.{address + 1}")
            sock.sendall(handshake(["*", f"storm.z{n}"], *protocol))
            if reads:
                sock.setblocking(False)
                self.selector.register(sock, selectors.EVENT_READ)
            self.sockets.append(sock)
        super().__init__()

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


def measure(args, name, verdict, storm=None):
    """(p99 of the others in ms, memory above before in MiB, bytes that readers read)."""
    config, _ = production()
    with Gateway(config, server='drain = "1s"') as gateway:
        fill(gateway, args.topics, VALUE)
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
    for what in wrong:
        verdict.say(f"{name}: {what}")
    return report["visible_ms"]["p99"], memory.peak_mib - memory.before_mib, read


def arguments(parser):
    parser.add_argument("--topics", type=int, default=100_000, help="that there are (100000)")
    parser.add_argument("--seconds", type=int, default=15, help="of each load (15)")


def run(args, verdict):
    memory_max = production()[1] + MEMORY_SLACK_MIB
    quiet, _, _ = measure(args, "quiet", verdict)
    verdict.figure("quiet: visible p99", quiet, unit="ms")
    for name, storm in STORMS.items():
        p99, memory, read = measure(args, name, verdict, storm)
        verdict.ratio(f"{name}: visible p99 ÷ quiet", p99, quiet, "ms", "<=", P99_RATIO_MAX)
        note = f"{read / 2**20:,.0f} MiB were read" if storm[1] else ""
        verdict.figure(f"{name}: memory above before", memory, "<=", memory_max, "MiB", note)
