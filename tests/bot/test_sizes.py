"""Numbers as people say them."""

import pytest

from bot.sizes import size_text, span_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1_048_576 - 1, "1.0 MiB"),
        (50 << 20, "50.0 MiB"),
        (3 << 40, "3072.0 GiB"),
    ],
)
def test_sizes(size: int | None, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (99.94, "99.9 s"),
        (99.95, "2 min"),
        (7199, "120 min"),
        (7200, "2 hours"),
        (172_799, "48 hours"),
        (172_800, "2 days"),
    ],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
