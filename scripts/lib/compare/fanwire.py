"""Fanwire as its documents recommend it for a row: an interval in place of an application."""

import contextlib
import json
import os
import tempfile

from compare.load import SERVER_CPU, Served
from gateway import Gateway, replay, synthetic
from machine import pinned

# One shard on the core, which it shares with the source and the admin listener.
ON_ONE_CPU = "shards = 1\ncpus = [0]\n"
# `{"n":…,"text":""}` and what stands around it, as in the feed of the others.
PADDED_BYTES = 74
FOREVER = '[fanout]\nheartbeat = "60s"\n'
# Where each client has frames of its own: fewer and larger groups of them.
GRID_MS = 10


def source(load, directory):
    """A source of the load's updates."""
    if not load.per_s:
        return ""
    if load.bytes is None:
        return synthetic(load.topics, load.per_s)
    path = os.path.join(directory, "feed.ndjson")
    with open(path, "w") as file:
        for n in range(int(load.per_s)):
            data = '{"n":%6d,"text":"%s"}' % (n, "x" * (load.bytes - PADDED_BYTES))
            file.write('{"at_us":%d,"topic":"tick.S0000","data":%s}\n' % (n * 1e6 / load.per_s, data))
        # A pass ends with its last update: this one makes it a second long.
        file.write('{"at_us":1000000,"topic":"unheard.t","data":0}\n')
    return replay(path)


def settings(load):
    compressed = ", permessage-deflate" if load.deflate else ""
    grid = f", flush_grid_ms {GRID_MS}" if load.own else ""
    return f"interval {load.interval_ms} ms{grid}{compressed}"


@contextlib.contextmanager
def served(load):
    tls = ""
    if load.certificate:
        tls = 'tls = "127.0.0.1:0"\ntls_cert = "%s"\ntls_key = "%s"\n' % load.certificate
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        grid = f"flush_grid_ms = {GRID_MS}\n" if load.own else ""
        config = FOREVER + grid + source(load, directory)
        with Gateway(config, server=tls + ON_ONE_CPU, prefix=pinned(SERVER_CPU)) as gateway:
            # The same mode of loadgen as for the others; exactness is judged elsewhere.
            says = json.dumps({"op": "subscribe", "topics": None, "interval_ms": load.interval_ms})
            says = says.replace("null", "{topics}")
            words = ["--send", says, "--stamp", "key:oldest"]
            per_s = 1000 / load.interval_ms if load.interval_ms else load.frames_per_s
            yield Served(gateway.tls_url or gateway.url, gateway.pid, words, per_s)
