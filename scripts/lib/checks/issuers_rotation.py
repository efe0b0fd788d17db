"""Keys that an https server publishes and changes, while clients connect all the time."""

import collections
import datetime
import http.server
import ipaddress
import json
import pathlib
import ssl
import tempfile
import threading
import time
import uuid

import jwt
from checks.issuers_client import environment, status
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateway import Gateway
from jwt.algorithms import ECAlgorithm
from process import ticking

PER_S, FLOOD_PER_S = 20, 100
# Of each crowd, however slow the machine.
TRIED_MIN = 100
# PROTOCOL.md: an unknown `kid` has the set read again no sooner than that.
AGAIN_S = 30
# How much later something may be seen here, on a busy machine.
LATE_S = 2
REFRESH_S = 5


class Signer:
    """A key with a name. No two of its tokens are alike, so none is remembered."""

    def __init__(self, kid):
        self.kid, self.key = kid, ec.generate_private_key(ec.SECP256R1())

    def published(self):
        return ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True) | {"kid": self.kid, "use": "sig", "alg": "ES256"}

    def token(self, kid=None):
        claims = {"sub": str(uuid.uuid4()), "exp": int(time.time()) + 600}
        return jwt.encode(claims, self.key, "ES256", {"kid": kid or self.kid})


class Publisher:
    """An https server of sets of keys by their path. It notes when each was asked for."""

    def __init__(self, directory):
        self.sets, self.asked = {}, collections.defaultdict(list)
        self.authority, chain = certificates(pathlib.Path(directory))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.asked[self.path].append(time.monotonic())
                body = json.dumps({"keys": [signer.published() for signer in publisher.sets[self.path]]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def gateway(self, path, refresh):
        url = f"https://localhost:{self.server.server_port}{path}"
        access = f'[access]\nclients = "token"\njwks = "{url}"\njwks_refresh = "{refresh}"\n'
        return Gateway(f'{access}[access.everyone]\nsubscribe = ["public.*"]\n')


def certificates(directory):
    """Files: that of a CA, and of a certificate for localhost that it has signed, with its key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = []
    for name in ("authority", "localhost"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer_key, issuer = made[0] if made else (key, subject)
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=not made, path_length=None), critical=True)
        pem = builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        secret = b"" if not made else key.private_bytes(serialization.Encoding.PEM, *pkcs8)
        (directory / f"{name}.pem").write_bytes(pem + secret)
        made.append((key, subject))
    return directory / "authority.pem", directory / "localhost.pem"


class Crowd:
    """Connects all the time; `answers` has the moment and the status of each."""

    def __init__(self, gateway, token):
        self.gateway, self.token, self.answers = gateway, token, []

    def connect(self, n):
        token = self.token(n)
        self.answers.append((time.monotonic(), status(self.gateway.data, token)))

    def count(self, verdict, name):
        """Who asks about the refused has to have had a crowd."""
        verdict.figure(f"{name}: connections tried", len(self.answers), ">=", TRIED_MIN)

    def refused(self, end=float("inf")):
        return [answer for at, answer in self.answers if at < end and answer != 101]


def gaps(moments):
    return [later - earlier for earlier, later in zip(moments, moments[1:])]


def signed_at_once(publisher, verdict):
    """A new key takes the place of the old one, and signs at once."""
    path, old, new = "/at-once", Signer("old"), Signer("new")
    publisher.sets[path], signers = [old], [old]
    with publisher.gateway(path, "10m") as gateway:
        crowd = Crowd(gateway, lambda n: signers[n % len(signers)].token())
        with ticking(crowd.connect, PER_S):
            time.sleep(AGAIN_S + LATE_S)
            publisher.sets[path] = [new]
            signers.append(new)
            time.sleep(5)
    name = "a key that signs as soon as it is published"
    good = f"{len(crowd.answers)} good tokens, old and new"
    crowd.count(verdict, name)
    verdict.figure(f"{name}: refused", len(crowd.refused()), "==", 0, note=good)
    verdict.figure(f"{name}: times that the set was asked for", len(publisher.asked[path]), "==", 2)


def published_ahead(publisher, verdict):
    """Unknown keys are tried at a high rate. A new key is published before it signs, and the old one goes."""
    path, old, new, unknown = "/ahead", Signer("old"), Signer("new"), Signer("unknown")
    publisher.sets[path], signers = [old], [old]
    with publisher.gateway(path, "10m") as gateway:
        crowd = Crowd(gateway, lambda n: signers[-1].token())
        flood = Crowd(gateway, lambda n: unknown.token(str(n)))
        with ticking(crowd.connect, PER_S), ticking(flood.connect, FLOOD_PER_S):
            time.sleep(LATE_S)
            publisher.sets[path] = [old, new]
            time.sleep(AGAIN_S + LATE_S)
            signers.append(new)
            publisher.sets[path] = [new]
            time.sleep(AGAIN_S)
    name = f"{len(flood.answers)} unknown keys in {2 * AGAIN_S + 2 * LATE_S} s"
    let_in = [answer for _, answer in flood.answers if answer != 401]
    verdict.figure(f"{name}: not refused with 401", len(let_in), "==", 0)
    good = f"{len(crowd.answers)} good tokens"
    crowd.count(verdict, name)
    verdict.figure(f"{name}: refused of the others", len(crowd.refused()), "==", 0, note=good)
    asked = publisher.asked[path]
    verdict.figure(f"{name}: times that the set was asked for", len(asked), "<=", 3)
    verdict.figure(f"{name}: shortest time between two", min(gaps(asked)), ">=", AGAIN_S - 0.1, "s")


def held_for_a_period(publisher, verdict):
    """A key is gone from the set: it holds for one period from when the gateway saw that, and no longer."""
    path, old, new = "/period", Signer("old"), Signer("new")
    publisher.sets[path] = [old, new]
    with publisher.gateway(path, f"{REFRESH_S}s") as gateway:
        olds, news = Crowd(gateway, lambda n: old.token()), Crowd(gateway, lambda n: new.token())
        with ticking(olds.connect, PER_S), ticking(news.connect, PER_S):
            time.sleep(2 * REFRESH_S + LATE_S)
            publisher.sets[path], gone = [new], time.monotonic()
            time.sleep(3 * REFRESH_S + LATE_S)
    asked = publisher.asked[path]
    seen = next((at for at in asked if at > gone), None)
    assert seen, f"the set was not read again within {3 * REFRESH_S} s"
    name = f"a key that is gone, with jwks_refresh = {REFRESH_S}s"
    held = olds.refused(end=seen + REFRESH_S)
    verdict.figure(f"{name}: refused within the period", len(held), "==", 0)
    longer = [answer for at, answer in olds.answers if at > seen + REFRESH_S + LATE_S and answer != 401]
    verdict.figure(f"{name}: let in {LATE_S} s after it", len(longer), "==", 0, note=f"{len(olds.answers)} tokens")
    good = f"{len(news.answers)} good tokens"
    news.count(verdict, name)
    verdict.figure(f"{name}: refused of the new key", len(news.refused()), "==", 0, note=good)
    # One for each period, one at the start, and one for a token with the key that is gone.
    most = 2 + int((olds.answers[-1][0] - asked[0]) / REFRESH_S)
    verdict.figure(f"{name}: times that the set was asked for", len(asked), "<=", most)


def run(verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        publisher = Publisher(directory)
        parts = [threading.Thread(target=one, args=(part, publisher, verdict))
                 for part in (signed_at_once, published_ahead, held_for_a_period)]
        with environment(SSL_CERT_FILE=str(publisher.authority)):
            for part in parts:
                part.start()
            for part in parts:
                part.join()


def one(part, publisher, verdict):
    with verdict.part(part.__doc__):
        part(publisher, verdict)
