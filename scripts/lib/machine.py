"""The machine that a figure is measured on, and what the kernel knows of a process."""

import datetime
import os
import pathlib
import platform
import resource
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


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


def pinned(cpu: int) -> list[str]:
    """Words before a command that keep it on one CPU, where there are two."""
    return ["taskset", "-c", str(cpu)] if len(os.sched_getaffinity(0)) > 1 else []


def memory_bytes(pid: int, name: str) -> int:
    """A row of the process's status: VmRSS, VmHWM (its peak) or RssAnon (without pages of files)."""
    return int(field(f"/proc/{pid}/status", name).split()[0]) * 1024


def resident_mib(pid: int) -> float:
    return memory_bytes(pid, "VmRSS") / 2**20


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that the process has taken, in user space and in the kernel."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
