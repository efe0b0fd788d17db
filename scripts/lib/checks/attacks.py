"""Attacks beside 1,000 honest clients, and faults of the machine.

The gateway has CPU 0, one shard and the limits of configs/production.toml; clients and attackers have CPU 1, and
attackers get it only when nobody else wants it. Honest clients are loadgen's, at 100 ms. Of each attack: their `visible`
p99 ÷ that of quiet rounds, medians; what they lost; the gateway's memory at its highest above what `gateway --check`
says that its limits allow; and what the gateway counted. `spinning` attacks nobody: it takes the attackers' CPU, and
shows what that alone does. The table is written to target/attacks.md."""

import contextlib
import os
import pathlib
import re
import statistics
import tempfile
import time

import load
import process
from attacks import admin, faults
from attacks.attack import Target
from attacks.attacker import ATTACKS, Attacker
from attacks.client import epoch_of
from attacks.table import Row, markdown
from benches import quotes
from checks import proxies
from gateway import Gateway, synthetic
from machine import ROOT, cpu_s, memory_bytes, pinned
from production import fill, production
from rounds import alternated

P99_RATIO_MAX = 1.25
TOPICS, VALUE = 100_000, "v" * 40
ADDRESSES = 10
# Topics and updates a second of the source, and groups a second that are published over HTTP.
SYMBOLS, UPDATES_PER_S, GROUPS_PER_S = 20, 200, 5
# From the begin of an attack to the window of the clients.
BEGINS_S, CONNECTS_S = 4, 20
# Of the most memory that a process had.
FORGET_PEAK = "5"
LIMIT = re.compile(r"^# at most (\d+) bytes of memory", re.MULTILINE)


