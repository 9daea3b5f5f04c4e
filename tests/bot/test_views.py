"""A cell's outputs on a terminal and as plain text."""

import base64
import errno
import io
from dataclasses import replace
from pathlib import Path

import pytest

from bot.console.commands import UnusableCommand
from bot.console.output_directory import OutputDirectory
from bot.console.screen import Screen, TerminalSize
from bot.console.views import PlainView, TerminalView
from interpreter import (
    CellError,
    ClearOutput,
    DisplayData,
    Durations,
    Execution,
    Output,
    SkippedArtifact,
    Stream,
)
from tests.bot.fakes import PNG, printed, result, shown, stored_file

PNG64 = base64.b64encode(PNG).decode()
ERROR = CellError("ValueError", "bad", ("Traceback", "ValueError: bad"))


def clock(value: str, *, update: bool = False) -> DisplayData:
    return shown({"text/plain": value}, display_id="clock", update=update)


async def on_terminal(
    tmp_path: Path, *outputs: Output | ClearOutput, execution: Execution | None = None
) -> str:
    out = io.StringIO()
    screen = Screen(out, size=lambda: TerminalSize(80, 24))
    view = TerminalView(screen, OutputDirectory(tmp_path / "out"))
    for output in outputs:
        view.show(output)
    await view.finish(execution or Execution(status="ok", code=""))
    return out.getvalue().replace(str(tmp_path), "")


async def as_plain_text(
    tmp_path: Path, *outputs: Output | ClearOutput, execution: Execution | None = None
) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    view = PlainView(out, err, OutputDirectory(tmp_path / "out"))
    for output in outputs:
        view.show(output)
    await view.finish(execution or Execution(status="ok", code=""))
    return out.getvalue().replace(str(tmp_path), ""), err.getvalue().replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ([], "\n"),
        ([printed("a"), printed("b\n")], "ab\n\n"),
        ([printed("no end")], "no end\n\n"),
        ([printed("1%\r"), printed("2%\n")], "1%\r2%\n\n"),
        ([result("3", 2)], "Out[2]: 3\n\n"),
        ([result("   a\n0  1", 2)], "Out[2]:\n   a\n0  1\n\n"),
        ([printed("x"), result("3", 2)], "x\nOut[2]: 3\n\n"),
        ([ERROR], "Traceback\nValueError: bad\n\n"),
        ([shown({"image/png": PNG64, "text/plain": "<Figure size 6x4>"})], "[Figure size 6x4]\n\n"),
        ([printed("a"), ClearOutput(wait=False), printed("b")], "a\r\x1b[Jb\n\n"),
        ([clock("1"), clock("2", update=True)], "1\n\r\x1b[1A\x1b[J2\n\n"),
        (
            [clock("1"), printed("x\n"), *[clock(str(n), update=True) for n in range(9)]],
            "1\nx\n8\n\n",
        ),
        ([printed("\x1b]0;t\x07")], "\u241b]0;t\u2407\n\n"),
        ([result("\x1b[2J", 1)], "Out[1]: \u241b[2J\n\n"),
        ([shown({"text/html": "&#27;[2J"})], "[2J\n\n"),
    ],
)
async def test_on_a_terminal(
    tmp_path: Path, outputs: list[Output | ClearOutput], text: str
) -> None:
    assert await on_terminal(tmp_path, *outputs) == text


@pytest.mark.parametrize(
    ("outputs", "out", "err"),
    [
        ([], "", ""),
        ([printed("a"), printed("b\n")], "ab\n", ""),
        ([printed("no end")], "no end\n", ""),
        ([printed("1%\r"), printed("2%\n")], "2%\n", ""),
        ([printed("a"), Stream("stderr", "e"), printed("b")], "ab\n", "e\n"),
        ([result("3", 2)], "3\n", ""),
        ([printed("x"), result("3", 2)], "x\n3\n", ""),
        ([printed("x"), ERROR], "x\n", "Traceback\nValueError: bad\n"),
        ([shown({"image/png": PNG64})], "", ""),
        ([printed("a\n"), ClearOutput(wait=True), printed("b\n")], "a\nb\n", ""),
        ([clock("1"), clock("2", update=True), clock("3", update=True)], "1\n3\n", ""),
        ([printed("\x1b[2J\x07\n")], "\u241b[2J\u2407\n", ""),
    ],
)
async def test_as_plain_text(
    tmp_path: Path, outputs: list[Output | ClearOutput], out: str, err: str
) -> None:
    assert await as_plain_text(tmp_path, *outputs) == (out, err)


