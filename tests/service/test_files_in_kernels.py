"""FILES and load_file inside a live kernel."""

import asyncio
from pathlib import Path

import pytest

from interpreter import Interpreter, Session

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"


async def save(service: Interpreter, session: Session, name: str, source: bytes | Path) -> str:
    stored = await service.files.save(user_id=session.user_id, filename=name, source=source)
    return stored.file_id


async def test_file_uploaded_before_the_kernel_is_there(
    service: Interpreter, session: Session
) -> None:
    file_id = await save(service, session, "sales.csv", b"city,amount\nUlm,3\nBonn,4\n")
    result = await session.execute(f"df = load_file('{file_id}')\ndf.describe()")
    assert result.status == "ok", result.text
    assert "3.500000" in result.text
    assert (await session.execute("df.amount.sum()")).text.strip() in ("7", "np.int64(7)")


async def test_file_uploaded_while_the_kernel_lives_is_there_at_the_next_look(
    service: Interpreter, session: Session
) -> None:
    assert (await session.execute("len(FILES)")).text == "0"
    file_id = await save(service, session, "späte Datei.txt", "grüße".encode())
    result = await session.execute(f"print(FILES['{file_id}'], load_file('{file_id}'))")
    assert result.text == f"/files/{file_id}/späte Datei.txt grüße\n"


async def test_files_that_come_and_go_while_the_kernel_starts_are_right(
    service: Interpreter, session: Session
) -> None:
    starting = asyncio.create_task(session.execute("1"))
    kept = []
    for number in range(6):
        file_id = await save(service, session, f"{number}.txt", str(number).encode())
        if number % 2:
            kept.append(file_id)
        else:
            await service.files.delete(user_id=session.user_id, file_id=file_id)
    assert (await starting).status == "ok"
    result = await session.execute("print(*sorted(FILES))")
    assert result.text.split() == sorted(kept)


async def test_deleted_file_is_gone_from_the_kernel(service: Interpreter, session: Session) -> None:
    file_id = await save(service, session, "a.txt", b"a")
    assert (await session.execute("len(FILES)")).text == "1"
    await service.files.delete(user_id=session.user_id, file_id=file_id)
    result = await session.execute(f"load_file('{file_id}')")
    assert result.status == "error"
    assert (await session.execute("len(FILES)")).text == "0"


async def test_same_name_twice_is_two_files(service: Interpreter, session: Session) -> None:
    first = await save(service, session, "a.txt", b"first")
    second = await save(service, session, "a.txt", b"second")
    result = await session.execute(f"print(load_file('{first}'), load_file('{second}'))")
    assert result.text == "first second\n"


async def test_files_are_read_only(service: Interpreter, session: Session) -> None:
    file_id = await save(service, session, "a.txt", b"original")
    result = await session.execute(
        "import os\n"
        f"path = FILES['{file_id}']\n"
        "for act in (lambda: open(path, 'w'), lambda: os.remove(path), lambda: os.chmod(path, 0),\n"
        "            lambda: os.link(path, '/work/hard'), lambda: open('/files/new', 'w')):\n"
        "    try:\n        act(); print('did it')\n"
        "    except OSError as e:\n        print(type(e).__name__)"
    )
    assert "did it" not in result.text
    stored = await service.files.get(user_id=session.user_id, file_id=file_id)
    assert stored.file_path.read_bytes() == b"original"


async def test_unknown_id_is_explained(session: Session) -> None:
    result = await session.execute("load_file('nosuchfile12')")
    assert result.status == "error"
    assert "nosuchfile12" in result.text
    assert len(result.text) < 3000


@pytest.mark.parametrize(
    ("folder", "name", "expression"),
    [
        ("spreadsheet", "testXLSX_Thumbnail.xlsx", "type(loaded).__name__ in ('DataFrame','dict')"),
    ],
)
async def test_sample_files_load(
    service: Interpreter, session: Session, folder: str, name: str, expression: str
) -> None:
    path = SAMPLES / folder / name
    if not path.exists():
        pytest.skip("the samples are not on this machine")
    file_id = await save(service, session, name, path)
    result = await session.execute(f"loaded = load_file('{file_id}')\n{expression}")
    assert (result.status, result.text) == ("ok", "True")


async def test_each_type_of_this_version_loads(service: Interpreter, session: Session) -> None:
    made = await session.execute(
        "import pandas as pd\n"
        "df = pd.DataFrame({'n': [1, 2, 3], 's': ['ä', 'b', 'c']})\n"
        "df.to_csv('t.csv', index=False); df.to_csv('t.tsv', index=False, sep='\\t')\n"
        "df.to_excel('t.xlsx', index=False); df.to_parquet('t.parquet')\n"
        "df.to_json('t.json', orient='records')"
    )
    assert made.status == "ok", made.text
    for artifact in made.artifacts:
        result = await session.execute(
            f"loaded = load_file('{artifact.file_id}')\n"
            "print(type(loaded).__name__, loaded.shape, list(loaded.s), int(loaded.n.sum()))"
        )
        assert result.text == "DataFrame (3, 2) ['ä', 'b', 'c'] 6\n", artifact.filename
    result = await session.execute("plt.plot([1, 2]); plt.savefig('p.png'); plt.close()")
    picture = result.artifacts[0]
    result = await session.execute(f"load_file('{picture.file_id}').size")
    assert result.status == "ok"
    assert result.text.startswith("(")


async def test_what_a_type_needs_is_installed_off_the_clock(
    service: Interpreter, session: Session
) -> None:
    file_id = await save(service, session, "settings.hjson", b"{\n  # no quotes\n  name: Ada\n}\n")
    result = await session.execute(f"load_file('{file_id}')", timeout_s=60)
    if "be reached" in result.text:
        pytest.skip("the package index can't be reached from here")
    assert (result.status, result.text.strip()) == ("ok", "{'name': 'Ada'}"), result.text
    assert [name.partition("==")[0] for name in result.installed] == ["hjson"]
    assert result.durations.install_s > 0
