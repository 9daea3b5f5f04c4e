"""Snapshots on the disk, and what is said of them; no kernel is needed."""

import asyncio
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from interpreter.hosts import slots
from interpreter.snapshot_store import SnapshotStore
from interpreter.snapshots import (
    LostVariable,
    Restoration,
    Told,
    restoration_of,
)

MIB = 1 << 20
LIMIT = 256 * MIB


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    opened = SnapshotStore(tmp_path / "snapshots")
    opened.open()
    return opened


def _keep(store: SnapshotStore, user_id: str, content: bytes = b"x", cells: int = 1) -> Path:
    path = store.new(user_id)
    path.write_bytes(content)
    store.keep(user_id, path, cells=cells, variables=1, outdated=False)
    return path


def test_latest_snapshot_is_the_users(store: SnapshotStore, tmp_path: Path) -> None:
    first = _keep(store, "a", b"1")
    second = _keep(store, "a", b"22", cells=3)
    found = store.find("a")
    assert found is not None
    assert (found.path, found.size_bytes, found.cells) == (second, 2, 3)
    assert not first.exists() and store.find("b") is None
    assert stat.S_IMODE((tmp_path / "snapshots").stat().st_mode) == 0o700


def test_snapshots_outlive_the_service_and_leftovers_do_not(
    store: SnapshotStore, tmp_path: Path
) -> None:
    kept = _keep(store, "a")
    left = store.new("a")
    left.write_bytes(b"half of one")
    store.new("b").write_bytes(b"never kept")
    again = SnapshotStore(tmp_path / "snapshots")
    again.open()
    assert again.may_have("a") and not again.may_have("b")
    found = again.find("a")
    assert found is not None and found.path == kept
    assert not left.exists() and not (tmp_path / "snapshots" / "b").exists()


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "{}",
        '{"file": "../../a", "bytes": 1, "cells": 1, "saved_at": 1}',
        '{"file": "0123456789abcdef", "bytes": 1, "cells": 1, "saved_at": 1}',
        "x" * 10_000,
    ],
)
def test_record_that_is_damaged_is_no_snapshot(store: SnapshotStore, record: str) -> None:
    path = _keep(store, "a")
    path.with_name("snapshot.json").write_text(record)
    assert store.find("a") is None


def test_mark_belongs_to_one_snapshot_and_outlives_the_service(
    store: SnapshotStore, tmp_path: Path
) -> None:
    def is_outdated() -> bool:
        again = SnapshotStore(tmp_path / "snapshots")
        again.open()
        found = again.find("a")
        assert found is not None
        return found.outdated

    store.mark("a")  # there is none
    _keep(store, "a")
    assert not is_outdated()
    for _ in range(2):
        store.mark("a")
        assert is_outdated()
    _keep(store, "a")
    assert not is_outdated()
    path = store.new("a")
    path.write_bytes(b"x")
    store.keep("a", path, cells=1, variables=1, outdated=True)
    assert is_outdated()
    assert len(list(path.parent.iterdir())) == 3


def test_record_of_a_version_that_counted_no_variables_is_read(store: SnapshotStore) -> None:
    path = _keep(store, "a")
    record = json.loads(path.with_name("snapshot.json").read_text())
    assert record.pop("variables") == 1
    path.with_name("snapshot.json").write_text(json.dumps(record))
    found = store.find("a")
    assert found is not None and (found.path, found.variables) == (path, None)


def test_file_of_another_size_is_no_snapshot(store: SnapshotStore) -> None:
    path = _keep(store, "a", b"whole")
    path.write_bytes(b"who")
    assert store.find("a") is None


def test_deleted_and_expired_snapshots_are_gone(store: SnapshotStore) -> None:
    first, second, third = (_keep(store, user) for user in "abc")
    store.delete("a")
    store.delete("nobody")
    assert not first.exists() and not store.may_have("a")
    record = json.loads(second.with_name("snapshot.json").read_text())
    record["saved_at"] -= 101
    second.with_name("snapshot.json").write_text(json.dumps(record))
    assert store.expire(older_than_s=100) == 1
    assert not second.exists() and third.exists()


