"""Tokens of PyJWT on an open connection: renewed, and revoked. `scripts/check issuers` has them in each algorithm."""

import asyncio
import json
import os
import tempfile
import time
import unittest

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway

WAIT_S = 10
CONFIG = """
[access]
clients = "token"
[[access.key]]
alg = "HS256"
secret_env = "TOKEN_SECRET"
[[access.key]]
alg = "ES256"
public_file = "{}"
"""


class Tokens(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanwire-"))
        pair = ec.generate_private_key(ec.SECP256R1())
        cls.keys = {"HS256": "a secret of thirty-two bytes, or a little more than that", "ES256": pair}
        path = os.path.join(directory, "es.pem")
        encoded = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        with open(path, "wb") as file:
            file.write(pair.public_key().public_bytes(*encoded))
        os.environ["TOKEN_SECRET"] = cls.keys["HS256"]
        cls.gateway = cls.enterClassContext(Gateway(CONFIG.format(path)))

    def token(self, algorithm="HS256", **claims):
        return jwt.encode({"exp": int(time.time()) + 600, **claims}, self.keys[algorithm], algorithm)

    async def connected(self, token):
        return await connect(self.gateway.url, additional_headers={"Authorization": f"Bearer {token}"})

    async def told(self, client, op):
        async with asyncio.timeout(WAIT_S):
            while (frame := json.loads(await client.recv()))["op"] != op:
                pass
        return frame

    async def test_a_client_renews_its_token_before_it_expires(self):
        first = self.token(sub="alice", exp=int(time.time()) + 6)
        async with await self.connected(first) as client:
            await self.told(client, "notice")
            await client.send(json.dumps({"op": "auth", "id": 1, "token": self.token("ES256", sub="alice")}))
            self.assertEqual((await self.told(client, "authorized"))["id"], 1)
            await client.send(json.dumps({"op": "auth", "id": 2, "token": self.token(sub="bob")}))
            self.assertEqual((await self.told(client, "error"))["code"], 4401)
            await client.send(json.dumps({"op": "ping", "id": 3}))
            await self.told(client, "pong")

    async def test_a_revoked_token_ends_its_connection(self):
        async with await self.connected(self.token(sub="carol", jti="7")) as client:
            await self.told(client, "authorized")
            status, answer = self.gateway.request("POST", "/revoke", '{"jti":"7"}')
            self.assertEqual((status, answer), (200, {"closed": 1}))
            with self.assertRaises(ConnectionClosed) as closed:
                await self.told(client, "nothing")
            self.assertEqual(closed.exception.rcvd.code, 4401)
