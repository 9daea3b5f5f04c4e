import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError

from .conftest import Uploads

pd = pytest.importorskip("pandas")
np = pytest.importorskip("numpy")


def _load(uploads: Uploads, content: bytes | str, name: str = "t.csv", **options: Any) -> Any:
    return uploads.load(name, content, **options)


def _records(table: Any) -> list[list[Any]]:
    return [[None if pd.isna(v) else v for v in row] for row in table.to_numpy(object).tolist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.dat", "t.png"])
def test_any_delimiter_under_any_name(uploads: Uploads, delimiter: str, name: str) -> None:
    content = "name,x\nAnn,1\nBob,2\n".replace(",", delimiter)
    table = _load(uploads, content, name)
    assert list(table.columns) == ["name", "x"]
    assert _records(table) == [["Ann", 1], ["Bob", 2]]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "cp932"]
)
def test_any_encoding(uploads: Uploads, encoding: str) -> None:
    word = "データ" if encoding == "cp932" else "Zoë"
    table = _load(uploads, f"{word},x\n{word},1\n{word},2\n".encode(encoding))
    assert list(table.columns) == [word, "x"]
    assert table[word].tolist() == [word, word]


def test_encoding_that_shows_only_after_the_head_is_found(uploads: Uploads) -> None:
    rows = "".join(f"name{number},{number}\n" for number in range(20_000))
    table = _load(uploads, ("name,x\n" + rows + "café,1\n").encode("cp1252"))
    assert table["name"].iloc[-1] == "café"


def test_bytes_of_no_encoding_are_replaced_and_noted(uploads: Uploads) -> None:
    content = b"name,x\ncaf\xe9,1\n"
    table, notes = uploads.load_with_notes("t.csv", content, encoding="utf-8")
    assert table["name"].tolist() == ["caf\ufffd"]  # type: ignore[index]
    assert len(notes) == 1
    assert "bytes that aren't utf-8" in notes[0]


def test_ids_with_leading_zeros_stay_text(uploads: Uploads) -> None:
    table = _load(uploads, "id,zip,n\n001,01234,5\n002,98765,6\n")
    assert _records(table) == [["001", "01234", 5], ["002", "98765", 6]]


def test_a_leading_zero_far_down_is_found(uploads: Uploads) -> None:
    rows = [f"{number},{number}" for number in range(10_000, 60_000)]
    rows[-5] = "00042,1"
    table = _load(uploads, "id,n\n" + "\n".join(rows) + "\n")
    assert table["id"].iloc[-5] == "00042"
    assert table["n"].dtype == "int64"


def test_decimal_comma_and_thousands(uploads: Uploads) -> None:
    table = _load(uploads, "name;x;y\na;1,5;1.234.567\nb;2.000,25;12\n")
    assert table["x"].tolist() == [1.5, 2000.25]
    assert table["y"].tolist() == [1234567, 12]
    table = _load(uploads, 'name,x\na,"1,234.5"\nb,\nc,"12"\n')
    assert _records(table) == [["a", 1234.5], ["b", None], ["c", 12]]


def test_a_grouped_column_that_holds_words_further_down_stays_text(uploads: Uploads) -> None:
    rows = "".join(f'{number},"1,234"\n' for number in range(20_000))
    table = _load(uploads, "n,x\n" + rows + "5,about 5\n")
    assert table["x"].iloc[0] == "1,234"
    assert table["x"].iloc[-1] == "about 5"


def test_only_iso_dates_become_datetimes(uploads: Uploads) -> None:
    table = _load(uploads, "a,b,c\n2024-01-31,01/02/2024,2024-01-31T10:00:00Z\n,03/04/2024,\n")
    assert table["a"].dtype.kind == "M"
    assert pd.isna(table["a"].iloc[1])
    assert table["b"].tolist() == ["01/02/2024", "03/04/2024"]
    assert str(table["c"].dtype.tz) == "UTC"


