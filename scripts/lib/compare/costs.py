"""What a frame, an idle client, a handshake and slow readers cost."""

import contextlib
import os
import signal
import time

import process
from compare.load import LOADGEN_CPU, SERVER_CPU, Load, Served, judged
from compare.results import Figure
from machine import memory_bytes, pinned
from rounds import alternated

FRAMES_PER_S = 8
# Idle: a frame a second, so that what a client needs to be sent something is counted.
IDLE_PER_S, SETTLE_S = 1, 4
SLOW = Load(own=False, per_s=100, bytes=4096, interval_ms=0)
SLOW_PERCENT, SLOW_BYTES_PER_S = 1, 16_000


@contextlib.contextmanager
def floor(args, size):
    """A bare epoll-and-send() loop."""
    command = [*pinned(SERVER_CPU), os.environ["FLOOR_BIN"], "--connections", args.clients, "--rate", FRAMES_PER_S]
    with process.running(*command, "--bytes", size) as running:
        url = f"ws://{process.listening(running)['data']}/"
        yield Served(url, running.pid, ["--send", "{topics}", "--stamp", "none"], FRAMES_PER_S)


def frames(servers, args, size, row):
    """CPU µs a frame of `size` bytes to one class."""
    load = Load(own=False, per_s=FRAMES_PER_S, bytes=size, interval_ms=0)

    def measure(served_by):
        with served_by() as served:
            report = judged(served, load, args.clients, args.window_s)
        frames = report["frames"]["total"]
        wanted = args.clients * FRAMES_PER_S * report["window"]["seconds"]
        if frames < 0.95 * wanted or report["connections"]["closed"]:
            raise RuntimeError(f"{frames} frames came, not {wanted:.0f}: {served.url}")
        cpu_s = report["server"]["cpu_percent"] / 100 * report["window"]["seconds"]
        return cpu_s / frames * 1e6, report["bytes"]["payload"] / frames

    measures = {"floor": lambda: measure(lambda: floor(args, size))}
    measures |= {name: lambda server=server: measure(lambda: server.served(load)) for name, server in servers.items()}
    show = lambda one: f"{one[0]:6.2f} µs/frame, {one[1]:.0f} B"
    for name, rounds in in_rounds(measures, args.rounds, row, show).items():
        row.figures[name] = Figure([us for us, _ in rounds], f"frames of {rounds[0][1]:.0f} B", rounds)


def in_rounds(measures, count, row, show):
    """Alternated rounds of {name: measure}: {name: [figures, …]}. One that fails has no figure, and the row says why."""
    failed = {}

    def measured(name, measure):
        if name in failed:
            return None
        try:
            return measure()
        except (OSError, RuntimeError) as error:
            failed[name] = str(error).splitlines()[-1]
            return None

    def told(name, one):
        print(f"  {name:12} {show(one) if one is not None else failed[name]}", flush=True)

    measures = {name: lambda name=name, measure=measure: measured(name, measure) for name, measure in measures.items()}
    seen = alternated(measures, count, told)
    row.figures |= {name: Figure([], why) for name, why in failed.items()}
    return {name: rounds for name, rounds in seen.items() if name not in failed}


def idle(servers, args, row):
    """Bytes of memory that one more client takes that subscribed and is sent a frame a second.

    Pages of files are not counted, memory that is shared is. Who collects garbage does so before."""
    load = Load(own=False, per_s=IDLE_PER_S, bytes=128, interval_ms=0)
    few, many = args.clients_few, args.clients_many

    def measure(server):
        with server.served(load) as served, contextlib.ExitStack() as stack:
            hold(stack, served, few)
            before = settled_bytes(served)
            hold(stack, served, many - few)
            return (settled_bytes(served) - before) / (many - few)

    measures = {name: lambda server=server: measure(server) for name, server in servers.items()}
    seen = in_rounds(measures, args.rounds_few, row, lambda one: f"{one:8.0f} B a client")
    row.figures |= {name: Figure(rounds) for name, rounds in seen.items()}


