"""Every named scenario, made small, against a real gateway: it ends with 0 and did what it is for."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import keys
from gateway import Gateway

CONFIG = """
[limits]
handshake = "1s"
[[source]]
kind = "synthetic"
symbols = 2000
updates_per_s = 2000.0
"""
SMALL = ["--connections", "100", "--ramp", "200ms"]
SHORT = ["--duration", "4s"]
RESTART_AFTER_S, LISTENS_S = 2, 15
# Those of other protocols are tested there, against servers of theirs.
PRESETS = pathlib.Path(__file__).parents[1] / "presets.rs"


class Scenarios(unittest.TestCase):
    def setUp(self):
        self.gateway = Gateway(CONFIG)
        self.addCleanup(lambda: self.gateway.__exit__())

    def start(self, *arguments):
        gateway = self.gateway
        command = [os.environ["LOADGEN_BIN"], "--url", gateway.url, "--admin", f"http://{gateway.admin}"]
        return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def report(self, loadgen):
        out, told = loadgen.communicate(timeout=60)
        self.assertEqual(loadgen.returncode, 0, told)
        return json.loads(out.splitlines()[-1])

    def run_small(self, name, *arguments):
        report = self.report(self.start("--scenario", name, *SMALL, *SHORT, *arguments))
        self.assertEqual(report["connections"]["established"], 100)
        self.assertTrue(report["expect"] and all(outcome["holds"] for outcome in report["expect"]))
        self.assertGreater(report["frames"]["total"], 0)
        return report

    def test_every_scenario_is_tested_here(self):
        listed = subprocess.run([os.environ["LOADGEN_BIN"], "scenarios"], capture_output=True, text=True, check=True)
        names = {line.split()[0] for line in listed.stdout.splitlines()}
        tested = {name.removeprefix("test_scenario_") for name in dir(self) if name.startswith("test_scenario_")}
        others = set(re.findall(r'\brun\(\s*"(\w+)"', PRESETS.read_text()))
        self.assertEqual((names, tested & others), (tested | others, set()))

    def test_the_server_tells_its_clock(self):
        flags = ["--topics", "tick.*", "--duration", "1s", "--clock-offset", "probe"]
        host = self.report(self.start(*flags))["host"]
        # Both ends share a clock here: half a round trip is all that it can seem to be off.
        self.assertLessEqual(abs(host["clock_offset_ms"]), host["clock_error_ms"] + 1)
        self.assertLess(host["clock_error_ms"], 100)

    def test_the_servers_own_metrics_are_differenced(self):
        report = self.report(self.start("--topics", "tick.*", "--connections", "20", "--duration", "2s"))
        frames = report["frames"]["total"]
        # The last line on stdout leaves the long parts out; the report file has them.
        self.assertEqual(report["server"]["metrics"], {})
        path = os.path.join(self.gateway.directory.name, "report.json")
        self.report(self.start("--topics", "tick.*", "--connections", "20", "--duration", "2s", "--report", path))
        with open(path) as file:
            metrics = json.load(file)["server"]["metrics"]
        sent = sum(value for name, value in metrics.items() if name.startswith("fanwire_frames_out_total"))
        # The scrapes lie a little outside of the window.
        self.assertTrue(0.8 * frames < sent < 1.3 * frames, f"{sent} frames sent by its metrics, {frames} received")

    def test_scenario_steady(self):
        report = self.run_small("steady")
        self.assertEqual(report["clients"]["judged"], 100)

    def test_scenario_storm(self):
        self.run_small("storm")

    def test_scenario_churn(self):
        report = self.run_small("churn", "--churn", "20")
        self.assertGreaterEqual(report["connections"]["left"], 50)

    def test_scenario_slow(self):
        report = self.run_small("slow", "--stagger", "1s", "--stall-for", "1s")
        self.assertGreater(report["slow"]["visible_ms"]["max"], 800, "some stalled for a second")

    def test_scenario_publish(self):
        report = self.run_small("publish")
        self.assertGreater(report["publish"]["accepted"], 1500)
        self.assertIsNotNone(report["publish"]["answered_ms"]["p99"])

    def test_scenario_watchlists(self):
        report = self.run_small("watchlists")
        self.assertEqual(report["final"]["values"], 100 * 20, "each has 20 topics of its own")

    def test_scenario_tokens(self):
        for make, alg in ((keys.secret, "HS256"), (keys.pair, "ES256")):
            with self.subTest(alg), tempfile.TemporaryDirectory() as directory:
                key, table = make(directory)
                # Whoever renews none is closed within the window.
                access = f'[access]\nclients = "token"\nleeway = "1s"\n{table}'
                self.gateway.__exit__()
                self.gateway = Gateway(CONFIG + access)
                own = ["--token-key", key, "--token-alg", alg, "--token-life", "2s"]
                tokens = self.run_small("tokens", *own)["tokens"]
                self.assertGreaterEqual(tokens["renewed"], 100)
                self.assertEqual(tokens["authorized"], 100 + tokens["renewed"])

    def test_scenario_pings(self):
        # The gateway allows a connection 20 control frames a second.
        report = self.run_small("pings", "--pings", "500")
        self.assertGreater(report["pings"]["answered"], 1500)

    def test_scenario_hostile(self):
        report = self.run_small("hostile", "--hostile", "20")
        ends = report["hostile"]
        self.assertEqual(set(ends), {"half-open", "slow-handshake", "garbage", "oversized"})
        self.assertIn("close 1009", ends["oversized"])
        self.assertTrue({"HTTP 400", "close 1002"} <= set(ends["garbage"]), ends["garbage"])

    def test_scenario_restart(self):
        loadgen = self.start("--scenario", "restart", *SMALL, "--duration", "15s")
        time.sleep(RESTART_AFTER_S)
        old = self.gateway
        old.process.kill()
        old.process.wait()
        ends = time.monotonic() + LISTENS_S
        while True:
            try:
                # The kernel gives up a killed process's listeners a little after the process is gone.
                self.gateway = Gateway(CONFIG, data=old.data, admin=old.admin)
                break
            except RuntimeError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.2)
        old.__exit__()
        report = self.report(loadgen)
        self.assertEqual((report["restart"]["cut"], report["restart"]["returned"]), (100, 100))
        self.assertEqual(report["final"]["clients"], 100)


if __name__ == "__main__":
    unittest.main()
