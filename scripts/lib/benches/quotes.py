"""Frames of about 1 KB of real quotes, 8 a second: what `wire` and `pair` send. And a certificate."""

import itertools
import json
import os

import load
import process
from gateway import Gateway, replay
from machine import ROOT, pinned

FRAMES_PER_S, FRAME_BYTES = 8, 1000
# An envelope, and what stands around the data of an update.
ENVELOPE_BYTES, UPDATE_BYTES = 110, 50
# A feed goes on while clients connect.
SPARE_S = 40
FEED = os.path.join(ROOT, "configs", "feed.ndjson")
PLAIN, DEFLATE, MSGPACK, TLS = (), ("--deflate",), ("--msgpack",), ("--insecure",)
WAYS = {"plain": PLAIN, "deflate": DEFLATE, "msgpack": MSGPACK, "TLS": TLS}
ON_ONE_CPU = "shards = 1\ncpus = [0]\n"
# The growth of memory above so many clients is that of clients: every pool has been touched.
FEW_CLIENTS = 2000


def quotes(path):
    """(topic, data) of the feed's whole values, again and again."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    return itertools.cycle([(line["topic"], line["data"]) for line in lines if "data" in line])


def names(topic):
    """What it may be called in a frame."""
    return itertools.chain([topic], (f"{topic}.{n}" for n in itertools.count(2)))


def frames(source):
    """{topic: data} of frame after frame. A topic comes once in a frame, and a feed may have few."""
    topic, data = next(source)
    while True:
        frame, size = {}, ENVELOPE_BYTES
        while True:
            name = next(name for name in names(topic) if name not in frame)
            more = len(name) + UPDATE_BYTES + len(json.dumps(data, separators=(",", ":")))
            if frame and size + more / 2 > FRAME_BYTES:
                break
            frame[name] = data
            size += more
            topic, data = next(source)
        yield frame


def prepared(feed, path, seconds):
    """Writes a replay whose frames, one each 125 ms, have about 1 KB; gives texts like those of the frames."""
    texts = []
    with open(path, "w") as file:
        for n, frame in zip(range(FRAMES_PER_S * (seconds + SPARE_S)), frames(quotes(feed))):
            at_us = n * 1_000_000 // FRAMES_PER_S
            for name, held in frame.items():
                line = {"at_us": at_us, "topic": name, "data": held}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            ts = 1_700_000_000_000_000 + at_us
            updates = [{"topic": topic, "v": n, "ts": ts, "data": data} for topic, data in frame.items()]
            head = {"op": "batch", "class": 2, "ts": ts, "from": n, "version": n + 1, "oldest": ts, "updates": updates}
            texts.append(json.dumps(head, separators=(",", ":")))
    return texts


def certificate(directory):
    """Two files, ECDSA P-256, and the keys of [server] for a listener with them."""
    cert, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    process.output(*command, "-keyout", key, "-out", cert)
    return (cert, key), f'tls = "127.0.0.1:0"\ntls_cert = "{cert}"\ntls_key = "{key}"\n'


def url_of(gateway, how):
    return gateway.tls_url if how == TLS else gateway.url


def measure(args, how, clients=None, topics=("*",)):
    """loadgen's report of a round: `args.path` to the clients, in one of WAYS."""
    config = f"[fanout]\ninterval_ms = 125\n{replay(args.path)}"
    with Gateway(config, server=args.certificate + ON_ONE_CPU) as gateway:
        words = ["--connections", str(clients or args.clients), "--duration", f"{args.seconds}s", *how]
        words += [word for patterns in topics for word in ("--topics", patterns)]
        return load.run(gateway, *words, prefix=pinned(1), url=url_of(gateway, how))


def memory_bytes(args, how):
    """Resident bytes that one more idle subscribed client takes."""
    resident = {}
    for clients in (FEW_CLIENTS, args.many):
        with Gateway("[fanout]\ninterval_ms = 1000\n", server=f"{args.certificate}shards = 1") as gateway:
            words = ["--connections", str(clients), "--duration", "2s", "--topics", "*", *how]
            report = load.run(gateway, *words, url=url_of(gateway, how))
        resident[clients] = report["server"]["rss_bytes"]
    return (resident[args.many] - resident[FEW_CLIENTS]) / (args.many - FEW_CLIENTS)


def arguments(parser):
    parser.add_argument("feed", nargs="?", default=FEED, help="quotes to send (configs/feed.ndjson)")
    parser.add_argument("--clients", type=int, default=5000, help="of one class (5000)")
    parser.add_argument("--many", type=int, default=18000, help="idle clients whose memory is measured (18000)")
    parser.add_argument("--rounds", type=int, help="of each way")
    parser.add_argument("--seconds", type=int, help="of each window")
