"""What io_uring and epoll cost beside each other: the same build and the same clients, in alternated rounds. A row is the
median of the rounds' ratios, io_uring's figure ÷ epoll's.

CPU (µs) per frame of about 1 KB to one class of 5,000 clients, 8 frames/s, plain and with TLS; CPU of the shard's thread
per frame where each of 3,000 clients has 20 topics of its own, 4 frames/s; memory (bytes) of an idle client. One shard on
CPU 0, loadgen on CPU 1. No goals: it says which one pays where."""

import argparse
import os
import statistics
import tempfile

from benches import wakeups
from benches.quotes import FEED, PLAIN, TLS, certificate, measure, memory_bytes, prepared
from load import cpu_us_of_frame
from rounds import alternated, apart, medians, ratios

KEY = "FANWIRE_SERVER__IO"


def on(backend, figure):
    """The figure of a gateway that is told which one to use."""
    os.environ[KEY] = backend
    try:
        return figure()
    finally:
        del os.environ[KEY]


def compared(args, verdict, name, unit, figure):
    seen = alternated({io: lambda io=io: on(io, figure) for io in ("epoll", "io_uring")}, args.rounds)
    epoll, uring = medians(seen)
    note = f"medians {uring:.2f} and {epoll:.2f} {unit}; rounds {apart(seen)}"
    verdict.figure(f"{name}, io_uring ÷ epoll", statistics.median(ratios(seen)), note=note)


def arguments(parser):
    parser.add_argument("--clients", type=int, default=5000, help="of one class (5000)")
    parser.add_argument("--many", type=int, default=18000, help="idle clients whose memory is measured (18000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each (5)")
    parser.add_argument("--seconds", type=int, default=6, help="of each window (6)")


def run(args, verdict):
    own = argparse.Namespace(clients=3000, seconds=args.seconds, strace=False)
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        args.path = os.path.join(directory, "feed.ndjson")
        _, args.certificate = certificate(directory)
        prepared(FEED, args.path, args.seconds)
        rows = {
            "CPU per frame, one class": ("µs", lambda: cpu_us_of_frame(measure(args, PLAIN))),
            "CPU per frame, one class, TLS": ("µs", lambda: cpu_us_of_frame(measure(args, TLS))),
            "CPU per frame, own topics": ("µs", lambda: wakeups.measure(own, os.environ["GATEWAY_BIN"])[2]),
            "memory of an idle client": ("B", lambda: memory_bytes(args, PLAIN)),
        }
        for name, (unit, figure) in rows.items():
            with verdict.part(name):
                compared(args, verdict, name, unit, figure)
