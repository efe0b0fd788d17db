"""Tokens and a set of public keys, as PyJWT makes them: {"keys": {ALG: FILE}, "claims": [CLAIMS, …]} on stdin."""

import json
import sys

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import get_default_algorithms

work = json.load(sys.stdin)
tokens, published = {}, []
for algorithm, path in work["keys"].items():
    with open(path, "rb") as file:
        key = file.read()
    headers = {"kid": algorithm}
    tokens[algorithm] = [jwt.encode(claims, key, algorithm, headers) for claims in work["claims"]]
    if not algorithm.startswith("HS"):
        public = load_pem_private_key(key, None).public_key()
        published.append(get_default_algorithms()[algorithm].to_jwk(public, as_dict=True) | headers)
json.dump({"version": jwt.__version__, "tokens": tokens, "keys": published}, sys.stdout)
