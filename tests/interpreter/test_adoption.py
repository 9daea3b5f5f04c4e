"""Kernels that outlive the process that started them: adopted, ended, forgotten."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from interpreter.errors import SandboxUnavailable
from interpreter.hosts.backends import Confinement
from interpreter.hosts.base import HostedKernel, KernelExit
from interpreter.hosts.cgroup import open_control_groups
from interpreter.hosts.leftovers import end_leftovers
from interpreter.hosts.local import LocalKernelHost
from interpreter.kernel_client import connection_info
from interpreter.limits import Limits
from tests.interpreter.outliving_host import open_host
from tests.service.waiting import until

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class _Left:
    """What a killed service has left.

    Attributes:
        infos: of its kernels.
        spare_slot: a slot without a kernel.
    """

    infos: list[dict[str, Any]]
    spare_slot: str


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that kernels can pass through, with too long a path for a socket."""
    # Not pytest's own: runs of others close the directory above it to everybody else.
    with tempfile.TemporaryDirectory(prefix="adoption-") as temporary:
        os.chmod(temporary, 0o711)
        directory = Path(temporary) / ("long" * 20)
        directory.mkdir(mode=0o711)
        yield directory


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _killed(data_dir: Path, *, kernels: int, **options: Any) -> _Left:
    """Have another process start kernels, and kill it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.interpreter.outliving_host", str(data_dir)),
        json.dumps({"kernels": kernels, **options}),
        stdout=asyncio.subprocess.PIPE,
        cwd=_REPOSITORY,
    )
    assert process.stdout is not None
    said = await process.stdout.readline()
    process.kill()
    await process.communicate()
    return _Left(**json.loads(said))


async def _evaluate(kernel: HostedKernel, expression: str) -> str:
    """What an expression is in a kernel."""
    client = AsyncKernelClient()
    client.load_connection_info(connection_info(kernel))
    client.start_channels(hb=False, stdin=False)
    try:
        reply = await client.execute(
            "", user_expressions={"it": expression}, reply=True, timeout=30, silent=True
        )
        return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])
    finally:
        client.stop_channels()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wakes(pid: int) -> int:
    """How often a process has gone to sleep so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def _servers(data_dir: Path) -> list[int]:
    """The processes that fork servers of a data directory were started as."""
    records = (data_dir / "control").glob("server-*.json")
    return [json.loads(record.read_text())["pid"] for record in records]


def _left_of(data_dir: Path) -> list[str]:
    """What there is in the directories of sockets and slots."""
    return [name for where in ("control", "sessions") for name in os.listdir(data_dir / where)]


def _links(data_dir: Path) -> list[Path]:
    """Short links that lead to its slots."""
    links = list(Path("/tmp").glob("cellmate-*/s"))
    return [link for link in links if os.readlink(link) == str(data_dir / "sessions")]


