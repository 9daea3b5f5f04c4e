"""What a kernel has before its first cell: modules in memory, names at hand, plots inline."""

import builtins
import contextlib
import gc
import importlib
import io
import itertools
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernel_startup import fonts, open_fonts
from kernel_startup.describe import describe_file
from kernel_startup.files import FILES, load_file
from kernel_startup.sandboxes import Places

#: Variables that kernels run with, unless the fork server is started with others. The first ones
#: keep what `preload` imports from starting threads: a fork copies only the thread that forks, and
#: locks that others hold stay locked for ever.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # pyarrow's jemalloc starts its thread when it is loaded, even where it isn't used.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # plotly's own choice for a kernel is HTML with all of its JavaScript: megabytes a figure.
    "PLOTLY_RENDERER": "plotly_mimetype",
}

_BACKEND = ENVIRONMENT["MPLBACKEND"]

#: Names that work without an import, if their module is in memory.
_ALIASES = {"pd": "pandas", "np": "numpy", "plt": "matplotlib.pyplot"}

#: Dots per inch of a figure: 6.4 by 4.8 inches become 768 by 576, which a chat shows unscaled.
_FIGURE_DPI = 120

#: What most sessions use, and what its first use imports: found by running what people begin with
#: and looking what was new in `sys.modules`. Not scipy: 60 MB, 3 s.
_MODULES = (
    *("json", "sqlite3", "statistics", "zipfile"),
    *("IPython.core.completer", "IPython.core.logger", "IPython.core.magics.execution"),
    *("IPython.core.pylabtools", "pexpect"),
    *("numpy.fft", "openpyxl", "pandas.core.arrays.arrow.extension_types"),
    *("pandas.io.excel._openpyxl", "pandas.io.excel._xlsxwriter", "pandas.io.formats.style"),
    *("tabulate", "xlsxwriter"),
    *("PIL.ImageDraw", "PIL.ImageFilter", "PIL.ImageFont", "matplotlib.animation"),
    *("numpy.random", "pandas", "pandas.io.excel._calamine", "pandas.io.formats.html"),
    *("pandas.io.formats.string", "pandas.plotting", "python_calamine"),
    *("pyarrow.dataset", "pyarrow.feather", "pyarrow.parquet"),
    *("matplotlib.dates", "matplotlib.pyplot", "matplotlib_inline.backend_inline"),
    *(f"kernel_startup.loaders.{name}" for name in ("columnar", "images", "spreadsheet")),
    *(f"kernel_startup.loaders.{name}" for name in ("structured", "tabular", "text")),
)

#: In points; 10 is matplotlib's usual one, 12 that of titles.
_TEXT_SIZES = (8, 9, 10, 11, 12, 14, 16, 18)

_PANDAS_OPTIONS: dict[str, int] = {
    "display.width": 120,
    "display.max_columns": 30,
    "display.max_colwidth": 60,
}


def install(shell: Any) -> None:
    """Prepare a kernel for its user, before the fork; called once, with its InteractiveShell.

    Names go where the built-in functions are: they work in every cell, a variable of the same name
    comes before them, and `dir()` and the list of variables stay the user's own.
    """
    at_hand: dict[str, object] = {
        name: sys.modules.get(module) for name, module in _ALIASES.items()
    }
    at_hand |= {"FILES": FILES, "load_file": load_file, "describe_file": describe_file}
    for name, value in at_hand.items():
        if value is not None:
            setattr(builtins, name, value)
    _set_environment()
    # Of os.fork, from Python 3.12 on: a kernel has threads, and its user can do nothing about it.
    warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
    if "pandas" in sys.modules:
        _set_pandas_options()
    if "matplotlib.pyplot" in sys.modules:
        _draw_inline(shell)


def settle() -> None:
    """Put what belongs there into this user's home; called once, in the forked kernel."""
    fonts.place_font_cache()  # for programs that cells start


def move_to(places: Places) -> None:
    """Have this process, forked from one with other directories, use those of its own."""
    os.environ.update(
        HOME=places.home,
        PWD=places.work,
        TMPDIR=places.tmp,
        MPLCONFIGDIR=os.path.join(places.home, ".config", "matplotlib"),
        IPYTHONDIR=os.path.join(places.home, ".ipython"),
    )
    tempfile.tempdir = None
    FILES.move_to(places.files)


