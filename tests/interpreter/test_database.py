"""The way to MongoDB, and the server beside the service when there is none."""

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from interpreter.data_directory import DataDirectoryLock
from interpreter.database import database_address, open_database, unavailable
from interpreter.documents import StoredFileDocument, bind
from interpreter.embedded_server import find_server
from interpreter.errors import DatabaseUnavailable, DataDirectoryInUse, DataDirectoryUnusable
from interpreter.settings import Settings
from tests.service.waiting import until

Database = AsyncDatabase[dict[str, Any]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "service")


@pytest.fixture
def sockets_may_be_left() -> Iterator[None]:
    """For tests in which a server can't be reached.

    pymongo 4.20 doesn't close the socket of a connection attempt that is cancelled; it goes with
    the next collection of garbage, and must not be held against the test that comes then.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def server_pid(settings: Settings) -> int:
    return int(json.loads((settings.data_dir / "database/server.json").read_text())["pid"])


def ended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    # Dead, but nobody has asked for its exit status: whoever inherited it may take its time.
    return stat.rpartition(")")[2].split()[0] == "Z"


@contextmanager
def innocent_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


async def until_ended(pid: int) -> None:
    if ended(pid):
        return
    descriptor = os.pidfd_open(pid)
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def once_it_answers(ask: Callable[[], Awaitable[Any]]) -> Any:
    while True:
        with suppress(PyMongoError):  # the connection of before is broken
            return await ask()


@contextmanager
def service_of_its_own(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has an embedded database with one document in it."""
    code = """
import asyncio, sys
from pathlib import Path
from interpreter.database import open_database
from interpreter.settings import Settings

async def main():
    async with open_database(Settings(data_dir=Path(sys.argv[1]))) as database:
        await database["things"].insert_one({"kept": True})
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(settings.data_dir)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# --- embedded ---------------------------------------------------------------------------------


async def test_embedded_database_keeps_its_data_across_restarts(embedded: Settings) -> None:
    for count in range(3):
        async with open_database(embedded) as database:
            assert await database["things"].count_documents({}) == count
            await database["things"].insert_one({"count": count})


async def test_embedded_server_ends_with_the_service(embedded: Settings) -> None:
    async with open_database(embedded):
        pid = server_pid(embedded)
        assert not ended(pid)
    assert ended(pid)


async def test_embedded_server_ends_with_a_cancelled_service(embedded: Settings) -> None:
    opened = asyncio.Event()

    async def serve() -> None:
        async with open_database(embedded):
            opened.set()
            await asyncio.Event().wait()

    service = asyncio.create_task(serve())
    await opened.wait()
    pid = server_pid(embedded)
    service.cancel()
    with pytest.raises(asyncio.CancelledError):
        await service
    assert ended(pid)


async def test_embedded_server_ends_with_a_killed_service(embedded: Settings) -> None:
    with service_of_its_own(embedded) as service:
        pid = server_pid(embedded)
        service.kill()
        await until_ended(pid)
    async with open_database(embedded) as database:
        assert await database["things"].count_documents({"kept": True}) == 1


async def test_server_that_outlived_a_killed_service_is_ended_by_the_next(
    embedded: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "interpreter.embedded_server")
    with service_of_its_own(embedded) as service:
        pid = server_pid(embedded)
        os.kill(pid, signal.SIGSTOP)  # Deaf to everything but SIGKILL.
        service.kill()
        service.wait()
        assert not ended(pid)
        async with open_database(embedded) as database:
            assert await database["things"].count_documents({"kept": True}) == 1
        assert ended(pid)
    (record,) = [record for record in caplog.records if "left over" in record.message]
    assert record.levelno == logging.INFO  # It is dealt with: nothing to warn a person of.


async def test_process_that_was_given_the_pid_of_a_former_server_is_left_alone(
    embedded: Settings,
) -> None:
    async with open_database(embedded):
        record = json.loads((embedded.data_dir / "database/server.json").read_text())
    with innocent_process() as innocent:
        record["pid"] = innocent.pid
        (embedded.data_dir / "database/server.json").write_text(json.dumps(record))
        async with open_database(embedded):
            assert innocent.poll() is None


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"pid": "x"}', '{"pid": -1}'])
async def test_damaged_record_of_a_server_hinders_nobody(embedded: Settings, record: str) -> None:
    (embedded.data_dir / "database").mkdir(parents=True)
    (embedded.data_dir / "database/server.json").write_text(record)
    async with open_database(embedded):
        pass


@pytest.mark.usefixtures("sockets_may_be_left")
async def test_embedded_server_that_dies_is_started_again_and_found_again(
    embedded: Settings,
) -> None:
    lost: list[DatabaseUnavailable] = []
    async with open_database(embedded, on_lost=lost.append) as database:
        await database["things"].insert_one({"_id": "kept"})
        for count in (1, 2):
            pid = server_pid(embedded)
            os.kill(pid, signal.SIGKILL)
            await until_ended(pid)
            assert await once_it_answers(database["things"].find_one) == {"_id": "kept"}
            assert server_pid(embedded) != pid
            assert len(lost) == count
    assert str(lost[0]) == (
        f"The database embedded in '{embedded.data_dir}/database' is not available: its server "
        "was killed by SIGKILL; it is being started again."
    )


@pytest.mark.usefixtures("sockets_may_be_left")
async def test_embedded_server_that_can_not_be_started_again_is_tried_until_it_can(
    embedded: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(embedded) as database:
        await database["things"].insert_one({"_id": "kept"})
        pid, record = server_pid(embedded), embedded.data_dir / "database/server.json"
        record.unlink()
        record.mkdir()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "could not be started again" in caplog.text)
        with pytest.raises(PyMongoError) as raised:
            await database["things"].find_one({})
        record.rmdir()
        assert await once_it_answers(database["things"].find_one) == {"_id": "kept"}
    said = str(unavailable(embedded, raised.value))
    assert "\n" not in said
    assert "topology" not in said.lower()
    assert said.endswith("it is started again if it has ended, so try again in a moment.")


async def test_second_service_on_the_same_embedded_database_is_told(embedded: Settings) -> None:
    with service_of_its_own(embedded) as service:
        with pytest.raises(DataDirectoryInUse) as raised:
            async with open_database(embedded):
                pass
        assert raised.value.pid == service.pid
        assert str(service.pid) in str(raised.value)


async def test_embedded_database_lets_no_stranger_in(embedded: Settings) -> None:
    async with open_database(embedded) as database:
        host, port = await database.client.address or ("", 0)
        uri = f"mongodb://{host}:{port}/?directConnection=true"
        async with AsyncMongoClient[dict[str, Any]](uri) as stranger:
            with pytest.raises(OperationFailure):
                await stranger[database.name]["things"].find_one({})
        with pytest.raises(DatabaseUnavailable, match="wants a user name"):
            async with open_database(Settings(mongodb_uri=SecretStr(uri))):
                pass
        wrong = SecretStr(f"mongodb://cellmate:hunter2@{host}:{port}/?directConnection=true")
        with pytest.raises(DatabaseUnavailable, match="refused the user name") as raised:
            async with open_database(Settings(mongodb_uri=wrong)):
                pass
        assert "hunter2" not in str(raised.value)
    secret = embedded.data_dir / "database/password"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700


async def test_lost_password_locks_nobody_out(embedded: Settings) -> None:
    async with open_database(embedded) as database:
        await database["things"].insert_one({})
    (embedded.data_dir / "database/password").unlink()
    async with open_database(embedded) as database:
        assert await database["things"].count_documents({}) == 1


async def test_embedded_database_that_cannot_start_says_why(embedded: Settings) -> None:
    (embedded.data_dir / "database").mkdir(parents=True)
    (embedded.data_dir / "database/storage").write_text("in the way")
    with pytest.raises(DatabaseUnavailable) as raised:
        async with open_database(embedded):
            pass
    assert "while starting; its last words: " in str(raised.value)
    assert "\n" not in str(raised.value)


def put_file_in_place_of_the_directory(database: Path) -> None:
    database.write_text("in the way")


def put_directory_in_place_of_the_record(database: Path) -> None:
    (database / "server.json").mkdir(parents=True)


def put_directory_in_place_of_the_password(database: Path) -> None:
    (database / "storage").mkdir(parents=True)
    (database / "password").mkdir()


def fill_the_disk_under_the_password(database: Path) -> None:
    database.mkdir()
    (database / "password").symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (put_file_in_place_of_the_directory, r"File exists \('.*database'\); move away what"),
        (put_directory_in_place_of_the_record, r"Is a directory \('.*json'\); move away what"),
        (put_directory_in_place_of_the_password, r"Is a directory \('.*word'\); move away what"),
        (fill_the_disk_under_the_password, "No space left on device; free some space"),
    ],
)
async def test_disk_that_refuses_the_embedded_database_is_one_sentence(
    embedded: Settings, prepare: Callable[[Path], None], reason: str
) -> None:
    embedded.data_dir.mkdir()
    prepare(embedded.data_dir / "database")
    with pytest.raises(DatabaseUnavailable, match=f"it did not start: {reason}") as raised:
        async with open_database(embedded):
            pass
    assert "Errno" not in str(raised.value)
    assert raised.value.uri == database_address(embedded)


@pytest.mark.skipif(os.geteuid() == 0, reason="root is refused nothing")
async def test_embedded_database_without_permissions_says_what_to_do(embedded: Settings) -> None:
    directory = embedded.data_dir / "database"
    directory.mkdir(parents=True)
    directory.chmod(0)
    try:
        with pytest.raises(DatabaseUnavailable, match=r"Permission denied .*; give the user"):
            async with open_database(embedded):
                pass
    finally:
        directory.chmod(0o700)


async def test_start_of_the_embedded_database_is_told(embedded: Settings) -> None:
    told: list[str] = []
    async with open_database(embedded, told.append):
        assert told == ["Starting the embedded database."]


def test_server_program_is_found_without_a_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    program = find_server()
    assert program is not None
    assert os.access(program, os.X_OK)


# --- an operator's MongoDB --------------------------------------------------------------------


@pytest.mark.usefixtures("sockets_may_be_left")
async def test_unreachable_database_is_one_sentence_without_credentials() -> None:
    uri = SecretStr("mongodb://me:hunter2@127.0.0.1:9/secret?authSource=other")
    with pytest.raises(DatabaseUnavailable) as raised:
        async with open_database(Settings(mongodb_uri=uri)):
            pass
    text = str(raised.value)
    assert text.startswith("The database mongodb://127.0.0.1:9/secret is not available: nothing ")
    assert "Connection refused" in text
    for hidden in ("\n", "hunter2", "me:", "authSource", "Topology", "configured"):
        assert hidden not in text


@pytest.mark.usefixtures("sockets_may_be_left")
async def test_piece_of_a_password_that_passes_for_a_host_is_not_said() -> None:
    settings = Settings(mongodb_uri=SecretStr("mongodb://me:hun@127.0.0.1:9/ter2@db:99999"))
    with pytest.raises(DatabaseUnavailable) as raised:
        async with open_database(settings):
            pass
    assert str(raised.value) == (
        "The database mongodb://db:99999 is not available: nothing answered within 5 s; "
        "any of : / ? [ ] @ % in the user name or password must be percent-encoded."
    )
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("password", ["p@ss", "p/ss", "p?ss", "p@ss/w"])
@pytest.mark.parametrize(
    "error", [ServerSelectionTimeoutError, AutoReconnect, ConfigurationError, OperationFailure]
)
def test_no_error_tells_a_piece_of_a_password_that_is_not_encoded(
    password: str, error: type[PyMongoError]
) -> None:
    settings = Settings(mongodb_uri=SecretStr(f"mongodb://me:{password}@db"))
    said = str(unavailable(settings, error("ss:27017: Name or service not known")))
    assert "ss:27017" not in said
    assert "percent-encoded" in said


@pytest.mark.usefixtures("sockets_may_be_left")
async def test_database_that_never_answers_is_given_up_on() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DatabaseUnavailable):
            async with open_database(
                Settings(mongodb_uri=SecretStr(f"mongodb://127.0.0.1:{port}"))
            ):
                pass


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("mongodb://me:hun/ter2@db", "mongodb://db"),
        ("mongodb://me:hun@ter2@db", "mongodb://db"),
        ("mongodb://me:hun?ter2@db", "mongodb://db"),
        ("mongodb://me:hun%ter2@db:x", "mongodb://db:x"),
        ("mongodb://me:ter2@db:99999", "mongodb://db:99999"),
        ("mongodb://", "mongodb://"),
        ("mongodb://db:port", "mongodb://db:port"),
        ("mongodb+srv://me:ter2@db:27017", "mongodb+srv://db:27017"),
    ],
)
async def test_address_of_the_wrong_form_is_said_without_its_password(
    uri: str, address: str
) -> None:
    settings = Settings(mongodb_uri=SecretStr(uri))
    with pytest.raises(DatabaseUnavailable) as raised:
        async with open_database(settings):
            pass
    assert raised.value.uri == address == database_address(settings)
    assert "ter2" not in str(raised.value)
    assert "form" in str(raised.value)
    assert raised.value.__cause__ is None


async def test_two_databases_in_one_process_stay_apart(database: Database) -> None:
    here = await bind(StoredFileDocument, database)
    there = await bind(StoredFileDocument, database.client[f"{database.name}-other"])
    assert here.get_pymongo_collection().database.name == database.name
    assert there.get_pymongo_collection().database.name == f"{database.name}-other"
    await database.client.drop_database(f"{database.name}-other")


async def test_times_come_back_with_their_time_zone(database: Database) -> None:
    assert database.codec_options.tz_aware


# --- the data directory -----------------------------------------------------------------------


def test_data_directory_has_one_service_at_a_time(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path / "d"):
        with pytest.raises(DataDirectoryInUse) as raised, DataDirectoryLock(tmp_path / "d"):
            pass
        assert raised.value.pid == os.getpid()
    with DataDirectoryLock(tmp_path / "d"):
        pass


def test_data_directory_of_a_killed_service_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from interpreter.data_directory import DataDirectoryLock;"
        "DataDirectoryLock(Path(sys.argv[1])).__enter__();"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(DataDirectoryInUse) as raised, DataDirectoryLock(tmp_path):
            pass
        assert raised.value.pid == holder.pid
        holder.kill()
    with DataDirectoryLock(tmp_path):
        pass


def test_data_directory_is_made_so_that_others_pass_through_but_cannot_look(
    tmp_path: Path,
) -> None:
    umask = os.umask(0o077)
    try:
        with DataDirectoryLock(tmp_path / "a/b"):
            assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o711
    finally:
        os.umask(umask)


def test_data_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(DataDirectoryUnusable, match="everybody"), DataDirectoryLock(tmp_path):
        pass


def test_data_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
    else:
        foreign = Path("/usr")
    with pytest.raises(DataDirectoryUnusable, match="belongs to"), DataDirectoryLock(foreign):
        pass


def test_data_directory_may_be_a_link_of_ours_but_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with DataDirectoryLock(tmp_path / "link"):
        pass
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(DataDirectoryUnusable), DataDirectoryLock(path):
            pass


def test_linked_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/.lock").symlink_to("../precious")
    with pytest.raises(DataDirectoryUnusable), DataDirectoryLock(tmp_path / "d"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
