"""A gateway process and its admin listener."""

import json
import os
import signal
import tempfile
import urllib.error
import urllib.request

import process


class Gateway:
    """A gateway on free ports, with `config` (TOML without data and admin) appended to [server].

    `data` and `admin` are "HOST:PORT". `log`: what it logs is in the file `log`, not on the terminal. Use it as a context
    manager: leaving kills what still runs.
    """

    def __init__(
        self, config="", binary=None, server="", data="127.0.0.1:0", admin="127.0.0.1:0", prefix=(), log=False
    ):
        binary = binary or os.environ["GATEWAY_BIN"]
        self.directory = tempfile.TemporaryDirectory(prefix="fanwire-")
        self.path = os.path.join(self.directory.name, "gateway.toml")
        with open(self.path, "w") as file:
            file.write(f'[server]\ndata = "{data}"\nadmin = "{admin}"\n{server}\n{config}\n')
        self.command, environment = [*prefix, binary, "--config", self.path], {"RUST_LOG": "warn", **os.environ}
        self.log = os.path.join(self.directory.name, "log")
        with open(self.log, "w") as file:
            self.process = process.start(*self.command, env=environment, stderr=file if log else None)
        try:
            words = process.listening(self.process)
        except RuntimeError as error:
            with open(self.log) as file:
                raise RuntimeError(f"{error}; it said: {file.read()}") from error
        self.pid = self.process.pid
        self.data, self.admin = words["data"], words["admin"]
        # Of [[admin.key]], where there is any.
        self.key = None
        self.url = f"ws://{self.data}/ws"
        # Where [server] tls is set.
        self.tls_url = f"wss://{words['tls']}/ws" if "tls" in words else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process.end(self.process)
        self.directory.cleanup()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def request(self, method, path, body=None, content_type="application/json"):
        """(status, parsed JSON or text) of an admin route."""
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": content_type} if body is not None else {}
        headers |= {"X-API-Key": self.key} if self.key else {}
        request = urllib.request.Request(f"http://{self.admin}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def publish(self, *items):
        """Publishes (topic, data) pairs: one as a single update, several as one atomic array."""
        updates = [{"topic": topic, "data": data} for topic, data in items]
        status, answer = self.request("POST", "/publish", json.dumps(updates[0] if len(updates) == 1 else updates))
        assert (status, answer) == (200, {"accepted": len(updates)}), f"publish answered {status} {answer}"

    def metrics(self):
        """{series with its labels: value}."""
        status, text = self.request("GET", "/metrics")
        assert status == 200, f"GET /metrics answered {status}"
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, value in lines}

    def clients(self):
        """How many are connected, on all shards."""
        return sum(value for series, value in self.metrics().items() if series.startswith("fanwire_connections{"))

    def topics(self):
        """{topic: v} of all topics."""
        topics, after = {}, ""
        while page := self.request("GET", f"/topics?after={after}")[1]:
            topics |= {topic["topic"]: topic["v"] for topic in page}
            after = page[-1]["topic"]
        return topics


def replay(path, speed=1, repeat=True):
    """The configuration of a source that replays a feed file."""
    repeats = str(repeat).lower()
    return f'[[source]]\nkind = "replay"\npath = "{os.path.abspath(path)}"\nspeed = {speed}\nrepeat = {repeats}\n'


def synthetic(symbols, updates_per_s):
    return f'[[source]]\nkind = "synthetic"\nsymbols = {symbols}\nupdates_per_s = {float(updates_per_s)}\n'
