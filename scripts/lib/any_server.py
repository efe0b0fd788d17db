"""loadgen's raw mode against servers of other protocols. Run by scripts/any-server."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

import nchan
import peers

LIB = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS, PER_S = 100, 20
NATS = """
listen: 127.0.0.1:{port}
websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}
"""


class Server:
    """A server that runs: where loadgen connects, and what it is told beside."""

    def __init__(self, url, *arguments):
        self.url, self.arguments = url, arguments


def stamped(n):
    return json.dumps({"ts": time.time_ns() // 1000, "n": n})


@contextlib.contextmanager
def echo():
    """Answers what it is told, so every connection speaks."""
    with peers.process(os.environ["ECHO_BIN"], "--port", "0") as running:
        says = ["--send", '{"ts":{now_us}}', "--send-every", f"{1000 // PER_S}ms"]
        yield Server(f"ws://{peers.first_address(running)}/ws", *says)


@contextlib.contextmanager
def ws():
    with peers.process("node", os.path.join(LIB, "ws_ticks.cjs"), str(PER_S)) as running:
        yield Server(f"ws://{peers.first_address(running)}/")


@contextlib.contextmanager
def nginx():
    with nchan.server() as (_, url, port), nchan.publishing(port, stamped, PER_S):
        yield Server(url)


@contextlib.contextmanager
def nats():
    """Its protocol is lines of text, here inside WebSocket messages."""
    port, websocket = peers.free_port(), peers.free_port()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config = os.path.join(directory, "nats.conf")
        with open(config, "w") as file:
            file.write(NATS.format(port=port, websocket=websocket))
        with peers.process("nats-server", "-c", config, "-l", os.path.join(directory, "log")):
            peers.until_listening(websocket).close()
            with peers.until_listening(port) as publisher:
                publisher.sendall(b'CONNECT {"verbose":false}\r\n')

                def publish(n):
                    message = stamped(n).encode()
                    publisher.sendall(b"PUB ticks %d\r\n%b\r\n" % (len(message), message))

                with peers.ticking(publish, PER_S):
                    says = 'CONNECT {"verbose":false}\r\nSUB ticks 1\r\n'
                    yield Server(f"ws://127.0.0.1:{websocket}/", "--send", says)


SERVERS = {"echo": echo, "ws": ws, "nchan": nginx, "nats": nats}


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
