"""The measurements. Each compares ours with the peer, alternating between them in one run."""

import asyncio
import csv
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from benchmarks.stock import stock_kernel, stock_pid
from interpreter import Interpreter, Settings
from interpreter.hosts.local import LocalKernelHost
from interpreter.hosts.processes import resources_of_tree
from interpreter.kernel import connection_info
from interpreter.limits import Limits

WARM_UP = "import pandas as pd, matplotlib.pyplot as plt\npd.DataFrame({'a': [1, 2]}).describe()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One comparison.

    Attributes:
        name: what was measured.
        unit: of ``ours`` and ``stock``.
        ours, stock: medians.
        ratio: by which the target is judged; says in ``sense`` how.
        target: what we promise of the ratio, None where we promise nothing.
        sense: ``speed-up`` is stock/ours and must be at least the target; ``share`` is ours/stock
            and must be at most the target.
        samples: how many values each median is of.
    """

    name: str
    unit: str
    ours: float
    stock: float
    sense: Literal["speed-up", "share"]
    target: float | None
    samples: int

    @property
    def ratio(self) -> float:
        """stock/ours or ours/stock, as ``sense`` says."""
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
    async def service(self, *, spares: int) -> AsyncGenerator[Interpreter]:
        """A fresh service, warm: its fork server is up."""
        settings = Settings(data_dir=self.work / f"data{spares}", warm_kernels=spares)
        async with Interpreter.open(settings) as service:
            session = await service.session(user_id="first")
            await session.execute("1")
            await session.close()
            yield service

    def csv_file(self) -> Path:
        """A table of 10,000 rows (about 400 kB), made anew."""
        path = self.work / "sales.csv"
        numbers = random.Random(1)
        with path.open("w", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(["city", "day", "amount", "price"])
            for row in range(10_000):
                city = numbers.choice(["Ulm", "Bonn", "Kiel", "Trier"])
                price = round(numbers.uniform(1, 900), 2)
                writer.writerow([city, f"2026-01-{row % 28 + 1:02}", numbers.randint(1, 99), price])
        return path


async def first_describe(bench: Bench, *, spares: int) -> Result:
    """From nothing to a newcomer's first table: start, load a csv, describe it."""
    path = bench.csv_file()
    ours: list[float] = []
    stock: list[float] = []
    async with bench.service(spares=spares) as service:
        for number in range(bench.rounds):
            user_id = f"new{number}"
            stored = await service.files.save(user_id=user_id, filename="sales.csv", source=path)
            await asyncio.sleep(1.0)  # time to refill the spares, as between two newcomers
            began = time.perf_counter()
            session = await service.session(user_id=user_id)
            result = await session.execute(f"df = load_file('{stored.file_id}')\ndf.describe()")
            ours.append(time.perf_counter() - began)
            assert "mean" in result.text, result.text
            await session.close()

            began = time.perf_counter()
            async with stock_kernel() as (_, client):
                code = f"import pandas as pd\ndf = pd.read_csv({str(path)!r})\ndf.describe()"
                await run_to_idle(client, code)
                stock.append(time.perf_counter() - began)
            bench.say(f"  {ours[-1]:.3f} s against {stock[-1]:.3f} s")
    how = "a spare kernel waiting" if spares else "forked on demand"
    return Result(
        name=f"newcomer's first load_file().describe(), {how}",
        unit="s",
        ours=statistics.median(ours),
        stock=statistics.median(stock),
        sense="speed-up",
        target=20.0 if spares else None,
        samples=bench.rounds,
    )


async def further_kernel_memory(bench: Bench) -> Result:
    """Memory that one more live kernel with pandas and matplotlib takes of the whole machine."""
    few, many = 2, 8
    async with bench.service(spares=0) as service:
        totals = []
        for count in (few, many):
            for number in range(count):
                session = await service.session(user_id=f"memory{number}")
                await session.execute(WARM_UP)
            server = _fork_server_pid(service)
            totals.append(_pss(server))
        ours = (totals[1] - totals[0]) / (many - few)
    async with AsyncExitStack() as stack:
        totals = []
        pids: list[int] = []
        for count in (few, many):
            while len(pids) < count:
                manager, client = await stack.enter_async_context(stock_kernel())
                await run_to_idle(client, WARM_UP)
                pids.append(stock_pid(manager))
            totals.append(sum(map(_pss, pids)))
        stock = (totals[1] - totals[0]) / (many - few)
    return Result(
        name="a further live kernel with pandas and matplotlib, PSS",
        unit="MB",
        ours=ours / 1e6,
        stock=stock / 1e6,
        sense="share",
        target=0.35,
        samples=many - few,
    )


async def one_plus_one(bench: Bench) -> Result:
    """``1+1`` from sending the request to ``idle``, by the same client on both."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            LocalKernelHost.open(
                data_dir=bench.work / "plain",
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
    return Result(
        name="1+1 from send to idle",
        unit="ms",
        ours=statistics.median(ours) * 1e3,
        stock=statistics.median(stock) * 1e3,
        sense="share",
        target=1.1,
        samples=len(ours),
    )


async def twenty_at_once(bench: Bench) -> Result:
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
    return Result(
        name=f"{count} newcomers at once, all served",
        unit="s",
        ours=ours,
        stock=stock,
        sense="speed-up",
        target=None,
        samples=1,
    )


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
    assert isinstance(host, LocalKernelHost) and host._server is not None
    return host._server.pid
