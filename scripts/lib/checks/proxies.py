"""HAProxy, nginx and Envoy with the files of configs/proxies in front of a gateway, each of their ways: limits, log and
audit have the addresses of clients, whatever these claim; a page of the host that clients ask for is let in, where the
gateway is told of it; who comes past the proxy is not believed."""

import contextlib
import json
import os
import pathlib
import re
import ssl
import tempfile
import time
from typing import NamedTuple

import process
from benches import quotes
from client import answered, connected, handshake
from gateway import Gateway
from machine import ROOT

CONFIGS = ROOT / "configs" / "proxies"
FILES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "envoy": "envoy.yaml"}
FIRST, SECOND, STRANGER, OWN, FOREIGN = (f"127.0.0.{host}" for host in (5, 6, 7, 8, 9))
TRUSTED = 'trusted_proxies = ["127.0.0.1"]\n'
REQUIRED = TRUSTED + 'proxy_protocol = "require"\n'
X_FORWARDED, FORWARDED = (TRUSTED + f'forwarded = "{name}"\n' for name in ("x-forwarded-for", "forwarded"))
# What a gateway on loopback answers to besides its own names.
HOSTS = '[access]\nhosts = ["app.example"]\n'
# What a client may write itself.
CLAIMS = ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9")
OWN_PAGE, FOREIGN_PAGE = (("Host: app.example", f"Origin: http://{of}.example") for of in ("app", "evil"))
SETTLES_S = 0.3
# Of a stream: how many events are looked at, and how late one may be.
EVENTS, SILENCE_S = 20, 2


class Way(NamedTuple):
    """How clients come to a gateway with these keys of [server], and other tables: by the proxy's listener on that port,
    with `changes` of its configuration. `page`: what a page of the host that clients ask for is answered."""

    name: str
    program: str
    port: int
    server: str
    page: int = 101
    tables: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    is_tls: bool = False


WAYS = (
    Way("HAProxy, send-proxy-v2", "haproxy", 8001, REQUIRED, tables=HOSTS),
    Way("HAProxy, send-proxy-v2, no hosts", "haproxy", 8001, REQUIRED, page=403),
    Way("HAProxy, send-proxy", "haproxy", 8001, REQUIRED, tables=HOSTS, changes=(("send-proxy-v2", "send-proxy"),)),
    Way("HAProxy, send-proxy-v2 before TLS", "haproxy", 8001, REQUIRED, tables=HOSTS,
        changes=(("check check-send-proxy inter 1s", ""),), is_tls=True),
    Way("HAProxy, forwardfor", "haproxy", 8002, X_FORWARDED),
    Way("nginx, stream", "nginx", 8003, REQUIRED, tables=HOSTS),
    Way("nginx, X-Forwarded-For", "nginx", 8004, X_FORWARDED),
    Way("nginx, its default Host", "nginx", 8004, X_FORWARDED, page=403,
        changes=(("proxy_set_header X-Forwarded-Host $host;", ""),)),
    Way("nginx, its default Host, origins", "nginx", 8004, X_FORWARDED,
        tables='[access]\norigins = ["http://app.example", "none"]\n',
        changes=(("proxy_set_header X-Forwarded-Host $host;", ""),)),
    Way("nginx, Forwarded", "nginx", 8005, FORWARDED),
    Way("Envoy, version V2", "envoy", 8006, REQUIRED, tables=HOSTS),
    Way("Envoy, version V1", "envoy", 8006, REQUIRED, tables=HOSTS, changes=(("version: V2", "version: V1"),)),
    Way("Envoy, use_remote_address", "envoy", 8007, X_FORWARDED),
)


class Mistake(NamedTuple):
    """nginx's listener on that port, before a gateway with keys of [server] that do not belong to it: what two clients
    with addresses of their own are answered, and what counts it."""

    name: str
    port: int
    server: str
    answers: tuple[int, int]
    counter: str


