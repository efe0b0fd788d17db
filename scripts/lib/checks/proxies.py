"""configs/proxies/haproxy.cfg and nginx.conf in front of a gateway, each of their ways: limits count for the addresses
of clients, whatever these claim; a page of the host that clients ask for is let in; who comes past the proxy is not
believed."""

import contextlib
import pathlib
import re
import ssl
import tempfile
import time
from typing import NamedTuple

import process
from benches import quotes
from client import connected, handshake
from gateway import Gateway
from machine import ROOT

CONFIGS = ROOT / "configs" / "proxies"
GATEWAY = "127.0.0.1:9001"
FIRST, SECOND, STRANGER = "127.0.0.5", "127.0.0.6", "127.0.0.7"
TRUSTED = 'trusted_proxies = ["127.0.0.1"]\n'
REQUIRED = TRUSTED + 'proxy_protocol = "require"\n'
X_FORWARDED, FORWARDED = (TRUSTED + f'forwarded = "{name}"\n' for name in ("x-forwarded-for", "forwarded"))
# What a client may write itself.
CLAIMS = ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9")
PAGE = ("Host: app.example", "Origin: http://app.example")
SETTLES_S = 0.3


class Way(NamedTuple):
    """How clients come to a gateway with these keys of [server]: by the proxy's listener on that port, with `changes`
    of its configuration. `page`: what a page of the host asked for is answered; `None`: nothing is asked."""

    name: str
    program: str
    port: int
    server: str
    changes: tuple[tuple[str, str], ...] = ()
    page: int | None = None
    is_tls: bool = False


WAYS = (
    Way("HAProxy, send-proxy-v2", "haproxy", 8001, REQUIRED),
    Way("HAProxy, send-proxy", "haproxy", 8001, REQUIRED, (("send-proxy-v2", "send-proxy"),)),
    Way("HAProxy, send-proxy-v2 before TLS", "haproxy", 8001, REQUIRED, (("check check-send-proxy inter 1s", ""),),
        is_tls=True),
    Way("HAProxy, forwardfor", "haproxy", 8002, X_FORWARDED, page=101),
    Way("nginx, stream", "nginx", 8003, REQUIRED),
    Way("nginx, X-Forwarded-For", "nginx", 8004, X_FORWARDED, page=101),
    Way("nginx, its default Host", "nginx", 8004, X_FORWARDED,
        (("proxy_set_header X-Forwarded-Host $host;", ""),), page=403),
    Way("nginx, Forwarded", "nginx", 8005, FORWARDED, page=101),
)


def ports(text):
    """The configuration with free ports in place of those that it listens on, and which stands for which."""
    free = {port: process.free_port() for port in re.findall(r"127\.0\.0\.1:(80\d\d)", text)}
    for port, other in free.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
    return text, {int(port): other for port, other in free.items()}


@contextlib.contextmanager
def proxy(way, gateway):
    """Where clients connect."""
    name = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[way.program]
    text, free = ports((CONFIGS / name).read_text())
    for told, here in ((GATEWAY, gateway), *way.changes):
        assert told in text, f"{name} has no {told!r}"
        text = text.replace(told, here)
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        path = pathlib.Path(directory, name)
        path.write_text(text)
        if way.program == "haproxy":
            command = ["haproxy", "-db", "-q", "-f", path]
        else:
            # One process: killing it leaves no worker behind.
            options = f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr crit;"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
                text = text.replace("http {", f"http {{\n    {kind}_temp_path {directory}/{kind};", 1)
            path.write_text(text.replace("http {", "http {\n    access_log off;", 1))
            command = ["nginx", "-p", directory, "-c", path, "-e", "stderr", "-g", options]
        with process.running(*command):
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


def answered(sock, request):
    answer = b""
    with contextlib.suppress(ConnectionError):
        sock.sendall(request)
        while b"\r\n" not in answer and (received := sock.recv(4096)):
            answer += received
    return int(answer.split(b" ")[1]) if answer else 0


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


def run_way(way, verdict):
    is_required = way.server == REQUIRED
    limits = "[limits]\nconnections_per_ip = 1\n"
    with contextlib.ExitStack() as stack:
        server = way.server
        if way.is_tls:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="fanwire-"))
            server += quotes.certificate(directory)[1]
        gateway = stack.enter_context(Gateway(limits, server=server))
        direct = gateway.tls_url.split("/")[2] if way.is_tls else gateway.data
        address = stack.enter_context(proxy(way, direct))
        clients = Clients(stack, way.is_tls)
        if not way.is_tls:
            healthy(address)
            # The connection of the last try is gone.
            time.sleep(SETTLES_S)
        found = {
            "a client": clients.asked(address, FIRST),
            "the same address again, which claims another": clients.asked(address, FIRST, *CLAIMS),
            "another address": clients.asked(address, SECOND),
            "past the proxy": clients.asked(direct, STRANGER, *CLAIMS),
            "past the proxy again": clients.asked(direct, STRANGER),
        }
        expected = dict(zip(found, (101, 429, 101, *((0, 0) if is_required else (101, 429)))))
        if way.page is not None:
            found["a page of the host asked for"] = clients.asked(address, "127.0.0.8", *PAGE)
            expected["a page of the host asked for"] = way.page
        if is_required:
            found["closed, not trusted"] = counted(gateway, 'fanwire_proxy_refused_total{reason="untrusted"}')
            expected["closed, not trusted"] = 2
    right = sum(found[what] == expected[what] for what in expected)
    verdict.figure(f"{way.name}: answers as they should be", right, "==", len(expected))
    for what in expected:
        if found[what] != expected[what]:
            verdict.say(f"{way.name}: {what}: {found[what]} and not {expected[what]}")


def arguments(parser):
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="haproxy, nginx (both)")


def run(args, verdict):
    for way in WAYS:
        if way.program in (args.programs or ("haproxy", "nginx")):
            with verdict.part(way.name):
                run_way(way, verdict)
