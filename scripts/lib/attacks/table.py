"""What was seen of attacks, as lines and as a table."""

import statistics
from typing import NamedTuple

UNITS = {"connects": "connects/s", "pieces": "messages/s", "bytes_sent": "MB/s sent", "bytes_read": "MB/s read"}
MB = 1e6


class Row(NamedTuple):
    """A round of an attack. `rises` are of series of /metrics, `rates` a second of what the attacker counted, `…_cpu` of
    a CPU."""

    p99_ms: float
    lost: int
    wrong: list[str]
    grown_bytes: int
    over_bytes: int
    rises: dict[str, float]
    rates: dict[str, float]
    gateway_cpu: float
    attacker_cpu: float

    def pressure(self):
        """How hard the attack was."""
        told = []
        for what, unit in UNITS.items():
            rate = self.rates.get(what, 0) / (MB if what.startswith("bytes") else 1)
            if rate >= 1:
                told.append(f"{rate:,.0f} {unit}")
        return ", ".join(told)

    def counted(self):
        return ", ".join(f"{series} {rise:,.0f}" for series, rise in self.rises.items())

    def told(self):
        cpu = f"CPU gateway {self.gateway_cpu:.0%} attacker {self.attacker_cpu:.0%}"
        answers = ", ".join(f"{what} {rate:,.0f}/s" for what, rate in sorted(self.rates.items()) if what not in UNITS)
        parts = [f"p99 {self.p99_ms:6.1f} ms", f"lost {self.lost}", f"memory +{max(0, self.grown_bytes) / 2**20:,.0f} MiB", cpu]
        return "; ".join(part for part in (*parts, self.pressure(), answers, self.counted()) if part)


def markdown(attacks):
    """Of (attack, its rounds, p99 of quiet rounds in ms)."""
    lines = ["| attack | what it does | rate | p99 ÷ quiet | lost | memory | the gateway counted |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for attack, rows, quiet_ms in attacks:
        ratio = statistics.median(row.p99_ms for row in rows) / quiet_ms
        grown = max(0, *(row.grown_bytes for row in rows)) / 2**20
        middle = rows[len(rows) // 2]
        counted = ", ".join(f"`{series}`" for series in middle.rises) or "–"
        lost = sum(row.lost for row in rows)
        cells = [f"`{attack.name}`", attack.does, middle.pressure() or "–", f"{ratio:.2f}", lost, f"+{grown:,.0f} MiB", counted]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])