MISTAKES = (
    Mistake("a field, and nothing at the gateway", 8004, "", (101, 429),
            'fanwire_refused_by_total{rule="connections_per_ip"}'),
    Mistake("a PROXY header, and nothing at the gateway", 8003, "", (400, 400), 'fanwire_refused_total{status="400"}'),
    Mistake("a field, where a PROXY header is required", 8004, REQUIRED, (502, 502),
            'fanwire_proxy_refused_total{reason="missing"}'),
    Mistake("a PROXY header of a proxy that is not trusted", 8003, REQUIRED.replace("127.0.0.1", "10.0.0.7"), (0, 0),
            'fanwire_proxy_refused_total{reason="untrusted"}'),
)


def ports(text, gateway):
    """The configuration with free ports in place of those that it listens on, and which stands for which; and with the
    gateway's in place of 9001."""
    free = {}

    def other(match):
        before, port = match[1], int(match[2])
        here = gateway if port == 9001 else free.setdefault(port, process.free_port())
        return f"{before}{here}"

    return re.sub(r"(127\.0\.0\.1:|port_value: )(80\d\d|9001)\b", other, text), free


@contextlib.contextmanager
def proxy(way, gateway, prefix=()):
    """Where clients connect."""
    name = FILES[way.program]
    text, free = ports((CONFIGS / name).read_text(), gateway.rpartition(":")[2])
    for told, here in way.changes:
        assert told in text, f"{name} has no {told!r}"
        text = text.replace(told, here)
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path = pathlib.Path(directory, name)
        path.write_text(text)
        if way.program == "haproxy":
            command = ["haproxy", "-db", "-q", "-f", path]
        elif way.program == "envoy":
            command = [os.environ["ENVOY_BIN"], "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        else:
            # One process: killing it leaves no worker behind.
            options = f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr crit;"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
                text = text.replace("http {", f"http {{\n    {kind}_temp_path {directory}/{kind};", 1)
            path.write_text(text.replace("http {", "http {\n    access_log off;", 1))
            command = ["nginx", "-p", directory, "-c", path, "-e", "stderr", "-g", options]
        with process.running(*prefix, *command):
            process.until_listening(free[way.port]).close()
            yield f"127.0.0.1:{free[way.port]}"


class Clients:
    """Connections that stay open, by what they were answered."""

    def __init__(self, stack, is_tls):
        self.stack, self.is_tls = stack, is_tls

    def asked(self, address, source, *headers):
        """The status of the answer to an upgrade; 0: nothing was answered."""
        sock = connected(address, source=source)
        if self.is_tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                sock = context.wrap_socket(sock)
            except (ssl.SSLError, ConnectionError):
                return 0
        self.stack.enter_context(sock)
        request = handshake(["a"], *headers)
        if any(header.startswith("Host:") for header in headers):
            request = request.replace(b"Host: localhost\r\n", b"")
        return answered(sock, request)


def counted(gateway, name):
    """The sum of a counter over its labels."""
    status, text = gateway.request("GET", "/metrics")
    assert status == 200, status
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))