def keys(directory):
    """[access] with two keys, of which nobody has the private one."""
    secret, public = (os.path.join(directory, name) for name in ("hs.key", "es.pem"))
    with open(secret, "wb") as file:
        file.write(os.urandom(32).hex().encode())
    private = process.output("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    with tempfile.NamedTemporaryFile("w", dir=directory) as file:
        file.write(private)
        file.flush()
        process.output("openssl", "pkey", "-in", file.name, "-pubout", "-out", public)
    told = (("HS256", "secret_file", secret), ("ES256", "public_file", public))
    tables = (f'[[access.key]]\nalg = "{alg}"\n{key} = "{path}"\n' for alg, key, path in told)
    return '[access]\nclients = "open"\n' + "".join(tables)


@contextlib.contextmanager
def served(way):
    """(a gateway, where clients connect), filled with topics."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="fanwire-"))
        server = quotes.certificate(directory)[1] + quotes.ON_ONE_CPU + 'drain = "1s"\n'
        server += proxies.REQUIRED if way == "proxied" else ""
        config = keys(directory) + production()[0] + synthetic(SYMBOLS, UPDATES_PER_S)
        gateway = stack.enter_context(Gateway(config, server=server, prefix=pinned(0), log=True))
        fill(gateway, TOPICS, VALUE, lambda n: f"big.s{n % 50}.t{n:06}")
        if way == "proxied":
            address = stack.enter_context(proxies.proxy(proxies.WAYS[0], gateway.data, pinned(1)))
            yield gateway, f"ws://{address}/ws"
        else:
            yield gateway, gateway.url


def allowed_bytes(gateway):
    """What the gateway says that its limits allow."""
    told = LIMIT.search(process.output(*gateway.command, "--check"))
    if not told:
        raise RuntimeError("gateway --check does not say how much memory its limits allow")
    return int(told[1])


def honest(args, gateway, url):
    """A load of honest clients whose window begins BEGINS_S after they are there, and which are there."""
    sources = ",".join(f"127.0.5.{n + 1}" for n in range(ADDRESSES))
    words = ["--connections", str(args.clients), "--interval-ms", "100", "--source-ip", sources]
    words += ["--topics", f"tick.S{{0000..{SYMBOLS - 1:04}}}", "--interests", args.interests]
    words += ["--warm-up", f"{BEGINS_S}s", "--duration", f"{args.seconds}s", "--threads", "1"]
    # Where each has interests of its own, groups would not reach all.
    words += ["--publish", str(GROUPS_PER_S)] if args.interests == "one" else []
    running = load.start(gateway, *words, url=url, prefix=pinned(1))
    ends = time.monotonic() + CONNECTS_S
    while gateway.clients() < args.clients:
        if time.monotonic() > ends or running[0].poll() is not None:
            process.end(running[0])
            running[2].seek(0)
            raise RuntimeError(f"the honest clients do not connect: {running[2].read()}")
        time.sleep(0.1)
    return running


def measure(args, attack):
    with served(attack.way) as (gateway, url):
        epoch = "" if attack.run else epoch_of(url)
        running = honest(args, gateway, url)
        before, resident, cpu = gateway.metrics(), memory_bytes(gateway.pid, "VmRSS"), cpu_s(gateway.pid)
        pathlib.Path(f"/proc/{gateway.pid}/clear_refs").write_text(FORGET_PEAK)
        tls = gateway.tls_url.split("/")[2]
        attacker = Attacker(Target(gateway.data, tls, gateway.admin, gateway.pid, epoch), attack)
        try:
            report, wrong = load.finish(running)
        finally:
            counts, attacker_cpu_s, seconds = attacker.end()
        peak, after = memory_bytes(gateway.pid, "VmHWM"), gateway.metrics()
        rises = {series: after.get(series, 0) - before.get(series, 0) for series in attack.counted}
        return Row(
            p99_ms=report["visible_ms"]["p99"],
            lost=report["updates"]["lost"] + report["final"]["lost"],
            wrong=wrong,
            grown_bytes=peak - resident,
            over_bytes=max(0, peak - allowed_bytes(gateway)),
            rises={series: rise for series, rise in rises.items() if rise},
            rates={what: count / seconds for what, count in counts.items()},
            gateway_cpu=(cpu_s(gateway.pid) - cpu) / seconds,
            attacker_cpu=attacker_cpu_s / seconds,
        )


def judge(attack, rows, quiet_ms, verdict):
    """The figures of an attack's rounds."""
    p99 = statistics.median(row.p99_ms for row in rows)
    verdict.ratio(f"{attack.name}: visible p99 ÷ quiet", p99, quiet_ms, "ms", "<=", P99_RATIO_MAX, rows[0].pressure())
    verdict.figure(f"{attack.name}: lost", sum(row.lost for row in rows), "==", 0)
    verdict.figure(f"{attack.name}: memory above the limits", max(row.over_bytes for row in rows), "==", 0, "B")
    for what in (what for row in rows for what in row.wrong):
        verdict.say(f"{attack.name}: {what}")
    if attack.counted and not any(row.rises for row in rows):
        verdict.say(f"{attack.name}: the gateway counted nothing of it: {', '.join(attack.counted)}")


def compare(args, chosen, verdict):
    """Attacks of one way to reach the gateway beside quiet rounds."""
    quiet = admin.QUIET._replace(way=chosen[0].way)
    measures = {"quiet": quiet, **{one.name: one for one in chosen}, "quiet again": quiet}
    seen = alternated({name: lambda one=one: measure(args, one) for name, one in measures.items()}, args.rounds,
                      lambda name, row: print(f"{name:<14} {row.told()}", flush=True))
    ours = [*seen.pop("quiet"), *seen.pop("quiet again")]
    quiet_ms = statistics.median(row.p99_ms for row in ours)
    judge(quiet, ours, quiet_ms, verdict)
    for one in chosen:
        judge(one, seen[one.name], quiet_ms, verdict)
    return [(one, seen[one.name], quiet_ms) for one in chosen]


def arguments(parser):
    names = [admin.SPINNING.name, *ATTACKS, *faults.FAULTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"repeatable: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one round in place of three")
    parser.add_argument("--clients", type=int, default=1000, help="honest ones (1000)")
    parser.add_argument("--interests", default="one", help="of honest ones, as loadgen takes it (one)")
    parser.add_argument("--seconds", type=int, default=8, help="of each window (8)")


def run(args, verdict):
    args.rounds = 1 if args.quick else 3
    chosen = [one for one in (admin.SPINNING, *ATTACKS.values()) if not args.only or one.name in args.only]
    rows = []
    for way in dict.fromkeys(one.way for one in chosen):
        with verdict.part(way):
            rows += compare(args, [one for one in chosen if one.way == way], verdict)
    if rows:
        (ROOT / "target" / "attacks.md").write_text(markdown(rows))
    for name, fault in faults.FAULTS.items():
        if not args.only or name in args.only:
            with verdict.part(name):
                fault(args, verdict)
