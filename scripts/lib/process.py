"""Processes of a check: started, waited for until they listen, and ended by their id whatever happens."""

import atexit
import contextlib
import socket
import subprocess
import threading
import time

STARTS_S = 10
RUNNING: set[subprocess.Popen] = set()


def start(*command, **options) -> subprocess.Popen:
    """A running process with its stdout as a pipe of text; it is ended when Python ends, if not before."""
    options = {"stdout": subprocess.PIPE, "text": True, **options}
    running = subprocess.Popen([str(word) for word in command], **options)
    RUNNING.add(running)
    return running


def end(running: subprocess.Popen):
    """Kills it where it still runs, and waits for its end."""
    if running.poll() is None:
        running.kill()
    running.wait()
    if running.stdout:
        running.stdout.close()
    RUNNING.discard(running)


@atexit.register
def end_all():
    for running in list(RUNNING):
        end(running)


@contextlib.contextmanager
def running(*command, **options):
    process = start(*command, **options)
    try:
        yield process
    finally:
        end(process)


def code(*command, **options) -> int:
    """The exit code of a command that speaks to the terminal itself."""
    with running(*command, **{"stdout": None, "stdin": subprocess.DEVNULL, **options}) as process:
        return process.wait()


def output(*command, **options) -> str:
    """What a command prints; one that fails raises with what it said."""
    options = {"stderr": subprocess.PIPE, **options}
    with running(*command, **options) as process:
        out, told = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {told}")
    return out


def listening(running: subprocess.Popen) -> dict[str, str]:
    """Waits for a first line `listening NAME=ADDRESS …` (or `… NAME=ADDRESS …`): its addresses by name."""
    line = running.stdout.readline()
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    if "listening" not in line or "data" not in words:
        end(running)
        raise RuntimeError(f"the first line of {running.args[0]} is {line!r}, its exit code {running.returncode}")
    return words


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_listening(port: int) -> socket.socket:
    """A connection to the port, tried for STARTS_S."""
    ends = time.monotonic() + STARTS_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1)
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def ticking(publish, per_s):
    """Calls `publish` with 0, 1, 2 and so on, so many times a second, from a thread."""
    ended, failures = threading.Event(), []

    def run():
        n, due = 0, time.monotonic()
        try:
            while not ended.wait(max(0, due - time.monotonic())):
                publish(n)
                n, due = n + 1, due + 1 / per_s
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
