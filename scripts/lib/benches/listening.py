"""Other ways to listen beside a WebSocket: CPU of the gateway per frame (µs) of server-sent events and of bare values, at
one update a frame, and memory of an idle client of events (bytes). One shard; --clients of each, one topic that changes
at --rate a second, so that each change is a frame. Alternated rounds, medians."""

import load
from gateway import Gateway, synthetic
from load import cpu_us_of_frame
from machine import pinned
from rounds import alternated, apart, medians

ON_ONE_CPU = "shards = 1\ncpus = [0]"
FANOUT = '[fanout]\ninterval_ms = 0\nheartbeat = "60s"\n'
RATIO_MAX = 1.1
IDLE_BYTES_MAX, FEW_CLIENTS = 512, 1000


def url_of(gateway, way):
    return f"ws://{gateway.data}/{way}"


def websockets(args):
    return measured(args, "ws", "--topics", "*")


def events(args):
    return measured(args, "sse", "--topics", "*", "--sse")


def measured(args, path, *words):
    with Gateway(FANOUT + synthetic(1, args.rate), server=ON_ONE_CPU) as gateway:
        words = ["--connections", str(args.clients), "--duration", f"{args.seconds}s", *words]
        return load.run(gateway, *words, prefix=pinned(1), url=url_of(gateway, path))


def values(args):
    """Nobody judges them: they are no messages of a protocol. As many come as to the others."""
    with Gateway(FANOUT + synthetic(1, args.rate), server=ON_ONE_CPU) as gateway:
        topic = gateway.request("GET", "/topics")[1][0]["topic"]
        words = ["--connections", str(args.clients), "--duration", f"{args.seconds}s", "--stamp", "none"]
        words += ["--server-pid", str(gateway.pid)]
        return load.raw(url_of(gateway, f"raw/{topic}"), *words, prefix=pinned(1))


WAYS = {"server-sent events": events, "bare values": values}


def cost(args, verdict, name, way):
    def show(which, report):
        per_client = report["frames"]["total"] / args.clients / report["window"]["seconds"]
        print(f"  {which:18} {cpu_us_of_frame(report):6.2f} µs/frame, {per_client:.2f} frames/s a client", flush=True)
        if not 0.98 * args.rate < per_client < 1.02 * args.rate:
            verdict.say(f"{which}: {per_client:.2f} frames/s a client, not {args.rate}: this round does not compare")

    measures = {"WebSocket": lambda: websockets(args), name: lambda: way(args)}
    seen = alternated(measures, args.rounds, show)
    plain, other = medians(seen, cpu_us_of_frame)
    note = f"rounds {apart(seen, cpu_us_of_frame)}"
    verdict.ratio(f"CPU per frame, {name} ÷ WebSocket", other, plain, "µs", "<=", RATIO_MAX, note)


def memory(args, verdict):
    held = {}
    for clients in (FEW_CLIENTS, args.many):
        with Gateway("[fanout]\ninterval_ms = 1000\n", server="shards = 1") as gateway:
            words = ["--connections", str(clients), "--duration", "2s", "--topics", "*", "--sse"]
            held[clients] = load.run(gateway, *words, url=url_of(gateway, "sse"))["server"]["rss_bytes"]
    each = (held[args.many] - held[FEW_CLIENTS]) / (args.many - FEW_CLIENTS)
    verdict.figure("memory of an idle client of events", each, "<=", IDLE_BYTES_MAX, "B")


def arguments(parser):
    parser.add_argument("--clients", type=int, default=5000, help="of each way (5000)")
    parser.add_argument("--many", type=int, default=18000, help="idle clients whose memory is measured (18000)")
    parser.add_argument("--rate", type=float, default=8.0, help="frames a second to each client (8)")
    parser.add_argument("--seconds", type=int, default=15, help="of each window (15)")
    parser.add_argument("--rounds", type=int, default=3, help="of each way (3)")


def run(args, verdict):
    for name, way in WAYS.items():
        with verdict.part(name):
            cost(args, verdict, name, way)
    with verdict.part("memory"):
        memory(args, verdict)
