"""Text tables, spreadsheets and files of finance programs."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.made import tabular as made
from tests.formats.made.documents import ole
from tests.formats.uploads import Loading, Sample, samples

pd = pytest.importorskip("pandas")


def _is_of(loaded: Any, expected: str) -> bool:
    if expected.startswith("dict"):
        return isinstance(loaded, dict) and all(
            isinstance(table, pd.DataFrame) for table in loaded.values()
        )
    if "FileInfo" in expected:
        return isinstance(loaded, (FileInfo, pd.DataFrame, dict))
    return isinstance(loaded, pd.DataFrame)


@pytest.mark.parametrize("sample", samples("table", "spreadsheet", "spreadsheet-legacy"))
def test_samples_have_their_type_and_fact(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    if TYPES[sample.extension].requires:
        on_demand(*TYPES[sample.extension].requires)
    assert type_of_content(sample.path).name == sample.extension
    assert type_of_content(sample.path, "upload").name == sample.extension
    loaded = load(sample.path)
    assert _is_of(loaded, sample.expected), loaded
    fact = sample.fact
    if "rows" in fact:
        assert loaded.shape == (fact["rows"], fact["cols"])
    if "bytes" in fact:
        assert sample.path.stat().st_size == fact["bytes"]
    if "members" in fact:
        assert loaded.facts["members"] == fact["members"]
    if "sheets" in fact:
        tables = load(sample.path, sheet_name=[*range(len(fact["sheets"]))], header=None)
        names = load(sample.path, sheet_name=fact["sheets"])
        assert list(names) == fact["sheets"]
        if "cells_sheet1" in fact:
            assert int(tables[0].notna().sum().sum()) == fact["cells_sheet1"]


# -- workbooks ------------------------------------------------------------------------------------


def _workbook(change: Callable[[Any], None]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    change(book.active)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _write(sheet: Any, rows: list[list[Any]], top: int = 1, left: int = 1) -> None:
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            sheet.cell(top + r, left + c, value)


def test_titles_above_the_header_are_no_header(load: Loading) -> None:
    def change(sheet: Any) -> None:
        _write(sheet, [["Sales of 2024"], [], ["name", "x", "y"], ["a", 1, 2], ["b", 3, 4]])
        sheet.merge_cells("A1:C1")

    table = load(_workbook(change), "t.xlsx")
    assert list(table.columns) == ["name", "x", "y"]
    assert table["x"].tolist() == [1, 3]


def test_blank_rows_and_columns_around_a_table_are_left_out(load: Loading) -> None:
    rows = [["name", "x"], ["a", 1], ["b", 2]]
    table = load(_workbook(lambda sheet: _write(sheet, rows, top=4, left=3)), "t.xlsx")
    assert table.to_numpy().tolist() == rows[1:]


def test_groups_of_columns_are_part_of_their_names(load: Loading) -> None:
    def change(sheet: Any) -> None:
        _write(sheet, [["Report"], ["name", 2023, None, 2024, None]])
        _write(sheet, [[None, "q1", "q2", "q1", "q2"], ["a", 1, 2, 3, 4], ["b", 5, 6, 7, 8]], top=3)
        for cells in ("A1:E1", "A2:A3", "B2:C2", "D2:E2"):
            sheet.merge_cells(cells)

    table = load(_workbook(change), "t.xlsx")
    assert list(table.columns) == ["name", "2023 q1", "2023 q2", "2024 q1", "2024 q2"]
    assert table["2024 q1"].tolist() == [3, 7]


def test_cells_keep_what_they_are(load: Loading) -> None:
    import datetime

    day = datetime.datetime(2024, 1, 31)
    rows = [["id", "n", "x", "day", "flag", "mixed"]]
    rows += [["007", 1, 1.5, day, True, 1], ["010", 2, None, None, False, "a"]]
    table = load(_workbook(lambda sheet: _write(sheet, rows)), "t.xlsx")
    assert table["id"].tolist() == ["007", "010"]
    assert [table[name].dtype.kind for name in ("n", "x", "day", "flag")] == ["i", "f", "M", "b"]
    assert table["mixed"].tolist() == [1, "a"]


def test_types_hold_over_many_rows(load: Loading) -> None:
    rows = [["n", "late", "text"]]
    rows += [[n, None if n < 9_000 else 0.5, "x" if n < 9_000 else None] for n in range(10_000)]
    table = load(_workbook(lambda sheet: _write(sheet, rows)), "t.xlsx")
    assert table.shape == (10_000, 3)
    assert [dtype.kind for dtype in table.dtypes[:2]] == ["i", "f"]
    assert table["text"].isna().sum() == 1_000
    assert table["late"].sum() == 500


def test_a_sheet_of_numbers_has_no_header(load: Loading) -> None:
    table = load(_workbook(lambda sheet: _write(sheet, [[1, 2], [3, 4]])), "t.xlsx")
    assert table.to_numpy().tolist() == [[1, 2], [3, 4]]
    years = [["land", 2023, 2024], ["a", 1, 2], ["b", 3, 4]]
    table = load(_workbook(lambda sheet: _write(sheet, years)), "t.xlsx")
    assert list(table.columns) == ["land", 2023, 2024]


def test_an_empty_sheet_is_an_empty_table(load: Loading) -> None:
    assert load(_workbook(lambda sheet: None), "t.xlsx").empty


def test_options_that_only_pandas_knows_reach_it(load: Loading) -> None:
    rows = [["a", "b"], [1, "x"], [2, "y"]]
    content = _workbook(lambda sheet: _write(sheet, rows))
    assert load(content, "t.xlsx", index_col="b").index.tolist() == ["x", "y"]
    assert load(content, "t.xlsx", dtype={"a": str})["a"].tolist() == ["1", "2"]


def test_a_cell_at_the_end_of_the_world_is_refused(load: Loading) -> None:
    with pytest.raises(FileLoadError, match="so far apart"):
        load(
            _workbook(lambda sheet: sheet.cell(1_048_576, 16_384, 1) and sheet.cell(1, 1, 1)),
            "x.xlsx",
        )


def test_a_sheet_that_unpacks_to_much_is_refused(load: Loading) -> None:
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_workbook(lambda sheet: None))) as source,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content += b" " * (60 << 20)
            target.writestr(name, content)
    with pytest.raises(FileLoadError, match="unpacks to"):
        load(written.getvalue(), "x.xlsx")


def test_a_password_opens_a_workbook(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand("msoffcrypto-tool>=5.4")
    from msoffcrypto.format.ooxml import OOXMLFile

    plain = _workbook(lambda sheet: _write(sheet, [["a", "b"], [1, 2]]))
    written = io.BytesIO()
    OOXMLFile(io.BytesIO(plain)).encrypt("secret", written)
    content = written.getvalue()
    with pytest.raises(FileLoadError, match=r"protected by a password.*Open it with password="):
        load(content, "x.xlsx")
    with pytest.raises(FileLoadError, match="Check the password"):
        load(content, "x.xlsx", password="wrong")
    assert load(content, "x.xlsx", password="secret").to_numpy().tolist() == [[1, 2]]


def test_numbers_documents_load(
    load: Loading, on_demand: Callable[..., None], tmp_path: Path
) -> None:
    on_demand(*TYPES["numbers"].requires)
    import numbers_parser

    document = numbers_parser.Document(num_rows=3, num_cols=2)
    for r, row in enumerate([["a", "b"], ["x", 1], ["y", 2]]):
        for c, value in enumerate(row):
            document.sheets[0].tables[0].write(r, c, value)
    document.save(str(tmp_path / "d.numbers"))
    assert type_of_content(tmp_path / "d.numbers", "upload").name == "numbers"
    assert load(tmp_path / "d.numbers")["b"].tolist() == [1, 2]


# -- text tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,age,city\nAnn,1,Rome\nBob,2,Oslo\n", "csv"),
        ("name\tage\nAnn\t1\nBob\t2\n", "tsv"),
        ("x y\n1 2\n3 4\n", "ssv"),
        ("Dear all, here\nis what, you\nwanted, so\nenjoy it, yours\n", "text"),
        ("2024-01-31 10:00:00 INFO started\n2024-01-31 10:00:01 INFO ready, set, go\n", "text"),
        (
            "THE LICENCE\n\nPermission is granted, free of charge, to anyone.\nThe end, really.\n",
            "text",
        ),
        ("a line\n", "text"),
    ],
)
def test_what_is_called_a_text_is_a_table_only_beyond_doubt(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    assert type_of_content(path).name == expected


def test_data_that_is_no_table_is_text(load: Loading) -> None:
    assert load("just some words\nin a file\n", "x.dat") == "just some words\nin a file\n"
    assert load("# t x\n0.1 2\n0.2 3\n0.3 4\n", "x.dat")["x"].tolist() == [2, 3, 4]


def test_sparse_arff_and_missing_values(load: Loading) -> None:
    head = "@relation r\n@attribute a numeric\n@attribute 'b c' {x,y}\n@data\n"
    assert load(head + "1,x\n?,y\n", "x.arff")["a"].isna().tolist() == [False, True]
    assert load(head + "{0 5, 1 y}\n", "x.arff").to_numpy().tolist() == [[5, "y"]]


def test_a_matrix_that_announces_too_much_is_refused(load: Loading) -> None:
    text = "%%MatrixMarket matrix array real general\n100000 100000\n1.0\n"
    with pytest.raises(FileLoadError, match="can't hold"):
        load(text, "x.mtx")


# -- finance --------------------------------------------------------------------------------------


def test_dates_that_may_be_read_both_ways_stay_text(load: Loading) -> None:
    text = "!Type:Bank\nD01/02/2024\nT1\n^\nD03/04/2024\nT2\n^\n"
    assert load(text, "x.qif")["date"].tolist() == ["01/02/2024", "03/04/2024"]
    days = load(text, "x.qif", dayfirst=True)["date"]
    assert [day.month for day in days] == [2, 4]


# -- whatever comes -------------------------------------------------------------------------------


def _damaged(content: bytes) -> list[bytes]:
    size = len(content)
    cut = [content[: size * share // 8] for share in range(1, 8)]
    turned = []
    for step in range(8):
        broken = bytearray(content)
        for at in range(step, size, max(size // 12, 1)):
            broken[at] ^= 0xFF >> step
        turned.append(bytes(broken))
    return [*cut, *turned]


@pytest.mark.parametrize("one", made.MADE, ids=lambda one: f"{one.type}-{one.filename}")
def test_damaged_files_load_or_say_why_not(one: Any, load: Loading) -> None:
    if one.requires:
        pytest.skip("its library is installed on demand")
    for content in _damaged(one.make()):
        try:
            load(content, one.filename)
        except FileLoadError as error:
            assert str(error)


@pytest.mark.parametrize("one", made.MADE[::5], ids=lambda one: f"{one.type}-{one.filename}")
def test_lying_names_do_no_harm(one: Any, load: Loading) -> None:
    content = one.make()
    for name in ("x.csv", "x.xls", "x.wk1", "x.ofx", "x.dif", "x.arff", "x.numbers"):
        try:
            load(content, name)
        except FileLoadError as error:
            assert str(error)


def test_table_of_samples_that_is_called_txt(load: Loading) -> None:
    names = ["Sample", "Term REF", "Label", "Term REF", "Unit", "Term REF"]
    rows = [[f"s{n}", "OBI", "biotin", "CHEBI", "hour", "UO"] for n in range(5)]
    text = "\n".join("\t".join(f'"{cell}"' for cell in row) for row in [names, *rows])
    assert load(text, "a_transcriptome.txt").shape == (5, 6)


def test_old_workbook_with_a_password_says_so(load: Loading) -> None:
    # BOF, then FilePass: [MS-XLS] 2.4.21 and 2.4.117.
    records = b"\x09\x08\x10\x00" + b"\x00\x06\x05\x00" + bytes(12)
    records += b"\x2f\x00\x06\x00" + b"\x00\x00" + b"\x01\x02\x03\x04"
    stream = records.ljust(8192, b"\0")
    with pytest.raises(FileLoadError, match='password="\\.\\.\\."'):
        load(ole({"Workbook": stream}), "protected.xls")
