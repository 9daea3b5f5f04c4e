"""The measurements. Each compares ours with the peer, alternating between them in one run."""

import asyncio
import csv
import itertools
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from benchmarks.peers import PEERS, InstalledPeer, install
from benchmarks.stock import StockPool, stock_kernel, stock_pid
from interpreter import Interpreter, Settings
from interpreter.hosts.local import LocalKernelHost
from interpreter.hosts.processes import resources_of_tree
from interpreter.kernel_client import connection_info
from interpreter.limits import Limits

_numbers = itertools.count()
#: How long nothing happens before somebody new comes, and before each further cell; and how many of
#: those are timed.
_QUIET_S = 0.5
#: After which time kernels have done what they do once behind a cell, such as giving memory back.
_SETTLED_S = 5.0
#: Of a newcomer's file: few, as it is about the start; and many, for comparison.
_ROWS, _MANY_ROWS = 100, 10_000
_WARM_CELLS = 5
#: What a cell of ours finds imported.
_OUR_IMPORTS = "import numpy as np, pandas as pd, matplotlib.pyplot as plt"
_DESCRIBED_AND_PLOTTED = """
import pandas as pd, matplotlib.pyplot as plt
df = pd.DataFrame({'a': range(1000)})
print(df.describe())
plt.plot(df.a)
plt.show()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measurement, mostly a comparison.

    Attributes:
        name: what was measured.
        unit: of ``ours`` and ``stock``.
        ours, stock: medians; ``stock`` is the peer's, None where there is none.
        ratio: by which the target is judged; says in ``sense`` how.
        target: what we promise of the ratio, None where we promise nothing.
        sense: ``speed-up`` is stock/ours and must be at least the target; ``share`` is ours/stock
            and must be at most the target; ``limit`` is ours, and must be at most the target.
        samples: how many values each median is of.
        peer: what ``stock`` is of.
        note: what else is to be known.
    """

    name: str
    unit: str
    ours: float
    stock: float | None = None
    sense: Literal["speed-up", "share", "limit"]
    target: float | None
    samples: int
    peer: str = "stock"
    note: str = ""

    @property
    def ratio(self) -> float:
        """stock/ours, ours/stock or ours, as ``sense`` says."""
        if self.stock is None:
            return self.ours
        return self.stock / self.ours if self.sense == "speed-up" else self.ours / self.stock

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.ratio >= self.target if self.sense == "speed-up" else self.ratio <= self.target