def test_a_date_column_that_holds_something_else_further_down_stays_text(uploads: Uploads) -> None:
    rows = "".join(f"{number},2024-01-01\n" for number in range(20_000))
    table = _load(uploads, "n,day\n" + rows + "1,unknown\n")
    assert table["day"].iloc[0] == "2024-01-01"
    assert table["day"].iloc[-1] == "unknown"


def test_times_of_day_stay_text(uploads: Uploads) -> None:
    assert _load(uploads, "t,x\n09:30,1\n10:15,2\n")["t"].tolist() == ["09:30", "10:15"]


def test_lines_with_too_many_fields_are_counted_and_left_out(uploads: Uploads) -> None:
    content = "a,b\n1,2\n1,2,3\n3,4\n1,2,3,4\n"
    table, notes = uploads.load_with_notes("t.csv", content)
    assert _records(table) == [[1, 2], [3, 4]]
    assert len(notes) == 1
    assert "left out 2 lines with more fields" in notes[0]
    assert "the first is line 3" in notes[0]
    with pytest.raises(FileLoadError, match="Expected 2 fields in line 3"):
        _load(uploads, content, on_bad_lines="error")


def test_lines_with_too_few_fields_are_filled(uploads: Uploads) -> None:
    assert _records(_load(uploads, "a,b,c\n1,2,3\n4\n7,8,9\n"))[1] == [4, None, None]


def test_a_quote_that_is_never_closed_costs_no_rows(uploads: Uploads) -> None:
    table, notes = uploads.load_with_notes("t.csv", 'a,b\n1,"x\n3,y\n')
    assert _records(table) == [[1, '"x'], [3, "y"]]
    assert "quote that is never closed" in notes[0]


def test_quoted_cells_may_hold_line_breaks_and_delimiters(uploads: Uploads) -> None:
    table = _load(uploads, 'a,b\n1,"x, y\nz"\n2,"say ""hi"""\n')
    assert _records(table) == [[1, "x, y\nz"], [2, 'say "hi"']]


def test_titles_comments_and_blank_lines_are_skipped(uploads: Uploads) -> None:
    table = _load(uploads, "Sales report\n\nname,age,city\nA,1,X\nB,2,Y\nC,3,Z\n")
    assert list(table.columns) == ["name", "age", "city"]
    assert len(table) == 3
    table = _load(uploads, "# made today\nlang,n\nC,1\n# note\nD,2\n")
    assert _records(table) == [["C", 1], ["D", 2]]
    table = _load(uploads, "lang,n\nC#,1\nF#,2\n")
    assert table["lang"].tolist() == ["C#", "F#"]


def test_a_commented_header_names_the_columns(uploads: Uploads) -> None:
    table = _load(uploads, "#chrom\tstart\nchr1\t5\nchr2\t6\n", "t.tsv")
    assert list(table.columns) == ["chrom", "start"]


def test_a_table_without_a_header_has_numbers_for_names(uploads: Uploads) -> None:
    table = _load(uploads, "1,2.5\n3,4.5\n")
    assert list(table.columns) == [0, 1]
    assert len(table) == 2


def test_a_trailing_delimiter_makes_no_column(uploads: Uploads) -> None:
    table = _load(uploads, "a,b\n1,2,\n3,4,\n")
    assert list(table.columns) == ["a", "b"]
    assert _records(table) == [[1, 2], [3, 4]]


def test_row_names_as_r_writes_them_become_the_index(uploads: Uploads) -> None:
    table = _load(uploads, "a,b\nr1,1,2\nr2,3,4\n")
    assert table.index.tolist() == ["r1", "r2"]
    assert _records(table) == [[1, 2], [3, 4]]


def test_a_column_whose_type_changes_on_the_way_has_one_type(uploads: Uploads) -> None:
    rows = "".join(f"{number}\n" for number in range(300_000))
    table = _load(uploads, "x\n" + rows + "word\n")
    assert {type(value) for value in table["x"]} == {str}


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff", b"\xff\xfe"])
def test_an_empty_table_is_an_error(uploads: Uploads, content: bytes | str) -> None:
    with pytest.raises(FileLoadError, match=r"an empty file|a file of blanks"):
        _load(uploads, content)


