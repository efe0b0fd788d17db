"""Clients that go on with their compression context, whatever they were answered: Netty's handler as it comes,
Tornado, and Mojolicious. Each subscribes again and again, so that a message refers back to those before it."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from gateway import Gateway
from tornado.websocket import websocket_connect

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ("buffer", "codec", "codec-http", "common", "handler", "resolver", "transport")
NETTY = ":".join(f"/usr/share/java/netty-{part}.jar" for part in PARTS)
WAIT_S = 60

TOPICS = [f"context.topic.number-{n}" for n in range(8)]
MESSAGES = [json.dumps({"op": "subscribe", "id": n, "topics": [topic]}) for n, topic in enumerate(TOPICS)]
MESSAGES.append(json.dumps({"op": "ping", "id": len(TOPICS)}))


class Context(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway())
        cls.gateway.publish(*((topic, topic * 20) for topic in TOPICS))

    def metric(self, sample):
        lines = self.gateway.request("GET", "/metrics")[1].splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(sample))

    def check(self, run):
        """`run` sends all messages and gives all that comes."""
        names = ["fanwire_inflated_messages_total", 'fanwire_compressed_frames_total{result="smaller"}']
        before = [self.metric(name) for name in names]
        frames = [json.loads(text) for text in run()]
        after = [self.metric(name) for name in names]
        answers = [frame["id"] for frame in frames if frame["op"] in ("subscribed", "pong")]
        self.assertEqual(answers, list(range(len(MESSAGES))))
        updates = [update for frame in frames if frame["op"] == "snapshot" for update in frame["updates"]]
        self.assertEqual([(update["topic"], update["data"]) for update in updates], [(t, t * 20) for t in TOPICS])
        self.assertGreaterEqual(after[0] - before[0], len(MESSAGES), "what it said was compressed")
        self.assertGreater(after[1] - before[1], 0, "and what it was sent")

    def run_program(self, *command):
        done = subprocess.run([*command, self.gateway.url, *MESSAGES], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_netty(self):
        with tempfile.TemporaryDirectory(prefix="fanwire-") as classes:
            source = os.path.join(HERE, "NettyClient.java")
            subprocess.run(["javac", "-cp", NETTY, "-d", classes, source], check=True, timeout=WAIT_S)
            self.check(lambda: self.run_program("java", "-cp", f"{NETTY}:{classes}", "NettyClient"))

    def test_mojolicious(self):
        self.check(lambda: self.run_program(shutil.which("perl"), os.path.join(HERE, "mojo_client.pl")))

    def test_tornado(self):
        async def run():
            socket = await websocket_connect(self.gateway.url, compression_options={})
            frames = []
            for message in MESSAGES:
                await socket.write_message(message)
                while not frames or json.loads(frames[-1])["op"] not in ("snapshot", "pong"):
                    text = await socket.read_message()
                    self.assertIsNotNone(text, f"closed with {socket.close_code} {socket.close_reason}")
                    frames.append(text)
                frames.append('{"op":"next"}')
            socket.close()
            return frames

        self.check(lambda: asyncio.run(asyncio.wait_for(run(), WAIT_S)))

    def test_what_they_refer_back_to_is_given_back(self):
        deadline = WAIT_S * 20
        while self.metric("fanwire_dictionary_bytes ") > 0 and deadline:
            deadline -= 1
            asyncio.run(asyncio.sleep(0.05))
        self.assertEqual(self.metric("fanwire_dictionary_bytes "), 0)
