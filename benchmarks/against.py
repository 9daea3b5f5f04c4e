"""``python -m benchmarks.against CHECKOUT``: this version beside another, say one before a change.

Both run in turn with the same Python and packages, each as a service with its own fork server. How
long a newcomer waits for a first cell is compared, and how long small cells take. Exit status 1 if
this version takes more than 1.1 of the other's time.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

_MOST = 1.1
_NEWCOMERS, _CELLS = 6, 150
#: Run in either checkout, so only what both have: the public interface.
_PROBE = """
import asyncio, json, os, sys, tempfile, time
from pathlib import Path
from interpreter import Interpreter, Settings

async def timed(session, code):
    began = time.perf_counter()
    result = await session.execute(code)
    assert result.status == "ok", result.text
    return (time.perf_counter() - began) * 1e3

async def main(newcomers, cells):
    with tempfile.TemporaryDirectory(prefix="cellmate-against-") as work:
        os.chmod(work, 0o711)
        settings = Settings(data_dir=Path(work) / "data", warm_kernels=0)
        async with Interpreter.open(settings) as service:
            first = await service.session(user_id="first")
            await timed(first, "1")
            starts = []
            for number in range(newcomers):
                session = await service.session(user_id=f"new{number}")
                starts.append(await timed(session, "1"))
                await session.close()
            small = [await timed(first, "1+1") for _ in range(cells)]
            await timed(first, "df = pd.DataFrame({'a': range(1000)})")
            tables = [await timed(first, "df.describe()") for _ in range(cells // 5)]
    print(json.dumps({"a newcomer's first cell": starts, "1+1": small[10:],
                      "df.describe()": tables[3:]}))

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def probe(checkout: Path) -> dict[str, list[float]]:
    """Milliseconds by what was measured, of one run in a checkout."""
    command = [sys.executable, "-c", _PROBE, str(_NEWCOMERS), str(_CELLS)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return times


def main() -> int:
    """Measure both in turn, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for checkout, times in ((Path.cwd(), ours), (options.other, theirs)):
            for name, values in probe(checkout).items():
                times.setdefault(name, []).extend(values)
    met = True
    print(f"{'':26}{'this':>10}{'other':>10}{'ratio':>8}")
    for name, values in ours.items():
        here, there = statistics.median(values), statistics.median(theirs[name])
        met = met and here / there <= _MOST
        print(f"{name:26}{here:7.1f} ms{there:7.1f} ms{here / there:8.2f}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
