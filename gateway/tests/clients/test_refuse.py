"""What the gateway refuses, and with which answer."""

import json
import socket
import unittest

from gateway import Gateway
from subscriber import Subscriber

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def request_head(method="GET", path="/ws", without=(), **changed):
    headers = {key: value for key, value in (UPGRADE | changed).items() if key not in without}
    lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Refuse(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = cls.enterClassContext(Gateway())

    def exchange(self, sent, address=None):
        """Everything a data listener answers to these bytes until it half-closes."""
        host, port = (address or self.gateway.data).rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer

    def http(self, method="GET", path="/ws", without=(), address=None, **changed):
        answer = self.exchange(request_head(method, path, without, **changed), address)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        names = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        return int(lines[0].split()[1]), names, body

    def assert_refused(self, status, answer):
        seen, headers, body = answer
        self.assertEqual(seen, status, body)
        self.assertEqual(headers["connection"].lower(), "close")
        self.assertEqual(body.rstrip(b"\n").count(b"\n"), 0, "the body is one line")
        refusal = json.loads(body)
        self.assertEqual(refusal["code"], status)
        self.assertTrue(refusal["reason"])

    def test_400_without_an_upgrade_and_for_a_malformed_one(self):
        self.assert_refused(400, self.http(without=("Upgrade", "Connection")))
        self.assert_refused(400, self.http(without=("Sec-WebSocket-Key",)))
        self.assert_refused(400, self.http(**{"Sec-WebSocket-Key": "short"}))

    def test_400_for_a_bad_value_in_the_url(self):
        for query in ("topics=a..b", "topics=a&interval_ms=soon", "topics=a&since=nonsense"):
            self.assert_refused(400, self.http(path=f"/ws?{query}"))

    def test_404_for_other_paths_whatever_the_method(self):
        self.assert_refused(404, self.http(path="/nothing"))
        self.assert_refused(404, self.http(path="/nothing", method="POST"))

    def test_405_for_other_methods(self):
        self.assert_refused(405, self.http(method="POST"))

    def test_426_for_another_version_names_the_one_spoken(self):
        for answer in (self.http(without=("Sec-WebSocket-Version",)), self.http(**{"Sec-WebSocket-Version": "8"})):
            self.assert_refused(426, answer)
            self.assertEqual(answer[1]["sec-websocket-version"], "13")

    def test_431_for_a_head_over_16_kib(self):
        self.assert_refused(431, self.http(**{"X-Long": "x" * 17000}))

    def test_429_over_the_connections_of_one_address_with_retry_after(self):
        with Gateway("[limits]\nconnections_per_ip = 1") as gateway:
            host, port = gateway.data.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=10) as first:
                first.sendall(request_head())
                self.assertIn(b" 101 ", first.recv(4096))
                answer = self.http(address=gateway.data)
                self.assert_refused(429, answer)
                self.assertIn("retry-after", answer[1])

    def test_healthz_answers_on_the_data_listener(self):
        self.assertEqual(self.http(path="/healthz", without=("Upgrade", "Connection"))[0], 200)

    def test_the_root_leads_a_loopback_peer_to_the_admin_page(self):
        status, headers, _ = self.http(path="/", without=("Upgrade", "Connection"))
        self.assertEqual(status, 307)
        self.assertIn(self.gateway.admin, headers["location"])

    async def test_the_subprotocol_is_chosen_when_offered_and_left_out_otherwise(self):
        for offered, chosen in [
            (None, None),
            (["fanwire.json.v1"], "fanwire.json.v1"),
            (["chat", "fanwire.json.v1"], "fanwire.json.v1"),
            (["chat"], None),
        ]:
            async with await Subscriber.connect(self.gateway.url, subprotocols=offered) as client:
                self.assertEqual(client.socket.subprotocol, chosen)
                _, snapshot = await client.subscribe("any.t")
                self.assertEqual(snapshot["op"], "snapshot")

    async def test_a_binary_frame_closes_1003(self):
        client = await Subscriber.connect(self.gateway.url)
        await client.socket.send(b"\x00")
        self.assertEqual(await client.closed(), 1003)

    async def test_bad_utf8_closes_1007_at_the_fragment_that_proves_it(self):
        client = await Subscriber.connect(self.gateway.url)
        await client.socket.send(b'{"op":"\xff"}', text=True)
        self.assertEqual(await client.closed(), 1007)
        # The first fragment of a message that never ends: opcode text, FIN clear, masked with zeros.
        self.assertEqual(self.close_code(b"\x01\x82\0\0\0\0\xc3\x28"), 1007)

    async def test_frames_against_the_protocol_close_1002(self):
        for name, frame in {
            "a length not in its shortest form": b"\x81\xfe\x00\x05\0\0\0\0hello",
            "an unmasked frame": b"\x81\x05hello",
            "a reserved bit": b"\xc1\x85\0\0\0\0hello",
            "a reserved opcode": b"\x83\x85\0\0\0\0hello",
            "a fragmented ping": b"\x09\x80\0\0\0\0",
            "a continuation of nothing": b"\x80\x80\0\0\0\0",
        }.items():
            with self.subTest(name):
                self.assertEqual(self.close_code(frame), 1002)

    async def test_a_message_over_the_limit_closes_1009(self):
        client = await Subscriber.connect(self.gateway.url)
        await client.socket.send(" " * 70000)
        self.assertEqual(await client.closed(), 1009)

    async def test_a_bad_op_gets_error_4000_and_the_connection_stays(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            for op in (
                "not json",
                "[]",
                "{}",
                '{"op":"dance","id":1}',
                '{"op":"subscribe","id":1}',
                '{"op":"subscribe","id":1,"topics":[]}',
                '{"op":"subscribe","id":1,"topics":["a*.b"]}',
                '{"op":"subscribe","id":1,"topics":["good","bad..one"]}',
                '{"op":"subscribe","id":1,"topics":["a"],"since":"yesterday"}',
                '{"op":"subscribe","id":1,"topics":["a"],"sub":"%s"}' % ("s" * 33),
            ):
                await client.socket.send(op)
                answer = await client.next()
                self.assertEqual((answer["op"], answer["code"]), ("error", 4000), op)
                self.assertTrue(answer["reason"])
                if '"id":1' in op:
                    self.assertEqual(answer["id"], 1, op)
            subscribed, _ = await client.subscribe("fine")
            self.assertEqual(subscribed["topics"], ["fine"], "what was refused changed nothing")

    async def test_a_ninth_subscription_is_refused(self):
        async with await Subscriber.connect(self.gateway.url) as client:
            for n in range(8):
                await client.subscribe("nine.t", sub=f"s{n}")
            await client.send(op="subscribe", topics=["nine.t"], sub="s8")
            self.assertEqual((await client.until("error"))["code"], 4000)

    async def test_more_than_20_malformed_messages_close_4506(self):
        client = await Subscriber.connect(self.gateway.url)
        for _ in range(21):
            await client.socket.send("{")
        self.assertEqual(await client.closed(), 4506)

    def close_code(self, frame):
        """The code of the close frame that follows the handshake and these bytes."""
        answer = self.exchange(request_head() + frame)
        _, _, frames = answer.partition(b"\r\n\r\n")
        self.assertEqual(frames[:1], b"\x88", f"not a close frame: {frames!r}")
        return int.from_bytes(frames[2:4], "big")