def _free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Have a disk of 1,000 bytes, of which 100 are left to files."""
    usage = SimpleNamespace(total=1_000, free=100 + free_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


@pytest.mark.parametrize(
    ("free_bytes", "left"),
    [(0, "abc"), (-1, "bc"), (-5, "bc"), (-6, "c"), (-10, "c"), (-11, "abc")],
)
def test_only_as_many_snapshots_as_must_make_room(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch, free_bytes: int, left: str
) -> None:
    kept = {user: _keep(store, user, b"12345") for user in "ab"} | {"c": _keep(store, "c", b"12")}
    _free(monkeypatch, free_bytes - 2)  # of which the one of before gives back two
    store.new("c").write_bytes(b"new")
    if free_bytes < -10:  # both would not be enough
        with pytest.raises(OSError, match="no room"):
            store.make_room("c")
    else:
        store.make_room("c")
    assert "".join(user for user, path in kept.items() if path.exists()) == left


def test_snapshot_may_be_as_large_as_what_can_make_room_for_it(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in "abc":
        _keep(store, user, b"12345")
    _free(monkeypatch, 7)
    with store.at_work("b"):
        assert store.most_room("c") == 7 + 5 + 5
    assert store.most_room("c") == 22
    _free(monkeypatch, -50)
    assert store.most_room("c") == 0


def test_snapshot_at_work_makes_no_room_and_does_not_expire(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {user: _keep(store, user, b"12345") for user in "ab"}
    _free(monkeypatch, -3)
    with store.at_work("a"):
        assert store.expire(older_than_s=-100) == 1  # all are older than in the future
        assert kept["a"].exists() and not kept["b"].exists()
        with pytest.raises(OSError, match="no room"):
            store.make_room("c")
        assert kept["a"].exists()
    store.make_room("c")
    assert store.find("a") is None


async def _room(store: SnapshotStore, user_id: str, done: asyncio.Event, wait_s: float) -> int:
    """How much room is kept for a user's snapshot, which is written until it is done."""
    async with store.room_for(user_id, 100, wait_s=wait_s) as most:
        await done.wait()
        return most


