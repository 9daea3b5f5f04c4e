"""Facts in words, lists in pages, a curve as a picture, code out of its fence."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from bot.discord.commands.admin_kernels import kernel_lines
from bot.discord.commands.admin_limits import rule_text
from bot.discord.commands.kernel import variables_text
from bot.discord.commands.run import code_in
from bot.discord.curves import resource_curve
from bot.discord.pages import as_many_as_fit, page_of
from bot.discord.words import span
from bot.people.limit_rules import LimitRule
from interpreter import KernelInfo, ResourceSample, Variable

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (599, "9 min 59 s"),
        (601, "10 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (48 * 3600 - 1, "47 h 59 min"),
        (48 * 3600, "2 days"),
    ],
)
def test_spans_of_time(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("count", "number", "lines", "pages", "labels"),
    [
        (0, 0, 0, 1, []),
        (10, 0, 10, 1, []),
        (11, 0, 10, 2, ["Next"]),
        (11, 1, 1, 2, ["Previous"]),
        (11, 5, 1, 2, ["Previous"]),
        (30, 1, 10, 3, ["Previous", "Next"]),
        (30, -4, 10, 3, ["Next"]),
    ],
)
def test_pages(count: int, number: int, lines: int, pages: int, labels: list[str]) -> None:
    page = page_of([str(n) for n in range(count)], number, size=10)
    assert (len(page.lines), page.count) == (lines, pages)
    assert [button.label for button in page.buttons("files", "1")] == labels
    assert bool(page.footer) == (pages > 1)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        (["a" * 50, "b" * 49], "a" * 50 + "\n" + "b" * 49),
        (["a" * 50, "b" * 50], "a" * 50 + "\n-# and 1 more"),
        (["a" * 30, "b" * 38, "c" * 99, "d"], "a" * 30 + "\n" + "b" * 38 + "\n-# and 2 more"),
        (["a" * 30, "b" * 39, "c" * 99, "d"], "a" * 30 + "\n-# and 3 more"),
    ],
)
def test_lines_that_do_not_fit_are_counted(lines: list[str], text: str) -> None:
    assert as_many_as_fit(lines, most_chars=100) == text
    assert len(text) <= 100


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("```py\nx = 1\ny = 2\n```", "x = 1\ny = 2"),
        ("```\nx = 1```", "x = 1"),
        (" ```python\nprint('```')\n```\n", "print('```')"),
        ("x = '```'", "x = '```'"),
        ("```x = 1```", "x = 1"),
        ("", ""),
    ],
)
def test_code_is_taken_out_of_its_fence(text: str, code: str) -> None:
    assert code_in(text) == code


def test_curve_is_a_picture_of_both(tmp_path: object) -> None:
    samples = [
        ResourceSample(NOW + timedelta(seconds=5 * n), (100 + n * n) << 20, float(n * 9 % 120))
        for n in range(60)
    ]
    content = resource_curve(samples)
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or ()}
        assert picture.size == (720, 300)
    assert {(0x44, 0x72, 0xC4), (0xD2, 0x69, 0x1E)} <= colours


@pytest.mark.parametrize("count", [0, 1])
def test_one_moment_is_no_curve(count: int) -> None:
    assert resource_curve([ResourceSample(NOW, 1, None)] * count) is None


def test_idle_kernel_that_used_nothing_has_a_curve() -> None:
    samples = [ResourceSample(NOW, 0, None), ResourceSample(NOW, 0, 0.0)]
    assert resource_curve(samples) is not None


def test_variables_are_cut_to_a_message_and_counted() -> None:
    variables = [
        Variable(f"name_{n}_" + "x" * 300, "module.Type" * 9, "9" * 99, n << 20, "contents ```")
        for n in range(1000)
    ]
    text = variables_text(variables)
    assert len(text) <= 2000 and "contents" not in text
    assert text.endswith("more") and text.count("```") == 2
    shown = text.count("\n") - 2
    assert f"and {1000 - shown} more" in text
    assert variables_text(variables[:1], with_contents=True).count("```") == 2


def test_kernels_are_aligned_whatever_they_do() -> None:
    busy = KernelInfo(
        user_id="123456789012345678",
        kernel_id="k",
        pid=1,
        state="busy",
        started_at=NOW,
        last_active_at=NOW,
        cells=12,
        memory_bytes=123 << 20,
        cpu_s=1.0,
        cell_running_s=61.0,
        cpu_percent=99.6,
    )
    idle = KernelInfo(
        user_id="1",
        kernel_id="k",
        pid=1,
        state="idle",
        started_at=NOW,
        last_active_at=NOW,
        cells=0,
        memory_bytes=None,
        cpu_s=None,
    )
    first, second = kernel_lines([busy, idle])
    assert len(first) == len(second)
    assert "busy 61s" in first and "100%" in first and "123.0 MiB" in first


def test_rules_in_words() -> None:
    assert rule_text(LimitRule()) == "what holds for all"
    one = LimitRule(max_files=1, turns_per_day=1)
    assert rule_text(one) == "1 file, 1 question a day"
    rule = LimitRule(cell_timeout_s=1.5, memory_bytes=1 << 30, max_files=3, turns_per_day=-1)
    assert rule_text(rule) == "1.5 s a cell, 1.0 GiB of memory, 3 files, any number of questions"
