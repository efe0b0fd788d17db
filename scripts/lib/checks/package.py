"""Both packages are built. The .deb is installed in a small Debian that mmdebstrap makes and systemd-nspawn boots, and
its unit is started there as it is: with a key that only root reads, with one that a group reads and that changes, with
a state that is kept. It is asked, reloaded, upgraded, removed and purged.

The .rpm is installed by rpm into an empty database beside the same Debian and erased; no RHEL runs here, and its
scriptlets find no systemd. The unit is verified, and its exposure is a figure. The programs of the packages need no
glibc newer than RHEL 9 and Debian 12 have. Needs root, or sudo."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import package
import process
import tools
from machine import ROOT

GLIBC_MAX = (2, 34)
EXPOSURE_MAX = 2.0
ENDS_S = 20
SUDO = [] if os.geteuid() == 0 else ["sudo"]
STARTS_S = 30
UNIT, CONFIG = "fanwire.service", "/etc/fanwire/fanwire.toml"
ADDRESS = ("127.0.0.1", 9443)
# What a user adds to the packaged configuration.
KEYS = """tls = "{host}:{port}"
tls_cert = "{directory}/chain.pem"
tls_key = "{directory}/key.pem"
drain = "100ms"
"""
CREDENTIALS = "LoadCredential=chain.pem:/root/tls/chain.pem\nLoadCredential=key.pem:/root/tls/key.pem\n"
SERIAL = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))"



def glibc(verdict):
    for program in sorted((package.PACKAGE / "bin").iterdir()):
        symbols = process.output("objdump", "-T", program)
        needs = max(tuple(map(int, found)) for found in re.findall(r"GLIBC_(\d+)\.(\d+)", symbols))
        verdict.check(f"{program.name}: glibc {needs[0]}.{needs[1]}", needs <= GLIBC_MAX, "a newer one than 2.34")


def lint(verdict, deb):
    ended = subprocess.run(["lintian", "--fail-on", "error", deb], capture_output=True, text=True)
    verdict.check("lintian finds no error", ended.returncode == 0, ended.stdout)


def contents(verdict, deb, rpm):
    """Both packages hold the same programs, pages and files for the service."""
    held = process.output("dpkg-deb", "--contents", deb), process.output("rpm", "-qpl", rpm)
    pages = [f"usr/share/man/man1/{path.name}" for path in (package.PACKAGE / "man").iterdir()]
    names = ["usr/bin/fanwire", "usr/bin/fanwire-loadgen", "etc/fanwire/fanwire.toml", "system/fanwire.service", *pages]
    lacks = [name for name in [*names, "alerts.yml", "grafana.json", "LICENSE-MIT", "LICENSE-APACHE"]
             if not all(name in listed for listed in held)]
    verdict.check("the .deb and the .rpm hold everything", not lacks, f"neither or one of them with {lacks}")
    needed = re.findall(r"libc\.so\.6\(GLIBC_(\d+)\.(\d+)\)", process.output("rpm", "-qpR", rpm))
    needs = max((int(major), int(minor)) for major, minor in needed)
    verdict.check("the .rpm asks for its glibc", needs <= GLIBC_MAX, needs)


def unit(verdict, directory):
    """The unit, with the program at the place that it has here."""
    text = (ROOT / "configs" / "fanwire.service").read_text()
    path = directory / "fanwire.service"
    path.write_text(text.replace("/usr/bin/fanwire", str(package.PACKAGE / "bin" / "fanwire")))
    ended = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
    verdict.check("systemd-analyze verify", ended.returncode == 0 and not ended.stderr, ended.stderr)
    command = ["systemd-analyze", "security", "--offline=true", path]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", told)
    verdict.figure("exposure by systemd-analyze security", found and float(found[1]), "<=", EXPOSURE_MAX)


class Debian:
    """A small Debian that is booted, with a network of its own."""

    def __init__(self, root):
        self.root = root
        subprocess.run([*SUDO, "tar", "-xf", tools.BOOTABLE, "-C", root, "--exclude", "./dev/*"], check=True)
        words = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--boot"]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        self.process = process.start(*SUDO, "systemd-nspawn", *words, f"--directory={root}", **options)
        ends = time.monotonic() + STARTS_S
        while time.monotonic() < ends:
            self.leader = self.first_process()
            if self.leader and self("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.2)
        process.end(self.process)
        raise RuntimeError(f"systemd did not come up within {STARTS_S} s in systemd-nspawn")

    def first_process(self):
        """PID 1 there, as it is called here."""
        pid = str(self.process.pid)
        while children := subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True).stdout.split():
            pid = children[0]
            # It may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return pid
        return None

    def __call__(self, *words):
        command = [*SUDO, "nsenter", "--target", self.leader, "--all", *words]
        return subprocess.run(command, capture_output=True, text=True)

    def must(self, *words):
        ended = self(*words)
        if ended.returncode:
            told = self("journalctl", "--unit", UNIT, "--no-pager", "--lines=20").stdout
            raise RuntimeError(f"{' '.join(words)}: {ended.stdout}{ended.stderr}\n{told}")
        return ended.stdout.strip()

    def write(self, path, text):
        subprocess.run([*SUDO, "tee", f"{self.root}{path}"], input=text, text=True, stdout=subprocess.DEVNULL, check=True)

    def certificate(self):
        """What a client is shown."""
        inside = [*SUDO, "nsenter", "--target", self.leader, "--net"]
        return process.output(*inside, sys.executable, "-c", SERIAL, *map(str, ADDRESS))

    def end(self):
        self("systemctl", "poweroff")
        try:
            self.process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.end(self.process)


@contextlib.contextmanager
def booted(directory):
    root = directory / "root"
    root.mkdir()
    debian = None
    try:
        debian = Debian(root)
        yield debian
    finally:
        if debian:
            debian.end()
        subprocess.run([*SUDO, "rm", "-rf", "--one-file-system", root], check=True)


def certify(debian):
    """A new certificate, which root alone reads."""
    debian.must("mkdir", "-p", "/root/tls")
    words = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "3"]
    with tempfile.TemporaryDirectory(prefix="fanwire-") as name:
        files = [f"{name}/chain.pem", f"{name}/key.pem"]
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        process.output("openssl", *words, *subject, "-out", files[0], "-keyout", files[1])
        for file in files:
            debian.write(f"/root/tls/{pathlib.Path(file).name}", pathlib.Path(file).read_text())
    debian.must("chmod", "0600", "/root/tls/key.pem")


def configure(debian, directory, drop_in):
    """The packaged configuration with TLS, and with what of it is a comment about the state."""
    text = (ROOT / "configs" / "production.toml").read_text()
    keys = KEYS.format(host=ADDRESS[0], port=ADDRESS[1], directory=directory)
    text = re.sub(r'(?m)^drain = .*\n', lambda _: keys, text, count=1)
    debian.write(CONFIG, re.sub(r'(?m)^# (path = ".*")$', r"\1", text, count=1))
    debian.must("mkdir", "-p", f"/etc/systemd/system/{UNIT}.d")
    debian.write(f"/etc/systemd/system/{UNIT}.d/check.conf", f"[Service]\n{drop_in}")
    debian.must("systemctl", "daemon-reload")


def state_of(debian):
    """(whether it runs, whether it is started at boot, its process)."""
    asked = debian("systemctl", "show", "--value", "--property=MainPID", UNIT).stdout.strip()
    return debian("systemctl", "is-active", UNIT).stdout.strip(), debian("systemctl", "is-enabled", UNIT).stdout.strip(), asked


def serves(verdict, debian):
    """The unit as it is, with a key that root alone reads; then with one that changes."""
    certify(debian)
    configure(debian, "{env:CREDENTIALS_DIRECTORY}", CREDENTIALS)
    debian.must("systemctl", "start", UNIT)
    verdict.check("the unit starts with a key that only root reads", "BEGIN CERTIFICATE" in debian.certificate())
    verdict.check("--health", debian("fanwire", "--health").returncode == 0)
    told = debian("journalctl", "--unit", UNIT, "--output=cat", "--no-pager").stdout
    print(next((line for line in told.splitlines() if "epoll" in line or "io_uring" in line), "no word on io_uring"))
    debian.must("systemctl", "stop", UNIT)
    verdict.check("it kept its state", debian("test", "-s", "/var/lib/fanwire/state").returncode == 0,
          debian("ls", "-l", "/var/lib/fanwire/").stdout)
    debian.must("groupadd", "--force", "ssl-cert")
    debian.must("chmod", "0711", "/root", "/root/tls")
    debian.must("chmod", "0640", "/root/tls/key.pem")
    debian.must("mv", "/root/tls", "/etc/fanwire/tls")
    debian.must("chgrp", "ssl-cert", "/etc/fanwire/tls/key.pem")
    configure(debian, "/etc/fanwire/tls", "SupplementaryGroups=ssl-cert\n")
    debian.must("systemctl", "start", UNIT)
    before, pid = debian.certificate(), state_of(debian)[2]
    certify(debian)
    debian.must("cp", "--no-preserve=mode", "/root/tls/chain.pem", "/root/tls/key.pem", "/etc/fanwire/tls/")
    debian.must("systemctl", "reload", UNIT)
    verdict.check("systemctl reload takes a certificate that changed", before != debian.certificate())
    verdict.check("and is the same process", state_of(debian)[2] == pid, state_of(debian))


def installed(verdict, directory, deb):
    with booted(directory) as debian:
        subprocess.run([*SUDO, "cp", deb, debian.root / "fanwire.deb"], check=True)
        debian.must("dpkg", "--install", "/fanwire.deb")
        verdict.check("an installation starts nothing", state_of(debian)[:2] == ("inactive", "disabled"), state_of(debian))
        serves(verdict, debian)
        before = state_of(debian)
        debian.must("dpkg", "--install", "--force-confold", "/fanwire.deb")
        verdict.check("an upgrade leaves the service as it runs", state_of(debian) == before, (before, state_of(debian)))
        debian.must("dpkg", "--remove", "fanwire")
        verdict.check("a removal ends it", state_of(debian)[0] != "active", state_of(debian))
        left = debian("test", "-e", CONFIG).returncode == 0 and debian("test", "-e", "/usr/bin/fanwire").returncode == 1
        verdict.check("and leaves the configuration", left)
        debian.must("rm", "-r", "/etc/fanwire/tls", f"/etc/systemd/system/{UNIT}.d")
        debian.must("dpkg", "--purge", "fanwire")
        found = debian("find", "/etc", "/usr", "-iname", "*fanwire*").stdout.split()
        verdict.check("a purge leaves nothing", not found, found)


def erased(verdict, directory, rpm):
    """The .rpm into a root of its own and out of it again."""
    root = directory / "rpm"
    root.mkdir()
    try:
        subprocess.run([*SUDO, "tar", "-xf", tools.BOOTABLE, "-C", root, "--exclude", "./dev/*"], check=True)
        command = [*SUDO, "rpm", "--root", root]
        # What it needs is Debian's there, of which rpm's database does not know.
        process.output(*command, "--nodeps", "--install", rpm)
        process.output(*command, "--nodeps", "--verify", "fanwire")
        version = process.output(*SUDO, "chroot", root, "/usr/bin/fanwire", "--version")
        verdict.check("the .rpm is installed, verified and its program runs", version.startswith("gateway "), version)
        process.output(*command, "--erase", "fanwire")
        # Its directories stay, empty: the .rpm lists files alone.
        found = [path for place in ("etc", "usr") for path in (root / place).glob("**/*fanwire*")]
        left = [str(path) for path in found if is_file(path) or any(map(is_file, path.rglob("*")))]
        verdict.check("and leaves no file when it is erased", not left, left)
    finally:
        subprocess.run([*SUDO, "rm", "-rf", "--one-file-system", root], check=True)


def is_file(path):
    return path.is_file() or path.is_symlink()


def run(args, verdict):
    deb, rpm = package.build()
    for path in (deb, rpm):
        verdict.figure(path.name, path.stat().st_size / 2**20, unit="MiB")
    with tempfile.TemporaryDirectory(prefix="fanwire-") as name:
        directory = pathlib.Path(name)
        parts = [(glibc,), (lint, deb), (contents, deb, rpm), (unit, directory), (installed, directory, deb),
                 (erased, directory, rpm)]
        for part, *words in parts:
            with verdict.part(part.__name__):
                part(verdict, *words)
