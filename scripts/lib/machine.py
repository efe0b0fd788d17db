"""What a figure was measured on."""

import datetime
import os
import platform
import resource
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def describe():
    """{cpu, cores, kernel, memory_bytes, nofile, commit, date}; a commit with changes on top ends in "+"."""
    return {
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "memory_bytes": int(field("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def field(path, name):
    with open(path) as file:
        values = (line.split(":", 1)[1].strip() for line in file if line.startswith(name))
        return next(values, "unknown")


def commit():
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    head = git("rev-parse", "--short", "HEAD")
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+" if git("status", "--porcelain", "--untracked-files=no").stdout else "")
