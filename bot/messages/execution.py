"""A cell that was run without a model, as messages."""

from collections.abc import Iterable, Iterator

from bot.messages.answer import cell_notes, finish, without_twins
from bot.messages.lengths import first, length
from bot.messages.offers import OfferButton
from bot.messages.packing import most_file_bytes
from bot.messages.plain import code_block, plain_sentence
from bot.messages.showcase import Picture, Showcase
from bot.outgoing import Button, OutgoingMessage
from bot.render import Part, TextPart, parts
from bot.sizes import span_text
from interpreter import Execution

_MAX_CODE_CHARS = 1_000
#: What all texts of a cell may have together; beyond, those in the middle are only in a file.
_MAX_HEAD_CHARS, _MAX_TAIL_CHARS = 3_000, 2_000
_WORTH_TELLING_S = 1.0


async def compose_execution(
    execution: Execution,
    *,
    picture: Picture,
    attachment_bytes: int,
    buttons: tuple[Button, ...] = (),
    show_code: bool = False,
    offer: OfferButton | None = None,
) -> tuple[OutgoingMessage, ...]:
    """Compose what a person gets who ran a cell: everything it put out, in its order.

    Args:
        execution: What became of the cell.
        picture: Draws svg, pages, charts, formulas and tables as PNG; None if it can't.
        attachment_bytes: How large a file may be in this channel.
        buttons: For the last message.
        show_code: Whether to show the cell first.
        offer: Makes a button for a way to get what is too large; None for no such buttons.

    Returns:
        At least one message, none of them empty, each within Discord's limits.
    """
    showcase = Showcase(picture, most_file_bytes(attachment_bytes))
    exhibits = [
        await showcase.show(part, execution)
        for part in _merged(without_twins(execution, _without_notes(execution)))
    ]
    texts = [one.text for one in exhibits if one.text]
    attachments = [file for one in exhibits for file in one.attachments]
    if sum(map(length, texts)) > _MAX_HEAD_CHARS + _MAX_TAIL_CHARS:
        everything = await showcase.made(execution.text.encode(errors="replace"), "output.txt")
        attachments = [*everything, *attachments]
        texts = list(_ends(texts, everything[0].filename if everything else ""))
    if show_code:
        texts.insert(0, shown_code(execution.code))
    if execution.message:
        texts.append(plain_sentence(execution.message))
    if not texts and not attachments:
        texts = [_SILENT.get(execution.status, "The cell did not finish.")]
    return await finish(
        "\n".join(texts),
        attachments,
        list(_notes(execution)),
        buttons,
        showcase=showcase,
        offer=offer,
        name="output.md",
    )


_SILENT = {"ok": "Done. The cell put out nothing.", "interrupted": "The cell was stopped."}


def shown_code(code: str) -> str:
    """A cell's code as a block, its end left out if it is long."""
    if length(code) > _MAX_CODE_CHARS:
        code = f"{first(code, _MAX_CODE_CHARS)}\n# … {length(code) - _MAX_CODE_CHARS:,} characters"
    return code_block(code, "python")


def _without_notes(execution: Execution) -> Iterator[Part]:
    return (p for p in parts(execution) if not (isinstance(p, TextPart) and p.kind == "note"))


def _merged(shown: Iterable[Part]) -> Iterator[Part]:
    """The parts with runs of streams as one: people read them as one."""
    run: TextPart | None = None
    for part in shown:
        streamed = isinstance(part, TextPart) and part.kind in ("stdout", "stderr")
        if streamed and isinstance(part, TextPart):
            text = part.text if run is None else _below(run.text, part.text)
            run = TextPart(text, "stdout")
            continue
        if run:
            yield run
            run = None
        yield part
    if run:
        yield run


def _below(above: str, below: str) -> str:
    return above + below if above.endswith("\n") else f"{above}\n{below}"


def _ends(texts: list[str], filename: str) -> Iterator[str]:
    """The first and the last texts, and a line for those between."""
    head: list[str] = []
    tail: list[str] = []
    left = list(texts)
    room = _MAX_HEAD_CHARS
    while left and length(left[0]) <= room:
        room -= length(left[0])
        head.append(left.pop(0))
    room = _MAX_TAIL_CHARS
    while left and length(left[-1]) <= room:
        room -= length(left[-1])
        tail.insert(0, left.pop())
    yield from head
    if left:
        where = f": all of them are in {filename}" if filename else ""
        yield f"-# {len(left)} more outputs{where}."
    yield from tail


def _notes(execution: Execution) -> Iterator[str]:
    if execution.message:
        # It tells of lost variables and files left out itself.
        if execution.installed:
            yield f"Installed {plain_sentence(', '.join(execution.installed[:20]))}."
    else:
        yield from cell_notes((execution,))
    if execution.durations.run_s > _WORTH_TELLING_S:
        yield f"Ran {span_text(execution.durations.run_s)}."
