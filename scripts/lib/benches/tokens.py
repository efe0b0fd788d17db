"""What tokens cost, and how soon a crowd that has them is back. Three parts, of which --only names some.

`memory`: growth of the gateway's memory from --from to --to idle subscribed clients on one shard, as `scripts/bench
memory` measures it: without a token, which --before compares with another build, and with a token each of HS256 with
its own `sub`, `jti` and two grants. What a client is in tables of the shard has its size asserted in the sources.

`frames`: instructions of a frame to each of 1,000 clients of one class that have all shown a token ÷ that have none,
counted by callgrind: the row `frame-tokens` of `scripts/bench costs`.

`crowd`: --clients with tokens of ES256, each of its own, at rest; and --others at 100 ms that see values which change
all the time. The crowd's process is halted, the gateway is killed and started again, the others connect; then the
crowd goes on, and all of it comes back at once. It is back from the first cut that it sees until the last client has
its values again. The others' p99 comes from as many seconds as the crowd took in the round before (the first round
is only for that), once beside the crowd at rest and once while it comes back. Figures are medians of rounds."""

import argparse
import json
import math
import os
import signal
import statistics
import tempfile
import time
import uuid

import keys
import load
from benches import costs, memory
from benches.capacity import connections, start_again, wait_for_ports
from gateway import Gateway, synthetic
from rounds import alternated

PARTS = ("memory", "frames", "crowd")
TOKENS = '[access]\nclients = "token"\n'
WITHOUT_BYTES_MAX, WITH_BYTES_MAX = 8, 256
BACK_S_MAX, P99_MORE_MS_MAX = 12, 20
# No token of the memory's clients ends meanwhile.
LIVES_S = 3600
FEED = synthetic(100, 1000)
CONNECTS_S, OTHERS_CONNECT_S, WARM_UP_S = 60, 0.5, 2
# Until a process that is told to halt has halted.
HALTS_S = 0.2
PROMISES = ["connections.failed==0", "tokens.refused==0", "tokens.dropped==0", "updates.lost==0", "final.lost==0"]


def tokens_of(directory, key, name, clients):
    """A file of tokens, a line each, with as many grants of its own as others have."""
    path = os.path.join(directory, name)
    exp = int(time.time()) + LIVES_S
    with open(path, "w") as file:
        for n in range(clients):
            sub = f"{name}{n:05}@example.com"
            claims = {"sub": sub, "jti": str(uuid.uuid4()), "exp": exp}
            claims["fanwire"] = {"subscribe": ["*", f"user.{name}{n:05}.*"]}
            file.write(keys.token(key, claims) + "\n")
    return path