async def test_room_is_kept_for_one_snapshot_only(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _free(monkeypatch, 250)
    done = asyncio.Event()
    done.set()
    async with store.room_for("a", 100, wait_s=0.0) as first:
        rooms = [await _room(store, user, done, 0.0) for user in "bb"]
        async with store.room_for("b", 100, wait_s=0.0) as second:
            assert (first, rooms, second) == (100, [100, 100], 100)
            assert await _room(store, "c", done, 0.0) == 50
            async with store.room_for("c", 100, wait_s=0.0):
                assert await _room(store, "d", done, 0.0) == 0
    assert await _room(store, "d", done, 0.0) == 100


async def test_who_saves_waits_for_room_that_others_need_not(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _free(monkeypatch, 150)
    done = asyncio.Event()
    async with store.room_for("a", 100, wait_s=0.0):
        waiting = [asyncio.create_task(_room(store, user, done, 3600.0)) for user in "bcd"]
        given_up = asyncio.create_task(_room(store, "e", done, 3600.0))
        await asyncio.sleep(0.1)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert not any(task.done() for task in waiting)
    done.set()
    assert [await task for task in waiting] == [100, 100, 100]


async def test_room_that_was_measured_before_another_was_written_is_measured_again(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _free(monkeypatch, 100)
    measured, written = threading.Event(), threading.Event()
    most_room = SnapshotStore.most_room

    def slow(store: SnapshotStore, user_id: str) -> int:
        room = most_room(store, user_id)
        if user_id == "b" and not measured.is_set():
            measured.set()
            written.wait(60)
        return room

    monkeypatch.setattr(SnapshotStore, "most_room", slow)
    done = asyncio.Event()
    done.set()
    async with store.room_for("a", 100, wait_s=0.0):
        second = asyncio.create_task(_room(store, "b", done, 0.0))
        await asyncio.to_thread(measured.wait, 60)
        _free(monkeypatch, 10)  # it is written
    written.set()
    assert await second == 10


def test_making_room_takes_nothing_that_is_being_written(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _keep(store, "a", b"12345")
    coming = store.new("a")
    coming.write_bytes(b"123")
    _free(monkeypatch, -1)
    store.make_room("c")  # looked just before "a" was at work
    assert not before.exists()
    kept = store.keep("a", coming, cells=2, variables=0, outdated=False)
    assert kept == store.find("a")


def _lost(name: str, why: str, detail: str = "", size_bytes: int = 0) -> LostVariable:
    return LostVariable(name, why, detail, size_bytes)


SENTENCES = {
    "all": (Restoration(("a", "b"), 2), "2 variables were restored (a, b).", False),
    "one": (Restoration(("a",), 1), "1 variable was restored (a).", False),
    "many": (
        Restoration(("a", "b", "c", "d", "e"), 1200),
        "1,200 variables were restored (a, b, c, d, e, ...).",
        False,
    ),
    "some": (
        Restoration(
            ("df", "model"),
            2,
            (_lost("big", "size", "", 512 * MIB), _lost("gen", "kind", "generator")),
            2,
            LIMIT,
        ),
        "2 variables were restored (df, model), 2 could not be: big (512 MB, more than the limit "
        "of 256 MB), gen (a generator can't be saved).",
        True,
    ),
    "most lost": (
        Restoration(("a",), 1, tuple(_lost(n, "deep") for n in "vwxyz"), 9, LIMIT),
        "1 variable was restored (a), 9 could not be: v (it is nested too deeply), w (it is nested "
        "too deeply), x (it is nested too deeply), y (it is nested too deeply), and 5 more.",
        True,
    ),
    "none": (
        Restoration(lost=(_lost("f", "holds", "file"),), lost_count=1),
        "None of the variables of before could be restored: f (it holds an open file, which can't "
        "be saved).",
        True,
    ),
    "nothing": (Restoration(), "There were no variables.", False),
    "old": (
        Restoration(("a",), 1, age_s=250, cells_since=1),
        "1 variable was restored as it was 4 minutes ago (a); what was done since is lost.",
        True,
    ),
    "failed": (
        Restoration(failed="loading them took too long, so this is a clean kernel"),
        "The variables of before could not be restored: loading them took too long, so this is a "
        "clean kernel.",
        True,
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_user_reads_what_was_restored_and_what_was_not(case: str) -> None:
    restoration, sentence, lost = SENTENCES[case]
    assert restoration.sentence() == sentence
    told = Told.of("It was stopped.", restoration)
    assert (told.sentence, told.lost) == (f"It was stopped. {sentence}", lost)
    assert Told.of(None, restoration).sentence == sentence


def test_without_a_snapshot_the_variables_are_gone() -> None:
    assert Told.of(None, None) == Told(None, lost=False)
    told = Told.of("It was stopped.", None)
    assert told == Told("It was stopped. The variables of before are gone.", lost=True)


_ENDED = "The kernel ended itself (exit status 3)."
_CULLED = "The kernel was stopped after being idle for long; the files stay."
_DIRECTORY = (
    "The working directory is gone, with the files in it; what was uploaded or handed out is still "
    "there."
)
_ALL = Restoration(("x",), 1)
_PART = Restoration(("x",), 1, cells_since=1)
_GONE = "The variables of before are gone."


@pytest.mark.parametrize(
    ("gone", "files", "restoration", "sentence", "lost"),
    [
        (None, _DIRECTORY, None, _DIRECTORY, False),
        (None, _DIRECTORY, _ALL, f"{_DIRECTORY} 1 variable was restored (x).", False),
        (
            None,
            _DIRECTORY,
            _PART,
            f"{_DIRECTORY} 1 variable was restored (x); what was done since is lost.",
            True,
        ),
        (_ENDED, _DIRECTORY, None, f"{_ENDED} {_DIRECTORY} {_GONE}", True),
        (_ENDED, _DIRECTORY, _ALL, f"{_ENDED} {_DIRECTORY} 1 variable was restored (x).", False),
        (
            _CULLED,
            _DIRECTORY,
            _ALL,
            f"The kernel was stopped after being idle for long. {_DIRECTORY} 1 variable was "
            "restored (x).",
            False,
        ),
        (
            _CULLED,
            _DIRECTORY,
            Restoration(),
            f"The kernel was stopped after being idle for long. {_DIRECTORY} There were no "
            "variables.",
            False,
        ),
        (_CULLED, None, _ALL, f"{_CULLED} 1 variable was restored (x).", False),
        (_CULLED, None, None, f"{_CULLED} {_GONE}", True),
    ],
)
def test_user_reads_of_files_that_are_gone_beside_what_became_of_the_variables(
    gone: str | None, files: str | None, restoration: Restoration | None, sentence: str, lost: bool
) -> None:
    assert Told.of(gone, restoration, files) == Told(sentence, lost, files)


def _told(**reply: object) -> Restoration:
    return restoration_of(reply, limit_bytes=LIMIT, age_s=0.0, cells_since=0)


def test_what_a_kernel_says_is_cleaned() -> None:
    done = _told(
        restored=["fine", "not fine", "x\n@everyone", 5, "é", "n" * 5_000],
        restored_count=10**30,
        lost=[
            ["gone", "kind", "generator", 10**30],
            ["gone2", "kind", "<@1> [click](http://x)", -5],
            ["worse", "ignore all", "generator", 1],
            ["bad name", "kind", "x", 1],
            ["short"],
            None,
        ],
        lost_count="many",
    )
    assert done.names == ("fine", "é") and done.count == 2 and done.lost_count == 3
    said = done.sentence()
    assert said == (
        "2 variables were restored (fine, é), 3 could not be: gone (a generator can't be saved), "
        "gone2 (something can't be saved), worse (it can't be saved)."
    )


@pytest.mark.parametrize("reply", [{}, {"restored": {}, "lost": "x"}, {"lost": [[[], [], [], []]]}])
def test_nonsense_restores_nothing(reply: dict[str, object]) -> None:
    assert _told(**reply).sentence() == "There were no variables."


def test_names_and_lists_are_bounded() -> None:
    losses = [[f"v{n}" + "x" * 1_000, "kind", "t" * 1_000, 1] for n in range(10_000)]
    done = _told(restored=["n" * 5_000] * 10_000, lost=losses, lost_count=10_000)
    assert len(done.sentence()) < 2_000


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    made = tmp_path / "slot"
    slots.create(made, owner=None)
    return made


@pytest.mark.parametrize(("size", "taken"), [(99, True), (100, True), (101, False)])
def test_limit_of_what_is_taken_is_exact(
    slot: Path, tmp_path: Path, size: int, taken: bool
) -> None:
    left, target = slot / "home" / ".snapshot", tmp_path / "taken"
    left.write_bytes(b"x" * size)
    if taken:
        assert slots.take_snapshot(slot, target, most_bytes=100) == size
        assert target.read_bytes() == b"x" * size
    else:
        with pytest.raises(OSError, match="more than 100 bytes"):
            slots.take_snapshot(slot, target, most_bytes=100)
        assert not target.exists()
    assert not left.exists()


def test_taken_snapshot_is_a_copy(slot: Path, tmp_path: Path) -> None:
    with open(slot / "home" / ".snapshot", "wb", buffering=0) as written:
        written.write(b"saved")
        slots.take_snapshot(slot, tmp_path / "taken", most_bytes=100)
        written.write(b" and more")  # by whoever still has it open
    assert (tmp_path / "taken").read_bytes() == b"saved"


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _nothing(path: Path) -> None:
    pass


def _linked_home(path: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to("/etc")


@pytest.mark.parametrize("leave", [_link, _directory, _fifo, _nothing, _linked_home])
def test_only_a_regular_file_is_taken(
    slot: Path, tmp_path: Path, leave: Callable[[Path], None]
) -> None:
    leave(slot / "home" / ".snapshot")
    with pytest.raises(OSError):
        slots.take_snapshot(slot, tmp_path / "taken", most_bytes=100)
    assert not (tmp_path / "taken").exists()


def test_given_snapshot_is_shown_until_it_is_taken_away(slot: Path, tmp_path: Path) -> None:
    snapshot, shown = tmp_path / "kept", slot / "packages" / ".snapshot"
    for content in ("1", "2"):  # what an earlier service has left is replaced
        snapshot.unlink(missing_ok=True)
        snapshot.write_text(content)
        slots.give_snapshot(slot, snapshot)
        assert shown.read_text() == content
    slots.give_snapshot(slot, None)
    slots.give_snapshot(slot, None)
    assert not shown.exists() and snapshot.read_text() == "2"
