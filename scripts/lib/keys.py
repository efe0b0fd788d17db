"""Keys that tokens of clients are signed with, in files; and tokens (RFC 7519) signed with a secret."""

import base64
import hashlib
import hmac
import json
import os
import secrets

import process


def secret(directory):
    """A file with a secret, and the table of a gateway's configuration that names it."""
    path = os.path.join(directory, "hs.key")
    with open(path, "w") as file:
        file.write(secrets.token_hex(32))
    return path, f'[[access.key]]\nalg = "HS256"\nsecret_file = "{path}"\n'


def pair(directory):
    """A file with a private key for ES256, and the table that names its public key."""
    private, public = (os.path.join(directory, name) for name in ("es.pem", "es.pub.pem"))
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    process.output("openssl", "genpkey", *curve, "-out", private)
    process.output("openssl", "pkey", "-in", private, "-pubout", "-out", public)
    return private, f'[[access.key]]\nalg = "ES256"\npublic_file = "{public}"\n'


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(path, claims):
    """A token that says so, signed with the secret of a file."""
    with open(path, "rb") as file:
        key = file.read().removesuffix(b"\n")
    head, payload = (base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
    signature = hmac.digest(key, f"{head}.{payload}".encode(), hashlib.sha256)
    return f"{head}.{payload}.{base64url(signature)}"
