"""The image of configs/Containerfile is built and run without any registry, by Podman, rootless.

Its builder is a small Debian that mmdebstrap makes, where `cargo` hands out the programs that were built here already.
The image runs as configs/compose.yaml has it: without capabilities, read-only, with Podman's own seccomp profile. As root
the check runs Podman for a user of its own, `fanwire-check`, which it makes. The Helm chart is held against the
manifests for Kubernetes."""

import contextlib
import datetime
import io
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

import process
import tools
from client import Client
from machine import ROOT

IMAGE_MIB_MAX = 40
FIRST_FRAME_MS_MAX = 300
STARTS_S = 30
USER = "fanwire-check"
INSIDE_USER = 65532
# In place of cargo in the builder.
CARGO = "#!/bin/sh\nmkdir -p target/release && cp /built/* target/release/\n"
COPIED = ("Cargo.toml", "Cargo.lock", "benches", "configs", "gateway", "loadgen", "proto")
# Not above those of this process.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
PROFILE = pathlib.Path("/usr/share/containers/seccomp.json")
CALLS = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
FORBIDDEN = 2  # Seccomp: in /proc/PID/status, where a filter holds


def check(verdict, what, holds, found=""):
    if holds:
        print(f"{what}: ok", flush=True)
    else:
        verdict.say(f"{what}: not so; found {found}")


class Podman:
    """Podman for a user who is not root, with all that it keeps in one directory."""

    def __init__(self, directory):
        self.directory, self.as_user = directory, []
        if os.geteuid() == 0:
            if not any(entry.pw_name == USER for entry in pwd.getpwall()):
                tools.say(f"making the user {USER}, with subordinate ids")
                tools.call("useradd", "--system", "--no-create-home", "--add-subids-for-system", USER)
            self.as_user = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]
            shutil.chown(directory, USER, USER)
        (directory / "run").mkdir()
        if self.as_user:
            shutil.chown(directory / "run", USER, USER)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "STORAGE_DRIVER": "vfs"}
        self.environment["XDG_RUNTIME_DIR"] = str(directory / "run")

    def words(self, *words):
        # crun takes no hybrid control groups.
        return [*self.as_user, "podman", "--runtime=runc", "--cgroup-manager=cgroupfs", *map(str, words)]

    def __call__(self, *words):
        return process.output(*self.words(*words), env=self.environment, cwd=self.directory)

    def logs(self, name):
        """What a container wrote."""
        words = self.words("logs", name)
        return process.output(*words, env=self.environment, cwd=self.directory, stderr=subprocess.STDOUT)

    def inspect(self, *words):
        return json.loads(self(*words))[0]

    def end(self):
        """Removes all of it."""
        with contextlib.suppress(RuntimeError):
            # Files of subordinate ids are among them.
            self("unshare", "rm", "-rf", self.directory / ".local")
            # The process that holds its name spaces ends.
            self("system", "migrate")
        shutil.rmtree(self.directory, ignore_errors=True)


def context(directory):
    """What the image is built from: the repository without what was built in it."""
    context = directory / "context"
    context.mkdir()
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, context / name, ignore=shutil.ignore_patterns("target", "node_modules", "corpus"))
        else:
            shutil.copy(path, context)
    return context


def builder(directory):
    """The root of the builder, as a tar."""
    path = directory / "builder.tar"
    shutil.copy(tools.DEBIAN, path)
    with tarfile.open(path, "a") as tar:
        def add(name, content):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))

        add("./usr/bin/cargo", CARGO.encode())
        for name in ("gateway", "loadgen"):
            add(f"./built/{name}", pathlib.Path(os.environ[tools.PROGRAMS[name]]).read_bytes())
    return path


def build(verdict, podman):
    podman("import", builder(podman.directory), "builder")
    # The format that has a HEALTHCHECK; each layer that is kept would copy the builder.
    words = ["--format=docker", "--isolation=chroot", "--layers=false", "--build-arg=BUILD=localhost/builder"]
    podman("build", *words, "--tag=fanwire", "--file=configs/Containerfile", context(podman.directory))
    image = podman.inspect("image", "inspect", "fanwire")
    verdict.figure("image", image["Size"] / 2**20, "<=", IMAGE_MIB_MAX, "MiB")
    health = image.get("Healthcheck") or image["Config"].get("Healthcheck") or {}
    check(verdict, "the image has its HEALTHCHECK", health.get("Test") == ["CMD", "/usr/bin/fanwire", "--health"], health)


def first_frame(address):
    """When a client that tries to connect all the time has its first frame, by the clock of the machine."""
    ends = time.monotonic() + STARTS_S
    while True:
        try:
            next(Client(address, ["tick.*"], 100).batches())
            return time.time()
        except (OSError, RuntimeError):
            if time.monotonic() > ends:
                raise
            time.sleep(0.005)


