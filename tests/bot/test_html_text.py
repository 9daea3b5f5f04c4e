"""HTML as readable text."""

import pytest

from bot.html_text import html_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<b>a</b> <i>b</i>", "a b"),
        ("a\n  b", "a b"),
        ("a<br>b", "a\nb"),
        ("<p>a</p><p>b</p>", "a\nb"),
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<h1>T</h1>text", "T\ntext"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("&lt;tag&gt; &amp; &euro;", "<tag> & €"),
        ("<style>x{}</style><script>y()</script>z", "z"),
        ("<script>if (a < b) {}</script>z", "z"),
        ("<svg><svg>a</svg>b</svg>c", "c"),
        ("<img alt='A cat'>", "[A cat]"),
        ("<img>", "[image]"),
        ("<table><tr><th>a<th>bb<tr><td>11<td>2</table>", "a   bb\n11  2"),
        ("<table>\n<tr>\n<td>a</td>\n<td>b</td>\n</tr>\n</table>", "a  b"),
        ("<table><caption>C</caption><tr><td>a</table>", "C\na"),
        ("<table><tr><td colspan=2>ab<tr><td>a<td>b</table>", "   ab\na  b"),
        ("x<table><tr><td>a</table>y", "x\na\ny"),
        ("<table><tr><td><table><tr><td>in</table></table>", "in"),
        ("<td>a</td>", "a"),
        ("<table><tr><td>日本<td>x<tr><td>a<td>y</table>", "日本  x\na     y"),
        ("", ""),
        ("</div></table></script>", ""),
        ("<table><tr><td>unclosed", "unclosed"),
        ("<", "<"),
        ("a < b > c", "a < b > c"),
        ("<b class='>'>x</b>", "x"),
        ('a<b"><i>x', "ax"),
        ("a<!-- > -->b<!DOCTYPE html>c<?php ?>d", "abcd"),
        ("a<!-- never closed", "a"),
        ("<ScRiPt>a</sCrIpT >b", "b"),
        ("<td data-colspan=9>x", "x"),
    ],
)
def test_reads_as_text(html: str, text: str) -> None:
    assert html_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 20_000,
        "<table><tr>" + "<td colspan=99999999>x" * 1000,
        "<table>" * 5_000 + "</table>" * 6_000,
        "<!--" * 1000,
        "<![CDATA[" * 1000,
        "<a " * 10_000,
        "<a '" * 10_000 + '"',
        '<a "<a" ' * 10_000,
        "<script>" * 10_000,
        "<" * 100_000,
        "<td>" * 100_000,
        "&#27;" * 1000,
        "&#" + "9" * 10_000 + ";",
        "&#x" + "f" * 10_000,
    ],
    ids=lambda html: html[:12],
)
def test_hostile_markup_ends_in_some_text(html: str) -> None:
    assert isinstance(html_text(html), str)


def test_a_long_page_is_cut_and_says_so() -> None:
    assert html_text("a" * 500_000).endswith("a")
    assert html_text("a" * 500_001).endswith("[cut]")


def test_a_long_table_says_how_many_rows_are_missing() -> None:
    table = "<table>" + "<tr><td>r" * 203 + "</table>"
    assert html_text(table).endswith("r\n[3 more rows]")
