"""What an attack is, what it knows of the gateway, and the bytes that attackers send."""

import base64
import json
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN, DEFLATED = 0x80, 0x40
# Bytes that go to the kernel in one call.
PIECE_BYTES = 64 << 10


class Target(NamedTuple):
    """A gateway: its addresses as "HOST:PORT", its process, and what its first client was told."""

    data: str
    tls: str
    admin: str
    pid: int
    epoch: str


def nothing(target, n, k):
    """No piece: the connection is held."""


class Attack(NamedTuple):
    """`connections` from so many `addresses`, each of which is opened again when it ends.

    `opening(target, n)` is what connection `n` says first, `more(target, n, k)` its `k`-th piece after that, each as
    soon as the last one is sent, or every `pace_s`. `counted` are series of /metrics of which one at least must rise.
    """

    name: str
    does: str
    counted: tuple[str, ...]
    opening: Callable = lambda target, n: b""
    more: Callable = nothing
    connections: int = 1000
    addresses: int = 5
    # "data", "tls" or "admin".
    to: str = "data"
    connects_per_s: int = 2000
    pace_s: float = 0.0
    reads: bool = True
    receive_bytes: int | None = None
    # It is reset by its own side: as soon as the opening is sent, or when something is answered.
    resets: str = "never"
    # In place of all that: a function of the target, of what says that it ends, and of counts.
    run: Callable | None = None
    # How clients reach the gateway: "direct", or "proxied" by one that requires the PROXY protocol.
    way: str = "direct"


def frame(opcode, payload=b"", flags=FIN):
    """A frame of a client, masked with zeros."""
    length = len(payload)
    if length < 126:
        head = bytes([flags | opcode, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([flags | opcode, 0x80 | 126]) + struct.pack(">H", length)
    else:
        head = bytes([flags | opcode, 0x80 | 127]) + struct.pack(">Q", length)
    return head + bytes(4) + payload


def op(**fields):
    return frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


def request(path="/ws", *headers):
    """The request for a WebSocket."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def upgrade(*headers):
    """An opening that asks for a WebSocket, and no more."""
    return lambda target, n: request("/ws", *headers)


def repeated(*pieces):
    """A `more` that sends the same pieces over and over."""
    return lambda target, n, k: pieces[k % len(pieces)]
