"""Fanwire beside what else there is: the same updates, the same loadgen, server on CPU 0, generator on CPU 1.

An update bears the moment at which it fell due. A server takes it in, and a client's frame counts as late as the oldest
update that it stands for, conflated ones included. So a server that conflates, or is behind, is late by as much.

  a128, a1K  CPU of one frame to one class (µs), beside a bare epoll-and-send() loop's
  b1         clients a core at a p99 of 500 ms: own Zipf watchlists of 20 in 1,000 topics, 2,000 updates/s, each published
             as it comes; Fanwire conflates at its interval of 250 ms, which takes no application
  b2         the same, conflated by each application every 250 ms into one frame a client
  c          b2 over TLS 1.3 with permessage-deflate
  d          memory of one more client that is sent a frame a second (bytes)
  e, e-tls   connections a second on one core by CPU time, plain and with TLS 1.3
  f          1 % of readers that take 16 KB/s: the others' p99 (ms), the server's memory (MiB)

Writes target/compare/compare.md (the table), compare.json (everything) and compare.png (the plot). Wants a machine with
two cores to itself. Installs and builds what it lacks, under target/tools where it is no system package."""

import argparse
import os
import signal
import sys
import tempfile
from types import SimpleNamespace

import tools
from benches.quotes import certificate
from compare import capacity, costs, fanwire
from compare.load import EVERY_MS, VISIBLE_MS, Load, judged
from compare.results import FANWIRE, Figure, Results
from compare.rivals import PEERS, RIVALS
from machine import describe
from verdict import Verdict

PROGRAMS = ("gateway", "loadgen", "feed", "floor", "receiver")
# Clients that the search of a row begins with: about what was found before, so that few steps are needed.
FIRST = {
    "b1": {"fanwire": 17000, "uws": 17000, "bun": 17000, "ws": 2600, "tungstenite": 17000, "gorilla": 2600, "nats": 4600,
           "nchan": 2000},
    "b2": {"fanwire": 17000, "uws": 17000, "bun": 17000, "ws": 14000, "tungstenite": 15000, "gorilla": 10000},
    "c": {"fanwire": 18000, "uws": 9000, "bun": 9000, "ws": 4000, "gorilla": 6000},
}
CODE_MARKS = ("//", "/*", "*", "#", "'use strict'", "\"use strict\"")


def clients_a_core(key, title, load):
    def run(context):
        row = context.results.row(key, title, "clients a core", True)
        servers = context.able(key, row)
        given = Load(**load(context.certificate))
        loads = {name: plain_interval(given) if name == FANWIRE else given for name in servers}
        found = capacity.capacity(servers, loads, FIRST[key], context.args)
        for name, (clients, rounds, steps) in found.items():
            row.figures[name] = capacity_figure(name, clients, rounds, steps, loads[name])
        return row

    return run


def plain_interval(load):
    """Fanwire's clients ask for an interval; nothing else conflates."""
    return Load(interval_ms=EVERY_MS, certificate=load.certificate, deflate=load.deflate)


def capacity_figure(name, clients, rounds, steps, load):
    if not clients:
        return Figure([], f"not even {capacity.FEWEST}: {steps[-1].why}", steps)
    whole = capacity.whole_core(clients, rounds)
    limits = sorted({one.limit() for one in rounds})
    note = f"limit: {', '.join(limits)}"
    if whole != clients:
        note += f"; {clients} were served, scaled to a whole core"
    if name != FANWIRE and load.every_ms:
        note += f"; the application's conflation: {lines(RIVALS[name].code)} lines"
    settings = fanwire.settings(load) if name == FANWIRE else ""
    p99 = [f"{one.p99_ms:.0f}" for one in rounds]
    note += f"; p99 of the rounds {', '.join(p99)} ms"
    return Figure([whole], note, [*steps, *rounds], settings)


