"""What compression, MessagePack and TLS cost and save. CPU of the gateway per frame of about 1 KB (µs) with each and
without, for one class of 5,000 clients, and for 1,000 classes that compress; what a storm of handshakes does to others;
memory per client (bytes); uWebSockets, and nginx with nchan, beside it. One shard, 8 frames/s of quotes, alternated,
medians."""

import os
import tempfile
import time

import load
import process
from benches import wire_peers
from benches.quotes import DEFLATE, FRAME_BYTES, MSGPACK, ON_ONE_CPU, PLAIN, TLS, WAYS
from benches.quotes import arguments as arguments_of_quotes
from benches.quotes import certificate, measure, memory_bytes, prepared
from gateway import Gateway, synthetic
from load import cpu_us_of_frame
from machine import pinned
from rounds import alternated, apart, medians

CLASSES = 1000
OTHERS, OTHERS_S, STORM_AFTER_S = 1000, 8, 3


def wire_bytes(report):
    return report["bytes"]["wire"] / report["frames"]["total"]


def beside_plain(args, other, **options):
    """{way: reports}, of plain rounds and others."""

    def show(name, report):
        payload = report["bytes"]["payload"] / report["frames"]["total"]
        told = f"{payload:5.0f} bytes, {wire_bytes(report):5.0f} on the wire"
        print(f"  {name:7} {cpu_us_of_frame(report):6.2f} µs/frame, {told}", flush=True)

    ways = {name: how for name, how in WAYS.items() if how in (PLAIN, other)}
    measures = {name: lambda how=how: measure(args, how, **options) for name, how in ways.items()}
    return alternated(measures, args.rounds, show)


def cpu_beside_plain(args, verdict, name, other, goal):
    """Rows of CPU for one class; ({way: reports}, median µs of plain, of the other)."""
    seen = beside_plain(args, other)
    plain, with_it = medians(seen, cpu_us_of_frame)
    note = f"rounds {apart(seen, cpu_us_of_frame)}"
    verdict.ratio(f"CPU per frame, {name} ÷ plain", with_it, plain, "µs", "<=", goal, note)
    return seen, plain, with_it


def deflate(args, verdict):
    seen, _, _ = cpu_beside_plain(args, verdict, "deflate", DEFLATE, 1.0)
    plain, packed = medians(seen, wire_bytes)
    # Quotes of a feed that is not in the repository came to 0.49; those of configs/feed.ndjson shrink further.
    verdict.ratio("bytes on the wire, deflate ÷ plain", packed, plain, "B", "<=", 0.6)


def msgpack(args, verdict):
    seen, _, _ = cpu_beside_plain(args, verdict, "MessagePack", MSGPACK, 1.0)
    plain, packed = medians(seen, wire_bytes)
    verdict.ratio("bytes on the wire, MessagePack ÷ JSON", packed, plain, "B", "<=", 0.85)


def tls(args, verdict):
    _, plain, sealed = cpu_beside_plain(args, verdict, "TLS 1.3", TLS, 1.35)
    speed = ["openssl", "speed", "-seconds", "2", "-bytes", str(FRAME_BYTES), "-evp", "aes-128-gcm"]
    kb_per_s = float(process.output(*speed).splitlines()[-1].split()[-1].rstrip("k"))
    bare = plain + FRAME_BYTES / kb_per_s * 1e3
    verdict.ratio("the same ÷ (plain + what openssl takes to seal)", sealed, bare, "µs", "<=", 1.3)


def classes(args, verdict):
    # The same topics, and one that nobody has: another class.
    topics = [f"*,none.{n}" for n in range(CLASSES)]
    plain, packed = medians(beside_plain(args, DEFLATE, clients=CLASSES, topics=topics), cpu_us_of_frame)
    words = dict(word.split("=") for word in process.output(os.environ["DEFLATE_BIN"], args.texts_path).split())
    bare = float(words["us"])
    what = f"{CLASSES} classes, CPU of a compression ÷ a bare compressor's"
    verdict.ratio(what, packed - plain, bare, "µs", "<=", 1.5)


def storm(args, verdict):
    """What thousands of handshakes at once do to those who are connected."""
    config, p99 = f"[fanout]\ninterval_ms = 100\n{synthetic(20, 200)}", {}
    for disturbed in (False, True):
        with Gateway(config, server=args.certificate + ON_ONE_CPU) as gateway:
            words = ["--connections", str(OTHERS), "--duration", f"{OTHERS_S}s", "--topics", "*"]
            others = load.start(gateway, *words, prefix=pinned(1))
            time.sleep(STORM_AFTER_S)
            if disturbed:
                words = ["--connections", str(args.storm), "--duration", "1s", "--topics", "none", *TLS]
                path = os.path.join(gateway.directory.name, "storm.json")
                per_s = load.run(gateway, *words, url=gateway.tls_url, report=path)["setup"]["per_s"]
            p99[disturbed] = load.held(load.finish(others))["visible_ms"]["p99"]
    note = f"{p99[True]:.0f} ms, without {p99[False]:.0f}; {per_s:.0f} handshakes/s, loadgen on the other core"
    what = f"a storm of {args.storm} full TLS 1.3 handshakes adds to the visible p99 of {OTHERS} others"
    verdict.figure(what, p99[True] - p99[False], "<=", 100, "ms", note)


def memory(args, verdict):
    each = {how: memory_bytes(args, how) for how in (PLAIN, DEFLATE, TLS)}
    note = f"{each[DEFLATE]:.0f}, without {each[PLAIN]:.0f}"
    verdict.figure("memory per client that deflate adds", each[DEFLATE] - each[PLAIN], "<=", 16, "B", note)
    verdict.figure("memory of an idle TLS client", each[TLS], "<=", 4096, "B")


ROWS = {
    "deflate": deflate,
    "uws": wire_peers.uws,
    "classes": classes,
    "msgpack": msgpack,
    "tls": tls,
    "storm": storm,
    "memory": memory,
    "nchan": wire_peers.nchan,
}


def arguments(parser):
    arguments_of_quotes(parser)
    parser.add_argument("--storm", type=int, default=5000, help="clients that come at once (5000)")
    parser.add_argument("--only", choices=ROWS, action="append", help="this row; repeatable")
    parser.set_defaults(rounds=5, seconds=15)


def run(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        args.path, args.texts_path = (os.path.join(directory, name) for name in ("feed.ndjson", "texts"))
        args.files, args.certificate = certificate(directory)
        args.texts = prepared(args.feed, args.path, args.seconds)
        with open(args.texts_path, "w") as file:
            file.write("\n".join(args.texts))
        for name in args.only or ROWS:
            print(f"{name}:", flush=True)
            with verdict.part(name):
                ROWS[name](args, verdict)
