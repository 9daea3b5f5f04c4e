"""What is said of an object that a file was loaded to."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from kernel_startup import describe
from kernel_startup.fileinfo import FileInfo

CITIES = pd.DataFrame({"city": ["Ulm", "Bonn"], "people": [126_000, 331_000]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (CITIES, "2 rows x 2 columns\ncolumns: city str; people int64\n  Ulm | 126000\n"),
        ("one\ntwo\n", "2 lines, 8 characters, beginning:\none\ntwo\n"),
        (b"abc", "3 bytes that begin with b'abc'"),
        (np.zeros((2, 3)), "array of float64, shape (2, 3)"),
        ((np.zeros((44_100, 2), "float32"), 44_100), "1.0 s of sound, 44100 Hz, channels: 2"),
        (PIL.Image.new("RGB", (4, 3)), "4 x 3 pixels, RGB"),
        ({"a": CITIES}, "dict of 1\n  a: table of 2 rows x 2 columns (city, people)"),
        ({}, "dict of 0"),
        ([1, 2], "list of 2, the first: 1"),
        ([], "list of 0"),
        (FileInfo("a.dwg", "/a.dwg", "dwg", "AutoCAD drawing", 6), "a.dwg: AutoCAD drawing, 6 b"),
        (5, "int: 5"),
    ],
)
def test_objects_are_described(value: Any, said: str) -> None:
    assert describe._told(value).startswith(said)


def test_wide_and_long_values_are_cut() -> None:
    table = pd.DataFrame({f"c{i}" * 50: ["x" * 1000] for i in range(500)})
    assert "and 488 more" in describe._told(table)
    assert len(describe._cut("x" * 5000)) == describe.MOST_CHARS
    assert len(describe._told({str(i) * 100: "y" * 1000 for i in range(100)})) < 1500


def test_file_is_described_in_a_child_that_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text("city,people\nUlm,126000\n")
    told = describe._in_child(str(path), [], 20)
    assert told.startswith("Comma-separated values (csv), 23 B: 1 rows x 2 columns\n")


def test_child_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")

    def loop(*_: object) -> str:
        while True:
            pass

    monkeypatch.setattr(describe, "describe", loop)
    assert describe._in_child(str(path), [], 0.3) == ""


def test_broken_file_is_described_by_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": ')
    told = describe.describe(str(path), [])
    assert told.startswith("JSON (json), 6 B. 'a.json' couldn't be loaded: it seems to be JSON")


def test_long_table_is_described_by_its_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "_LARGE_BYTES", 100)
    monkeypatch.setattr(describe, "_SOME_ROWS", 10)
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "1,2\n" * 100)
    assert "more than 10 rows x 2 columns" in describe.describe(str(path), [])
