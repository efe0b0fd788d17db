"""configs/production.toml as the checks run it, and topics to run it with."""

import json
import re

from machine import ROOT


def production():
    """configs/production.toml without its [server] and [access], and its pinned_bytes in MiB."""
    text = (ROOT / "configs" / "production.toml").read_text()
    text = text[text.index("[fanout]") :]
    return text, int(re.search(r'^pinned_bytes = "(\d+)MiB"', text, re.MULTILINE)[1])


def fill(gateway, topics, value, name=lambda n: f"big.t{n:06}"):
    for begin in range(0, topics, 20_000):
        names = (name(n) for n in range(begin, min(begin + 20_000, topics)))
        lines = (json.dumps({"topic": topic, "data": value}) for topic in names)
        status, answer = gateway.request("POST", "/publish", "\n".join(lines), "application/x-ndjson")
        assert status == 200, f"publish answered {status} {answer}"
