"""Lines as a terminal shows them in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.console.line_folder import LineFolder


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a\nb\n"], "a\nb\n"),
        (["a", "b\n"], "ab\n"),
        (["1%\r", "50%\r", "100%\n"], "100%\n"),
        (["long\rab\n"], "abng\n"),
        (["abc\b\bX\n"], "aXc\n"),
        (["\b\b\ba\n"], "a\n"),
        (["a\r\nb\r\n"], "a\nb\n"),
        (["no end"], "no end\n"),
        (["\r"], ""),
        ([], ""),
    ],
)
def test_folds(pieces: list[str], text: str) -> None:
    folder = LineFolder()
    assert "".join([*map(folder.fold, pieces), folder.end()]) == text


@given(st.lists(st.text(alphabet="ab\r\b\n")))
def test_how_the_text_is_cut_into_pieces_changes_nothing(pieces: list[str]) -> None:
    whole, cut = LineFolder(), LineFolder()
    expected = whole.fold("".join(pieces)) + whole.end()
    assert "".join([*map(cut.fold, pieces), cut.end()]) == expected


def test_a_line_without_end_is_passed_on_in_parts() -> None:
    folder = LineFolder()
    assert folder.fold("x" * 65_536) == ""
    assert folder.fold("y") == "x" * 65_536 + "y"
    assert folder.fold("z\n") == "z\n"
