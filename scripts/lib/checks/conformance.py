"""The Autobahn case files against the echo example: the same shard, ring and `proto` as the gateway. Every difference
from the committed baseline fails, improvements too. Without --all the 301 cases of groups 1-7, 9 and 10; with it all
517, those of permessage-deflate (groups 12 and 13) as well. Reports: target/autobahn/."""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import process
import tools

BASELINE = pathlib.Path(__file__).with_name("autobahn_baseline.json")
REPORT = tools.TARGET / "autobahn"
GROUPS, DEFLATE_GROUPS = (1, 2, 3, 4, 5, 6, 7, 9, 10), (12, 13)
CASES = {False: 301, True: 517}
# kosoku 0.1.0's cases of groups 12 and 13 cannot take an answer that is not compressed: it comes to them as text, each
# character one byte, and they hash bytes. RFC 7692 lets any message come as it is.
BROKEN = "def onMessage(self, msg, binary):\n   m = hashlib.sha1()\n"
MENDED = BROKEN.replace("\n", "\n   msg = msg.encode('latin-1') if isinstance(msg, str) else msg\n", 1)


def mend():
    (path,) = (tools.TOOLS / "venv").glob("lib/python*/site-packages/kosoku/cases/case12_x_x.py")
    text = path.read_text()
    if MENDED not in text:
        if text.count(BROKEN) != 1:
            raise RuntimeError(f"{path} is not that of kosoku 0.1.0: see whether it still has to be mended")
        path.write_text(text.replace(BROKEN, MENDED))


@contextlib.contextmanager
def server(address):
    """HOST:PORT of a server that echoes: the one given, or the example."""
    if address:
        yield address
        return
    with process.running(os.environ["ECHO_BIN"], "--port", "0") as echo:
        yield process.listening(echo)["data"]


def verdicts(path):
    """{case: "BEHAVIOR, close BEHAVIOR"} of the one agent in the report."""
    (cases,) = json.loads(path.read_text()).values()
    return {
        case: f"{result['behavior']}, close {result['behaviorClose']}"
        for case, result in sorted(cases.items(), key=lambda item: [int(n) for n in item[0].split(".")])
    }


def arguments(parser):
    parser.add_argument("--all", action="store_true", help="the cases of permessage-deflate too")
    parser.add_argument("--accept", action="store_true", help="with --all: writes what was seen as the new baseline")
    parser.add_argument("--echo", metavar="HOST:PORT", help="another server that echoes, at /ws")


def run(args, verdict):
    if args.accept and not args.all:
        raise RuntimeError("--accept goes with --all: the baseline has all cases")
    mend()
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    groups = [word for n in GROUPS + DEFLATE_GROUPS * args.all for word in ("--include", f"{n}.*")]
    with server(args.echo) as address, open(REPORT / "kosoku.log", "w") as log:
        command = [tools.TOOLS / "venv/bin/kosoku", *groups, "--parallelism", "2", "--outdir", REPORT / "cases"]
        # Its exit code tells of failed cases only; the comparison below judges every verdict.
        with process.running(*command, f"ws://{address}/ws", stdout=log, stderr=subprocess.STDOUT) as kosoku:
            kosoku.wait()
    seen = verdicts(REPORT / "cases" / "index.json")
    for what, count in collections.Counter(seen.values()).most_common():
        print(f"{count:5} {what}")
    verdict.figure("cases run", len(seen), "==", CASES[args.all])
    if args.accept:
        BASELINE.write_text(json.dumps(seen, indent=0) + "\n")
        print(f"wrote {BASELINE}")
        return
    expected = json.loads(BASELINE.read_text())
    if not args.all:
        expected = {case: what for case, what in expected.items() if int(case.split(".")[0]) not in DEFLATE_GROUPS}
    differ = [case for case in seen | expected if seen.get(case) != expected.get(case)]
    for case in differ:
        verdict.say(f"{case}: {seen.get(case, 'did not run')}; the baseline says {expected.get(case, 'nothing')}")
    print(f"{len(seen) - len(differ)} passed, {len(differ)} failed (against the baseline)")
