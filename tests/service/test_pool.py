"""Spare kernels: how many there are, who gets them, and that nothing shows what they did before."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from interpreter import Interpreter, Session, SessionLimits, Settings
from interpreter import pool as pool_module
from interpreter.errors import HostError, KernelStartFailed
from interpreter.kernel import Kernel
from interpreter.pool import Demand, WarmPool, spares_wanted
from interpreter.zmtp import Intake
from tests.service.waiting import until

MIB = 1 << 20


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def after_burst(count: int, *, then_s: float) -> Demand:
    demand = Demand()
    for _ in range(count):
        demand = demand.with_one_more()
    return demand.after(then_s)


@pytest.mark.parametrize(
    ("demand", "refill_s", "floor", "ceiling", "room", "wanted"),
    [
        (Demand(), 0.5, 1, 20, 50, 1),
        (Demand(), 0.5, 0, 20, 50, 0),
        (Demand(), 0.5, 3, 20, 50, 3),
        (Demand(), 0.5, 3, 0, 50, 3),  # the floor counts more than the ceiling
        (Demand(), 0.5, 3, 20, 2, 2),  # and memory more than the floor
        (Demand(), 0.5, 3, 20, 0, 0),
        (Demand(), 0.5, 3, 20, -1, 0),
        (after_burst(1, then_s=0), 0.5, 1, 20, 50, 1),
        (after_burst(10, then_s=0), 0.5, 1, 20, 50, 10),
        (after_burst(10, then_s=0), 0.5, 1, 8, 50, 8),
        (after_burst(10, then_s=0), 0.5, 1, 20, 9, 9),
        (after_burst(10, then_s=300), 0.5, 1, 20, 50, 6),  # a class may come again
        (after_burst(10, then_s=3600), 0.5, 1, 20, 50, 1),
        (Demand(rate_per_s=2.0), 0.5, 1, 20, 50, 1),
        (Demand(rate_per_s=2.0), 5.0, 1, 20, 50, 10),  # where they are slow to make
        (Demand(rate_per_s=2.0, together=4.0), 0.5, 1, 20, 50, 5),
    ],
)
async def test_as_many_spares_as_newcomers_came_together(
    demand: Demand, refill_s: float, floor: int, ceiling: int, room: int, wanted: int
) -> None:
    assert spares_wanted(demand, refill_s, floor=floor, ceiling=ceiling, room=room) == wanted


async def test_demand_is_the_rate_of_the_last_minutes() -> None:
    demand = Demand()
    for _ in range(600):
        demand = demand.with_one_more().after(1.0)
    assert demand.rate_per_s == pytest.approx(1.0, rel=0.05)
    assert 1.0 <= demand.together < 4.0  # one after the other isn't together
    assert demand.after(600.0).rate_per_s < 0.01


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Interpreter]:
    """A service with room for six kernels, three of them spare ones at most."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("pool") / "data",
        warm_kernels=1,
        warm_kernels_max=3,
        max_kernels=6,
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
    )
    async with Interpreter.open(settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def pool(served: Interpreter) -> AsyncIterator[WarmPool]:
    """Its pool, with one spare that has been warmed up, and nobody else there."""
    pool = served._pool
    pool._demand = Demand()
    await until(lambda: bool(pool._spares) and pool._spares[0].warm and pool._filling is None)
    yield pool
    await asyncio.gather(*(session.close() for session in list(served._sessions.values())))


async def run_first(service: Interpreter, user_id: str, code: str = "1") -> str:
    """Run a newcomer's cell; returns the id of the kernel it ran on."""
    session = await service.session(user_id=user_id)
    result = await session.execute(code)
    assert result.status == "ok", result
    info = session.info()
    assert info is not None
    return info.kernel_id


def ids(pool: WarmPool) -> list[str]:
    return [spare.kernel.hosted.kernel_id for spare in pool._spares]


#: All that could show that a kernel ran something before its first cell.
LOOK = """
import gc, linecache, os, random, sys, tempfile
import matplotlib.pyplot as look_plt
ip = get_ipython()
{
    "count": ip.execution_count,
    "names": sorted(globals()), "hidden": sorted(ip.user_ns_hidden),
    "inputs": In[1:-1], "outputs": Out, "last": repr(_) + repr(__) + _i,
    "figures": look_plt.get_fignums(),
    "drawn": look_plt.figure().number,
    "files": [os.listdir(p) for p in (".", tempfile.gettempdir())],
    "home": sorted(os.listdir(os.path.expanduser("~"))),
    "lines": len([n for n in linecache.cache if "ipykernel" in n]),
    "open": sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0]
                   for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
    "frames": [o for o in gc.get_objects() if type(o) is pd.DataFrame],
    "result": ip.last_execution_result,
    "error": hasattr(sys, "last_value"),
}
"""


async def test_warmed_up_kernel_shows_no_trace_of_it(served: Interpreter, pool: WarmPool) -> None:
    spare = ids(pool)[0]
    served.set_limits("forked", SessionLimits(memory_bytes=500 * MIB))
    kernels, looks = [], []
    for user_id in ("warmed", "forked"):
        session = await served.session(user_id=user_id)
        looks.append(await session.execute(LOOK))
        info = session.info()
        assert info is not None
        kernels.append(info.kernel_id)
    assert kernels[0] == spare != kernels[1]
    assert looks[0].status == looks[1].status == "ok"
    assert looks[0].text == looks[1].text
    assert looks[0].count == 1


async def test_warming_up_leaves_random_numbers_and_names_alone(session: Session) -> None:
    await session.execute("import random\nrandom.seed(7); np.random.seed(7)\n6 * 7")
    kernel = session._life.kernel
    assert kernel is not None
    await kernel.warm_up(timeout_s=30)
    drawn = await session.execute("print(random.random(), np.random.random(), _, In[1:-1], Out)")
    assert drawn.text.startswith(f"{random.Random(7).random()} 0.07630828937395717 42 ['import")
    assert drawn.count == 2
    assert await session.variables() == ()


async def test_newcomer_gets_the_spare_and_another_takes_its_place(
    served: Interpreter, pool: WarmPool
) -> None:
    spare = ids(pool)[0]
    assert await run_first(served, "a") == spare
    await until(lambda: pool.ready == 1)
    assert ids(pool) != [spare]


async def test_dead_spare_is_replaced_and_its_slot_removed(
    served: Interpreter, pool: WarmPool
) -> None:
    kernel = pool._spares[0].kernel
    slot = served.settings.data_dir / "sessions" / kernel.hosted.slot
    assert slot.exists()
    os.kill(kernel.hosted.pid, 9)
    await kernel.exit
    assert not kernel.usable
    await until(lambda: pool.ready == 1 and not slot.exists())
    assert await run_first(served, "a") != kernel.hosted.kernel_id


async def test_broken_spare_is_given_to_nobody(served: Interpreter, pool: WarmPool) -> None:
    kernel = pool._spares[0].kernel
    kernel._client.connections["shell"].close()
    await until(lambda: not kernel.usable)
    assert await run_first(served, "a") != kernel.hosted.kernel_id
    await until(lambda: pool.ready == 1)


async def test_spare_gives_way_before_anybody_is_crowded_out(
    served: Interpreter, pool: WarmPool
) -> None:
    names = [f"own{number}" for number in range(6)]
    for name in names:  # spares are of no use to them
        served.set_limits(name, SessionLimits(memory_bytes=500 * MIB))
        await run_first(served, name)
        assert len(served.kernels()) + pool.size <= 6
    assert pool.size == 0
    assert [kernel.user_id for kernel in served.kernels()] == names


async def test_spares_end_with_their_service_and_kernels_do_not(tmp_path: Path) -> None:
    # So a changed environment of the kernels, which only a new service can have, finds none.
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=1, warm_kernels_max=1)
    async with Interpreter.open(settings, keep_kernels=True) as service:
        session = await service.session(user_id="1")
        await session.execute("x = 1")
        await until(lambda: service._pool.ready == 1)
        spare, own = service._pool._spares[0].kernel.hosted.pid, session.hosted
        assert own is not None
    assert not psutil.pid_exists(spare)
    assert psutil.pid_exists(own.pid)
    async with Interpreter.open(settings) as service:
        assert service.reattached == 1


