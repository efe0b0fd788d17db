"""The client of the checks, on a bare socket, so that the reading is ours: when, how fast, how much the kernel holds.

It shares no code with `subscriber`, which judges exactness."""

import base64
import contextlib
import json
import os
import socket
import struct
import time

CLOSE, PING, PONG = 8, 9, 10
ESTABLISHED = "01"  # the state column of /proc/net/tcp


def connected(address, receive_bytes=None, source=None) -> socket.socket:
    """A socket to HOST:PORT, with a receive buffer of its own size, from a source address."""
    host, port = address.rsplit(":", 1)
    sock = socket.socket()
    if receive_bytes:
        # Before the connect, or the window is already larger.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    if source:
        sock.bind((source, 0))
    sock.settimeout(30)
    sock.connect((host, int(port)))
    return sock


def handshake(topics, *headers, interval_ms=None) -> bytes:
    """The request that subscribes to the topics by its URL."""
    query = f"topics={','.join(topics)}" + (f"&interval_ms={interval_ms}" if interval_ms is not None else "")
    lines = [f"GET /ws?{query} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def answered(sock, request) -> int:
    """The status of the answer to a request; 0: there is none."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        sock.sendall(request)
        while b"\r\n" not in answer and (received := sock.recv(4096)):
            answer += received
    return int(answer.split(b" ")[1]) if answer else 0


class Client:
    """`offset` counts the bytes of frames read so far; a frame begins and ends at such offsets.

    `position` is the version held and `held` the `v` of each topic. `behind_us` lists, a batch, its
    arrival minus `oldest`."""

    def __init__(self, address, topics, interval_ms, receive_bytes=None):
        self.socket = connected(address, receive_bytes)
        self.socket.sendall(handshake(topics, interval_ms=interval_ms))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._receive(65536)
        answer, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise RuntimeError(f"the handshake was answered with {answer!r}")
        self.offset, self.position, self.held, self.parts, self.behind_us = 0, None, {}, [], []

    def _receive(self, length):
        data = self.socket.recv(length)
        if not data:
            raise RuntimeError("the gateway closed the connection")
        return data

    def batches(self, receive=None):
        """Yields (begin, updates) of each snapshot or batch once its last part was applied.

        `receive(n)` reads up to n bytes; it sets the pace."""
        begin, message = None, b""
        while True:
            frame_begin, fin, opcode, payload = self._frame(receive or self._receive)
            if opcode == PING:
                self.socket.sendall(bytes([0x80 | PONG, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            elif opcode == CLOSE:
                raise RuntimeError(f"the gateway closed with {payload!r}")
            else:
                message += payload
                # Where its first fragment began.
                begin = frame_begin if begin is None else begin
                if not fin:
                    continue
                frame, message = json.loads(message), b""
                if frame["op"] == "subscribed":
                    self.position = frame["version"]
                    begin = None
                elif frame["op"] in ("snapshot", "batch"):
                    self.parts += frame["updates"]
                    if not frame.get("more"):
                        yield begin, self._apply(frame)
                        begin = None
                else:
                    begin = None

    def _frame(self, receive):
        begin = self.offset
        length = self._take(2, receive)
        fin, opcode, length = length[0] & 0x80, length[0] & 15, length[1]
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2, receive))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8, receive))
        return begin, fin, opcode, self._take(length, receive)

    def _take(self, length, receive):
        chunks, have = [self.buffer], len(self.buffer)
        while have < length:
            chunks.append(receive(max(length - have, 65536)))
            have += len(chunks[-1])
        data = b"".join(chunks)
        self.buffer = data[length:]
        self.offset += length
        return data[:length]

    def _apply(self, frame):
        """Takes a snapshot or batch at its last part; all of its updates."""
        if frame["op"] == "batch" and frame["from"] > self.position:
            raise RuntimeError(f"lost: from {frame['from']} is above the position {self.position}")
        updates, self.parts = self.parts, []
        for update in updates:
            self.held[update["topic"]] = max(update["v"], self.held.get(update["topic"], 0))
        if frame["version"] < self.position:
            raise RuntimeError(f"the version went back from {self.position} to {frame['version']}")
        self.position = frame["version"]
        if "oldest" in frame:
            self.behind_us.append(time.time() * 1e6 - frame["oldest"])
        return updates

    def missing(self, topics):
        """Of {topic: v}, those of which less is held: {topic: (held, v)}."""
        return {topic: (self.held.get(topic, 0), v) for topic, v in topics.items() if self.held.get(topic, 0) < v}

    def kernel_bytes(self):
        """(received and not read, in the gateway's socket): bytes that nothing can be conflated in any more."""
        here, there = self.socket.getsockname(), self.socket.getpeername()
        received = sent = None
        with open("/proc/net/tcp") as table:
            for line in table:
                fields = line.split()
                if fields[3] == ESTABLISHED:
                    queues = [int(queue, 16) for queue in fields[4].split(":")]
                    if (fields[1], fields[2]) == (hex_address(here), hex_address(there)):
                        received = queues[1]
                    elif (fields[1], fields[2]) == (hex_address(there), hex_address(here)):
                        sent = queues[0]
        if received is None or sent is None:
            raise RuntimeError("the connection is not in /proc/net/tcp")
        return received, sent


def hex_address(address):
    host, port = address
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
