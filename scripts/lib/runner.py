"""scripts/check and scripts/bench: runner.py KIND [NAME [ARGUMENT …]]. Lists what there is, or sets up and runs one."""

import argparse
import importlib
import os
import signal
import sys

import tools
from machine import describe
from table import KINDS, MODULES
from verdict import Verdict


def listed(kind):
    print(f"scripts/{kind} NAME [ARGUMENT …] runs one of these; scripts/{kind} NAME --help says more.\n")
    for entry in KINDS[kind]:
        print(f"  {entry.name:<12} {entry.shows}")
        wants = "" if entry.quick else "; wants a machine to itself"
        needs = f"; needs {', '.join(entry.needs)}" if entry.needs else ""
        print(f"  {'':<12} about {entry.minutes:g} min{wants}{needs}")
    print("\nWhat is needed is installed or built, with PROFILE=release or dev, unless a variable names it:")
    print(f"  {', '.join(f'{variable}=PATH' for variable in tools.PROGRAMS.values())}")


def parser_of(kind, entry, module):
    text = f"{entry.shows[0].upper()}{entry.shows[1:]}.\n\n{module.__doc__}"
    minutes = "1 minute" if entry.minutes == 1 else f"{entry.minutes:g} minutes"
    end = f"Takes about {minutes}. Builds with PROFILE, {entry.profile} where it is not set.\n"
    end += "Exit codes: 0 every promise held and every goal was met, 1 not so, 2 wrong arguments."
    layout = argparse.RawDescriptionHelpFormatter
    name = f"scripts/{kind} {entry.name}"
    parser = argparse.ArgumentParser(name, description=text, epilog=end, formatter_class=layout)
    if hasattr(module, "arguments"):
        module.arguments(parser)
    return parser


def set_up(entry):
    """What it needs; with packages for Python it goes on in the interpreter that has them."""
    os.environ.setdefault("PROFILE", entry.profile)
    os.environ.setdefault("RUST_LOG", "warn")
    tools.need(*entry.needs)
    if "python" in entry.needs and sys.prefix == sys.base_prefix:
        os.execv(tools.VENV_PYTHON, [str(tools.VENV_PYTHON), *sys.argv])


def main(kind, words):
    if not words or words[0] in ("--list", "--help", "-h"):
        listed(kind)
        return 0
    entry = next((entry for entry in KINDS[kind] if entry.name == words[0]), None)
    if entry is None:
        print(f"there is no {kind} {words[0]!r}\n", file=sys.stderr)
        listed(kind)
        return 2
    module = importlib.import_module(f"{MODULES[kind]}.{entry.name.replace('-', '_')}")
    args = parser_of(kind, entry, module).parse_args(words[1:])
    verdict = Verdict()
    try:
        set_up(entry)
    except tools.Missing as error:
        verdict.say(f"set-up: {error}")
        return verdict.end()
    if kind == "bench":
        print("  ".join(f"{key} {value}" for key, value in describe().items()), flush=True)
    with verdict.part(entry.name):
        module.run(args, verdict)
    return verdict.end()


if __name__ == "__main__":
    # As an exception, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1], sys.argv[2:]))