async def test_newcomers_who_came_together_find_spares_the_next_time(
    served: Interpreter, pool: WarmPool
) -> None:
    users = [await served.session(user_id=f"u{number}") for number in range(4)]
    await asyncio.gather(*(session.execute("1") for session in users))
    await asyncio.gather(*(session.close() for session in users))
    await until(lambda: pool.ready == 3)  # not four: no more than may be
    spares = set(ids(pool))
    assert {await run_first(served, f"v{number}") for number in range(3)} >= spares


async def test_all_of_a_burst_are_served(served: Interpreter, pool: WarmPool) -> None:
    burst = [run_first(served, f"u{number}") for number in range(6)]
    assert len(set(await asyncio.gather(*burst))) == 6
    assert pool.wanted == 0  # there is no room left


async def test_pool_that_nobody_uses_shrinks_slowly(service: Interpreter) -> None:
    clock = Clock()
    pool = WarmPool(
        service._host,
        Intake(),
        floor=0,
        ceiling=3,
        memory_bytes=service.settings.kernel_memory_bytes,
        room=lambda: 10,
        clock=clock,
    )
    async with pool.filled():
        for _ in range(3):
            assert pool.claim() is None
        clock.now += 1.0  # the newcomers' first cells come first
        pool._changed.set()
        await until(lambda: pool.ready == 3 and pool._filling is None)
        clock.now += 3600.0
        pool._changed.set()
        await until(lambda: pool.size == 2)
        pool._changed.set()
        await asyncio.sleep(0)
        assert pool.size == 2  # one at a time
        clock.now += 15.0
        pool._changed.set()
        await until(lambda: pool.size == 1)


