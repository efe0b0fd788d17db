"""Tokens as the Python package PyJWT makes them, in each algorithm, of subjects as identity providers have them."""

import asyncio
import json
import os
import tempfile
import time
import unittest

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway import Gateway

WAIT_S = 10
# What comes from identity providers, and the segment of a topic that it becomes.
SUBJECTS = {
    "alice": "alice",
    "auth0|5f7c8ec7c33c6c004bbafe82": "auth0@x7C5f7c8ec7c33c6c004bbafe82",
    "bob@example.com": "bob@example@x2Ecom",
    "CN=Alice,OU=Desk 7,O=Example": "CN@x3DAlice@x2COU@x3DDesk@x207@x2CO@x3DExample",
    "waad|1/2": "waad@x7C1@x2F2",
    "Åsa": "@xC3@x85sa",
    "a@x41": "a@x40x41",
}


def pairs():
    """By algorithm: a private key."""
    small, large = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    rsas = {name: modulus for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
    return {"ES256": small, "ES384": large, "EdDSA": ed25519.Ed25519PrivateKey.generate(), **rsas}


class Tokens(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanwire-"))
        cls.keys, tables = {}, []
        for name, length in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
            cls.keys[name] = os.urandom(length - 1) + b"!"
            tables.append((name, "secret_file", cls.keys[name]))
        for name, pair in pairs().items():
            cls.keys[name] = pair
            encoded = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            tables.append((name, "public_file", pair.public_key().public_bytes(*encoded)))
        config = '[access]\nclients = "token"\n[access.everyone]\nsubscribe = ["user.{sub}.*"]\n'
        for name, kind, content in tables:
            path = os.path.join(directory, name)
            with open(path, "wb") as file:
                file.write(content)
            config += f'[[access.key]]\nkid = "{name}"\nalg = "{name}"\n{kind} = "{path}"\n'
        cls.gateway = cls.enterClassContext(Gateway(config))

    def token(self, algorithm="HS256", **claims):
        claims = {"exp": int(time.time()) + 600, **claims}
        return jwt.encode(claims, self.keys[algorithm], algorithm=algorithm, headers={"kid": algorithm})

    async def connected(self, token):
        return await connect(self.gateway.url, additional_headers={"Authorization": f"Bearer {token}"})

    async def told(self, client, op):
        async with asyncio.timeout(WAIT_S):
            while (frame := json.loads(await client.recv()))["op"] != op:
                pass
        return frame

    async def test_a_token_of_each_algorithm_is_accepted_and_one_of_another_key_is_not(self):
        for algorithm in self.keys:
            with self.subTest(algorithm=algorithm):
                token = self.token(algorithm, sub="alice")
                async with await self.connected(token) as client:
                    self.assertEqual((await self.told(client, "authorized"))["sub"], "alice")
                head, payload, _ = token.split(".")
                other = self.token(algorithm, sub="bob").split(".")[2]
                with self.assertRaises(InvalidStatus) as refused:
                    await self.connected(f"{head}.{payload}.{other}")
                self.assertEqual(refused.exception.response.status_code, 401)

    async def test_subjects_of_identity_providers_have_topics_of_their_own(self):
        for sub, encoded in SUBJECTS.items():
            with self.subTest(sub=sub):
                async with await self.connected(self.token(sub=sub)) as client:
                    told = await self.told(client, "authorized")
                    self.assertEqual((told["sub"], told["as"]), (sub, encoded))
                    for topic, op in ((f"user.{encoded}.inbox", "subscribed"), ("user.other.inbox", "error")):
                        await client.send(json.dumps({"op": "subscribe", "topics": [topic]}))
                        await self.told(client, op)

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
