"""A model's markdown as Discord shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages.dialect import discord_markdown, has_table
from bot.messages.split import split_markdown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain", "plain"),
        ("**b** *i* ~~s~~ `c` __b c__", "**b** *i* ~~s~~ `c` **b c**"),
        ("# A\n## B\n### C", "# A\n## B\n### C"),
        ("#### D\ntext", "**D**\ntext"),
        ("###### **F**", "**F**"),
        ("Title\n=====", "# Title"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("- a\n- b\n  - c\n", "- a\n- b\n  - c"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("- [ ] todo\n- [x] done", "- ☐ todo\n- ☑ done"),
        ("1. a\n   ```py\n   x\n   ```\n2. b", "1. a\n```py\nx\n```\n2. b"),
        ("- ```\n  x\n  ```", "-\n```\nx\n```"),
        ("> a\n> b", "> a\n> b"),
        ("> > a", "> a"),
        ("> a\n>\n> ```\n> x\n> ```\n> b", "> a\n```\nx\n```\n> b"),
        ("a\n\n---\n\nb", "a\n\n⸻\n\nb"),
        ("    indented", "```\nindented\n```"),
        ("~~~python\nx\n~~~", "```python\nx\n```"),
        ("```{.python}\nx\n```", "```python\nx\n```"),
        ("```not a language!\nx\n```", "```not\nx\n```"),
        ("```\n```", ""),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("the __init__ method", "the \\_\\_init\\_\\_ method"),
        ("\\*not emphasis\\*", "\\*not emphasis\\*"),
        ("a || b || c", "a \\|\\| b \\|\\| c"),
        ("&lt;b&gt; &amp; &#42;x&#42;", "<b> & \\*x\\*"),
    ],
)
def test_what_discord_has_stays_and_the_rest_becomes_readable(markdown: str, shown: str) -> None:
    assert discord_markdown(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("![a plot](https://a.example/x.png)", "[a plot](https://a.example/x.png)"),
        ("![](https://a.example/x.png)", "https://a.example/x.png"),
        ('[t](https://a.example "title")', "[t](https://a.example)"),
        ("[t](https://a.example/x_(y))", "[t](https://a.example/x_%28y%29)"),
        ("<https://a.example>", "https://a.example"),
        ("[t][1]\n\n[1]: https://a.example", "[t](https://a.example)"),
        ("[https://a.example](https://a.example)", "https://a.example"),
        # Discord would show neither as a link.
        ("[https://bank.example](https://b.example)", "https://bank.example (https://b.example)"),
        ("[t](javascript:alert)", "t"),
        ("[t](data:text/html,x)", "t"),
        ("[t](#there)", "t"),
        ("[me](mailto:a@b.example)", "me"),
    ],
)
def test_links_lead_to_the_web_or_are_words(markdown: str, shown: str) -> None:
    assert discord_markdown(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<b>x</b> <i>y</i> <u>z</u> <del>w</del>", "**x** *y* __z__ ~~w~~"),
        ("x<sup>2</sup> H<sub>2</sub>O", "x² H₂O"),
        ("x<sup>Q, R</sup>", "x^(Q, R)"),
        ("<span style='color:red'>x</span>", "x"),
        ("Dear <name>, x <y", "Dear <name>, x <y"),
        ("a <!-- hidden --> b", "a  b"),
        ("<div><h2>T</h2><p>text</p></div>", "T\ntext"),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "```\na  b\n1  2\n```",
        ),
    ],
)
def test_html_is_read(markdown: str, shown: str) -> None:
    assert discord_markdown(markdown) == shown


def test_footnotes_are_small_print() -> None:
    text = "See[^1] and[^n].\n\n[^1]: The first.\n[^n]: *Another*."
    assert discord_markdown(text) == "See¹ and\\[n\\].\n-# ¹ The first.\n-# \\[n\\] *Another*."


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("$x^2 + y_1$", "x² + y₁"),
        ("so $n$ is", "so n is"),
        (r"\(\alpha \le 1\)", "α ≤ 1"),  # noqa: RUF001
        (r"\[ E = mc^2 \]", "> E = mc²"),
        ("$$\n\\frac{1}{n}\n$$", "> 1/n"),
        ("$$x$$ inline", "> x inline"),
        ("text\n$$\nx = 1\n$$\nmore", "text\n\n> x = 1\n\nmore"),
        ("```math\nx^2\n```", "> x²"),
        (r"$a*b*c$", r"a\*b\*c"),
        (r"$\unknown{x}$", r"`\unknown{x}`"),
        ("$$\n\\unknown{x}\n$$", "```latex\n\\unknown{x}\n```"),
        ("from $5 to $10", "from $5 to $10"),
        ("$5-$10 a day", "$5-$10 a day"),
        ("it costs $5, or $6.", "it costs $5, or $6."),
        ("`$x^2$` stays", "`$x^2$` stays"),
        ("$HOME/x and $PATH", "$HOME/x and $PATH"),
    ],
)
def test_formulas_are_read_and_prices_left_alone(markdown: str, shown: str) -> None:
    assert discord_markdown(markdown) == shown


def test_tables_are_aligned_by_their_kind() -> None:
    table = "| name | n |\n|:--|---|\n| **ab** | 1 |\n| `c` | 20 |"
    assert discord_markdown(table) == "```\nname   n\n────────\nab     1\nc     20\n```"
    assert has_table(table)
    assert not has_table("a | b")


def test_a_table_too_wide_for_a_phone_becomes_a_list() -> None:
    long = "words " * 8
    table = f"| a | b | c |\n|--|--|--|\n| x | {long} | {long} |\n| y | | @everyone |"
    shown = discord_markdown(table)
    assert shown == (
        f"**x**\n- b: {long.strip()}\n- c: {long.strip()}\n**y**\n- c: @\u200beveryone"
    )


@pytest.mark.parametrize("width", [61, 62])
def test_a_table_as_wide_as_a_block_of_code_stays_one(width: int) -> None:
    table = f"| a | b |\n|--|--|\n| x | {'w' * (width - 3)} |"
    assert discord_markdown(table).startswith("```")
    wider = f"| a | b |\n|--|--|\n| x | {'w' * 60} |"
    assert discord_markdown(wider).startswith("**x**")


def test_a_large_wide_table_stays_a_block() -> None:
    row = "| " + " | ".join(["12345678"] * 10) + " |\n"
    table = row + "|--" * 10 + "|\n" + row * 10
    assert discord_markdown(table).startswith("```")


@pytest.mark.parametrize("mention", ["@everyone", "@here", "<@1>", "<@!1>", "<@&1>"])
def test_nobody_is_called(mention: str) -> None:
    for text in (mention, f"**{mention}**", f"- {mention}", f"# {mention}", f"<p>{mention}</p>"):
        shown = discord_markdown(text)
        assert mention not in shown
        assert shown.replace("\u200b", "").count(mention) == 1
    # In code nobody is called, and code is copied.
    assert discord_markdown(f"`{mention}`") == f"`{mention}`"


def test_channels_and_times_are_left_alone() -> None:
    assert discord_markdown("<#12> <t:1:R> <:smile:3>") == "<#12> <t:1:R> <:smile:3>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb\u2060c\ufeffd", "abcd"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("a\u3164b\u2800", "ab"),
        ("👩\u200d👧 क\u200cष", "👩\u200d👧 क\u200cष"),
        ("a\u200db", "ab"),
        ("\ud800", "\ufffd"),
        ("a\r\nb\u2028c", "a\nb\nc"),
        ("🏴\U000e0067\U000e0062", "🏴"),
    ],
)
def test_nothing_is_hidden(text: str, shown: str) -> None:
    assert discord_markdown(text) == shown


def test_backticks_can_t_end_our_code() -> None:
    for text in ("~~~\na ``` b\n~~~", "````\n```\nx\n```\n````", "a ``` b", "    ```"):
        shown = discord_markdown(text)
        assert shown.count("```") in (0, 2)
        assert "```" not in shown.removeprefix("```").removesuffix("```")


@given(st.text(st.sampled_from("ab *_`~|#>-[](){}<>!$\\^\n@1.&;:/"), max_size=200))
def test_whatever_a_model_writes_comes_out_balanced_and_in_messages(text: str) -> None:
    shown = discord_markdown(text)
    assert shown.count("```") % 2 == 0
    assert all(piece.strip() for piece in split_markdown(shown))


@pytest.mark.parametrize(
    "text",
    ["*" * 5000 + "a" + "*" * 5000, "> " * 3000, "[" * 5000, "- " * 3000, "$" * 5000, "<" * 5000],
)
def test_nesting_without_end_is_read(text: str) -> None:
    assert discord_markdown(text)


def test_an_endless_answer_is_cut() -> None:
    assert len(discord_markdown("x" * 100_001)) == 100_000
