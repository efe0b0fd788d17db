"""Plants bugs in a copy of the sources, built once, and switches them on one at a time: the simulation's model finds
each within 100,000 steps, and finds nothing without one. So it earns the trust that other steps put in it. A hunk of
the patch that no longer applies fails."""

import os
import shutil

import process
import tools

PATCH = tools.ROOT / "gateway" / "tests" / "planted.patch"
COPY = tools.TARGET / "planted"
# With the whole workspace: another selection would build what all share with other features.
TEST = ("cargo", "test", "--workspace", "--locked", "--test", "planted")
FEATURES = ("--features", "gateway/planted")


def patched():
    """The copy, with the times of files kept, so that only what the patch changes is built again."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = process.output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=tools.ROOT)
    for name in filter(None, listed.split("\0")):
        if (tools.ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tools.ROOT / name, COPY / name)
    # Within the repository git would take the patch's paths for those of the repository.
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(COPY.parent)}
    process.output("git", "apply", PATCH, cwd=COPY, env=outside)
    return COPY


def arguments(parser):
    parser.add_argument("bug", nargs="?", help="this one only")


def run(args, verdict):
    # Where there is no patch, the bugs stand in the sources and a feature switches them.
    tree, features = (patched(), ()) if PATCH.exists() else (tools.ROOT, FEATURES)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(tools.TARGET)} | ({"BUG": args.bug} if args.bug else {})
    command = [*TEST, *features, "--", *(["--nocapture"] if args.bug else [])]
    if process.code(*command, cwd=tree, env=environment):
        verdict.say("the model missed a bug, or found one where there was none")
