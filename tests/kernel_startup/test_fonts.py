# ruff: noqa: RUF001  (texts in many scripts are what is tested)
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("manimgx_fonts")
pytest.importorskip("noto_cjk_sans_jp_regular")

_REPOSITORY = Path(__file__).parents[2]


def _run(code: str, **environment: str) -> Any:
    """Run code in a fresh interpreter, as matplotlib keeps its fonts for a process's life."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import json\n" + code],
        cwd=_REPOSITORY,
        env={**kept, "MPLBACKEND": "agg", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def font_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fonts")
    code = "from kernel_startup.fonts import build_font_cache; import sys\n"
    _run(code + f"build_font_cache({str(directory)!r}); print('null')")
    return directory


def test_the_fonts_are_found_without_importing_them() -> None:
    found, imported = _run(
        "import sys; from kernel_startup.fonts import font_files\n"
        "files = [str(f) for f in font_files()]\n"
        "print(json.dumps([files, [m for m in sys.modules if 'manimgx' in m or 'noto' in m]]))"
    )
    assert len(found) > 20
    assert all(Path(file).is_file() for file in found)
    assert imported == []


def test_the_font_cache_holds_matplotlibs_fonts_and_ours_only(font_cache: Path) -> None:
    (written,) = font_cache.iterdir()
    entries = json.loads(written.read_text())["ttflist"]
    names = {entry["name"] for entry in entries}
    assert {"DejaVu Sans", "Noto Sans CJK JP", "Noto Emoji", "Noto Sans Thai"} <= names
    for entry in entries:
        # matplotlib's own are written relative to its data.
        assert not os.path.isabs(entry["fname"]) or sys.prefix in entry["fname"]


_SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, Đặng",
    "Cyrillic": "Продажи",
    "Greek": "Ελληνικά",
    "Arabic": "المبيعات",
    "Hebrew": "מכירות",
    "Hindi": "बिक्री क्षेत्र",
    "Bengali": "বিক্রয়",
    "Tamil": "விற்பனை",
    "Thai": "ยอดขาย",
    "Chinese": "销售数据 銷售數據",
    "Japanese": "売上データ",
    "Korean": "판매 데이터",
    "emoji": "😀🚀📈✅",
    "maths": "∑∫√∞≤≥ℝ→⇒",
    "signs": "₿₹€①★☂✓",
}

_DRAW = f"""
import warnings
from kernel_startup import fonts, prelude
fonts.place_font_cache()
prelude._set_matplotlib_options()
import matplotlib.pyplot as plt
missing = []
for setting in (lambda: None, lambda: plt.style.use("default"), plt.rcdefaults):
    setting()
    for script, text in {_SCRIPTS!r}.items():
        for weight in ("normal", "bold"):
            figure = plt.figure(figsize=(2, 1))
            figure.text(0.1, 0.5, text, weight=weight)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                figure.canvas.draw()
            plt.close(figure)
            missing += [[script, str(w.message)] for w in caught]
print(json.dumps(missing))
"""


def test_every_script_is_drawn_without_a_warning(tmp_path: Path) -> None:
    assert _run(_DRAW, MPLCONFIGDIR=str(tmp_path)) == []


def test_every_script_is_drawn_from_the_cache(tmp_path: Path, font_cache: Path) -> None:
    (written,) = font_cache.iterdir()
    (tmp_path / written.name).write_bytes(written.read_bytes())
    assert _run(_DRAW, MPLCONFIGDIR=str(tmp_path)) == []


def test_placing_the_cache_copies_it_once(tmp_path: Path, font_cache: Path) -> None:
    cached = tmp_path / "prefix" / "share/cellmate/matplotlib"
    cached.mkdir(parents=True)
    (cached / "fontlist-v1.json").write_text("{}")
    target = tmp_path / "home" / "config"
    code = (
        f"import sys; sys.prefix = {str(tmp_path / 'prefix')!r}\n"
        "from kernel_startup.fonts import place_font_cache as place\n"
        "place(); print(json.dumps('matplotlib' in sys.modules))"
    )
    assert _run(code, MPLCONFIGDIR=str(target)) is False
    assert [path.name for path in target.iterdir()] == ["fontlist-v1.json"]
    (target / "fontlist-v1.json").write_text("kept")
    _run(code, MPLCONFIGDIR=str(target))
    assert (target / "fontlist-v1.json").read_text() == "kept"
    _run(code)  # nowhere to place it
    _run(code, MPLCONFIGDIR="/proc/nowhere")


_DRAW_OPENED = f"""
import io, os, sys
from kernel_startup import fonts, open_fonts, prelude
fonts.place_font_cache()
prelude._set_matplotlib_options()
import matplotlib.pyplot as plt
from matplotlib import font_manager

def drawn(text, form="rgba"):
    figure = plt.figure(figsize=(2, 1))
    figure.text(0.1, 0.5, text, rotation=10)
    figure.text(0.1, 0.2, text, weight="bold", size=7)
    figure.text(0.1, 0.1, "$x^2$")
    dates = {{"pdf": {{"CreationDate": None}}, "svg": {{"Date": None}}}}
    picture = io.BytesIO()
    figure.savefig(picture, format=form, metadata=dates.get(form))
    plt.close(figure)
    return picture.getvalue()

scripts = {_SCRIPTS!r}
plt.rcParams["svg.hashsalt"] = "same"
forms = ("pdf", "svg")
before = [drawn(text) for text in scripts.values()] + [drawn("Kiel 销售", f) for f in forms]
font_manager._get_font.cache_clear()
open_fonts.share_fonts()
ours, theirs = os.pipe()
if os.fork() == 0:
    opened = []
    def note(event, arguments):
        if event == "open":
            opened.append(os.path.basename(str(arguments[0])))
    sys.addaudithook(note)
    figure = plt.figure()
    figure.text(0.1, 0.5, "Umsatz in Kiel")
    figure.text(0.1, 0.2, "Summe", weight="bold")
    figure.canvas.draw()
    first = [name for name in opened if name.endswith((".ttf", ".otf"))]
    after = [drawn(text) for text in scripts.values()] + [drawn("Kiel 销售", f) for f in forms]
    same = [one == other for one, other in zip(before, after)]
    os.write(theirs, json.dumps([first, same]).encode())
    os._exit(0)
os.close(theirs)
with open(ours) as told:
    print(told.read())
"""


def test_fonts_opened_before_a_fork_draw_the_same_in_the_child(
    tmp_path: Path, font_cache: Path
) -> None:
    (written,) = font_cache.iterdir()
    (tmp_path / written.name).write_bytes(written.read_bytes())
    first, same = _run(_DRAW_OPENED, MPLCONFIGDIR=str(tmp_path))
    assert same == [True] * (len(_SCRIPTS) + 2)
    assert first == []
