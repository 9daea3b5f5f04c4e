"""NotebookStore: the cells of sessions on disk, for a service that comes later.

A file for each cell, named by its number in the session, so that a cell costs what it is itself and
never what was before it. Who dies in the midst of writing leaves the file of before, or none.
"""

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from interpreter.logs import get_logger
from interpreter.notebook import MOST_BYTES, MOST_CELLS, CellRecord, record_bytes
from interpreter.outputs import CellError, DisplayData, ExecuteResult, Output, Stream
from interpreter.terminal import encodable

log = get_logger(__name__)

_NAME = re.compile(r"([1-9][0-9]{0,9})\.json")
_KINDS = {kind.__name__: kind for kind in (Stream, DisplayData, ExecuteResult, CellError)}
_READERS: Mapping[str, TypeAdapter[Output]] = {
    name: TypeAdapter(kind) for name, kind in _KINDS.items()
}
#: JSON writes some characters as six. A cell whose file would be larger than so many times what
#: the notebook counts for it, and a little for the form, is kept without its outputs.
_MOST_SHARE, _FORM_BYTES = 2, 64 << 10
_MOST_FILE_BYTES = _MOST_SHARE * MOST_BYTES + _FORM_BYTES


class NotebookStore:
    """The cells of all sessions, in a directory that is the service's alone. All of it blocks.

    How much a session keeps is bounded by its notebook.
    """

    def __init__(self, root: Path) -> None:
        """Keep them below ``root``."""
        self._root = root

    def open(self) -> None:
        """Make the directory.

        Raises:
            OSError: it can't be made.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)

    def keep_only(self, user_ids: Collection[str]) -> None:
        """Delete what belongs to nobody of these."""
        for entry in os.scandir(self._root):
            if entry.name not in user_ids:
                try:
                    self.delete(entry.name)
                except OSError as error:  # the next start may do better
                    log.warning("a notebook not deleted", name=entry.name, reason=error.strerror)

    def read(self, user_id: str) -> dict[int, CellRecord]:
        """A session's cells by their numbers, which have no gap; the oldest first.

        What can't be read is left out, and all that was before it; it is deleted.

        Raises:
            OSError: the disk refuses.
        """
        directory = self._root / user_id
        if not directory.is_dir():
            return {}
        names = {entry.name for entry in os.scandir(directory)}
        numbers = sorted((int(m[1]) for m in map(_NAME.fullmatch, names) if m), reverse=True)
        records: dict[int, CellRecord] = {}
        for number in numbers[:MOST_CELLS]:
            if records and number + 1 not in records:
                break
            record = _read(directory / f"{number}.json")
            if record is not None:
                records[number] = record
            elif records:
                break
        for name in names - {f"{number}.json" for number in records}:
            (directory / name).unlink(missing_ok=True)
        return dict(sorted(records.items()))

    def write(
        self, user_id: str, changed: Mapping[int, CellRecord], *, gone: Iterable[int] = ()
    ) -> None:
        """Write cells, each of them whole or not at all.

        Args:
            user_id: whose they are.
            changed: the cells, by their numbers.
            gone: numbers of cells that are not kept any longer.

        Raises:
            OSError: the disk refuses; some may be written.
        """
        directory = self._root / user_id
        directory.mkdir(mode=0o700, exist_ok=True)
        for number, record in sorted(changed.items()):
            _write(directory / f"{number}.json", record)
        for number in sorted(gone):
            (directory / f"{number}.json").unlink(missing_ok=True)

    def delete(self, user_id: str) -> None:
        """Delete a session's cells.

        Raises:
            OSError: the disk refuses.
        """
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / user_id)


def _write(path: Path, record: CellRecord) -> None:
    coming = path.with_suffix(".new")
    try:
        size_bytes = _write_whole(coming, record)
        if size_bytes > _MOST_SHARE * record_bytes(record) + _FORM_BYTES:
            _write_whole(coming, replace(record, outputs=(), outputs_left_out=True))
        coming.replace(path)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise


def _write_whole(path: Path, record: CellRecord) -> int:
    """Write a cell; returns the size of its file in bytes."""
    content = {
        "code": encodable(record.code),
        "execution_count": record.execution_count,
        "outputs_left_out": record.outputs_left_out,
        "cell_id": record.cell_id,
        "outputs": [
            [type(output).__name__, {f.name: getattr(output, f.name) for f in fields(output)}]
            for output in record.outputs
        ],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
        # Piece by piece: in one piece, a large output would hold up the event loop.
        json.dump(content, file, ensure_ascii=False)
    return path.stat().st_size


def _read(path: Path) -> CellRecord | None:
    """The cell in a file; None if there is none in it."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MOST_FILE_BYTES:
                return None
            content = json.load(file)
        return _record_of(content)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _record_of(content: dict[str, Any]) -> CellRecord:
    """The cell that was written.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    code, count, cell_id = content["code"], content["execution_count"], content["cell_id"]
    if not isinstance(code, str) or not isinstance(cell_id, str):
        raise TypeError("it is no text")
    if count is not None and not isinstance(count, int):
        raise TypeError("it is no number")
    outputs = tuple(_READERS[kind].validate_python(output) for kind, output in content["outputs"])
    return CellRecord(code, count, outputs, content["outputs_left_out"] is True, cell_id)
