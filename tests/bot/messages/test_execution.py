"""A cell run without a model, and the code of a turn, as messages."""

import base64
from pathlib import Path

import pytest

from bot.messages.code import compose_code
from bot.messages.execution import compose_execution
from bot.messages.lengths import length
from bot.outgoing import Button, OutgoingMessage
from interpreter import CellError, Durations, Execution, SkippedArtifact, Stream
from tests.bot.fakes import PNG, printed, result, shown
from tests.bot.messages.turns import (
    FIGURE,
    LIMIT,
    TABLE_HTML,
    Artist,
    Shelf,
    attached,
    cell,
    names,
    turn,
)

BUTTON = Button("Restart kernel", "cm:restart")


async def composed(execution: Execution, *, show_code: bool = False) -> tuple[OutgoingMessage, ...]:
    messages = await compose_execution(
        execution,
        picture=Artist(),
        attachment_bytes=LIMIT,
        buttons=(BUTTON,),
        show_code=show_code,
    )
    assert [message.buttons for message in messages] == [()] * (len(messages) - 1) + [(BUTTON,)]
    assert all(length(message.content) <= 2000 for message in messages)
    assert all(message.content.strip() or message.attachments for message in messages)
    return messages


async def test_everything_comes_in_its_order(tmp_path: Path) -> None:
    outputs = (
        printed("out\n"),
        Stream("stderr", "warning"),
        printed("more\n"),
        shown({"text/plain": "a\n1", "text/html": TABLE_HTML}),
        shown({"image/png": base64.b64encode(PNG).decode(), "text/plain": FIGURE}),
        result("17"),
    )
    artifacts = (Shelf(tmp_path).file("x.csv"),)
    (message,) = await composed(cell("f(x)", outputs=outputs, artifacts=artifacts), show_code=True)
    assert message.content == (
        "```python\nf(x)\n```\n```\nout\nwarning\nmore\n```\n```\na\n1\n```\n```\n17\n```"
    )
    assert names([message]) == ["cell-1-figure-1.png", "x.csv"]


@pytest.mark.parametrize(
    ("execution", "content"),
    [
        (cell(), "Done. The cell put out nothing."),
        (cell(status="interrupted"), "The cell was stopped."),
        (cell(status="died", state_lost=True), "The cell did not finish.\n\n-# The kernel had"),
        (
            cell(status="timeout", message="It ran longer than the 300 s that a cell may."),
            "It ran longer than the 300 s that a cell may.",
        ),
        (
            cell(installed=("seaborn",), durations=Durations(run_s=12.34)),
            "Done. The cell put out nothing.\n\n-# Installed seaborn.\n-# Ran 12.3 s.",
        ),
        (cell(durations=Durations(run_s=1.0)), "Done. The cell put out nothing."),
        (
            cell(skipped=(SkippedArtifact("big.bin", "it is too large"),)),
            "Done. The cell put out nothing.\n\n-# **big.bin** was left out: it is too large.",
        ),
    ],
)
async def test_what_there_is_to_say_is_said(execution: Execution, content: str) -> None:
    (message,) = await composed(execution)
    assert message.content.startswith(content)


async def test_output_can_t_leave_its_block_or_call_anybody() -> None:
    outputs = (printed("```\n@everyone **x**\n"), result("```"))
    (message,) = await composed(cell(outputs=outputs, message="@everyone"))
    blocks = message.content.split("```")
    assert len(blocks) == 5
    assert "@everyone **x**" in blocks[1]
    assert "@\u200beveryone" in blocks[4]


@pytest.mark.parametrize(("chars", "whole"), [(1399, True), (1400, True), (1401, False)])
async def test_of_a_long_text_the_ends_are_shown_and_all_is_sent(chars: int, whole: bool) -> None:
    text = "a" * 50 + "\n" + "b" * (chars - 51)
    (message,) = await composed(cell(outputs=(printed(text),)))
    assert (text in message.content) is whole
    assert names([message]) == ([] if whole else ["cell-1-stdout.txt"])
    if not whole:
        assert message.attachments[0].source == text.encode()
        assert "-# All of it is in cell-1-stdout.txt." in message.content


@pytest.mark.parametrize(("lines", "whole"), [(39, True), (40, True), (41, False)])
async def test_of_many_lines_the_first_and_last_are_shown(lines: int, whole: bool) -> None:
    text = "\n".join(f"line {number}" for number in range(lines))
    (message,) = await composed(cell(outputs=(printed(text),)))
    assert (text in message.content) is whole
    assert "line 0\n" in message.content and f"line {lines - 1}\n" in message.content


async def test_of_a_traceback_the_end_is_shown(tmp_path: Path) -> None:
    frames = tuple(f"frame {number}" for number in range(300))
    error = CellError("ValueError", "bad", (*frames, "ValueError: bad"))
    (message,) = await composed(cell(status="error", outputs=(error,)))
    assert message.content.startswith("```\n…\nframe ")
    assert "frame 299\nValueError: bad\n```" in message.content
    assert names([message]) == ["cell-1-traceback.txt"]
    short = CellError("ValueError", "bad", ("Traceback", "ValueError: bad"))
    (message,) = await composed(cell(status="error", outputs=(short,)))
    assert message.content == "```\nTraceback\nValueError: bad\n```"


async def test_of_many_outputs_the_first_and_last_are_shown_and_all_are_sent() -> None:
    outputs = tuple(result(f"{number} " + "x" * 990) for number in range(50))
    messages = await composed(cell(outputs=outputs))
    text = "\n".join(message.content for message in messages)
    assert len(messages) <= 4
    assert "\n0 x" in text and "\n49 x" in text and "\n25 x" not in text
    assert "more outputs: all of them are in output.txt." in text
    assert b"\n25 x" in attached(messages)[0].source  # type: ignore[operator]  # bytes here


def test_code_is_shown_by_cells_with_shortened_outputs() -> None:
    (message,) = compose_code(
        turn(
            "Answer.",
            cell("x = 1", count=3),
            cell("print(x)", count=4, outputs=(printed("y" * 600),)),
            cell("never()", count=None),
        ),
        (BUTTON,),
    )
    assert message.content == (
        "**Cell 3**\n```python\nx = 1\n```\n"
        f"**Cell 4**\n```python\nprint(x)\n```\n```\n{'y' * 250}\n…\n{'y' * 250}\n```\n"
        "**Cell 3 of this answer, not run**\n```python\nnever()\n```"
    )
    assert message.buttons == (BUTTON,)


def test_code_longer_than_two_messages_is_a_file() -> None:
    def with_lines(count: int) -> tuple[OutgoingMessage, ...]:
        return compose_code(turn("", cell("x = 12345\n" * count, outputs=(printed("a\nb"),))))

    assert [len(message.attachments) for message in with_lines(380)] == [0, 0]
    (message,) = with_lines(420)
    (attachment,) = message.attachments
    assert attachment.filename == "code.py"
    assert isinstance(attachment.source, bytes)
    source = attachment.source.decode()
    assert source.startswith("# %% Cell 1\nx = 12345\n")
    assert source.endswith("x = 12345\n\n# a\n# b\n")
    compile(source, "code.py", "exec")


def test_without_code_that_is_said() -> None:
    (message,) = compose_code(turn("Hello."))
    assert message.content == "No code was run for this answer."