@dataclass(frozen=True, slots=True)
class Bench:
    """What the measurements need.

    Attributes:
        work: an empty directory.
        rounds: how often the slow ones are repeated.
        say: tells a person what goes on.
    """

    work: Path
    rounds: int
    say: Callable[[str], None]

    @asynccontextmanager
    async def service(self, *, spares: int, **settings: Any) -> AsyncGenerator[Interpreter]:
        """A fresh service, warm: its fork server is up.

        Args:
            spares: how many kernels wait for newcomers, no more and no less.
            settings: further settings.
        """
        given = Settings(
            data_dir=self.work / f"data{next(_numbers)}",
            warm_kernels=spares,
            warm_kernels_max=spares,
            **settings,
        )
        async with Interpreter.open(given) as service:
            session = await service.session(user_id="first")
            await session.execute("1")
            await session.close()
            yield service

    def csv_file(self, rows: int) -> Path:
        """A table, made anew; a row takes about 26 bytes."""
        path = self.work / f"sales{rows}.csv"
        numbers = random.Random(1)
        with path.open("w", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(["city", "day", "amount", "price"])
            for row in range(rows):
                city = numbers.choice(["Ulm", "Bonn", "Kiel", "Trier"])
                price = round(numbers.uniform(1, 900), 2)
                writer.writerow([city, f"2026-01-{row % 28 + 1:02}", numbers.randint(1, 99), price])
        return path


async def newcomers(bench: Bench) -> list[Result]:
    """From nothing to a newcomer's first table, beside everybody who does the same job.

    Ours: the user's session and its first cell. Stock, cold: start the manager and its kernel, wait
    until it is ready, import pandas, read, describe. The pool's kernel is ready; the rest is the
    same, and the same cell once more on it, which has pandas by then, is what nobody who runs it in
    a kernel can be much faster than. How the other peers do it, they say themselves.
    """
    path, large = bench.csv_file(_ROWS), bench.csv_file(_MANY_ROWS)
    cell, large_cell = (
        f"import pandas as pd\ndf = pd.read_csv({str(file)!r})\ndf.describe()"
        for file in (path, large)
    )
    times: dict[str, list[float]] = {}

    def took(what: str, seconds: float) -> None:
        times.setdefault(what, []).append(seconds)

    peers: list[InstalledPeer] = []
    missing: dict[str, str] = {}
    for wanted in PEERS:
        try:
            peers.append(install(wanted, bench.work, bench.say))
        except RuntimeError as error:
            missing[wanted.name] = str(error)
            bench.say(f"  {wanted.name}: {error}")
    async with (
        bench.service(spares=1) as service,
        bench.service(spares=0) as forking,
        StockPool(size=1) as pool,
    ):
        await _stock_newcomer(f"{_OUR_IMPORTS}\n{cell}")  # all is compiled, and has been read once
        for number in range(bench.rounds):
            await pool.refill()
            first, again = await _newcomer(service, path, f"new{number}", spare=True)
            took("ours", first)
            took("ours, warm", again)
            took("ours, forked", (await _newcomer(forking, path, f"new{number}", spare=False))[0])
            took("stock", await _stock_newcomer(cell))
            took("stock, all", await _stock_newcomer(f"{_OUR_IMPORTS}\n{cell}"))
            took("ours, large", (await _newcomer(service, large, f"many{number}", spare=True))[0])
            took("stock, large", await _stock_newcomer(large_cell))
            async with pool.claimed() as client:
                took("stock, pool", await run_to_idle(client, cell))
                more = []
                for _ in range(_WARM_CELLS):
                    await asyncio.sleep(_QUIET_S)
                    more.append(await run_to_idle(client, cell))
                took("stock, warm", statistics.median(more))
            for peer in peers:
                try:
                    # Not at its end: its kernels would still be ending while ours is measured.
                    for what, seconds in (await asyncio.to_thread(peer.measure, cell)).items():
                        took(f"{peer.peer.name}, {what}", seconds)
                except RuntimeError as error:
                    missing[peer.peer.name] = str(error)
                    bench.say(f"  {peer.peer.name} failed this time: {error}")
            bench.say("  " + ", ".join(f"{name} {all_[-1]:.3f} s" for name, all_ in times.items()))
    return _newcomer_results(times, peers, missing)


async def _stock_newcomer(cell: str) -> float:
    began = time.perf_counter()
    async with stock_kernel() as (_, client):
        await run_to_idle(client, cell)
        return time.perf_counter() - began


async def _newcomer(
    service: Interpreter, path: Path, user_id: str, *, spare: bool
) -> tuple[float, float]:
    """A newcomer's first table, and the same cell once more: seconds of both."""
    stored = await service.files.save(user_id=user_id, filename="sales.csv", source=path)
    while spare and not service._pool.ready:  # noqa: ASYNC110 -- nothing announces it
        await asyncio.sleep(0.05)
    await asyncio.sleep(_QUIET_S)
    code = f"df = load_file('{stored.file_id}')\ndf.describe()"
    times = []
    began = time.perf_counter()
    session = await service.session(user_id=user_id)
    for _ in range(1 + _WARM_CELLS):
        result = await session.execute(code)
        times.append(time.perf_counter() - began)
        assert "mean" in result.text, result.text
        await asyncio.sleep(_QUIET_S)  # processors, too, are slower after a pause
        began = time.perf_counter()
    await session.close()
    return times[0], statistics.median(times[1:])


def _newcomer_results(
    times: dict[str, list[float]], peers: list[InstalledPeer], missing: dict[str, str]
) -> list[Result]:
    median = {what: statistics.median(seconds) for what, seconds in times.items()}
    what = "newcomer's first load_file().describe()"
    many = f"{what} of {_MANY_ROWS:,} rows"
    rows: list[tuple[str, str, str, str, Literal["speed-up", "share"], float | None, str]] = [
        (what, "ours", "stock", "stock, cold", "speed-up", 100.0, ""),
        (f"{what}, beside a warm kernel's", "ours", "ours, warm", "ours", "share", 1.5, ""),
        (what, "ours", "stock, all", "stock, cold, with np, pd, plt", "speed-up", None, ""),
        (what, "ours", "stock, pool", "stock, one waiting", "speed-up", None, ""),
        (what, "ours", "stock, warm", "stock, the cell once more", "speed-up", None, ""),
        (many, "ours, large", "stock, large", "stock, cold", "speed-up", None, ""),
        (f"{what}, forked on demand", "ours, forked", "stock", "stock, cold", "speed-up", None, ""),
    ]
    for peer in peers:
        name = peer.peer.name
        note = f"{peer.version}; {peer.peer.mode}. Left out: {peer.peer.left_out}"
        for mode in ("cold", "waiting"):
            if f"{name}, {mode}" not in median:  # it failed each time: see below
                continue
            rows.append(
                (what, "ours", f"{name}, {mode}", f"{name}, {mode}", "speed-up", None, note)
            )
    results = [
        Result(
            name=name,
            unit="s",
            ours=median[ours],
            stock=median[other],
            peer=peer_name,
            sense=sense,
            target=target,
            samples=len(times[other]),
            note=note,
        )
        for name, ours, other, peer_name, sense, target, note in rows
    ]
    for peer_name, reason in missing.items():
        measured = len(times.get(f"{peer_name}, cold", ()))
        results.append(
            Result(
                name=f"{what}, beside {peer_name}: failed, {measured} of {len(times['ours'])} times"
                " measured",
                unit="s",
                ours=median["ours"],
                sense="limit",
                target=None,
                samples=measured,
                note=reason,
            )
        )
    return results


async def further_kernel_memory(bench: Bench) -> list[Result]:
    """Memory that one more live kernel with pandas and matplotlib takes of the whole machine."""
    few, many = 2, 8
    async with bench.service(spares=0) as service:
        totals = []
        for count in (few, many):
            for number in range(count):
                session = await service.session(user_id=f"memory{number}")
                result = await session.execute(_DESCRIBED_AND_PLOTTED)
                assert result.status == "ok", result.text
            await asyncio.sleep(_SETTLED_S)
            totals.append(_pss(_fork_server_pid(service)))
        ours = (totals[1] - totals[0]) / (many - few)
    async with AsyncExitStack() as stack:
        totals = []
        pids: list[int] = []
        for count in (few, many):
            while len(pids) < count:
                manager, client = await stack.enter_async_context(stock_kernel())
                await run_to_idle(client, _DESCRIBED_AND_PLOTTED)
                pids.append(stock_pid(manager))
            await asyncio.sleep(_SETTLED_S)
            totals.append(sum(map(_pss, pids)))
        stock = (totals[1] - totals[0]) / (many - few)
    return [
        Result(
            name="a further kernel after df.describe() and a plot, PSS",
            unit="MB",
            ours=ours / 1e6,
            stock=stock / 1e6,
            sense="share",
            target=0.25,
            samples=many - few,
        )
    ]


async def one_plus_one(bench: Bench) -> list[Result]:
    """``1+1`` from sending the request to ``idle``, by the same client on both."""
    data_dir = bench.work / "plain"
    data_dir.mkdir()
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            LocalKernelHost.open(
                data_dir=data_dir,
                kernel_env_dir=Settings(data_dir=bench.work).kernel_env_dir,
                limits=Limits(),
            )
        )
        hosted = await host.start(None)
        our_client = AsyncKernelClient(context=zmq.asyncio.Context())
        our_client.load_connection_info(connection_info(hosted))
        our_client.start_channels()
        stack.callback(our_client.stop_channels)
        await our_client.wait_for_ready(timeout=30)
        _, stock_client = await stack.enter_async_context(stock_kernel())
        ours: list[float] = []
        stock: list[float] = []
        for number in range(60 * bench.rounds):
            for client, times in ((our_client, ours), (stock_client, stock)):
                took = await run_to_idle(client, "1+1")
                if number >= 20:
                    times.append(took)
    return [
        Result(
            name="1+1 from send to idle",
            unit="ms",
            ours=statistics.median(ours) * 1e3,
            stock=statistics.median(stock) * 1e3,
            sense="share",
            target=0.5,
            samples=len(ours),
        )
    ]