def hold(stack, served, clients):
    """That many more clients, until the stack unwinds."""
    texts = [text for flag, text in zip(served.words[::2], served.words[1::2]) if flag == "--send"]
    says = "".join(texts).replace("{topics}", '["tick.S0000"]').replace("{topic}", "tick.S0000").replace("{place}", "1")
    scheme, _, address, target = served.url.split("/", 3)
    command = [*pinned(LOADGEN_CPU), os.environ["RECEIVER_BIN"], "--address", address, "--connections", clients]
    command += ["--target", f"/{target}".replace("{topics}", "tick.S0000")]
    receiver = stack.enter_context(process.running(*command, *(["--subscribe", says] if says else [])))
    if receiver.stdout.readline() != f"connected {clients}\n":
        raise RuntimeError(f"{clients} clients could not connect to {served.url}")


def settled_bytes(served):
    time.sleep(SETTLE_S)
    if served.collects:
        os.kill(served.pid, signal.SIGUSR2)
        time.sleep(SETTLE_S / 2)
    return sum(memory_bytes(served.pid, name) for name in ("RssAnon", "RssShmem"))


def handshakes(servers, args, row, certificate=None):
    """Connections a second on one core by the CPU time that each takes, with its upgrade and its end."""
    load = Load(own=False, per_s=0, interval_ms=0, certificate=certificate)

    def measure(server):
        with server.served(load) as served:
            before = cpu_s(served.pid)
            report = judged(served, load, args.handshakes, 1, warm_up_s=0)
            established = report["connections"]["established"]
            if established < args.handshakes:
                raise RuntimeError(f"{established} of {args.handshakes} connected: {served.url}")
            return established / (cpu_s(served.pid) - before), report["setup"]["per_s"]

    measures = {name: lambda server=server: measure(server) for name, server in servers.items()}
    show = lambda one: f"{one[0]:7,.0f}/s by CPU, {one[1]:7,.0f}/s came"
    for name, rounds in in_rounds(measures, args.rounds, row, show).items():
        row.figures[name] = Figure([per_s for per_s, _ in rounds], rounds=rounds)


def cpu_s(pid):
    """Seconds of CPU time of all threads of a process, to the nanosecond; those of threads that ended are missing."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def slow(servers, args, lateness, memory):
    """What SLOW_PERCENT of readers that take SLOW_BYTES_PER_S cost: lateness of the others, and memory."""
    words = ["--slow", SLOW_PERCENT, "--slow-bytes-per-s", SLOW_BYTES_PER_S]

    def measure(server):
        reports = []
        for extra in ([], words):
            with server.served(SLOW) as served:
                reports.append(judged(served, SLOW, args.clients_slow, args.slow_s, *extra))
        quiet, disturbed = reports
        more = disturbed["server"]["rss_bytes_max"] - quiet["server"]["rss_bytes_max"]
        late, before = (report["visible_ms"]["p99"] for report in (disturbed, quiet))
        if late is None or before is None:
            raise RuntimeError("no frame came")
        return late, more / 2**20, f"{before:.0f} ms without; {how(disturbed)}"

    measures = {name: lambda server=server: measure(server) for name, server in servers.items()}
    show = lambda one: f"others' p99 {one[0]:.1f} ms, {one[2]}; {one[1]:+.1f} MiB"
    for name, rounds in in_rounds(measures, 1, lateness, show).items():
        lateness.figures[name] = Figure([late for late, _, _ in rounds], rounds[-1][2], rounds)
        memory.figures[name] = Figure([more for _, more, _ in rounds])


def how(report):
    """What became of the slow ones."""
    p50, closed = report["slow"]["visible_ms"]["p50"], report["connections"]["closed"]
    cut = f"{closed} cut; " if closed else ""
    return f"{cut}slow ones see what is {p50 / 1000:.1f} s old" if p50 is not None else f"{cut}slow ones see nothing"
