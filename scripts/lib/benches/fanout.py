"""CPU per delivered frame (µs): the gateway against a bare epoll-and-send() loop, in alternated rounds.

Server on CPU 0, one receiver for both on CPU 1. One synthetic topic changes at --rate a second; every client gets each
change as a frame of its own, and the floor sends frames of the same size. CPU is that of the whole server process
(utime + stime) over the window, divided by the frames that the receiver counted in it. On loopback the kernel's receive
half is part of a send and counts for both."""

import json
import os

import process
from gateway import Gateway, synthetic
from machine import pinned
from rounds import alternated, apart, medians

# What is ours of a frame's cost is a twentieth to a tenth; the rest lies between rounds.
RATIO_MAX = 1.15
# Medians of 0.33 µs were measured; the rest is for slower machines.
USER_US_MAX = 0.6
FANOUT = '[fanout]\ninterval_ms = 0\nheartbeat = "60s"\n'
ON_ONE_CPU = "shards = 1\ncpus = [0]"


def receive(address, clients, seconds, *words, topics="*"):
    """The receiver's counts over a window."""
    command = [*pinned(1), os.environ["RECEIVER_BIN"], "--address", address, "--connections", clients]
    command += ["--subscribe", json.dumps({"op": "subscribe", "topics": [topics]}), "--seconds", seconds]
    counts = json.loads(process.output(*command, *words).splitlines()[-1])
    if counts["ended"] or not counts["frames"]:
        raise RuntimeError(f"{counts['ended']} connections ended, {counts['frames']} frames came: {address}")
    return counts


def of_gateway(args, clients, seconds):
    config = FANOUT + synthetic(1, args.rate)
    with Gateway(config, server=ON_ONE_CPU, prefix=pinned(0)) as gateway:
        return receive(gateway.data, clients, seconds, "--server-pid", gateway.pid)


def of_floor(args, frame_bytes):
    command = [*pinned(0), os.environ["FLOOR_BIN"], "--connections", args.clients, "--rate", args.rate]
    with process.running(*command, "--bytes", frame_bytes) as floor:
        address = process.listening(floor)["data"]
        return receive(address, args.clients, args.seconds, "--server-pid", floor.pid)


def cpu_us(counts):
    return (counts["server_user_s"] + counts["server_system_s"]) / counts["frames"] * 1e6


def user_us(counts):
    return counts["server_user_s"] / counts["frames"] * 1e6


def at_rate(args, verdict, name, per_client):
    """A round whose clients got another number of frames does not compare."""
    if not 0.98 * args.rate < per_client < 1.02 * args.rate:
        verdict.say(f"{name}: {per_client:.2f} frames/s per client, not {args.rate}: this round does not compare")


def arguments(parser):
    parser.add_argument("--clients", type=int, default=9000, help="of each server (9000)")
    parser.add_argument("--rate", type=float, default=8.0, help="frames a second to each client (8)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window (20)")
    parser.add_argument("--rounds", type=int, default=3, help="of each server (3)")


def run(args, verdict):
    probe = of_gateway(args, 10, 5)
    frame_bytes = round(probe["payload_bytes"] / probe["frames"])
    print(f"{args.clients} clients, {args.rate} frames/s of {frame_bytes} B, {args.seconds} s a round")

    def show(name, counts):
        frames, per_client = counts["frames"], counts["frames"] / counts["seconds"] / args.clients
        print(
            f"  {name:<8} {cpu_us(counts):7.2f} µs/frame, {user_us(counts):5.2f} of them in user space;"
            f" {per_client:5.2f} frames/s per client of {counts['payload_bytes'] / frames:6.1f} B;"
            f" core {cpu_us(counts) * frames / counts['seconds'] / 1e6:4.0%}",
            flush=True,
        )
        at_rate(args, verdict, name, per_client)

    servers = {
        "floor": lambda: of_floor(args, frame_bytes),
        "gateway": lambda: of_gateway(args, args.clients, args.seconds),
    }
    seen = alternated(servers, args.rounds, show)
    floor, gateway = medians(seen, cpu_us)
    rounds = f"rounds {apart(seen, cpu_us)}"
    verdict.ratio("CPU per delivered frame, gateway ÷ floor", gateway, floor, "µs", "<=", RATIO_MAX, rounds)
    verdict.figure("of it in user space", medians(seen, user_us)[1], "<=", USER_US_MAX, "µs")
