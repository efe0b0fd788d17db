"""Attacks before a WebSocket is there: connects, TLS, request heads, tokens, headers of proxies."""

import base64
import functools
import json
import os
import ssl
import time

from attacks.attack import Attack, request

HOLD_S = 0.05
TOKEN_BYTES_LONG = 12_000


@functools.cache
def client_hello(n):
    """What a client of TLS says first; a few different ones do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise RuntimeError("a handshake ended by itself")


def hello(target, n):
    return client_hello(n % 8)


@functools.cache
def slow_request():
    return request("/ws?topics=a")


def one_byte(target, n, k):
    whole = slow_request()
    return whole[k : k + 1] if k < len(whole) else None


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def bad_token(n):
    """One of several kinds: a wrong code, a wrong signature, one without any, a long one."""
    claims = {"sub": f"u{n}", "exp": int(time.time()) + 3600, "fanwire": {"subscribe": ["*"]}}
    kind = n % 4
    if kind == 1:
        # Not verified on the shard.
        return f"{part({'alg': 'ES256'})}.{part(claims)}.{part(os.urandom(64))}"
    if kind == 2:
        return f"{part({'alg': 'none'})}.{part(claims)}."
    if kind == 3:
        claims["pad"] = "x" * (TOKEN_BYTES_LONG * 3 // 4)
    return f"{part({'alg': 'HS256'})}.{part(claims)}.{part(os.urandom(32))}"


def token_request(target, n):
    return request("/ws?topics=a", f"Authorization: Bearer {bad_token(n)}")


def forged_header(target, n):
    """As a proxy would write it, for a client that it may not speak for; or what only looks like one."""
    if n % 3 == 2:
        return b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + os.urandom(64)
    port = 1024 + n % 60_000
    return f"PROXY TCP4 203.0.113.{n % 250 + 1} 127.0.0.1 {port} 9001\r\n".encode() + request("/ws?topics=*")


ATTACKS = (
    Attack("half-open", "connects and says nothing", ('fanwire_ended_total{reason="handshake_timeout"}',)),
    Attack("half-open-tls", "a TLS ClientHello, and nothing after it",
           ('fanwire_ended_total{reason="handshake_timeout"}',), hello, to="tls"),
    Attack("hellos", "a TLS ClientHello; gone when it is answered", ("fanwire_tls_deferred_total",
           'fanwire_ended_total{reason="socket_error"}'), hello, to="tls", addresses=100, connects_per_s=3000,
           resets="answered"),
    Attack("slow-heads", "a request head, a byte at a time", ('fanwire_ended_total{reason="handshake_timeout"}',),
           more=one_byte, pace_s=HOLD_S),
    Attack("resets", "connects, asks and resets", ('fanwire_ended_total{reason="socket_error"}',
           'fanwire_refused_by_total{rule="handshakes"}', 'fanwire_refused_by_total{rule="handshakes_per_ip"}'),
           lambda target, n: request("/ws?topics=probe.*"), addresses=250, connects_per_s=5000, resets="sent"),
    Attack("handshakes", "whole handshakes, one after the other", ('fanwire_refused_by_total{rule="handshakes"}',
           'fanwire_refused_by_total{rule="handshakes_per_ip"}'), lambda target, n: request("/ws?topics=big.s1.*"),
           addresses=250, connects_per_s=5000, resets="answered"),
    Attack("bad-tokens", "requests with bad tokens: four kinds", ("fanwire_tokens_refused_total",
           'fanwire_refused_by_total{rule="token"}', 'fanwire_refused_by_total{rule="handshakes"}'), token_request,
           addresses=250, connects_per_s=5000),
    Attack("proxy-headers", "forged PROXY headers past the proxy", (
           'fanwire_proxy_refused_total{reason="untrusted"}',), forged_header, addresses=250, connects_per_s=5000,
           way="proxied"),
)