def test_a_header_without_rows_is_an_empty_table(uploads: Uploads) -> None:
    table = _load(uploads, "name,city\n")
    assert list(table.columns) == ["name", "city"]
    assert len(table) == 0


def test_gzipped_tables_load_as_others(uploads: Uploads) -> None:
    assert _records(_load(uploads, gzip.compress(b"a,b\n1,2\n"), "t.csv.gz")) == [[1, 2]]
    assert _records(_load(uploads, b"a,b\n1,2\n", "not-really.csv.gz")) == [[1, 2]]


_FIVE = "id,name,x\n01,a,1\n02,b,2\n03,c,3\n"


@pytest.mark.parametrize(
    ("options", "columns", "first"),
    [
        ({"nrows": 1}, ["id", "name", "x"], ["01", "a", 1]),
        ({"columns": ["x", "id"]}, ["x", "id"], [1, "01"]),
        ({"usecols": ["id"]}, ["id"], ["01"]),
        ({"dtype": {"x": float}}, ["id", "name", "x"], ["01", "a", 1.0]),
        ({"dtype": str}, ["id", "name", "x"], ["01", "a", "1"]),
        ({"sep": ";"}, ["id,name,x"], ["01,a,1"]),
        ({"delimiter": ","}, ["id", "name", "x"], ["01", "a", 1]),
        ({"sep": r"\s*,\s*", "engine": "python"}, ["id", "name", "x"], [1, "a", 1]),
        ({"header": None}, [0, 1, 2], ["id", "name", "x"]),
        ({"header": 0}, ["id", "name", "x"], ["01", "a", 1]),
        ({"header": None, "skiprows": 1}, [0, 1, 2], ["01", "a", 1]),
        ({"skiprows": 1}, [0, 1, 2], ["01", "a", 1]),
        ({"skiprows": [1]}, ["id", "name", "x"], [2, "b", 2]),
        ({"names": ["i", "n", "v"], "skiprows": 1}, ["i", "n", "v"], ["01", "a", 1]),
        ({"index_col": "id"}, ["name", "x"], ["a", 1]),
        ({"header": [0, 1]}, [("id", "01"), ("name", "a"), ("x", "1")], [2, "b", 2]),
    ],
)
def test_options_reach_the_reader(
    uploads: Uploads, options: dict[str, Any], columns: list[Any], first: list[Any]
) -> None:
    table = _load(uploads, _FIVE, **options)
    assert list(table.columns) == columns
    assert _records(table)[0] == first


def test_reading_in_chunks_works(uploads: Uploads) -> None:
    assert [len(chunk) for chunk in _load(uploads, _FIVE, chunksize=2)] == [2, 1]


def test_a_wrong_option_is_told_by_its_name(uploads: Uploads) -> None:
    with pytest.raises(TypeError, match="csv files have no option delimeter=; did you mean del"):
        _load(uploads, _FIVE, delimeter=",")
    with pytest.raises(FileLoadError, match=r"columns=\['nope'\].*not found: \['nope'\]"):
        _load(uploads, _FIVE, columns=["nope"])
    with pytest.raises(FileLoadError, match="encoding='nope' isn't an encoding"):
        _load(uploads, _FIVE, encoding="nope")


def test_any_table_pandas_writes_comes_back(uploads: Uploads) -> None:
    random = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "i": random.integers(-5, 5, 300),
            "f": random.normal(size=300),
            "b": random.integers(0, 2, 300).astype(bool),
            "s": random.choice(["x", "y, z", 'q"uote', "two\nlines"], 300),
            "d": pd.date_range("2024-01-01", periods=300, freq="h"),
        }
    )
    for sep in ",;\t|":
        loaded = _load(uploads, table.to_csv(index=False, sep=sep))
        pd.testing.assert_frame_equal(loaded, table, check_dtype=False)