def lines(files):
    """Lines of code, without blank ones and comments."""
    texts = [line.strip() for name in files for line in (PEERS / name).read_text().splitlines()]
    return sum(bool(line) and not line.startswith(CODE_MARKS) for line in texts)


def frame_row(key, title, size):
    def run(context):
        row = context.results.row(key, title, "µs", False)
        costs.frames(context.able(key, row), context.args, size, row)
        return row

    return run


def idle(context):
    row = context.results.row("d", "memory of one more client", "B", False)
    costs.idle(context.able("d", row), context.args, row)
    return row


def handshake_row(key, title, tls):
    def run(context):
        row = context.results.row(key, title, "a second", True)
        costs.handshakes(context.able(key, row), context.args, row, context.certificate if tls else None)
        return row

    return run


def slow(context):
    what = f"{costs.SLOW_PERCENT} % of slow readers"
    lateness = context.results.row("f", f"p99 of the others beside {what}", "ms", False)
    memory = context.results.row("f-memory", f"memory that {what} take", "MiB", False, True)
    costs.slow(context.able("f", lateness), context.args, lateness, memory)
    return lateness


ROWS = {
    "a128": frame_row("a128", "CPU of a frame of 128 B", 128),
    "a1K": frame_row("a1K", "CPU of a frame of 1 KB", 1024),
    "b1": clients_a_core("b1", "own watchlists, each update as it comes", lambda _: {}),
    "b2": clients_a_core("b2", "own watchlists, conflated", lambda _: {"every_ms": EVERY_MS}),
    "c": clients_a_core(
        "c", "b2, TLS and deflate", lambda tls: {"every_ms": EVERY_MS, "certificate": tls, "deflate": True}
    ),
    "d": idle,
    "e": handshake_row("e", "connections", False),
    "e-tls": handshake_row("e-tls", "connections with TLS", True),
    "f": slow,
}
# Of the rows: Fanwire ÷ whom, how it compares, the goal.
GOALS = {
    "a128": [("floor", "<=", 1.0), ("uws", "<=", 0.95)],
    "a1K": [("floor", "<=", 1.0), ("uws", "<=", 0.95)],
    "b1": [("best", ">=", 5)],
    "b2": [("best", ">=", 1.3)],
    "c": [("best", ">=", 5)],
    "d": [("best", "<=", 1.0)],
}


def judge(row, verdict):
    """The goals of a row, as far as those that they speak of were measured."""
    ours = row.figures.get(FANWIRE)
    for against, comparison, goal in GOALS.get(row.key, []):
        theirs = row.best_rival() if against == "best" else (against, row.figures.get(against, Figure([])).median)
        if not ours or not theirs or theirs[1] is None:
            continue
        what = f"{row.key}: {row.title}, Fanwire ÷ {theirs[0]}"
        if ours.median is None:
            verdict.figure(what, None, comparison, goal)
        else:
            verdict.ratio(what, ours.median, theirs[1], row.unit, comparison, goal)


class Context(SimpleNamespace):
    """`servers`: {name: what has `served(load)`}, all that are measured."""

    def able(self, key, row):
        """Those that can do a row; the row says why the others cannot."""
        cannot = {name: server.cannot[key] for name, server in self.servers.items() if key in server.cannot}
        row.figures |= {name: Figure([], why) for name, why in cannot.items()}
        return {name: server for name, server in self.servers.items() if name not in cannot}


