"""The fonts of pictures: matplotlib's DejaVu for most text, Noto for the scripts it lacks."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path

from kernel_startup.fonts import font_files

#: What text is drawn with if it doesn't name a font that is here.
SANS, SERIF, MONOSPACE = "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"

_PREFERRED = {"sans-serif": SANS, "serif": SERIF, "monospace": MONOSPACE}
#: Fonts that pages and charts name most.
_OFTEN_NAMED = ("Arial", "Helvetica", "Open Sans", "Verdana", "system-ui")


@cache
def text_fonts() -> tuple[Path, ...]:
    """Font files: DejaVu first, then one for each script it lacks."""
    return (*dejavu_fonts(), *font_files())


def dejavu_fonts() -> tuple[Path, ...]:
    """Of the fonts that come with matplotlib, those for text.

    Its font of last resort isn't one of them: it has a box for every character there is.
    """
    import matplotlib

    directory = Path(os.fspath(matplotlib.get_data_path()), "fonts", "ttf")
    return tuple(sorted(directory.glob("DejaVuS*.ttf")))


def gather_fonts(scratch: Path) -> Path:
    """Have the fonts in one directory, for programs that take no files."""
    directory = scratch / "fonts"
    directory.mkdir()
    for font in text_fonts():
        (directory / font.name).symlink_to(font)
    return directory


def write_font_config(scratch: Path) -> Path:
    """Write fontconfig's settings for programs that find fonts by it: ours, and no others.

    Args:
        scratch: Where to write; it keeps its cache there as well.
    """
    lines = [
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>',
        f"<dir>{escape(str(gather_fonts(scratch)))}</dir>",
        f"<cachedir>{escape(str(scratch / 'cache'))}</cachedir>",
        *_preferences(_PREFERRED),
        *_preferences(dict.fromkeys(_OFTEN_NAMED, SANS)),
        "</fontconfig>",
    ]
    file = scratch / "fonts.conf"
    file.write_text("".join(lines))
    return file


def _preferences(families: Mapping[str, str]) -> Iterator[str]:
    for wanted, family in families.items():
        yield (
            f'<alias binding="same"><family>{wanted}</family>'
            f"<prefer><family>{family}</family></prefer></alias>"
        )
