"""An attacker: a process beside the clients, which have the CPU before it."""

import collections
import multiprocessing
import os
import queue
import time

from attacks import admin, frames, openings, subscriptions
from attacks.crowd import Crowd

ATTACKS = {one.name: one for one in (*openings.ATTACKS, *frames.ATTACKS, *subscriptions.ATTACKS, *admin.ATTACKS)}
ENDS_S = 30


class Attacker:
    """Attacks from its making on, until `end`."""

    def __init__(self, target, attack):
        self.ending, self.told = multiprocessing.Event(), multiprocessing.Queue()
        arguments = (target, attack, self.ending, self.told)
        self.process = multiprocessing.Process(target=attacking, args=arguments, daemon=True)
        self.process.start()

    def end(self):
        """(counts, CPU seconds, seconds)."""
        self.ending.set()
        try:
            told = self.told.get(timeout=ENDS_S)
        except queue.Empty:
            self.process.kill()
            raise RuntimeError(f"the attacker does not end within {ENDS_S} s") from None
        self.process.join(ENDS_S)
        if self.process.is_alive():
            self.process.kill()
        if isinstance(told, str):
            raise RuntimeError(f"the attacker failed: {told}")
        return told


def attacking(target, attack, ending, told):
    # On the clients' CPU, which these get first.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    began, counts = time.monotonic(), collections.Counter()
    try:
        if attack.run:
            attack.run(target, ending.is_set, counts)
        else:
            crowd = Crowd(target, attack)
            counts = crowd.counts
            crowd.run(ending.is_set)
    except Exception as error:
        return told.put(f"{type(error).__name__}: {error}")
    told.put((counts, time.process_time(), time.monotonic() - began))
