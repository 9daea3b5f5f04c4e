"""``python -m benchmarks.siege``: one honest user, beside attackers who flood the service.

In one run, one after the other: nobody attacks; one attacker prints without end; one sends messages
of its own making; twenty do a bit of everything. Meanwhile an honest user runs small cells.
Measured: how long these take, how late the service's event loop is, how its memory grows.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from interpreter import Interpreter, Session, Settings

_TICK_S = 0.005
_MIB = 1 << 20

_PRINTING = "while True: print('x' * 200)"
_DISPLAYING = (
    "from IPython.display import display\nwhile True:\n"
    "    display({'text/plain': 'y' * 100_000, 'text/html': 'z' * 1_000_000}, raw=True)"
)
_MESSAGES = (
    "kernel = get_ipython().kernel\n"
    "while True:\n"
    "    kernel.session.send(kernel.iopub_socket, 'stream', {'name': 'stdout', 'text': 'a'},\n"
    "                        parent=kernel.get_parent())"
)
_FORGED = (
    "kernel = get_ipython().kernel\n"
    "while True:\n"
    "    kernel.session.send(kernel.iopub_socket, 'status', {'execution_state': 'busy'})"
)
_BURNING = (
    "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        while True: pass\nwhile 1: pass"
)
_WRITING = "while True:\n    with open('f', 'wb') as f: f.write(bytes(50_000_000))"
_STORMS: dict[str, list[str]] = {
    "nobody attacks": [],
    "output flood": [_PRINTING],
    "message flood": [_MESSAGES],
    "20 attackers": [_PRINTING, _DISPLAYING, _MESSAGES, _FORGED, _BURNING] * 3
    + [_WRITING, _BURNING, _PRINTING, _MESSAGES, _DISPLAYING],
}


@dataclass(frozen=True, slots=True)
class Weather:
    """What the honest user and the service felt during one storm.

    Attributes:
        name: the storm.
        cells: how many honest cells ran.
        failed: how many of them did not end well.
        cell_ms: median and 95th percentile of their time, from the call to the result.
        lag_ms: median, 99th percentile and maximum of how late the event loop was.
        growth_mib: by how much the service's memory grew at most.
    """

    name: str
    cells: int
    failed: int
    cell_ms: tuple[float, float]
    lag_ms: tuple[float, float, float]
    growth_mib: float


async def endure(service: Interpreter, name: str, attacks: list[str], seconds: float) -> Weather:
    """Have attackers attack for a while, and measure what an honest user feels."""
    honest = await service.session(user_id="honest")
    await honest.execute("n = 0")
    attackers = [await service.session(user_id=f"attacker{i}") for i in range(len(attacks))]
    for attacker in attackers:
        await attacker.execute("1")
    lags: list[float] = []
    before = peak = _memory_bytes()
    storm = [asyncio.create_task(_attack(a, c)) for a, c in zip(attackers, attacks, strict=True)]
    watching = asyncio.create_task(_watch_loop(lags))
    await asyncio.sleep(1.0)  # until all attacks are under way
    lags.clear()
    times: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        result = await honest.execute("n += 1\nsum(range(1000)) + n", timeout_s=60)
        times.append(time.perf_counter() - began)
        if result.status != "ok":
            failed += 1
            print(f"an honest cell failed: {result.status}, {result.text}")
        peak = max(peak, _memory_bytes())
        await asyncio.sleep(0.05)
    for task in (*storm, watching):
        task.cancel()
    await asyncio.gather(*storm, watching, return_exceptions=True)
    for attacker in attackers:
        await attacker.close()
    return Weather(
        name=name,
        cells=len(times),
        failed=failed,
        cell_ms=(statistics.median(times) * 1e3, _share(times, 0.95) * 1e3),
        lag_ms=(statistics.median(lags) * 1e3, _share(lags, 0.99) * 1e3, max(lags) * 1e3),
        growth_mib=(peak - before) / _MIB,
    )


async def _attack(attacker: Session, code: str) -> None:
    while True:
        with contextlib.suppress(Exception):
            await attacker.execute(code, timeout_s=5)


async def _watch_loop(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        lags.append(time.perf_counter() - began - _TICK_S)


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(work: Path, seconds: float) -> list[Weather]:
    """Endure all storms."""
    settings = Settings(data_dir=work / "data", max_kernels=40, warm_kernels=1)
    async with Interpreter.open(settings) as service:
        return [await endure(service, name, codes, seconds) for name, codes in _STORMS.items()]


def main() -> int:
    """Measure, print; exit status 1 if an honest cell failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.siege", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each storm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellmate-siege-") as work:
        os.chmod(work, 0o711)
        weathers = asyncio.run(measure(Path(work), options.seconds))
    quiet = weathers[0].cell_ms[0]
    print(
        f"{'':16}{'cells':>6}{'failed':>7}{'p50 ms':>8}{'p95 ms':>8}{'of quiet':>9}"
        f"{'lag p50':>9}{'p99':>7}{'max ms':>8}{'memory':>10}"
    )
    for w in weathers:
        print(
            f"{w.name:16}{w.cells:6}{w.failed:7}{w.cell_ms[0]:8.1f}{w.cell_ms[1]:8.1f}"
            f"{w.cell_ms[0] / quiet:9.1f}{w.lag_ms[0]:9.1f}{w.lag_ms[1]:7.1f}{w.lag_ms[2]:8.1f}"
            f"{w.growth_mib:+6.0f} MiB"
        )
    return int(any(w.failed for w in weathers))


if __name__ == "__main__":
    sys.exit(main())
