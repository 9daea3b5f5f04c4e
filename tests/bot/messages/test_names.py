"""What attachments are called, and what is seen of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages.filenames import Names, attachment_name
from bot.messages.plain import (
    code_block,
    code_span,
    escape_markdown,
    escape_mentions,
    plain_sentence,
)


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("x.csv", "x.csv"),
        ("data (1).csv", "data_1.csv"),
        ("résumé.PDF", "resume.PDF"),
        ("отчёт.csv", "file.csv"),
        ("日本", "file"),
        ("", "file"),
        (".gitignore", "file.gitignore"),
        ("a.tar.gz", "a.tar.gz"),
        ("a.plotly.json", "a.plotly.json"),
        ("v1.2.csv", "v1.2.csv"),
        ("a/b\\c.txt", "a_b_c.txt"),
        ("../../etc/passwd", "etc_passwd"),
        ("x.", "x"),
        ("x.7z", "x.7z"),
        ("SPOILER_x.png", "x.png"),
        ("spoiler_SPOILER_x.png", "x.png"),
        ("_SPOILER_x.png", "x.png"),
        ("my SPOILER_x.png", "my_SPOILER_x.png"),
        ("a\u202egnp.exe", "a_gnp.exe"),
        ("x" * 200 + ".csv", "x" * 96 + ".csv"),
    ],
)
def test_a_name_is_as_near_to_the_file_s_as_discord_leaves_it(filename: str, name: str) -> None:
    assert attachment_name(filename) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_is_safe(filename: str) -> None:
    name = attachment_name(filename)
    assert 1 <= len(name) <= 100
    assert all(one.isascii() and (one.isalnum() or one in "._-") for one in name)
    assert not name.startswith(".") and not name.upper().startswith("SPOILER_")
    assert attachment_name(name) == name


def test_no_name_is_given_twice() -> None:
    names = Names()
    given_names = [names.give(name) for name in ["a.csv", "A.csv", "a.csv", "a-2.csv", "a (2).csv"]]
    assert given_names[0] == "a.csv"
    assert len({name.lower() for name in given_names}) == 5
    assert all(name.endswith(".csv") for name in given_names)


def test_nothing_in_code_ends_it() -> None:
    assert code_block("a\n```\nb", "python") == "```python\na\n``\u200b`\nb\n```"
    assert code_block("`" * 7).count("```") == 2
    assert code_block("x", "not a language") == "```\nx\n```"
    assert code_block(" \n") == ""


@pytest.mark.parametrize(
    ("text", "span"), [("x", "`x`"), ("a`b", "`` a`b ``"), ("", ""), ("a\nb", "`a b`")]
)
def test_code_in_a_line_is_one_line(text: str, span: str) -> None:
    assert code_span(text) == span


def test_a_long_run_of_backticks_in_a_line_opens_no_block() -> None:
    assert "```" not in code_span("a ```` b")


def test_markdown_that_is_escaped_shows_as_it_is() -> None:
    assert escape_markdown("*a* _b_ [c](d)\n# e\n> f") == (
        "\\*a\\* \\_b\\_ \\[c\\](d)\n\\# e\n\\> f"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b `c_d` *e*", "a\\_b `c_d` \\*e\\*"),
        ("a` @everyone", "a\\` @\u200beveryone"),
        ("```x", "\\`\\`\u200b\\`x"),
    ],
)
def test_a_sentence_shows_as_it_is_but_for_code(text: str, shown: str) -> None:
    assert plain_sentence(text) == shown


def test_mentions_can_be_read() -> None:
    text = "@everyone @here <@1> <@!1> <@&1> me@here.example <#1>"
    assert escape_mentions(text).replace("\u200b", "") == text
    assert not any(m in escape_mentions(text) for m in ("@everyone", "@here", "<@1", "<@!1", "<@&"))
