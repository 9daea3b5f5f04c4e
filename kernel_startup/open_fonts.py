"""Fonts that are open already: made once in the fork server, used by all kernels.

A figure's texts ask for one font and, for the scripts it lacks, for two dozen others, and
matplotlib opens all of them anew in each process: 3 MB that nobody shares, and some milliseconds of
a first plot. It does so because a file that was opened before a fork has one position for all. What
is here has none: the plain fonts are in memory, and of the others each read opens the file.
"""

import importlib
import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

_WEIGHTS = ("normal", "bold")
#: Where matplotlib's own function is replaced. Not where a font's path is asked for (PDF, SVG), nor
#: where formulas are set.
_USERS = ("matplotlib.text", "matplotlib.backends.backend_agg")


class FontFile:
    """A font's file, for FreeType to read from; never open between two reads."""

    def __init__(self, path: str) -> None:
        """Begin at its beginning."""
        self.name = path
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes; all that are left if negative."""
        with open(self.name, "rb", buffering=0) as file:
            file.seek(self._position)
            content = file.read(size) or b""
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another position, as a file does."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (os.stat(self.name).st_size if start is None else start)
        return self._position

    def tell(self) -> int:
        """Tell the position."""
        return self._position


def share_fonts() -> None:
    """Open the fonts of ``font.family`` in its two weights, and have texts use them from now on.

    Called once, before the fork, when ``font.family`` is what kernels have. Leaves no file open.
    """
    from matplotlib.font_manager import FontProperties, fontManager

    fallbacks: dict[str, Any] = {}
    fonts: dict[tuple[str, ...], Any] = {}
    manager: Any = fontManager
    for weight in _WEIGHTS:
        paths = tuple(manager._find_fonts_by_props(FontProperties(weight=weight)))
        fonts[paths] = _open(paths, fallbacks)
    _use(fonts)


def _open(paths: Sequence[Any], fallbacks: dict[str, Any]) -> Any:
    """Make the font of these paths, as matplotlib's ``_get_font`` does."""
    from matplotlib import get_data_path, rcParams
    from matplotlib.ft2font import FT2Font

    made: Any = FT2Font
    options = {"_kerning_factor": rcParams["text.kerning_factor"]}
    first, *rest = paths
    for path in rest:
        if path not in fallbacks:
            fallbacks[path] = made(FontFile(path.path), face_index=path.face_index, **options)
    used = [fallbacks[path] for path in rest]
    if rcParams["font.enable_last_resort"]:
        last = os.path.join(get_data_path(), "fonts", "ttf", "LastResortHE-Regular.ttf")
        if last not in fallbacks:
            fallbacks[last] = made(FontFile(last), _warn_if_used=True, **options)
            fallbacks[last].set_charmap(0)  # the other one, which FreeType prefers, is empty
        used.append(fallbacks[last])
    with open(first.path, "rb") as file:
        content = io.BytesIO(file.read())
    return made(content, face_index=first.face_index, _fallback_list=used, **options)


def _use(fonts: dict[tuple[str, ...], Any]) -> None:
    from matplotlib import font_manager, rcParams

    original: Callable[..., Any] = font_manager.get_font
    settings: Any = rcParams
    names = ("text.kerning_factor", "font.enable_last_resort")
    opened_with = [settings[name] for name in names]
    main_thread = threading.main_thread().ident

    def get_font(font_filepaths: Any, *arguments: Any, **options: Any) -> Any:
        """Get the font that is open already, if there is one, or else as matplotlib does."""
        if isinstance(font_filepaths, list) and threading.get_ident() == main_thread:
            font = fonts.get(tuple(font_filepaths))
            if font is not None and [settings[name] for name in names] == opened_with:
                font._set_transform([[0x10000, 0], [0, 0x10000]], [0, 0])
                return font
        return original(font_filepaths, *arguments, **options)

    for name in _USERS:
        importlib.import_module(name).get_font = get_font  # type: ignore[attr-defined]
