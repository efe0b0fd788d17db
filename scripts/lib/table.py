"""Every check and benchmark, one row each; and the steps of scripts/test, in order."""

import os
from typing import NamedTuple

from machine import ROOT


class Entry(NamedTuple):
    """`scripts/KIND NAME` runs `run` of the module KIND.NAME (checks/, benches/). `needs` are names that `tools.need`
    knows; `profile` is that of its programs where PROFILE names none."""

    name: str
    shows: str
    minutes: float
    needs: tuple[str, ...] = ()
    profile: str = "release"
    # Fit for any machine, busy ones too: the others want one of two cores or more to themselves.
    quick: bool = False


class Step(NamedTuple):
    """A step of scripts/test, ended where it takes longer than `minutes_max`."""

    name: str
    command: list[str]
    minutes_max: float
    environment: dict[str, str] = {}


LOADED = ("gateway", "loadgen")
ALL_CLIENTS = (*LOADED, "python", "node", "curl", "openssl", "java", "netty", "mojolicious", "chromium")

# What builds both packages.
PACKAGING = ("strip", "cargo-deb", "cargo-generate-rpm")

CHECKS = [
    Entry("planted", "the simulation's model finds every bug planted in the gateway", 3, quick=True),
    Entry("conformance", "Autobahn's cases end as the committed baseline says", 2, ("python", "echo"), "dev", True),
    Entry("clients", "real clients of many makers are served, the live page and the report are drawn", 3,
          ALL_CLIENTS, "dev", True),
    Entry("javascript", "the JavaScript client in four runtimes: the vectors, and a gateway in trouble", 2,
          ("gateway", "node", "node-22", "deno", "bun", "javascript", "chromium"), "dev", True),
    Entry("examples", "chat, dashboard and ticker do in Chromium what they say", 2, ("gateway", "node", "chromium"), "dev",
          True),
    Entry("replay", "a replayed feed reaches 1,000 clients; its last values are held byte for byte", 4,
          (*LOADED, "python"), quick=True),
    Entry("exact", "independent clients hold every book, trade and value under conflation", 2,
          ("gateway", "python"), quick=True),
    Entry("venues", "recorded feeds come out exact with configs/venues, and with faults exact or told", 6,
          ("gateway", "python"), quick=True),
    Entry("anywhere", "without io_uring the gateway and loadgen use epoll and say why; supervisors hear how it is", 1,
          LOADED, quick=True),
    Entry("package", "the .deb is installed, run by its unit, reloaded and removed in a Debian that is booted", 3,
          (*LOADED, *PACKAGING, "bootable", "nspawn", "openssl", "lintian", "rpm", "systemd"), quick=True),
    Entry("container", "the image is built and run rootless, to a client's first frame, without a registry", 1,
          (*LOADED, "debian", "podman", "curl", "yaml"), quick=True),
    Entry("kernel", "the gateway and loadgen run on Debian's 6.1 kernel, in an emulated machine", 1, (*LOADED, "qemu"),
          quick=True),
    Entry("metrics", "Prometheus takes the metrics, the alerts and the board's queries", 1,
          (*LOADED, "prometheus", "yaml"),
          quick=True),
    Entry("proxies", "behind HAProxy, nginx and Envoy limits, logs and audit have clients' addresses", 1,
          ("gateway", "haproxy", "nginx", "envoy", "openssl"), quick=True),
    Entry("issuers", "tokens of PyJWT, jose and ruby-jwt are good, and keys change while clients connect", 1.5,
          ("gateway", "python", "jose", "ruby-jwt", "openssl"), "dev", True),
    Entry("any-server", "loadgen measures servers of other protocols", 1, LOADED, quick=True),
    Entry("simulate", "a whole shard keeps the contract under new random schedules", 8),
    Entry("fuzz", "no input breaks a parser: 60 s a target", 8, ("cargo-fuzz",)),
    Entry("exact-load", "1,000 clients hold everything exactly; what slow ones cost the others", 5, LOADED),
    Entry("slow", "two slow clients beside 1,000: what the others see of it, what the slow ones get", 1, LOADED),
    Entry("storm", "1,000 connections that ask for everything and do not read: memory, others' latency", 3, LOADED),
    Entry("admin", "/healthz and clients beside large publishes and crowds on the admin listener", 2, LOADED),
    Entry("attacks", "1,000 honest clients beside each attack, and faults: their latency, what they lose, memory", 35,
          (*LOADED, "openssl", "haproxy", "strace", "faketime")),
    Entry("reload", "every key that reloads is changed and changed back under 20,000 clients", 1, LOADED),
]

BENCHES = [
    Entry("listening", "server-sent events and bare values ÷ WebSocket: CPU per frame; memory of an idle client", 6, LOADED),
    Entry("fanout", "CPU per delivered frame ÷ a bare epoll-and-send() loop's", 3, ("gateway", "floor", "receiver")),
    Entry("keyed", "CPU per byte, keyed ÷ latest topics; memory of 100 books", 3, LOADED),
    Entry("memory", "memory per idle subscribed client", 1, ("gateway", "receiver")),
    Entry("tokens", "what tokens cost: memory of a client, instructions of a frame; 20,000 that come back", 12,
          (*LOADED, "receiver", "costs", "openssl")),
    Entry("costs", "what a client, a class, a topic or a restart costs: how it grows with what exists", 10, ("costs",)),
    Entry("watchlists", "what a frame costs the engine where each client has a watchlist of its own", 5,
          ("watchlists",)),
    Entry("wakeups", "system calls and CPU of a shard that serves 3,000 classes of one client", 3, LOADED),
    Entry("wire", "compression, MessagePack and TLS: CPU, bytes, memory; beside uWebSockets and nchan", 45,
          (*LOADED, "deflate", "openssl")),
    Entry("pair", "CPU per frame and memory of this build ÷ another's", 25, (*LOADED, "openssl")),
    Entry("backends", "CPU per frame and memory, io_uring ÷ epoll", 12, (*LOADED, "openssl")),
    Entry("loadgen", "CPU per received frame, loadgen ÷ a bare epoll reader", 5, (*LOADED, "receiver")),
    Entry("agreement", "loadgen and an independent receiver measure the same", 8, (*LOADED, "python")),
    Entry("capacity", "100,000 clients on two cores: set-up, memory, fan-out, crash", 20, LOADED),
]

