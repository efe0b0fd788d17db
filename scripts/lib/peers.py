"""Servers of other projects: running them, and publishing through them."""

import contextlib
import socket
import subprocess
import threading
import time

STARTS_S = 10


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
