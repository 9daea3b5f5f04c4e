"""Measurements of a service that lives on: crowds, idle kernels, restarts, culled sessions.

The service runs in a process of its own, as it does for users, so that what it takes is its own,
and so that it can be killed.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any

import psutil

from benchmarks.measures import Bench, Result, run_to_idle
from benchmarks.stock import stock_kernel
from tests.chaos.processes import database_of, family_of
from tests.chaos.service import Service

_CROWD, _CROWD_S = 100, 10.0
#: How long a hundred stock kernels may take to be ready: more than they do.
_STOCK_CROWD_S = 200.0
_IDLE, _IDLE_S, _IDLE_SHARE, _IDLE_CELL = 200, 30.0, 0.02, 1.2
_REATTACHED, _REATTACH_S = 50, 3.0
#: What changed is written down behind the cells.
_WRITTEN_S = 1.0
#: Between two cells of somebody who works on.
_THINKS_S = 0.3
_STATE_MB = (0, 1, 10, 50, 100)
_CELLS = 40
_TIMEOUT_S = 60.0
_TYPICAL = """
df = pd.DataFrame({'a': range(1000)})
print(df.describe())
plt.plot(df.a)
plt.show()
"""


@asynccontextmanager
async def living(bench: Bench, name: str, **settings: Any) -> AsyncGenerator[Service]:
    """A service in a process of its own; one user's cell has run."""
    data_dir = bench.work / name
    log = bench.work / f"{name}.log"
    given = {"max_kernels": _IDLE + 10, **settings}
    async with Service.running(data_dir, settings=given, log=log) as service:
        await execute(service, "first", "1")
        yield service


async def execute(service: Service, user: str, code: str) -> dict[str, Any]:
    """Run a cell that goes well; gives what came of it, and ``seconds``."""
    began = time.perf_counter()
    result: dict[str, Any] = await service.call(
        "execute", user=user, code=code, note={}, timeout_s=_TIMEOUT_S
    )
    assert result["status"] == "ok", result
    return {**result, "seconds": time.perf_counter() - began}


async def crowd(bench: Bench) -> list[Result]:
    """A hundred users nobody has seen, each with a file, all at once; and one who works on."""
    path = bench.csv_file(100)
    content = path.read_text()
    async with living(bench, "crowd", warm_kernels=1) as service:
        names = [f"crowd{number}" for number in range(_CROWD)]
        files = {}
        for name in names:
            files[name] = await service.call("save", user=name, name="sales.csv", content=content)
        alone = await _cell_times(service)
        await asyncio.sleep(2.0)

        async def newcomer(name: str) -> float:
            code = f"df = load_file('{files[name]['file_id']}')\ndf.describe()"
            result = await execute(service, name, code)
            assert "mean" in result["text"], result
            return float(result["seconds"])

        coming = asyncio.gather(*map(newcomer, names))
        meanwhile: list[float] = []
        while not coming.done():
            meanwhile.append(await _cell_time(service, len(meanwhile)))
            await asyncio.sleep(_THINKS_S)
        times = await coming
        whole_s = max(times)
    stock = await _stock_crowd(path)
    p95, stock_p95 = (sorted(all_)[int(len(all_) * 0.95)] for all_ in (times, stock))
    served = f"stock served {len(stock)} of {_CROWD}"
    bench.say(f"  ours: {whole_s:.1f} s; stock: {max(stock):.1f} s, {served}")
    note = f"ours: median {statistics.median(times):.2f} s, p95 {p95:.2f} s, last {whole_s:.2f} s"
    name = f"{_CROWD} newcomers at once, each load_file().describe()"
    return [
        Result(
            name=f"{name}, all served",
            unit="s",
            ours=whole_s,
            sense="limit",
            target=_CROWD_S,
            samples=_CROWD,
            note=note,
        ),
        *(
            Result(
                name=f"{name}, {which}",
                unit="s",
                ours=mine,
                stock=theirs,
                peer="stock, cold",
                sense="speed-up",
                target=None,
                samples=len(stock),
                note=served,
            )
            for which, mine, theirs in (
                ("the last one", whole_s, max(stock)),
                ("p95", p95, stock_p95),
            )
        ),
        _beside(
            f"a user's cell while {_CROWD} newcomers come, and alone", meanwhile, alone, target=None
        ),
    ]


