"""Files for the tests of types: real ones, ones made here, and `load_file` over them."""

import csv
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.files import Files, load_from

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"


@dataclass(frozen=True)
class Sample:
    """One row of the samples' manifest.

    Attributes:
        path: Where the file lies.
        extension: What its name ends in.
        expected: The Python type that an analyst expects, in words.
        fact: What a second tool says of it.
        status: How sure that is; "verified2" is.
    """

    path: Path
    extension: str
    expected: str
    fact: dict[str, Any]
    status: str


@dataclass(frozen=True)
class Made:
    """A small file that the tests make, where possible not with the reader's own writer.

    Attributes:
        type: The name of its type in the table.
        filename: What it is called.
        make: Gives its content; imports what it needs.
        check: Takes what `load_file` gave, and asserts what must be in it.
        requires: Distributions that reading it needs on demand; `on_demand` provides them.
        nameless: Its content alone tells its type.
        options: For `load_file`.
    """

    type: str
    filename: str
    make: Callable[[], bytes]
    check: Callable[[Any], None]
    requires: tuple[str, ...] = ()
    nameless: bool = True
    options: dict[str, Any] = field(default_factory=dict)


def samples(*folders: str) -> list[Any]:
    """The manifest's rows whose files are in these folders, as parameters of a test.

    A machine without the samples has one row, which is skipped.
    """
    rows = all_samples()
    if not rows:
        return [pytest.param(None, marks=pytest.mark.skip("the samples aren't on this machine"))]
    found = [row for row in rows if row.path.parent.name in folders]
    assert found, folders
    return [pytest.param(row, id=f"{row.path.parent.name}/{row.path.name}") for row in found]


def all_samples() -> list[Sample]:
    """All rows of the manifest; none on a machine without the samples."""
    manifest = SAMPLES / "MANIFEST.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(newline="") as file:
        return [
            Sample(
                SAMPLES / row["path"],
                row["extension"],
                row["expected_python_type"],
                json.loads(row["fact"]),
                row["status"],
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


class Loading:
    """`load_file` over files that are laid out as a kernel sees them."""

    def __init__(self, root: Path) -> None:
        self.files = Files(root)
        self.notes: list[str] = []
        self._root = root
        self._count = 0

    def add(self, content: bytes | str | Path, name: str) -> str:
        """Upload content, or the file at a path; gives its id."""
        self._count += 1
        place = self._root / f"f{self._count}" / name
        place.parent.mkdir(parents=True)
        if isinstance(content, Path):
            try:
                os.link(content, place)
            except OSError:  # on another device, or somebody else's, which not everybody may link
                shutil.copyfile(content, place)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        return f"f{self._count}"

    def __call__(self, content: bytes | str | Path, name: str = "", **options: Any) -> Any:
        """Upload and load; `notes` has what was said about it."""
        if isinstance(content, Path):
            name = name or content.name
        return self.by_id(self.add(content, name or "upload"), **options)

    def by_id(self, file_id: str, **options: Any) -> Any:
        """Load what `add` has uploaded."""
        with warnings.catch_warnings():
            # What libraries say to their own developers.
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            loaded, self.notes = load_from(self.files, file_id, **options)
        return loaded
