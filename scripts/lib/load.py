"""loadgen as the checks run it."""

import json
import os
import subprocess
import tempfile

import process

# What must hold of every load, whatever the machine.
PROMISES = [
    "connections.failed==0",
    "connections.closed==0",
    "connections.resumed_by_snapshot==0",
    "updates.lost==0",
    "updates.duplicated==0",
    "updates.reordered==0",
    "updates.torn==0",
    "updates.violations==0",
    "final.lost==0",
]


def start(gateway, *arguments, promises=PROMISES, report=None, prefix=(), url=None):
    """A running loadgen and the path of its report; `finish` waits for it."""
    report = report or os.path.join(gateway.directory.name, "report.json")
    command = [*prefix, os.environ["LOADGEN_BIN"], "--url", url or gateway.url, "--admin", f"http://{gateway.admin}"]
    command += ["--server-pid", str(gateway.pid), "--report", report, *arguments]
    command += [word for promise in promises for word in ("--expect", promise)]
    log = tempfile.TemporaryFile("w+")
    return process.start(*command, stdout=subprocess.DEVNULL, stderr=log), report, log


def finish(running):
    """(report, what was wrong): waits for its end; the second is empty where all promises held."""
    loadgen, report, log = running
    code = loadgen.wait()
    process.end(loadgen)
    log.seek(0)
    output = log.read()
    log.close()
    if code not in (0, 3):
        raise RuntimeError(f"loadgen ended with {code}:\n{output}")
    with open(report) as file:
        figures = json.load(file)
    broken = [f"{expect['expect']} (is {expect['value']})" for expect in figures["expect"] if not expect["holds"]]
    if broken:
        broken.append(f"loadgen said:\n{output}")
    return figures, broken


def run(gateway, *arguments, **options):
    """The report of a load of which every promise must hold."""
    return held(finish(start(gateway, *arguments, **options)))


def held(finished):
    report, broken = finished
    if broken:
        raise RuntimeError("\n".join(broken))
    return report


def raw(url, *arguments, prefix=()):
    """The report of a load on a server of another protocol."""
    command = [*prefix, os.environ["LOADGEN_BIN"], "--url", url, *arguments]
    return json.loads(process.output(*command).splitlines()[-1])


def cpu_us_of_frame(report):
    """CPU µs of the server per frame that arrived."""
    return report["server"]["cpu_percent"] / 100 * report["window"]["seconds"] * 1e6 / report["frames"]["total"]
