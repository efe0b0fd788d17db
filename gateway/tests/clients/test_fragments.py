"""A message of 1 MB, which goes out in fragments: `websockets` joins them, and pings are answered within it."""

import asyncio
import json
import unittest

from gateway import Gateway
from websockets.asyncio.client import connect
from websockets.frames import Opcode

VALUE = "0123456789abcdef" * 65_536


class Fragments(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway('[fanout]\ninterval_ms = 0\n[limits]\nvalue_bytes = "16MiB"'))

    async def subscribed(self, topic, **options):
        socket = await self.enterAsyncContext(connect(self.gateway.url, proxy=None, max_size=None, **options))
        await socket.send(json.dumps({"op": "subscribe", "topics": [topic]}))
        for op in ("subscribed", "snapshot"):
            self.assertEqual(json.loads(await socket.recv())["op"], op)
        return socket

    async def test_a_value_of_1_mb_comes_unchanged(self):
        for compression in (None, "deflate"):
            topic = f"long.{compression}"
            socket = await self.subscribed(topic, compression=compression)
            self.gateway.publish((topic, VALUE))
            (update,) = json.loads(await socket.recv())["updates"]
            self.assertEqual(update["data"], VALUE)

    async def test_a_ping_is_answered_within_a_message(self):
        socket = await self.subscribed("slow.t", compression=None, ping_interval=None)
        frames, receive = [], socket.protocol.recv_frame
        socket.protocol.recv_frame = lambda frame: (frames.append(frame), receive(frame))[1]
        # Longer than what both kernels hold, so that most is unsent when the ping is read.
        socket.transport.pause_reading()
        value = VALUE * 12
        await asyncio.to_thread(self.gateway.publish, ("slow.t", value))
        pong = await socket.ping(b"within")
        await asyncio.sleep(0.2)
        socket.transport.resume_reading()
        await asyncio.wait_for(pong, 30)
        (update,) = json.loads(await asyncio.wait_for(socket.recv(), 30))["updates"]
        self.assertEqual(update["data"], value)
        at = next(i for i, frame in enumerate(frames) if frame.opcode is Opcode.PONG)
        self.assertFalse(frames[at - 1].fin, "the pong stands between two fragments")
        self.assertIs(frames[at + 1].opcode, Opcode.CONT)
        self.assertLessEqual(max(len(frame.data) for frame in frames), 64 << 10)
