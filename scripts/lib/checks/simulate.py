"""Runs the simulation of a whole shard with new seeds. A failure prints the command that shows it again. Each seed also
prints a hash of every byte that its clients were sent: with the same --first before and after a change, equal hashes
say that the change is none for clients."""

import os
import time

import process
import tools

# With the whole workspace: another selection would build what all share with other features.
TEST = ("cargo", "test", "-q", "--workspace", "--locked", "--test", "simulation")


def arguments(parser):
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--steps", type=int, default=100_000, help="of each (100000)")
    parser.add_argument("--first", type=int, help="seed (the time)")


def run(args, verdict):
    tools.call(*TEST, "--no-run", cwd=tools.ROOT)
    first = int(time.time()) if args.first is None else args.first
    for seed in range(first, first + args.seeds):
        environment = {**os.environ, "SEED": str(seed), "STEPS": str(args.steps)}
        if process.code(*TEST, "--", "--nocapture", cwd=tools.ROOT, env=environment):
            verdict.say(f"seed {seed}: failed")
    print(f"{args.seeds} seeds from {first}, {len(verdict.broken)} failed")
