"""Plants bugs in the gateway, one at a time: the simulation's model finds each within 100,000 steps, and finds nothing
without one. So it earns the trust that other steps put in it."""

import os

import process
import tools

# With the whole workspace: another selection would build what all share with other features.
TEST = ("cargo", "test", "--workspace", "--locked", "--features", "gateway/planted", "--test", "planted")


def arguments(parser):
    parser.add_argument("bug", nargs="?", help="this one only")


def run(args, verdict):
    environment = os.environ | ({"BUG": args.bug} if args.bug else {})
    command = [*TEST, "--", "--nocapture"] if args.bug else TEST
    if process.code(*command, cwd=tools.ROOT, env=environment):
        verdict.say("the model missed a bug, or found one where there was none")
