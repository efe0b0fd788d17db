"""Real clients against a real gateway: Python `websockets` and Tornado, Netty, Mojolicious, curl, Node `ws`, and
Chromium for the live page, server-sent events and the load generator's report; and the load generator's scenarios."""

import os

import process
import tools

GATEWAY, LOADGEN = tools.CLIENTS, tools.ROOT / "loadgen" / "tests" / "clients"
NODE = ("node", "--test", "--test-reporter", "spec")
PYTHON = (tools.VENV_PYTHON, "-m", "unittest", "discover", "--verbose", "--start-directory")
KINDS = {
    "python": (*PYTHON, GATEWAY),
    "node": (*NODE, GATEWAY / "node_ws.test.cjs"),
    "page": (*NODE, GATEWAY / "page.test.cjs"),
    "origins": (*NODE, GATEWAY / "origins.test.cjs"),
    "cookies": (*NODE, GATEWAY / "cookies.test.cjs"),
    "streams": (*NODE, GATEWAY / "streams.test.cjs"),
    "report": (*NODE, LOADGEN / "report.test.cjs"),
    "scenarios": (*PYTHON, LOADGEN),
}


def arguments(parser):
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (all)")


def run(args, verdict):
    environment = {**os.environ, "PYTHONPATH": str(tools.ROOT / "scripts" / "lib")}
    for kind in args.kinds or KINDS:
        if kind not in KINDS:
            raise RuntimeError(f"{kind} is no kind of client: {', '.join(KINDS)}")
        tools.say(f"clients: {kind}")
        if process.code(*KINDS[kind], env=environment):
            verdict.say(f"{kind}: failed")
