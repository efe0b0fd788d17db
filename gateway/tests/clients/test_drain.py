"""SIGTERM: every client is told, flushed and closed with 1001; the process ends with 0."""

import asyncio
import signal
import unittest

from gateway import Gateway
from subscriber import Subscriber

DRAIN_S = 2
SERVER = f'drain = "{DRAIN_S}s"'


class Drain(unittest.IsolatedAsyncioTestCase):
    async def test_clients_get_a_notice_the_newest_values_and_1001(self):
        with Gateway("[fanout]\ninterval_ms = 60000", server=SERVER) as gateway:
            clients = [await Subscriber.connect(gateway.url) for _ in range(10)]
            for client in clients:
                await client.subscribe("last.t")
            # Not due for a minute: only the drain's flush can bring it.
            gateway.publish(("last.t", "newest"))
            gateway.terminate()
            codes = await asyncio.gather(*[client.closed() for client in clients])
            self.assertEqual(codes, [1001] * 10)
            for client in clients:
                (notice,) = client.notices
                self.assertEqual(notice["code"], "draining")
                self.assertGreaterEqual(notice["reconnect_after_ms"], 0)
                self.assertEqual(client.subscriptions[""].value("last.t"), "newest")
            waits = {client.notices[0]["reconnect_after_ms"] for client in clients}
            self.assertGreater(len(waits), 1, "reconnects are spread")
            self.assertEqual(await asyncio.to_thread(gateway.process.wait, DRAIN_S + 5), 0)

    async def test_publishing_goes_on_and_newcomers_are_refused_while_draining(self):
        with Gateway(server=SERVER) as gateway:
            client = await Subscriber.connect(gateway.url)
            await client.subscribe("on.t")
            gateway.terminate()
            await client.until("notice")
            gateway.publish(("on.t", 1))
            self.assertEqual(gateway.request("GET", "/readyz")[0], 503)
            host, port = gateway.data.rsplit(":", 1)
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 503 ", await reader.readline())
            writer.close()
            self.assertEqual(await client.closed(), 1001)
            self.assertEqual(await asyncio.to_thread(gateway.process.wait, DRAIN_S + 5), 0)

    async def test_a_stalled_client_does_not_outlast_the_drain(self):
        with Gateway(server=SERVER) as gateway:
            client = await Subscriber.connect(gateway.url, max_queue=1)
            await client.subscribe("big.t", interval_ms=0)
            client.socket.transport.pause_reading()
            for _ in range(40):
                gateway.publish(("big.t", "x" * 1_000_000))
            gateway.terminate()
            self.assertEqual(await asyncio.to_thread(gateway.process.wait, DRAIN_S + 5), 0)
            client.socket.transport.abort()

    async def test_without_clients_it_ends_at_once(self):
        with Gateway(server='drain = "60s"') as gateway:
            gateway.terminate()
            self.assertEqual(await asyncio.to_thread(gateway.process.wait, 5), 0)

    async def test_a_second_signal_ends_it_at_once(self):
        with Gateway(server='drain = "60s"') as gateway:
            client = await Subscriber.connect(gateway.url)
            await client.subscribe("never.t")
            gateway.terminate()
            await client.until("notice")
            gateway.process.send_signal(signal.SIGINT)
            await asyncio.to_thread(gateway.process.wait, 2)
            client.socket.transport.abort()