def remember(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        key, table = keys.secret(directory)
        shown = lambda name, clients: ("--token-file", tokens_of(directory, key, name, clients))
        measures = {"without": lambda: memory.measure(args)}
        if args.before:
            before = os.path.abspath(args.before)
            measures = {"before": lambda: memory.measure(args, binary=before), **measures}
        measures["with"] = lambda: memory.measure(args, TOKENS + table, shown)
        show = lambda name, growth: print(f"  {name:<8} {growth.each:7.1f} B a client; {growth.steps}", flush=True)
        seen = alternated(measures, args.rounds, show)
    each = {name: statistics.median(growth.each for growth in rounds) for name, rounds in seen.items()}
    without = each["without"]
    if args.before:
        more, note = without - each["before"], f"{without:.1f} and {each['before']:.1f} B"
        verdict.figure("memory of a client without a token, above before", more, "<=", WITHOUT_BYTES_MAX, "B", note)
    more, note = each["with"] - without, f"{each['with']:.1f} and {without:.1f} B"
    verdict.figure("memory of a client's own token", more, "<=", WITH_BYTES_MAX, "B", note)


def count(_, verdict):
    rows = [json.loads(line) for line in costs.program("--list").splitlines()]
    row = next(row for row in rows if row["name"] == "frame-tokens")
    costs.measure(row, argparse.Namespace(instructions=True, counted=3), verdict)


class Crowd:
    """Clients whose token is of their own, and beside them others that look at values. `key`: words for loadgen."""

    def __init__(self, args, directory, key, table):
        self.args, self.directory, self.key, self.config = args, directory, key, FEED + TOKENS + table

    def load(self, gateway, name, clients, *words):
        report = os.path.join(self.directory, f"{name}.json")
        words = ["--connections", str(clients), *self.key, *words]
        return load.start(gateway, *words, promises=PROMISES, report=report)

    def watched(self, gateway, seconds, beside=lambda: None):
        """The others' p99 in ms over so many seconds, at whose begin `beside` is called."""
        words = ["--topics", "tick.*", "--interval-ms", "100", "--duration", f"{seconds}s"]
        running = self.load(gateway, "others", self.args.others, *words, "--warm-up", f"{WARM_UP_S}s")
        # Metrics may be a second old: too late to tell when the window begins.
        time.sleep(OTHERS_CONNECT_S + WARM_UP_S)
        beside()
        report = load.held(load.finish(running))
        if report["setup"]["seconds"] > OTHERS_CONNECT_S:
            raise RuntimeError(f"the others were there after {report['setup']['seconds']:.2f} s, not {OTHERS_CONNECT_S}")
        return report["visible_ms"]["p99"]

    def round(self, seconds):
        """(seconds until all were back, the others' p99 beside them at rest, and while they came back)."""
        wait_for_ports()
        with Gateway(self.config) as gateway:
            gateway.publish(("notes.a", 1))
            words = ["--topics", "notes.*", "--interval-ms", "1000", "--reconnect", "--duration", "1h"]
            running = self.load(gateway, "crowd", self.args.clients, *words)
            until(gateway, self.args.clients, running)
            quiet = self.watched(gateway, seconds)
            crowd, *_ = running
            crowd.send_signal(signal.SIGSTOP)
            time.sleep(HALTS_S)
            gateway.process.kill()
            gateway.process.wait()
            with start_again(gateway, self.config, "") as again:
                again.publish(("notes.a", 2))
                busy = self.watched(again, seconds, lambda: crowd.send_signal(signal.SIGCONT))
                until(again, self.args.clients, running)
                # The first ends the window.
                crowd.send_signal(signal.SIGINT)
                report = load.held(load.finish(running))
        restart = report["restart"]
        if (restart["cut"], restart["returned"]) != (self.args.clients, self.args.clients):
            raise RuntimeError(f"of {self.args.clients} clients {restart['cut']} were cut, {restart['returned']} came back")
        return restart["seconds"], quiet, busy


def until(gateway, count, running):
    """Until the gateway counts so many connections."""
    ends = time.monotonic() + CONNECTS_S
    while (seen := connections(gateway)) < count:
        if running[0].poll() is not None:
            load.held(load.finish(running))
        if running[0].poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"{seen} of {count} are connected after {CONNECTS_S} s, or loadgen has ended")
        time.sleep(0.05)


def come_back(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        private, table = keys.pair(directory)
        crowd = Crowd(args, directory, ["--token-key", private, "--token-alg", "ES256"], table)
        seconds, rounds = BACK_S_MAX, []
        for _ in range(args.rounds + 1):
            back, quiet, busy = crowd.round(seconds)
            rounds.append((back, quiet, busy))
            print(f"  back after {back:.2f} s; others {quiet:.1f} ms, meanwhile {busy:.1f} ms, of {seconds} s", flush=True)
            seconds = math.ceil(back)
    back, quiet, busy = map(statistics.median, zip(*rounds[1:]))
    verdict.figure(f"{args.clients:,} clients with tokens of ES256 are back", back, "<=", BACK_S_MAX, "s")
    note = f"{busy:.1f} and {quiet:.1f} ms"
    verdict.figure("others' visible p99 meanwhile, above at rest", busy - quiet, "<=", P99_MORE_MS_MAX, "ms", note)


def arguments(parser):
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; repeatable")
    parser.add_argument("--before", help="another build of the gateway, for the memory of a client without a token")
    parser.add_argument("--clients", type=int, default=20_000, help="of the crowd (20000)")
    parser.add_argument("--others", type=int, default=100, help="beside it (100)")
    parser.add_argument("--rounds", type=int, default=3, help="of memory and of the crowd (3)")
    memory.arguments(parser)


def run(args, verdict):
    parts = dict(zip(PARTS, (remember, count, come_back)))
    for name in args.only or PARTS:
        with verdict.part(name):
            parts[name](args, verdict)