def parsed(words):
    layout = argparse.RawDescriptionHelpFormatter
    end = f"rivals: {', '.join(RIVALS)}\nExit codes: 0 every goal was met, 1 not so, 2 wrong arguments."
    parser = argparse.ArgumentParser("scripts/compare", description=__doc__, epilog=end, formatter_class=layout)
    parser.add_argument("--only", choices=ROWS, action="append", metavar="ROW", help="this row; repeatable")
    parser.add_argument("--rival", choices=RIVALS, action="append", metavar="NAME", help="this rival; repeatable")
    parser.add_argument("--quick", action="store_true", help="one short round of each: minutes, and figures that waver")
    parser.add_argument("--smoke", action="store_true", help="only whether each rival's program serves: seconds each")
    parser.add_argument("--out", default=tools.TARGET / "compare", help="where to write (target/compare)")
    args = parser.parse_args(words)
    args.rounds, args.rounds_few = (1, 1) if args.quick else (3, 2)
    args.search_s, args.window_s, args.slow_s = (3, 4, 15) if args.quick else (4, 8, 25)
    args.clients, args.clients_slow, args.handshakes = (2000, 200, 2000) if args.quick else (5000, 500, 5000)
    args.clients_few, args.clients_many = (1000, 4000) if args.quick else (2000, 18000)
    return args


def set_up(names, verdict):
    """{name: rival} of those that could be had here."""
    tools.need(*PROGRAMS, "openssl")
    had = {}
    for name in names:
        with verdict.part(f"{name} is not here"):
            tools.need(*RIVALS[name].needs)
            had[name] = RIVALS[name]
    return had


def smoke(servers, tls, verdict):
    """Each server brings frames in each way that it has."""
    ways = {
        "b1": Load(),
        "b2": Load(every_ms=EVERY_MS),
        "c": Load(every_ms=EVERY_MS, certificate=tls, deflate=True),
        "e-tls": Load(own=False, per_s=20, bytes=128, certificate=tls),
    }
    for name, server in servers.items():
        for key, load in ways.items():
            if key in server.cannot:
                continue
            with verdict.part(f"{name} {key}"), server.served(load) as served:
                report = judged(served, load, 20, 1, warm_up_s=0.5)
                p99 = report["visible_ms"]["p99"]
                deflating = not load.deflate or report["connections"]["deflating"] == 20
                come = p99 is not None and p99 < VISIBLE_MS and deflating
                verdict.figure(f"{name} {key}: frames/s", report["frames"]["per_s"], ">=", 20, note=f"p99 {p99} ms")
                if not come:
                    verdict.say(f"{name} {key}: p99 {p99} ms, {report['connections']['deflating']} with compression")


def main(words):
    args = parsed(words)
    os.environ.setdefault("PROFILE", "release")
    os.environ.setdefault("RUST_LOG", "warn")
    verdict = Verdict()
    try:
        had = set_up(args.rival or RIVALS, verdict)
    except tools.Missing as error:
        verdict.say(f"set-up: {error}")
        return verdict.end()
    ours = SimpleNamespace(served=fanwire.served, cannot={})
    servers = {FANWIRE: ours, **had}
    results = Results(describe(), args.quick)
    results.server(FANWIRE, "Fanwire", describe()["commit"], "one shard; the interval of each row")
    for name, rival in had.items():
        results.server(name, rival.title, rival.version(), rival.settings)
    results.server("floor", "floor", "", "one thread, epoll, one send() a client, nothing else")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        files, _ = certificate(directory)
        if args.smoke:
            smoke(servers, files, verdict)
            return verdict.end()
        measure(Context(args=args, servers=servers, results=results, certificate=files), verdict)
    return verdict.end()


def measure(context, verdict):
    args, results = context.args, context.results
    out = tools.pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for key in args.only or ROWS:
        print(f"{key}:", flush=True)
        with verdict.part(key):
            judge(ROWS[key](context), verdict)
        # After each row, so that a run that is ended has what it measured.
        results.write(out)
    draw(out, verdict)
    print(f"\n{results.markdown()}")
    verdict.write(out / "verdict.json")


def draw(out, verdict):
    with verdict.part("plot"):
        tools.need("rivals")
        plot = tools.ROOT / "scripts" / "lib" / "compare" / "plot.py"
        tools.call(tools.RIVALS / "bin" / "python", plot, out / "compare.json", out / "compare.png")


if __name__ == "__main__":
    # As an exception, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
