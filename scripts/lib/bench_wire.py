"""CPU, bytes and memory of compressed frames. Run by scripts/bench-wire."""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile

import load
import machine
from gateway import Gateway

FRAMES_PER_S, FRAME_BYTES = 8, 1000
# An envelope, and what stands around the data of an update.
ENVELOPE_BYTES, UPDATE_BYTES = 110, 50
CLASSES = 1000
MEMORY_CLIENTS = 2000, 18000
PLAIN, DEFLATE = (), ("--deflate",)


def quotes(path):
    """Lines of the feed, again and again."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    lines = [line for line in lines if "data" in line]
    return itertools.cycle([(line["topic"], line["data"]) for line in lines])


def prepared(feed, path, seconds):
    """Writes a replay whose frames, one each 125 ms, have about 1 KB; gives texts like those of the frames."""
    source, texts, kept = quotes(feed), [], None
    with open(path, "w") as file:
        for n in range(FRAMES_PER_S * seconds):
            frame, size = {}, ENVELOPE_BYTES
            while size < FRAME_BYTES:
                topic, data = kept or next(source)
                kept = None
                more = len(topic) + UPDATE_BYTES + len(json.dumps(data, separators=(",", ":")))
                if topic in frame or (frame and size + more > 1.1 * FRAME_BYTES):
                    # A topic comes once in a frame: what there is of it already goes with the next.
                    kept = (topic, data) if topic not in frame else None
                    if topic not in frame:
                        break
                    continue
                frame[topic] = data
                size += more
            at_us = n * 1_000_000 // FRAMES_PER_S
            for topic, data in frame.items():
                line = {"at_us": at_us, "topic": topic, "data": data}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            updates = [{"topic": t, "v": n, "ts": 1700000000000000 + at_us, "data": d} for t, d in frame.items()]
            head = {"op": "batch", "class": 2, "ts": 1700000000000000 + at_us, "from": n, "version": n + 1}
            head |= {"oldest": 1700000000000000 + at_us, "updates": updates}
            texts.append(json.dumps(head, separators=(",", ":")))
    return texts


def round_of(args, path, clients, how, topics=("*",)):
    """CPU seconds of the gateway, and loadgen's report."""
    config = f'[fanout]\ninterval_ms = 125\n[[source]]\nkind = "replay"\npath = "{path}"\n'
    with Gateway(config, server="shards = 1\ncpus = [0]") as gateway:
        arguments = ["--connections", str(clients), "--duration", f"{args.seconds}s", *how]
        arguments += [word for patterns in topics for word in ("--topics", patterns)]
        report, broken = load.run(gateway, *arguments, prefix=("taskset", "-c", "1"))
    if broken:
        raise RuntimeError("\n".join(broken))
    return report["server"]["cpu_percent"] / 100 * args.seconds, report


def alternated(args, path, clients, topics=("*",)):
    """{how: [(CPU s, report)]}"""
    rounds = {PLAIN: [], DEFLATE: []}
    for _ in range(args.rounds):
        for how, seen in rounds.items():
            cpu_s, report = round_of(args, path, clients, how, topics)
            frames, wire = report["frames"]["total"], report["bytes"]["wire"]
            name = "deflate" if how else "plain"
            print(
                f"  {name:7} {cpu_s / frames * 1e6:6.2f} µs/frame, {report['bytes']['payload'] / frames:5.0f} bytes,"
                f" {wire / frames:5.0f} on the wire",
                flush=True,
            )
            seen.append((cpu_s, report))
    return rounds


def one_class(args, path):
    print(f"one class of {args.clients} clients")
    rounds = alternated(args, path, args.clients)
    us = {how: [cpu / report["frames"]["total"] * 1e6 for cpu, report in seen] for how, seen in rounds.items()}
    plain, deflate = statistics.median(us[PLAIN]), statistics.median(us[DEFLATE])
    return f"CPU per frame, deflate ÷ plain: {deflate:.2f} ÷ {plain:.2f} µs = {deflate / plain:.2f} (at most 1.0)"


def many_classes(args, path, bare_us):
    print(f"{CLASSES} classes of one client")
    # The same topics, and one that nobody has: another class.
    topics = [f"*,none.{n}" for n in range(CLASSES)]
    rounds = alternated(args, path, CLASSES, topics)
    plain, deflate = (statistics.median(cpu for cpu, _ in rounds[how]) for how in (PLAIN, DEFLATE))
    frames = statistics.median(report["frames"]["total"] for _, report in rounds[DEFLATE])
    each_us = (deflate - plain) / frames * 1e6
    return (
        f"{CLASSES} classes, (CPU with − without) ÷ compressions: {each_us:.2f} µs;"
        f" a bare compressor takes {bare_us:.2f} µs: {each_us / bare_us:.2f} (at most 1.5)"
    )


def memory(args, path):
    """Bytes per client that agreeing on deflate adds."""
    few, many = MEMORY_CLIENTS
    each = {}
    for how in (PLAIN, DEFLATE):
        rss = []
        for clients in (few, many):
            with Gateway("[fanout]\ninterval_ms = 1000\n", server="shards = 1") as gateway:
                arguments = ["--connections", str(clients), "--duration", "2s", "--topics", "*", *how]
                report, broken = load.run(gateway, *arguments)
                if broken:
                    raise RuntimeError("\n".join(broken))
                rss.append(report["server"]["rss_bytes"])
        each[how] = (rss[1] - rss[0]) / (many - few)
        print(f"  {'deflate' if how else 'plain':7} {each[how]:.0f} bytes a client, {few} to {many}", flush=True)
    return f"memory per client that deflate adds: {each[DEFLATE] - each[PLAIN]:.0f} bytes (at most 16)"


def main():
    parser = argparse.ArgumentParser(prog="bench-wire", description=__doc__)
    parser.add_argument("feed", nargs="?", default=os.path.join(machine.ROOT, "configs", "feed.ndjson"))
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--only", choices=["class", "classes", "memory"], action="append")
    args = parser.parse_args()
    wanted = args.only or ["class", "classes", "memory"]
    lines = []
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path, texts_path = (os.path.join(directory, name) for name in ("feed.ndjson", "texts"))
        texts = prepared(args.feed, path, args.seconds + 40)
        with open(texts_path, "w") as file:
            file.write("\n".join(texts))
        bare = subprocess.run([os.environ["DEFLATE_BIN"], texts_path], stdout=subprocess.PIPE, text=True, check=True)
        print(f"bare compressor, level 1: {bare.stdout.strip()}")
        bare_us = float(dict(word.split("=") for word in bare.stdout.split())["us"])
        if "class" in wanted:
            lines.append(one_class(args, path))
        if "classes" in wanted:
            lines.append(many_classes(args, path, bare_us))
        if "memory" in wanted:
            lines.append(memory(args, path))
    print(*lines, f"machine: {json.dumps(machine.describe())}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
