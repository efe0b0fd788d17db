"""What a frame costs the engine where each client has a watchlist of its own: ns, by part of a shard's turn.

One shard on sockets and a clock that are simulated, so that nothing of the kernel is in it: --clients clients, each with
20 of 1,000 topics, 2,000 updates/s, 4 frames/s each, of 8 updates and 1 KB. The same with permessage-deflate, with
MessagePack, and with one watchlist for all, which is one class. Between turns --evict-kib of other memory is written to,
as the kernel does while it sends. Medians of --rounds. With --instructions instructions are counted by callgrind in place
of time, which other work on the machine does not disturb; no goal is judged then."""

import os
import pathlib
import re
import statistics
import tempfile

import process
import tools
from rounds import alternated

COUNTED = "watchlists::World::measured*"
CASES = {
    "own watchlists": (),
    "own watchlists, permessage-deflate": ("--wire", "deflate"),
    "own watchlists, MessagePack": ("--wire", "msgpack"),
    "own watchlists, MessagePack, permessage-deflate": ("--wire", "msgpack-deflate"),
    "one class": ("--same",),
}
# Of the goals for all of a process's time in user space, in which sockets and clocks have their part too.
NS_MAX = {"own watchlists": 2000, "one class": 250}


def figures(*words, prefix=()):
    line = process.output(*prefix, os.environ["WATCHLISTS_BIN"], *words)
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)}


def instructions(words):
    tools.need("valgrind")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        out = pathlib.Path(directory, "out")
        prefix = ("valgrind", "--tool=callgrind", "--quiet", "--collect-atstart=no", f"--toggle-collect={COUNTED}")
        seen = figures(*words, "--seconds", 1, prefix=(*prefix, f"--callgrind-out-file={out}"))
        counted = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    return seen, int(counted[1]) / seen["counted"]


def arguments(parser):
    parser.add_argument("--instructions", action="store_true", help="count instructions in place of time")
    parser.add_argument("--clients", type=int, help="(15000; 1000 where instructions are counted)")
    parser.add_argument("--turn-us", type=int, help="from turn to turn (1000; 5000 where instructions are counted)")
    parser.add_argument("--evict-kib", type=int, default=2048, help="of other memory, between turns (2048)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, timed (5)")


def run(args, verdict):
    few = args.instructions
    clients, turn_us = args.clients or (1000 if few else 15000), args.turn_us or (5000 if few else 1000)
    beside = ("--clients", clients, "--turn-us", turn_us)
    if few:
        for name, words in CASES.items():
            seen, each = instructions((*words, *beside))
            note = f"{seen['updates']:.1f} updates, {seen['bytes']:.0f} B"
            verdict.figure(f"{name}, of a frame", round(each), unit="instructions", note=note)
        return
    measure = lambda words: figures(*words, *beside, "--evict-kib", args.evict_kib)
    seen = alternated({name: lambda words=words: measure(words) for name, words in CASES.items()}, args.rounds)
    for name, rounds in seen.items():
        median = lambda part: statistics.median(one[part] for one in rounds)
        note = f"{median('updates'):.1f} updates, {median('bytes'):.0f} B; inbox {median('take_inbox_ns'):.0f}, "
        note += f"sent {median('events_ns'):.0f}, turn {median('run_ns'):.0f}"
        goal = ("<=", NS_MAX[name]) if name in NS_MAX else ()
        verdict.figure(f"{name}, of a frame", median("all_ns"), *goal, unit="ns", note=note)
