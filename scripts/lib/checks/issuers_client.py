"""What the parts of the check `issuers` have in common: where programs make tokens, and a client that shows one."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import tools
from client import answered, connected, handshake
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

WAIT_S = 10
INTERPRETERS = {".py": (sys.executable,), ".mjs": ("node",), ".rb": ("ruby",)}


class Workshop:
    """A directory where programs of any of these languages find their library of tokens."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        (self.directory / "node_modules").symlink_to(tools.TOOLS / "jose" / "node_modules")

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def run(self, name, text, told=""):
        """What a program of that name and text prints, given that on stdin."""
        return self.call(*INTERPRETERS[pathlib.Path(name).suffix], self.file(name, text), told=told)

    def call(self, *command, told=""):
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.directory, input=told, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout


def encoded(sub):
    """A subject as one segment of a topic, told apart from PROTOCOL.md."""
    kept = re.compile(rb"[A-Za-z0-9_:@-]")
    out, data = "", sub.encode()
    for at, byte in enumerate(data):
        is_mark = byte == ord("@") and re.match(rb"@x[0-9A-F]{2}", data[at:])
        out += chr(byte) if kept.match(bytes([byte])) and not is_mark else f"@x{byte:02X}"
    return out


def status(address, token, topics=("public.a",)):
    """What a request with that token is answered; 0: nothing."""
    with connected(address) as sock:
        return answered(sock, handshake(topics, f"Authorization: Bearer {token}"))


def until(client, op):
    while (frame := json.loads(client.recv(WAIT_S)))["op"] != op:
        pass
    return frame


def holds(gateway, token, claims, granted="desk.*"):
    """Shows a token, and tries its grants: its own, `user.{sub}.*` as everybody has, and what nobody granted it. What
    is not as it should be, or None."""
    segment = encoded(claims["sub"])
    mine = f"user.{segment}.inbox"
    gateway.publish((mine, claims["sub"]))
    try:
        with connect(gateway.url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            first = json.loads(client.recv(WAIT_S))
            wanted = {"op": "authorized", "sub": claims["sub"], "as": segment}
            wanted |= {"exp": claims["exp"] * 1_000_000} if "exp" in claims else {}
            assert wanted.items() <= first.items(), f"the first message is {first}"
            client.send(json.dumps({"op": "subscribe", "topics": [mine, granted]}))
            updates = until(client, "snapshot")["updates"]
            assert {"topic": mine, "data": claims["sub"]}.items() <= updates[0].items(), f"{mine} holds {updates}"
            for topic in ("user.other.inbox", "user.*", "*"):
                client.send(json.dumps({"op": "subscribe", "topics": [topic]}))
                answer = until(client, "error")
                assert answer["code"] == 4403, f"{topic} is answered with {answer}"
    except (AssertionError, InvalidStatus, TimeoutError) as error:
        return f"{claims['sub']}: {error}"
    return None


@contextlib.contextmanager
def environment(**variables):
    """With these variables, for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
