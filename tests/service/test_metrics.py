"""What is counted and measured while cells run."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from interpreter import Interpreter, Session
from interpreter.hosts.local import LocalKernelHost
from interpreter.metrics import Metrics, Standing


class Read:
    """The metrics at a moment."""

    def __init__(self, metrics: Metrics) -> None:
        families = text_string_to_metric_families(metrics.text().decode())
        self._values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    def __call__(self, name: str, *labels: str) -> float:
        return self._values[name, *labels]


async def test_cells_and_their_phases_are_counted(service: Interpreter, session: Session) -> None:
    before = Read(service.metrics)
    code = "open('made.txt', 'w').write('x' * 1000)\nimport time; time.sleep(0.2)"
    await session.execute(code)
    await session.execute("1 / 0")
    after = Read(service.metrics)

    def more(name: str, *labels: str) -> float:
        return after(name, *labels) - before(name, *labels)

    assert more("cellmate_cells_total", "ok") == 1
    assert more("cellmate_cells_total", "error") == 1
    for phase in ("queue", "run", "collect"):
        assert more("cellmate_cell_phase_seconds_count", phase) == 2
    assert more("cellmate_cell_phase_seconds_sum", "run") >= 0.2
    assert more("cellmate_cell_phase_seconds_count", "install") == 0
    assert more("cellmate_files_total") == 1
    assert more("cellmate_file_bytes_total") == 1000


async def test_a_cell_that_is_refused_counts_as_such(
    service: Interpreter, session: Session
) -> None:
    before = Read(service.metrics)
    await session.execute("input()")
    after = Read(service.metrics)
    refused = "cellmate_cells_total", "refused"
    assert after(*refused) == before(*refused) + 1
    ran = "cellmate_cell_phase_seconds_count", "run"
    assert after(*ran) == before(*ran)


async def test_kernels_are_counted_by_state(service: Interpreter, session: Session) -> None:
    before = Read(service.metrics)
    inside: list[Read] = []
    await session.execute("print('now')", on_output=lambda _: inside.append(Read(service.metrics)))
    after = Read(service.metrics)
    assert inside[0]("cellmate_kernels", "busy") == before("cellmate_kernels", "busy") + 1
    assert after("cellmate_kernels", "idle") == before("cellmate_kernels", "idle") + 1
    assert after("cellmate_kernels_memory_bytes") > before("cellmate_kernels_memory_bytes")


async def test_who_only_counts_has_no_kernel_measured_again(
    service: Interpreter, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalKernelHost, "measures_cheaply", False)  # as without control groups
    await session.execute("1")
    [before] = [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]
    looked: list[str] = []
    monkeypatch.setattr(LocalKernelHost, "resources", lambda _, kernel_id: looked.append(kernel_id))
    assert before.memory_bytes is not None
    assert Read(service.metrics)("cellmate_kernels_memory_bytes") >= before.memory_bytes
    [after] = [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]
    assert (after.memory_bytes, after.cpu_s) == (before.memory_bytes, before.cpu_s)
    assert service.kernel_count >= 1
    assert before.kernel_id not in looked


async def test_a_kernels_start_is_measured_once(service: Interpreter, session: Session) -> None:
    def starts(read: Read) -> float:
        hows = ("claimed", "forked", "restored")
        return sum(read("cellmate_kernel_start_seconds_count", how) for how in hows)

    before = Read(service.metrics)
    await session.execute("1")
    await session.execute("2")
    assert starts(Read(service.metrics)) == starts(before) + 1


async def test_a_session_that_is_saved_and_restored_is_counted(
    service: Interpreter, session: Session
) -> None:
    await session.execute("kept = 1")
    before = Read(service.metrics)
    await session.cull("It was idle.")
    await session.execute("kept")
    after = Read(service.metrics)
    for series in (
        ("cellmate_snapshots_total", "saved"),
        ("cellmate_snapshot_bytes_count",),
        ("cellmate_restores_total", "complete"),
        ("cellmate_kernel_start_seconds_count", "restored"),
    ):
        assert after(*series) == before(*series) + 1, series


async def test_a_kernel_stopped_for_others_counts_as_culled() -> None:
    metrics = Metrics()
    metrics.culled("room")
    assert Read(metrics)("cellmate_culls_total", "room") == 1
    assert Read(metrics)("cellmate_culls_total", "idle") == 0


async def test_how_the_service_stands_is_asked_when_it_is_read() -> None:
    metrics, pool = Metrics(), [3]
    metrics.watch(lambda: Standing(kernels={"spare": pool[0]}, pool_target=4))
    assert Read(metrics)("cellmate_pool_kernels") == 3
    pool[0] = 2
    assert Read(metrics)("cellmate_pool_kernels") == 2
    assert Read(metrics)("cellmate_pool_target") == 4


@pytest.mark.parametrize(
    ("size_bytes", "result"), [(5_000, "saved"), (None, "failed")], ids=["saved", "failed"]
)
async def test_snapshots_are_counted_with_their_size(size_bytes: int | None, result: str) -> None:
    metrics = Metrics()
    metrics.saved(size_bytes)
    read = Read(metrics)
    assert read("cellmate_snapshots_total", result) == 1
    assert read("cellmate_snapshot_bytes_sum") == (size_bytes or 0)


async def test_users_are_not_named(service: Interpreter, session: Session) -> None:
    await session.execute("1")
    assert session.user_id not in service.metrics.text().decode()
