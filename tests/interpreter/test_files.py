"""FileStore: what users keep is kept, within its limits, and nobody else gets it."""

import asyncio
import contextlib
import gc
import hashlib
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase

from interpreter.database import open_database
from interpreter.errors import (
    DatabaseUnavailable,
    DataDirectoryUnusable,
    FileTooLarge,
    InvalidName,
    StorageFailed,
    StoredFileNotFound,
    UnusableSource,
)
from interpreter.files import CleanUpReport, FileEvent, FileStore, StoredFile, shown_name
from interpreter.settings import Settings

Database = AsyncDatabase[dict[str, Any]]
ROOT = Path(__file__).parents[2]
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


Opener = Callable[..., AbstractAsyncContextManager[FileStore]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(settings: Settings, database: Database, clock: Clock) -> Opener:
    """Opens a store on the test's directory and database; keywords change its settings."""

    def open_store(
        checkpoint: Callable[[str], None] = lambda point: None, **changes: Any
    ) -> AbstractAsyncContextManager[FileStore]:
        changed = Settings(**{**dict(settings), **changes})
        return FileStore.open(changed, database=database, clock=clock, checkpoint=checkpoint)

    return open_store


@pytest.fixture
async def store(open_store: Opener) -> AsyncIterator[FileStore]:
    async with open_store() as store:
        yield store


async def save(store: FileStore, name: str = "a.csv", content: bytes = b"a") -> StoredFile:
    return await store.save(user_id="42", filename=name, source=content)


async def names(store: FileStore, user_id: str = "42") -> list[str]:
    return [file.filename for file in await store.list(user_id=user_id)]


def on_disk(settings: Settings) -> set[Path]:
    """Every file in users' directories, half-written ones too."""
    root = settings.data_dir / "user_files"
    return {path for path in root.glob("*/*") if not path.is_dir()}


async def records(database: Database) -> list[dict[str, Any]]:
    return await database["stored_files"].find({}).to_list()


async def assert_consistent(settings: Settings, database: Database) -> None:
    """Every record has its bytes, and all bytes have a record."""
    found = await records(database)
    assert {Path(record["file_path"]) for record in found} == on_disk(settings)
    for record in found:
        content = Path(record["file_path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record["sha256"]
        assert len(content) == record["file_size"]


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


# --- saving and finding -----------------------------------------------------------------------


async def test_saved_file_has_all_there_is_to_know_about_it(
    store: FileStore, settings: Settings
) -> None:
    file = await save(store, "Sales 2026.CSV", b"a,b\n1,2\n")
    assert file.user_id == "42"
    assert file.filename == "Sales 2026.CSV"
    assert file.file_type == "csv"
    assert file.file_size == 8
    assert file.file_path.read_bytes() == b"a,b\n1,2\n"
    assert file.file_path == settings.data_dir / "user_files/42" / f"{file.file_id}.csv"
    assert file.uploaded_at == START
    assert file.uploaded_at.tzinfo is UTC
    assert file.expires_at == START + timedelta(hours=48)
    assert file.sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert file.origin == "upload"
    assert await store.get(user_id="42", file_id=file.file_id) == file
    assert await store.list(user_id="42") == (file,)


async def test_file_made_by_a_cell_is_told_from_an_upload(store: FileStore) -> None:
    made = await store.save(user_id="42", filename="plot.png", source=b"x", origin="cell")
    assert (await store.get(user_id="42", file_id=made.file_id)).origin == "cell"


BIG = bytes(range(256)) * (3 << 12)  # 3 MiB, so that there is more than one piece


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "small", "big"])
async def test_bytes_paths_and_streams_are_stored_alike(
    store: FileStore, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "source"
    path.write_bytes(content)
    (tmp_path / "link").symlink_to(path)
    cut = len(content) // 3
    stream = pieces(content[:cut], b"", content[cut:])
    for source in (content, path, tmp_path / "link", stream):
        file = await store.save(user_id="42", filename="x", source=source)
        assert file.file_path.read_bytes() == content
        assert file.file_size == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()


async def test_stored_file_can_be_read_but_directories_not_listed_by_other_users_of_the_machine(
    store: FileStore, settings: Settings
) -> None:
    umask = os.umask(0o077)
    try:
        file = await save(store)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.file_path.stat().st_mode) == 0o644
    for directory in (settings.data_dir, file.file_path.parent, file.file_path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o711


async def test_list_is_oldest_first_also_within_one_moment(store: FileStore, clock: Clock) -> None:
    for name in "abc":
        await save(store, name)
    clock.forward(milliseconds=1)
    await save(store, "d")
    assert await names(store) == ["a", "b", "c", "d"]


async def test_same_name_twice_gives_two_files(store: FileStore) -> None:
    first = await save(store, "a.csv", b"1")
    second = await save(store, "a.csv", b"2")
    assert first.file_id != second.file_id
    assert first.file_path.read_bytes() == b"1"
    assert second.file_path.read_bytes() == b"2"
    assert await names(store) == ["a.csv", "a.csv"]


async def test_files_are_found_by_their_bytes(store: FileStore) -> None:
    first = await save(store, "a", b"same")
    await save(store, "b", b"other")
    second = await save(store, "c", b"same")
    await store.save(user_id="7", filename="d", source=b"same")
    assert await store.find(user_id="42", sha256=first.sha256) == (first, second)
    assert await store.find(user_id="42", sha256="0" * 64) == ()


async def test_delete_removes_bytes_and_record(
    store: FileStore, settings: Settings, database: Database
) -> None:
    file = await save(store)
    assert await store.delete(user_id="42", file_id=file.file_id) == file
    assert on_disk(settings) == set()
    assert await records(database) == []
    with pytest.raises(StoredFileNotFound):
        await store.delete(user_id="42", file_id=file.file_id)


async def test_touched_file_is_the_newest(store: FileStore, clock: Clock) -> None:
    first = await save(store, "a")
    await save(store, "b")
    clock.forward(hours=1)
    touched = await store.touch(user_id="42", file_id=first.file_id)
    assert touched.uploaded_at == START + timedelta(hours=1)
    assert touched.expires_at == START + timedelta(hours=49)
    assert await names(store) == ["b", "a"]
    assert (await store.list(user_id="42"))[-1] == touched


async def test_files_are_there_after_a_restart(open_store: Opener) -> None:
    async with open_store() as store:
        file = await save(store)
    async with open_store() as store:
        assert await store.list(user_id="42") == (file,)


# --- whose it is ------------------------------------------------------------------------------


async def test_ids_are_short_unambiguous_and_all_different(store: FileStore) -> None:
    ids = {(await save(store)).file_id for _ in range(30)}
    assert len(ids) == 30
    assert all(re.fullmatch("[2-9a-hjkmnp-z]{12}", file_id) for file_id in ids)


async def test_no_file_is_found_by_any_id_that_is_not_the_users_own(
    store: FileStore, clock: Clock
) -> None:
    expired = await save(store)
    clock.forward(hours=48)
    foreign = await store.save(user_id="7", filename="b", source=b"b")
    wrong: list[Any] = [
        foreign.file_id,
        expired.file_id,
        "2" * 12,
        "",
        "../" + foreign.file_id,
        foreign.file_id.upper(),
        foreign.file_id + "\n",
        foreign.file_id[:11],
        "\0" * 12,
        {"$ne": ""},
        None,
    ]
    for call in (store.get, store.delete, store.touch):
        for file_id in wrong:
            with pytest.raises(StoredFileNotFound) as raised:
                await call(user_id="42", file_id=file_id)
            assert str(raised.value) == str(StoredFileNotFound(str(file_id)))
    assert await store.list(user_id="7") == (foreign,)
    assert foreign.file_path.exists()


@pytest.mark.parametrize("length", [1, 64])
async def test_user_id_of_allowed_length_is_taken(store: FileStore, length: int) -> None:
    file = await store.save(user_id="u" * length, filename="a", source=b"")
    assert await store.list(user_id="u" * length) == (file,)


@pytest.mark.parametrize(
    "user_id", ["", "u" * 65, "..", ".", "a/b", "a\0", "a\n", "é", " ", "a.b", 42, {"$ne": 1}, None]
)
async def test_user_id_that_could_be_something_else_is_refused(
    store: FileStore, settings: Settings, user_id: Any
) -> None:
    for call in (
        store.save(user_id=user_id, filename="a", source=b""),
        store.list(user_id=user_id),
        store.find(user_id=user_id, sha256=""),
        store.get(user_id=user_id, file_id="2" * 12),
        store.delete(user_id=user_id, file_id="2" * 12),
        store.touch(user_id=user_id, file_id="2" * 12),
    ):
        with pytest.raises(InvalidName):
            await call
    assert on_disk(settings) == set()


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("résumé 📊 売上.csv", "résumé 📊 売上.csv"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\sales\\a.csv", "C:_sales_a.csv"),
        ("..", ".."),
        (".hidden", ".hidden"),
        ("a\0b\nc\x1bd\u2028e.csv", "a_b_c_d_e.csv"),
        ("\ud800.csv", "_.csv"),
        ("👩‍👩‍👧.png", "👩‍👩‍👧.png"),
        ("", "file"),
        ("  \u3000", "file"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x" * 251 + ".csv", "x" * 251 + ".csv"),
        ("x" * 252 + ".csv", "x" * 251 + ".csv"),
        ("x" * 300 + "." + "y" * 31, "x" * 223 + "." + "y" * 31),
        ("x" * 300 + "." + "y" * 32, "x" * 255),
    ],
)
def test_name_shows_as_given_on_one_line(given_name: str, shown: str) -> None:
    assert shown_name(given_name) == shown


@given(st.text(st.characters(), max_size=400))
def test_any_name_becomes_one_that_can_be_shown(name: str) -> None:
    shown = shown_name(name)
    assert 1 <= len(shown) <= 255
    assert shown.isprintable() or not shown.isascii()
    assert not set(shown) & set("/\\\0\n\r")
    shown.encode()
    assert shown_name(shown) == shown


NASTY = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from("./\\~$%\0\n.. ABCabc💥é-"), max_size=40),
)


