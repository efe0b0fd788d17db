"""CPU per received frame (µs): loadgen against a bare epoll reader, in alternated rounds.

One gateway on CPU 0, kept for all rounds; the receiver alone on CPU 1. One topic is replayed at --rate; every client
gets each update as a frame of its own, the same --bytes for all of them. CPU is that of the whole receiver process
(utime + stime) over its window, divided by the frames that it counted in it."""

import json
import os
import tempfile

import load
from benches.fanout import FANOUT, ON_ONE_CPU, at_rate, receive
from gateway import Gateway, replay
from machine import pinned
from rounds import alternated, apart, medians

RATIO_MAX = 1.15
# A batch's own members around the value: what is left of a frame for padding.
ENVELOPE_BYTES = 187


def write_feed(path, args):
    """A second of updates, to be repeated: counted, so that no two are alike."""
    padding = "x" * max(0, args.bytes - ENVELOPE_BYTES)
    with open(path, "w") as file:
        for number in range(args.rate):
            data = {"n": number, "text": padding}
            file.write(json.dumps({"at_us": number * 1_000_000 // args.rate, "topic": "bench.t", "data": data}) + "\n")
        # A pass ends with its last update: this one makes it a second long.
        file.write(json.dumps({"at_us": 1_000_000, "topic": "unheard.t", "data": 0}) + "\n")


def bare(args, gateway):
    """(frames, payload bytes, CPU s, seconds)"""
    counts = receive(gateway.data, args.clients, args.seconds, topics="bench.*")
    return counts["frames"], counts["payload_bytes"], counts["user_s"] + counts["system_s"], counts["seconds"]


def loadgen(args, gateway):
    words = ["--connections", str(args.clients), "--topics", "bench.*", "--duration", f"{args.seconds}s"]
    report = load.run(gateway, *words, prefix=pinned(1))
    seconds = report["window"]["seconds"]
    cpu_s = report["loadgen"]["cpu_percent"] / 100 * seconds
    return report["frames"]["total"], report["bytes"]["payload"], cpu_s, seconds


def cpu_us(figures):
    frames, _, cpu_s, _ = figures
    return cpu_s / frames * 1e6


def arguments(parser):
    parser.add_argument("--clients", type=int, default=5000, help="of each receiver (5000)")
    parser.add_argument("--rate", type=int, default=8, help="frames a second to each client (8)")
    parser.add_argument("--bytes", type=int, default=1024, help="of a frame, about (1024)")
    parser.add_argument("--seconds", type=int, default=20, help="of each window (20)")
    parser.add_argument("--rounds", type=int, default=5, help="of each receiver (5)")


def run(args, verdict):
    def show(name, figures):
        frames, payload_bytes, cpu_s, seconds = figures
        per_client = frames / seconds / args.clients
        print(
            f"  {name:<8} {cpu_us(figures):6.2f} µs/frame; {per_client:5.2f} frames/s per client of"
            f" {payload_bytes / frames:6.1f} B; core {cpu_s / seconds:4.0%}",
            flush=True,
        )
        at_rate(args, verdict, name, per_client)

    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        feed = os.path.join(directory, "feed.ndjson")
        write_feed(feed, args)
        with Gateway(FANOUT + replay(feed), server=ON_ONE_CPU, prefix=pinned(0)) as gateway:
            print(f"{args.clients} clients, {args.rate} frames/s, {args.seconds} s a round")
            receivers = {"bare": lambda: bare(args, gateway), "loadgen": lambda: loadgen(args, gateway)}
            seen = alternated(receivers, args.rounds, show)
    reader, ours = medians(seen, cpu_us)
    rounds = f"rounds {apart(seen, cpu_us)}"
    verdict.ratio("CPU per received frame, loadgen ÷ a bare epoll reader", ours, reader, "µs", "<=", RATIO_MAX, rounds)