def healthy(address):
    """Waits until a proxy lets requests through."""
    ends = time.monotonic() + process.STARTS_S
    while True:
        with connected(address, source=STRANGER) as sock:
            if answered(sock, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == 200:
                return
        assert time.monotonic() < ends, "the proxy lets nothing through"
        time.sleep(0.1)


def audited(path):
    """What the audit has of clients, as (address, event, status). It has 400 of the proxy's other way, which asks how the
    gateway is behind a PROXY header."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = [(line["address"], line["event"], line.get("status")) for line in lines if "path" not in line]
    return [line for line in found if line != ("127.0.0.1", "refusal", 400)]


def run_way(way, verdict):
    is_required = way.server == REQUIRED
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanwire-")))
        server = way.server + (quotes.certificate(directory)[1] if way.is_tls else "")
        tables = f'{way.tables}[limits]\nconnections_per_ip = 1\n[audit]\npath = "{directory / "audit"}"\n'
        gateway = stack.enter_context(Gateway(tables, server=server, log=True))
        direct = gateway.tls_url.split("/")[2] if way.is_tls else gateway.data
        address = stack.enter_context(proxy(way, direct))
        clients = Clients(stack, way.is_tls)
        if not way.is_tls:
            healthy(address)
            # The connection of the last try is gone.
            time.sleep(SETTLES_S)
        past = (0, 0) if is_required else (101, 429)
        asked = (
            ("a client", address, FIRST, (), 101),
            ("the same address again, which claims another", address, FIRST, CLAIMS, 429),
            ("another address", address, SECOND, (), 101),
            ("a page of another host", address, FOREIGN, FOREIGN_PAGE, 403),
            ("a page of the host asked for", address, OWN, OWN_PAGE, way.page),
            ("past the proxy", direct, STRANGER, CLAIMS, past[0]),
            ("past the proxy again", direct, STRANGER, (), past[1]),
        )
        found = {what: (clients.asked(to, source, *headers), wanted) for what, to, source, headers, wanted in asked}
        if is_required:
            untrusted = counted(gateway, 'fanwire_proxy_refused_total{reason="untrusted"}')
            found["closed, not trusted"] = (untrusted, 2)
        time.sleep(SETTLES_S)
        log = pathlib.Path(gateway.log).read_text()
        told = re.findall(r"peer=(\S+)", log)
        found["the log names the page of another host"] = (told[:1], [FOREIGN])
        expected = [(source, "connect" if wanted == 101 else "refusal", None if wanted == 101 else wanted)
                    for _, _, source, _, wanted in asked if wanted]
        found["the audit"] = (audited(directory / "audit"), expected)
    right = sum(is_so == wanted for is_so, wanted in found.values())
    verdict.figure(f"{way.name}: as it should be", right, "==", len(found))
    for what, (is_so, wanted) in found.items():
        if is_so != wanted:
            verdict.say(f"{way.name}: {what}: {is_so} and not {wanted}")


def run_mistake(mistake, verdict):
    way = Way(mistake.name, "nginx", mistake.port, mistake.server)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(Gateway("[limits]\nconnections_per_ip = 1\n", server=way.server))
        address = stack.enter_context(proxy(way, gateway.data))
        clients = Clients(stack, is_tls=False)
        found = tuple(clients.asked(address, source) for source in (FIRST, SECOND))
        wanted = sum(answer != 101 for answer in mistake.answers)
        is_so = found == mistake.answers and counted(gateway, mistake.counter) >= wanted
    verdict.figure(f"{mistake.name}: shows as PROXIES.md says", int(is_so), "==", 1, note=f"{found}, {mistake.counter}")


def run_stream(verdict):
    """Through nginx with its usual buffers a stream comes as it is sent."""
    way = next(way for way in WAYS if way.port == 8004)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(Gateway("", server=way.server))
        address = stack.enter_context(proxy(way, gateway.data))
        healthy(address)
        sock = stack.enter_context(connected(address))
        sock.settimeout(SILENCE_S)
        sock.sendall(b"GET /sse?topics=a&interval_ms=0 HTTP/1.1\r\nHost: app.example\r\n\r\n")
        came, shown = b"", 0
        with contextlib.suppress(TimeoutError):
            while b"event: snapshot" not in came:
                came += sock.recv(65536)
            for n in range(EVENTS):
                gateway.publish(("a", n))
                while f'"data":{n}}}'.encode() not in came:
                    came += sock.recv(65536)
                shown += 1
    verdict.figure("nginx, a stream: events that came at once", shown, "==", EVENTS)


def arguments(parser):
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"{', '.join(FILES)} (all)")


def run(args, verdict):
    if unknown := set(args.programs) - set(FILES):
        raise RuntimeError(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(FILES)}")
    for way in WAYS:
        if way.program in (args.programs or FILES):
            with verdict.part(way.name):
                run_way(way, verdict)
    if "nginx" in (args.programs or FILES):
        with verdict.part("nginx, a stream"):
            run_stream(verdict)
        for mistake in MISTAKES:
            with verdict.part(mistake.name):
                run_mistake(mistake, verdict)
