import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_startup.dialect import Dialect, sniff_delimiter, sniff_table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a;b;c\n1,5;2,5;3,5\n", ";"),
        ("1,5;2,5\n2,5;3,5\n", ";"),
        ('name,text\nx,"a;b;c"\ny,"d;e;f"\n', ","),
        ('a,b,c\n"x,y",1,2\n"z,w",3,4\n', ","),
        ("a,b,c\n1,2,3\nodd\n4,5,6\n7,8,9\n", ","),
        ("# made by x, y, z\na\tb\n1\t2\n", "\t"),
        ("one column\n1\n2\n", None),
        ("Dear all, here\nis what you wanted.\nYours, me\n", None),
        ("int a;\nint b;\nreturn;\n", None),
        ("", None),
        ("a,b", None),
    ],
)
def test_delimiter_is_found(text: str, expected: str | None) -> None:
    assert sniff_delimiter(text) == expected


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", False),
        ("x,1\ny,2\n", False),
        ("country,2019,2020\nA,1,2\nB,3,4\n", True),  # years are names
        ("2019,2020,2021\n1,2,3\n4,5,6\n", True),
        ("name,city\nAnn,Rome\n", True),
        ("2024-01-01,5\n2024-01-02,6\n", False),
        ("id,2024-01-01\n1,5\n2,6\n", True),
        ("a,b\n", True),
        ("1,2\n", False),
    ],
)
def test_header_is_told_from_a_row(text: str, has_header: bool) -> None:
    assert (sniff_table(text).names is not None) == has_header


@pytest.mark.parametrize(
    ("text", "skipped", "names"),
    [
        ("Sales report\n\nname,age,zip\nA,1,2\nB,2,3\nC,3,4\n", 2, ("name", "age", "zip")),
        ("# a\n# b\nx,y\n1,2\n3,4\n", 2, ("x", "y")),
        ("sep=;\nx;y\n1;2\n", 1, ("x", "y")),
        ("\n\nx,y\n1,2\n", 2, ("x", "y")),
        ("x,y,z\n1,2,3\n4,5,6\n", 0, ("x", "y", "z")),
        ("x,y,z\n1,2\n4,5,6\n7,8,9\n", 0, ("x", "y", "z")),
    ],
)
def test_lines_before_the_header_are_skipped(
    text: str, skipped: int, names: tuple[str, ...]
) -> None:
    found = sniff_table(text)
    assert (found.skip_lines, found.names) == (skipped, names)


def test_a_commented_header_is_a_header() -> None:
    found = sniff_table("##made by x\n#chrom\tstart\nchr1\t5\nchr2\t6\n")
    assert found.has_commented_header
    assert found.skip_lines == 1
    assert found.names == ("#chrom", "start")


def _column(*cells: str, delimiter: str = ";") -> Dialect:
    return sniff_table("\n".join(["name" + delimiter + "x", *(f"n{delimiter}{c}" for c in cells)]))


@pytest.mark.parametrize(
    ("cells", "is_text"),
    [
        (("007", "123"), True),
        (("0", "10"), False),
        (("0.5", "0.25"), False),
        (("00", "10"), True),
        (("12345678901234567890", "1"), True),  # more than 64 bits
        (("1234567890123456789", "1"), False),
        (("1234567890123456", ""), True),  # with a gap it would become floating point
        (("123456789012345", ""), False),
    ],
)
def test_numbers_that_would_lose_something_stay_text(cells: tuple[str, ...], is_text: bool) -> None:
    assert (1 in _column(*cells).text_columns) == is_text


@pytest.mark.parametrize(
    ("cells", "decimal", "thousands"),
    [
        (("1,5", "2,25"), ",", None),
        (("1.234,5", "2"), ",", "."),
        (("1.234.567", "2,5"), ",", "."),
        (("1,234", "5,678"), ",", None),  # semicolons: the comma is the decimal one
        (("1,234,567", "1,234"), ".", ","),
        (("1,234.50", "7"), ".", ","),
        (("1.5", "2.25"), ".", None),
        (("1,5", "2.5"), ".", None),  # neither
        (("a,b", "c,d"), ".", None),
        (("1,2,3", "4,5,6"), ".", None),
    ],
)
def test_number_style_is_found(cells: tuple[str, ...], decimal: str, thousands: str | None) -> None:
    found = _column(*cells)
    assert (found.decimal, found.thousands.get(1)) == (decimal, thousands)


def test_a_comma_between_three_digits_groups_them_where_commas_separate_columns() -> None:
    found = sniff_table('n,x\na,"1,234"\nb,"5,678"\n')
    assert (found.decimal, found.thousands) == (".", {1: ","})


@pytest.mark.parametrize(
    ("cell", "is_date"),
    [
        ("2024-01-31", True),
        ("2024-01-31 12:00", True),
        ("2024-01-31T12:00:00.5Z", True),
        ("2024-01-31T12:00:00+02:00", True),
        ("2024-13-01", False),
        ("01/02/2024", False),
        ("01.02.2024", False),
        ("20240131", False),
        ("2024-01", False),
    ],
)
def test_only_iso_dates_are_dates(cell: str, is_date: bool) -> None:
    assert (1 in _column(cell, "", "NA").date_columns) == is_date


def test_a_column_is_a_date_only_if_all_of_it_is() -> None:
    assert not _column("2024-01-31", "soon").date_columns


def test_rows_further_on_count() -> None:
    head = "name,x\n" + "a,1\n" * 10
    assert not sniff_table(head).text_columns
    assert sniff_table(head, more=["ab,5\na,007\na,0"]).text_columns == {1}


def test_comment_lines_further_down_are_found_only_where_nothing_else_has_a_hash() -> None:
    assert sniff_table("x,y\n1,2\n# note\n3,4\n").comment == "#"
    assert sniff_table("x,y\n1,C#\n# note\n3,4\n").comment is None


def test_names_are_made_unique_as_pandas_does() -> None:
    assert sniff_table("a,a,,a\nx,y,z,w\nx,y,z,w\n").names == ("a", "a.1", "Unnamed: 2", "a.2")


def test_a_trailing_delimiter_is_seen() -> None:
    assert sniff_table("x,y\n1,2,\n3,4,\n").has_trailing_delimiter
    assert not sniff_table("x,y\n1,2,5\n3,4,\n").has_trailing_delimiter


@given(st.text(max_size=300), st.lists(st.text(max_size=100), max_size=2))
def test_any_text_has_some_dialect(head: str, more: list[str]) -> None:
    found = sniff_table(head, more=more)
    assert found.skip_lines <= head.count("\n") + head.count("\r") + 1
    assert all(position < max(found.fields, 1) for position in found.text_columns)


@given(st.lists(st.lists(st.sampled_from(["1", "a", "", '"', ",", "0", "#", "\n"])), max_size=12))
def test_any_table_has_some_dialect(rows: list[list[str]]) -> None:
    sniff_table("\n".join(",".join(row) for row in rows))
