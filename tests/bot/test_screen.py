"""What reaches the terminal, and what can be taken back from it."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.console.inert import inert, inert_name, inert_stream
from bot.console.screen import Screen, TerminalSize

HOSTILE = [
    "\x1b]0;owned\x07",  # the window's title
    "\x1b[2J\x1b[H",  # clear the screen
    "\x1b]52;c;cm0gLXJm\x07",  # write to the clipboard
    "\x1b[c\x05",  # make the terminal answer
    "\x1bP$q q\x1b\\",
    "\x1b]8;;https://example.org\x07link\x1b]8;;\x07",
    "\x1b[?1049h",
    "\x9b2J",  # 8-bit introducers
    "\x9d0;owned\x9c",
    "\x90x\x9c",
    "\x0e\x0f\x07\x0b\x0c\x7f",
    "\ud800",
]


def controls(text: str, allowed: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in {"Cc", "Cs"} and c not in allowed]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_sequence_is_let_through(text: str) -> None:
    assert not controls(inert(text), "\n\t")
    assert not controls(inert_stream(text), "\n\t\r\b")
    assert not controls(inert_name(text), "")


@given(st.text())
def test_inert_text_holds_only_what_moves_within_the_line(text: str) -> None:
    assert not controls(inert(text), "\n\t")
    assert not controls(inert_stream(text), "\n\t\r\b")
    assert not controls(inert_name(text), "")
    inert(text).encode()


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Grüße, 日本 \N{PARTY POPPER}\t1\n2"
    assert inert(text) == inert_stream(text) == text
    assert inert_stream("50%\r\b") == "50%\r\b"


def test_a_name_can_t_be_made_to_read_otherwise() -> None:
    assert inert_name("a\u202egpj.exe\n\t") == "a\ufffdgpj.exe\u240a\u2409"


def screen_on(
    out: io.StringIO, columns: int = 20, rows: int = 10, *, colour: bool = False
) -> Screen:
    return Screen(out, size=lambda: TerminalSize(columns, rows), colour=colour)


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_written_can_t_command_the_terminal(text: str) -> None:
    out = io.StringIO()
    screen = screen_on(out)
    screen.write(text)
    screen.write(text, "error")
    screen.line(text)
    with screen.held():
        screen.write(text)
    assert not controls(out.getvalue(), "\n\t\r\b")


def test_colours_are_ours_alone() -> None:
    out = io.StringIO()
    screen_on(out, colour=True).line("\x1b[32mno", "error")
    assert out.getvalue() == "\x1b[31m\u241b[32mno\n\x1b[0m"


def test_a_line_begins_at_the_left() -> None:
    out = io.StringIO()
    screen = screen_on(out)
    screen.write("no line end")
    screen.line("a")
    screen.line("b")
    screen.start_line()
    assert out.getvalue() == "no line end\na\nb\n"


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("", "\r\x1b[J"),
        ("abc", "\r\x1b[J"),
        ("abc\n", "\r\x1b[1A\x1b[J"),
        ("a\nb\nc", "\r\x1b[2A\x1b[J"),
        ("x" * 20, "\r\x1b[J"),
        ("x" * 21, "\r\x1b[1A\x1b[J"),
        ("x" * 40 + "\n", "\r\x1b[2A\x1b[J"),
        ("日" * 10, "\r\x1b[J"),
        ("日" * 11, "\r\x1b[1A\x1b[J"),
        ("x" * 20 + "\r" + "y" * 20, "\r\x1b[J"),
        ("\t" * 30, "\r\x1b[J"),
        ("ab\b\b\b", "\r\x1b[J"),
        ("\n" * 9, "\r\x1b[9A\x1b[J"),
    ],
)
def test_what_was_written_can_be_taken_back(text: str, moves: str) -> None:
    out = io.StringIO()
    screen = screen_on(out)
    mark = screen.mark()
    screen.write(text)
    out.truncate(0)
    out.seek(0)
    assert screen.clear_to(mark)
    assert out.getvalue() == moves


def test_taking_back_leaves_what_stood_before() -> None:
    out = io.StringIO()
    screen = screen_on(out)
    screen.write("> ")
    mark = screen.mark()
    screen.write("x\ny")
    assert screen.clear_to(mark)
    assert out.getvalue().endswith("\r\x1b[1A\x1b[2C\x1b[J")


def test_what_has_scrolled_away_stays() -> None:
    out = io.StringIO()
    screen = screen_on(out, rows=10)
    mark = screen.mark()
    screen.write("\n" * 10)
    assert not screen.clear_to(mark)
    assert "\x1b" not in out.getvalue()


def test_nothing_is_taken_back_from_a_file() -> None:
    out = io.StringIO()
    screen = Screen(out)
    mark = screen.mark()
    screen.write("a")
    assert not screen.clear_to(mark)
    assert not screen.image(b"")
    assert out.getvalue() == "a"


def test_what_is_written_while_somebody_types_comes_afterwards() -> None:
    out = io.StringIO()
    screen = screen_on(out)
    mark = screen.mark()
    with screen.held():
        screen.write("a")
        screen.line("b")
        assert out.getvalue() == ""
        assert not screen.clear_to(mark)
    assert out.getvalue() == "a\nb\n"
    assert not screen.clear_to(mark), "what was typed in between took rows nobody counted"
