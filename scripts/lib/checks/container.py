"""The image of configs/Containerfile is built and run without any registry, by Podman, rootless.

Its builder is a small Debian that mmdebstrap makes, where `cargo` hands out the programs that were built here already.
The image runs as configs/compose.yaml has it: without capabilities, read-only, with Podman's own seccomp profile. As root
the check runs Podman for a user of its own, `fanwire-check`, which it makes. Then the image runs under
configs/seccomp-io_uring.json by either backend, with loadgen out of the same image beside it.

The Helm chart is held against the manifests for Kubernetes, compose.yaml against what it names: neither Kubernetes nor
compose run here. What the Containerfile copies is compiled without the rest of the repository."""

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
# Not above those of this process.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
IMAGE = "localhost/fanwire:0.1.0"
LOADGEN = "/usr/bin/fanwire-loadgen"
HARD = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
PROFILE = ROOT / "configs" / "seccomp-io_uring.json"
FORBIDDEN = 2  # Seccomp: in /proc/PID/status, where a filter holds



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
    """What the image is built from: what the Containerfile copies, without what was built in it."""
    # It needs a package, which is installed before this runs.
    import compose

    context = directory / "context"
    context.mkdir()
    for name in compose.copied():
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
    podman("build", *words, f"--tag={IMAGE}", "--file=configs/Containerfile", context(podman.directory))
    image = podman.inspect("image", "inspect", IMAGE)
    verdict.figure("image", image["Size"] / 2**20, "<=", IMAGE_MIB_MAX, "MiB")
    health = image.get("Healthcheck") or image["Config"].get("Healthcheck") or {}
    verdict.check("the image has its HEALTHCHECK", health.get("Test") == ["CMD", "/usr/bin/fanwire", "--health"], health)


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


@contextlib.contextmanager
def running(podman, *words):
    """The image runs: (port of the data listener, of the admin listener)."""
    data, admin = process.free_port(), process.free_port()
    ports = [f"--publish=127.0.0.1:{data}:9001", f"--publish=127.0.0.1:{admin}:9002"]
    # Podman's timers of health are systemd's.
    podman("run", "--detach", "--name=fanwire", "--health-interval=disable", *LIMITS, *ports, *words, IMAGE)
    try:
        yield data, admin
    except Exception:
        print(podman.logs("fanwire"), flush=True)
        raise
    finally:
        podman("rm", "--force", "fanwire")


def serve(verdict, podman):
    asked = time.time()
    with running(podman, *HARD) as (data, admin):
        framed = first_frame(f"127.0.0.1:{data}")
        state = podman.inspect("container", "inspect", "fanwire")["State"]
        started = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", state["StartedAt"])).timestamp()
        verdict.figure("start to a client's first frame", (framed - started) * 1e3, "<=", FIRST_FRAME_MS_MAX, "ms",
                       f"{(framed - asked) * 1e3:.0f} ms from the command on")
        keys = printed(podman)
        verdict.check("the first start prints two keys", len(keys) == 2, len(keys))
        asked = [code(admin, keys.get(name)) for name in ("none", "metrics", "admin")]
        verdict.check("metrics want a key", asked == [401, 200, 200], asked)
        confined(verdict, podman, state["Pid"], admin, keys["metrics"])
        healthy_and_stopped(verdict, podman)


def healthy_and_stopped(verdict, podman):
    verdict.check("HEALTHCHECK", podman("exec", "fanwire", "/usr/bin/fanwire", "--health") is not None)
    podman("stop", "--time=20", "fanwire")
    state = podman.inspect("container", "inspect", "fanwire")["State"]
    verdict.check("it ends cleanly when it is stopped", state["ExitCode"] == 0, state["ExitCode"])


def printed(podman):
    """{name: key} of those that the gateway made."""
    return dict(re.findall(r'a new admin key "(\w+)", .*: (fw_\w+)', podman.logs("fanwire")))


def header(key):
    """Arguments of curl that show it, if there is one."""
    return ["--header", f"X-API-Key: {key}"] if key else []


def code(admin, key):
    words = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *header(key)]
    return int(process.output("curl", *words, f"http://127.0.0.1:{admin}/metrics"))


