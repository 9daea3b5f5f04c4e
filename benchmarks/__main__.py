"""``python -m benchmarks``: measure, print a table, write JSON; exit 1 if a target is missed."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import measures
from benchmarks.measures import Bench, Result


async def measure(bench: Bench) -> list[Result]:
    """Run every measurement."""
    results = []
    for name, work in (
        ("newcomers, a spare kernel waiting", measures.first_describe(bench, spares=1)),
        ("newcomers, forked on demand", measures.first_describe(bench, spares=0)),
        ("memory of a further kernel", measures.further_kernel_memory(bench)),
        ("1+1", measures.one_plus_one(bench)),
        ("twenty at once", measures.twenty_at_once(bench)),
    ):
        bench.say(f"measuring: {name}")
        results.append(await work)
    return results


def table(results: list[Result]) -> str:
    """The results for a person."""
    rows = [("what", "ours", "stock", "ratio", "target", "met")]
    for result in results:
        faster = result.sense == "speed-up"
        target = "-" if result.target is None else f"{'>=' if faster else '<='} {result.target:g}"
        rows.append(
            (
                result.name,
                f"{result.ours:.3g} {result.unit}",
                f"{result.stock:.3g} {result.unit}",
                f"{result.ratio:.1f} x faster" if faster else f"{result.ratio:.2f} of stock",
                target,
                "-" if result.target is None else "yes" if result.met else "NO",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    """Parse the arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of the slow ones")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latest.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellmate-bench-") as work:
        os.chmod(work, 0o711)
        bench = Bench(Path(work), options.rounds, lambda text: print(text, flush=True))
        results = asyncio.run(measure(bench))
    print(f"\nCellmate beside a stock AsyncKernelManager with ipykernel\n\n{table(results)}")
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
