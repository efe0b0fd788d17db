"""What a change costs: the figures of this build of the gateway, divided by those of another build.

The two builds take turns, round by round; a row is the median of the rounds' ratios. There are five rows. Four are the
CPU (µs) per frame of about 1 KB to one class of 5,000 clients: plain, with deflate, with MessagePack, with TLS. The
fifth is the memory (bytes) of an idle client. One shard, 8 frames/s of quotes."""

import os
import statistics
import tempfile

from benches.quotes import PLAIN, WAYS
from benches.quotes import arguments as arguments_of_quotes
from benches.quotes import certificate, measure, memory_bytes, prepared
from load import cpu_us_of_frame
from rounds import alternated, apart, medians, ratios

RATIO_MAX = 1.05


def paired(args, verdict, name, unit, figure):
    """A row: the median of the rounds' ratios, and how far they lie apart."""

    def of(binary):
        os.environ["GATEWAY_BIN"] = binary
        return figure()

    builds = {"before": os.path.abspath(args.before), "after": os.environ["GATEWAY_BIN"]}
    try:
        seen = alternated({build: lambda binary=binary: of(binary) for build, binary in builds.items()}, args.rounds)
    finally:
        os.environ["GATEWAY_BIN"] = builds["after"]
    before, after = medians(seen)
    ratio = statistics.median(ratios(seen))
    note = f"medians {after:.2f} and {before:.2f} {unit}; rounds {apart(seen)}"
    verdict.figure(f"{name}, after ÷ before", ratio, "<=", RATIO_MAX, note=note)


def arguments(parser):
    parser.add_argument("before", help="the other build of the gateway")
    arguments_of_quotes(parser)
    parser.add_argument("--only", choices=[*WAYS, "memory"], action="append", help="this row; repeatable")
    parser.set_defaults(rounds=9, seconds=6)


def run(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        args.path = os.path.join(directory, "feed.ndjson")
        _, args.certificate = certificate(directory)
        prepared(args.feed, args.path, args.seconds)
        for name in args.only or [*WAYS, "memory"]:
            with verdict.part(name):
                if name == "memory":
                    paired(args, verdict, "memory of an idle client", "B", lambda: memory_bytes(args, PLAIN))
                else:
                    cpu = lambda: cpu_us_of_frame(measure(args, WAYS[name]))
                    paired(args, verdict, f"CPU per frame, {name}", "µs", cpu)