def confined(verdict, podman, pid, admin, key):
    """Who it is, and what its container lets it do."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    users = [list(map(int, line.split())) for line in pathlib.Path(f"/proc/{pid}/uid_map").read_text().splitlines()]
    outside = int(status["Uid"].split()[0])
    inside = [first + outside - begin for first, begin, count in users if begin <= outside < begin + count]
    verdict.check(f"it runs as {INSIDE_USER}", inside == [INSIDE_USER], f"{inside}, {outside} outside")
    verdict.check("it has no capability", int(status["CapEff"], 16) == 0, status["CapEff"])
    verdict.check("a seccomp profile holds", int(status["Seccomp"]) == FORBIDDEN, status["Seccomp"])
    told = backend(admin, key)
    verdict.check("it moves bytes by epoll, and says why", told[0] == "epoll" and "seccomp" in told[1], told)


def backend(admin, key):
    """(by what it moves bytes, why)."""
    metrics = process.output("curl", "--silent", "--fail", *header(key), f"http://127.0.0.1:{admin}/metrics")
    return re.search(r'^fanwire_io_info\{backend="(.*?)",reason="(.*)"\} 1$', metrics, re.MULTILINE).groups()


def ring(verdict, podman):
    """Under the profile that allows io_uring, by each backend; loadgen beside it under the same."""
    path = podman.directory / "seccomp.json"
    shutil.copy(PROFILE, path)
    profile = f"--security-opt=seccomp={path}"
    # Without no-new-privileges a runtime takes up the profile earlier, and calls more under it.
    for io, hard in (("auto", ()), ("epoll", HARD)):
        with running(podman, profile, f"--env=FANWIRE_SERVER__IO={io}", *hard) as (data, admin):
            first_frame(f"127.0.0.1:{data}")
            key = printed(podman)["metrics"]
            told = backend(admin, key)
            # What may be locked there is this machine's affair.
            good = told[0] == "epoll" if io == "epoll" else told[0] == "io_uring" or "ulimit -l" in told[1]
            verdict.check(f"allowed, with io = {io}, it moves bytes by {told[0]}", good, told)
            words = ["--url=ws://127.0.0.1:9001/ws", "--topics=tick.*", "--connections=100", "--duration=1s",
                     f"--io={io}", "--admin=http://127.0.0.1:9002", "--expect=connections.established==100",
                     "--expect=updates.lost==0"]
            beside = ["--network=container:fanwire", f"--entrypoint={LOADGEN}", profile, *hard, *LIMITS]
            beside.append(f"--env=FANWIRE_ADMIN_KEY={key}")
            report = json.loads(podman("run", "--rm", *beside, IMAGE, *words).splitlines()[-1])
            verdict.figure(f"loadgen in a container, --io {io}: frames", report["frames"]["total"], ">=", 100)
            unread = [warning for warning in report["warnings"] if "/metrics" in warning]
            verdict.check("it reads the metrics with their key", not unread, unread)
            healthy_and_stopped(verdict, podman)


def compiles(verdict, podman):
    """What the Containerfile copies is all that its `cargo build` needs."""
    words = ["check", "--quiet", "--locked", "--offline", "--package=gateway", "--package=loadgen", "--bins"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(tools.TARGET), "CARGO_INCREMENTAL": "0"}
    code = process.code("cargo", *words, cwd=podman.directory / "context", env=environment)
    verdict.check("the sources that the Containerfile copies compile by themselves", code == 0, code)


def charted(verdict):
    """The Helm chart gives the objects of configs/kubernetes, and whatever names the image or its ports agrees."""
    # They need a package, which is installed before this runs.
    import chart
    import compose

    verdict.check("the Helm chart and the manifests say the same", not chart.differing(), chart.differing())
    verdict.check("compose.yaml fits what it names", not compose.wrong(), compose.wrong())
    good = not compose.misnamed() and compose.IMAGE == IMAGE
    verdict.check(f"the image is called {IMAGE} everywhere", good, compose.misnamed())


def run(args, verdict):
    with verdict.part("chart"):
        charted(verdict)
    name = tempfile.mkdtemp(prefix="fanwire-")
    podman = Podman(pathlib.Path(name))
    try:
        with verdict.part("build"):
            build(verdict, podman)
        for part in (serve, ring, compiles):
            with verdict.part(part.__name__):
                part(verdict, podman)
    finally:
        podman.end()
