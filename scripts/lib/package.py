"""Builds fanwire's .deb and .rpm into target/package, with PROFILE=release or dev.

Both programs are stripped there, and print their manual pages and shell completions there. What a package holds stands
in gateway/Cargo.toml."""

import argparse
import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import process
import tools
from machine import ROOT

# gateway/Cargo.toml names this directory.
PACKAGE = ROOT / "target" / "package"
COMMANDS = ("compare", "search", "scenarios", "schema")
# {program in packages: (its binary here, what prints its pages by name, what prints its completions)}
PROGRAMS = {
    "fanwire": ("gateway", {"fanwire": ["--print-man"]}, ["--print-completions"]),
    "fanwire-loadgen": (
        "loadgen",
        {"fanwire-loadgen": ["man"]} | {f"fanwire-loadgen-{name}": ["man", name] for name in COMMANDS},
        ["completions"],
    ),
}
# {shell: the file's name there}
SHELLS = {"bash": "{}", "fish": "{}.fish", "zsh": "_{}"}


def stage():
    """What packages hold beside files of the repository."""
    shutil.rmtree(PACKAGE, ignore_errors=True)
    for directory in ("bin", "man", *SHELLS):
        (PACKAGE / directory).mkdir(parents=True)
    for name, (binary, pages, completions) in PROGRAMS.items():
        program = os.environ[tools.PROGRAMS[binary]]
        process.output("strip", "-o", PACKAGE / "bin" / name, program)
        for page, words in pages.items():
            (PACKAGE / "man" / f"{page}.1.gz").write_bytes(packed(process.output(program, *words)))
        for shell, file in SHELLS.items():
            (PACKAGE / shell / file.format(name)).write_text(process.output(program, *completions, shell))
    (PACKAGE / "changelog.gz").write_bytes(packed(changelog()))
    (PACKAGE / "copyright").write_text(copyright_file())


def packed(text):
    return gzip.compress(text.encode(), mtime=0)


def changelog():
    """Debian's, of one entry: what is new stands in CHANGELOG.md."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    gateway = tomllib.loads((ROOT / "gateway" / "Cargo.toml").read_text())["package"]
    maintainer = gateway["metadata"]["deb"]["maintainer"]
    date = subprocess.run(["git", "log", "-1", "--format=%aD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    date = date or "Thu, 01 Jan 1970 00:00:00 +0000"
    entry = f"fanwire ({manifest['version']}-1) unstable; urgency=medium"
    return f"{entry}\n\n  * CHANGELOG.md says what is new.\n\n -- {maintainer}  {date}\n"


def copyright_file():
    """Debian's: the text of the licence that its systems do not hold, and where they hold the other."""
    indented = "".join(f" {line.rstrip() or '.'}\n" for line in (ROOT / "LICENSE-MIT").read_text().splitlines())
    return f"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: fanwire

Files: *
Copyright: 2026 The Fanwire authors
License: Expat or Apache-2.0

License: Expat
{indented}
License: Apache-2.0
 The text stands in /usr/share/common-licenses/Apache-2.0.
"""


def build() -> tuple[pathlib.Path, pathlib.Path]:
    """(the .deb, the .rpm)."""
    stage()
    words = ["--package", "gateway", "--output", PACKAGE]
    tools.call("cargo", "deb", "--quiet", "--no-build", "--no-strip", *words, cwd=ROOT)
    tools.call("cargo", "generate-rpm", *words, cwd=ROOT)
    return next(PACKAGE.glob("*.deb")), next(PACKAGE.glob("*.rpm"))


if __name__ == "__main__":
    end = "Builds with PROFILE, release where it is not set. GATEWAY_BIN and LOADGEN_BIN name programs that are built."
    layout = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser("scripts/package", description=__doc__, epilog=end, formatter_class=layout).parse_args()
    try:
        tools.need("gateway", "loadgen", "strip", "cargo-deb", "cargo-generate-rpm")
        for package in build():
            print(package.relative_to(ROOT))
    except (tools.Missing, RuntimeError) as error:
        sys.exit(f"scripts/package: {error}")