def preload() -> None:
    """Import what kernels need, and use it once, in the fork server.

    Leaves no figure, no open file, no random number drawn and, if numpy and pyarrow weren't
    imported before, no thread.
    """
    _set_environment()
    fonts.place_font_cache()
    with same_random_numbers():
        _import()
        _set_pandas_options()
        _set_matplotlib_options()
        _use_tables()
        _draw()
        _show_an_error()
    gc.collect()


def _set_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _import() -> None:
    for name in _MODULES:
        importlib.import_module(name)
    import PIL.Image

    PIL.Image.init()  # the readers of all picture formats


def _set_pandas_options() -> None:
    import pandas as pd

    for name, value in _PANDAS_OPTIONS.items():
        pd.set_option(name, value)


def _set_matplotlib_options() -> None:
    import matplotlib

    options: Any = {"font.family": fonts.register(), "figure.dpi": _FIGURE_DPI}
    matplotlib.rcParams.update(options)
    # What plt.rcdefaults() and plt.style.use("default") go back to, which plots often begin with.
    matplotlib.rcParamsDefault.update(options)


def _draw_inline(shell: Any) -> None:
    """Show figures as pictures at the end of a cell, as after `%matplotlib inline`."""
    import matplotlib

    pylabtools: Any = importlib.import_module("IPython.core.pylabtools")
    backend: Any = importlib.import_module("matplotlib_inline.backend_inline")
    if matplotlib.rcParams["figure.dpi"] != _FIGURE_DPI:  # not preloaded: a test, a plain kernel
        _set_matplotlib_options()
    pylabtools.activate_matplotlib(_BACKEND)
    backend.configure_inline_support(shell, _BACKEND)


def _use_tables() -> None:
    """Go once through what first cells do with a table."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kernel_startup.files import Files, load_from

    table = pd.DataFrame(
        {"id": ["01", "02"], "name": ["a", None], "x": [0.5, 1.5], "day": ["2024-01-01"] * 2}
    )
    contents = {"t.json": table.to_json(orient="records"), "t.csv": table.to_csv(index=False)}
    with tempfile.TemporaryDirectory() as root:
        for name, content in contents.items():
            Path(root, name).mkdir()
            Path(root, name, name).write_text(content)
            table, _ = load_from(Files(root), name)
    means = table.groupby("name")["x"].agg(["mean", "count"])
    frames: list[Any] = [table, table.describe(), means]
    for frame in frames:
        repr(frame)
        frame._repr_html_()
    repr(table["x"])
    table.info(buf=io.StringIO())
    table.sort_values("x").merge(table, on="id").pivot_table(index="name_x", values="x_y")
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), buffer)
    # Not pd.read_parquet, which starts threads.
    pq.ParquetFile(pa.BufferReader(buffer.getvalue())).read(use_threads=False).to_pandas(
        use_threads=False
    )


def _draw() -> None:
    """Draw a figure to a picture, as the end of a cell does."""
    import matplotlib.pyplot as plt
    import pandas as pd
    from matplotlib import font_manager

    pylabtools: Any = importlib.import_module("IPython.core.pylabtools")
    figure, axes = plt.subplots()
    pd.DataFrame({"x": [1, 2]}).plot(ax=axes)
    axes.scatter([1, 2], [1, 2], label="y")
    axes.legend()
    pylabtools.print_figure(figure, "png", bbox_inches="tight", base64=True)
    plt.close("all")
    # matplotlib keeps what it has found for each size and weight of text, also across a fork.
    for family, size, weight in itertools.product(
        plt.rcParams["font.family"], _TEXT_SIZES, ("normal", "bold")
    ):
        wanted = font_manager.FontProperties(family=[family], size=size, weight=weight)
        font_manager.findfont(wanted, fallback_to_default=False)
    open_fonts.share_fonts()
    # Open font files mustn't cross a fork. matplotlib drops them then, in the child: too late for
    # whoever closes descriptors there.
    font_manager._get_font.cache_clear()  # type: ignore[attr-defined]  # there is no public way


def _show_an_error() -> None:
    """Render a traceback: its first one imports a parser, a lexer and a styler."""
    from IPython.core.ultratb import VerboseTB

    try:
        compile("1 +", "<cell>", "exec")
    except SyntaxError:
        with contextlib.suppress(Exception):
            VerboseTB(theme_name="nocolor").text(*sys.exc_info())


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    import random

    import numpy as np

    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
