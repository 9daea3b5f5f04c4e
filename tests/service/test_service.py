"""The service around the sessions: what operators and front ends ask of it."""

import asyncio
import json
import os
from pathlib import Path

import nbformat
import pytest

from interpreter import (
    DataDirectoryInUse,
    DataDirectoryUnusable,
    Interpreter,
    InvalidName,
    Session,
    Settings,
)
from interpreter.data_directory import prepare_data_directory
from interpreter.outputs import Stream
from tests.service.waiting import until


async def test_twenty_kernels_run_a_cell_at_the_same_time(service: Interpreter) -> None:
    sessions = [await service.session(user_id=f"crowd{number}") for number in range(20)]
    meet = "import time, pandas as pd\ntime.sleep(1)\npd.DataFrame({'a': [N]}).a.sum()"
    results = await asyncio.gather(
        *(s.execute(meet.replace("N", str(n))) for n, s in enumerate(sessions))
    )
    assert [result.status for result in results] == ["ok"] * 20
    assert [int(result.text.split("(")[-1].rstrip(")")) for result in results] == list(range(20))
    assert len([k for k in service.kernels() if k.user_id.startswith("crowd")]) == 20
    await asyncio.gather(*(session.close() for session in sessions))


async def test_users_do_not_wait_for_each_other(service: Interpreter, session: Session) -> None:
    other = await service.session(user_id=f"{session.user_id}-quick")
    slow = asyncio.create_task(session.execute("import time; time.sleep(30)", timeout_s=60))
    results = [await other.execute(str(number)) for number in range(3)]
    assert [result.text for result in results] == ["0", "1", "2"]
    assert not slow.done()
    assert await session.interrupt()
    assert (await slow).status == "interrupted"
    await other.close()


async def test_event_loop_stays_responsive_under_a_flood(session: Session) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    counting = asyncio.create_task(count())
    result = await session.execute(
        "import time\nend = time.time() + 2\nwhile time.time() < end:\n    print('x' * 1000)"
    )
    counting.cancel()
    assert result.status == "ok"
    assert turns > 20  # of at most 200: one in ten is enough to say that nothing stalled


async def test_small_message_that_would_be_huge_in_memory_is_left_out(session: Session) -> None:
    result = await session.execute(
        "kernel = get_ipython().kernel\n"
        "kernel.session.pack = lambda o: o if isinstance(o, bytes) else "
        "__import__('json').dumps(o, default=str).encode()\n"
        "bomb = b'{\"data\":{\"application/json\":[' + b'[],' * 5_000_000\n"
        "bomb += b'0]},\"metadata\":{}}'\n"
        "kernel.session.send(kernel.iopub_socket, 'display_data', bomb, "
        "parent=kernel.get_parent())\n"
        "'sent'"
    )
    assert result.text.startswith("'sent'")
    assert result.message is not None
    assert (await session.execute("1")).text == "1"


async def test_kernels_are_listed_while_they_live(service: Interpreter, session: Session) -> None:
    def mine() -> list[object]:
        return [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]

    assert mine() == []
    await session.execute("x = 1")
    (info,) = [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]
    assert (info.state, info.cells) == ("idle", 1)
    assert info.memory_bytes is not None and info.memory_bytes > 1 << 20
    assert info.cpu_s is not None and info.cpu_s > 0
    assert info.started_at <= info.last_active_at
    await session.close()
    assert mine() == []


async def test_variables_are_listed_also_while_a_cell_runs(session: Session) -> None:
    await session.execute(
        "import pandas as pd\nnumber = 42\nname = 'Ada'\n"
        "table = pd.DataFrame({'a': range(10), 'b': 0})\n_hidden = 1"
    )
    begun = asyncio.Event()
    running = asyncio.create_task(
        session.execute("print('x')\nwhile True: pass", on_output=lambda _: begun.set())
    )
    await begun.wait()
    variables = {variable.name: variable for variable in await session.variables()}
    assert set(variables) == {"number", "name", "table"}
    assert variables["number"].preview == "42"
    assert "DataFrame" in variables["table"].type
    assert variables["table"].shape is not None and "10" in variables["table"].shape
    await session.interrupt()
    assert (await running).status == "interrupted"


async def test_completion_works_also_while_a_cell_runs(session: Session) -> None:
    await session.execute("import time\nlong_variable_name = 1")
    completion = await session.complete("print(long_var", 14)
    assert "long_variable_name" in completion.matches
    assert (completion.start, completion.end) == (6, 14)
    running = asyncio.create_task(session.execute("time.sleep(30)"))
    await until(lambda: session.busy)
    assert "long_variable_name" in (await session.complete("long_var", 8)).matches
    await session.interrupt()
    await running