async def test_failures_make_it_wait_longer_and_longer(
    service: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, tried, intake, start = Clock(), [], Intake(), Kernel.start

    async def fail(host: Any, slot: Any, to: Intake, **more: Any) -> Kernel:
        if to is not intake:  # the service has spares of its own
            return await start(host, slot, to, **more)
        tried.append(clock.now)
        raise KernelStartFailed("it is said to")

    monkeypatch.setattr(Kernel, "start", fail)
    pool = WarmPool(
        service._host,
        intake,
        floor=1,
        ceiling=1,
        memory_bytes=1,
        room=lambda: 10,
        clock=clock,
    )
    async with pool.filled():
        pauses = []
        for count in range(1, 11):
            await until(lambda count=count: len(tried) == count and pool._filling is None)  # type: ignore[misc]
            pauses.append(pool._pause_s())
            clock.now += pauses[-1]
            pool._changed.set()
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == 60.0


async def test_spares_that_cannot_be_warmed_up_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=2, warm_kernels_max=2)
    warnings: list[dict[str, Any]] = []
    warm_up = Kernel.warm_up

    async def fail(kernel: Kernel, *, timeout_s: float) -> None:
        if not (settings.data_dir / "sessions" / kernel.hosted.slot).exists():  # another service's
            return await warm_up(kernel, timeout_s=timeout_s)
        raise HostError("it is said to")

    monkeypatch.setattr(Kernel, "warm_up", fail)
    monkeypatch.setattr(pool_module.log, "warning", lambda _, **told: warnings.append(told))
    async with Interpreter.open(settings) as own:
        pool = own._pool
        await until(lambda: len(pool._spares) == 2 and pool._filling is None)
        assert pool.ready == 0
        session = await own.session(user_id="1")
        assert (await session.execute("1 + 1")).text == "2"
    assert warnings == [{"reason": "it is said to"}]


async def test_spare_that_is_claimed_and_ended_while_it_warms_up_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=1, warm_kernels_max=1)
    warnings: list[dict[str, Any]] = []
    warm_up, claimed = Kernel.warm_up, asyncio.Event()
    opened: list[Interpreter] = []

    async def claim(kernel: Kernel, *, timeout_s: float) -> None:
        await until(lambda: bool(opened) or claimed.is_set())
        if claimed.is_set() or not (settings.data_dir / "sessions" / kernel.hosted.slot).exists():
            return await warm_up(kernel, timeout_s=timeout_s)
        assert opened[0]._pool.claim() is kernel
        claimed.set()
        raise KernelStartFailed("it ended before it answered")

    monkeypatch.setattr(Kernel, "warm_up", claim)
    monkeypatch.setattr(pool_module.log, "warning", lambda _, **told: warnings.append(told))
    async with Interpreter.open(settings) as own:
        opened.append(own)
        await claimed.wait()
        await until(lambda: own._pool.ready == 1)
    assert warnings == []
