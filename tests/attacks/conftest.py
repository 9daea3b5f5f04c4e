"""An arena for each backend: a service, an attacker, and a bystander who must not notice.

Every attack goes through the public interface, to a real kernel, while another user works. The
arena sees to it that the bystander's kernel is the same one afterwards, with its variables, that
the service has not grown, and that the attacker's own session is usable again.
"""

import asyncio
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter import (
    Execution,
    Interpreter,
    KernelEnvironmentFailed,
    SandboxUnavailable,
    Session,
    Settings,
)

_numbers = itertools.count(1)
#: What the service's own memory may grow by during one attack. Attacks ask for far more.
_SERVICE_GROWTH_BYTES = 192 << 20
MEMORY_BYTES = 384 << 20
DISK_BYTES = 64 << 20
FILES = 600
#: Between the bystander's cells.
_PAUSE_S = 0.02
#: Planted in the service's environment and in a .env beside it; must appear nowhere in a kernel.
SECRET_NAME, SECRET = "DISCORD_TOKEN_FOR_ATTACKS", "planted-secret-7d41b0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test here on the loop that the services live on."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass(slots=True)
class Arena:
    """A service on one backend, with an honest user.

    Attributes:
        backend: ``namespaces`` or ``landlock``.
        service: the service under attack.
        bystander: the session of an honest user, whose variable ``count`` goes on counting.
        data_dir: the service's data directory on the host.
    """

    backend: str
    service: Interpreter
    bystander: Session
    data_dir: Path
    counted: int = 0

    @property
    def own_users(self) -> bool:
        """Whether each kernel has a user id that the service hasn't: only root can do that."""
        return os.geteuid() == 0

    @property
    def control_groups(self) -> bool:
        """Whether control groups bound the kernels' memory and processors; else it is watched."""
        groups = Path(f"/proc/{self.pid_of(self.bystander)}/cgroup").read_text()
        return "/cellmate-" in groups

    @property
    def bounds_processes(self) -> bool:
        """Whether the system refuses a kernel's processes beyond its limit; else it is watched."""
        return self.backend == "namespaces" or self.own_users or self.control_groups

    @property
    def shared_memory(self) -> bool:
        """Whether kernels have a place for shared memory: one that no other kernel can reach."""
        return self.backend == "namespaces" or self.own_users

    async def attack(self, session: Session, code: str, **options: Any) -> Execution:
        """Run a hostile cell; the bystander, the service and the next cell must be well.

        Args:
            session: the attacker's.
            code: the attack.
            options: of ``Session.execute``.
        """
        async with self.undisturbed():
            result = await session.execute(code, **options)
        after = await session.execute("1 + 1")
        assert (after.status, after.text.splitlines()[0]) == ("ok", "2"), after.text
        return result

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Within this context an honest user works on, and at its end has lost nothing."""
        pid = self.pid_of(self.bystander)
        before = service_memory_bytes()
        over = asyncio.Event()

        async def work() -> None:
            while True:
                self.counted += 1
                result = await self.bystander.execute("count += 1\nprint(count)", timeout_s=60)
                assert (result.status, result.text) == ("ok", f"{self.counted}\n"), result.text
                if over.is_set():
                    return
                await asyncio.sleep(_PAUSE_S)  # as people do; the attack has the processor

        working = asyncio.create_task(work())
        try:
            yield
        finally:
            over.set()
            await working
        assert self.pid_of(self.bystander) == pid
        growth = service_memory_bytes() - before
        assert growth < _SERVICE_GROWTH_BYTES, f"the service grew by {growth >> 20} MiB"

    def pid_of(self, session: Session) -> int:
        """The process id of a session's live kernel, as the host counts."""
        (pid,) = [k.pid for k in self.service.kernels() if k.user_id == session.user_id]
        return pid

    @asynccontextmanager
    async def user(self) -> AsyncIterator[Session]:
        """A further user's session, closed at the end."""
        session = await self.service.session(user_id=f"user{next(_numbers)}")
        try:
            yield session
        finally:
            await session.close()


def service_memory_bytes() -> int:
    """What this process, which the service runs in, holds of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processes_with(marker: str) -> list[int]:
    """Processes of this machine, other than this one, with ``marker`` in their command line."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
        except OSError:  # gone meanwhile
            continue
        if marker.encode() in command and int(directory.name) != os.getpid():
            found.append(int(directory.name))
    return found


@pytest.fixture(scope="session")
def planted_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A secret in the service's environment and in a .env file, as an operator's token would be."""
    os.environ[SECRET_NAME] = SECRET
    env_file = tmp_path_factory.mktemp("operator") / ".env"
    env_file.write_text(f"{SECRET_NAME}={SECRET}\n")
    yield SECRET
    del os.environ[SECRET_NAME]


def _where_others_can_read() -> dict[str, Any]:
    """A Python and a place for environments that a user without rights can read.

    Without namespaces nothing can be shown to kernels that their own user can't reach.
    """
    base = Path(sys.base_prefix)
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (base, *base.parents)):
        return {}
    return {
        "kernel_python": Path("/usr/bin/python3"),
        "kernel_env_dir": Path("/var/cache/cellmate/kernel-envs"),
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["namespaces", "landlock"])
async def arena(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    planted_secret: str,
) -> AsyncIterator[Arena]:
    """The arena of one backend, with limits small enough to be hit in a test."""
    # Not below pytest's own directory: the next run takes others' right to pass through it.
    directory = Path(tempfile.mkdtemp(prefix="cellmate-arena-"))
    directory.chmod(0o711)  # kernels without a file system of their own have to pass through
    data_dir = directory / "data"
    settings = Settings(
        data_dir=data_dir,
        **(_where_others_can_read() if request.param == "landlock" else {}),
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        sandbox=request.param,
        interrupt_grace_s=1.0,
        cell_timeout_s=60.0,
        kernel_memory_bytes=MEMORY_BYTES,
        kernel_processes=64,
        kernel_tmp_bytes=64 << 20,
        working_directory_bytes=DISK_BYTES,
        working_directory_files=FILES,
        max_file_bytes=4 << 20,
        max_artifacts=5,
        max_artifacts_bytes=8 << 20,
        max_output_chars=20_000,
        max_kernels=40,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("interpreter.kernel._EXIT_AFTER_BREAK_S", 2.0)  # many attacks wait it out
            async with Interpreter.open(settings) as service:
                bystander = await service.session(user_id=f"bystander{next(_numbers)}")
                first = await bystander.execute("count = 0; kept = 'mine'")
                assert first.status == "ok", first.text
                yield Arena(request.param, service, bystander, data_dir)
    except (SandboxUnavailable, KernelEnvironmentFailed) as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def attacker(arena: Arena) -> AsyncIterator[Session]:
    """A fresh user who attacks."""
    async with arena.user() as session:
        yield session