KINDS = {"check": CHECKS, "bench": BENCHES}
MODULES = {"check": "checks", "bench": "benches"}
DEV = {"PROFILE": "dev"}


# What is tried on either backend is tried on this one too.
EPOLL = {"FANWIRE_SERVER__IO": "epoll"}


# Of loadgen's own tests, those that load a server and wait least.
LOADS = ("--test", "promises", "--test", "presets", "--test", "dialogs", "--test", "openings")


def process_tests():
    """The integration tests that start a gateway, as words for cargo."""
    tests = sorted((ROOT / "gateway" / "tests").glob("*.rs"))
    starting = [test.stem for test in tests if "\nmod contract;\n" in test.read_text()]
    return ["--package", "gateway", *(word for name in starting for word in ("--test", name))]


def check(name, *words):
    return ["scripts/check", name, *words]


def forbidden(*command):
    """The command where io_uring is forbidden, as in a container: what asks for no backend uses epoll."""
    return ["python3", "scripts/lib/seccomp.py", *command]


def steps():
    """What every contribution passes, in the order in which it fails fastest."""
    return [
        Step("format", ["cargo", "fmt", "--all", "--check"], 1),
        Step("clippy", "cargo clippy --workspace --all-targets --locked -- -D warnings".split(), 20),
        # Unit and integration tests, the simulation and the fuzz seeds.
        Step("tests", "cargo test --workspace --locked --no-fail-fast".split(), 25),
        # The simulation's model finds every bug planted in the gateway, and so earns its trust.
        Step("planted", check("planted"), 15),
        Step("conformance", check("conformance"), 15),
        Step("clients", check("clients"), 15),
        Step("javascript", check("javascript"), 10),
        Step("examples", check("examples"), 10),
        Step("replay", check("replay", "--seconds", "1", "--clients", "200"), 10, DEV),
        Step("exact", check("exact"), 10, DEV),
        Step("chained", check("exact", "--chained", "2"), 10, DEV),
        Step("anywhere", check("anywhere"), 10, DEV),
        Step("epoll-tests", ["cargo", "test", "--locked", "--no-fail-fast", *process_tests()], 15, EPOLL),
        Step("epoll-cases", check("conformance"), 15, EPOLL),
        Step("epoll-clients", check("clients", "python", "node"), 15, EPOLL),
        Step("epoll-exact", check("exact"), 10, DEV | EPOLL),
        Step("epoll-chained", check("exact", "--chained", "2"), 10, DEV | EPOLL),
        Step("epoll-replay", forbidden(*check("replay", "--seconds", "1", "--clients", "100")), 10, DEV),
        Step("epoll-loads", forbidden("cargo", "test", "--locked", "--package", "loadgen", *LOADS), 10),
        Step("epoll-any", forbidden(*check("any-server", "--seconds", "1", "ws")), 10, DEV),
        Step("metrics", check("metrics"), 10, DEV),
        Step("proxies", check("proxies"), 10, DEV),
        Step("issuers", check("issuers", "tokens", "documents"), 10),
        Step("any-server", check("any-server", "--seconds", "2", "echo", "ws"), 10, DEV),
    ]


def long_steps(feeds, before):
    """What `--all` adds, with recorded feeds and another build of the gateway where there are some."""
    feeds, quotes = [os.path.abspath(feed) for feed in feeds], [os.path.abspath(feed) for feed in feeds[:1]]
    added = [
        Step("all-cases", check("conformance", "--all"), 30),
        Step("simulate", check("simulate"), 30),
        Step("fuzz", check("fuzz"), 30),
        Step("kernel", check("kernel"), 10),
        Step("package", check("package"), 30),
        Step("container", check("container"), 30),
        Step("any", check("any-server"), 10),
        Step("rivals", ["scripts/compare", "--smoke"], 30),
        Step("replayed", check("replay"), 20),
        Step("recorded", check("exact", *feeds), 15),
        Step("epoll-all", check("conformance", "--all"), 30, EPOLL),
        Step("epoll-load", check("exact-load", *feeds), 40, EPOLL),
        Step("recorded-2", check("exact", "--chained", "2", *feeds), 15),
        Step("exact-load", check("exact-load", *feeds), 40),
        Step("rotation", check("issuers", "rotation"), 10),
        *(Step(name, check(name), 20) for name in ("slow", "storm", "admin", "reload")),
    ]
    benches = {"wire": (quotes, 120), "pair": ([before, *quotes], 60), "capacity": ([], 60), "agreement": ([], 20)}
    benches["tokens"] = (["--before", before] if before else [], 30)
    for entry in BENCHES:
        words, minutes_max = benches.get(entry.name, ([], 20))
        if entry.name != "pair" or before:
            added.append(Step(entry.name, ["scripts/bench", entry.name, *words], minutes_max))
    return added
