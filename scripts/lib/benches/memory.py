"""Process memory per idle subscribed client on one shard, in bytes.

Connects --from clients, publishes to them so that every pool has been touched, notes the memory, connects up to --to,
and divides the difference. Memory is the process's anonymous resident memory: pages of the program file come and go
with the page cache. Huge pages make the first figure coarse (a table's page may have been touched whole by its first
client), so the growth from no client at all, pools included, is a row too. The kernel's own memory for the sockets is
in neither. The process needs room for --to sockets; each receiver opens its own descriptors."""

import contextlib
import os
import time
from typing import NamedTuple

import process
from gateway import Gateway
from machine import memory_bytes

SUBSCRIBE = '{"op":"subscribe","topics":["*"]}'
SETTLE_S = 6
UPDATES = 500
# 393 and 583 B were measured; huge pages move either by some tens.
CLIENT_BYTES_MAX, POOLS_BYTES_MAX = 450, 650


class Growth(NamedTuple):
    """Bytes of one more client, the same from no client on, and what was held meanwhile, in words."""

    each: float
    with_pools: float
    steps: str


def connect(stack, gateway, clients, words):
    """A receiver that holds its connections until the stack unwinds."""
    command = [os.environ["RECEIVER_BIN"], "--address", gateway.data, "--connections", clients]
    receiver = stack.enter_context(process.running(*command, "--subscribe", SUBSCRIBE, *words))
    if receiver.stdout.readline() != f"connected {clients}\n":
        raise RuntimeError(f"the receiver could not connect {clients} clients")


def measure(args, config="", words=lambda name, clients: (), binary=None):
    """The Growth of a gateway. `words` are more of them for the receivers of few clients and of many."""
    config = f"[fanout]\ninterval_ms = 100\n{config}"
    with Gateway(config, binary, server="shards = 1") as gateway, contextlib.ExitStack() as stack:
        anonymous = lambda: memory_bytes(gateway.pid, "RssAnon")
        empty = anonymous()
        connect(stack, gateway, args.few, words("few", args.few))
        for n in range(UPDATES):
            gateway.publish((f"touch.t{n % 10}", {"n": n, "text": "x" * 200}))
        time.sleep(SETTLE_S)
        few = anonymous()
        connect(stack, gateway, args.many - args.few, words("many", args.many - args.few))
        time.sleep(SETTLE_S)
        many = anonymous()
    mib = [f"{count} clients {held / 2**20:.1f} MiB" for count, held in ((0, empty), (args.few, few), (args.many, many))]
    return Growth((many - few) / (args.many - args.few), (many - empty) / args.many, ", ".join(mib))


def arguments(parser):
    parser.add_argument("--from", dest="few", type=int, default=2000, help="clients (2000)")
    parser.add_argument("--to", dest="many", type=int, default=18000, help="clients (18000)")


def run(args, verdict):
    growth = measure(args)
    verdict.figure("memory per idle subscribed client", round(growth.each), "<=", CLIENT_BYTES_MAX, "B", growth.steps)
    whole = round(growth.with_pools)
    verdict.figure("the same from an empty gateway, pools included", whole, "<=", POOLS_BYTES_MAX, "B")
