"""One gateway process and one loadgen process with 100,000 clients on this machine: how fast they are established, that
they are held, what memory they take on either side, whether a fan-out reaches all of them, and how soon all are back
after a crash. target/capacity/capacity.json has every figure with its goal, ROW.json and ROW.html each load's whole
report, the latter with plots.

  scripts/bench capacity --clients 2000 --seconds 10    a small one, to try"""

import os
import sys
import threading
import time

import load
import machine
import tools
from gateway import Gateway, synthetic

SERVER = "shards = 6"
FEED = synthetic(5, 50)
INTERVAL_MS = 2000
RAMP_S, RAMP_HOLD_S = 10, 10
RSS_MIB_MAX = 64
# The crash comes after so long; after the time to come back, the values have so long to be judged.
BEFORE_CRASH_S, BACK_S, AFTER_S = 5, 60, 20
LISTENS_S = 15
# Of the generator: 512 B a connection and 8 B for each of the five topics it holds.
MEMORY_CONNECTIONS_MIN = 50_000
MEMORY_S, LOADGEN_BYTES_MAX = 5, 512 + 5 * 8
# Closed connections keep their ports for a minute; the next row begins when few are left.
SOCKETS_LEFT, SOCKETS_WAIT_S = 5000, 90
HELD = ["connections.failed==0", "connections.closed==0"]


class Watch(threading.Thread):
    """Once a second: how many clients the gateway counts, and its resident memory."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.ended, self.samples = gateway, threading.Event(), []
        self.start()

    def run(self):
        while not self.ended.wait(1):
            try:
                self.samples.append((time.monotonic(), connections(self.gateway), machine.resident_mib(self.gateway.pid)))
            except (OSError, ValueError):
                # Busy, or just killed: a second without a sample.
                continue

    def stop(self, wanted):
        """(seconds for which the gateway counted all `wanted`, most MiB in that time); (0, None) if never."""
        self.ended.set()
        self.join()
        full = [index for index, (_, count, _) in enumerate(self.samples) if count >= wanted]
        if not full:
            return 0.0, None
        held = self.samples[full[0] : full[-1] + 1]
        whole = all(count >= wanted for _, count, _ in held)
        return (held[-1][0] - held[0][0]) * whole, max(mib for *_, mib in held)


def connections(gateway):
    _, metrics = gateway.request("GET", "/metrics")
    lines = [line for line in metrics.splitlines() if line.startswith("fanwire_connections{")]
    return sum(int(float(line.split()[-1])) for line in lines)


def wait_for_ports():
    """Until the connections of the row before are gone from the kernel."""
    ends = time.monotonic() + SOCKETS_WAIT_S
    while time.monotonic() < ends:
        words = machine.field("/proc/net/sockstat", "TCP").split()
        counts = dict(zip(words[::2], map(int, words[1::2])))
        if counts["inuse"] + counts["orphan"] + counts["tw"] < SOCKETS_LEFT:
            return
        time.sleep(1)
    print(f"sockets of the row before are still there after {SOCKETS_WAIT_S} s: {counts}", file=sys.stderr)


class Rows:
    """Loads and what is looked for in their reports."""

    def __init__(self, args, verdict):
        self.args, self.verdict = args, verdict

    def load(self, row, gateway, seconds, *arguments, promises=()):
        """A running load of this row; its report is kept as ROW.json and ROW.html."""
        words = ["--connections", str(self.args.clients), "--topics", "tick.*", "--duration", f"{seconds}s"]
        words += ["--interval-ms", str(INTERVAL_MS), "--html", os.path.join(self.args.out, f"{row}.html"), *arguments]
        return load.start(gateway, *words, promises=promises, report=os.path.join(self.args.out, f"{row}.json"))

    def check(self, row, figure, comparison, goal, measured):
        self.verdict.figure(f"{row:<10} {figure:<34}", measured, comparison, goal)

    def check_report(self, row, report, *goals):
        """Checks figures of loadgen's report: (dotted key, comparison, goal)."""
        for key, comparison, goal in goals:
            value = report
            for word in key.split("."):
                value = value.get(word) if isinstance(value, dict) else None
            self.check(row, key, comparison, goal, value)

    def check_held(self, row, watch, seconds):
        held_s, mib = watch.stop(self.args.clients)
        # Sampled once a second, from the first sample with all clients to the last.
        self.check(row, "gateway counts all for (s)", ">=", max(0, round(0.99 * seconds - 3)), round(held_s, 1))
        self.check(row, "gateway RSS while connected (MiB)", "<=", RSS_MIB_MAX, mib)


