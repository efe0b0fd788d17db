"""What gateway/TOKENS.md says, run as it stands there."""

import os
import re
import tempfile

from checks.issuers_client import Workshop, encoded, environment, holds
from gateway import Gateway
from machine import ROOT

DOCUMENT = ROOT / "gateway" / "TOKENS.md"
# How a program of that language is called, by how its blocks are marked.
PROGRAMS = {"python": "mint.py", "js": "mint.mjs", "ruby": "mint.rb"}
SUBJECT = "alice@example.com"


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text, head):
    """The cells of the table with that first row, without their backquotes."""
    table = text.partition(head)[2].partition("\n\n")[0]
    split = (re.split(r"(?<!\\)\|", line) for line in table.strip().splitlines()[1:])
    return [[cell.strip().strip("`").replace("\\|", "|") for cell in cells[1:-1]] for cells in split]


def run(verdict):
    text = DOCUMENT.read_text()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        workshop = Workshop(directory)
        os.symlink(os.path.abspath(os.environ["GATEWAY_BIN"]), workshop.directory / "gateway")
        first, pair, provider = blocks(text, "toml")
        secret, minted, keys = blocks(text, "sh")
        workshop.file("tokens.toml", first + pair)
        with environment(PATH=f"{directory}:{os.environ['PATH']}"):
            for commands in (secret, keys):
                workshop.call("sh", "-ec", commands)
            tokens = {"gateway token": workshop.call("sh", "-ec", minted)}
            workshop.call("gateway", "--check", "--config", workshop.file("provider.toml", provider))
        tokens |= programs(text, workshop)
        # A gateway's files are looked for beside its configuration, which is elsewhere here.
        config = (first + pair).replace('_file = "', f'_file = "{directory}/')
        with Gateway(config) as gateway:
            told = {name: holds(gateway, token.strip(), {"sub": SUBJECT}, "fx.*") for name, token in tokens.items()}
    verdict.figure("TOKENS.md: tokens accepted, with their grants", list(told.values()).count(None), "==",
                   2 * len(PROGRAMS) + 1, note=", ".join(tokens))
    for name, wrong in told.items():
        if wrong:
            verdict.say(f"{name}: {wrong}")
    subjects = rows(text, "| `sub` | `{sub}` |")
    wrong = [sub for sub, segment in subjects if encoded(sub) != segment]
    verdict.figure("TOKENS.md: subjects that are another segment than it says", len(wrong), "==", 0,
                   note=f"{len(subjects)} subjects")


def programs(text, workshop):
    """What the programs print, with the secret and with the pair of keys."""
    others = rows(text, "| | in place of | write |")
    tokens = {}
    for (language, name), (_, secret, pair) in zip(PROGRAMS.items(), others, strict=True):
        (program,) = blocks(text, language)
        assert secret in program, f"the program in {language} has no {secret}"
        tokens[f"{language}, HS256"] = workshop.run(name, program)
        tokens[f"{language}, ES256"] = workshop.run(name, program.replace(secret, pair).replace("HS256", "ES256"))
    return tokens
