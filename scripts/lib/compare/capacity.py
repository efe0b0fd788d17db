"""Clients a core: the most that a server on one core serves with a `visible` p99 of VISIBLE_MS.

Doubling and bisecting finds the level of each server, then all are measured again at their levels in alternated rounds.
A level whose rounds do not hold by their median is lowered and measured again."""

import dataclasses
import resource
import statistics

from compare.load import VISIBLE_MS, fails, judged
from rounds import alternated

# Of each other: where bisecting ends.
NEAR = 0.1
LOWER = 0.93
LOWERED_MAX = 3
# Descriptors that a server has open beside its clients.
OTHER_FILES = 300
BUSY_PERCENT = 90
# From the last client's arrival on: what that brought about is over, such as intervals that a server lengthened.
SETTLE_S = 6
FEWEST = 50


def connections_max():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OTHER_FILES


@dataclasses.dataclass
class Round:
    """What one measurement of a number of clients came to; `why` says why it does not hold."""

    clients: int
    why: str | None
    p99_ms: float | None
    server_percent: float
    loadgen_percent: float
    frames_per_s: float

    @property
    def holds(self):
        return self.why is None

    def limit(self):
        """What keeps more clients from being served."""
        if self.server_percent >= BUSY_PERCENT:
            return "server"
        if self.loadgen_percent >= BUSY_PERCENT:
            return "generator"
        return "descriptors" if self.clients >= connections_max() * LOWER else "lateness"


def measured(server, load, clients, seconds):
    """A Round of a server that is started for it."""
    # Full handshakes are a row of their own; here they would only take time.
    words = ["--tls-resume"] if load.certificate else []
    with server.served(load) as served:
        report = judged(served, load, clients, seconds, *words, warm_up_s=SETTLE_S)
        return Round(
            clients,
            fails(served, report),
            report["visible_ms"]["p99"],
            report["server"]["cpu_percent"] or 0,
            report["loadgen"]["cpu_percent"] or 0,
            report["frames"]["per_s"],
        )


def attempted(server, load, clients, seconds):
    """A Round that does not hold where the server or loadgen fails."""
    try:
        return measured(server, load, clients, seconds)
    except (OSError, RuntimeError) as error:
        return Round(clients, str(error).splitlines()[-1], None, 0, 0, 0)


def searched(measure, first, most):
    """The most clients that hold, at most `most`, and every Round on the way; `measure(clients)` is asked from `first`
    on. 0: not even FEWEST."""
    best, failing, rounds, clients = 0, None, [], min(first, most)
    while True:
        rounds.append(measure(clients))
        if rounds[-1].holds:
            best = clients
        else:
            failing = clients
        if failing is None:
            if best >= most:
                return best, rounds
            clients = min(2 * best, most)
        elif best == 0:
            if failing <= FEWEST:
                return 0, rounds
            clients = max(failing // 2, FEWEST)
        elif failing - best <= NEAR * best:
            return best, rounds
        else:
            clients = (best + failing) // 2


def shown(name, one):
    p99 = "–" if one.p99_ms is None else f"{one.p99_ms:.0f} ms"
    told = f"p99 {p99}, server {one.server_percent:.0f} %, loadgen {one.loadgen_percent:.0f} %"
    outcome = "holds" if one.holds else f"does not hold: {one.why}"
    print(f"  {name:12} {one.clients:6} clients: {told}, {one.frames_per_s:,.0f} frames/s; {outcome}", flush=True)


def capacity(servers, loads, firsts, args):
    """{name: (clients, [Round at that level, …], [Round of the search, …])} of {name: server} with {name: Load}."""
    levels, searches = {}, {}
    for name, server in servers.items():

        def measure(clients, name=name, server=server):
            one = attempted(server, loads[name], clients, args.search_s)
            shown(name, one)
            return one

        levels[name], searches[name] = searched(measure, firsts.get(name, 1000), connections_max())
    seen = settled(servers, loads, levels, args)
    return {name: (levels[name], seen.get(name, []), searches[name]) for name in servers}


def settled(servers, loads, levels, args):
    """The rounds at each server's level, which is lowered in `levels` until most of them hold."""
    seen = {}
    open_names = [name for name in servers if levels[name]]
    for _ in range(LOWERED_MAX + 1):
        measures = {
            name: lambda name=name: attempted(servers[name], loads[name], levels[name], args.window_s)
            for name in open_names
        }
        seen |= alternated(measures, args.rounds, shown)
        open_names = [name for name in open_names if not mostly(seen[name])]
        for name in open_names:
            levels[name] = int(levels[name] * LOWER)
        if not open_names:
            break
    # What does not hold at the last level either has none.
    for name in open_names:
        levels[name] = 0
    return seen


def mostly(rounds):
    """Whether the rounds hold by their median."""
    lateness = statistics.median(one.p99_ms if one.p99_ms is not None else float("inf") for one in rounds)
    return lateness <= VISIBLE_MS and sum(one.holds for one in rounds) * 2 > len(rounds)


def whole_core(clients, rounds):
    """Clients of a whole core where descriptors and not the core end the search: an upper bound; else the clients."""
    if not rounds or any(one.limit() != "descriptors" for one in rounds):
        return clients
    share = statistics.median(one.server_percent for one in rounds) / 100
    return int(clients / max(min(share, 1), 0.01))
