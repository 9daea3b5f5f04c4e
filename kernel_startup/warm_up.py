"""Uses once, in a kernel that waits for its user, what first cells use.

A forked kernel shares its memory with the fork server until it writes to it, and Python writes to
whatever it uses: the first use of each page costs a copy. Done beforehand, a first cell takes about
as long as the same cell later. Nothing of it is left but memory.
"""

import contextlib
import gc
import linecache
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernel_startup.files import Files, load_from
from kernel_startup.prelude import same_random_numbers

#: Small, so that it is over soon: a first cell that is sent meanwhile waits for it.
_ROWS = 100
_INCHES = (1.6, 1.2)
_CELL = "0.5"


async def warm_up(kernel: Any) -> None:
    """Run what first cells run, in a CellKernel that runs none now; shows and keeps nothing."""
    with same_random_numbers(), _same_shell(kernel.shell), _nothing_shown(kernel.shell):
        with tempfile.TemporaryDirectory() as root:
            _show(kernel, _described(root))
        _show_figure(kernel)
        # At last: what IPython does behind each cell also closes figures.
        await kernel.do_execute(_CELL, silent=False, store_history=False)
    gc.collect()


def _described(root: str) -> Any:
    """What a small table holds, loaded as a user's file is."""
    place = Path(root, "t", "t.csv")
    place.parent.mkdir()
    rows = (f"{n:04},town {n % 7},2026-01-{n % 28 + 1:02},{n % 13},{n / 8}" for n in range(_ROWS))
    place.write_text("\n".join(["id,town,day,count,price", *rows]) + "\n")
    table, _ = load_from(Files(root), "t")
    table.head()
    return table.describe()


def _show_figure(kernel: Any) -> None:
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    figure, axes = plt.subplots(figsize=_INCHES)
    try:
        axes.plot([1, 2, 3], label="x")
        axes.legend()
        _show(kernel, figure)
    finally:
        plt.close(figure)
        # It would keep the files of fonts open.
        font_manager._get_font.cache_clear()  # type: ignore[attr-defined]  # there is no public way


def _show(kernel: Any, shown: Any) -> None:
    """Make the message that shows something, and send it to nobody."""
    forms, metadata = kernel.shell.display_formatter.format(shown)
    content = {"data": forms, "metadata": metadata, "execution_count": 1}
    kernel.session.serialize(kernel.session.msg("execute_result", content))


@contextlib.contextmanager
def _nothing_shown(shell: Any) -> Iterator[None]:
    """Have what is shown meanwhile be sent to nobody."""
    publishers = (shell.displayhook, shell.display_pub)
    for publisher in publishers:
        publisher.register_hook(_drop)
    try:
        yield
    finally:
        for publisher in publishers:
            publisher.unregister_hook(_drop)


def _drop(message: dict[str, Any]) -> None:
    """Called by ipykernel for each message; none goes on."""


@contextlib.contextmanager
def _same_shell(shell: Any) -> Iterator[None]:
    """Have the shell remember nothing of what runs meanwhile."""
    compiler, shown = shell.compile, shell.displayhook
    last = shell.last_execution_result, shell.last_execution_succeeded
    results = shown._, shown.__, shown.___
    compiled = dict(compiler._filename_map)
    kept = [
        (names, dict(names))
        for names in (shell.user_ns, shell.user_ns_hidden, shell.user_ns["_oh"], linecache.cache)
    ]
    try:
        yield
    finally:
        shell.last_execution_result, shell.last_execution_succeeded = last
        shown._, shown.__, shown.___ = results
        compiler._filename_map = compiled
        shell.display_formatter.forget()
        for names, values in kept:
            for name in names.keys() - values.keys():
                del names[name]
            names.update(values)