def _groups_of(pid: int) -> list[str]:
    """The control groups of a process that are ours, without its own one."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return [line.partition("/kernel-")[0] for line in lines if "/cellmate-" in line]


@pytest.mark.parametrize("sandbox", ["namespaces", "landlock", "none"])
async def test_kernels_of_a_killed_service_are_adopted_and_all_others_end(
    data_dir: Path, sandbox: str
) -> None:
    try:
        left = await _killed(data_dir, kernels=3, orphan_s=60.0, sandbox=sandbox)
    except json.JSONDecodeError:
        with pytest.raises(SandboxUnavailable):
            async with open_host(data_dir, sandbox=sandbox):
                pass
        pytest.skip(f"this machine doesn't run {sandbox}")
    alive, dead, stray = left.infos
    servers = _servers(data_dir)
    os.kill(dead["kernel_pid"], 11)
    await until(lambda: not _lives(dead["kernel_pid"]))
    async with open_host(data_dir, sandbox=sandbox, orphan_s=60.0, reattach=True) as host:
        adopted, ended = await asyncio.gather(host.adopt(alive), host.adopt(dead))
        assert adopted is not None and ended is not None
        assert (adopted.pid, adopted.slot) == (alive["kernel_pid"], alive["slot"])
        assert await _evaluate(adopted, "__import__('os').getpid() > 0") == "True"
        assert await host.wait(ended.kernel_id) == KernelExit("signal", signal=11)
        assert not await host.signal(ended.kernel_id, 2)
        assert await host.adopt(alive) is None, "one kernel was adopted twice"

        await host.settle([left.spare_slot])
        assert await host.adopt(stray) is None
        assert not _lives(stray["kernel_pid"]) and not _lives(stray["init_pid"])
        slots = {alive["slot"], left.spare_slot}
        assert set(os.listdir(data_dir / "sessions")) == slots

        further = await host.start(None)
        assert _servers(data_dir) == servers, "the fork server that was there is not used again"
        assert _groups_of(further.pid) == _groups_of(adopted.pid)
        if os.geteuid() == 0:
            owners = {os.stat(data_dir / "sessions" / slot / "work").st_uid for slot in slots}
            assert os.stat(data_dir / "sessions" / further.slot / "work").st_uid not in owners
    pids = [info[name] for info in left.infos for name in ("init_pid", "kernel_pid")]
    assert not [pid for pid in (*pids, *servers, further.pid) if _lives(pid)]
    assert _left_of(data_dir) == []
    assert _links(data_dir) == []


async def test_nothing_but_the_same_kernel_is_adopted(data_dir: Path) -> None:
    left = await _killed(data_dir, kernels=2, orphan_s=60.0)
    mine, other = left.infos
    async with open_host(data_dir, orphan_s=60.0, reattach=True) as host:
        for wrong in _wrong_infos(mine, other):
            assert await host.adopt(wrong) is None, wrong
        adopted = await host.adopt(mine)
        assert adopted is not None
        assert await _evaluate(adopted, "1 + 1") == "2"
        # With a pid that another process has by now, the kernel is taken to have ended.
        reused = await host.adopt({**other, "kernel_started": other["kernel_started"] + 1})
        assert reused is not None
        assert not await host.signal(reused.kernel_id, 9)
    assert not _lives(mine["kernel_pid"]) and not _lives(other["kernel_pid"])


def _wrong_infos(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Infos that are stale, mixed up or nonsense."""
    changes: list[dict[str, Any]] = [
        {"boot": "00000000-0000-0000-0000-000000000000"},
        {"init_started": mine["init_started"] + 1},
        {"init_pid": other["init_pid"], "init_started": other["init_started"]},
        {"init_pid": os.getpid()},
        {"init_pid": 1 << 40},
        {"init_pid": -1},
        {"init_pid": True},
        {"init_pid": str(mine["init_pid"])},
        {"kernel_id": "0" * 16},
        {"kernel_id": other["kernel_id"]},
        {"kernel_id": "../sessions/x"},
        {"slot": "f" * 16},
        {"slot": "../control"},
        {"key": ""},
        {"key": None},
        {"backend": "none"},
        {"started_at": "yesterday"},
        {"limits": []},
        {"limits": {"memory_bytes": "much"}},
    ]
    left_out = [{name: mine[name] for name in mine if name != gone} for gone in mine]
    return [{}, *left_out, *({**mine, **change} for change in changes)]


async def test_kernels_that_nobody_adopts_end_by_themselves_with_their_fork_server(
    data_dir: Path,
) -> None:
    left = await _killed(data_dir, kernels=2, orphan_s=0.3)
    pids = [info[name] for info in left.infos for name in ("init_pid", "kernel_pid")]
    pids += _servers(data_dir)
    await until(lambda: not any(map(_lives, pids)))
    async with open_host(data_dir, reattach=True) as host:
        assert [await host.adopt(info) for info in left.infos] == [None, None]
        await host.settle([])
        assert os.listdir(data_dir / "sessions") == []
    assert _left_of(data_dir) == []


async def test_all_that_a_killed_service_left_can_be_ended_without_a_host(data_dir: Path) -> None:
    left = await _killed(data_dir, kernels=1, orphan_s=60.0)
    (info,) = left.infos
    pids = [info["init_pid"], info["kernel_pid"], *_servers(data_dir)]
    groups = _groups_of(info["kernel_pid"])
    await end_leftovers(data_dir)
    assert not any(map(_lives, pids))
    assert _left_of(data_dir) == [] and _links(data_dir) == []
    named = {group.rpartition("/")[2] for group in groups}
    assert not [path for path in Path("/sys/fs/cgroup").rglob("cellmate-*") if path.name in named]


async def test_detached_kernels_live_on_and_their_new_host_goes_on_with_them(
    data_dir: Path,
) -> None:
    async with open_host(data_dir, orphan_s=60.0) as first:
        kernel = await first.start(None)
        info = first.provisioner_info(kernel.kernel_id)
        assert info is not None
        first.detach()
    assert _lives(kernel.pid)
    async with open_host(data_dir, orphan_s=60.0, reattach=True) as second:
        adopted = await second.adopt(json.loads(json.dumps(info)))
        assert adopted is not None
        assert (adopted.pid, adopted.started_at) == (kernel.pid, kernel.started_at)
        assert await _evaluate(adopted, "1 + 1") == "2"
        await second.settle([])
        await second.kill(kernel.kernel_id)
        assert not _lives(kernel.pid)
        assert second.provisioner_info(kernel.kernel_id) is None
        await second.close_slot(kernel.slot)
        # Started in a kept slot, by a fork server of an earlier service.
        slot = await second.open_slot()
        assert (await second.start(slot, background=True)).slot == slot
    assert _left_of(data_dir) == []


