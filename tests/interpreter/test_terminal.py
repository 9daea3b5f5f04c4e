"""Text as a terminal shows it: what is kept, what is overwritten, what is counted."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpreter.terminal import (
    AnsiStripper,
    HeadTail,
    TerminalText,
    cut,
    left_out_line,
    strip_ansi,
)

AMPLE = 1_000_000
LINE_LIMIT = 10_000


def shown(*chunks: str, max_chars: int = AMPLE) -> str:
    terminal = TerminalText(max_chars)
    for chunk in chunks:
        terminal.feed(chunk)
    return terminal.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain\n", "plain\n"),
        ("tab\tstays\n\n", "tab\tstays\n\n"),
        ("abc\rd", "dbc"),
        ("abc\rdefg", "defg"),
        ("abc\r", "abc"),
        ("abc\r\ndef\r\n", "abc\ndef\n"),
        ("abc\rd\nef", "dbc\nef"),
        ("abc\b\bX", "aXc"),
        ("abc\b", "abc"),
        ("\b\b\bab", "ab"),
        ("50%\b\b\b99%", "99%"),
        ("abc\rd\x1b[K", "d"),
        ("abc\r\x1b[0Kxy", "xy"),
        ("abc\x1b[Kdef", "abcdef"),
        ("loading\r       \rdone\n", "done\n"),
        ("loading\r       \r", ""),
        ("trailing blanks stay  \nx", "trailing blanks stay  \nx"),
        ("\r  0%|  |\r 50%|# |\r100%|##|\nready\n", "100%|##|\nready\n"),
        ("one\ntwo\rTWO\nthree", "one\nTWO\nthree"),
    ],
)
def test_carriage_return_backspace_and_erase_work_as_in_a_terminal(
    text: str, expected: str
) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mtrue colour\x1b[m", "true colour"),
        ("\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"),
        ("\x1b[2J\x1b[1;1Hscreen", "screen"),
        ("\x1b[1A\x1b[2Kup", "up"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2qsixel\x1b\\text", "text"),
        ("\x1b_app\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\text", "text"),
        ("\x1b(Bcharset\x1b)0", "charset"),
        ("\x1b7saved\x1b8\x1bc\x1b=", "saved"),
        ("\x1b\x1b[1mtwice", "twice"),
        ("ends in escape\x1b", "ends in escape"),
        ("ends in sequence\x1b[38;5", "ends in sequence"),
        ("bell\x07 nul\x00 vt\x0b ff\x0c del\x7f c1\x85\x9b", "bell nul vt ff del c1"),
        ("\x1b]a title never ends\nbut the line does", "a title never ends\nbut the line does"),
        ("\x1b]" + "a" * 4_097 + "\x07", "a" * 4_097),
        ("\x1b]" + "a" * 4_096 + "\x07", ""),
        ("\x1b[" + "1" * 65 + "m", "1" * 65 + "m"),
        ("\x1b[" + "1" * 64 + "m", ""),
        ("\x1b[\u00e9", "\u00e9"),
        ("bad \ud83d surrogate", "bad \ufffd surrogate"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("fine \U0001f600 ünïcödé \u0301", "fine \U0001f600 ünïcödé \u0301"),
    ],
)
def test_sequences_and_controls_are_removed(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(*text) == expected
    assert strip_ansi(text) == expected


def test_live_text_keeps_carriage_return_and_backspace() -> None:
    assert strip_ansi("\x1b[1ma\rb\bc\r\n\x1b[K\x07") == "a\rb\bc\r\n"


def test_sequence_split_over_pieces_is_removed_from_live_text() -> None:
    stripper = AnsiStripper()
    pieces = ["a\x1b", "[3", "1mb\x1b]0;ti", "tle\x1b", "\\c"]
    assert [stripper.feed(piece) for piece in pieces] == ["a", "", "b", "", "c"]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (9, "012345678"),
        (10, "0123456789"),
        (11, "01234\n… 1 character left out …\n6789A"),
        (12, "01234\n… 2 characters left out …\n789AB"),
    ],
)
def test_limit_is_exact(length: int, expected: str) -> None:
    assert cut("0123456789ABCDEF"[:length], 10) == expected


def test_count_has_thousands_separators_and_an_odd_limit_gives_the_tail_one_more() -> None:
    assert cut("a" * 123_461, 5) == "aa\n… 123,456 characters left out …\naaa"


def test_count_stands_on_a_line_of_its_own() -> None:
    assert cut("abc\n123456789\nxyz", 8) == "abc\n… 9 characters left out …\n\nxyz"
    assert cut("abc", 1) == "… 2 characters left out …\nc"
    assert cut("abc", 0) == "… 3 characters left out …\n"


def test_characters_are_counted_as_they_are_shown() -> None:
    assert cut("\x1b[31m" + "0123456789" + "\x1b[0m", 10) == "0123456789"
    assert cut("overwritten" * 3 + "\r" + "x" * 33, 33) == "x" * 33


def test_line_at_the_cut_can_still_be_overwritten() -> None:
    assert shown("0123456789AB", "\r..", max_chars=10) == "..234\n… 2 characters left out …\n789AB"
    assert shown("0123456789AB", "\r\x1b[K.", max_chars=10) == "."


def test_endless_line_is_bounded() -> None:
    terminal = TerminalText(100)
    tracemalloc.start()
    try:
        for _ in range(1_000):
            terminal.feed("x" * 10_000)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert terminal.text == "x" * 50 + "\n… 9,999,900 characters left out …\n" + "x" * 50


def test_unfinished_sequence_is_not_held_back_for_ever() -> None:
    terminal = TerminalText(AMPLE)
    terminal.feed("\x1b]")
    for _ in range(5_000):
        terminal.feed("a")
    assert terminal.text == "a" * 5_000


@pytest.mark.parametrize(
    "chunk",
    [
        "the quick brown fox jumps over the lazy dog\n" * 1_500,
        "wide \u20ac characters \u4f60\n" * 3_000,
        "\r 50%|#####     | 50/100" * 2_500,
        "\x1b[32mgreen\x1b[0m\n" * 4_000,
        "\x1b]" * 30_000,
        "x" * 65_536,
    ],
    ids=["lines", "wide", "bar", "colours", "openers", "endless"],
)
def test_flood_takes_memory_in_proportion_to_the_limit(chunk: str) -> None:
    terminal = TerminalText(20_000)
    tracemalloc.start()
    try:
        for _ in range(50):
            terminal.feed(chunk)
        assert len(terminal.text) < 20_100
        # Beside what is kept, a few copies of the one chunk that is being read.
        assert tracemalloc.get_traced_memory()[1] < 600_000 + 12 * len(chunk)
        del terminal
    finally:
        tracemalloc.stop()


def reference(marked: str) -> str:
    """One character after the other, the plainest way. ESC stands for "erase to the end"."""
    done, line, column, overwritten = "", "", 0, False
    for char in marked:
        if char == "\n":
            done += (line.rstrip(" ") if overwritten else line) + "\n"
            line, column, overwritten = "", 0, False
        elif char == "\r":
            column = 0
        elif char == "\b":
            column = max(0, column - 1)
        elif char == "\x1b":
            line = line[:column]
        else:
            overwritten |= column < len(line)
            line = line[:column] + char + line[column + 1 :]
            column += 1
            if len(line) > LINE_LIMIT:
                done, line, column = (
                    done + line[:LINE_LIMIT],
                    line[LINE_LIMIT:],
                    column - LINE_LIMIT,
                )
    return done + (line.rstrip(" ") if overwritten else line)


def pieces_of(text: str, lengths: Iterable[int]) -> list[str]:
    pieces = []
    for length in lengths:
        pieces.append(text[:length])
        text = text[length:]
    return [*pieces, text]


cuts = st.lists(st.integers(0, 9))
typed = st.lists(
    st.sampled_from(["a", "bc", " ", "\n", "\r", "\b", "\r\n", "x" * 4_999, "y" * 5_001])
).map("".join)
anything = st.text(
    st.one_of(
        st.sampled_from("\x1b[]PX^_\\;0mK\x07\r\n\b a\x9b"),
        st.characters(categories=("L", "Cc", "Cs", "So")),
    ),
    max_size=60,
)


@given(typed, cuts)
def test_line_editing_agrees_with_a_character_by_character_reading(
    text: str, lengths: list[int]
) -> None:
    assert shown(*pieces_of(text, lengths)) == reference(text)


@given(typed)
def test_erasing_agrees_with_a_character_by_character_reading(text: str) -> None:
    assert shown(text.replace("bc", "\x1b[K")) == reference(text.replace("bc", "\x1b"))


@given(anything, cuts)
def test_cutting_the_input_differently_changes_nothing(text: str, lengths: list[int]) -> None:
    pieces = pieces_of(text, lengths)
    assert shown(*pieces) == shown(text)
    stripper = AnsiStripper()
    assert "".join(map(stripper.feed, pieces)) == strip_ansi(text)


@given(anything, st.integers(0, 40))
def test_cut_text_is_the_ends_of_the_whole_text(text: str, max_chars: int) -> None:
    whole = shown(text)
    whole.encode()
    assert not any(char in whole for char in "\x1b\r\b\x07")
    if len(whole) <= max_chars:
        assert cut(text, max_chars) == whole
    else:
        half = max_chars // 2
        head, tail = whole[:half], whole[len(whole) - (max_chars - half) :]
        line = left_out_line(len(whole) - max_chars, after=head)
        assert cut(text, max_chars) == head + line + tail


@given(st.lists(st.text("ab", max_size=5_000), max_size=8), st.integers(0, 9_000))
def test_head_and_tail_are_the_ends_of_what_was_added(parts: list[str], max_chars: int) -> None:
    kept = HeadTail(max_chars)
    for part in parts:
        kept.append(part)
    whole = "".join(parts)
    assert kept.total == len(whole)
    assert kept.left_out == max(0, len(whole) - max_chars)
    assert whole.startswith(kept.head)
    assert whole.endswith(kept.tail)
    assert len(kept.head) + len(kept.tail) + kept.left_out == len(whole)
    assert kept.followed_by("c").total == kept.total + 1
