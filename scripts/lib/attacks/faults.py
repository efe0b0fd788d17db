"""Faults of the machine and of the gateway itself, each beside clients that must lose nothing by it."""

import base64
import contextlib
import glob
import hashlib
import hmac
import json
import os
import pathlib
import signal
import struct
import tempfile
import threading
import time

import load
import process
from attacks.attack import FIN, TEXT, Attack, Target, request
from attacks.attacker import Attacker
from client import connected
from gateway import Gateway, synthetic
from machine import pinned
from production import fill
from tools import LIBFAKETIME

TOPICS, VALUE = 20_000, "v" * 40
STATE = 'path = "{}"\n'
WAIT_S = 15
# Of a killed gateway.
CHECKPOINT_S, KILLS = 0.1, 5
LISTENS_S = 15
# Room for no checkpoint of TOPICS, and for many.
SMALL, LARGE = "512k", "64m"
NOFILE = 1500
CLIENTS, GREEDY = 400, 3000
STEPS_S = (3600, -7200, 0)
TOKEN_S = 1800
GAP_MS_MAX = 250


def until(what, holds, wait_s=WAIT_S):
    ends = time.monotonic() + wait_s
    while not (found := holds()):
        if time.monotonic() > ends:
            raise RuntimeError(f"not within {wait_s} s: {what}")
        time.sleep(0.01)
    return found


def beside(gateway, args, *words, clients=CLIENTS, promises=load.PROMISES):
    """A load of clients at 100 ms, which are all there."""
    words = ["--connections", str(clients), "--topics", "tick.*", "--interval-ms", "100", "--threads", "1", *words]
    if "--duration" not in words:
        words += ["--duration", f"{args.seconds}s"]
    running = load.start(gateway, *words, prefix=pinned(1), promises=promises)
    until("all clients are there", lambda: gateway.clients() >= clients)
    return running


def ended(name, running, verdict):
    """The report of a load whose promises have to hold."""
    report, wrong = load.finish(running)
    for what in wrong:
        verdict.say(f"{name}: {what}")
    verdict.figure(f"{name}: lost", report["updates"]["lost"] + report["final"]["lost"], "==", 0)
    return report


class Kept:
    """A gateway with a state in a directory that outlives it."""

    def __init__(self, directory, more=""):
        self.path = os.path.join(directory, "state")
        self.config = f'[state]\npath = "{self.path}"\ncheckpoint = "{CHECKPOINT_S * 1000:.0f}ms"\n{more}'

    def start(self):
        return Gateway(self.config, prefix=pinned(0), log=True, server="shards = 1")


def killed(args, verdict):
    """kill -9 while a checkpoint is written: the next start has all that was there when the one before began."""
    in_time = 0
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        kept = Kept(directory)
        for number in range(KILLS):
            acked, written = [], []
            with kept.start() as gateway:
                if number == 0:
                    fill(gateway, TOPICS, VALUE)
                in_time += killed_in_time(gateway, kept.path, acked, written)
            begun = written[-2]
            least = max((n for at, n in acked if at < begun), default=0)
            with kept.start() as gateway:
                status, mark = gateway.request("GET", "/topics/mark")
                assert status == 200, f"the restarted gateway answers {status} {mark} for a topic that was there"
                if mark["data"] < least:
                    verdict.say(f"killed: {mark['data']} is restored, {least} was accepted before the last checkpoint")
                topics, lost = len(gateway.topics()), gateway.metrics()["fanwire_state_lost"]
            if (topics, lost) != (TOPICS + 1, 0):
                verdict.say(f"killed: {topics} topics are restored, {lost:.0f} records are damaged")
    verdict.figure("killed: in the midst of a checkpoint", in_time, ">=", 1, note=f"of {KILLS} kills")


