"""Exactness under load, and what slow clients cost the others. Run by scripts/exact-load."""

import argparse
import contextlib
import statistics
import sys
import tempfile

import load
from exact_check import LEAD_S, POLICIES, Truth, prepared, served
from gateway import Gateway

INTERVALS_MS = (0, 100, 1000, 5000)
DISTURBED = ["--slow", "5", "--slow-bytes-per-s", "16384", "--stall", "5", "--stall-for", "8s", "--stagger", "15s"]
PROMISES = [promise for promise in load.PROMISES if "resumed" not in promise] + ["final.differ==0", "final.tables>0"]
# More bytes a second than loopback carries make everyone fall behind, each with frames of its own. And who is slow
# is to be exact here, not to be closed for it.
LIMITS = '[limits]\npinned_bytes = "1GiB"\nstall = "60s"\npong = "60s"\n'
# What the kernel holds for who reads 16 KB/s takes that long to read when the feed has ended.
SLOW_TAIL_S = 45
# The others may be later by so much: the larger of the two.
RATIO_MAX, MORE_MS_MAX = 1.1, 10.0


def round_of(args, config, truth, seconds, intervals, disturbed):
    """{interval: visible p99 ms}, what was wrong, and a line of figures."""
    wrong, figures, lines = [], {}, []
    with contextlib.ExitStack() as stack:
        server = f"shards = {args.shards}"
        first = gateway = stack.enter_context(Gateway(config, server=server))
        if args.chained:
            chain = f'{LIMITS}{POLICIES}[[source]]\nkind = "fanwire"\nurl = "{first.url}"\n'
            gateway = stack.enter_context(Gateway(chain, server=server))
        each = args.clients // len(intervals)
        streams = ",".join(sorted({topic[: topic.rindex(".")] + ".*" for topic in truth.trades}))
        running, apart = [], []
        # More trades than 16 KB/s can carry are not for those who read that little: they are a load of their own.
        few = each // 10 if disturbed and args.speed > 10 else 0
        quiet = ",".join(sorted({topic[: topic.rindex(".")] + ".*" for topic in truth.books | truth.last}))
        for interval in intervals:
            common = ["--interval-ms", str(interval), "--threads", "1", *(["--deflate"] if args.deflate else []), "--duration"]
            arguments = ["--connections", str(each - few), "--topics", "*", "--stream", streams]
            arguments += [*common, f"{seconds:.0f}s"]
            if disturbed:
                arguments += ["--since-reconnects", str(each * 5 / 100), *([] if few else DISTURBED)]
            report = f"{gateway.directory.name}/{interval}.json"
            running.append(load.start(gateway, *arguments, promises=PROMISES, report=report))
            if few:
                arguments = ["--connections", str(few), "--topics", quiet, *common, f"{seconds + SLOW_TAIL_S:.0f}s"]
                arguments += ["--slow", "50", "--stall", "50", *DISTURBED[2:4], *DISTURBED[6:]]
                report = f"{gateway.directory.name}/{interval}-slow.json"
                apart.append(load.start(gateway, *arguments, promises=PROMISES, report=report))
        for interval, one in zip(intervals, running):
            report, broken = load.finish(one)
            wrong += [f"{interval} ms: {what}" for what in broken]
            figures[interval] = report["visible_ms"]["p99"]
            lines.append(
                f"{interval:5} ms: {report['connections']['established']} clients,"
                f" {report['connections']['returned']} came back, {report['final']['tables']} tables and"
                f" {report['final']['gateway_values']} values compared, visible p99 {report['visible_ms']['p99']} ms"
            )
        for one in apart:
            report, broken = load.finish(one)
            wrong += [f"slow ones: {what}" for what in broken]
            lines.append(
                f"slow and stalling: {report['connections']['established']} clients without trades,"
                f" {report['final']['tables']} tables compared"
            )
        wrong += [*served(gateway, truth), *served(first, truth)]
    return figures, wrong, lines


def main():
    parser = argparse.ArgumentParser(prog="exact-load", description=__doc__)
    parser.add_argument("feeds", nargs="+")
    parser.add_argument("--speed", type=float, default=1.0, help="of the replay (1)")
    parser.add_argument("--passes", type=int, default=1, help="how often the feeds are played (1)")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="with the slow ones, and as many without (3)")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--deflate", action="store_true", help="clients that are sent compressed frames")
    parser.add_argument("--chained", action="store_true", help="clients on a second gateway chained behind the first")
    args = parser.parse_args()
    truth, wrong = Truth(), []
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        lead_us = int(LEAD_S * args.speed * 1e6)
        copies = [prepared(feed, directory, truth, args.passes, lead_us) for feed in args.feeds]
        config = LIMITS + POLICIES + "".join(
            f'[[source]]\nkind = "replay"\npath = "{path}"\nspeed = {args.speed}\nrepeat = false\n' for path, _ in copies
        )
        # Two seconds longer than the feed, so that what is compared at the end is at rest.
        seconds = max(length for _, length in copies) / args.speed + 2
        intervals = INTERVALS_MS if args.speed == 1 else INTERVALS_MS[1:]
        p99 = {True: {interval: [] for interval in intervals}, False: {interval: [] for interval in intervals}}
        for number in range(args.rounds):
            for disturbed in (True, False):
                figures, broken, lines = round_of(args, config, truth, seconds, intervals, disturbed)
                wrong += broken
                print(f"round {number + 1}, {'with slow ones' if disturbed else 'everyone reads'}", flush=True)
                print("\n".join(lines), *broken, sep="\n", flush=True)
                for interval, value in figures.items():
                    p99[disturbed][interval].append(value)
    for interval in intervals:
        slow, alone = (statistics.median(p99[disturbed][interval]) for disturbed in (True, False))
        most = max(alone * RATIO_MAX, alone + MORE_MS_MAX)
        print(f"{interval:5} ms: visible p99 {slow:.1f} ms with slow ones, {alone:.1f} without; at most {most:.1f}")
        if slow > most:
            wrong.append(f"{interval} ms: {slow:.1f} ms is above {most:.1f}")
    print("every table, trade and value was exact" if not wrong else f"{len(wrong)} were wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
