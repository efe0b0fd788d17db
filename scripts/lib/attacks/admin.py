"""Attacks on the admin listener, and of who may signal the process."""

import functools
import json
import os
import signal
import time

from attacks.attack import PIECE_BYTES, Attack

BODY_BYTES = 15 << 20
HANGUPS_PER_S = 1000


def head(length, kind="application/x-ndjson"):
    return f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def slow_opening(target, n):
    """A head that never ends, or a body."""
    return b"GET /metrics HTTP/1.1\r\nHost: local" if n % 2 else head(1 << 20) + b"{"


@functools.cache
def body(n):
    """Lines of small updates of 1,000 topics, or arrays of values of 1 MB."""
    if n % 2:
        values = [{"topic": f"pub.v{at}", "data": "x" * 1_000_000} for at in range(BODY_BYTES // 1_000_100)]
        text = json.dumps(values).encode()
        return head(len(text), "application/json") + text
    line = b'{"topic":"pub.t%03d","data":0}\n'
    text = b"".join(line % (at % 1000) for at in range(BODY_BYTES // len(line % 0)))
    return head(len(text)) + text


def published(target, n, k):
    """One body after the other, in pieces."""
    whole = body(n % 2)
    pieces = -(-len(whole) // PIECE_BYTES)
    begin = k % pieces * PIECE_BYTES
    return whole[begin : begin + PIECE_BYTES]


def new_topics(target, n, k):
    """A request with updates of topics that nobody named before."""
    lines = b"".join(b'{"topic":"new.c%d.k%d.i%d","data":0}\n' % (n, k, at) for at in range(1000))
    return head(len(lines)) + lines


def hang_up(target, is_ending, counts):
    while not is_ending():
        os.kill(target.pid, signal.SIGHUP)
        counts["pieces"] += 1
        time.sleep(1 / HANGUPS_PER_S)


def rest(target, is_ending, counts):
    while not is_ending():
        time.sleep(0.05)


def spin(target, is_ending, counts):
    """Takes all of the CPU that attackers may have, and asks for nothing."""
    while not is_ending():
        sum(range(1000))


SLOW = ("fanwire_admin_heads_late_total", "fanwire_admin_bodies_slow_total", "fanwire_admin_connections_evicted_total",
        "fanwire_admin_connections_reset_total", "fanwire_admin_connections_refused_total")
REFUSED = ("fanwire_updates_refused_total",)

# Nobody attacks: what the others are compared with, and what the attackers' own CPU does.
QUIET = Attack("quiet", "nobody", (), run=rest)
SPINNING = Attack("spinning", "takes CPU beside the clients, asks for nothing", (), run=spin)
ATTACKS = (
    Attack("slow-admin", "heads and bodies of the admin listener, a byte at a time", SLOW, slow_opening,
           lambda target, n, k: b"x", connections=500, to="admin", pace_s=0.5),
    Attack("publishes", "bodies of 15 MB, 40 at a time", ("fanwire_updates_total", "fanwire_publish_waits_total",
           "fanwire_admin_publishes_waited_total"), more=published, connections=40, addresses=40, to="admin"),
    Attack("topics", "updates of new topics without end", REFUSED, more=new_topics, connections=16, addresses=16,
           to="admin"),
    Attack("hangups", "SIGHUP, 1,000 a second", ('fanwire_config_reloads_total{result="applied"}',), run=hang_up),
)