async def _stock_crowd(path: Path) -> list[float]:
    """The same with stock kernels, all started at once: seconds until those had their tables
    that got one.

    A pool of as many as we have waiting, one, would serve the first of them sooner, and nobody
    else.
    """
    cell = f"import pandas as pd\ndf = pd.read_csv({str(path)!r})\ndf.describe()"
    began = time.perf_counter()

    async def newcomer(kernels: AsyncExitStack) -> float | None:
        try:
            _, client = await kernels.enter_async_context(stock_kernel(_STOCK_CROWD_S))
            await run_to_idle(client, cell)
        except (RuntimeError, OSError, Empty):  # where many start at once, some are given up
            return None
        return time.perf_counter() - began

    async with AsyncExitStack() as kernels:
        times = await asyncio.gather(*(newcomer(kernels) for _ in range(_CROWD)))
    return [seconds for seconds in times if seconds is not None]


async def idle(bench: Bench) -> list[Result]:
    """Many kernels that have worked and have nothing to do; and one user who works on."""
    async with living(bench, "idle", warm_kernels=1) as service:
        alone = await _cell_times(service)
        for number in range(_IDLE - 1):
            await execute(service, f"idle{number}", _TYPICAL)
        await asyncio.sleep(10.0)  # what is done once after a cell, such as giving memory back
        began, before = time.monotonic(), _cpu_s(service)
        await asyncio.sleep(_IDLE_S)
        after, passed_s = _cpu_s(service), time.monotonic() - began
        among = await _cell_times(service)
        kernels = int((await service.call("use"))["kernels"])
        assert kernels == _IDLE, kernels
        memory = memory_bytes(service)
    used = {part: _used(before[part], after[part]) / passed_s for part in after}
    note = ", ".join(f"{part} {share * 100:.2f} %" for part, share in used.items())
    note += "; PSS " + ", ".join(f"{part} {size / 1e6:.0f} MB" for part, size in memory.items())
    total = sum(used.values())
    return [
        Result(
            name=f"{_IDLE} idle kernels: processor time of all, of one core, over {passed_s:.0f} s",
            unit="%",
            ours=total * 100,
            sense="limit",
            target=_IDLE_SHARE * 100,
            samples=_IDLE,
            note=note,
        ),
        _beside(
            f"a user's cell beside {_IDLE - 1} idle kernels, and alone",
            among,
            alone,
            target=_IDLE_CELL,
        ),
    ]


def _beside(name: str, times: list[float], alone: list[float], *, target: float | None) -> Result:
    """How long cells took in company, beside how long they took alone."""
    return Result(
        name=name,
        unit="ms",
        ours=statistics.median(times) * 1e3,
        stock=statistics.median(alone) * 1e3,
        peer="ours, alone",
        sense="share",
        target=target,
        samples=len(times),
    )


async def _cell_times(service: Service) -> list[float]:
    times = []
    for number in range(_CELLS + 5):
        times.append(await _cell_time(service, number))
        await asyncio.sleep(0.02)
    return times[5:]


async def _cell_time(service: Service, number: int) -> float:
    code = f"df = pd.DataFrame({{'a': range(1000)}})\nprint({number}, len(df.describe()))"
    return float((await execute(service, "first", code))["seconds"])


