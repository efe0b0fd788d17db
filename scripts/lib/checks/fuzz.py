"""Fuzzes every target of proto/fuzz and gateway/fuzz, beginning with its committed seeds. New inputs go to
target/fuzz/corpus, crashes to target/fuzz/crashes.

It runs on the stable toolchain: coverage instrumentation needs no more than RUSTC_BOOTSTRAP, and the code under test
has `unsafe` only in the masking, which its own tests put between guards."""

import os

import process
import tools

FUZZED = tools.TARGET / "fuzz"


def targets():
    """(directory of the crate, name) of each."""
    return [(path.parents[2], path.stem) for path in sorted(tools.ROOT.glob("*/fuzz/fuzz_targets/*.rs"))]


def arguments(parser):
    parser.add_argument("--seconds", type=int, default=60, help="of each target (60)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(n for _, n in targets())} (all)")


def run(args, verdict):
    known = dict((name, crate) for crate, name in targets())
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    for name in args.targets or known:
        if name not in known:
            raise RuntimeError(f"{name} is no target: {', '.join(known)}")
        corpus, crashes = FUZZED / "corpus" / name, FUZZED / "crashes" / name
        corpus.mkdir(parents=True, exist_ok=True)
        crashes.mkdir(parents=True, exist_ok=True)
        tools.say(f"{known[name].relative_to(tools.ROOT)}/fuzz {name}, {args.seconds} s")
        command = ["cargo", "fuzz", "run", "--sanitizer", "none", "--target-dir", FUZZED / "build", name, corpus]
        command += [known[name] / "fuzz" / "seeds" / name, "--", f"-max_total_time={args.seconds}", "-max_len=2048"]
        command += ["-timeout=10", "-print_final_stats=1", f"-artifact_prefix={crashes}/"]
        if process.code(*command, cwd=known[name], env=environment):
            verdict.say(f"{name}: failed; its input is in {crashes}")
