"""gateway/clients/js: built, small enough, and the same as what the live page has; its tests; the vectors in Node,
Deno, Bun and Chromium; and all four against a gateway that is cut off, slowed, killed and drained."""

import os

import process
import tools

CLIENT = tools.ROOT / "gateway" / "clients" / "js"
VECTORS = CLIENT / "test" / "all.mjs"
# The built file that the gateway serves, and the one that is committed for it.
BUILT = CLIENT / "dist" / "fanwire.js"
SERVED = tools.ROOT / "gateway" / "src" / "http" / "page" / "fanwire.js"
# Of the small gateway, and of a real one.
TESTS = ("client", "eighty_lines", "tokens", "live")


def arguments(parser):
    parser.add_argument("--write", action="store_true", help="only builds it, and writes what the live page has")
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"of vectors, {', '.join(TESTS)} (all)")


def run(args, verdict):
    node = os.environ["NODE_BIN"]
    if process.code(node, CLIENT / "build.mjs"):
        verdict.say("the build failed, or what it makes is too large")
        return
    if args.write:
        SERVED.write_bytes(BUILT.read_bytes())
        return
    found = "scripts/check javascript --write makes it anew" if SERVED.exists() else "no such file"
    same = SERVED.exists() and SERVED.read_bytes() == BUILT.read_bytes()
    verdict.check(f"{SERVED.relative_to(tools.ROOT)} is what the build makes", same, found)
    wanted = args.tests or ("vectors", *TESTS)
    if "vectors" in wanted:
        vectors(node, verdict)
    for name in TESTS:
        if name in wanted:
            command = (node, "--test", "--test-reporter", "spec", CLIENT / "test" / f"{name}.test.mjs")
            verdict.check(f"{name}: its tests", not process.code(*command), "failures")


def vectors(node, verdict):
    commands = {
        "Node.js": (node, VECTORS),
        "Deno": (os.environ["DENO_BIN"], "run", "--allow-read", VECTORS),
        "Bun": (os.environ["BUN_BIN"], VECTORS),
        "Chromium": (node, CLIENT / "test" / "all_chromium.mjs"),
    }
    for name, command in commands.items():
        verdict.check(f"vectors in {name}", not process.code(*command), "failures")