def everything(tmp_path: Path) -> Execution:
    for name in ("plot", "table"):
        (tmp_path / name).write_bytes(PNG)
    plot = stored_file("id1", "plot.png", path=tmp_path / "plot")
    table = stored_file("id2", "table.csv", path=tmp_path / "table")
    return Execution(
        status="timeout",
        code="",
        count=3,
        outputs=(
            replace(shown({"image/png": PNG64}), file_id="id1"),
            shown({"image/png": PNG64}),
            shown({"text/html": "<script/>"}),
        ),
        artifacts=(plot, table),
        skipped=(SkippedArtifact("big", "too large"),),
        installed=("seaborn 0.13",),
        message="The cell was stopped after 300 s.",
        durations=Durations(queue_s=1.5, install_s=2, run_s=300.04, collect_s=0.9),
    )


EVERYTHING = f"""\
picture saved: /out/plot.png ({len(PNG)} bytes, id id1)
picture saved: /out/cell-3-figure-2.png ({len(PNG)} bytes)
page saved: /out/cell-3-figure-3.html (9 bytes)
file saved: /out/table.csv ({len(PNG)} bytes, id id2)
The cell was stopped after 300 s.
installed seaborn 0.13
waited 1.5 s to begin, installing took 2.0 s, ran 5 min
"""


async def test_the_end_of_a_cell_says_what_was_saved_and_what_happened(tmp_path: Path) -> None:
    assert await on_terminal(tmp_path, execution=everything(tmp_path)) == EVERYTHING + "\n"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["cell-3-figure-2.png", "cell-3-figure-3.html", "plot.png", "table.csv"]


async def test_as_plain_text_only_what_was_saved_is_output(tmp_path: Path) -> None:
    out, err = await as_plain_text(tmp_path, execution=everything(tmp_path))
    lines = EVERYTHING.splitlines(keepends=True)
    assert (out, err) == ("".join(lines[:4]), "".join(lines[4:]))


@pytest.mark.parametrize(
    ("run_s", "said"), [(1.0, ""), (1.04, "ran 1.0 s\n"), (12.34, "ran 12.3 s\n")]
)
async def test_a_short_cell_says_nothing_about_time(
    tmp_path: Path, run_s: float, said: str
) -> None:
    execution = Execution(status="ok", code="", durations=Durations(run_s=run_s))
    assert await as_plain_text(tmp_path, execution=execution) == ("", said)


async def test_what_can_t_be_saved_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the directory should be")
    text = await on_terminal(tmp_path, execution=everything(tmp_path))
    assert text.count("could not be saved in '/out': File exists") == 4
    assert "stopped after 300 s" in text


async def test_names_can_t_command_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    file = stored_file("id1", "a\x1b[2J.csv", path=tmp_path / "f")
    execution = Execution(status="ok", code="", artifacts=(file,), message="\x1b[2Jx")
    text = await on_terminal(tmp_path, execution=execution)
    assert "\x1b" not in text and "\u241b[2Jx" in text


async def test_an_update_whose_display_has_scrolled_away_is_shown_at_the_end(
    tmp_path: Path,
) -> None:
    text = await on_terminal(tmp_path, clock("1\n" * 30), clock("end", update=True))
    assert text == "1\n" * 30 + "end\n\n"


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (BrokenPipeError(), BrokenPipeError),
        (OSError(errno.ENOSPC, "No space left on device"), UnusableCommand),
    ],
)
async def test_output_that_can_t_be_written_is_said_when_the_cell_is_done(
    tmp_path: Path, failure: OSError, raised: type[Exception]
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise failure

    view = PlainView(Closed(), io.StringIO(), OutputDirectory(tmp_path))
    view.show(printed("a\n"))
    view.show(printed("b\n"))
    with pytest.raises(raised):
        await view.finish(Execution(status="ok", code=""))
