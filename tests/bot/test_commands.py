"""Command lines taken apart."""

from pathlib import Path

import pytest

from bot.console.commands import (
    COMMANDS,
    Command,
    UnusableCommand,
    dropped_path,
    help_text,
    parse_command,
    paths_of,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (":files", Command("files")),
        ("  :files  ", Command("files")),
        (": files", Command("files")),
        (":FILES", Command("files")),
        (":q", Command("quit")),
        (":exit", Command("quit")),
        ("exit", Command("quit")),
        ("quit()", Command("quit")),
        (":?", Command("help")),
        (":upload a.csv", Command("upload", ("a.csv",))),
        (":upload a.csv 'b c.csv' d\\ e.csv", Command("upload", ("a.csv", "b c.csv", "d e.csv"))),
        (":upload a.csv\nb.csv", Command("upload", ("a.csv", "b.csv"))),
        (":export", Command("export")),
        (":export x.ipynb", Command("export", ("x.ipynb",))),
        (":delete a b", Command("delete", ("a", "b"))),
        ("x", None),
        ("x[1:]", None),
        ("exit_code", None),
        ("lambda: 1", None),
    ],
)
def test_a_line_is_a_command_or_code(line: str, command: Command | None) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (":uplaod a", "There is no command :uplaod; did you mean :upload?"),
        (":exti", "There is no command :exti; did you mean :quit?"),
        (":frobnicate", "There is no command :frobnicate; :help lists them all."),
        (":", "There is no command :; :help lists them all."),
        (":upload", "It is written :upload PATH [PATH...]."),
        (":files all", "It is written :files."),
        (":export a b", "It is written :export [PATH]."),
        (":upload 'a", "A quotation mark in it is never closed."),
    ],
)
def test_what_can_t_be_carried_out_is_said_in_one_sentence(line: str, sentence: str) -> None:
    with pytest.raises(UnusableCommand) as caught:
        parse_command(line)
    assert str(caught.value) == sentence


def test_the_help_names_every_command() -> None:
    assert all(f"  :{name}" in help_text() for name in COMMANDS)
    assert max(len(line) for line in help_text().split("\n")) < 80


def test_paths_are_found_as_people_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.csv", "b.csv", "two words.csv", "[x].csv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def found(*words: str) -> list[str]:
        return [path.name for path in paths_of(words)]

    assert found("a.csv", "b.csv") == ["a.csv", "b.csv"]
    assert found("~/a.csv") == ["a.csv"]
    assert found("two", "words.csv") == ["two words.csv"]
    assert found("?.csv") == ["a.csv", "b.csv"]
    assert found("[x].csv") == ["[x].csv"]
    assert found(f"file://{tmp_path}/two%20words.csv") == ["two words.csv"]
    assert found("missing.csv") == ["missing.csv"]
    with pytest.raises(UnusableCommand, match="No file fits"):
        paths_of(("*.parquet",))


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("/a/b.csv", "/a/b.csv"),
        ("'/a/b c.csv'", "/a/b c.csv"),
        ("/a/b\\ c.csv ", "/a/b c.csv"),
        ("/a/b c.csv", "/a/b c.csv"),
        ("file:///a/b%20c.csv", "/a/b c.csv"),
        ("./b.csv", "b.csv"),
        ("a / b", None),
        ("'text'", None),
        ("x", None),
        ("/a\n/b", None),
        ("'", None),
        ("", None),
    ],
)
def test_a_path_alone_is_recognised(line: str, path: str | None) -> None:
    assert dropped_path(line) == (Path(path) if path else None)
