"""Compares an Autobahn report with the committed baseline: autobahn.py REPORT BASELINE [--accept]"""

import collections
import json
import sys

# Without permessage-deflate, and with it.
CASES = (301, 517)


def verdicts(report_path):
    """{case: "BEHAVIOR, close BEHAVIOR"} of the one agent in the report."""
    try:
        with open(report_path) as file:
            agents = json.load(file)
    except OSError as error:
        sys.exit(f"no report of the cases: {error}; see kosoku.log beside it")
    (cases,) = agents.values()
    return {
        case: f"{result['behavior']}, close {result['behaviorClose']}"
        for case, result in sorted(cases.items(), key=lambda item: [int(n) for n in item[0].split(".")])
    }


def main(report_path, baseline_path, accept, everything):
    seen = verdicts(report_path)
    for verdict, count in collections.Counter(seen.values()).most_common():
        print(f"{count:5} {verdict}")
    if len(seen) != CASES[everything]:
        sys.exit(f"{len(seen)} cases ran, {CASES[everything]} were to run")
    if accept and not everything:
        sys.exit("--accept goes with --all: the baseline has all cases")
    if accept:
        with open(baseline_path, "w") as file:
            json.dump(seen, file, indent=0)
            file.write("\n")
        print(f"wrote {baseline_path}")
        return
    with open(baseline_path) as file:
        expected = json.load(file)
    if not everything:
        expected = {case: verdict for case, verdict in expected.items() if not case.startswith(("12.", "13."))}
    differences = [
        f"{case}: {seen.get(case, 'did not run')}; the baseline says {expected.get(case, 'nothing')}"
        for case in seen | expected
        if seen.get(case) != expected.get(case)
    ]
    for difference in differences:
        print(difference)
    print(f"{len(seen) - len(differences)} passed, {len(differences)} failed (against the baseline)")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--accept" in sys.argv[3:], "--all" in sys.argv[3:])
