"""Everything a contribution must pass, in the order in which it fails fastest.

A step that fails does not stop the others; the exit code is 0 only if all passed. A step that takes longer than its
limit is ended and has failed. Logs of the steps: target/test-logs/."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import table
from machine import ROOT

ENDS_S = 10
LOGS = ROOT / "target" / "test-logs"


def end(step):
    """Ends a step and what it started: its process group, politely first."""
    for number, wait_s in ((signal.SIGTERM, ENDS_S), (signal.SIGKILL, None)):
        try:
            os.killpg(step.pid, number)
            step.wait(wait_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run(step):
    """Runs a step, what it says to the terminal and to its log; whether it passed."""
    print(f"\n==> {step.name}: {shlex.join(step.command)}", flush=True)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    environment = {**os.environ, **step.environment}
    try:
        running = subprocess.Popen(step.command, cwd=ROOT, env=environment, start_new_session=True, **options)
    except OSError as error:
        print(error, flush=True)
        return False
    late = threading.Event()

    def end_late():
        late.set()
        end(running)

    timer = threading.Timer(step.minutes_max * 60, end_late)
    timer.start()
    try:
        with open(LOGS / f"{step.name}.log", "wb") as log:
            while chunk := running.stdout.read1():
                log.write(chunk)
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
        return running.wait() == 0
    finally:
        timer.cancel()
        end(running)
        if late.is_set():
            print(f"{step.name} took longer than {step.minutes_max:g} minutes and was ended", flush=True)


def main():
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("scripts/test", description=__doc__, formatter_class=layout)
    parser.add_argument("--list", action="store_true", help="the steps with their limits; runs none")
    parser.add_argument("--all", action="store_true", help="what is long as well, on a machine of its own: hours")
    parser.add_argument("--feed", action="append", default=os.environ.get("FEEDS", "").split(),
                        help="a recorded feed for the long steps; repeatable, or FEEDS=PATH…")
    parser.add_argument("--before", default=os.environ.get("BEFORE"),
                        help="another build of the gateway, for `scripts/bench pair`, or BEFORE=PATH")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="only these")
    args = parser.parse_args()
    before = args.before and os.path.abspath(args.before)
    steps = table.steps() + (table.long_steps(args.feed, before) if args.all else [])
    if unknown := set(args.steps) - {step.name for step in steps}:
        parser.error(f"no step {', '.join(sorted(unknown))}; --list shows them")
    steps = [step for step in steps if not args.steps or step.name in args.steps]
    if args.list:
        for step in steps:
            words = [f"{name}={value}" for name, value in step.environment.items()]
            print(f"{step.name:<13} at most {step.minutes_max:3g} min  {' '.join([*words, shlex.join(step.command)])}")
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    rows, passed = [], 0
    for step in steps:
        began = time.monotonic()
        good = run(step)
        passed += good
        rows.append(f"{step.name:<13} {'passed' if good else 'FAILED':<7} {time.monotonic() - began:4.0f} s")
    print("", *rows, f"\n{passed} passed, {len(steps) - passed} failed", sep="\n")
    return 0 if passed == len(steps) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