@given(name=NASTY)
@example(name="../../../../tmp/x.csv")
@example(name="a." + "b" * 15)
@example(name="a." + "b" * 16)
@example(name="a.c\u017fv")  # Its capital is an ASCII letter.
@example(name="a.csv\n")
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_name_leaves_its_directory(
    store: FileStore, settings: Settings, name: str
) -> None:
    file = await save(store, name, b"content")
    assert file.file_path.parent == settings.data_dir / "user_files/42"
    assert re.fullmatch(r"[2-9a-z]{12}(\.[a-z0-9]{1,15})?", file.file_path.name)
    assert (await store.get(user_id="42", file_id=file.file_id)).filename == shown_name(name)
    assert file.file_path.read_bytes() == b"content"


# --- size -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytes", "path", "one piece", "pieces"])
@pytest.mark.parametrize("size", [999, 1000, 1001, 3_000_000])
async def test_size_limit_holds_exactly_and_evicts_nothing(
    open_store: Opener, settings: Settings, tmp_path: Path, kind: str, size: int
) -> None:
    content = b"x" * size
    (tmp_path / "source").write_bytes(content)
    source: Any = {
        "bytes": content,
        "path": tmp_path / "source",
        "one piece": pieces(content),
        "pieces": pieces(*(content[start : start + 100] for start in range(0, size, 100))),
    }[kind]
    async with open_store(max_file_bytes=1000, max_files_per_user=1) as store:
        old = await save(store, "old")
        if size <= 1000:
            await store.save(user_id="42", filename="new", source=source)
            assert await names(store) == ["new"]
        else:
            with pytest.raises(FileTooLarge) as raised:
                await store.save(user_id="42", filename="new", source=source)
            assert raised.value.limit_bytes == 1000
            assert raised.value.size_bytes == (size if kind in ("bytes", "path") else None)
            assert await store.list(user_id="42") == (old,)
            assert on_disk(settings) == {old.file_path}


