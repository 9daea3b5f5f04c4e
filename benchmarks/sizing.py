"""``python -m benchmarks.sizing``: how much memory users take, for docs/operations.md.

A service in a process of its own; more and more users each have a kernel that has made a table of
1 MB and a plot, and are idle. Memory is the proportional share (PSS): what processes have in common
is divided among them, so the parts add up. From that: how many users a machine has room for.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.living import execute, living, memory_bytes
from benchmarks.measures import Bench

_GIB = 1 << 30
_MACHINES_GIB = (1, 2, 4)
#: What the system and a bot beside the service need, and what is kept free for a cell that runs.
_SYSTEM_BYTES, _FREE_BYTES = 250 << 20, 200 << 20
_SETTLE_S = 12.0
_TYPICAL = """
import numpy as np
df = pd.DataFrame(np.random.default_rng(1).random((16_384, 8)))
print(df.describe())
plt.plot(df[0].cumsum())
plt.show()
"""


@dataclass(frozen=True, slots=True)
class Size:
    """Memory with so many idle kernels.

    Attributes:
        kernels: how many.
        parts: proportional share by part, in bytes.
    """

    kernels: int
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All parts together, in bytes."""
        return sum(self.parts.values())


async def sizes(bench: Bench, counts: list[int]) -> list[Size]:
    """Measure at each of some numbers of kernels."""
    found = []
    async with living(bench, "sizing", warm_kernels=0, max_kernels=max(counts) + 1) as service:
        await execute(service, "first", _TYPICAL)
        there = 1
        for count in sorted(counts):
            for number in range(there, count):
                await execute(service, f"user{number}", _TYPICAL)
            there = count
            await asyncio.sleep(_SETTLE_S)
            found.append(Size(count, memory_bytes(service)))
            bench.say(f"  {count} kernels: {found[-1].total / 1e6:.0f} MB")
    return found


def users_for(memory_bytes: int, fixed: float, each: float) -> int:
    """How many idle users fit."""
    return max(0, int((memory_bytes - _SYSTEM_BYTES - _FREE_BYTES - fixed) / each))


def report(found: list[Size]) -> str:
    """Tables in Markdown."""
    parts = list(found[0].parts)
    lines = [
        "| idle kernels | " + " | ".join(parts) + " | all | one more kernel |",
        "| --- " * (len(parts) + 3) + "|",
    ]
    for before, size in zip([None, *found], found, strict=False):
        more = "-"
        if before is not None:
            each = (size.total - before.total) / (size.kernels - before.kernels)
            more = f"{each / 1e6:.1f} MB"
        columns = [f"{size.parts[part] / 1e6:.0f} MB" for part in parts]
        total = f"{size.total / 1e6:.0f} MB"
        lines.append(f"| {size.kernels} | " + " | ".join([*columns, total, more]) + " |")
    first, last = found[0], found[-1]
    each = (last.total - first.total) / (last.kernels - first.kernels)
    fixed = last.total - each * last.kernels
    lines += ["", "| machine | users with an idle kernel |", "| --- | --- |"]
    lines += [f"| {gib} GB | {users_for(gib * _GIB, fixed, each)} |" for gib in _MACHINES_GIB]
    lines += ["", f"Without kernels: {fixed / 1e6:.0f} MB; each further one: {each / 1e6:.1f} MB."]
    return "\n".join(lines)


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--kernels", type=int, nargs="+", default=[5, 20, 50])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellmate-sizing-") as work:
        os.chmod(work, 0o711)
        bench = Bench(Path(work), 1, lambda text: print(text, flush=True))
        print(report(asyncio.run(sizes(bench, options.kernels))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
