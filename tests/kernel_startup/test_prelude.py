import base64
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

_REPOSITORY = Path(__file__).parents[2]


def _run(code: str, home: Path) -> Any:
    """Run code in a fresh interpreter, with next to no environment."""
    run = subprocess.run(
        [sys.executable, "-c", "import json, os, sys\n" + code],
        cwd=_REPOSITORY,
        env={
            "PATH": os.defpath,
            "HOME": str(home),
            "MPLCONFIGDIR": str(home / "matplotlib"),
            "IPYTHONDIR": str(home / "ipython"),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a process is like after `preload`."""
    return _run(
        """
import random
random.seed(5); state = random.getstate()
descriptors = set(os.listdir("/proc/self/fd"))
before = set(sys.modules)
from kernel_startup import prelude
imported_by_importing = sorted({m.partition(".")[0] for m in set(sys.modules) - before})
os.environ.update(prelude.ENVIRONMENT)  # before numpy, which starts threads otherwise
import numpy as np
np.random.seed(5); numpy_state = np.random.get_state()[1].tolist()
prelude.preload()
from matplotlib import pyplot as plt
opened = [os.readlink(f"/proc/self/fd/{f}") for f in set(os.listdir("/proc/self/fd")) - descriptors
          if os.path.exists(f"/proc/self/fd/{f}")]
print(json.dumps({
    "threads": [open(f"/proc/self/task/{t}/comm").read() for t in os.listdir("/proc/self/task")],
    "figures": plt.get_fignums(), "opened": opened,
    "random": random.getstate() == state,
    "numpy": np.random.get_state()[1].tolist() == numpy_state,
    "imported_by_importing": imported_by_importing,
    "modules": sorted({m.partition(".")[0] for m in sys.modules}),
    "temporary": [n for n in os.listdir(os.environ["HOME"]) if n not in ("matplotlib", "ipython")],
}))
""",
        tmp_path_factory.mktemp("home"),
    )


def test_preload_starts_no_thread(preloaded: Any) -> None:
    assert len(preloaded["threads"]) == 1


def test_preload_leaves_no_file_open(preloaded: Any) -> None:
    assert [name for name in preloaded["opened"] if os.path.isabs(name)] == []


def test_preload_leaves_no_figure_and_draws_no_random_number(preloaded: Any) -> None:
    assert preloaded["figures"] == []
    assert preloaded["random"]
    assert preloaded["numpy"]
    assert preloaded["temporary"] == []


def test_preload_has_what_cells_use_and_not_what_is_dear(preloaded: Any) -> None:
    wanted = {"pandas", "numpy", "matplotlib", "pyarrow", "PIL", "python_calamine", "IPython"}
    assert wanted <= set(preloaded["modules"])
    assert not {"scipy", "sympy", "sklearn"} & set(preloaded["modules"])


def test_importing_the_prelude_imports_no_library(preloaded: Any) -> None:
    assert set(preloaded["imported_by_importing"]) - sys.stdlib_module_names == {"kernel_startup"}


_SHELL = """
import io, contextlib
{before}
from kernel_startup import files, prelude
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.displaypub import CapturingDisplayPublisher
shell = InteractiveShell.instance()
shell.run_line_magic("colors", "nocolor")
prelude.install(shell)
shell.display_pub = CapturingDisplayPublisher()
def run(cell):
    shell.display_pub.outputs.clear()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        result = shell.run_cell(cell, store_history=True)
    error = result.error_in_exec or result.error_before_exec
    return {{
        "displays": [output["data"] for output in shell.display_pub.outputs],
        "text": printed.getvalue(), "value": repr(result.result),
        "error": type(error).__name__ if error else None,
    }}
print(json.dumps([run(cell) for cell in {cells!r}]))
"""
_PRELOAD = "import kernel_startup.prelude; kernel_startup.prelude.preload()"


def _cells(home: Path, *cells: str, before: str = _PRELOAD) -> list[Any]:
    ran: list[Any] = _run(_SHELL.format(before=before, cells=cells), home)
    return ran


def test_names_work_without_an_import_and_do_not_clutter(tmp_path: Path) -> None:
    directory, table, overridden, again, files, text = _cells(
        tmp_path,
        "sorted(n for n in dir() if not n.startswith('_')) and [n for n in dir() if n in "
        "('pd', 'np', 'plt', 'FILES', 'load_file')]",
        "pd.DataFrame({'a': np.arange(3)}).a.sum(), callable(load_file), len(FILES)",
        "pd = 5; pd",
        "del pd; pd.__name__",
        "FILES",
        "load_file.__doc__[:40]",
    )
    assert directory["value"] == "[]"
    assert table["value"] == "(np.int64(3), True, 0)"
    assert overridden["value"] == "5"
    assert again["value"] == "'pandas'"
    assert files["value"] == "FILES: no files yet"
    assert "Load one of the user's files" in text["value"]


def _png_size(display: Any) -> tuple[int, int]:
    picture = base64.b64decode(display["image/png"])
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.parametrize("before", [_PRELOAD, "import matplotlib.pyplot, pandas, numpy"])
def test_figures_are_shown_as_pictures_and_closed(tmp_path: Path, before: str) -> None:
    drawn, shown, after, style = _cells(
        tmp_path,
        "fig, ax = plt.subplots(); ax.plot([1, 2]); ax.set_title('売上 Продажи'); None",
        "plt.plot([1]); plt.show(); plt.figure(); plt.plot([2]); plt.get_fignums()",
        "plt.get_fignums()",
        "plt.style.use('default'); plt.plot([1]); plt.title('数据', weight='bold'); None",
        before=before,
    )
    (display,) = drawn["displays"]
    width, height = _png_size(display)
    assert 550 < width < 900
    assert 400 < height < 700
    assert drawn["text"] == ""  # no font is missing
    assert len(shown["displays"]) == 2
    assert after["value"] == "[]"
    assert len(style["displays"]) == 1
    assert style["text"] == ""


def test_wide_tables_are_shown_within_the_width(tmp_path: Path) -> None:
    cell = "print(pd.DataFrame(np.ones((3, 60))).add_prefix('column'))"
    (shown,) = _cells(tmp_path, cell, before="import pandas")
    assert max(map(len, shown["text"].splitlines())) <= 120
    assert "..." in shown["text"]


def test_plotly_is_told_to_send_its_data_not_a_page(tmp_path: Path) -> None:
    (asked,) = _cells(tmp_path, "import os; os.environ['PLOTLY_RENDERER']", before="")
    assert asked["value"] == "'plotly_mimetype'"


def test_without_libraries_only_files_are_at_hand(tmp_path: Path) -> None:
    (names,) = _cells(
        tmp_path, "import sys; callable(load_file), 'pandas' in sys.modules", before=""
    )
    assert names["value"] == "(True, False)"


def test_an_error_shows_the_users_line_and_not_ours(tmp_path: Path) -> None:
    upload = tmp_path / "broken.json"
    upload.write_text('{"a": [1, 2')
    failed, unknown, option, caught = _cells(
        tmp_path,
        f"x = 1\ndf = load_file({str(upload)!r})",
        "load_file('nope')",
        f"load_file({str(upload)!r}, nrow=5)",
        f"try: load_file({str(upload)!r})\nexcept Exception as e: print(type(e.__cause__))",
        before="",
    )
    assert failed["error"] == "FileLoadError"
    assert "df = load_file(" in failed["text"]
    assert "Expecting ',' delimiter" in failed["text"]
    assert 'as_="bytes"' in failed["text"]
    for frame in ("kernel_startup", "json/decoder", "JSONDecodeError", "direct cause"):
        assert frame not in failed["text"]
    assert len(failed["text"].splitlines()) < 12
    assert unknown["error"] == "FileNotKnown"
    assert "There are no files yet" in unknown["text"]
    assert option["error"] == "WrongArgument"
    assert "did you mean nrows=?" in option["text"]
    assert "kernel_startup" not in option["text"]
    assert "JSONDecodeError" in caught["text"]  # still there for code that wants it