async def test_endless_stream_is_stopped_and_closed(open_store: Opener) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    async with open_store(max_file_bytes=2 << 20) as store:
        with pytest.raises(FileTooLarge):
            await store.save(user_id="42", filename="new", source=endless())
    assert closed.is_set()


async def test_source_that_is_no_file_is_refused(
    store: FileStore, settings: Settings, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in (
        (tmp_path, "a directory, not a file"),
        (tmp_path / "pipe", "a pipe, not a file"),
        (Path("/dev/zero"), "a device, not a file"),
        (tmp_path / "missing", "No such file"),
        (tmp_path / "loop", "symbolic links"),
        (Path("/nul\0"), "null"),
    ):
        with pytest.raises(UnusableSource, match=reason):
            await store.save(user_id="42", filename="a", source=path)
    assert on_disk(settings) == set()


# --- the cap ----------------------------------------------------------------------------------


async def test_cap_holds_exactly_and_the_oldest_goes(
    store: FileStore, settings: Settings, database: Database
) -> None:
    files = [await save(store, str(number)) for number in range(19)]
    assert len(await names(store)) == 19
    files.append(await save(store, "19"))
    assert await names(store) == [str(number) for number in range(20)]
    files.append(await save(store, "20"))
    assert await names(store) == [str(number) for number in range(1, 21)]
    assert on_disk(settings) == {file.file_path for file in files[1:]}
    assert len(await records(database)) == 20
    with pytest.raises(StoredFileNotFound):
        await store.get(user_id="42", file_id=files[0].file_id)


async def test_cap_is_each_users_own(open_store: Opener) -> None:
    async with open_store(max_files_per_user=1) as store:
        await store.save(user_id="7", filename="theirs", source=b"")
        await save(store, "mine")
        assert await names(store) == ["mine"]
        assert await names(store, "7") == ["theirs"]


async def test_cap_holds_under_fifty_saves_at_once(
    store: FileStore, settings: Settings, database: Database
) -> None:
    await asyncio.gather(*(save(store, str(number)) for number in range(50)))
    assert len(await names(store)) == 20
    await assert_consistent(settings, database)
    assert len(on_disk(settings)) == 20


async def test_cap_holds_when_two_stores_share_the_database(
    open_store: Opener, settings: Settings, database: Database
) -> None:
    async with open_store() as one, open_store() as other:
        await asyncio.gather(
            *(save(store, str(number)) for number in range(25) for store in (one, other))
        )
        assert len(await names(one)) == 20
        assert await one.list(user_id="42") == await other.list(user_id="42")
        await assert_consistent(settings, database)
        assert len(await records(database)) == 20


async def test_no_reader_ever_sees_more_than_the_cap(open_store: Opener) -> None:
    seen: list[int] = []
    async with open_store(max_files_per_user=2) as store:

        async def save_many() -> None:
            await asyncio.gather(*(save(store) for _ in range(20)))

        await save(store)
        await save(store)
        saving = asyncio.create_task(save_many())
        while not saving.done():
            seen.append(len(await names(store)))
        await saving
    assert set(seen) == {2}


async def test_lowered_cap_applies_to_files_already_stored(
    open_store: Opener, settings: Settings, database: Database
) -> None:
    async with open_store() as store:
        for number in range(5):
            await save(store, str(number))
    async with open_store(max_files_per_user=2) as store:
        assert await names(store) == ["3", "4"]
        await assert_consistent(settings, database)
        assert len(await records(database)) == 2


async def test_touched_file_is_not_the_one_that_goes(open_store: Opener) -> None:
    async with open_store(max_files_per_user=2) as store:
        first = await save(store, "a")
        await save(store, "b")
        await store.touch(user_id="42", file_id=first.file_id)
        await save(store, "c")
        assert await names(store) == ["a", "c"]


async def test_locks_of_users_are_not_kept_for_ever(store: FileStore) -> None:
    for user_id in ("1", "2", "3"):
        await store.save(user_id=user_id, filename="a", source=b"")
    gc.collect()
    assert len(store._locks) == 0


# --- expiry -----------------------------------------------------------------------------------


async def test_expired_file_is_gone_for_every_reader_at_once(
    store: FileStore, clock: Clock
) -> None:
    file = await save(store)
    clock.now = START + timedelta(hours=48) - MILLISECOND
    assert await store.list(user_id="42") == (file,)
    assert await store.get(user_id="42", file_id=file.file_id) == file
    clock.now = file.expires_at or START
    assert await store.list(user_id="42") == ()
    assert await store.find(user_id="42", sha256=file.sha256) == ()
    for call in (store.get, store.touch, store.delete):
        with pytest.raises(StoredFileNotFound):
            await call(user_id="42", file_id=file.file_id)
    assert file.file_path.exists()  # No clean-up came in between.


async def test_clean_up_removes_expired_files_from_disk_and_database(
    store: FileStore, clock: Clock, settings: Settings, database: Database
) -> None:
    await save(store, "old")
    clock.forward(hours=1)
    kept = await save(store, "new")
    clock.forward(hours=47)
    assert await store.clean_up() == CleanUpReport(expired=1)
    assert await store.clean_up() == CleanUpReport()
    assert on_disk(settings) == {kept.file_path}
    assert [record["filename"] for record in await records(database)] == ["new"]


async def test_files_can_be_kept_for_ever(open_store: Opener, clock: Clock) -> None:
    async with open_store(file_retention_hours=-1) as store:
        file = await save(store)
        assert file.expires_at is None
        clock.forward(days=365 * 500)
        assert await store.clean_up() == CleanUpReport()
        assert await store.list(user_id="42") == (file,)


@pytest.mark.parametrize("before", [-1, 1, 48, 1000])
async def test_changed_retention_applies_to_files_already_stored(
    open_store: Opener, clock: Clock, database: Database, before: float
) -> None:
    async with open_store(file_retention_hours=before) as store:
        await save(store, "old")
        clock.forward(minutes=30)
        await save(store, "new")
    async with open_store(file_retention_hours=10) as store:
        files = await store.list(user_id="42")
        assert [file.expires_at for file in files] == [
            START + timedelta(hours=10),
            START + timedelta(hours=10.5),
        ]
        assert {record["expires_at"] for record in await records(database)} == {
            file.expires_at for file in files
        }
        clock.now = START + timedelta(hours=10)
        assert await names(store) == ["new"]
        await store.clean_up()
    async with open_store(file_retention_hours=-1) as store:
        assert [record["expires_at"] for record in await records(database)] == [None]
        assert await names(store) == ["new"]  # The other one is gone for good.


async def test_expired_files_do_not_count(open_store: Opener, clock: Clock) -> None:
    async with open_store(max_files_per_user=2) as store:
        await save(store, "a")
        clock.forward(hours=47)
        await save(store, "b")
        clock.forward(hours=2)
        await save(store, "c")
        assert await names(store) == ["b", "c"]


async def test_clean_up_runs_by_itself_and_survives_a_failure(
    settings: Settings, database: Database, clock: Clock
) -> None:
    deleted = asyncio.Event()
    failures = [RuntimeError("this pass fails"), RuntimeError("and this one")]
    failing = False

    def flawed_clock() -> datetime:
        if failing and failures:
            raise failures.pop()
        return clock()

    often = Settings(**{**dict(settings), "cleanup_interval_s": 0.01})
    async with FileStore.open(often, database=database, clock=flawed_clock) as store:
        file = await save(store)
        store.subscribe(lambda event: deleted.set())
        clock.forward(hours=48)
        failing = True
        await deleted.wait()
        assert not failures
        assert not await asyncio.to_thread(file.file_path.exists)


@pytest.mark.parametrize("saved", ["before the start", "while the store sleeps"])
async def test_expiry_is_told_when_it_comes_not_with_the_next_clean_up(
    settings: Settings, database: Database, saved: str
) -> None:
    files: list[StoredFile] = []
    told = asyncio.Event()

    def follow(event: FileEvent) -> None:
        if event.kind == "deleted":
            assert event.file == files[0]
            told.set()

    brief = Settings(
        **{**dict(settings), "file_retention_hours": 0.0005, "cleanup_interval_s": 100_000}
    )
    if saved == "before the start":
        async with FileStore.open(brief, database=database) as store:
            files.append(await save(store))
    async with FileStore.open(brief, database=database) as store:
        store.subscribe(follow)
        if not files:
            files.append(await save(store))
        await told.wait()
        assert on_disk(settings) == set()
        assert await records(database) == []


async def test_only_what_is_expired_goes_between_clean_ups(
    store: FileStore, clock: Clock, settings: Settings
) -> None:
    assert await store._remove_expired() == 48 * 3600
    await save(store, "old")
    clock.forward(hours=1)
    for user_id in ("42", "7"):
        kept = await store.save(user_id=user_id, filename="new", source=b"")
    orphan = kept.file_path.with_name("abcdefghjkmn.csv")
    orphan.write_text("the clean-up's matter")
    assert await store._remove_expired() == 47 * 3600
    clock.forward(hours=47, milliseconds=-1)
    assert await store._remove_expired() == 1  # Not 1 ms.
    clock.forward(milliseconds=1)
    assert await store._remove_expired() == 1
    assert await names(store) == await names(store, "7") == ["new"]
    assert len(on_disk(settings)) == 3
    assert orphan.exists()
    assert await store._remove_expired() == 3600


# --- crashes ----------------------------------------------------------------------------------

POINTS = ("created", "written", "synced", "renamed", "recording", "recorded", "record deleted")


async def test_every_point_of_a_save_is_passed(open_store: Opener) -> None:
    passed: list[str] = []
    async with open_store(passed.append, max_files_per_user=1) as store:
        await save(store)
        await save(store)
    assert tuple(passed[-len(POINTS) :]) == POINTS


@pytest.mark.parametrize("point", POINTS)
async def test_kill_at_any_point_leaves_nothing_half_done_after_the_next_start(
    open_store: Opener, settings: Settings, database: Database, point: str
) -> None:
    code = """
import asyncio, os, signal, sys
from pathlib import Path
from interpreter.database import open_database
from interpreter.files import FileStore
from interpreter.settings import Settings

data_dir, uri, name, fatal = sys.argv[1:]
settings = Settings(
    data_dir=Path(data_dir), mongodb_uri=uri, mongodb_database=name, max_files_per_user=2,
    file_retention_hours=-1,
)

def checkpoint(point):
    if point == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_database(settings) as database:
        async with FileStore.open(settings, database=database, checkpoint=checkpoint) as store:
            await store.save(user_id="42", filename="new.csv", source=b"new")

asyncio.run(main())
"""
    assert settings.mongodb_uri is not None
    async with open_store(max_files_per_user=2, file_retention_hours=-1) as store:
        await save(store, "one.csv", b"one")
        await save(store, "two.csv", b"two")
    killed = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-c", code, str(settings.data_dir)),
            *(settings.mongodb_uri.get_secret_value(), settings.mongodb_database, point),
        ],
        cwd=ROOT,
    )
    assert killed.returncode == -signal.SIGKILL
    recorded = point in ("recorded", "record deleted")
    async with open_store(max_files_per_user=2, file_retention_hours=-1) as store:
        await assert_consistent(settings, database)
        assert await names(store) == (
            ["two.csv", "new.csv"] if recorded else ["one.csv", "two.csv"]
        )
        assert await store.clean_up() == CleanUpReport()