async def test_an_earlier_fork_server_of_another_kind_goes_with_its_last_kernel(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await _killed(data_dir, kernels=1, orphan_s=60.0)
    (earlier,) = _servers(data_dir)
    monkeypatch.setattr(Confinement, "identity", lambda _: "another")
    async with open_host(data_dir, orphan_s=60.0, reattach=True) as host:
        adopted = await host.adopt(left.infos[0])
        assert adopted is not None
        await host.settle([])
        further = await host.start(None)
        assert _lives(earlier) and len(_servers(data_dir)) == 2
        await host.kill(adopted.kernel_id)
        await until(lambda: not _lives(earlier))
        assert _lives(further.pid)
    assert _left_of(data_dir) == []


# --- one host that lives on ---------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKernelHost]:
    """A host that the tests below share."""
    async with open_host(tmp_path_factory.mktemp("host"), orphan_s=60.0) as opened:
        yield opened


def _control_of(host: LocalKernelHost) -> Path:
    return Path(str(host._control.path))


async def test_a_burst_is_served_in_turn_a_few_at_a_time(host: LocalKernelHost) -> None:
    begun: list[str] = []
    ready = 0

    async def start() -> str:
        nonlocal ready
        kernel = await host.start(None)
        ready += 1
        return kernel.kernel_id

    starting = [asyncio.create_task(start()) for _ in range(10)]
    while not all(task.done() for task in starting):
        listening = [name for name in os.listdir(_control_of(host)) if len(name) == 16]
        begun += [name for name in listening if name not in begun]
        assert len(begun) - ready <= 4
        await asyncio.sleep(0.001)
    kernels = await asyncio.gather(*starting)
    for kernel_id in kernels:
        await host.kill(kernel_id)
    # Of four that are started together, any may be the first to listen.
    assert all(begun.index(kernel) >= number - 3 for number, kernel in enumerate(kernels))


_SOCKETS = """
(lambda os, socket: [
    str(socket.socket(fileno=os.dup(int(name))).getsockname())
    for name in os.listdir("/proc/self/fd")
    if os.path.exists("/proc/self/fd/" + name)
    and os.readlink("/proc/self/fd/" + name).startswith("socket:")
])(__import__("os"), __import__("socket"))
"""


async def test_kernels_have_no_way_to_the_control_sockets(host: LocalKernelHost) -> None:
    kernel = await host.start(None)
    found = await _evaluate(kernel, _SOCKETS.strip())
    assert "/run/kernel/s-1" in found and kernel.kernel_id not in found, found
    path = str(_control_of(host))
    assert await _evaluate(kernel, f"__import__('os').path.exists({path!r})") == "False"


async def test_kernels_live_on_without_their_fork_server(host: LocalKernelHost) -> None:
    kernel = await host.start(None)
    sandbox = host.fork_server_pid
    assert sandbox is not None
    os.kill(_children(sandbox)[0], 9)  # the others are kernels' inits
    further = await host.start(None)
    assert host.fork_server_pid not in (None, sandbox)
    assert await _evaluate(kernel, "1 + 1") == await _evaluate(further, "1 + 1") == "2"


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


# --- control groups -----------------------------------------------------------------------------

_OPEN_GROUPS = """
import sys
from pathlib import Path
from interpreter.hosts.cgroup import open_control_groups
assert open_control_groups(Path(sys.argv[1]))
"""


async def test_groups_of_a_dead_service_that_are_used_again_are_not_taken_for_left_over(
    tmp_path: Path,
) -> None:
    memory = tmp_path / "groups.json"
    arguments = ("-c", _OPEN_GROUPS, str(memory))
    earlier = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=_REPOSITORY, stderr=asyncio.subprocess.DEVNULL
    )
    if await earlier.wait():
        pytest.skip("this account may make no control groups")
    groups = open_control_groups(memory, again=True)
    assert groups is not None
    directories = set(groups.directories().values())
    try:
        assert all(f"cellmate-{earlier.pid}-" in path.name for path in directories)
        another = open_control_groups()  # clears away what dead services have left
        assert another is not None
        another.close()
        group = groups.create("one", Limits())
        assert group.memory_bytes() == 0
        await until(group.remove)
    finally:
        groups.close()
    assert not any(path.exists() for path in directories)


async def test_init_looks_at_the_disk_only_while_no_service_is_there(data_dir: Path) -> None:
    left = await _killed(data_dir, kernels=1, orphan_s=60.0)
    init = left.infos[0]["init_pid"]
    before = _wakes(init)
    await until(lambda: _wakes(init) > before + 2)
    async with open_host(data_dir, orphan_s=60.0, reattach=True) as host:
        assert await host.adopt(left.infos[0]) is not None
        await until(lambda: Path(f"/proc/{init}/stat").read_text().split()[2] == "S")
        before = _wakes(init)
        await asyncio.sleep(2.5)
        assert _wakes(init) == before, "a kernel that is idle uses no processor"
