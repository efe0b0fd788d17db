"""CPU, bytes and memory of frames that are compressed or encrypted. Run by scripts/bench-wire."""

import argparse
import contextlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import load
import machine
import nchan
import peers
from gateway import Gateway

FRAMES_PER_S, FRAME_BYTES = 8, 1000
# An envelope, and what stands around the data of an update.
ENVELOPE_BYTES, UPDATE_BYTES = 110, 50
CLASSES = 1000
KINDS = ["deflate", "uws", "classes", "msgpack", "tls", "storm", "memory", "nchan"]
MEMORY_CLIENTS = 2000, 18000
PLAIN, DEFLATE, MSGPACK, TLS = (), ("--deflate",), ("--msgpack",), ("--insecure",)
NAMES = {PLAIN: "plain", DEFLATE: "deflate", MSGPACK: "msgpack", TLS: "TLS"}
STORM = 5000


def quotes(path):
    """Lines of the feed, again and again."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    lines = [line for line in lines if "data" in line]
    return itertools.cycle([(line["topic"], line["data"]) for line in lines])


def names(topic):
    """What it may be called in a frame."""
    return itertools.chain([topic], (f"{topic}.{n}" for n in itertools.count(2)))


def prepared(feed, path, seconds):
    """Writes a replay whose frames, one each 125 ms, have about 1 KB; gives texts like those of the frames."""
    source, texts = quotes(feed), []
    topic, data = next(source)
    with open(path, "w") as file:
        for n in range(FRAMES_PER_S * seconds):
            frame, size = {}, ENVELOPE_BYTES
            while True:
                # A topic comes once in a frame, and a feed may have few.
                name = next(name for name in names(topic) if name not in frame)
                more = len(name) + UPDATE_BYTES + len(json.dumps(data, separators=(",", ":")))
                if frame and size + more / 2 > FRAME_BYTES:
                    break
                frame[name] = data
                size += more
                topic, data = next(source)
            at_us = n * 1_000_000 // FRAMES_PER_S
            for name, held in frame.items():
                line = {"at_us": at_us, "topic": name, "data": held}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            updates = [{"topic": t, "v": n, "ts": 1700000000000000 + at_us, "data": d} for t, d in frame.items()]
            head = {"op": "batch", "class": 2, "ts": 1700000000000000 + at_us, "from": n, "version": n + 1}
            head |= {"oldest": 1700000000000000 + at_us, "updates": updates}
            texts.append(json.dumps(head, separators=(",", ":")))
    return texts


def certificate(directory):
    """Two files, ECDSA P-256, and the keys of [server] for a listener with them."""
    cert, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return (cert, key), f'tls = "127.0.0.1:0"\ntls_cert = "{cert}"\ntls_key = "{key}"\n'


def url_of(gateway, how):
    return gateway.tls_url if how == TLS else gateway.url


def round_of(args, path, clients, how, topics=("*",)):
    """CPU seconds of the gateway, and loadgen's report."""
    config = f'[fanout]\ninterval_ms = 125\n[[source]]\nkind = "replay"\npath = "{path}"\n'
    with Gateway(config, server=f"{args.certificate}shards = 1\ncpus = [0]") as gateway:
        arguments = ["--connections", str(clients), "--duration", f"{args.seconds}s", *how]
        arguments += [word for patterns in topics for word in ("--topics", patterns)]
        report, broken = load.run(gateway, *arguments, prefix=("taskset", "-c", "1"), url=url_of(gateway, how))
    if broken:
        raise RuntimeError("\n".join(broken))
    return report["server"]["cpu_percent"] / 100 * args.seconds, report


def alternated(args, path, clients, other, topics=("*",)):
    """{how: [(CPU s, report)]}"""
    rounds = {PLAIN: [], other: []}
    for _ in range(args.rounds):
        for how, seen in rounds.items():
            cpu_s, report = round_of(args, path, clients, how, topics)
            frames, wire = report["frames"]["total"], report["bytes"]["wire"]
            print(
                f"  {NAMES[how]:7} {cpu_s / frames * 1e6:6.2f} µs/frame, {report['bytes']['payload'] / frames:5.0f} bytes,"
                f" {wire / frames:5.0f} on the wire",
                flush=True,
            )
            seen.append((cpu_s, report))
    return rounds


