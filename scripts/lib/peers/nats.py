"""nats-server with its WebSocket listener, plain or with TLS and compression, to measure beside."""

import contextlib
import os
import tempfile

import process

CONFIG = """
listen: "127.0.0.1:{port}"
max_connections: 100000
ping_interval: "10m"
websocket {{
    listen: "127.0.0.1:{websocket}"
    {tls}
    compression: {compression}
}}
"""
PLAIN = "no_tls: true"
TLS = """tls {{ cert_file: "{cert}", key_file: "{key}", min_version: "1.3" }}"""


@contextlib.contextmanager
def server(binary, certificate=None, compression=False, prefix=()):
    """A running nats-server: (process, port of its own protocol, URL of its WebSocket listener)."""
    port, websocket = process.free_port(), process.free_port()
    tls = TLS.format(cert=certificate[0], key=certificate[1]) if certificate else PLAIN
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config, log = (os.path.join(directory, name) for name in ("nats.conf", "log"))
        with open(config, "w") as file:
            file.write(CONFIG.format(port=port, websocket=websocket, tls=tls, compression=str(compression).lower()))
        with process.running(*prefix, binary, "-c", config, "-l", log) as running:
            process.until_listening(websocket).close()
            scheme = "wss" if certificate else "ws"
            yield running, port, f"{scheme}://127.0.0.1:{websocket}/"
