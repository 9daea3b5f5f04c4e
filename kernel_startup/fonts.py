"""Fonts for plots in every script: Noto, from wheels in the kernels' environment.

matplotlib draws each character with the first font of `font.family` that has it. Its own DejaVu
Sans comes first and looks as people expect; after it one family for each script it lacks.
"""

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry, FontManager

#: The distributions that bring the fonts (SIL Open Font License 1.1). The CJK one is a static
#: regular: of the variable one (manimgx-fonts-cjk) matplotlib can only draw the thinnest weight.
DISTRIBUTIONS = ("manimgx-fonts", "noto-cjk-sans-jp-regular")

#: Below `sys.prefix`: where the builder of an environment has put `build_font_cache`'s list.
FONT_CACHE = "share/cellmate/matplotlib"

#: Where environments are seen in the sandbox they are built for.
_SEALED = "/env"

#: In the order in which matplotlib asks them, those in most use first.
_FALLBACKS = (
    *("Noto Sans", "Noto Sans CJK JP", "Noto Emoji", "Noto Sans Symbols"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Gujarati"),
    *("Noto Sans Kannada", "Noto Sans Malayalam", "Noto Sans Gurmukhi", "Noto Sans Oriya"),
    *("Noto Sans Sinhala", "Noto Sans Khmer", "Noto Sans Lao", "Noto Sans Myanmar"),
    *("Noto Sans Ethiopic", "Noto Sans Armenian", "Noto Sans Georgian"),
)

#: What matplotlib may ask for. There is one weight of each font, and matplotlib would warn of each
#: family that hasn't got the other: 23 warnings for a bold title.
_WEIGHTS = (400, 700)


def font_files() -> list[Path]:
    """List the font files of the environment's font distributions; none of them is imported."""
    files = []
    for name in DISTRIBUTIONS:
        try:
            installed = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in installed:
            if file.suffix.lower() in (".ttf", ".otf", ".ttc"):
                files.append(Path(str(file.locate())))
    return sorted(files)


def build_font_cache(directory: str | os.PathLike[str]) -> None:
    """Write matplotlib's list of fonts, ours among them, for the builder of an environment.

    It holds matplotlib's own fonts and `font_files`, and none of the system the environment was
    built on. Paths of ours are absolute: whoever moves the environment rewrites them.

    Args:
        directory: Where to write ``fontlist-v<version>.json``; must exist. `place_font_cache`
            expects it at `FONT_CACHE` below the environment.
    """
    os.environ["MPLCONFIGDIR"] = os.fspath(directory)
    import matplotlib
    from matplotlib import font_manager

    own = matplotlib.get_data_path()
    manager = font_manager.fontManager
    manager.ttflist = [entry for entry in manager.ttflist if entry.fname.startswith(own)]
    manager.afmlist = [entry for entry in manager.afmlist if entry.fname.startswith(own)]
    _add(manager, font_files())
    font_manager.json_dump(manager, _list_in(Path(directory), manager))


def place_font_cache() -> None:
    """Copy the environment's list of fonts to where matplotlib looks for it, before its import.

    matplotlib wants its configuration directory writable, so it can't be the environment's own.
    Does nothing without MPLCONFIGDIR, without such a list, or where there is one already.
    """
    target = os.environ.get("MPLCONFIGDIR")
    if not target:
        return
    # Where kernels have no file system of their own, the environment is not where it was built for.
    prefix = os.environ.get("CELLMATE_ENV", sys.prefix)
    for source in Path(prefix, FONT_CACHE).glob("fontlist-v*.json"):
        try:
            os.makedirs(target, exist_ok=True)
            if not os.path.exists(os.path.join(target, source.name)):
                listed = source.read_text("utf-8")
                if prefix != sys.prefix:
                    listed = listed.replace(f'"{_SEALED}/', f'"{prefix}/')
                Path(target, source.name).write_text(listed, "utf-8")
        except OSError:
            return  # then matplotlib looks for fonts itself, which takes it a second


def register() -> list[str]:
    """Make matplotlib know the fonts, and name the families for ``font.family``, in order.

    Cheap if the list came from `place_font_cache`.
    """
    from matplotlib.font_manager import fontManager

    known = {entry.name for entry in fontManager.ttflist}
    if not known.issuperset(_FALLBACKS):
        listed = {entry.fname for entry in fontManager.ttflist}
        _add(fontManager, (file for file in font_files() if str(file) not in listed))
        known = {entry.name for entry in fontManager.ttflist}
    return ["sans-serif", *(family for family in _FALLBACKS if family in known)]


def _add(manager: "FontManager", files: Iterable[Path]) -> None:
    import dataclasses

    for file in files:
        before = len(manager.ttflist)
        manager.addfont(file)
        added: list[FontEntry] = manager.ttflist[before:]
        del manager.ttflist[before:]
        # To the front: every new size of text is a search for each family, up to its first match.
        manager.ttflist[:0] = [dataclasses.replace(e, weight=w) for e in added for w in _WEIGHTS]


def _list_in(directory: Path, manager: "FontManager") -> Path:
    return directory / f"fontlist-v{manager.__version__}.json"