async def twenty_at_once(bench: Bench) -> list[Result]:
    """Twenty kernels alive, a cell on each at the same time; the time until all have ended."""
    count = 20
    code = "import pandas as pd\nx = pd.DataFrame({'a': range(1000)}).a.sum()\nprint(x)"
    async with bench.service(spares=0) as service:
        sessions = [await service.session(user_id=f"crowd{number}") for number in range(count)]
        began = time.perf_counter()
        results = await asyncio.gather(*(session.execute(code) for session in sessions))
        ours = time.perf_counter() - began
        failed = [result for result in results if result.text != "499500\n"]
        assert not failed, failed[0].text
        assert len(service.kernels()) == count

    async def stock_one(client: AsyncKernelClient) -> None:
        await run_to_idle(client, code)

    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        kernels = await asyncio.gather(
            *(stack.enter_async_context(stock_kernel()) for _ in range(count))
        )
        await asyncio.gather(*(stock_one(client) for _, client in kernels))
        stock = time.perf_counter() - began
    return [
        Result(
            name=f"{count} newcomers at once, all served",
            unit="s",
            ours=ours,
            stock=stock,
            sense="speed-up",
            target=None,
            samples=1,
        )
    ]


async def run_to_idle(client: AsyncKernelClient, code: str) -> float:
    """Run a cell; returns the seconds from sending it until its own ``idle`` and reply came."""
    began = time.perf_counter()
    message_id = client.execute(code)
    while True:
        message = await client.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    while (await client.get_shell_msg(timeout=120))["parent_header"].get("msg_id") != message_id:
        pass
    return time.perf_counter() - began


def _pss(pid: int) -> int:
    used = resources_of_tree(pid)
    assert used is not None
    return used.memory_bytes


def _fork_server_pid(service: Interpreter) -> int:
    """The process above all our kernels: bubblewrap's, the parent of the fork server."""
    host = service._host
    assert isinstance(host, LocalKernelHost) and host.fork_server_pid is not None
    return host.fork_server_pid
