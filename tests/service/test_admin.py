"""What admins see and do at the command line, on a service with real kernels."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient

from bot.people.audit import Audit, AuditEntry
from interpreter import (
    DatabaseUnavailable,
    Interpreter,
    NoCapacity,
    RecordStore,
    Session,
    Settings,
)
from interpreter.__main__ import main
from interpreter.admin import deeds as deeds_module
from interpreter.admin.attachments import Attachments, Patience
from interpreter.admin.client import AdminClient, NoService, Refused
from interpreter.admin.deeds import Deeds, NotDone
from interpreter.admin.protocol import MOST_REQUEST_BYTES, Request
from interpreter.admin.sockets import ADMIN_SOCKET, CONTROL, Peer, connect_in
from interpreter.hosts.base import HostedKernel
from tests.service.unrestored import leave_unrestored
from tests.service.waiting import until

BUSY = "import time\nfor i in range(600): time.sleep(0.1)"


async def ask(service: Interpreter, request: Request) -> dict[str, Any]:
    async with AdminClient.connect(service.settings.data_dir) as client:
        return await client.ask(request)


async def kernel_of(service: Interpreter, session: Session) -> dict[str, Any]:
    listed = await ask(service, Request("list"))
    [kernel] = [one for one in listed["kernels"] if one["user_id"] == session.user_id]
    return cast(dict[str, Any], kernel)


async def last_audit(service: Interpreter) -> AuditEntry:
    """The newest entry, as the bot shows it."""
    return (await Audit(service.records).list(limit=1))[0]


@asynccontextmanager
async def running(session: Session, code: str = BUSY) -> AsyncIterator["asyncio.Task[Any]"]:
    """A cell that runs while the context lasts."""
    inside = asyncio.Event()
    cell = asyncio.create_task(
        session.execute(f"print('in', flush=True)\n{code}", on_output=lambda _: inside.set())
    )
    await inside.wait()
    yield cell
    await session.interrupt()
    await asyncio.wait([cell])


# --- looking on -------------------------------------------------------------------------------


async def test_the_list_says_what_each_kernel_does(service: Interpreter, session: Session) -> None:
    await session.execute("x = 1")
    idle = await kernel_of(service, session)
    assert (idle["state"], idle["phase"], idle["cells"]) == ("idle", None, 1)
    assert idle["memory_bytes"] > 1 << 20
    async with running(session):
        busy = await kernel_of(service, session)
    assert (busy["state"], busy["phase"]) == ("busy", "running")
    assert busy["cell_running_s"] > 0


async def test_inspecting_shows_variables_without_their_contents(
    service: Interpreter, session: Session
) -> None:
    await session.execute("secret = 'do not tell'\nimport numpy as np\nmany = np.zeros(1000)")
    inspected = await ask(service, Request("inspect", session.user_id))
    assert "do not tell" not in json.dumps(inspected)
    variables = {one["name"]: one for one in inspected["variables"]}
    assert variables["secret"]["type"] == "str"
    assert variables["many"]["size_bytes"] >= 8000
    assert inspected["kernel"]["user_id"] == session.user_id
    assert inspected["packages"] == []
    entry = await last_audit(service)
    assert (entry.action, entry.target) == ("kernel inspect", session.user_id)
    assert entry.actor == Peer(os.getpid(), os.geteuid()).in_words()
    assert entry.detail == "command line"


# --- stopping what runs -----------------------------------------------------------------------


async def test_interrupting_ends_the_cell_and_keeps_the_variables(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 41")
    kernel_id = (await kernel_of(service, session))["kernel_id"]
    async with running(session) as cell:
        done = await ask(service, Request("interrupt", kernel_id[:8]))
        assert done == {"user_id": session.user_id, "was_running": True}
        assert (await cell).status == "interrupted"
    assert (await session.execute("x + 1")).text == "42"
    done = await ask(service, Request("interrupt", session.user_id))
    assert done["was_running"] is False
    assert (await last_audit(service)).action == "kernel interrupt"


async def test_shutting_down_an_idle_kernel_tells_its_user_and_keeps_the_files(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 1\nopen('mine.txt', 'w').write('mine')")
    done = await ask(service, Request("shutdown", session.user_id))
    assert done == {"user_ids": [session.user_id]}
    assert session.info() is None
    result = await session.execute("open('mine.txt').read()")
    assert "mine" in result.text
    assert result.message is not None and "stopped by an admin" in result.message


async def test_shutting_down_a_busy_kernel_ends_its_cell(
    service: Interpreter, session: Session
) -> None:
    async with running(session) as cell:
        done = await ask(service, Request("shutdown", session.user_id))
        assert done == {"user_ids": [session.user_id]}
        assert (await cell).status == "died"
    assert service.find_session(session.user_id) is None


async def test_all_idle_kernels_can_be_ended_at_once(
    service: Interpreter, session: Session
) -> None:
    idle = await service.session(user_id=f"{session.user_id}-idle")
    await idle.execute("1")
    async with running(session):
        done = await ask(service, Request("shutdown", all=True, idle_only=True))
        assert idle.user_id in done["user_ids"]
        assert session.user_id not in done["user_ids"]
        assert idle.info() is None and session.info() is not None
    entries = await Audit(service.records).list(limit=len(done["user_ids"]))
    assert {entry.target for entry in entries} >= {idle.user_id}
    assert {entry.action for entry in entries} == {"kernel shutdown"}
    assert entries[0].detail.startswith("command line; with all idle ones, ")
    await idle.close()


async def test_who_has_no_kernel_is_named_and_nothing_is_written(service: Interpreter) -> None:
    before = await last_audit(service)
    with pytest.raises(Refused, match="No live kernel belongs to 'nobody'"):
        await ask(service, Request("interrupt", "nobody"))
    assert await last_audit(service) == before


class RecordsAway:
    """A store whose database is away."""

    async def put(self, *args: object, **options: object) -> None:
        raise DatabaseUnavailable("mongodb://somewhere", "it does not answer")


@pytest.mark.parametrize("deed", ["inspect", "interrupt", "shutdown", "attach"])
async def test_what_cannot_be_written_into_the_audit_log_is_not_done(
    service: Interpreter, session: Session, deed: Any
) -> None:
    await session.execute("x = 1")
    attachments = Attachments(
        Path("never"), host=service._host, intake=service._intake, patience=Patience()
    )
    deeds = Deeds(
        records=cast(RecordStore, RecordsAway()),
        host=service._host,
        sessions=lambda: [session],
        spares=lambda: 0,
        metrics=service.metrics,
        attachments=attachments,
    )
    async with running(session) as cell:
        with pytest.raises(NotDone, match="Nothing was done, because it can't be written into"):
            await deeds.do(Request(deed, session.user_id), Peer(os.getpid(), os.geteuid()))
        assert not cell.done()
    assert (await session.execute("x")).text == "1"


# --- attaching --------------------------------------------------------------------------------


@asynccontextmanager
async def jupyter(connection_file: str) -> AsyncIterator[AsyncKernelClient]:
    """A stock Jupyter client, as `jupyter console --existing` has it."""
    client = AsyncKernelClient(connection_file=connection_file)
    client.load_connection_file()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=20)
        yield client
    finally:
        client.stop_channels()


async def run_attached(client: AsyncKernelClient, code: str) -> str:
    """What a cell of the admin's prints."""
    printed: list[str] = []

    def take(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = await client.execute_interactive(code, timeout=20, output_hook=take)
    assert reply["content"]["status"] == "ok"
    return "".join(printed)


async def test_an_admin_sees_and_changes_a_users_variables(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 41")
    done = await ask(service, Request("attach", session.user_id))
    assert (await last_audit(service)).action == "kernel attach"
    async with jupyter(done["connection_file"]) as client:
        assert await run_attached(client, "print(x + 1); x = 'changed'") == "42\n"
        assert "from a shell" in await run_attached(client, "!echo from a shell")
        result = await session.execute("x")  # the user's own cells go on working beside it
        assert result.text == "'changed'"
        assert await client.is_alive()


async def test_leaving_an_attached_kernel_does_not_end_it(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 1")
    done = await ask(service, Request("attach", session.user_id))
    async with jupyter(done["connection_file"]) as client:
        client.shutdown()  # as `exit` in a Jupyter console has it
        large = await run_attached(client, f"print(len({'a' * 500_000!r}))")
        assert large == "500000\n"
    assert (await session.execute("x")).text == "1"


@pytest.mark.parametrize("cell", ["exit", "quit()\n", "exit;", "exit(0)"])
async def test_leaving_an_attached_kernel_by_a_cell_does_not_end_it(
    service: Interpreter, session: Session, cell: str
) -> None:
    await session.execute("x = 1")
    done = await ask(service, Request("attach", session.user_id))
    async with jupyter(done["connection_file"]) as client:
        reply = await client.execute_interactive(cell, timeout=20)
        # What a console leaves on, and doesn't then ask the kernel to shut down.
        assert reply["content"]["payload"] == [{"source": "ask_exit", "keepkernel": True}]
        assert await run_attached(client, "print(x)") == "1\n"
    result = await session.execute("x")
    assert (result.text, result.state_lost) == ("1", False)


async def test_what_an_admin_did_in_a_kernel_outlives_it(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 'the user'")
    assert await session.save_state()
    done = await ask(service, Request("attach", session.user_id))
    async with jupyter(done["connection_file"]) as client:
        await run_attached(client, "x = 'the admin'")
        assert session.held and session.is_save_due(0.0)
        assert not await session.cull("It was idle."), "not beneath an admin"
        assert session.live
    await until(lambda: not session.held)
    assert session.is_save_due(0.0), "no cell of the user's has run, but x is another"
    assert await session.cull("It was idle.")
    assert (await session.execute("x")).text.startswith("'the admin'")


async def test_an_admin_finds_what_is_restored_and_no_restoring_undoes_what_they_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-attach-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0, orphan_s=30)
        await leave_unrestored(settings, monkeypatch)
        async with Interpreter.open(settings) as second:
            assert second.reattached == 1
            done = await ask(second, Request("attach", "anna"))
            async with jupyter(done["connection_file"]) as client:
                assert await run_attached(client, "print(x); x = 'changed'") == "41\n"
            session = await second.session(user_id="anna")
            result = await session.execute("print(x)")
            assert result.text.startswith("changed\n")
            assert result.message == "It was stopped. 1 variable was restored (x)."


async def test_who_attaches_while_variables_are_restored_is_told_to_come_again(
    service: Interpreter, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deeds_module, "_RESTORE_S", 0.2)
    load = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
    await session.execute(
        f"class Slow:\n    def __reduce__(self): return exec, ({load!r},)\nslow = Slow(); x = 1"
    )
    assert await session.cull("It was stopped.")
    asking = asyncio.create_task(session.execute("print(x)"))
    slot = service.settings.data_dir / "sessions" / str(session.slot)
    await until((slot / "packages" / ".snapshot").exists)
    with pytest.raises(Refused, match="are still being restored: try again in a moment"):
        await ask(service, Request("attach", session.user_id))
    (slot / "work" / "go").touch()
    assert (await asking).text.startswith("1\n")
    assert not session.held


async def test_a_kernel_that_an_admin_is_attached_to_is_not_crowded_out(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "d", max_kernels=1, warm_kernels=0, kernel_idle_s=0.2)
    async with Interpreter.open(settings) as small:
        session = await small.session(user_id="held")
        await session.execute("1")
        async with AdminClient.connect(settings.data_dir) as client:
            await client.ask(Request("attach", "held"))
        with pytest.raises(NoCapacity):
            await (await small.session(user_id="newcomer")).execute("1")
        await until(lambda: session.idle_s > settings.kernel_idle_s)
        await small._cull_if_idle(session)
        assert session.live
        assert b'cellmate_culls_total{reason="room"} 0.0' in small.metrics.text()


async def test_only_admins_can_reach_an_attached_kernel_and_nothing_of_it_stays(
    service: Interpreter, session: Session
) -> None:
    await session.execute("1")
    done = await ask(service, Request("attach", session.user_id))
    connection_file = Path(done["connection_file"])
    assert stat.S_IMODE(connection_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(connection_file.parent.stat().st_mode) == 0o700
    assert connection_file.parent.parent == service.settings.data_dir / CONTROL
    async with jupyter(done["connection_file"]):
        pass
    await until(lambda: not connection_file.parent.exists())


async def test_an_attachment_ends_with_its_kernel(service: Interpreter, session: Session) -> None:
    await session.execute("1")
    done = await ask(service, Request("attach", session.user_id))
    async with jupyter(done["connection_file"]):
        await session.restart()
        await until(lambda: not Path(done["connection_file"]).exists())


async def test_an_admins_own_cell_can_be_interrupted(
    service: Interpreter, session: Session
) -> None:
    await session.execute("1")
    done = await ask(service, Request("attach", session.user_id))
    async with jupyter(done["connection_file"]) as client:
        inside = asyncio.Event()

        def take(message: dict[str, Any]) -> None:
            if message["header"]["msg_type"] == "stream":
                inside.set()

        code = f"print('in', flush=True)\n{BUSY}"
        cell = asyncio.create_task(client.execute_interactive(code, timeout=30, output_hook=take))
        await inside.wait()
        await ask(service, Request("interrupt", session.user_id))
        assert (await cell)["content"]["ename"] == "KeyboardInterrupt"


@asynccontextmanager
async def attached(
    service: Interpreter, session: Session, directory: Path, patience: Patience
) -> AsyncIterator[Path]:
    """The connection file of an attachment apart from the service's own."""
    kernel = session.hosted
    assert isinstance(kernel, HostedKernel)
    async with Attachments.open(
        directory, host=service._host, intake=service._intake, patience=patience
    ) as attachments:
        yield attachments.add(kernel)


async def test_an_attachment_that_nobody_uses_ends(
    service: Interpreter, session: Session, tmp_path: Path
) -> None:
    await session.execute("1")
    async with attached(service, session, tmp_path, Patience(connect_s=0.1)) as unused:
        await until(lambda: not unused.exists())
    async with (
        attached(service, session, tmp_path, Patience(idle_s=0.5)) as silent,
        jupyter(str(silent)),
    ):
        await until(lambda: not silent.exists())


async def test_clients_find_an_attachment_however_long_its_path(
    service: Interpreter, session: Session, tmp_path: Path
) -> None:
    await session.execute("x = 5")
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    async with (
        attached(service, session, deep, Patience()) as connection_file,
        jupyter(str(connection_file)) as client,
    ):
        link = Path(json.loads(connection_file.read_text())["ip"]).parents[1]
        assert await run_attached(client, "print(x)") == "5\n"
        assert stat.S_IMODE(link.stat().st_mode) == 0o700
    assert not link.exists()


async def test_who_takes_nothing_of_an_attached_kernel_is_hung_up_on(
    service: Interpreter, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.admin.attachments._SEND_S", 0.2)
    await session.execute("1")
    async with attached(service, session, tmp_path, Patience(return_s=0.1)) as connection_file:
        hanging = socket.socket(socket.AF_UNIX)
        hanging.connect(str(connection_file.parent / "k-2"))
        hanging.sendall(GREETING + READY_SUB + SUBSCRIBE_ALL)
        await asyncio.sleep(0.2)
        result = await session.execute("for _ in range(500): display('x' * 20_000)")
        assert result.status == "ok"
        await until(lambda: not connection_file.exists())
        hanging.close()


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL".ljust(55, b"\0")
READY_SUB = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
SUBSCRIBE_ALL = b"\x00\x01\x01"


# --- the socket -------------------------------------------------------------------------------


async def talk(service: Interpreter, sent: bytes) -> bytes:
    """What the service answers, up to the next line or the end."""
    connected = connect_in(service.settings.data_dir / CONTROL, ADMIN_SOCKET)
    reader, writer = await asyncio.open_connection(sock=connected)
    writer.write(sent)
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"\xff\xfe\n", "A request is one line of JSON."),
        (b"[" * 5000 + b"\n", "A request is one line of JSON."),
        (b'{"do": "format"}\n', "A request says in `do` what to do"),
        (b'{"do": ["list"]}\n', "A request says in `do` what to do"),
        (b'{"do": "inspect"}\n', "Say which one"),
        (b'{"do": "shutdown", "idle_only": true}\n', "Say which one"),
        (b'{"do": "shutdown", "all": 1}\n', "`all` and `idle_only` are true or false."),
        (b'{"do": "attach", "target": 42}\n', "`target` is a text"),
        (b" " * MOST_REQUEST_BYTES * 2 + b"\n", "The request is too long."),
    ],
)
async def test_nonsense_is_answered_with_a_sentence(
    service: Interpreter, sent: bytes, sentence: str
) -> None:
    answer = json.loads(await talk(service, sent))
    assert sentence in answer["error"]


async def test_clients_that_hang_hold_nobody_up(service: Interpreter, session: Session) -> None:
    control = service.settings.data_dir / CONTROL
    hanging = [connect_in(control, ADMIN_SOCKET) for _ in range(10)]
    for connected in hanging:
        connected.send(b'{"do": "li')
    assert "kernels" in await ask(service, Request("list"))
    assert (await session.execute("1 + 1")).text == "2"
    more = [connect_in(control, ADMIN_SOCKET) for _ in range(6)]
    await asyncio.sleep(0.05)
    with pytest.raises((Refused, NoService)):
        await ask(service, Request("list"))
    for connected in hanging + more:
        connected.close()

    async def served() -> bool:
        try:
            return bool(await ask(service, Request("list")))
        except (Refused, NoService):
            return False

    while not await served():  # noqa: ASYNC110 -- nobody sets an event for it
        await asyncio.sleep(0.02)


async def test_the_socket_is_for_admins_alone(service: Interpreter) -> None:
    control = service.settings.data_dir / CONTROL
    assert stat.S_IMODE(control.stat().st_mode) == 0o700
    assert stat.S_IMODE((control / ADMIN_SOCKET).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_another_account_is_refused_even_if_it_gets_at_the_socket(
    service: Interpreter,
) -> None:
    control = service.settings.data_dir / CONTROL
    ours, theirs = connect_in(control, ADMIN_SOCKET), None
    ours.close()
    # It connects by a descriptor of the directory's, and the socket is open to all for a moment.
    directory = os.open(control, os.O_PATH)
    os.chmod(control / ADMIN_SOCKET, 0o666)
    try:
        code = (
            "import os, socket, sys; os.setresuid(65534, 65534, 65534);"
            "s = socket.socket(socket.AF_UNIX);"
            f"s.connect('/proc/self/fd/{directory}/{ADMIN_SOCKET}');"
            's.send(b\'{"do": "list"}\\n\'); sys.stdout.buffer.write(s.recv(9999))'
        )
        os.chmod(control, 0o711)
        theirs = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code],
            pass_fds=(directory,),
            capture_output=True,
            check=True,
        )
    finally:
        os.chmod(control, 0o700)
        os.chmod(control / ADMIN_SOCKET, 0o600)
        os.close(directory)
    assert "Only root" in json.loads(theirs.stdout)["error"]


# --- the command line -------------------------------------------------------------------------


@pytest.fixture
def command(
    service: Interpreter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs ``python -m interpreter ...`` beside the service: gives status, output and errors."""
    monkeypatch.setenv("DATA_DIR", str(service.settings.data_dir))

    async def run(*words: str) -> tuple[int, str, str]:
        status = await asyncio.to_thread(main, list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


async def test_commands_read_well(service: Interpreter, session: Session, command: Any) -> None:
    await session.execute("x = 1")
    kernel = await kernel_of(service, session)
    status, out, _ = await command("kernels", "list")
    assert status == 0
    heading, *lines = out.splitlines()
    assert heading.split()[:3] == ["USER", "KERNEL", "STATE"]
    [line] = [line for line in lines if line.startswith(f"{session.user_id} ")]
    assert line.split()[:3] == [session.user_id, kernel["kernel_id"], "idle"]
    status, out, _ = await command("kernels", "list", "--json")
    assert session.user_id in {one["user_id"] for one in json.loads(out)["kernels"]}
    status, out, _ = await command("kernels", "inspect", session.user_id)
    assert status == 0 and "VARIABLE" in out and "int" in out
    status, out, _ = await command("kernels", "interrupt", session.user_id)
    assert (status, out) == (0, f"The kernel of user {session.user_id} wasn't running a cell.\n")
    status, out, _ = await command("kernels", "attach", session.user_id)
    assert status == 0 and "jupyter console --existing /" in out
    status, out, _ = await command("kernels", "shutdown", session.user_id)
    assert (status, out) == (
        0,
        f"The kernel of user {session.user_id} has ended; the files stay.\n",
    )
    status, out, err = await command("kernels", "shutdown", session.user_id)
    assert (status, out) == (1, "")
    assert err.startswith(f"No live kernel belongs to '{session.user_id}'")
