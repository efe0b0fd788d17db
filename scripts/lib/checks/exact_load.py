"""1,000 loadgen clients of books and trades at intervals 0, 100 ms, 1 s and 5 s together: of them 5 % read 16 KB/s, 5 %
stall at staggered times and 5 % come back with `since` every second. At the end every table of every client is compared
key by key with the gateway's, and the gateway's with what the files' lines make; and the others' `visible` p99 (ms) is
compared with that of rounds in which everyone reads. Without a feed one is generated.

  scripts/check exact-load FEED.ndjson… --speed 100 --passes 200    60 s at speed 100"""

import contextlib
import tempfile

import load
from checks.exact import LEAD_S, POLICIES, Truth, chained_to, feeds_of, prepared, served
from gateway import Gateway, replay
from rounds import alternated, medians

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
            gateway = stack.enter_context(Gateway(LIMITS + chained_to(first), server=server))
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


def arguments(parser):
    parser.add_argument("feeds", nargs="*", help="feed files; without one a feed is generated")
    parser.add_argument("--speed", type=float, help="of the replay (1)")
    parser.add_argument("--passes", type=int, default=1, help="how often the feeds are played (1)")
    parser.add_argument("--clients", type=int, default=1000, help="in all (1000)")
    parser.add_argument("--rounds", type=int, default=3, help="with the slow ones, and as many without (3)")
    parser.add_argument("--shards", type=int, default=1, help="of each gateway (1)")
    parser.add_argument("--deflate", action="store_true", help="clients that are sent compressed frames")
    parser.add_argument("--chained", action="store_true", help="clients on a second gateway chained behind the first")


def run(args, verdict):
    truth = Truth()
    with feeds_of(args, speed=1.0) as feeds, tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        lead_us = int(LEAD_S * args.speed * 1e6)
        copies = [prepared(feed, directory, truth, args.passes, lead_us) for feed in feeds]
        config = LIMITS + POLICIES + "".join(replay(path, args.speed, repeat=False) for path, _ in copies)
        # Two seconds longer than the feed, so that what is compared at the end is at rest.
        seconds = max(length for _, length in copies) / args.speed + 2
        intervals = INTERVALS_MS if args.speed == 1 else INTERVALS_MS[1:]

        def measure(disturbed):
            figures, broken, lines = round_of(args, config, truth, seconds, intervals, disturbed)
            print("with slow ones" if disturbed else "everyone reads", *lines, sep="\n", flush=True)
            for what in broken:
                verdict.say(what)
            return figures

        p99 = alternated({True: lambda: measure(True), False: lambda: measure(False)}, args.rounds)
    for interval in intervals:
        slow, alone = medians(p99, lambda figures: figures[interval])
        most = max(alone * RATIO_MAX, alone + MORE_MS_MAX)
        note = f"without {alone:.1f}"
        verdict.figure(f"{interval:5} ms: the others' visible p99 with slow ones", slow, "<=", most, "ms", note)
