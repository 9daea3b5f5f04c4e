"""``python -m benchmarks``: measure, print a table, write JSON; exit 1 if a target is missed."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import living, measures
from benchmarks.measures import Bench, Result

#: In this order: what needs the machine to itself comes before what fills it.
MEASUREMENTS: dict[str, Callable[[Bench], Awaitable[list[Result]]]] = {
    "newcomers": measures.newcomers,
    "memory": measures.further_kernel_memory,
    "1+1": measures.one_plus_one,
    "twenty": measures.twenty_at_once,
    "reattach": living.reattach,
    "restore": living.restore,
    "crowd": living.crowd,
    "idle": living.idle,
}


async def measure(bench: Bench, names: list[str]) -> list[Result]:
    """Run the measurements of these names, in the order above."""
    results = []
    for name, work in MEASUREMENTS.items():
        if name in names:
            bench.say(f"measuring: {name}")
            results += await work(bench)
    return results


def table(results: list[Result]) -> str:
    """The results for a person."""
    rows = [("what", "ours", "other", "beside", "ratio", "target", "met")]
    for result in results:
        faster = result.sense == "speed-up"
        limit = result.stock is None
        target = "-" if result.target is None else f"{'>=' if faster else '<='} {result.target:g}"
        rows.append(
            (
                result.name,
                f"{result.ours:.3g} {result.unit}",
                "-" if result.stock is None else f"{result.stock:.3g} {result.unit}",
                "-" if limit else result.peer,
                "-" if limit else f"{result.ratio:.3g}" + (" x faster" if faster else ""),
                target + (f" {result.unit}" if limit and result.target is not None else ""),
                "-" if result.target is None else "yes" if result.met else "NO",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = dict.fromkeys(f"{r.peer}: {r.note}" for r in results if r.note and r.stock is not None)
    notes |= dict.fromkeys(f"{r.name}: {r.note}" for r in results if r.note and r.stock is None)
    return "\n".join([*lines, "", *notes])


def main() -> int:
    """Parse the arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MEASUREMENTS)}; all without")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of the slow ones")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latest.json"))
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="cellmate-bench-") as work:
        os.chmod(work, 0o711)
        bench = Bench(Path(work), options.rounds, lambda text: print(text, flush=True))
        results = asyncio.run(measure(bench, options.names or list(MEASUREMENTS)))
    print(f"\nCellmate beside others, all in this run\n\n{table(results)}")
    record = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "results": [
            {**asdict(result), "ratio": result.ratio, "met": result.met} for result in results
        ],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