def one_class(args, path, other):
    """Medians of CPU µs a frame: plain, and the other way; and the same of bytes on the wire."""
    print(f"one class of {args.clients} clients")
    rounds = alternated(args, path, args.clients, other)

    def of_frames(figure):
        each = {how: [figure(*one) / one[1]["frames"]["total"] for one in seen] for how, seen in rounds.items()}
        return statistics.median(each[PLAIN]), statistics.median(each[other])

    return *of_frames(lambda cpu_s, _: cpu_s * 1e6), *of_frames(lambda _, report: report["bytes"]["wire"])


def msgpack(args, path):
    plain, packed, plain_bytes, packed_bytes = one_class(args, path, MSGPACK)
    return (
        f"CPU per frame, MessagePack ÷ JSON: {packed:.2f} ÷ {plain:.2f} µs = {packed / plain:.2f} (at most 1.0);"
        f" bytes: {packed_bytes:.0f} ÷ {plain_bytes:.0f} = {packed_bytes / plain_bytes:.2f} (at most 0.85)"
    )


def deflate(args, path):
    plain, deflated, plain_bytes, bytes = one_class(args, path, DEFLATE)
    return (
        f"CPU per frame, deflate ÷ plain: {deflated:.2f} ÷ {plain:.2f} µs = {deflated / plain:.2f} (at most 1.0);"
        f" bytes: {bytes:.0f} ÷ {plain_bytes:.0f} = {bytes / plain_bytes:.2f}"
    )


