"""A session as a Jupyter notebook: the bounded record of its cells, and the document made of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nbformat

from interpreter.mime import is_base64_mime, is_json_mime, json_bytes, text_bytes
from interpreter.outputs import CellError, DisplayData, ExecuteResult, Output, Stream
from interpreter.terminal import encodable

# What a kernel has at hand without an import. A notebook opened elsewhere hasn't.
_PRELOADED = {
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "import matplotlib.pyplot as plt",
}
#: How much of a session is kept: so many cells, and all code and outputs together.
MOST_CELLS, MOST_BYTES = 500, 64 * 2**20
_FILE_NAMES = re.compile(r"\b(FILES|load_file)\b")
_SETUP_TAG = "cellmate-setup"
_LEFT_OUT_TAG = "cellmate-outputs-left-out"

_MISSING_FILES = '''\
try:
    load_file
except NameError:
    FILES = {}

    def load_file(file_id, **options):
        """Stands in for Cellmate's load_file, which reads files stored there."""
        raise FileNotFoundError(
            f"{file_id!r} is a file stored in Cellmate. Put a copy beside this notebook and "
            "read it from there, for instance with pd.read_csv."
        )
'''


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One cell that was executed.

    Attributes:
        code: Its source.
        execution_count: The number in `In[n]`, None if the kernel never gave it one.
        outputs: In the order of their arrival.
        outputs_left_out: True if it had outputs that the notebook has no room for.
        cell_id: Names it; empty if nobody asks.
    """

    code: str
    execution_count: int | None
    outputs: tuple[Output, ...] = ()
    outputs_left_out: bool = False
    cell_id: str = ""


def build_notebook(
    records: Iterable[CellRecord],
    *,
    cells_left_out: int = 0,
    kernel_name: str = "python3",
    language_info: Mapping[str, Any] | None = None,
) -> nbformat.NotebookNode:
    """A valid notebook (nbformat 4.5) of the cells, with their outputs.

    It starts with a note on its origin. If the cells use what Cellmate's kernels have at hand
    (`pd`, `np`, `plt`, `load_file`, `FILES`), a cell tagged `cellmate-setup` provides for it.

    Args:
        records: The cells, oldest first.
        cells_left_out: How many older cells are not among them; the note says so.
        kernel_name: Name of the kernelspec to open it with.
        language_info: As in a kernel's `kernel_info_reply`; None for plain Python 3.
    """
    records = tuple(records)
    cells = [_cell("markdown", _origin(records, cells_left_out))]
    if setup := _setup(records):
        cells.append(_cell("code", setup, tags=[_SETUP_TAG], execution_count=None, outputs=[]))
    cells += [
        _cell(
            "code",
            encodable(record.code),
            tags=[_LEFT_OUT_TAG] if record.outputs_left_out else [],
            execution_count=_valid_count(record.execution_count),
            outputs=[_output(output) for output in record.outputs],
        )
        for record in records
    ]
    for number, cell in enumerate(cells, start=1):
        # Random ids would make two exports of one session differ.
        cell["id"] = f"cell-{number}"
    notebook: nbformat.NotebookNode = nbformat.from_dict(  # type: ignore[no-untyped-call]  # has none
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {
                    "name": kernel_name,
                    "display_name": "Python 3",
                    "language": "python",
                },
                "language_info": language_info or {"name": "python", "file_extension": ".py"},
            },
            "cells": cells,
        }
    )
    return notebook


class NotebookLog:
    """The cells of a session so far, for a notebook, in bounded memory.

    What is too much is left out from the oldest on: first outputs, then whole cells. The notebook
    says so.

    Args:
        max_cells: How many cells are kept.
        max_bytes: Size of all code and outputs together.
        cells_left_out: How many cells came before and are not known here.
    """

    def __init__(
        self,
        *,
        max_cells: int = MOST_CELLS,
        max_bytes: int = MOST_BYTES,
        cells_left_out: int = 0,
    ) -> None:
        self._max_cells = max_cells
        self._max_bytes = max_bytes
        self._records: list[CellRecord] = []
        self._code_bytes: list[int] = []
        self._output_bytes: list[int] = []
        self._cells_left_out = cells_left_out

    def add(self, record: CellRecord) -> None:
        """Add the cell that was just executed.

        Its updates of displays that earlier cells showed replace those, as in any notebook. The
        last cell once more is not added: after a restart a kernel tells again what it did.
        """
        if record.cell_id and self._records and self._records[-1].cell_id == record.cell_id:
            return
        outputs = map(_without_csv, filter(self._is_new, record.outputs))
        record = replace(record, outputs=tuple(outputs))
        self._records.append(record)
        self._code_bytes.append(text_bytes(record.code))
        self._output_bytes.append(_outputs_bytes(record.outputs))
        self._leave_out()

    @property
    def records(self) -> tuple[CellRecord, ...]:
        """The cells that are kept, oldest first."""
        return tuple(self._records)

    @property
    def cells_left_out(self) -> int:
        """How many cells were too many."""
        return self._cells_left_out

    def clear(self) -> None:
        """Forget all cells."""
        self._records.clear()
        self._code_bytes.clear()
        self._output_bytes.clear()
        self._cells_left_out = 0

    def build(
        self, *, kernel_name: str = "python3", language_info: Mapping[str, Any] | None = None
    ) -> nbformat.NotebookNode:
        """The notebook of what is kept. See `build_notebook`."""
        return build_notebook(
            self._records,
            cells_left_out=self._cells_left_out,
            kernel_name=kernel_name,
            language_info=language_info,
        )

    def _is_new(self, output: Output) -> bool:
        """False for an update whose display was found in an earlier cell, and replaced there."""
        if not isinstance(output, DisplayData) or not output.update or output.display_id is None:
            return True
        found = False
        for number, record in enumerate(self._records):
            if any(_is_display(old, output.display_id) for old in record.outputs):
                found = True
                outputs = tuple(
                    replace(output, update=False) if _is_display(old, output.display_id) else old
                    for old in record.outputs
                )
                self._records[number] = replace(record, outputs=outputs)
                self._output_bytes[number] = _outputs_bytes(outputs)
        return not found

    def _leave_out(self) -> None:
        while len(self._records) > self._max_cells:
            self._forget_oldest()
        excess = sum(self._code_bytes) + sum(self._output_bytes) - self._max_bytes
        for number, size_bytes in enumerate(self._output_bytes):
            if excess <= 0:
                return
            if size_bytes:
                excess -= size_bytes
                self._output_bytes[number] = 0
                self._records[number] = replace(
                    self._records[number], outputs=(), outputs_left_out=True
                )
        while self._records and sum(self._code_bytes) > self._max_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        del self._records[0], self._code_bytes[0], self._output_bytes[0]
        self._cells_left_out += 1


def _without_csv(output: Output) -> Output:
    """A display without a large table's `text/csv`, which no notebook shows: its page is there."""
    if not isinstance(output, DisplayData | ExecuteResult) or "text/csv" not in output.data:
        return output
    if "text/html" not in output.data and "text/plain" not in output.data:
        return output
    kept = {mime: value for mime, value in output.data.items() if mime != "text/csv"}
    return replace(output, data=kept)


def _is_display(output: Output, display_id: str) -> bool:
    return isinstance(output, DisplayData) and output.display_id == display_id


def _origin(records: Sequence[CellRecord], cells_left_out: int) -> str:
    paragraphs = [
        "# Cellmate session",
        "The cells of one session with Cellmate, in the order in which they were executed, with "
        "their outputs.",
    ]
    if cells_left_out:
        paragraphs.append(
            f"The session was longer: its first {cells_left_out:,} cells are missing."
        )
    if without := sum(record.outputs_left_out for record in records):
        paragraphs.append(
            f"There was no room for the outputs of {without:,} of the cells; they have the tag "
            f"`{_LEFT_OUT_TAG}`."
        )
    if any(_FILE_NAMES.search(record.code) for record in records):
        paragraphs.append(
            "`load_file` and `FILES` give access to the files stored in Cellmate. To run those "
            "cells elsewhere, put copies of the files beside this notebook and read them from "
            "there."
        )
    return "\n\n".join(paragraphs)


def _setup(records: Sequence[CellRecord]) -> str:
    code = "\n".join(record.code for record in records)
    blocks = []
    if used := [name for name in _PRELOADED if re.search(rf"\b{name}\b", code)]:
        blocks.append("\n".join(_PRELOADED[name] for name in used))
    if _FILE_NAMES.search(code):
        blocks.append(_MISSING_FILES)
    if not blocks:
        return ""
    return "\n\n".join(["# Cellmate's kernels have these at hand.", *blocks]).rstrip("\n")


def _cell(kind: str, source: str, *, tags: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    metadata = {"tags": tags} if tags else {}
    return {"cell_type": kind, "source": source, "metadata": metadata, **more}


def _valid_count(count: int | None) -> int | None:
    """The kernel named it, and can name anything; the notebook format asks for 0 or more."""
    return int(count) if count is not None and 0 <= count < 2**31 else None


def _output(output: Output) -> dict[str, Any]:
    match output:
        case Stream(name, text):
            return {"output_type": "stream", "name": name, "text": text}
        case DisplayData(data, metadata):
            return {
                "output_type": "display_data",
                "data": _bundle(data),
                "metadata": metadata,
            }
        case ExecuteResult(data, metadata, count):
            return {
                "output_type": "execute_result",
                "data": _bundle(data),
                "metadata": metadata,
                "execution_count": count,
            }
        case CellError(ename, evalue, traceback):
            return {
                "output_type": "error",
                "ename": ename,
                "evalue": evalue,
                "traceback": traceback,
            }


def _bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {mime: _value(mime, value) for mime, value in data.items()}


def _value(mime: str, value: Any) -> Any:
    if is_base64_mime(mime) and isinstance(value, str):
        # Kernels send base64 with or without line breaks; a notebook has it in one line.
        return "".join(value.split())
    return value


def record_bytes(record: CellRecord) -> int:
    """What a cell counts, in bytes: its code and its outputs."""
    return text_bytes(record.code) + _outputs_bytes(record.outputs)


def _outputs_bytes(outputs: Iterable[Output]) -> int:
    return sum(_output_bytes(output) for output in outputs)


def _output_bytes(output: Output) -> int:
    match output:
        case Stream(_, text):
            return text_bytes(text)
        case CellError():
            return text_bytes(output.text)
        case DisplayData(data, metadata) | ExecuteResult(data, metadata):
            return json_bytes(metadata) + sum(
                json_bytes(value) if is_json_mime(mime) else text_bytes(str(value))
                for mime, value in data.items()
            )