def test_real_tables(uploads: Uploads, sample: Callable[[str], Path]) -> None:
    assert _load(uploads, sample("table/Plates.csv").read_bytes()).shape == (601, 97)
    assert _load(uploads, sample("table/magika_test.tsv").read_bytes(), "x").shape == (5, 4)


# --- spreadsheets ---


def _workbook(**sheets: Any) -> bytes:
    pytest.importorskip("openpyxl")
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
        for name, table in sheets.items():
            table.to_excel(writer, sheet_name=name, index=False)
    return buffer.getvalue()


_A = pd.DataFrame({"name": ["a", "b"], "x": [1, 2]})
_B = pd.DataFrame({"y": [1.5, 2.5, 3.5]})


def test_one_sheet_is_a_table(uploads: Uploads) -> None:
    table = _load(uploads, _workbook(Only=_A), "book.xlsx")
    pd.testing.assert_frame_equal(table, _A, check_dtype=False)


def test_several_sheets_are_a_dict_in_order(uploads: Uploads) -> None:
    tables = _load(uploads, _workbook(Second=_B, First=_A), "book.xlsx")
    assert list(tables) == ["Second", "First"]
    pd.testing.assert_frame_equal(tables["First"], _A, check_dtype=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sheet_name": "B"}, [[1.5], [2.5], [3.5]]),
        ({"sheet_name": 1}, [[1.5], [2.5], [3.5]]),
        ({"sheet_name": "A", "columns": ["x"]}, [[1], [2]]),
        ({"sheet_name": "A", "nrows": 1}, [["a", 1]]),
        ({"sheet_name": "A", "header": None, "skiprows": 2}, [["b", 2]]),
    ],
)
def test_workbook_options(
    uploads: Uploads, options: dict[str, Any], expected: list[list[Any]]
) -> None:
    assert _records(_load(uploads, _workbook(A=_A, B=_B), "book.xlsx", **options)) == expected


def test_a_list_of_sheets_is_a_dict_of_them(uploads: Uploads) -> None:
    tables = _load(uploads, _workbook(A=_A, B=_B), "book.xlsx", sheet_name=["B"])
    assert list(tables) == ["B"]


@pytest.mark.parametrize("sheet_name", ["C", 2, -1, ["A", "C"]])
def test_a_missing_sheet_is_an_error_that_lists_them(uploads: Uploads, sheet_name: Any) -> None:
    with pytest.raises(FileLoadError, match=r"the sheets are \['A', 'B'\]"):
        _load(uploads, _workbook(A=_A, B=_B), "book.xlsx", sheet_name=sheet_name)


@pytest.mark.parametrize("length", [100, 1_000, -40])
def test_a_cut_off_workbook_is_an_error(uploads: Uploads, length: int) -> None:
    with pytest.raises(FileLoadError, match=r"Excel workbook \(xlsx\).*cut off or damaged"):
        _load(uploads, _workbook(A=_A)[:length], "book.xlsx")


@pytest.mark.parametrize(
    ("name", "sheets"),
    [
        ("spreadsheet/testWPSAttachment.xls", ["Sheet1", "Sheet2", "Sheet3"]),
        ("spreadsheet/testEXCEL_macro.xlsm", ["Sheet1", "Sheet2", "Sheet3"]),
        ("spreadsheet/testXLSX_Thumbnail.xlsx", ["Feuil1", "Feuil2", "Feuil3"]),
        ("spreadsheet/testEXCEL_charts.xlsb", None),
        ("spreadsheet/testODSMacro.ods", None),
    ],
)
def test_real_workbooks(
    uploads: Uploads, sample: Callable[[str], Path], name: str, sheets: list[str] | None
) -> None:
    loaded = _load(uploads, sample(name).read_bytes(), Path(name).name)
    if sheets is None:
        assert isinstance(loaded, pd.DataFrame)
    else:
        assert list(loaded) == sheets


# --- json ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("[1, 2, 3]", [1, 2, 3]),
        ("[]", []),
        ('[{"a": 1}, 2]', [{"a": 1}, 2]),
        ('"text"', "text"),
        ("5", 5),
        ("\ufeff{}", {}),
    ],
)
def test_json_is_what_it_is(uploads: Uploads, content: str, expected: object) -> None:
    assert _load(uploads, content, "t.json") == expected
    assert _load(uploads, content.encode("utf-16"), "t.json") == expected