def serve(verdict, podman):
    data, admin = process.free_port(), process.free_port()
    hard = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
    ports = [f"--publish=127.0.0.1:{data}:9001", f"--publish=127.0.0.1:{admin}:9002"]
    asked = time.time()
    # Podman's timers of health are systemd's.
    podman("run", "--detach", "--name=fanwire", "--health-interval=disable", *hard, *LIMITS, *ports, "fanwire")
    try:
        framed = first_frame(f"127.0.0.1:{data}")
        state = podman.inspect("container", "inspect", "fanwire")["State"]
        started = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", state["StartedAt"])).timestamp()
        verdict.figure("start to a client's first frame", (framed - started) * 1e3, "<=", FIRST_FRAME_MS_MAX, "ms",
                       f"{(framed - asked) * 1e3:.0f} ms from the command on")
        keys = printed(podman, "fanwire")
        check(verdict, "the first start prints two keys", len(keys) == 2, len(keys))
        asked = [code(admin, *keys.get(name, [])) for name in ("none", "metrics", "admin")]
        check(verdict, "metrics want a key", asked == [401, 200, 200], asked)
        confined(verdict, podman, state["Pid"], admin, keys["metrics"])
        check(verdict, "HEALTHCHECK", podman("exec", "fanwire", "/usr/bin/fanwire", "--health") is not None)
        podman("stop", "--time=20", "fanwire")
        state = podman.inspect("container", "inspect", "fanwire")["State"]
        check(verdict, "it ends cleanly when it is stopped", state["ExitCode"] == 0, state["ExitCode"])
    except Exception:
        print(podman.logs("fanwire"), flush=True)
        raise
    finally:
        podman("rm", "--force", "fanwire")


def printed(podman, name):
    """{name: arguments of curl} of the keys that the gateway made."""
    found = re.findall(r'a new admin key "(\w+)", .*: (fw_\w+)', podman.logs(name))
    return {name: ["--header", f"X-API-Key: {key}"] for name, key in found}


def code(admin, *words):
    words = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *words]
    return int(process.output("curl", *words, f"http://127.0.0.1:{admin}/metrics"))


def confined(verdict, podman, pid, admin, key):
    """Who it is, and what its container lets it do."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    users = [list(map(int, line.split())) for line in pathlib.Path(f"/proc/{pid}/uid_map").read_text().splitlines()]
    outside = int(status["Uid"].split()[0])
    inside = [first + outside - begin for first, begin, count in users if begin <= outside < begin + count]
    check(verdict, f"it runs as {INSIDE_USER}", inside == [INSIDE_USER], f"{inside}, {outside} outside")
    check(verdict, "it has no capability", int(status["CapEff"], 16) == 0, status["CapEff"])
    check(verdict, "a seccomp profile holds", int(status["Seccomp"]) == FORBIDDEN, status["Seccomp"])
    told = backend(admin, key)
    check(verdict, "it moves bytes by epoll, and says why", told[0] == "epoll" and "seccomp" in told[1], told)


def backend(admin, key):
    """(by what it moves bytes, why)."""
    metrics = process.output("curl", "--silent", "--fail", *key, f"http://127.0.0.1:{admin}/metrics")
    return re.search(r'^fanwire_io_info\{backend="(.*?)",reason="(.*)"\} 1$', metrics, re.MULTILINE).groups()


def ring(verdict, podman):
    """Under the same profile with the three calls of io_uring, as configs/kubernetes/fanwire.yaml says."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"].append({"names": CALLS, "action": "SCMP_ACT_ALLOW"})
    path = podman.directory / "seccomp.json"
    path.write_text(json.dumps(profile))
    data, admin = process.free_port(), process.free_port()
    ports = [f"--publish=127.0.0.1:{data}:9001", f"--publish=127.0.0.1:{admin}:9002"]
    podman("run", "--detach", "--name=ring", "--health-interval=disable", *LIMITS, f"--security-opt=seccomp={path}",
           *ports, "fanwire")
    try:
        first_frame(f"127.0.0.1:{data}")
        told = backend(admin, printed(podman, "ring")["metrics"])
        # What may be locked there is this machine's affair.
        check(verdict, f"allowed, it moves bytes by {told[0]}", told[0] == "io_uring" or "ulimit -l" in told[1], told)
    finally:
        podman("rm", "--force", "ring")


def charted(verdict):
    """The Helm chart gives the objects of configs/kubernetes."""
    # It needs a package, which is installed before this runs.
    import chart

    check(verdict, "the Helm chart and the manifests say the same", not chart.differing(), chart.differing())


def run(args, verdict):
    with verdict.part("chart"):
        charted(verdict)
    name = tempfile.mkdtemp(prefix="fanwire-")
    podman = Podman(pathlib.Path(name))
    try:
        with verdict.part("build"):
            build(verdict, podman)
        for part in (serve, ring):
            with verdict.part(part.__name__):
                part(verdict, podman)
    finally:
        podman.end()
