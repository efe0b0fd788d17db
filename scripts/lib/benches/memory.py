"""Process memory per idle subscribed client on one shard, in bytes.

Connects --from clients, publishes to them so that every pool has been touched, notes the memory, connects up to --to,
and divides the difference. Memory is the process's anonymous resident memory: pages of the program file come and go
with the page cache. Huge pages make the first figure coarse (a table's page may have been touched whole by its first
client), so the growth from no client at all, pools included, is a row too. The kernel's own memory for the sockets is
in neither. The process needs room for --to sockets; each receiver opens its own descriptors."""

import contextlib
import os
import time

import process
from gateway import Gateway
from machine import memory_bytes

SETTLE_S = 6
UPDATES = 500
# 393 and 583 B were measured; huge pages move either by some tens.
CLIENT_BYTES_MAX, POOLS_BYTES_MAX = 450, 650


def connect(stack, gateway, clients):
    """A receiver that holds its connections until the stack unwinds."""
    command = [os.environ["RECEIVER_BIN"], "--address", gateway.data, "--connections", clients]
    receiver = stack.enter_context(process.running(*command, "--subscribe", '{"op":"subscribe","topics":["*"]}'))
    if receiver.stdout.readline() != f"connected {clients}\n":
        raise RuntimeError(f"the receiver could not connect {clients} clients")


def arguments(parser):
    parser.add_argument("--from", dest="few", type=int, default=2000, help="clients (2000)")
    parser.add_argument("--to", dest="many", type=int, default=18000, help="clients (18000)")


def run(args, verdict):
    with Gateway("[fanout]\ninterval_ms = 100", server="shards = 1") as gateway, contextlib.ExitStack() as stack:
        anonymous = lambda: memory_bytes(gateway.pid, "RssAnon")
        empty = anonymous()
        connect(stack, gateway, args.few)
        for n in range(UPDATES):
            gateway.publish((f"touch.t{n % 10}", {"n": n, "text": "x" * 200}))
        time.sleep(SETTLE_S)
        few = anonymous()
        connect(stack, gateway, args.many - args.few)
        time.sleep(SETTLE_S)
        many = anonymous()
    mib = [f"{count} clients {held / 2**20:.1f} MiB" for count, held in ((0, empty), (args.few, few), (args.many, many))]
    each, with_pools = round((many - few) / (args.many - args.few)), round((many - empty) / args.many)
    verdict.figure("memory per idle subscribed client", each, "<=", CLIENT_BYTES_MAX, "B", ", ".join(mib))
    verdict.figure("the same from an empty gateway, pools included", with_pools, "<=", POOLS_BYTES_MAX, "B")
