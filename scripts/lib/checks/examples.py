"""gateway/examples: each is started by its one command and used by people in several tabs of headless Chromium; its
README says how long each is. Pictures of the pages are left in target/example-*.png."""

import re

import process
import tools

EXAMPLES = tools.ROOT / "gateway" / "examples"
TESTS = tools.ROOT / "gateway" / "tests" / "examples"
NAMES = ("chat", "dashboard", "ticker")


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(NAMES)} (all)")


def run(args, verdict):
    for name in args.names or NAMES:
        if name not in NAMES:
            raise RuntimeError(f"{name} is no example: {', '.join(NAMES)}")
        lengths(name, verdict)
        tools.say(f"examples: {name}")
        command = ("node", "--test", "--test-reporter", "spec", TESTS / f"{name}.test.cjs")
        verdict.check(f"{name}: its tests", not process.code(*command), "failures")


def lengths(name, verdict):
    """Lines of configuration and script that are not empty, as the README's table has them."""
    page = (EXAMPLES / name / "index.html").read_text()
    script = page.split("<script>\n")[1].split("</script>")[0]
    texts = ((EXAMPLES / name / "gateway.toml").read_text(), script)
    counted = [sum(1 for line in text.splitlines() if line.strip()) for text in texts]
    row = re.search(rf"^\| \[{name}\].*\| (\d+) \| (\d+) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    told = [int(number) for number in row.groups()] if row else None
    verdict.check(f"{name}: {counted[0]} lines of configuration, {counted[1]} of script", told == counted,
                  f"{told} in the README")
