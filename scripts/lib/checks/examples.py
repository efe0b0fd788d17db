"""gateway/examples: each is started by its one command and used by people in several tabs of headless Chromium.
Pictures of the pages are left in target/example-*.png."""

import process
import tools

TESTS = tools.ROOT / "gateway" / "tests" / "examples"
NAMES = ("chat", "dashboard", "ticker")


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(NAMES)} (all)")


def run(args, verdict):
    for name in args.names or NAMES:
        if name not in NAMES:
            raise RuntimeError(f"{name} is no example: {', '.join(NAMES)}")
        tools.say(f"examples: {name}")
        command = ("node", "--test", "--test-reporter", "spec", TESTS / f"{name}.test.cjs")
        verdict.check(f"{name}: its tests", not process.code(*command), "failures")
