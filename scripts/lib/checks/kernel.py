"""The gateway and loadgen on Debian's 6.1 kernel, which is too old for their use of io_uring, in an emulated machine.

Debian's package has the kernel. What it starts with is a small root in memory: busybox, both programs and the libraries
that they name. There the gateway runs its demo, says by what it moves bytes, answers `gateway --health`, and serves
loadgen's clients, whose promises must hold. Nothing of this machine's kernel is in it."""

import os
import pathlib
import re
import subprocess
import tempfile

MINUTES_MAX = 5
INIT = """#!/bin/busybox sh
busybox mkdir -p /proc /sys /dev /tmp
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox ip link set lo up
ulimit -n 4096
/gateway >/tmp/out 2>/tmp/log &
for n in 1 2 3 4 5 6 7 8 9 10; do busybox grep -q listening /tmp/out && break; busybox sleep 1; done
busybox cat /tmp/log
busybox wget -q -O - http://127.0.0.1:9002/metrics | busybox grep ^fanwire_io
/gateway --health
echo "health: $?"
/loadgen --url ws://127.0.0.1:9001/ws --connections 50 --duration 3s --warm-up 1s --topics 'tick.*' \\
    --expect updates.lost==0 --expect connections.failed==0 >/dev/null
echo "load: $?"
busybox poweroff -f
"""


def kernel(directory):
    """The image in Debian's newest package of 6.1 for machines of clouds, which is small."""
    listed = subprocess.run(["apt-cache", "search", "--names-only", "^linux-image-6.1.*-cloud-amd64$"],
                                  capture_output=True, text=True, check=True).stdout
    names = sorted(line.split()[0] for line in listed.splitlines() if "unsigned" not in line)
    assert names, "apt-cache knows no kernel 6.1"
    subprocess.run(["apt-get", "download", "-qq", names[-1]], cwd=directory, check=True)
    subprocess.run(["dpkg", "-x", next(directory.glob("*.deb")), directory / "kernel"], check=True)
    return next((directory / "kernel" / "boot").glob("vmlinuz-*"))


def root(directory):
    """What the kernel starts with, packed."""
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    for name in ("GATEWAY_BIN", "LOADGEN_BIN"):
        program = pathlib.Path(os.environ[name]).resolve()
        subprocess.run(["strip", "-o", root / program.name, program], check=True)
        libraries = re.findall(r"(/\S+)", subprocess.run(["ldd", program], capture_output=True, text=True).stdout)
        subprocess.run(["cp", "--dereference", "--parents", *libraries, root], check=True)
    packed = directory / "root.cpio"
    with open(packed, "wb") as out:
        names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names, stdout=out, check=True)
    return packed


def run(args, verdict):
    with tempfile.TemporaryDirectory(prefix="fanwire-") as name:
        directory = pathlib.Path(name)
        machine = ["qemu-system-x86_64", "-m", "1024", "-smp", "2", "-nographic", "-no-reboot", "-nic", "none"]
        command = [*machine, "-kernel", kernel(directory), "-initrd", root(directory)]
        command += ["-append", "console=ttyS0 quiet panic=1"]
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              timeout=MINUTES_MAX * 60).stdout
    promises = {
        "epoll, as this kernel is too old": r'fanwire_io_info\{backend="epoll",reason="this kernel \(6\.1\.',
        "gateway --health": r"health: 0\s",
        "loadgen's promises": r"load: 0\s",
    }
    for what, pattern in promises.items():
        if re.search(pattern, said):
            print(f"{what}: ok", flush=True)
        else:
            verdict.say(f"{what}: not so; the machine said\n{said[-4000:]}")
