"""wss as OpenSSL speaks it: by its own client and by the Python package `websockets`."""

import json
import os
import ssl
import subprocess
import tempfile
import unittest
import zlib

from gateway import Gateway
from subscriber import Subscriber

CONFIG = '[fanout]\ninterval_ms = 20\n[limits]\nhandshake = "1s"\n'
UPGRADE = (
    b"GET /ws?topics=openssl.* HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def certificate(directory):
    """The files of a certificate for localhost, and the keys of [server] that name them."""
    cert, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return cert, f'tls = "127.0.0.1:0"\ntls_cert = "{cert}"\ntls_key = "{key}"'


class Tls(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanwire-"))
        cls.cert, server = certificate(directory)
        cls.gateway = cls.enterClassContext(Gateway(CONFIG, server=server))
        cls.port = cls.gateway.tls_url.split(":")[2].split("/")[0]
        cls.url = f"wss://localhost:{cls.port}/ws"

    def context(self, version=None):
        context = ssl.create_default_context(cafile=self.cert)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    async def test_subscribes_and_gets_values_compressed_or_not(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for compression in (None, "deflate"):
                with self.subTest(version=version, compression=compression):
                    options = {"ssl": self.context(version), "compression": compression}
                    async with await Subscriber.connect(self.url, **options) as client:
                        await client.subscribe("tls.*")
                        value = ["x" * 50_000, version.name, compression]
                        self.gateway.publish(("tls.a", value))
                        await client.until_value("tls.a", value)
                        since = client.since()
                    async with await Subscriber.connect(self.url, **options) as client:
                        _, batch = await client.subscribe("tls.*", since=since)
                        self.assertEqual(batch["op"], "batch")

    async def test_nobody_is_trusted_who_is_not_vouched_for(self):
        with self.assertRaises(ssl.SSLCertVerificationError):
            await Subscriber.connect(self.url, ssl=ssl.create_default_context())
        with self.assertRaises(ssl.SSLCertVerificationError):
            await Subscriber.connect(f"wss://127.0.0.1:{self.port}/ws", ssl=self.context())

    def s_client(self, *arguments, say=""):
        command = ["openssl", "s_client", "-connect", f"localhost:{self.port}", "-CAfile", self.cert, *arguments]
        return subprocess.run(command, input=say, capture_output=True, text=True, timeout=20)

    def test_openssl_is_answered(self):
        for version in ("-tls1_2", "-tls1_3"):
            said = self.s_client(version, "-quiet", "-no_ign_eof", say="GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            output = self.s_client(version, "-ign_eof", say="GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").stdout
            self.assertIn("Verify return code: 0 (ok)", output, said.stderr)
            self.assertIn("HTTP/1.1 200 OK", output)

    def test_openssl_gets_compressed_frames(self):
        value = [f"quote {n}" for n in range(1000)]
        for version in ("-tls1_2", "-tls1_3"):
            self.gateway.publish(("openssl.a", value))
            command = ["openssl", "s_client", "-connect", f"localhost:{self.port}", "-CAfile", self.cert]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            with subprocess.Popen([*command, "-verify_return_error", "-quiet", version], **pipes) as client:
                try:
                    client.stdin.write(UPGRADE)
                    client.stdin.flush()
                    head = iter(client.stdout.readline, b"\r\n")
                    self.assertIn("permessage-deflate", b"".join(head).decode())
                    ops = []
                    while "snapshot" not in ops:
                        first, length = client.stdout.read(2)
                        if length == 126:
                            length = int.from_bytes(client.stdout.read(2), "big")
                        payload = client.stdout.read(length)
                        if first & 0x40:
                            # RFC 7692, 7.2.2.
                            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                        message = json.loads(payload)
                        ops.append(message["op"])
                    self.assertEqual(message["updates"][0]["data"], value)
                    self.assertTrue(first & 0x40 and length < 4000, (first, length))
                finally:
                    client.kill()

    def test_openssl_resumes(self):
        for version in ("-tls1_2", "-tls1_3"):
            with tempfile.NamedTemporaryFile() as ticket:
                request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                first = self.s_client(version, "-ign_eof", "-sess_out", ticket.name, say=request)
                self.assertIn("New, ", first.stdout)
                again = self.s_client(version, "-ign_eof", "-sess_in", ticket.name, say=request)
                self.assertIn("Reused, ", again.stdout)

    def test_versions_of_before_are_refused(self):
        output = self.s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn("no peer certificate available", output.stdout)
        self.assertIn("alert", output.stderr)
