"""When Enter runs a cell, how the next line is indented, where a file's cells begin."""

import warnings

import pytest

from bot.console.cell_source import SourceCell, is_complete, next_indent, split_cells


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1",
        "",
        "# comment",
        "for x in y: print(x)",
        "for x in y:\n    x\n",
        "for x in y:\n    x\n    ",
        "def f():\n    return 1\n\nf()",
        "x = [\n1,\n]",
        "await x",
        "x?",
        "?x",
        "df.plot??",
        "!ls *.csv",
        "files = !ls",
        "%timeit x",
        "a = %env HOME",
        "for x in y:\n    !ls\n",
        "%%time\nx\n",
        "this is wrong",
        "(]",
        "  x",
        "(" * 300,
        "a\0b",
        "x % 3",
        "x != 3",
    ],
)
def test_runs(code: str) -> None:
    assert is_complete(code)


@pytest.mark.parametrize(
    "code",
    [
        "for x in y:",
        "for x in y:\n    x",
        "for x in y:\n    x\n# more",
        "if a:\n    b\nelse:",
        "try:\n    a\n\n",
        "class A:\n    def f(self):\n",
        "async with a:\n    b",
        "@decorator",
        "a = (",
        "f(1,",
        "'''a",
        "'''a\n\n",
        "x = \\",
        "%%time",
        "%%time\nx",
    ],
)
def test_goes_on(code: str) -> None:
    assert not is_complete(code)


def test_a_warning_about_the_code_is_left_to_the_kernel() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_complete(r"'\d'")


@pytest.mark.parametrize(
    ("code", "indent"),
    [
        ("x", ""),
        ("if a:", "    "),
        ("if a:  # why", "    "),
        ("if a:\n    b", "    "),
        ("def f():\n    return 1", ""),
        ("for a in b:\n    if a:\n        break", "    "),
        ("f(", "    "),
        ("d = {", "    "),
        ("    passing = 1", "    "),
    ],
)
def test_the_next_line_is_indented(code: str, indent: str) -> None:
    assert next_indent(code) == indent


@pytest.mark.parametrize(
    ("source", "cells"),
    [
        ("", []),
        ("\n \n", []),
        ("a\nb\n", [("a\nb", 1)]),
        ("a\n# %%\nb\n", [("a", 1), ("b", 3)]),
        ("# %%\na\n#%% title\n\nb", [("a", 2), ("\nb", 4)]),
        ("# %% [markdown]\n# words\n# %%\na", [("a", 4)]),
        ("a\r\n# %%\r\nb\r\n", [("a", 1), ("b", 3)]),
        ("# %%\n# %%\n", []),
        ("x = '# %%'\n    # %%\ny", [("x = '# %%'\n    # %%\ny", 1)]),
        ("# %%", []),
    ],
)
def test_a_file_is_split_at_its_marks(source: str, cells: list[tuple[str, int]]) -> None:
    assert split_cells(source) == tuple(SourceCell(code, line) for code, line in cells)
