"""configs/alerts.yml, configs/prometheus.yml and configs/grafana.json are what Prometheus and Grafana take.

`promtool` checks the rules, runs their tests and lints what a loaded gateway answers to GET /metrics. Prometheus scrapes
that gateway for some seconds, with a key that may do nothing else. Then each query of the board has to have an answer.
No Grafana runs here: lib/board.py says what it demands of a board. Every alert has to have a case in which it fires and
one in which it does not."""

import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import board as boards
import load
import process
from gateway import Gateway, synthetic
from machine import ROOT

CONFIGS = ROOT / "configs"
SCRAPES_S, ANSWERS_S = 1, 20
INSIDE, KEY_FILE = "/var/lib/fanwire/", "metrics.key"
KEY = f'[[admin.key]]\nname = "metrics"\nkey_file = "{KEY_FILE}"\nallow = ["metrics"]\n'
# From so many on the gateway tells their memory.
CONNECTIONS = 1000
# Grafana's own, as it fills them in for a window that is scraped each second.
VARIABLES = {"$__rate_interval": "4s", "$job": ".*", "$instance": ".*"}


def said(*command, **options):
    """(whether it ended with 0, what it said)."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)
    return ended.returncode == 0, (ended.stdout + ended.stderr).strip()


def promtool(verdict, what, *words, **options):
    good, text = said("promtool", *words, **options)
    print(f"{what}: {'ok' if good else 'not so'}", flush=True)
    if not good:
        verdict.say(f"{what}: {text}")


def scrape_config(gateway, directory):
    """configs/prometheus.yml for this gateway."""
    text = (CONFIGS / "prometheus.yml").read_text()
    key_file = os.path.join(gateway.directory.name, KEY_FILE)
    places = {"fanwire:9002": gateway.admin, "alerts.yml": str(CONFIGS / "alerts.yml"), INSIDE + KEY_FILE: key_file}
    for told, here in places.items():
        assert told in text, told
        text = text.replace(told, here)
    path = os.path.join(directory, "prometheus.yml")
    with open(path, "w") as file:
        file.write(text.replace("scrape_interval: 5s", f"scrape_interval: {SCRAPES_S}s"))
    return path


@contextlib.contextmanager
def prometheus(gateway):
    """What answers queries about a gateway."""
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        port = process.free_port()
        words = ["--config.file", scrape_config(gateway, directory), "--storage.tsdb.path", f"{directory}/data"]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": directory}
        with process.running("prometheus", *words, f"--web.listen-address=127.0.0.1:{port}", **options):
            process.until_listening(port).close()

            def ask(expression):
                query = urllib.parse.urlencode({"query": expression})
                url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]["result"]

            yield ask


def untried():
    """Alerts without a case in which they fire, or without one in which they do not."""
    rules, cases = (yaml_of(CONFIGS / name) for name in ("alerts.yml", "alerts_test.yml"))
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    tried = {(case["alertname"], bool(case["exp_alerts"])) for test in cases["tests"] for case in test["alert_rule_test"]}
    return [name for name in names if not {(name, True), (name, False)} <= tried]


def yaml_of(path):
    # It needs a package, which is installed before this runs.
    import yaml

    return yaml.safe_load(path.read_text())


def queries(board):
    """(title, expression) of every panel."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


def answered(verdict, board, ask):
    """Each query is asked until it has an answer."""
    asked = list(queries(board))
    ends = time.monotonic() + ANSWERS_S
    left = asked
    while left and time.monotonic() < ends:
        time.sleep(SCRAPES_S)
        # Of what is only shown where it happens, that it happens is not asked.
        left = [(title, expression) for title, expression in left if not ask(expression.removesuffix(" > 0"))]
    verdict.figure("queries of the board that have an answer", len(asked) - len(left), "==", len(asked))
    for title, expression in left:
        verdict.say(f"no answer for {title}: {expression}")


def run(args, verdict):
    promtool(verdict, "alerts", "check", "rules", CONFIGS / "alerts.yml")
    promtool(verdict, "tests of the alerts", "test", "rules", CONFIGS / "alerts_test.yml")
    board = json.loads((CONFIGS / "grafana.json").read_text())
    for what in boards.wrong(board):
        verdict.say(f"the board: {what}")
    if names := untried():
        verdict.say(f"alerts without a case that fires and one that does not: {', '.join(names)}")
    with Gateway(KEY + synthetic(100, 1000)) as gateway:
        with open(os.path.join(gateway.directory.name, KEY_FILE)) as file:
            gateway.key = file.read().strip()
        words = ["--connections", str(CONNECTIONS), "--duration", f"{ANSWERS_S + 5}s", "--warm-up", "500ms", "--topics", "tick.*"]
        loading = load.start(gateway, *words)
        time.sleep(2)
        promtool(verdict, "metrics", "check", "metrics", input=gateway.request("GET", "/metrics")[1])
        promtool(verdict, "prometheus.yml", "check", "config", scrape_config(gateway, gateway.directory.name))
        with prometheus(gateway) as ask:
            answered(verdict, board, ask)
        load.held(load.finish(loading))