@pytest.mark.parametrize("point", POINTS)
async def test_cancelled_save_leaves_nothing_behind_unless_it_was_recorded(
    open_store: Opener, settings: Settings, database: Database, point: str
) -> None:
    loop = asyncio.get_running_loop()
    task: asyncio.Task[StoredFile] | None = None

    def checkpoint(passed: str) -> None:
        if task is not None and passed == point:
            cancelled = asyncio.run_coroutine_threadsafe(cancel(task), loop)
            # In another thread, wait: the cancellation has to come now, not when all is over.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop()
                return
            cancelled.result()

    async def cancel(task: asyncio.Task[StoredFile]) -> None:
        task.cancel()

    async with open_store(checkpoint, max_files_per_user=1) as store:
        old = await save(store, "old")
        task = asyncio.create_task(save(store, "new"))
        with pytest.raises(asyncio.CancelledError):
            await task
        recorded = point in ("recorded", "record deleted")
        assert await names(store) == (["new"] if recorded else ["old"])
        assert old.file_path.exists() is not recorded
        await assert_consistent(settings, database)
        assert await store.clean_up() == CleanUpReport()


async def test_cancelled_upload_leaves_nothing_behind(
    store: FileStore, settings: Settings, database: Database
) -> None:
    arrived = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"x" * (2 << 20)
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.save(user_id="42", filename="a", source=stalled()))
    await arrived.wait()
    assert len(on_disk(settings)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert on_disk(settings) == set()
    assert await records(database) == []


async def test_source_that_fails_leaves_nothing_behind(
    store: FileStore, settings: Settings
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * (2 << 20)
        raise ConnectionResetError("the sender is gone")

    with pytest.raises(ConnectionResetError):
        await store.save(user_id="42", filename="a", source=failing())
    assert on_disk(settings) == set()


async def test_database_that_fails_when_a_file_is_recorded_leaves_nothing_behind(
    settings: Settings, clock: Clock
) -> None:
    async with open_database(settings) as database:

        async def last_words() -> AsyncIterator[bytes]:
            yield b"x"
            await database.client.close()

        async with FileStore.open(settings, database=database, clock=clock) as store:
            with pytest.raises(DatabaseUnavailable) as raised:
                await store.save(user_id="42", filename="a", source=last_words())
            assert "\n" not in str(raised.value)
            assert on_disk(settings) == set()
            with pytest.raises(DatabaseUnavailable):
                await store.list(user_id="42")
    async with open_database(settings) as database:
        assert await records(database) == []
        await database.client.drop_database(database.name)


async def test_disk_that_refuses_is_one_sentence_and_leaves_nothing_behind(
    store: FileStore, settings: Settings
) -> None:
    old = await save(store, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StorageFailed) as raised:
            await save(store, "new", b"x" * (3 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(raised.value) == "The file 'new' could not be stored: File too large."
    assert on_disk(settings) == {old.file_path}


# --- the clean-up -----------------------------------------------------------------------------


async def test_clean_up_mends_orphans_both_ways(
    store: FileStore, settings: Settings, database: Database
) -> None:
    lost = await save(store, "lost")
    kept = await save(store, "kept")
    lost.file_path.unlink()
    directory = kept.file_path.parent
    for name in ("abcdefghjkmn.csv", "abcdefghjkmn", ".abcdefghjkmp.part"):
        (directory / name).write_text("left over")
    elsewhere = settings.data_dir / "user_files/unknown-user"
    elsewhere.mkdir()
    (elsewhere / "abcdefghjkmn.csv").write_text("left over")
    report = await store.clean_up()
    assert report == CleanUpReport(records_without_bytes=1, bytes_without_record=3, unfinished=1)
    assert await store.list(user_id="42") == (kept,)
    assert on_disk(settings) == {kept.file_path}
    assert not elsewhere.exists()
    assert await store.clean_up() == CleanUpReport()


async def test_clean_up_leaves_alone_what_is_not_ours(
    store: FileStore, settings: Settings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = outside / "abcdefghjkmn.csv"
    precious.write_text("precious")
    file = await save(store)
    directory, root = file.file_path.parent, settings.data_dir / "user_files"
    (directory / "notes.txt").write_text("an operator's")
    (directory / "abcdefghjkmn.csv").symlink_to(precious)
    (directory / ".abcdefghjkmn.part").symlink_to(precious)
    (directory / "abcdefghjkmp.csv").mkdir()
    (root / "linked-user").symlink_to(outside)
    (root / "README").write_text("an operator's")
    (root / "not a user").mkdir()
    assert await store.clean_up() == CleanUpReport(strays=7)
    assert precious.read_text() == "precious"
    assert len(list(directory.iterdir())) == 5
    assert (root / "not a user").is_dir()


async def test_linked_directory_of_a_user_is_neither_written_nor_emptied(
    store: FileStore, settings: Settings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = await save(store)
    directory = file.file_path.parent
    directory.rename(tmp_path / "moved")
    directory.symlink_to(outside)
    (outside / file.file_path.name).write_text("precious")
    with pytest.raises(StorageFailed):
        await save(store)
    await store.clean_up()
    await store.delete(user_id="42", file_id=file.file_id)
    assert [path.name for path in outside.iterdir()] == [file.file_path.name]


async def test_record_of_a_path_elsewhere_deletes_nothing_there(
    store: FileStore, database: Database, tmp_path: Path
) -> None:
    precious = tmp_path / "abcdefghjkmn.csv"
    precious.write_text("precious")
    file = await save(store)
    await database["stored_files"].update_one({}, {"$set": {"file_path": str(precious)}})
    await store.delete(user_id="42", file_id=file.file_id)
    assert precious.read_text() == "precious"


async def test_clean_up_leaves_alone_what_is_being_saved(
    open_store: Opener, settings: Settings, database: Database
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        waiting.set()
        await go_on.wait()
        yield b"y"

    async with open_store() as store, open_store() as other:
        saving = asyncio.create_task(store.save(user_id="42", filename="a", source=slow()))
        await waiting.wait()
        for cleaner in (store, other):
            assert await cleaner.clean_up() == CleanUpReport()
        go_on.set()
        file = await saving
        assert await other.list(user_id="42") == (file,)
        await assert_consistent(settings, database)


@pytest.mark.parametrize("point", ["renamed", "recording"])
async def test_clean_up_leaves_alone_what_is_about_to_be_recorded(
    open_store: Opener, settings: Settings, database: Database, point: str
) -> None:
    loop = asyncio.get_running_loop()
    reports: list[CleanUpReport] = []
    cleaning: list[asyncio.Task[None]] = []

    async def clean(other: FileStore) -> None:
        reports.append(await other.clean_up())

    async with open_store() as other:

        def checkpoint(passed: str) -> None:
            if passed == "renamed" == point:
                asyncio.run_coroutine_threadsafe(clean(other), loop).result()
            elif passed == point:
                cleaning.append(asyncio.create_task(clean(other)))

        async with open_store(checkpoint) as store:
            file = await save(store)
            await asyncio.gather(*cleaning)
            assert await store.list(user_id="42") == (file,)
    assert reports == [CleanUpReport()]
    await assert_consistent(settings, database)


async def test_saves_deletions_and_clean_ups_at_once_leave_everything_in_order(
    open_store: Opener, settings: Settings, database: Database
) -> None:
    async with open_store(max_files_per_user=5) as one, open_store(max_files_per_user=5) as other:

        async def save_and_delete(store: FileStore, number: int) -> None:
            file = await store.save(user_id=f"u{number % 3}", filename="a", source=b"a")
            if number % 4 == 0:
                with contextlib.suppress(StoredFileNotFound):
                    await store.delete(user_id=file.user_id, file_id=file.file_id)

        await asyncio.gather(
            *(save_and_delete((one, other)[number % 2], number) for number in range(40)),
            *(store.clean_up() for store in (one, other) for _ in range(5)),
        )
        await assert_consistent(settings, database)
        assert await one.clean_up() == CleanUpReport()


async def test_users_directory_that_vanished_is_made_again(
    store: FileStore, settings: Settings
) -> None:
    file = await save(store)
    file.file_path.unlink()
    file.file_path.parent.rmdir()
    with contextlib.suppress(FileNotFoundError):
        (settings.data_dir / "user_files/.database").unlink()
    (settings.data_dir / "user_files").rmdir()
    again = await save(store)
    assert again.file_path.read_bytes() == b"a"


async def test_data_directory_that_vanished_is_one_sentence(
    store: FileStore, settings: Settings
) -> None:
    (settings.data_dir / "user_files/.database").unlink()
    (settings.data_dir / "user_files").rmdir()
    settings.data_dir.rmdir()
    with pytest.raises(StorageFailed):
        await save(store)


async def test_moved_data_directory_keeps_its_files(
    open_store: Opener, settings: Settings, tmp_path: Path
) -> None:
    async with open_store() as store:
        file = await save(store)
    moved = tmp_path / "moved"
    settings.data_dir.rename(moved)
    async with open_store(data_dir=moved) as store:
        (found,) = await store.list(user_id="42")
        assert found.file_id == file.file_id
        assert found.file_path == moved / "user_files/42" / file.file_path.name
        assert found.file_path.read_bytes() == b"a"


async def test_files_of_an_earlier_data_directory_stay_readable(
    open_store: Opener, settings: Settings, tmp_path: Path
) -> None:
    async with open_store() as store:
        file = await save(store)
    async with open_store(data_dir=tmp_path / "new") as store:
        assert await store.list(user_id="42") == (file,)
        assert file.file_path.read_bytes() == b"a"


async def test_files_recorded_in_another_database_are_not_taken_for_orphans(
    open_store: Opener, settings: Settings
) -> None:
    async with open_store() as store:
        file = await save(store)
    other = Settings(**{**dict(settings), "mongodb_database": f"test-{uuid.uuid4().hex}"})
    async with open_database(other) as database:
        try:
            with pytest.raises(DataDirectoryUnusable, match="another database"):
                async with FileStore.open(other, database=database):
                    pass
            assert file.file_path.exists()
        finally:
            await database.client.drop_database(database.name)


# --- followers --------------------------------------------------------------------------------


async def test_every_change_is_told_after_it_is_made(open_store: Opener, clock: Clock) -> None:
    told: list[tuple[str, str]] = []

    def follow(event: FileEvent) -> None:
        told.append((event.kind, event.file.filename))
        if event.kind == "saved":
            assert event.file.file_path.exists()
        else:
            assert not event.file.file_path.exists()

    async with open_store(max_files_per_user=2) as store:
        store.subscribe(follow)
        await save(store, "a")
        await save(store, "b")
        await save(store, "c")
        file = await save(store, "d")
        await store.delete(user_id="42", file_id=file.file_id)
        clock.forward(hours=48)
        await store.clean_up()
        store.unsubscribe(follow)
        store.unsubscribe(follow)
        await save(store, "e")
    assert told == [
        ("saved", "a"),
        ("saved", "b"),
        ("saved", "c"),
        ("deleted", "a"),
        ("saved", "d"),
        ("deleted", "b"),
        ("deleted", "d"),
        ("deleted", "c"),
    ]


async def test_follower_that_fails_hinders_nobody(store: FileStore) -> None:
    told: list[str] = []

    def fail(event: FileEvent) -> None:
        raise RuntimeError("a follower's own matter")

    store.subscribe(fail)
    store.subscribe(lambda event: told.append(event.kind))
    await save(store)
    assert told == ["saved"]


# --- a user's own cap, and all of a user's files ----------------------------------------------


async def save_some(store: FileStore, *filenames: str) -> None:
    for filename in filenames:
        await store.save(user_id="1", filename=filename, source=filename.encode())


async def test_own_cap_holds_from_the_next_save_and_for_this_user_only(
    open_store: Opener,
) -> None:
    async with open_store(max_files_per_user=2) as store:
        store.set_max_files(user_id="1", max_files=3)
        await save_some(store, "a", "b", "c")
        assert await names(store, "1") == ["a", "b", "c"]
        await save_some(store, "d")
        assert await names(store, "1") == ["b", "c", "d"]
        for name in ("a", "b", "c"):
            await store.save(user_id="2", filename=name, source=b"")
        assert await names(store, "2") == ["b", "c"]
        store.set_max_files(user_id="1", max_files=1)
        await save_some(store, "e")
        assert await names(store, "1") == ["e"]
        store.set_max_files(user_id="1", max_files=None)
        await save_some(store, "f", "g")
        assert await names(store, "1") == ["f", "g"]


async def test_store_opened_again_takes_no_files_of_a_user_with_a_higher_cap(
    open_store: Opener,
) -> None:
    async with open_store(max_files_per_user=2) as store:
        store.set_max_files(user_id="1", max_files=4)
        await save_some(store, "a", "b", "c", "d")
    async with open_store(max_files_per_user=2) as store:
        assert await names(store, "1") == ["a", "b", "c", "d"]
        await save_some(store, "e")
        assert await names(store, "1") == ["b", "c", "d", "e"]
    async with open_store(max_files_per_user=2) as store:
        (oldest, *_) = await store.list(user_id="1")
        await store.touch(user_id="1", file_id=oldest.file_id)
        assert await names(store, "1") == ["c", "d", "e", "b"]
        store.set_max_files(user_id="1", max_files=None)
        assert (await store.clean_up()).evicted == 2
        assert await names(store, "1") == ["e", "b"]


async def test_all_files_of_a_user_go_with_their_bytes_and_are_told(
    open_store: Opener, settings: Settings
) -> None:
    events: list[FileEvent] = []
    async with open_store() as store:
        await save_some(store, "a.csv", "b")
        kept = await store.save(user_id="2", filename="a.csv", source=b"other's")
        directory = settings.data_dir / "user_files/1"
        (directory / "22222222222a.csv").write_text("left over, without a record")
        (directory / ".22222222222b.part").write_text("left over")
        store.subscribe(events.append)
        assert await store.delete_all(user_id="1") == 2
        assert not directory.exists()
        assert kept.file_path.exists()
        assert [(event.kind, event.file.filename) for event in events] == [
            ("deleted", "a.csv"),
            ("deleted", "b"),
        ]
        assert await store.delete_all(user_id="1") == 0
        with pytest.raises(InvalidName):
            await store.delete_all(user_id="../2")
