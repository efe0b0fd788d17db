"""The rows of `wire` in which other servers stand beside the gateway."""

import os
import re

import load
import process
import tools
from benches.quotes import DEFLATE, FRAMES_PER_S, ON_ONE_CPU, PLAIN, TLS, measure
from gateway import Gateway
from load import cpu_us_of_frame
from machine import cpu_s, pinned
from peers import nchan as nginx
from rounds import alternated, medians

ONE_BY_ONE_S = 5
UWS = os.path.join(tools.ROOT, "scripts", "lib", "peers", "uws_ticks.cjs")


def raw(url, pid, *words):
    """loadgen's report of a server of another protocol."""
    return load.raw(url, "--server-pid", str(pid), "--stamp", "none", *words, prefix=pinned(1))


def held(args, url, pid, how):
    """loadgen's report of a server that publishes to all clients."""
    return raw(url, pid, "--connections", str(args.clients), "--duration", f"{args.seconds}s", *how)


def uws(args, verdict):
    """CPU per frame with deflate, of the gateway and of uWebSockets."""
    tools.need("uws")

    def theirs(how):
        with process.running(*pinned(0), "node", UWS, args.texts_path, FRAMES_PER_S) as server:
            return held(args, f"ws://{process.listening(server)['data']}/", server.pid, how)

    measures = {
        "gateway": lambda: measure(args, DEFLATE),
        "uWebSockets": lambda: theirs(DEFLATE),
        "uWebSockets, plain": lambda: theirs(PLAIN),
    }
    show = lambda name, report: print(f"  {name:18} {cpu_us_of_frame(report):6.2f} µs/frame", flush=True)
    seen = alternated(measures, args.rounds, show)
    ours, compressed, plain = medians(seen, cpu_us_of_frame)
    sizes = medians(seen, lambda report: report["bytes"]["payload"] / report["frames"]["total"])
    note = f"frames of {sizes[0]:.0f} and {sizes[2]:.0f} bytes; its publish without compression takes {plain:.2f} µs"
    what = "CPU per frame with deflate ÷ uWebSockets' publish with its shared compressor"
    # About 5.6 µs of both are the kernel's send with the loopback's receive half.
    verdict.ratio(what, ours, compressed, "µs", "<=", 0.33, note)


def one_by_one(url, pid):
    """CPU µs that a server takes for a full handshake of OpenSSL's s_time, one after the other, and its end."""
    before = cpu_s(pid)
    command = [*pinned(1), "openssl", "s_time", "-connect", url.split("/")[2], "-new", "-tls1_3"]
    output = process.output(*command, "-time", ONE_BY_ONE_S)
    # The first line counts those in the CPU time of s_time itself, the second all.
    count = re.search(r"(\d+) connections in \d+ real seconds", output).group(1)
    return (cpu_s(pid) - before) / int(count) * 1e6


def at_once(args, pid, come):
    """CPU µs that a server takes for a connection among many that come at once."""
    before = cpu_s(pid)
    come("--connections", str(args.storm), "--duration", "1s", *TLS)
    return (cpu_s(pid) - before) / args.storm * 1e6


def of_gateway(args):
    """CPU µs: (a frame with TLS, a handshake, a connection of many)."""
    frame = cpu_us_of_frame(measure(args, TLS))
    with Gateway("", server=args.certificate + ON_ONE_CPU) as gateway:
        come = lambda *words: load.run(gateway, "--topics", "none", *words, url=gateway.tls_url, prefix=pinned(1))
        return frame, one_by_one(gateway.tls_url, gateway.pid), at_once(args, gateway.pid, come)


def of_nchan(args):
    with nginx.server(*args.files, prefix=pinned(0)) as (pid, url, plain):
        with nginx.publishing(plain, lambda n: args.texts[n % len(args.texts)], FRAMES_PER_S):
            frame = cpu_us_of_frame(held(args, url, pid, TLS))
    with nginx.server(*args.files, prefix=pinned(0)) as (pid, url, _):
        return frame, one_by_one(url, pid), at_once(args, pid, lambda *words: raw(url, pid, *words))


def nchan(args, verdict):
    """CPU per frame with TLS and CPU per handshake, of the gateway and of nginx with nchan."""
    tools.need("nchan")

    def show(name, figures):
        frame, handshake, connection = figures
        told = f"{handshake:6.2f} µs/handshake, {connection:6.2f} µs/connection"
        print(f"  {name:7} {frame:6.2f} µs/frame, {told}", flush=True)

    seen = alternated({"gateway": lambda: of_gateway(args), "nchan": lambda: of_nchan(args)}, args.rounds, show)
    ours, theirs = medians(seen, lambda figures: figures[0])
    verdict.ratio("CPU per frame with TLS 1.3 ÷ nginx with nchan", ours, theirs, "µs", "<=", 0.75)
    kinds = ("one by one", f"{args.storm} at once, each with its upgrade and its end")
    for at, kind in enumerate(kinds, 1):
        ours, theirs = (1e6 / each for each in medians(seen, lambda figures: figures[at]))
        verdict.ratio(f"full handshakes a second on one core ÷ nginx's, by CPU, {kind}", ours, theirs, "/s", ">=", 0.9)
