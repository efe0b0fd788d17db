"""Reloads of the configuration under live clients: every key that reloads is changed and changed back, over and over.

Keys are those that `gateway --check --reloadable` lists. Clients are loadgen's, which miss nothing and lose no
connection. How long a shard is away at most is seen by a client without an interval, of values that change all the
time: what lies between its frames, once without reloads and once with them. Times in ms."""

import json
import multiprocessing
import os
import time
import tomllib

import load
import process
from client import Client
from gateway import Gateway, synthetic

GAP_MS_MAX = 50
SYMBOLS, UPDATES_PER_S = 100, 1000
TOPICS = "tick.S{0000..0099}"
PAUSE_S = 0.25
# Of what reloads these are changed key by key; tables come and go. What is left needs files, or another listener: keys of
# the admin listener, of tokens, and certificates.
SECTIONS = ("fanout", "limits", "compression", "overload", "access", "state", "log")
TABLES = '''[[source]]
kind = "host"
[[topic]]
pattern = "book.*"
mode = "keyed"
[access.everyone]
subscribe = ["*"]
[access.anonymous]
subscribe = ["*"]
[[access.role]]
when = { "/groups" = "desk" }
subscribe = ["desk.*"]
'''
TABLES_OF_ACCESS = ("access.anonymous", "access.everyone", "access.role")
LEFT = ("access.clients", "access.key", "access.jwks", "access.csrf_secret_file", "access.csrf_cookie", *TABLES_OF_ACCESS)
# In place of what `other` says: of what has no limit, and what is at its highest.
OTHERS = {
    "fanout.interval_ms_menu": [50, 100, 1000],
    "limits.connections_per_ip": 1_000_000,
    "limits.handshakes": 1_000_000,
    "limits.handshakes_per_ip": 1_000_000,
    "limits.connection_age": "1h",
    "limits.subscriptions": 7,
    "limits.idle_subscribed": "1h",
    "limits.patterns_per_ip": 1_000_000,
    "limits.classes_per_ip": 100_000,
    "limits.build_bytes_per_ip": "1GiB",
    "compression.window_bits": 14,
    "compression.user_agents_off": [],
    "overload.busy_percent": 100,
    "access.origins": ["same-host", "none", "https://a.example"],
    "access.hosts": ["a.example"],
    "access.token_from": ["op", "authorization"],
    "access.claim": "/grants",
    "access.issuer": ["https://id.example"],
    "access.audience": ["fanwire"],
    "access.csrf_param": "code",
    "log.filter": "error",
}


def other(value):
    """The value beside it: another flag, or one more of a number, also where a unit follows it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        digits = value.rstrip("BGKMTdhimnsu")
        return f"{int(digits) + 1}{value[len(digits) :]}"
    return value + 1


def changed():
    """(TOML with another value of every key of SECTIONS that reloads, how many they are)."""
    binary = os.environ["GATEWAY_BIN"]
    defaults = tomllib.loads(process.output(binary, "--print-reference"))
    lines, count = [], 0
    keys = [key for key in process.output(binary, "--check", "--reloadable").split() if key not in LEFT]
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for key in keys:
            of, _, name = key.rpartition(".")
            if of == section:
                value = OTHERS[key] if key in OTHERS else other(defaults[section][name])
                # Numbers, texts, flags and lists of them are written in TOML as in JSON.
                lines.append(f"{name} = {json.dumps(value)}")
                count += 1
    return "\n".join([*lines, TABLES]), count + len(TABLES_OF_ACCESS)


def gaps(address, ending, results):
    """The longest time between two batches of a client."""
    batches = Client(address, ["tick.*"], 0).batches()
    next(batches)
    last, most = time.monotonic(), 0.0
    while not ending.is_set():
        next(batches)
        now = time.monotonic()
        last, most = now, max(most, now - last)
    results.put(most * 1e3)


def reload(gateway, path, text):
    """(how long it took, keys that were changed)."""
    with open(path, "w") as file:
        file.write(text)
    began = time.monotonic()
    status, answer = gateway.request("POST", "/reload")
    if status != 200:
        raise RuntimeError(f"POST /reload answered {status} {answer}")
    return (time.monotonic() - began) * 1e3, len(answer["applied"])


def watched(gateway, seconds, between):
    """The longest gap of a client during so many seconds, in which `between` is called over and over."""
    ending, results = multiprocessing.Event(), multiprocessing.Queue()
    watcher = multiprocessing.Process(target=gaps, args=(gateway.data, ending, results), daemon=True)
    watcher.start()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(PAUSE_S)
        between()
    ending.set()
    return results.get(timeout=30)


def arguments(parser):
    parser.add_argument("--clients", type=int, default=20_000, help="live meanwhile (20000)")
    parser.add_argument("--seconds", type=int, default=20, help="without reloads, and with them (20)")


def run(args, verdict):
    keys, count = changed()
    warm_s = 5 + args.clients // 2000
    with Gateway(synthetic(SYMBOLS, UPDATES_PER_S)) as gateway:
        path = os.path.join(gateway.directory.name, "gateway.toml")
        with open(path) as file:
            before = file.read()
        # Of topics of their own, so that they are not all due at one moment.
        words = ["--connections", str(args.clients), "--topics", TOPICS, "--interests", "random:3"]
        words += ["--interval-ms", "1000", "--warm-up", f"{warm_s}s", "--duration", f"{2 * args.seconds + 5}s"]
        running = load.start(gateway, *words)
        time.sleep(warm_s)
        verdict.figure("longest gap of a client without reloads", watched(gateway, args.seconds, lambda: None), unit="ms")
        times_ms, told = [], []

        def there_and_back():
            for text in (before + keys, before):
                took_ms, applied = reload(gateway, path, text)
                times_ms.append(took_ms)
                told.append(applied)

        most = watched(gateway, args.seconds, there_and_back)
        verdict.figure("longest gap of a client with reloads", most, "<=", GAP_MS_MAX, "ms")
        verdict.figure("keys of each reload", min(told), ">=", count, note=f"{len(told)} reloads")
        verdict.figure("longest POST /reload", max(times_ms), unit="ms")
        report, broken = load.finish(running)
        verdict.figure("clients", report["connections"]["established"], "==", args.clients)
        for what in broken:
            verdict.say(what)
