"""Where io_uring does not work the gateway and loadgen use epoll and say why; supervisors are told how they are.

The gateway runs as it is, under a filter of system calls that forbids io_uring as containers do, with too little
memory that may be locked, without /sys, and with each `[server] io` asked for. Each that starts serves loadgen's clients, whose
promises must hold. loadgen runs under the same filter, and with as little memory. `gateway --health`, keys of the environment and what a
supervisor hears over NOTIFY_SOCKET are tried too."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

import load
import process
from gateway import Gateway, synthetic

FORBIDDEN = (sys.executable, str(pathlib.Path(__file__).parents[1] / "seccomp.py"))
# The kernel does not count it against who may lock more, and glommio asks for more all the same.
LOW_LIMIT = ("prlimit", "--memlock=131072:131072")
# Rings count as locked memory where the capability to lock more is missing.
COUNTED = ("setpriv", "--bounding-set=-ipc_lock", "prlimit")
LITTLE_MEMORY = (*COUNTED, "--memlock=131072:131072")
# Enough for a first ring, or for glommio to try.
SOME_MEMORY = (*COUNTED, "--memlock=600000:600000")
LOW_SOFT_LIMIT = ("prlimit", "--memlock=131072:")
WITHOUT_SYS = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys && exec "$@"', "sh")
FEW_FILES = ("prlimit", "--nofile=700:700")
CLIENTS, SECONDS = 200, 2
HEARD_S = 10



def served(name, verdict, backend, reason, server="", prefix=(), loadgen_prefix=()):
    """One gateway: by what it moves bytes, why, and whether its clients get what they are promised."""
    with verdict.part(name), Gateway(synthetic(100, 1000), server=server, prefix=prefix) as gateway:
        metrics = gateway.request("GET", "/metrics")[1]
        told = re.search(r'^fanwire_io_info\{backend="(.*?)",reason="(.*)"\} 1$', metrics, re.MULTILINE)
        verdict.check(f"{name}: by {backend}", told and told[1] == backend and reason in told[2], told and told[0])
        words = ("--connections", CLIENTS, "--duration", f"{SECONDS}s", "--warm-up", "500ms", "--topics", "tick.*")
        report = load.run(gateway, *map(str, words), prefix=loadgen_prefix)
        verdict.figure(f"{name}: frames", report["frames"]["total"], ">=", CLIENTS * SECONDS)


def refused(verdict):
    """Who asks for io_uring and cannot have it is told what to change."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write('[server]\ndata = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nshards = 2\nio = "io_uring"\n')
        file.flush()

        def told(what, prefix, words, *flags, env=os.environ):
            command = [*prefix, os.environ["GATEWAY_BIN"], "--config", file.name, *flags]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=HEARD_S, env=env)
            good = ended.returncode == 1 and all(word in ended.stderr for word in words)
            verdict.check(what, good, f"{ended.returncode}: {ended.stderr.strip()}")

        told("io_uring asked for and forbidden", FORBIDDEN, ("seccomp", 'io = "auto"'))
        told("io_uring asked for and too low a limit", LOW_LIMIT, ("ulimit -l", 'io = "auto"'))
        epoll = {**os.environ, "FANWIRE_SERVER__IO": "epoll"}
        for flags in ((), ("--check",)):
            told("no descriptor for a client", FEW_FILES, ("nofile is 700", "784", "LimitNOFILE"), *flags, env=epoll)


def health(verdict):
    """--health of a gateway that runs, and of none. Its address comes from the environment."""
    admin = f"127.0.0.1:{process.free_port()}"
    asked = {**os.environ, "FANWIRE_SERVER__ADMIN": admin, "FANWIRE_SERVER__DATA": "127.0.0.1:0"}
    ask = lambda: process.code(os.environ["GATEWAY_BIN"], "--health", env=asked, stderr=subprocess.DEVNULL)
    with process.running(os.environ["GATEWAY_BIN"], env=asked) as running:
        words = process.listening(running)
        verdict.check("a key of the environment", words["admin"] == admin, words)
        verdict.check("--health of one that runs", ask() == 0)
    verdict.check("--health of none", ask() == 1)
    wrong = {**os.environ, "FANWIRE_SERVER__PORT": "1"}
    ended = subprocess.run([os.environ["GATEWAY_BIN"], "--check"], env=wrong, capture_output=True, text=True)
    good = ended.returncode == 2 and "FANWIRE_SERVER__PORT" in ended.stderr
    verdict.check("an unknown key of the environment", good, ended.stderr.strip())


def supervised(verdict):
    """What a supervisor hears, in order."""
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as heard:
        path = os.path.join(directory, "notify")
        heard.bind(path)
        heard.settimeout(HEARD_S)
        said = []

        def until(word):
            while not any(line.startswith(word) for line in said[-1:]):
                said.append(heard.recv(4096).decode().strip())

        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000", "FANWIRE_SERVER__DATA": "127.0.0.1:0"}
        environment["FANWIRE_SERVER__ADMIN"] = "127.0.0.1:0"
        with process.running(os.environ["GATEWAY_BIN"], env={**os.environ, **environment}) as running:
            until("READY=1")
            until("WATCHDOG=1")
            running.send_signal(signal.SIGHUP)
            until("RELOADING=1")
            until("READY=1")
            running.send_signal(signal.SIGTERM)
            until("STOPPING=1")
            code = running.wait(HEARD_S)
        reload = next(line for line in said if line.startswith("RELOADING"))
        verdict.check("a supervisor hears all", code == 0 and "MONOTONIC_USEC=" in reload, said)


def run(args, verdict):
    served("as it is", verdict, "io_uring", "io_uring works here")
    served("forbidden", verdict, "epoll", "seccomp", prefix=FORBIDDEN, loadgen_prefix=FORBIDDEN)
    served("too low a limit", verdict, "epoll", "ulimit -l", prefix=LOW_LIMIT)
    served("too low a soft limit", verdict, "io_uring", "io_uring works here", prefix=LOW_SOFT_LIMIT)
    served("little memory", verdict, "epoll", "ulimit -l", prefix=LITTLE_MEMORY, loadgen_prefix=LITTLE_MEMORY)
    served("some memory", verdict, "epoll", "ulimit -l", prefix=SOME_MEMORY, loadgen_prefix=SOME_MEMORY)
    served("without /sys", verdict, "io_uring", "io_uring works here", prefix=WITHOUT_SYS)
    served("epoll asked for", verdict, "epoll", "[server] io", server='io = "epoll"')
    served("io_uring asked for", verdict, "io_uring", "[server] io", server='io = "io_uring"')
    for part in (refused, health, supervised):
        with verdict.part(part.__name__):
            part(verdict)