def held(rows, row, config, seconds, *arguments):
    """A load that is held; its report."""
    wait_for_ports()
    with Gateway(config, server=SERVER) as gateway:
        watch = Watch(gateway)
        report, broken = load.finish(rows.load(row, gateway, seconds, *arguments, promises=HELD))
        tell(row, broken)
        everyone = [("connections.established", "==", rows.args.clients)]
        everyone += [(f"connections.{key}", "==", 0) for key in ("failed", "closed")]
        rows.check_report(row, report, *everyone)
        rows.check_held(row, watch, seconds)
    return report


def establish(rows):
    report = held(rows, "establish", "", rows.args.seconds)
    rows.check_report("establish", report, ("setup.seconds", "<=", 8))


def ramp(rows):
    report = held(rows, "ramp", "", min(rows.args.seconds, RAMP_HOLD_S), "--ramp", f"{RAMP_S}s")
    rows.check_report("ramp", report, ("setup.handshake_ms.p99", "<=", 500))


def fanout(rows):
    report = held(rows, "fanout", FEED, rows.args.seconds)
    goals = [("clients.judged", "==", rows.args.clients), ("clients.ratio_min", ">=", 0.95)]
    goals += [("clients.gap_ms_max", "<=", 4000), ("visible_ms.p99", "<=", 4000)]
    goals += [("updates.lost", "==", 0), ("final.lost", "==", 0)]
    rows.check_report("fanout", report, *goals)


def start_again(gateway, config=FEED, server=SERVER):
    """A gateway on the same addresses, tried again as a supervisor would: the kernel gives up the
    listeners that a killed process had on its rings a little after the process is gone."""
    ends = time.monotonic() + LISTENS_S
    while True:
        try:
            return Gateway(config, server=server, data=gateway.data, admin=gateway.admin)
        except RuntimeError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def restart(rows):
    wait_for_ports()
    wanted = rows.args.clients
    with Gateway(FEED, server=SERVER) as gateway:
        seconds = BEFORE_CRASH_S + min(rows.args.seconds, BACK_S) + AFTER_S
        running = rows.load("restart", gateway, seconds, "--reconnect")
        while connections(gateway) < wanted and running[0].poll() is None:
            time.sleep(0.5)
        time.sleep(BEFORE_CRASH_S)
        gateway.process.kill()
        gateway.process.wait()
        with start_again(gateway):
            report, broken = load.finish(running)
    tell("restart", broken)
    goals = [("connections.established", "==", wanted), ("restart.cut", "==", wanted)]
    goals += [("restart.returned", "==", wanted), ("restart.seconds", "<=", BACK_S), ("final.clients", "==", wanted)]
    goals += [(f"updates.{fault}", "==", 0) for fault in ("lost", "duplicated", "reordered", "violations")]
    rows.check_report("restart", report, *goals, ("final.lost", "==", 0))


def tell(row, broken):
    for what in broken:
        print(f"{row}: {what}", file=sys.stderr)


def memory(rows):
    """loadgen's own memory by the difference between a fifth of the connections and all."""
    if rows.args.clients < MEMORY_CONNECTIONS_MIN:
        print(f"memory: skipped, below {MEMORY_CONNECTIONS_MIN} connections buffers outweigh them", file=sys.stderr)
        return
    anonymous = {}
    few, many = rows.args.clients // 5, rows.args.clients
    for count in (few, many):
        wait_for_ports()
        with Gateway(FEED, server=SERVER) as gateway:
            words = ["--connections", str(count), "--topics", "tick.*", "--duration", f"{MEMORY_S}s"]
            report, broken = load.finish(load.start(gateway, *words, "--interval-ms", str(INTERVAL_MS), promises=HELD))
            tell("memory", broken)
        anonymous[count] = report["loadgen"]["anonymous_bytes"]
    per_connection = (anonymous[many] - anonymous[few]) / (many - few)
    rows.check("memory", "loadgen bytes per connection", "<=", LOADGEN_BYTES_MAX, round(per_connection))


ROWS = {"memory": memory, "establish": establish, "ramp": ramp, "fanout": fanout, "restart": restart}


def arguments(parser):
    parser.add_argument("--clients", type=int, default=100_000, help="in all (100000)")
    parser.add_argument("--seconds", type=int, default=300, help="for which rows are held (300)")
    parser.add_argument("--row", choices=ROWS, action="append", help="only this one; repeatable")
    parser.add_argument("--out", default=tools.TARGET / "capacity", help="directory of the results (target/capacity)")


def run(args, verdict):
    os.makedirs(args.out, exist_ok=True)
    rows = Rows(args, verdict)
    for row in args.row or ROWS:
        with verdict.part(row):
            ROWS[row](rows)
    path = os.path.join(args.out, "capacity.json")
    verdict.write(path, machine=machine.describe(), clients=args.clients, seconds=args.seconds)
    print(f"written to {path}")
