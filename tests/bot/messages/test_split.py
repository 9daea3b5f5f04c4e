"""Cutting text into messages: nothing is lost, and nothing is cut that need not be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages.lengths import (
    first,
    from_line_start,
    last,
    length,
    shortened,
    to_line_end,
)
from bot.messages.split import split_markdown

FENCE = re.compile(r"`{3,}")


def bare(text: str) -> str:
    return "".join(text.split())


def content_of(text: str) -> str:
    """All that is no space and no fence: an independent reading of what Discord would show."""
    pieces = FENCE.split(text)
    for index in range(1, len(pieces), 2):
        named = re.match(r"[A-Za-z0-9_+#.-]*\n", pieces[index])
        pieces[index] = pieces[index][named.end() if named else 0 :]
    return bare("".join(pieces))


prose = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), max_size=400)
words = st.lists(
    st.sampled_from(
        ["word", "**bold text**", "[link](https://a.example/x_(y))", "`a b c`", "\n", "\n\n", "- ",
         "x" * 300, "🙂" * 40, "# Heading\n", "> quote", "https://b.example/" + "p" * 90, "e\u0301"]
    ),
    max_size=60,
).map(" ".join)  # fmt: skip
code = st.builds(
    lambda language, body: f"```{language}\n{body}\n```",
    st.sampled_from(["", "python", "c++"]),
    st.lists(st.sampled_from(["x = 1", "    y()", "", "z" * 130, "``", "# a"]), max_size=50).map(
        "\n".join
    ),
)
documents = st.lists(st.one_of(prose, words, code), max_size=12).map("\n".join)
limits = st.integers(80, 600)


@given(documents, limits)
def test_every_piece_fits_and_holds_whole_blocks_of_code(text: str, limit: int) -> None:
    for piece in split_markdown(text, limit):
        assert 0 < length(piece) <= limit
        assert piece.strip()
        assert len(FENCE.findall(piece)) % 2 == 0


@given(documents, limits)
def test_nothing_but_space_is_lost(text: str, limit: int) -> None:
    assert "".join(map(content_of, split_markdown(text, limit))) == content_of(text)


@given(st.text(st.sampled_from("`a \n"), max_size=300))
def test_any_muddle_of_backticks_stays_balanced(text: str) -> None:
    pieces = split_markdown(text, 80)
    assert all(len(FENCE.findall(piece)) % 2 == 0 and length(piece) <= 80 for piece in pieces)
    assert "".join(map(content_of, pieces)) == content_of(text)


@given(words)
def test_words_and_what_is_set_off_are_whole(text: str) -> None:
    pieces = split_markdown(text, 600)
    for whole in ("**bold text**", "[link](https://a.example/x_(y))", "`a b c`", "x" * 300):
        assert sum(piece.count(whole) for piece in pieces) == text.count(whole)


@pytest.mark.parametrize(
    ("text", "count"), [("x" * 1999, 1), ("x" * 2000, 1), ("x" * 2001, 2), ("🙂" * 1000, 1)]
)
def test_the_limit_is_discord_s(text: str, count: int) -> None:
    assert len(split_markdown(text)) == count


def test_characters_beyond_the_first_plane_count_twice() -> None:
    assert list(map(length, split_markdown("🙂" * 1001))) == [2000, 2]


@pytest.mark.parametrize("text", ["", "\n", "  \n\t ", "```\n```", "```python\n\n```"])
def test_what_is_blank_makes_no_message(text: str) -> None:
    assert split_markdown(text) == ()


def test_a_word_longer_than_messages_is_cut_hard() -> None:
    pieces = split_markdown("w" * 10_000)
    assert list(map(len, pieces)) == [2000] * 5


def test_an_accent_stays_with_its_letter() -> None:
    pieces = split_markdown("e\u0301" * 100, 81)
    assert all(piece.startswith("e") for piece in pieces)
    family = "👩\u200d👩\u200d👧"
    assert all(piece.startswith("👩") for piece in split_markdown(family * 30, 83))


def test_paragraphs_are_whole_where_they_can_be() -> None:
    paragraphs = ["a " * 300, "b " * 300, "c " * 300]
    assert split_markdown("\n\n".join(paragraphs), 1300) == (
        f"{paragraphs[0].rstrip()} \n\n{paragraphs[1].rstrip()}",
        paragraphs[2].rstrip(),
    )


def test_items_of_a_list_are_whole_where_they_can_be() -> None:
    items = [f"- item {n}: " + "text " * 20 for n in range(40)]
    pieces = split_markdown("\n".join(items))
    assert len(pieces) == 3
    assert all(piece.startswith("- item") for piece in pieces)


def test_code_that_fits_a_message_is_moved_there_whole() -> None:
    block = "```python\n" + "x = 1\n" * 200 + "```"
    pieces = split_markdown("word " * 300 + "\n" + block)
    assert pieces[1] == block.replace("\n```", "\n```")
    assert "```" not in pieces[0]


def test_what_introduces_code_moves_with_it() -> None:
    block = "```python\n" + "x = 1\n" * 200 + "```"
    pieces = split_markdown("word " * 300 + "\n\nThe code is:\n" + block)
    assert pieces[1].startswith("The code is:\n```python")


def test_a_heading_doesn_t_end_a_message() -> None:
    pieces = split_markdown("word " * 370 + "\n\n## Heading\n" + "more " * 100)
    assert pieces[1].startswith("## Heading\nmore")


def test_longer_code_is_opened_again_with_its_language_between_lines() -> None:
    lines = [f"line_{number} = {number}" for number in range(300)]
    pieces = split_markdown("```python\n" + "\n".join(lines) + "\n```")
    assert len(pieces) > 2
    assert all(piece.startswith("```python\nline_") for piece in pieces)
    assert all(piece.endswith("\n```") for piece in pieces)
    shown = [line for piece in pieces for line in piece.split("\n")[1:-1]]
    assert shown == lines


def test_code_left_open_is_closed() -> None:
    assert split_markdown("before\n```python\nx = 1") == ("before\n```python\nx = 1\n```",)


def test_an_indented_first_line_of_code_stays_indented() -> None:
    lines = ["    deep()"] * 400
    assert all(p.startswith("```\n    deep()") for p in split_markdown("```\n" + "\n".join(lines)))


def test_the_shortest_message_has_room_for_a_block_of_code() -> None:
    with pytest.raises(ValueError, match="80"):
        split_markdown("x", 79)
    assert split_markdown("x", 80) == ("x",)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 50))
def test_ends_of_a_text_are_within_their_limit(text: str, limit: int) -> None:
    assert text.startswith(first(text, limit))
    assert text.endswith(last(text, limit))
    assert length(last(text, limit)) <= limit
    assert length(first(text, limit)) <= max(limit, 2)
    assert not text or first(text, limit)
    if limit > 2:
        assert length(shortened(text, limit)) <= limit


@pytest.mark.parametrize(
    ("cut", "kept"),
    [(9, "one\ntwo"), (7, "one\ntwo"), (8, "one\ntwo"), (13, "one\ntwo\nthree"), (2, "on")],
)
def test_a_beginning_ends_with_a_line(cut: int, kept: str) -> None:
    text = "one\ntwo\nthree"
    assert to_line_end(text[:cut], text).rstrip("\n") == kept


@pytest.mark.parametrize(
    ("cut", "kept"), [(11, "two\nthree"), (9, "two\nthree"), (13, "one\ntwo\nthree"), (2, "ee")]
)
def test_an_end_begins_with_a_line(cut: int, kept: str) -> None:
    text = "one\ntwo\nthree"
    assert from_line_start(text[-cut:], text) == kept
