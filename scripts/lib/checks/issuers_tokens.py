"""Tokens that PyJWT, jose and ruby-jwt make, each in all algorithms."""

import base64
import json
import os
import pathlib
import tempfile
import time
from typing import NamedTuple

from checks.issuers_client import Workshop, holds, status
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from gateway import Gateway
from machine import ROOT

PROGRAMS = ROOT / "scripts" / "lib" / "issuers"
ISSUER, AUDIENCE = "https://id.example/", "fanwire"
LIVES_S = 600
SUBJECTS = ("alice", "auth0|5f7c8ec7c33c6c004bbafe82", "alice@example.com", "CN=alice,OU=desk,O=Example", "waad|1/2",
            "Åsa", "a@x41")
SECRETS = ("HS256", "HS384", "HS512")
# Of keys in a set, those whose algorithm their kind tells.
TOLD = ("RS256", "ES256", "ES384", "EdDSA")


class Issuer(NamedTuple):
    """What makes tokens: a program of scripts/lib/issuers, and of its algorithms those whose keys it cannot publish."""

    name: str
    program: str
    unpublished: tuple[str, ...] = ()


ISSUERS = (
    Issuer("PyJWT", "pyjwt.py"),
    Issuer("jose", "jose.mjs"),
    Issuer("ruby-jwt", "ruby_jwt.rb", ("EdDSA",)),
)


def pairs():
    """By algorithm: a private key."""
    modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    rsas = {f"{family}{bits}": modulus for family in ("RS", "PS") for bits in (256, 384, 512)}
    curves = {"ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1())}
    return rsas | curves | {"EdDSA": ed25519.Ed25519PrivateKey.generate()}


def key_files(directory):
    """By algorithm: the file of what signs, and tables of the configuration for what verifies."""
    signs, tables = {}, ""
    for name in SECRETS:
        signs[name] = directory / name
        signs[name].write_bytes(os.urandom(64) + b"!")
        tables += f'[[access.key]]\nkid = "{name}"\nalg = "{name}"\nsecret_file = "{signs[name]}"\n'
    for name, pair in pairs().items():
        signs[name], public = directory / f"{name}.key", directory / f"{name}.pem"
        pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        signs[name].write_bytes(pair.private_bytes(serialization.Encoding.PEM, *pkcs8))
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(pair.public_key().public_bytes(serialization.Encoding.PEM, info))
        tables += f'[[access.key]]\nkid = "{name}"\nalg = "{name}"\npublic_file = "{public}"\n'
    return signs, tables


def claims_of(sub, **others):
    now_s = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": sub, "iat": now_s, "exp": now_s + LIVES_S}
    return claims | {"fanwire": {"subscribe": ["desk.*"]}} | others


def changed(token):
    """A token with another subject, and with another signature."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "mallory"}).encode()).decode().rstrip("=")
    middle = len(signature) // 2
    digit = "A" if signature[middle] != "A" else "B"
    return {
        "another subject": f"{head}.{other}.{signature}",
        "another signature": f"{head}.{payload}.{signature[:middle]}{digit}{signature[middle + 1:]}",
    }


def bad_claims():
    now_s = int(time.time())
    return {
        "expired": claims_of("alice", iat=now_s - 120, exp=now_s - 60),
        "another audience": claims_of("alice", aud="somebody else"),
        "another issuer": claims_of("alice", iss="https://evil.example/"),
    }


def config(keys="", tables=""):
    access = f'[access]\nclients = "token"\nissuer = ["{ISSUER}"]\naudience = ["{AUDIENCE}"]\n{keys}\n'
    return f'{access}[access.everyone]\nsubscribe = ["user.{{sub}}.*"]\n{tables}'


def run_issuer(issuer, verdict, workshop, signs, tables):
    good = [claims_of(sub, aud=[AUDIENCE, "others"] if at % 2 else AUDIENCE) for at, sub in enumerate(SUBJECTS)]
    bad = bad_claims()
    work = {"keys": {name: str(path) for name, path in signs.items()}, "claims": [*good, *bad.values()]}
    program = (PROGRAMS / issuer.program).read_text()
    made = json.loads(workshop.run(issuer.program, program, json.dumps(work)))
    tokens, name = made["tokens"], f"{issuer.name} {made['version']}"
    published = workshop.file(f"{issuer.name}.json", json.dumps({"keys": made["keys"]}))
    accepted, refused = [], {}
    with Gateway(config(tables=tables)) as gateway:
        for algorithm in tokens:
            accepted += [holds(gateway, token, claims) for token, claims in zip(tokens[algorithm], good)]
            shown = dict(zip(bad, tokens[algorithm][len(good):])) | changed(tokens[algorithm][0])
            refused |= {f"{algorithm}, {what}": status(gateway.data, token) for what, token in shown.items()}
    note = f"{', '.join(tokens)}; {len(good)} subjects"
    told(verdict, f"{name}: accepted, with its grants", accepted, len(signs) * len(good), note)
    refusals = [None if answer == 401 else f"{what}: {answer}" for what, answer in refused.items()]
    told(verdict, f"{name}: bad ones refused with 401", refusals, len(signs) * len(shown), ", ".join(shown))
    algorithms = [algorithm for algorithm in TOLD if algorithm not in issuer.unpublished]
    with Gateway(config(keys=f'jwks = "{published}"')) as gateway:
        pairs_of = [pair for algorithm in algorithms for pair in zip(tokens[algorithm], good)]
        accepted = [holds(gateway, token, claims) for token, claims in pairs_of]
    without = f"; it has no form for keys of {', '.join(issuer.unpublished)}" if issuer.unpublished else ""
    told(verdict, f"{name}: accepted by the set that it publishes", accepted, len(algorithms) * len(good),
         ", ".join(algorithms) + without)


def told(verdict, what, found, wanted, note):
    """A row for those of which nothing is told, and what is told of the others."""
    verdict.figure(what, found.count(None), "==", wanted, note=note)
    for wrong in filter(None, found):
        verdict.say(f"{what}: {wrong}")


def run(verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        signs, tables = key_files(pathlib.Path(directory))
        workshop = Workshop(directory)
        for issuer in ISSUERS:
            with verdict.part(issuer.name):
                run_issuer(issuer, verdict, workshop, signs, tables)
