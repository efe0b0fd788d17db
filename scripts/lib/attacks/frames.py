"""Attacks by frames: of a length, in pieces, too many, compressed."""

import functools
import json
import os
import random
import struct
import zlib

from attacks.attack import CLOSE, DEFLATED, FIN, PING, PONG, TEXT, Attack, frame, request, upgrade

SPACES = 60_000
# What a read of the gateway holds of them.
FLOOD = 300
LENGTHS = (1 << 63, (1 << 63) - 1, 1 << 32, 1 << 30, 65_537)
# [limits] message_bytes, nearly.
HELD_BYTES = 65_000
SUBSCRIBED = lambda target, n: request("/ws?topics=probe.t0&interval_ms=1000")
# Under [limits] messages_per_s of the configuration.
PACE_S = 0.06


def bomb(target, n, k):
    """A frame that says it is very long; every other connection keeps a message that lacks its last byte."""
    if k > 0:
        return None
    if n % 2:
        return frame(TEXT, b" " * HELD_BYTES)[:-1]
    return bytes([FIN | TEXT, 0xFF]) + struct.pack(">Q", LENGTHS[n // 2 % len(LENGTHS)]) + bytes(4 + 4096)


@functools.cache
def fragments():
    """An op with much white space, a byte a fragment."""
    text = b'{"op":"ping"' + b" " * SPACES + b"}"
    parts = [frame(TEXT if at == 0 else 0, text[at : at + 1], 0) for at in range(len(text) - 1)]
    return b"".join([*parts, frame(0, text[-1:])])


def deflated(text, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, packed.removesuffix(b"\0\0\xff\xff"), FIN | DEFLATED)


@functools.cache
def bombs():
    """One that becomes 16 MiB, and one that stays just below what `inflate_ratio` and `message_bytes` allow."""
    rng = random.Random(1)
    noise = json.dumps({"op": "ping", "pad": "".join(rng.choices("0123456789abcdef", k=1500))})[:-1].encode()
    return deflated(b'{"op":"ping"' + b" " * (16 << 20) + b"}"), deflated(noise + b" " * SPACES + b"}")


def packed(target, n, k):
    return bombs()[n % 2]


def closing(target, n, k):
    return frame(CLOSE, struct.pack(">H", 1000)) * FLOOD if k < 4 else None


ENDED = tuple(f'fanwire_ended_total{{reason="{reason}"}}' for reason in ("rate", "too_big", "malformed", "bomb"))
CLOSED = ('fanwire_ended_total{reason="client_closed"}', 'fanwire_ended_total{reason="protocol_error"}')
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

ATTACKS = (
    Attack("length-bombs", "frames of up to 2^63 B; messages that lack a byte", ENDED, SUBSCRIBED, bomb, addresses=100),
    Attack("fragments", "messages of 60 KB, a byte a fragment", ("fanwire_messages_in_total", *ENDED), SUBSCRIBED,
           lambda target, n, k: fragments(), addresses=100),
    Attack("pings", "pings without end", ENDED, SUBSCRIBED,
           lambda target, n, k: frame(PING, b"x" * 125) * FLOOD, addresses=100),
    Attack("pongs", "pongs without end", ENDED, SUBSCRIBED, lambda target, n, k: frame(PONG) * FLOOD, addresses=100),
    Attack("closes", "a handshake, then closes without end", CLOSED, upgrade(), closing, addresses=100),
    Attack("bombs", "compressed messages: too long ones, and long ones", ENDED,
           lambda target, n: request("/ws?topics=probe.t0&interval_ms=1000", OFFER), packed, addresses=100,
           pace_s=PACE_S),
    Attack("garbage", "text that is no op, as fast as it may come", ENDED, SUBSCRIBED,
           lambda target, n, k: frame(TEXT, os.urandom(8).hex().encode()), addresses=100, pace_s=PACE_S),
)
