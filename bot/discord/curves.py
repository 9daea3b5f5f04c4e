"""Curves: what a kernel used over time, as a picture."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from bot.sizes import size_text
from interpreter import ResourceSample

_WIDTH, _HEIGHT = 720, 300
#: Drawn larger, and scaled down: that smoothes the lines.
_SCALE = 2
_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 16, 16, 28, 34, 12
_PAPER, _INK, _GRID = "#ffffff", "#333333", "#dddddd"
_MEMORY, _CPU = "#4472c4", "#d2691e"


def resource_curve(samples: Sequence[ResourceSample]) -> bytes | None:
    """Draw memory and processor time over time, each on its own scale from 0; PNG.

    Args:
        samples: the oldest first; with fewer than two there is no curve.
    """
    if len(samples) < 2:
        return None
    picture = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), _PAPER)
    draw = ImageDraw.Draw(picture)
    height = (_HEIGHT - _TOP - _GAP - _BOTTOM) // 2
    start = samples[0].at
    seconds = [(sample.at - start).total_seconds() for sample in samples]
    memory = [float(sample.memory_bytes) for sample in samples]
    cpu = [float(sample.cpu_percent or 0.0) for sample in samples]
    minutes = seconds[-1] / 60
    when = f"the last {minutes:.0f} min" if minutes >= 2 else f"the last {seconds[-1]:.0f} s"
    for name, values, most, colour, top in (
        (f"Memory, at most {size_text(int(max(memory)))}", memory, max(memory), _MEMORY, _TOP),
        (
            f"Processor, at most {max(cpu):.0f} % of one",
            cpu,
            max(*cpu, 100.0),
            _CPU,
            _TOP + height + _GAP,
        ),
    ):
        _panel(draw, f"{name} ({when})", seconds, values, most or 1.0, colour, top, height)
    content = io.BytesIO()
    picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(content, "PNG", optimize=True)
    return content.getvalue()


def _panel(
    draw: ImageDraw.ImageDraw,
    title: str,
    seconds: Sequence[float],
    values: Sequence[float],
    most: float,
    colour: str,
    top: int,
    height: int,
) -> None:
    width = _WIDTH - _LEFT - _RIGHT
    span = seconds[-1] or 1.0
    font = ImageFont.load_default(14 * _SCALE)
    draw.text((_LEFT * _SCALE, (top - 20) * _SCALE), title, _INK, font)
    for share in (0.0, 0.5, 1.0):
        y = (top + height * share) * _SCALE
        draw.line((_LEFT * _SCALE, y, (_LEFT + width) * _SCALE, y), _GRID, _SCALE)
    points = [
        (
            (_LEFT + width * second / span) * _SCALE,
            (top + height * (1 - min(value / most, 1.0))) * _SCALE,
        )
        for second, value in zip(seconds, values, strict=True)
    ]
    draw.line(points, colour, 2 * _SCALE, joint="curve")