def killed_in_time(gateway, path, acked, written):
    """Kills a gateway in the midst of a checkpoint, after two whole ones. Whether it was: its file is still there."""
    base = int(time.time() * 1000)
    stop = threading.Event()

    def publish():
        n = base
        while not stop.is_set():
            n += 1
            with contextlib.suppress(OSError, AssertionError):
                gateway.publish(("mark", n))
                acked.append((time.time(), n))
            time.sleep(0.005)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    begins = time.time()
    try:
        def seen():
            with contextlib.suppress(FileNotFoundError):
                at = os.stat(path).st_mtime
                if at > begins and (not written or at > written[-1]):
                    written.append(at)
            return len(written) >= 3 and os.path.exists(f"{path}.tmp")

        until("a checkpoint is being written", seen)
        gateway.process.kill()
        gateway.process.wait()
        return os.path.exists(f"{path}.tmp")
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def small_disk(directory):
    process.output("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "fanwire-check", directory)
    try:
        yield
    finally:
        process.output("umount", "--lazy", directory)


def full_disk(args, verdict):
    """A disk with no room for a checkpoint, nor for the audit: clients lose nothing, and it goes on once there is room."""
    with tempfile.TemporaryDirectory(prefix="fanwire-") as outer:
        directory = os.path.join(outer, "disk")
        os.mkdir(directory)
        with small_disk(directory):
            kept = Kept(directory, f'[audit]\npath = "{directory}/audit.jsonl"\n' + synthetic(20, 200))
            with kept.start() as gateway:
                fill(gateway, TOPICS, VALUE)
                until("checkpoints fail", lambda: gateway.metrics()["fanwire_state_errors_total"] > 0)
                # No byte is left.
                with contextlib.suppress(OSError), open(f"{directory}/ballast", "wb") as ballast:
                    while True:
                        ballast.write(bytes(4096))
                        ballast.flush()
                ended("full-disk", beside(gateway, args), verdict)
                before = gateway.metrics()
                verdict.figure("full-disk: checkpoints that failed", int(before["fanwire_state_errors_total"]), ">=", 1)
                dropped = int(before["fanwire_audit_lines_dropped_total"])
                verdict.figure("full-disk: lines of the audit that are missing", dropped, ">=", 1)
                os.unlink(f"{directory}/ballast")
                process.output("mount", "-o", f"remount,size={LARGE}", directory)
                until("a checkpoint is written", lambda: fresh(gateway))
                print("full-disk: checkpoints go on once there is room", flush=True)
                gateway.terminate()
                verdict.figure("full-disk: exit code of a clean end", gateway.process.wait(WAIT_S), "==", 0)


def fresh(gateway):
    age_s = gateway.metrics().get("fanwire_state_age_seconds")
    return age_s is not None and age_s < 2


def descriptors(args, verdict):
    """More clients than descriptors: who is there loses nothing, probes are answered, and afterwards others get in."""
    greedy = Attack("greedy", "", (), lambda target, n: request("/ws?topics=tick.*&interval_ms=1000"),
                    connections=GREEDY, addresses=50)
    for io in ("io_uring", "epoll"):
        name = f"descriptors, {io}"
        prefix = [*pinned(0), "prlimit", f"--nofile={NOFILE}:{NOFILE}"]
        server = f'io = "{io}"\nshards = 1\n'
        with Gateway(synthetic(20, 200), server=server, prefix=prefix, log=True) as gateway:
            running = beside(gateway, args)
            attacker = Attacker(Target(gateway.data, "", gateway.admin, gateway.pid, ""), greedy)
            time.sleep(args.seconds / 2)
            statuses = [gateway.request("GET", "/healthz")[0] for _ in range(5)]
            metrics = gateway.metrics()
            report = ended(name, running, verdict)
            attacker.end()
            refused = sum(metrics.get(f'fanwire_refused_total{{status="{status}"}}', 0) for status in (429, 503))
            refused += metrics["fanwire_refused_reset_total"] + metrics["fanwire_accept_failures_total"]
            verdict.figure(f"{name}: connections turned away", int(refused), ">=", 1)
            verdict.figure(f"{name}: /healthz answered", statuses.count(200), "==", len(statuses))
            verdict.figure(f"{name}: visible p99", report["visible_ms"]["p99"], unit="ms")
            until("others get in", lambda: is_let_in(gateway))


def is_let_in(gateway):
    with contextlib.suppress(OSError), connected(gateway.data) as sock:
        sock.sendall(request("/ws?topics=tick.*"))
        return b" 101 " in sock.recv(64)
    return False


def thread_of(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return task.name
    raise RuntimeError(f"process {pid} has no thread {name}")


def again(gateway, config):
    """As a supervisor would start it, on the same addresses."""
    ends = time.monotonic() + LISTENS_S
    while True:
        try:
            return Gateway(config, server="shards = 1", data=gateway.data, admin=gateway.admin, prefix=pinned(0), log=True)
        except RuntimeError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def panics(args, verdict):
    """A shard's thread panics, as its next call for its sockets fails: the process ends, and its clients come back."""
    for io, call in (("io_uring", "io_uring_enter"), ("epoll", "epoll_pwait")):
        name, config = f"panic, {io}", synthetic(20, 200)
        server = f'io = "{io}"\nshards = 1\n'
        with Gateway(config, server=server, prefix=pinned(0), log=True) as gateway:
            promises = [promise for promise in load.PROMISES if "closed" not in promise and "resumed" not in promise]
            words = ["--reconnect", "--duration", f"{args.seconds + 10}s"]
            running = beside(gateway, args, *words, promises=promises)
            thread, began = thread_of(gateway.pid, "shard0"), time.monotonic()
            inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO"]
            with process.running("strace", "-q", "-o", "/dev/null", *inject, "-p", thread):
                code = gateway.process.wait(WAIT_S)
                verdict.figure(f"{name}: exit code", code, "==", 1, note=f"after {time.monotonic() - began:.2f} s")
            with again(gateway, config):
                report = ended(name, running, verdict)
            verdict.figure(f"{name}: clients that came back", report["restart"]["returned"], "==", CLIENTS)


def token(secret, expires_s):
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    head, claims = json.dumps({"alg": "HS256"}).encode(), json.dumps({"sub": "a", "exp": expires_s}).encode()
    signed = part(head) + b"." + part(claims)
    return (signed + b"." + part(hmac.digest(secret, signed, hashlib.sha256))).decode()


def close_code(sock):
    """Of what comes next on a connection, of short frames; `None`: it ended without one."""
    data = b""
    while received := sock.recv(65536):
        data += received
        head = data.rfind(bytes([FIN | 8]))
        if head >= 0 and len(data) >= head + 4 and data[head + 1] < 126 and head + 2 + data[head + 1] == len(data):
            return struct.unpack(">H", data[head + 2 : head + 4])[0]
    return None


def steps(args, verdict):
    """The wall clock steps by hours, ahead and back: nobody is closed for it but who holds a token that has expired."""
    library = next(iter(glob.glob(LIBFAKETIME)), None)
    if library is None:
        raise RuntimeError("libfaketime is not installed; it makes a process see another wall clock")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        offset, secret = (os.path.join(directory, name) for name in ("offset", "hs.key"))
        pathlib.Path(secret).write_bytes(b"s" * 32)
        pathlib.Path(offset).write_text("+0\n")
        config = f'[limits]\nping = "1s"\npong = "1s"\n[access]\nclients = "open"\n[[access.key]]\nalg = "HS256"\n'
        config += f'secret_file = "{secret}"\n{synthetic(20, 200)}'
        # Of the wall clock alone; the file is read again for every reading.
        fake = [f"LD_PRELOAD={library}", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
        fake += [f"FAKETIME_TIMESTAMP_FILE={offset}", "FAKETIME_NO_CACHE=1"]
        prefix = [*pinned(0), "env", *fake]
        with Gateway(config, server="shards = 1", prefix=prefix, log=True) as gateway:
            running = beside(gateway, args, "--duration", f"{args.seconds + 2 * len(STEPS_S)}s")
            with connected(gateway.data) as sock:
                shown = token(b"s" * 32, int(time.time()) + TOKEN_S)
                sock.sendall(request("/ws?topics=none", f"Authorization: Bearer {shown}"))
                assert b" 101 " in sock.recv(64), "a good token is refused"
                for step_s in STEPS_S:
                    # In one step, so that no half of it is read.
                    new = pathlib.Path(f"{offset}.new")
                    new.write_text(f"{step_s:+}\n")
                    new.rename(offset)
                    time.sleep(2)
                verdict.figure("clock: close code of a token that has expired", close_code(sock), "==", 4005)
            report = ended("clock", running, verdict)
            gap_ms = report["clients"]["gap_ms_max"]
            verdict.figure("clock: longest time without a frame", gap_ms, "<=", GAP_MS_MAX, "ms")


FAULTS = {"killed": killed, "full-disk": full_disk, "descriptors": descriptors, "panic": panics, "clock": steps}
