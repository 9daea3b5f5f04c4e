"""What a session says of an uploaded file."""

import asyncio
import zipfile
from pathlib import Path

import pytest

from interpreter import Interpreter, Session, StoredFileNotFound


async def save(service: Interpreter, session: Session, name: str, content: bytes) -> str:
    stored = await service.files.save(user_id=session.user_id, filename=name, source=content)
    return stored.file_id


CSV = b"city,people,founded\nUlm,126000,0850-01-01\nBonn,331000,\n"


async def test_description_tells_columns_types_and_first_rows(
    service: Interpreter, session: Session
) -> None:
    file_id = await save(service, session, "cities.csv", CSV)
    told = await session.describe_file(file_id)
    assert told.startswith("Comma-separated values (csv), 55 B: 2 rows x 3 columns\n")
    assert "city str; people int64" in told
    assert "Ulm | 126000" in told
    assert len(told) < 1000
    assert await session.describe_file(file_id) == told


async def test_describing_changes_nothing_in_the_kernel(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 1")
    file_id = await save(service, session, "cities.csv", CSV)
    await session.describe_file(file_id)
    result = await session.execute("import os\nprint(x, sorted(vars())[-1], os.listdir('.'))")
    assert result.text == "1 x []\n"
    assert result.count == 2


async def test_file_is_described_while_a_cell_runs(service: Interpreter, session: Session) -> None:
    await session.execute("1")
    running = asyncio.create_task(session.execute("input()", on_input=_wait_for_ever))
    file_id = await save(service, session, "cities.csv", CSV)
    assert "2 rows" in await session.describe_file(file_id)
    assert not running.done()
    await session.interrupt()
    assert (await running).status == "interrupted"


async def _wait_for_ever(prompt: str, password: bool) -> str:
    await asyncio.Event().wait()
    return ""


async def test_bomb_is_described_within_its_limits(
    service: Interpreter, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (300 << 20))
    file_id = await save(service, session, "bomb.xlsx", path.read_bytes())
    told = await session.describe_file(file_id)
    assert told.startswith("Excel workbook (xlsx), ")
    assert (await session.execute("print(1 + 1)")).text == "2\n"


async def test_file_whose_loading_ends_the_process_is_still_described(
    service: Interpreter, session: Session
) -> None:
    assert (await session.execute("x = 5")).status == "ok"
    pickled = b"cos\n_exit\n(I1\ntR."  # os._exit(1)
    file_id = await save(service, session, "model.pkl", pickled)
    told = await session.describe_file(file_id)
    assert "model.pkl" not in told.partition(",")[0]
    assert "could not be looked into" in told or "took too long" in told
    assert (await session.execute("print(x)")).text == "5\n"


async def test_description_is_made_at_the_upload_if_there_is_a_kernel(
    service: Interpreter, session: Session
) -> None:
    await session.execute("1")
    file_id = await save(service, session, "cities.csv", CSV)
    for _ in range(200):
        if (describing := session._descriptions.get(file_id)) is not None:
            break
        await asyncio.sleep(0.05)
    assert describing is not None
    assert "2 rows" in await describing


async def test_hostile_kernel_can_say_nothing_but_bounded_text(
    service: Interpreter, session: Session
) -> None:
    await session.execute(
        "import kernel_startup.kernel as k\n"
        "k.describe_file = lambda *a, **o: '\\x1b[31m\\x07' + 'x' * 5_000_000"
    )
    told = await session.describe_file(await save(service, session, "a.txt", b"a"))
    assert len(told) <= 1000
    assert told.replace("\n", "").isprintable()


@pytest.mark.parametrize("answer", ["None", "5", "[]", "1/0"])
async def test_kernel_that_says_nonsense_leaves_type_and_size(
    service: Interpreter, session: Session, answer: str
) -> None:
    await session.execute(
        f"import kernel_startup.kernel as k\nk.describe_file = lambda *a, **o: {answer}"
    )
    told = await session.describe_file(await save(service, session, "a.csv", b"a,b\n1,2\n"))
    assert told == "Comma-separated values, 8 bytes. It could not be looked into."


async def test_unknown_file_is_refused(session: Session) -> None:
    with pytest.raises(StoredFileNotFound):
        await session.describe_file("abcdefghjkmn")


async def test_cells_can_describe_files_too(service: Interpreter, session: Session) -> None:
    file_id = await save(service, session, "cities.csv", CSV)
    result = await session.execute(f"print(describe_file('{file_id}'))")
    assert result.text.startswith("Comma-separated values (csv), 55 B: 2 rows x 3 columns\n")
