"""`fanwire.msgpack.v1` as the Python package `msgpack` reads and writes it."""

import unittest

import msgpack
from gateway import Gateway
from websockets.asyncio.client import connect

VALUE = {"bid": 427.84, "u": 167006084895, "list": [1, -1, 2.5, None, True, "é"], "empty": {}}


def unpack(payload):
    # Extension 1 holds a number's JSON text.
    return msgpack.unpackb(payload, ext_hook=lambda kind, data: ("number", data.decode()) if kind == 1 else None)


class Msgpack(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway('[fanout]\ninterval_ms = 0\n[[topic]]\npattern = "b.*"\nmode = "keyed"\n'))

    async def test_ops_and_frames_are_packed(self):
        for compression in (None, "deflate"):
            self.gateway.publish(("m.a", VALUE))
            options = {"subprotocols": ["fanwire.msgpack.v1", "fanwire.json.v1"], "compression": compression}
            async with connect(self.gateway.url, proxy=None, **options) as socket:
                self.assertEqual(socket.subprotocol, "fanwire.msgpack.v1")
                await socket.send(msgpack.packb({"op": "subscribe", "id": "x", "topics": ["m.*", "b.*"]}))
                subscribed = unpack(await socket.recv())
                self.assertEqual((subscribed["op"], subscribed["id"]), ("subscribed", "x"))
                snapshot = unpack(await socket.recv())
                self.assertEqual(snapshot["op"], "snapshot")
                values = {update["topic"]: update for update in snapshot["updates"]}
                self.assertEqual(values["m.a"]["data"], VALUE)
                self.assertIsInstance(values["m.a"]["ts"], int)
                body = '{"topic":"m.n","data":[1.50,1e999,123456789012345678901234567890]}'
                self.assertEqual(self.gateway.request("POST", "/publish", body)[0], 200)
                (update,) = unpack(await socket.recv())["updates"]
                texts = [("number", text) for text in ("1.50", "1e999", "123456789012345678901234567890")]
                self.assertEqual(update["data"], texts)
                body = '{"topic":"b.x","reset":true,"set":{"a":1,"b":[2.5]}}'
                self.assertEqual(self.gateway.request("POST", "/publish", body)[0], 200)
                (update,) = unpack(await socket.recv())["updates"]
                self.assertEqual((update["reset"], update["set"]), (True, {"a": 1, "b": [2.5]}))
                await socket.send(msgpack.packb([1, 2]))
                error = unpack(await socket.recv())
                self.assertEqual((error["op"], error["code"]), ("error", 4000))
