"""A client of a moment, for what attackers have to know."""

import re

from attacks.attack import request
from client import connected

EPOCH = re.compile(rb'"epoch":"([0-9a-f]{16})"')


def epoch_of(url):
    """The gateway's epoch."""
    with connected(url.split("/")[2]) as sock:
        sock.sendall(request("/ws?topics=none"))
        data = b""
        while not (told := EPOCH.search(data)):
            received = sock.recv(4096)
            if not received:
                raise RuntimeError(f"no epoch was told: {data!r}")
            data += received
        return told[1].decode()
