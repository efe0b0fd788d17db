"""31 bodies of 15 MiB at once on the admin listener, of several shapes, or a crowd that reads nothing: how long
/healthz takes meanwhile, and how long a client at 100 ms waits for its next frame, in milliseconds."""

import collections
import gzip
import http.client
import json
import multiprocessing
import queue
import select
import socket
import threading
import time

import machine
from client import Client, connected
from gateway import Gateway, synthetic

BODIES, BODY_BYTES = 31, 15 << 20
SECONDS = 12
HEALTHZ_MS_MAX = GAP_MS_MAX = 250
INTERVAL_MS, PAUSE_S = 100, 0.02
FEED = synthetic(20, 500)
TOPICS = 100_000
# Connections that read nothing, several times [limits] admin_connections and the places in reserve together, and what
# they ask: some keep their places until they are late with reading, others are answered soon and come back.
CROWDS = {"crowd": 300, "flood": 1000}
ASKED = [b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path * 400 for path in (b"/metrics", b"/healthz")]
# Of probes beside a flood: one that is overtaken by 128 others between its connect and its request loses its place.
LOST_MAX = 0.01
# [limits] atomic_updates.
GROUP = 10_000


def small(n):
    return b'{"topic":"p%d","data":0}' % (n % TOPICS)


def many(separator):
    """As many small updates as fit a body."""
    return separator.join(small(n) for n in range(BODY_BYTES // (len(small(TOPICS - 1)) + len(separator))))


def shapes():
    """{name: (what it is, headers, body)}; no body: nothing is published."""
    array, lines = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
    group_bytes = BODY_BYTES // GROUP - 40
    groups = [{"topic": f"g{n}", "data": "x" * group_bytes} for n in range(GROUP)]
    values = [{"topic": f"v{n}", "data": "x" * 1_000_000} for n in range(BODY_BYTES // 1_000_100)]
    return {
        "quiet": ("nothing", None, None),
        **{name: (f"but {n} connections that ask and read nothing, and come back", None, None) for name, n in CROWDS.items()},
        "array": ("arrays of small updates, more than one may have", array, b"[" + many(b",") + b"]"),
        "lines": ("lines of small updates", lines, many(b"\n")),
        "values": ("arrays of values of 1 MB", array, json.dumps(values).encode()),
        "groups": ("arrays of as many updates as one may have", array, json.dumps(groups).encode()),
        "gzip": ("the same lines, compressed", {**lines, "Content-Encoding": "gzip"}, gzip.compress(many(b"\n"), 1)),
    }


def connect(address, timeout=120):
    host, port = address.rsplit(":", 1)
    return http.client.HTTPConnection(host, int(port), timeout=timeout)


def probe(address, ends, results):
    """Milliseconds of each GET /healthz, on a connection of its own, and the statuses."""
    times_ms, statuses = [], collections.Counter()
    while time.monotonic() < ends:
        began = time.monotonic()
        connection = connect(address)
        try:
            connection.request("GET", "/healthz")
            statuses[connection.getresponse().status] += 1
        except OSError as error:
            statuses[type(error).__name__] += 1
        connection.close()
        times_ms.append((time.monotonic() - began) * 1e3)
        time.sleep(PAUSE_S)
    results.put(("healthz", times_ms, dict(statuses)))


def subscribe(address, ends, results):
    """Milliseconds between any two batches of a client."""
    client = Client(address, ["tick.*"], INTERVAL_MS)
    batches, gaps_ms = client.batches(), []
    next(batches)
    last = time.monotonic()
    while last < ends:
        next(batches)
        now = time.monotonic()
        gaps_ms.append((now - last) * 1e3)
        last = now
    results.put(("client", gaps_ms, {}))


def publish(address, headers, body, answers):
    connection = connect(address)
    try:
        connection.request("POST", "/publish", body, headers)
        answers.put(connection.getresponse().status)
    except OSError as error:
        answers.put(type(error).__name__)
    connection.close()


def crowd(address, connections, ends):
    """Holds so many connections; whichever is closed is opened again at once."""
    held, closed = {}, select.poll()

    def join():
        new = connected(address, receive_bytes=2048)
        held[new.fileno()] = new
        closed.register(new, select.POLLRDHUP)
        try:
            new.send(ASKED[new.fileno() % len(ASKED)], socket.MSG_DONTWAIT)
        except OSError:
            # Closed already.
            pass

    for _ in range(connections):
        join()
    while time.monotonic() < ends:
        for number, _ in closed.poll(100):
            closed.unregister(number)
            held.pop(number).close()
            join()


def measure(headers, body, connections):
    """{"healthz": (ms, statuses), "client": (ms, {})}, the publishers' answers so far and the memory at its peak."""
    with Gateway(FEED) as gateway:
        ends = time.monotonic() + 1 + SECONDS
        results, answers = multiprocessing.Queue(), queue.Queue()
        watchers = [(probe, gateway.admin), (subscribe, gateway.data)]
        watchers = [multiprocessing.Process(target=f, args=(at, ends, results), daemon=True) for f, at in watchers]
        for watcher in watchers:
            watcher.start()
        if connections:
            arguments = (gateway.admin, connections, ends)
            multiprocessing.Process(target=crowd, args=arguments, daemon=True).start()
        time.sleep(1)
        for _ in range(BODIES if body else 0):
            arguments = (gateway.admin, headers, body, answers)
            threading.Thread(target=publish, args=arguments, daemon=True).start()
        got = {name: (times_ms, statuses) for name, times_ms, statuses in (results.get() for _ in watchers)}
        peak_mib = machine.memory_bytes(gateway.pid, "VmHWM") >> 20
        counts = collections.Counter(answers.get() for _ in range(answers.qsize()))
    return got, dict(counts), peak_mib


def row(verdict, what, times_ms, goal_ms):
    times_ms = sorted(times_ms)
    p50, p99, most = times_ms[len(times_ms) // 2], times_ms[len(times_ms) * 99 // 100], times_ms[-1]
    verdict.figure(f"  {what}, max", most, "<=", goal_ms, "ms", f"p99 {p99:.0f}, p50 {p50:.0f}")


def arguments(parser):
    choices = ["quiet", *CROWDS, "array", "lines", "values", "groups", "gzip"]
    parser.add_argument("--shape", choices=choices, help="this one alone")


def run(args, verdict):
    for name, (what, headers, body) in shapes().items():
        if args.shape not in (None, name):
            continue
        print(f"{name}: {BODIES if body else 0} bodies of {len(body or b'') / (1 << 20):.1f} MiB, {what}", flush=True)
        got, answers, peak_mib = measure(headers, body, CROWDS.get(name, 0))
        times_ms, statuses = got["healthz"]
        row(verdict, "GET /healthz", times_ms, HEALTHZ_MS_MAX)
        row(verdict, f"between frames of a client at {INTERVAL_MS} ms", got["client"][0], GAP_MS_MAX)
        count = sum(statuses.values())
        lost = count - statuses.get(200, 0)
        lost_max = int(LOST_MAX * count) if name == "flood" else 0
        verdict.figure("  probes of /healthz lost", lost, "<=", lost_max, note=f"of {count}: {statuses}")
        print(f"  statuses of publishers {answers}; {peak_mib} MiB")
