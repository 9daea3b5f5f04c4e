"""The command line."""

from pathlib import Path

import pytest

from bot.arguments import Arguments, parse_arguments


def test_nothing_asks_for_a_prompt() -> None:
    assert parse_arguments([]) == Arguments(
        files=(),
        run=None,
        output=Path("cellmate-output"),
        export=None,
        keep_going=False,
        user="local",
    )


def test_everything_can_be_given() -> None:
    words = ["--file", "a", "--file", "b", "--run", "-", "--output", "o"]
    more = ["--export", "e.ipynb", "--keep-going", "--user", "42"]
    assert parse_arguments([*words, *more]) == Arguments(
        files=(Path("a"), Path("b")),
        run="-",
        output=Path("o"),
        export=Path("e.ipynb"),
        keep_going=True,
        user="42",
    )


@pytest.mark.parametrize("words", [["--nope"], ["cells.py"], ["--run"], ["--fil", "a"]])
def test_a_mistake_ends_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(words)
    assert caught.value.code == 2
    assert "usage: python -m bot" in capsys.readouterr().err


def test_the_help_says_how_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "exit status: 0" in text and "'# %%' lines" in text and "%%%%" not in text
