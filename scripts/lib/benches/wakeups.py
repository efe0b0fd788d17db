"""What it takes to serve many classes of few: 3,000 clients with 20 topics each of 1,000 of their own, 4 frames/s each,
2,000 updates/s. io_uring_enter, switches and CPU of the shard's thread over a window, per frame that it handed out; with
--before beside another build, with --deflate beside clients whose frames are compressed, in alternated rounds.

The system calls are those that the shard counts, its sleeps included. Builds that slept in their executor's ring made
more, which they did not count: --strace counts all of them in a window of its own, which it slows down. Gateway on CPU
0, loadgen on CPU 1."""

import os
import statistics
import subprocess
import time

import load
import process
from gateway import Gateway, synthetic
from machine import field, pinned
from rounds import alternated, medians, ratios

TOPICS, UPDATES_PER_S, OWN, INTERVAL_MS = 1000, 2000, 20, 250
ENTERS_MAX, CPU_RATIO_MAX, DEFLATE_RATIO_MAX = 0.15, 0.5, 2.0
# Until everyone is there and buffers have their size; and what loadgen needs beside the window.
SETTLE_S, SPARE_S, STRACE_S = 4, 4, 3


def shard(gateway):
    """The directory of its first shard's thread; the executor's helper, which has the same name, was begun after it."""
    tasks = f"/proc/{gateway.pid}/task"
    for task in sorted(os.listdir(tasks), key=int):
        with open(f"{tasks}/{task}/comm") as comm:
            if comm.read().startswith("shard0"):
                return f"{tasks}/{task}"
    raise RuntimeError("no thread is called shard0")


def totals(gateway, *names):
    """Of metrics, all of their labels together."""
    lines = gateway.request("GET", "/metrics")[1].splitlines()
    return [sum(float(line.split()[-1]) for line in lines if line.startswith(name)) for name in names]


def counts(gateway, thread):
    """Frames, system calls, voluntary switches and CPU (µs) so far."""
    frames, enters = totals(gateway, "fanwire_frames_out", "fanwire_ring_enters")
    with open(f"{thread}/stat") as file:
        ticks = file.read().rsplit(")", 1)[1].split()[11:13]
    cpu_us = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") * 1e6
    switches = int(field(f"{thread}/status", "voluntary_ctxt_switches"))
    return frames, enters, switches, cpu_us


def window(gateway, thread, seconds):
    """What a frame took: system calls, switches, CPU (µs); and frames a second."""
    before, began = counts(gateway, thread), time.monotonic()
    time.sleep(seconds)
    frames, *others = (b - a for a, b in zip(before, counts(gateway, thread)))
    if not frames:
        raise RuntimeError("no frame was handed out")
    return [*(each / frames for each in others), frames / (time.monotonic() - began)]


def traced(gateway, thread):
    """System calls of the thread's io_urings a frame, counted by strace."""
    command = ["strace", "-c", "-e", "trace=io_uring_enter", "-p", os.path.basename(thread)]
    before = counts(gateway, thread)[0]
    tracer = process.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(STRACE_S)
    tracer.send_signal(2)
    told = tracer.communicate()[1]
    frames = counts(gateway, thread)[0] - before
    lines = [line.split() for line in told.splitlines() if line.rstrip().endswith("io_uring_enter")]
    return int(lines[0][3]) / frames if lines else None


def measure(args, binary, *others):
    config = synthetic(TOPICS, UPDATES_PER_S)
    with Gateway(config, binary=binary, server="shards = 1\ncpus = [0]", prefix=pinned(0)) as gateway:
        seconds = SETTLE_S + args.seconds + SPARE_S + (STRACE_S if args.strace else 0)
        words = ["--connections", str(args.clients), "--topics", f"tick.S{{0000..{TOPICS - 1:04}}}"]
        words += ["--interests", f"zipf:{OWN}", "--interval-ms", str(INTERVAL_MS), "--duration", f"{seconds}s", *others]
        running = load.start(gateway, *words, prefix=pinned(1))
        thread = shard(gateway)
        time.sleep(SETTLE_S)
        while totals(gateway, "fanwire_connections{") != [args.clients]:
            if running[0].poll() is not None:
                load.held(load.finish(running))
                raise RuntimeError("loadgen ended before everyone was there")
            time.sleep(0.5)
        figures = window(gateway, thread, args.seconds)
        strace = traced(gateway, thread) if args.strace else None
        report = load.held(load.finish(running))
    return [*figures, report["visible_ms"]["p50"], report["visible_ms"]["p99"], strace]


def show(name, figures):
    enters, switches, cpu_us, per_s, p50, p99, strace = figures
    told = f", {strace:.3f} by strace" if strace is not None else ""
    print(
        f"{name:<8} {per_s:>8,.0f} frames/s  {enters:.3f} enters a frame{told}  {switches:.3f} switches  "
        f"{cpu_us:.2f} µs  visible p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        flush=True,
    )


def arguments(parser):
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--before", help="another build of the gateway")
    beside.add_argument("--deflate", action="store_true", help="the same clients with permessage-deflate")
    parser.add_argument("--clients", type=int, default=3000, help="(3000)")
    parser.add_argument("--seconds", type=int, default=10, help="of each window (10)")
    parser.add_argument("--rounds", type=int, default=3, help="of each build (3)")
    parser.add_argument("--strace", action="store_true", help="count system calls by strace too")


def run(args, verdict):
    binary = os.environ["GATEWAY_BIN"]
    measures = {"after": lambda: measure(args, binary)}
    if args.before:
        measures = {"before": lambda: measure(args, os.path.abspath(args.before)), **measures}
    if args.deflate:
        measures = {**measures, "deflate": lambda: measure(args, binary, "--deflate")}
    seen = alternated(measures, args.rounds, show)
    enters = statistics.median(figures[0] for figures in seen["after"])
    verdict.figure("io_uring_enter a frame", enters, "<=", ENTERS_MAX)
    cpu = medians(seen, lambda figures: figures[2])
    if len(measures) == 1:
        return verdict.figure("CPU of the shard a frame", cpu[0], unit="µs")
    first, second = measures
    ratio = statistics.median(ratios(seen, lambda figures: figures[2]))
    goal = CPU_RATIO_MAX if args.before else DEFLATE_RATIO_MAX
    note = f"{cpu[1]:.2f} ÷ {cpu[0]:.2f} µs a frame"
    verdict.figure(f"CPU of the shard, {second} ÷ {first}", ratio, "<=", goal, note=note)