def tls(args, path):
    plain, sealed, _, _ = one_class(args, path, TLS)
    speed = ["openssl", "speed", "-seconds", "2", "-bytes", str(FRAME_BYTES), "-evp", "aes-128-gcm"]
    output = subprocess.run(speed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    bytes_per_s = float(output.splitlines()[-1].split()[-1].rstrip("k")) * 1000
    seal_us = FRAME_BYTES / bytes_per_s * 1e6
    return (
        f"CPU per frame, TLS 1.3 ÷ plain: {sealed:.2f} ÷ {plain:.2f} µs = {sealed / plain:.2f} (at most 1.35);"
        f" ÷ (plain + {seal_us:.2f} µs as openssl seals): {sealed / (plain + seal_us):.2f} (at most 1.3)"
    )


def storm(args):
    """What thousands of handshakes at once do to those who are connected."""
    config = "[fanout]\ninterval_ms = 100\n[[source]]\nkind = \"synthetic\"\nsymbols = 20\nupdates_per_s = 200\n"
    p99 = {}
    for disturbed in (False, True):
        with Gateway(config, server=f"{args.certificate}shards = 1\ncpus = [0]") as gateway:
            others = load.start(
                gateway, "--connections", "1000", "--duration", "8s", "--topics", "*", prefix=("taskset", "-c", "1")
            )
            time.sleep(3)
            if disturbed:
                arguments = ["--connections", str(STORM), "--duration", "1s", "--topics", "none", *TLS]
                report = os.path.join(gateway.directory.name, "storm.json")
                report, broken = load.run(gateway, *arguments, url=gateway.tls_url, report=report)
                if broken:
                    raise RuntimeError("\n".join(broken))
                per_s = report["setup"]["per_s"]
            report, broken = load.finish(others)
            if broken:
                raise RuntimeError("\n".join(broken))
            p99[disturbed] = report["visible_ms"]["p99"]
    more = p99[True] - p99[False]
    return (
        f"a storm of {STORM} full TLS 1.3 handshakes ({per_s:.0f}/s, with loadgen on the other core): visible p99 of"
        f" 1,000 others {p99[False]:.0f} ms without, {p99[True]:.0f} ms with: {more:+.0f} ms (at most +100)"
    )


def many_classes(args, path, bare_us):
    print(f"{CLASSES} classes of one client")
    # The same topics, and one that nobody has: another class.
    topics = [f"*,none.{n}" for n in range(CLASSES)]
    rounds = alternated(args, path, CLASSES, DEFLATE, topics)
    plain, deflate = (statistics.median(cpu for cpu, _ in rounds[how]) for how in (PLAIN, DEFLATE))
    frames = statistics.median(report["frames"]["total"] for _, report in rounds[DEFLATE])
    each_us = (deflate - plain) / frames * 1e6
    return (
        f"{CLASSES} classes, (CPU with − without) ÷ compressions: {each_us:.2f} µs;"
        f" a bare compressor takes {bare_us:.2f} µs: {each_us / bare_us:.2f} (at most 1.5)"
    )


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def raw(url, pid, *arguments):
    """loadgen's report of a server of another protocol."""
    command = ["taskset", "-c", "1", os.environ["LOADGEN_BIN"], "--url", url, "--server-pid", str(pid)]
    command += ["--stamp", "none", *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        raise RuntimeError(f"loadgen ended with {ended.returncode}:\n{ended.stderr}")
    return json.loads(ended.stdout.splitlines()[-1])


def one_by_one(url, pid):
    """CPU µs that a server takes for a full handshake of OpenSSL's s_time, one after the other, and its end."""
    before = cpu_s(pid)
    command = ["taskset", "-c", "1", "openssl", "s_time", "-connect", url.split("/")[2], "-new", "-tls1_3", "-time", "5"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    # The first line counts those in the CPU time of s_time itself, the second all.
    count = re.search(r"(\d+) connections in \d+ real seconds", output).group(1)
    return (cpu_s(pid) - before) / int(count) * 1e6


def beside_nchan(args, path, texts):
    """CPU per frame with TLS and CPU per handshake, of the gateway and of nginx with nchan."""
    print(f"one class of {args.clients} clients with TLS 1.3, handshakes one by one, and {STORM} clients that come at once")
    pinned, few = ("taskset", "-c", "0"), ["--connections", str(STORM), "--duration", "1s"]
    kinds = "µs/frame", "µs/handshake", "µs/connection"
    figures = {name: {kind: [] for kind in kinds} for name in ("gateway", "nchan")}

    def note(name, *values):
        for kind, value in zip(kinds, values):
            figures[name][kind].append(value)
        print(f"  {name:7} " + ", ".join(f"{value:6.2f} {kind}" for kind, value in zip(kinds, values)), flush=True)

    for _ in range(args.rounds):
        cpu, report = round_of(args, path, args.clients, TLS)
        with Gateway("", server=f"{args.certificate}shards = 1\ncpus = [0]") as gateway:
            pid = gateway.process.pid
            handshake = one_by_one(gateway.tls_url, pid)
            before = cpu_s(pid)
            load.run(gateway, *few, "--topics", "none", *TLS, url=gateway.tls_url, prefix=("taskset", "-c", "1"))
            note("gateway", cpu / report["frames"]["total"] * 1e6, handshake, (cpu_s(pid) - before) / STORM * 1e6)
        with nchan.server(*args.files, prefix=pinned) as (process, url, plain):
            with nchan.publishing(plain, lambda n: texts[n % len(texts)], FRAMES_PER_S):
                report = raw(url, process.pid, "--connections", str(args.clients), "--duration", f"{args.seconds}s", *TLS)
        cpu = report["server"]["cpu_percent"] / 100 * args.seconds
        with nchan.server(*args.files, prefix=pinned) as (process, url, plain):
            handshake = one_by_one(url, process.pid)
            before = cpu_s(process.pid)
            raw(url, process.pid, *few, *TLS)
            note("nchan", cpu / report["frames"]["total"] * 1e6, handshake, (cpu_s(process.pid) - before) / STORM * 1e6)
    frame, handshake, connection = ([statistics.median(figures[name][kind]) for name in figures] for kind in kinds)
    return (
        f"CPU per frame with TLS 1.3 ÷ nginx with nchan: {frame[0]:.2f} ÷ {frame[1]:.2f} µs ="
        f" {frame[0] / frame[1]:.2f} (at most 0.75);"
        f" full handshakes a second on one core ÷ nginx's, by CPU: one by one {1e6 / handshake[0]:.0f} ÷"
        f" {1e6 / handshake[1]:.0f} = {handshake[1] / handshake[0]:.2f} (at least 0.9); {STORM} at once, each with its"
        f" upgrade and its end, {1e6 / connection[0]:.0f} ÷ {1e6 / connection[1]:.0f} = {connection[1] / connection[0]:.2f}"
    )


@contextlib.contextmanager
def uws(texts_path):
    """A running uWebSockets that publishes the texts: (process, URL)."""
    script = os.path.join(machine.ROOT, "scripts", "lib", "uws_ticks.cjs")
    with peers.process("taskset", "-c", "0", "node", script, texts_path, str(FRAMES_PER_S)) as process:
        yield process, f"ws://{peers.first_address(process)}/"


def beside_uws(args, path, texts_path):
    """CPU per frame with deflate, of the gateway and of uWebSockets."""
    print(f"one class of {args.clients} clients with deflate")
    each_us = {"gateway": [], "uWebSockets": [], "uWebSockets, plain": []}
    for _ in range(args.rounds):
        cpu, report = round_of(args, path, args.clients, DEFLATE)
        each_us["gateway"].append(cpu / report["frames"]["total"] * 1e6)
        sizes = [report["bytes"]["payload"] / report["frames"]["total"]]
        for name, how in (("uWebSockets", DEFLATE), ("uWebSockets, plain", PLAIN)):
            with uws(texts_path) as (process, url):
                report = raw(url, process.pid, "--connections", str(args.clients), "--duration", f"{args.seconds}s", *how)
            cpu = report["server"]["cpu_percent"] / 100 * args.seconds
            each_us[name].append(cpu / report["frames"]["total"] * 1e6)
        sizes.append(report["bytes"]["payload"] / report["frames"]["total"])
        print("  " + "; ".join(f"{name} {seen[-1]:6.2f} µs/frame" for name, seen in each_us.items()), flush=True)
    ours, theirs, plain = (statistics.median(seen) for seen in each_us.values())
    return (
        f"CPU per frame with deflate ÷ uWebSockets' publish with its shared compressor: {ours:.2f} ÷ {theirs:.2f} µs"
        f" = {ours / theirs:.2f} (at most 0.33); frames of {sizes[0]:.0f} and {sizes[1]:.0f} bytes before compression;"
        f" its publish without compression takes {plain:.2f} µs"
    )


def memory(args):
    """Bytes per client, and what agreeing on deflate and TLS add."""
    few, many = MEMORY_CLIENTS
    each = {}
    for how in (PLAIN, DEFLATE, TLS):
        rss = []
        for clients in (few, many):
            with Gateway("[fanout]\ninterval_ms = 1000\n", server=f"{args.certificate}shards = 1") as gateway:
                arguments = ["--connections", str(clients), "--duration", "2s", "--topics", "*", *how]
                report, broken = load.run(gateway, *arguments, url=url_of(gateway, how))
                if broken:
                    raise RuntimeError("\n".join(broken))
                rss.append(report["server"]["rss_bytes"])
        each[how] = (rss[1] - rss[0]) / (many - few)
        print(f"  {NAMES[how]:7} {each[how]:.0f} bytes a client, {few} to {many}", flush=True)
    return (
        f"memory per client that deflate adds: {each[DEFLATE] - each[PLAIN]:.0f} bytes (at most 16);"
        f" of an idle TLS client: {each[TLS]:.0f} bytes (at most 4096)"
    )


def main():
    parser = argparse.ArgumentParser(prog="bench-wire", description=__doc__)
    parser.add_argument("feed", nargs="?", default=os.path.join(machine.ROOT, "configs", "feed.ndjson"))
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--only", choices=KINDS, action="append")
    args = parser.parse_args()
    wanted = args.only or KINDS
    lines = []
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path, texts_path = (os.path.join(directory, name) for name in ("feed.ndjson", "texts"))
        args.files, args.certificate = certificate(directory)
        texts = prepared(args.feed, path, args.seconds + 40)
        with open(texts_path, "w") as file:
            file.write("\n".join(texts))
        bare = subprocess.run([os.environ["DEFLATE_BIN"], texts_path], stdout=subprocess.PIPE, text=True, check=True)
        print(f"bare compressor, level 1: {bare.stdout.strip()}")
        bare_us = float(dict(word.split("=") for word in bare.stdout.split())["us"])
        if "deflate" in wanted:
            lines.append(deflate(args, path))
        if "uws" in wanted:
            lines.append(beside_uws(args, path, texts_path))
        if "classes" in wanted:
            lines.append(many_classes(args, path, bare_us))
        if "msgpack" in wanted:
            lines.append(msgpack(args, path))
        if "tls" in wanted:
            lines.append(tls(args, path))
        if "storm" in wanted:
            lines.append(storm(args))
        if "memory" in wanted:
            lines.append(memory(args))
        if "nchan" in wanted:
            lines.append(beside_nchan(args, path, texts))
    print(*lines, f"machine: {json.dumps(machine.describe())}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
