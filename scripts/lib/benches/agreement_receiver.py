"""Subscribers on the `websockets` package that note when each message arrives, and nothing else.

`agreement_receiver.py URL CONNECTIONS SECONDS INTERVAL_MS` subscribes to everything, begins when every client
has its snapshot, and prints `{"frames_per_s", "visible_ms": {"p50", "p99"}}` of the batches that
arrived in the window. Messages are parsed after it, so that parsing delays no arrival.
"""

import asyncio
import json
import math
import sys
import time

from websockets.asyncio.client import connect

READY_S = 30


async def client(url, interval_ms, ready, arrivals):
    """Appends (arrival in µs since the epoch, message) of everything after the snapshot."""
    # As loadgen: no compression, and nothing is left in the kernel to bound a queue.
    async with connect(url, compression=None, max_queue=None, ping_interval=None) as socket:
        await socket.send(json.dumps({"op": "subscribe", "topics": ["*"], "interval_ms": interval_ms}))
        while json.loads(await socket.recv())["op"] != "snapshot":
            pass
        ready.release()
        while True:
            message = await socket.recv(decode=False)
            arrivals.append((time.time_ns() // 1000, message))


async def receive(url, connections, seconds, interval_ms):
    """Arrivals of the window."""
    ready, arrivals = asyncio.Semaphore(0), []
    clients = [asyncio.create_task(client(url, interval_ms, ready, arrivals)) for _ in range(connections)]
    async with asyncio.timeout(READY_S):
        for _ in clients:
            await ready.acquire()
    begin_us = time.time_ns() // 1000
    await asyncio.sleep(seconds)
    ended = [task for task in clients if task.done()]
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    if ended:
        raise RuntimeError(f"{len(ended)} clients ended early, the first with {ended[0].exception()!r}")
    end_us = begin_us + seconds * 1_000_000
    return [(at_us, message) for at_us, message in arrivals if begin_us <= at_us < end_us]


def percentile(ordered, share):
    """The smallest value that at least this share of all do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def figures(arrivals, seconds):
    batches = [(at_us, frame) for at_us, message in arrivals if (frame := json.loads(message))["op"] == "batch"]
    ages_ms = sorted((at_us - frame["oldest"]) / 1000 for at_us, frame in batches if "oldest" in frame)
    if not ages_ms:
        raise RuntimeError("no batch with an age arrived")
    visible_ms = {"p50": percentile(ages_ms, 0.5), "p99": percentile(ages_ms, 0.99)}
    return {"frames_per_s": len(batches) / seconds, "visible_ms": visible_ms}


def main():
    url, connections, seconds, interval_ms = sys.argv[1], *map(int, sys.argv[2:])
    print(json.dumps(figures(asyncio.run(receive(url, connections, seconds, interval_ms)), seconds)))


if __name__ == "__main__":
    main()
