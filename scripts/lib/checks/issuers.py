"""Tokens of real issuers at a running gateway, in parts; all by default:

- tokens: PyJWT, jose and Debian's ruby-jwt, in each algorithm. A token is accepted and its grants hold, for subjects as
  identity providers have them. One that has expired, is for or of somebody else, or was changed is refused with 401.
- documents: gateway/TOKENS.md, run as it stands.
- rotation: an https server publishes keys and changes them, while clients connect all the time."""

import importlib

PARTS = ("tokens", "documents", "rotation")


def arguments(parser):
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")


def run(args, verdict):
    for name in args.parts or PARTS:
        if name not in PARTS:
            raise RuntimeError(f"there is no part {name}: {', '.join(PARTS)}")
        # It wants packages that are there from now on.
        part = importlib.import_module(f"checks.issuers_{name}")
        with verdict.part(name):
            part.run(verdict)