def test_json_records_are_a_table(uploads: Uploads) -> None:
    table = _load(uploads, '[{"a": 1, "b": "x"}, {"a": 2}]', "t.json")
    assert _records(table) == [[1, "x"], [2, None]]
    assert list(_load(uploads, '[{"a": 1, "b": 2}]', "t.json", columns=["b"]).columns) == ["b"]
    assert len(_load(uploads, '[{"a": 1}, {"a": 2}]', "t.json", nrows=1)) == 1
    assert _load(uploads, '{"0": {"a": 1}}', "t.json", orient="index")["a"].tolist() == [1]


@pytest.mark.parametrize("content", ['{"a": [1, 2', "{'a': 1}", "nothing", "[1,]", "[" * 100_000])
def test_broken_json_is_an_error(uploads: Uploads, content: str) -> None:
    with pytest.raises(FileLoadError, match=r'as_="text" gives it'):
        _load(uploads, content, "t.json")


def test_json_lines_are_a_table(uploads: Uploads) -> None:
    content = '{"a": 1}\n\n{"a": 2, "b": {"c": 3}}\r\n{"a": 3}'
    assert _load(uploads, content, "t.jsonl")["a"].tolist() == [1, 2, 3]
    assert _load(uploads, content, "t.ndjson", nrows=2)["a"].tolist() == [1, 2]
    assert _load(uploads, "[1]\n[2]\n", "t.jsonl") == [[1], [2]]
    assert _load(uploads, '{"a":\n 1}\n{"a":\n 2}\n', "t.jsonl")["a"].tolist() == [1, 2]


def test_broken_json_lines_are_counted_and_left_out(uploads: Uploads) -> None:
    table, notes = uploads.load_with_notes("t.jsonl", '{"a": 1}\n{"a": \n{"a": 2}\n')
    assert table["a"].tolist() == [1, 2]  # type: ignore[index]
    assert "1 of 3 lines aren't valid JSON" in notes[0]
    with pytest.raises(FileLoadError, match="most of which are broken"):
        _load(uploads, '{"a": 1}\n{"a": 2\n{"a" 3}\n{"a": 4\n', "t.jsonl")


# --- columnar ---


def _columnar(kind: str, table: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    buffer = io.BytesIO()
    if kind == "parquet":
        table.to_parquet(buffer)
    elif kind == "feather":
        table.to_feather(buffer)
    else:
        arrow = pa.Table.from_pandas(table)
        with pa.ipc.new_stream(buffer, arrow.schema) as stream:
            stream.write_table(arrow)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_columnar_files_come_back_as_they_were(uploads: Uploads, kind: str) -> None:
    table = pd.DataFrame({"a": range(100), "b": ["x"] * 100, "c": pd.Timestamp("2024-01-01")})
    content = _columnar(kind, table)
    for name in (f"t.{kind}", "t.csv"):
        pd.testing.assert_frame_equal(_load(uploads, content, name), table)
    some = _load(uploads, content, columns=["b", "a"], nrows=5)
    assert list(some.columns) == ["b", "a"]
    assert len(some) == 5
    assert len(_load(uploads, content, nrows=500)) == 100
    with pytest.raises(FileLoadError, match="nope"):
        _load(uploads, content, columns=["nope"])


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_off_columnar_files_are_errors(uploads: Uploads, kind: str, share: float) -> None:
    table = pd.DataFrame({"a": range(1000), "b": ["x"] * 1000})
    content = _columnar(kind, table)
    with pytest.raises(FileLoadError, match=kind if kind == "parquet" else "feather"):
        _load(uploads, content[: int(len(content) * share)])


def test_the_first_rows_of_an_empty_table_are_an_empty_table(uploads: Uploads) -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype="int64")})
    assert _load(uploads, _columnar("parquet", empty), nrows=5).shape == (0, 1)