async def test_notebook_holds_the_session_with_its_outputs(session: Session) -> None:
    await session.execute("x = 2\nprint('text')\nx ** 10")
    await session.execute("plt.plot([1, 2]);")
    await session.execute("1/0")
    notebook = await session.export_notebook()
    nbformat.validate(notebook)
    again = nbformat.reads(nbformat.writes(notebook), as_version=4)
    code = [cell for cell in again.cells if cell.cell_type == "code"]
    sources = [cell.source for cell in code]
    assert "x = 2\nprint('text')\nx ** 10" in sources
    outputs = json.dumps([cell.outputs for cell in code])
    assert "1024" in outputs and "image/png" in outputs and "ZeroDivisionError" in outputs


async def test_user_ids_that_could_be_paths_are_refused(service: Interpreter) -> None:
    for bad in ("", "../other", "a/b", "a b", "x" * 65, "ü"):
        with pytest.raises(InvalidName):
            await service.session(user_id=bad)


async def test_second_service_on_the_same_data_is_refused(service: Interpreter) -> None:
    with pytest.raises(DataDirectoryInUse):
        async with Interpreter.open(Settings(data_dir=service.settings.data_dir)):
            pass


async def test_files_and_nothing_else_stay_after_the_service_ends(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0)
    async with Interpreter.open(settings) as service:
        stored = await service.files.save(user_id="7", filename="a.txt", source=b"kept")
        session = await service.session(user_id="7")
        await session.execute("open('w.txt', 'w').write('x');")
        (kernel,) = service.kernels()
    assert not Path(f"/proc/{kernel.pid}").exists()
    assert list((tmp_path / "data" / "sessions").iterdir()) == []
    async with Interpreter.open(settings) as service:
        listed = await service.files.list(user_id="7")
        assert [file.filename for file in listed] == ["a.txt", "w.txt"]
        session = await service.session(user_id="7")
        assert (await session.execute(f"load_file('{stored.file_id}')")).text == "'kept'"


async def test_expired_file_is_gone_from_a_live_kernel(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", file_retention_hours=3 / 3600, cleanup_interval_s=3600
    )
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        await session.execute("1")
        expired = asyncio.Event()
        service.files.subscribe(lambda event: expired.set() if event.kind == "deleted" else None)
        await service.files.save(user_id="1", filename="a.txt", source=b"a")
        assert (await session.execute("len(FILES)")).text == "1"
        await expired.wait()
        assert (await session.execute("len(FILES)")).text == "0"


@pytest.mark.parametrize("name", ["sessions", "etc"])
async def test_data_directory_with_something_else_in_it_is_explained(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("not a directory")
    with pytest.raises(DataDirectoryUnusable, match=f"{name}: File exists"):
        async with Interpreter.open(Settings(data_dir=tmp_path / "data")):
            pass


@pytest.mark.parametrize("name", ["etc", "outbox", "packages", "sessions"])
async def test_directory_that_serves_something_else_is_left_alone(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / name / "passwd").write_text("somebody else's")
    with pytest.raises(DataDirectoryUnusable, match=f"it holds '{name}' with something in it"):
        async with Interpreter.open(Settings(data_dir=tmp_path / "data")):
            pass
    assert os.listdir(tmp_path / "data") == [name]
    assert (tmp_path / "data" / name / "passwd").read_text() == "somebody else's"


async def test_directory_with_a_link_to_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shared" / "somebody").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sessions").symlink_to(tmp_path / "shared")
    with pytest.raises(DataDirectoryUnusable, match="it holds 'sessions' with something in it"):
        async with Interpreter.open(Settings(data_dir=tmp_path / "data")):
            pass
    assert os.listdir(tmp_path / "shared") == ["somebody"]


async def test_root_of_the_machine_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/")
    for path in (Path("/"), tmp_path / "data"):
        with pytest.raises(DataDirectoryUnusable) as refused:
            prepare_data_directory(path)
        # An ordinary user is refused it anyway.
        assert "root of the machine" in refused.value.reason or os.geteuid() != 0


async def test_long_data_directory_is_no_obstacle(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("d" * 120) / "data", warm_kernels=0)
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        assert (await session.execute("1 + 1")).text == "2"


async def test_stream_objects_compare_by_value(session: Session) -> None:
    result = await session.execute("print('same')")
    assert result.outputs == (Stream("stdout", "same\n"),)
