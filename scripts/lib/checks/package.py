"""Both packages are built, and the .deb is installed, run, asked, reloaded, ended, removed and purged in a small Debian
that mmdebstrap makes. No systemd runs there: its unit is verified here, and its exposure is a figure.

The programs of the packages need no glibc newer than RHEL 9 and Debian 12 have. Needs root, or sudo."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import package
import process
import tools
from machine import ROOT

GLIBC_MAX = (2, 34)
EXPOSURE_MAX = 2.0
ENDS_S = 20
SUDO = [] if os.geteuid() == 0 else ["sudo"]
# In /proc and /sys of this machine, as nobody, within a mount namespace that ends with it.
INSIDE = 'mount --bind /proc "$0/proc" && mount --rbind /sys "$0/sys" && ' \
         'exec chroot "$0" setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
KEYS = {"FANWIRE_SERVER__DATA": "127.0.0.1:0", "FANWIRE_SERVER__ADMIN": "127.0.0.1:0"}


def check(verdict, what, holds, found=""):
    if holds:
        print(f"{what}: ok", flush=True)
    else:
        verdict.say(f"{what}: not so; found {found}")


def glibc(verdict):
    for program in sorted((package.PACKAGE / "bin").iterdir()):
        symbols = process.output("objdump", "-T", program)
        needs = max(tuple(map(int, found)) for found in re.findall(r"GLIBC_(\d+)\.(\d+)", symbols))
        check(verdict, f"{program.name}: glibc {needs[0]}.{needs[1]}", needs <= GLIBC_MAX, "a newer one than 2.34")


def lint(verdict, deb):
    ended = subprocess.run(["lintian", "--fail-on", "error", deb], capture_output=True, text=True)
    check(verdict, "lintian finds no error", ended.returncode == 0, ended.stdout)


def contents(verdict, deb, rpm):
    """Both packages hold the same programs, pages and files for the service."""
    held = process.output("dpkg-deb", "--contents", deb), process.output("rpm", "-qpl", rpm)
    pages = [f"usr/share/man/man1/{path.name}" for path in (package.PACKAGE / "man").iterdir()]
    names = ["usr/bin/fanwire", "usr/bin/fanwire-loadgen", "etc/fanwire/fanwire.toml", "system/fanwire.service", *pages]
    lacks = [name for name in [*names, "alerts.yml", "grafana.json", "LICENSE-MIT", "LICENSE-APACHE"]
             if not all(name in listed for listed in held)]
    check(verdict, "the .deb and the .rpm hold everything", not lacks, f"neither or one of them with {lacks}")
    needed = re.findall(r"libc\.so\.6\(GLIBC_(\d+)\.(\d+)\)", process.output("rpm", "-qpR", rpm))
    needs = max((int(major), int(minor)) for major, minor in needed)
    check(verdict, "the .rpm asks for its glibc", needs <= GLIBC_MAX, needs)


def unit(verdict, directory):
    """The unit, with the program at the place that it has here."""
    text = (ROOT / "configs" / "fanwire.service").read_text()
    path = directory / "fanwire.service"
    path.write_text(text.replace("/usr/bin/fanwire", str(package.PACKAGE / "bin" / "fanwire")))
    ended = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
    check(verdict, "systemd-analyze verify", ended.returncode == 0 and not ended.stderr, ended.stderr)
    command = ["systemd-analyze", "security", "--offline=true", path]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", told)
    verdict.figure("exposure by systemd-analyze security", found and float(found[1]), "<=", EXPOSURE_MAX)


@contextlib.contextmanager
def debian(directory):
    """A small Debian of its own."""
    root = directory / "root"
    root.mkdir()
    subprocess.run([*SUDO, "tar", "-xf", tools.DEBIAN, "-C", root, "--exclude", "./dev/*"], check=True)
    try:
        yield root
    finally:
        subprocess.run([*SUDO, "rm", "-rf", "--one-file-system", root], check=True)


def dpkg(root, *words):
    ended = subprocess.run([*SUDO, "chroot", root, "dpkg", *words], capture_output=True, text=True)
    assert ended.returncode == 0, f"dpkg {' '.join(words)}: {ended.stdout}{ended.stderr}"


def inside(root, keys, *words):
    """A command in the root, with keys of the environment."""
    given = [f"{name}={value}" for name, value in keys.items()]
    return [*SUDO, "unshare", "--mount", "sh", "-c", INSIDE, str(root), "env", *given, *words]


def serves(verdict, root):
    command = ["fanwire", "--config", "/etc/fanwire/fanwire.toml"]
    with process.running(*inside(root, KEYS, *command)) as running:
        words = process.listening(running)
        keys = {"FANWIRE_SERVER__DATA": words["data"], "FANWIRE_SERVER__ADMIN": words["admin"]}
        asked = lambda: process.code(*inside(root, keys, *command, "--health"))
        check(verdict, "the installed gateway answers --health", asked() == 0)
        send = lambda number: subprocess.run([*SUDO, "kill", f"-{number:d}", str(running.pid)], check=True)
        send(signal.SIGHUP)
        check(verdict, "it lives on after SIGHUP", asked() == 0 and running.poll() is None)
        send(signal.SIGTERM)
        check(verdict, "it ends cleanly on SIGTERM", running.wait(ENDS_S) == 0, running.returncode)


def installed(verdict, directory, deb):
    with debian(directory) as root:
        subprocess.run([*SUDO, "cp", deb, root / "fanwire.deb"], check=True)
        dpkg(root, "--install", "/fanwire.deb")
        serves(verdict, root)
        config = root / "etc" / "fanwire" / "fanwire.toml"
        dpkg(root, "--remove", "fanwire")
        check(verdict, "a removal leaves the configuration", config.exists() and not (root / "usr/bin/fanwire").exists())
        dpkg(root, "--purge", "fanwire")
        left = [str(path.relative_to(root)) for path in root.glob("*/**/*fanwire*")]
        check(verdict, "a purge leaves nothing", not left, left)


def run(args, verdict):
    deb, rpm = package.build()
    for path in (deb, rpm):
        verdict.figure(path.name, path.stat().st_size / 2**20, unit="MiB")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as name:
        directory = pathlib.Path(name)
        parts = [(glibc,), (lint, deb), (contents, deb, rpm), (unit, directory), (installed, directory, deb)]
        for part, *words in parts:
            with verdict.part(part.__name__):
                part(verdict, *words)
