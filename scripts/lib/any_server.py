"""loadgen's raw mode against servers of other protocols. Run by scripts/any-server."""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

LIB = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS, PER_S = 100, 20
STARTS_S = 10
NGINX = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1;
error_log stderr crit;
pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /ws {{ nchan_subscriber websocket; nchan_channel_id ticks; nchan_subscriber_first_message newest; }}
        location /publish {{ nchan_publisher; nchan_channel_id ticks; nchan_message_buffer_length 10; }}
    }}
}}
"""
NATS = """
listen: 127.0.0.1:{port}
websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}
"""


class Server:
    """A server that runs: where loadgen connects, and what it is told beside."""

    def __init__(self, url, *arguments):
        self.url, self.arguments = url, arguments


@contextlib.contextmanager
def process(*command):
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def first_address(running):
    line = running.stdout.readline()
    if not line.startswith("listening data="):
        raise RuntimeError(f"the first line is {line!r}")
    return line.split("data=")[1].split()[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_listening(port):
    ends = time.monotonic() + STARTS_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1)
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def ticking(publish):
    """Calls `publish` with a time-stamped message PER_S times a second, from a thread."""
    ended, failures = threading.Event(), []

    def run():
        n, due = 0, time.monotonic()
        try:
            while not ended.wait(max(0, due - time.monotonic())):
                publish(json.dumps({"ts": time.time_ns() // 1000, "n": n}).encode())
                n, due = n + 1, due + 1 / PER_S
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise RuntimeError(f"publishing failed: {failures[0]}")


@contextlib.contextmanager
def echo():
    """Answers what it is told, so every connection speaks."""
    with process(os.environ["ECHO_BIN"], "--port", "0") as running:
        says = ["--send", '{"ts":{now_us}}', "--send-every", f"{1000 // PER_S}ms"]
        yield Server(f"ws://{first_address(running)}/ws", *says)


@contextlib.contextmanager
def ws():
    with process("node", os.path.join(LIB, "ws_ticks.cjs"), str(PER_S)) as running:
        yield Server(f"ws://{first_address(running)}/")


@contextlib.contextmanager
def nchan():
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w") as file:
            file.write(NGINX.format(directory=directory, port=port))
        # One process: killing it leaves no worker behind.
        options = "daemon off; master_process off;"
        with process("nginx", "-p", directory, "-c", config, "-e", "stderr", "-g", options):
            until_listening(port).close()
            publisher = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

            def publish(message):
                publisher.request("POST", "/publish", message, {"Content-Type": "application/json"})
                answer = publisher.getresponse()
                answer.read()
                if answer.status not in (200, 201, 202):
                    raise OSError(f"nchan answered {answer.status}")

            with ticking(publish):
                yield Server(f"ws://127.0.0.1:{port}/ws")
            publisher.close()


@contextlib.contextmanager
def nats():
    """Its protocol is lines of text, here inside WebSocket messages."""
    port, websocket = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config = os.path.join(directory, "nats.conf")
        with open(config, "w") as file:
            file.write(NATS.format(port=port, websocket=websocket))
        with process("nats-server", "-c", config, "-l", os.path.join(directory, "log")):
            until_listening(websocket).close()
            with until_listening(port) as publisher:
                publisher.sendall(b'CONNECT {"verbose":false}\r\n')
                with ticking(lambda message: publisher.sendall(b"PUB ticks %d\r\n%b\r\n" % (len(message), message))):
                    says = 'CONNECT {"verbose":false}\r\nSUB ticks 1\r\n'
                    yield Server(f"ws://127.0.0.1:{websocket}/", "--send", says)


SERVERS = {"echo": echo, "ws": ws, "nchan": nchan, "nats": nats}


def measure(name, seconds):
    """loadgen's report of one server."""
    with SERVERS[name]() as server:
        command = [os.environ["LOADGEN_BIN"], "--url", server.url, "--connections", str(CONNECTIONS)]
        command += ["--duration", f"{seconds}s", "--stamp", "json:ts", *server.arguments]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if ended.returncode:
            raise RuntimeError(f"loadgen ended with {ended.returncode}:\n{ended.stderr}")
        return json.loads(ended.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(prog="any-server", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each load (5)")
    parser.add_argument("--missing", nargs="*", default=[], help="servers that could not be installed")
    parser.add_argument("servers", nargs="+", choices=SERVERS)
    args = parser.parse_args()
    print(f"{CONNECTIONS} connections, {PER_S} messages/s to each, {args.seconds} s")
    print(f"{'server':<8} {'frames/s':>10} {'p50 ms':>8} {'p99 ms':>8}  established  failed  closed")
    wrong = []
    for name in args.servers:
        if name in args.missing:
            print(f"{name:<8} could not be installed here")
            wrong.append(name)
            continue
        try:
            report = measure(name, args.seconds)
        except (OSError, RuntimeError) as error:
            print(f"{name:<8} {error}")
            wrong.append(name)
            continue
        ages, connections = report["arrival_ms"], report["connections"]
        shown = [f"{'none' if value is None else f'{value:.2f}':>8}" for value in (ages["p50"], ages["p99"])]
        counts = f"{connections['established']:11}  {connections['failed']:6}  {connections['closed']:6}"
        print(f"{name:<8} {report['frames']['per_s']:10,.0f} {' '.join(shown)}  {counts}", flush=True)
        if not report["frames"]["total"] or ages["p50"] is None or connections["established"] < CONNECTIONS:
            wrong.append(name)
    print("every server brought frames" if not wrong else f"not as it should be: {', '.join(wrong)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