async def reattach(bench: Bench) -> list[Result]:
    """Kill the service with many sessions alive, start it again, and ask each for its variable."""
    async with living(bench, "reattach", orphan_s=300.0) as service:
        await execute(service, "first", "mine = 'first'")
        one = [await _killed_and_started(service, 1) for _ in range(bench.rounds)]
        names = [f"kept{number}" for number in range(_REATTACHED - 1)]
        for name in names:
            await execute(service, name, f"mine = {name!r}")
        names.append("first")
        many = []
        for _ in range(bench.rounds):
            many.append(await _killed_and_started(service, _REATTACHED))
            bench.say(f"  {service.reattached} sessions, {many[-1]:.2f} s")
            results = await asyncio.gather(*(execute(service, n, "print(mine)") for n in names))
            assert [result["text"].strip() for result in results] == names, results
            assert not any(result["state_lost"] for result in results), results
    return [
        Result(
            name=f"{_REATTACHED} sessions after kill -9: from the service's start until it serves",
            unit="s",
            ours=statistics.median(many),
            sense="limit",
            target=_REATTACH_S,
            samples=len(many),
            note=f"Python, imports and the database's start included; with one session "
            f"{statistics.median(one):.2f} s. None lost, variables compared",
        )
    ]


async def _killed_and_started(service: Service, sessions: int) -> float:
    """Seconds from the start of a service until it serves, after the one before was killed."""
    await asyncio.sleep(_WRITTEN_S)
    await service.kill()
    began = time.perf_counter()
    await service.start()
    took = time.perf_counter() - began
    assert service.reattached >= sessions, service.reattached
    return took


async def restore(bench: Bench) -> list[Result]:
    """The first cell after a cull, by the size of what has to be restored."""
    results = []
    async with living(bench, "restore", kernel_idle_s=1.0, warm_kernels=1) as service:
        for megabytes in _STATE_MB:
            user = f"culled{megabytes}"
            times = []
            for round_ in range(bench.rounds):
                rows = megabytes * 125_000
                await execute(
                    service,
                    user,
                    f"import numpy as np\nmine = {round_}\n"
                    f"df = pd.DataFrame({{'a': np.random.default_rng(1).random({rows})}})",
                )
                await _culled(service)
                again = await execute(service, user, "print(mine, len(df))")
                assert again["text"].split() == [str(round_), str(rows)], again
                times.append(float(again["seconds"]))
            bench.say(f"  {megabytes} MB: {statistics.median(times):.3f} s")
            results.append(
                Result(
                    name=f"first cell after a cull, {megabytes} MB of variables restored",
                    unit="s",
                    ours=statistics.median(times),
                    sense="limit",
                    target=None,
                    samples=len(times),
                )
            )
    return results


async def _culled(service: Service) -> None:
    """Wait until no session has a kernel."""
    async with asyncio.timeout(_TIMEOUT_S):
        while (await service.call("use"))["kernels"]:  # noqa: ASYNC110 -- nothing announces it
            await asyncio.sleep(0.1)


# -- what processes take --------------------------------------------------------------------------


def _parts(service: Service) -> dict[str, list[psutil.Process]]:
    """All processes of a service, by what they are for."""
    family = family_of(service.data_dir)
    database = database_of(service.data_dir)
    below: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            below.setdefault(process.ppid(), []).append(process)

    def tree(top: Iterable[psutil.Process]) -> list[psutil.Process]:
        return [p for one in top for p in (one, *tree(below.get(one.pid, ())))]

    kernels = tree(family.inits)
    theirs = {process.pid for process in kernels}
    return {
        "service": [psutil.Process(service.pid)],
        "fork server": [p for p in tree(family.outer) if p.pid not in theirs],
        "kernels": kernels,
        "database": tree([database] if database else []),
    }


def _cpu_s(service: Service) -> dict[str, dict[psutil.Process, float]]:
    """Processor time so far by part and process, in seconds."""
    return {
        part: {process: _seconds(process) for process in own}
        for part, own in _parts(service).items()
    }


def _used(before: dict[psutil.Process, float], after: dict[psutil.Process, float]) -> float:
    """Seconds that processes used between two looks; those that have ended are left out."""
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def memory_bytes(service: Service) -> dict[str, int]:
    """The proportional share of memory by part."""
    return {
        part: sum(pss_bytes(process.pid) for process in own)
        for part, own in _parts(service).items()
    }


def pss_bytes(pid: int) -> int:
    """A process' proportional share of memory; nothing if it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    (kilobytes,) = [line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(kilobytes) * 1024
