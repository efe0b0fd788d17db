"""Attacks of clients that subscribe: to much, again and again, from wherever, without reading."""

import functools
import random

from attacks.attack import TEXT, Attack, frame, op, request
from attacks.frames import PACE_S, SUBSCRIBED
from attacks.openings import bad_token

# Patterns of an op, which [limits] patterns bounds.
PATTERNS = 900
STARRED = 50
# In a template, where each op has a number of its own.
PLACE = b"NNNNNNNN"
MUCH = lambda target, n: request(f"/ws?topics=*,storm.z{n}&interval_ms=50")
GONE = op(op="unsubscribe")


@functools.cache
def template(patterns, form):
    """A subscribe to so many patterns that nobody named before."""
    names = ",".join(f'"{form.format(at)}"' for at in range(patterns))
    return frame(TEXT, f'{{"op":"subscribe","topics":[{names}]}}'.encode())


def again(patterns, form):
    """Subscribes to new patterns and unsubscribes from them, in turn."""

    def more(target, n, k):
        if k % 2:
            return GONE
        return template(patterns, form).replace(PLACE, b"%08d" % random.randrange(10**8))

    return more


def snapshots(target, n, k):
    return GONE if k % 2 == 0 else op(op="subscribe", topics=["*", f"storm.z{n}"], interval_ms=50)


def since(target, n, k):
    """A position of long ago, of a moment ago, of another life, and ones that never were."""
    epoch, version = ((target.epoch, 0), (target.epoch, 100_000), ("0123456789abcdef", 7), (target.epoch, 1 << 52))[k % 4]
    return op(op="subscribe", topics=[f"big.s{n % 50}.*"], since=f"{epoch}:{version}")


def auths(target, n, k):
    return op(op="auth", token=bad_token(n * 4 + k % 2))


WAITS = tuple(f'fanwire_build_waits_total{{reason="{why}"}}' for why in ("budget", "long", "address", "room"))
RESTED = ("fanwire_ops_rested_total", "fanwire_shares_refused_total", *WAITS)

ATTACKS = (
    Attack("churn", "ops of 900 new patterns each", ("fanwire_patterns_evicted_total", "fanwire_messages_in_total"),
           SUBSCRIBED, again(PATTERNS, "churn.NNNNNNNN.{:03}"), pace_s=PACE_S, addresses=50),
    Attack("stars", "ops of 50 new patterns that all topics are looked at for", RESTED, SUBSCRIBED,
           again(STARRED, "*.*.*.NNNNNNNN{:02}"), pace_s=PACE_S, addresses=50),
    Attack("snapshots", "everything, again and again", WAITS, MUCH, snapshots, pace_s=PACE_S),
    Attack("since", "positions of long ago, ahead, and of another epoch", (*WAITS, "fanwire_catchups_out_total",
           'fanwire_ended_total{reason="ahead"}'), SUBSCRIBED, since, pace_s=PACE_S, addresses=50),
    Attack("stopped", "ask for everything and read nothing", (*WAITS, 'fanwire_ended_total{reason="pinned_bytes"}',
           'fanwire_ended_total{reason="stalled"}'), MUCH, reads=False, receive_bytes=4096),
    Attack("bad-auths", "bad tokens by op on open connections", ("fanwire_tokens_refused_total",), SUBSCRIBED, auths,
           pace_s=PACE_S, addresses=50),
)
