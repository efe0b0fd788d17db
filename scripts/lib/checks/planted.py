"""Plants bugs in a copy of the sources, built once, and switches them on one at a time: the simulation's model finds
each within 100,000 steps, and finds nothing without one. So it earns the trust that other steps put in it.

The bugs are gateway/tests/planted/bugs.patch: a line for each, in code that has none of them. The copy leaves the
engine's assertions out, since the model has to find what is wrong. A hunk that no longer applies fails. Mend the code in
target/planted/ by hand then; --write makes the patch of how it differs from the product."""

import difflib
import os
import shutil
import subprocess
from pathlib import Path

import process
import tools

DIRECTORY = Path("gateway/tests/planted")
PATCH = DIRECTORY / "bugs.patch"
# What is not part of the product stands whole beside the patch; and its place in the copy.
PLACES = {
    DIRECTORY / "switch.rs": Path("gateway/engine/src/planted.rs"),
    DIRECTORY / "finds.rs": Path("gateway/tests/planted.rs"),
}
COPY = tools.TARGET / "planted"
CONTEXT_LINES = 2
# With the whole workspace: another selection would build what all share with other features. The patch gives the copy a
# version of its own, or cargo would take what it builds of one for the other's; so the lock file is not as committed.
TEST = ("cargo", "test", "--workspace", "--test", "planted")


def arguments(parser):
    parser.add_argument("bug", nargs="?", help="this one only")
    parser.add_argument("--write", action="store_true", help="make the patch of target/planted/, and end")


def sources() -> list[Path]:
    """Every file of the product, those that are new included."""
    listed = process.output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=tools.ROOT)
    return [Path(name) for name in listed.split("\0") if name and (tools.ROOT / name).is_file()]


def patched() -> str:
    """Makes the copy, with the times of files kept, so that only what the patch changes is built again. Says which hunks
    do not apply."""
    shutil.rmtree(COPY, ignore_errors=True)
    for source in sources():
        place = COPY / PLACES.get(source, source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tools.ROOT / source, place)
    # Within the repository git would take the patch's paths for those of the repository.
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(COPY.parent)}
    command = ["git", "apply", "--reject", tools.ROOT / PATCH]
    applied = subprocess.run(command, cwd=COPY, env=outside, capture_output=True, text=True)
    return applied.stderr if applied.returncode else ""


def write():
    differences: list[str] = []
    for source in sorted(sources()):
        if source in PLACES or source == PATCH or not (COPY / source).is_file():
            continue
        ours, theirs = ((root / source).read_bytes() for root in (tools.ROOT, COPY))
        if ours != theirs:
            lines = (text.decode().splitlines(keepends=True) for text in (ours, theirs))
            differences += difflib.unified_diff(*lines, f"a/{source}", f"b/{source}", n=CONTEXT_LINES)
    (tools.ROOT / PATCH).write_text("".join(differences))


def run(args, verdict):
    if args.write:
        return write()
    failure = patched()
    if failure:
        print(failure)
        return verdict.say(f"{PATCH} does not apply: mend what *.rej in {COPY} say, then --write")
    environment = {**os.environ, "CARGO_TARGET_DIR": str(tools.TARGET)} | ({"BUG": args.bug} if args.bug else {})
    command = [*TEST, "--", *(["--nocapture"] if args.bug else [])]
    if process.code(*command, cwd=COPY, env=environment):
        verdict.say("the model missed a bug, or found one where there was none")
    return None
