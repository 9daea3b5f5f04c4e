"""A turn's result as messages: the model's words, what its cells showed and made, and notes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bot.chat import TurnResult
from bot.messages.dialect import discord_markdown, has_table
from bot.messages.lengths import length, shortened
from bot.messages.links import FileLinks
from bot.messages.offers import OfferButton, TooLarge, offers
from bot.messages.packing import most_file_bytes, pack
from bot.messages.plain import bold, escape_markdown, escape_mentions, plain_sentence, visible
from bot.messages.showcase import Exhibit, Picture, Showcase
from bot.messages.split import split_markdown
from bot.outgoing import MAX_BUTTONS, MESSAGE_CHARS, Attachment, Button, OutgoingMessage
from bot.render import DocumentPart, FilePart, ImagePart, Part, TextPart, parts
from interpreter import CellError, DisplayData, ExecuteResult, Execution, StoredFile

#: More words than this many messages hold are sent as a file, with their beginning as a message.
_MAX_MESSAGES = 6
_MAX_NAMED = 10
_MAX_ERROR_CHARS = 60
_REPLACED = "The kernel had to be replaced: variables that were not restored are gone"
_FILES_STAY = ", your files are still there"
_BARE_REPR = re.compile(r"\s*<[^<>\n]*>\s*")
_PICTURE_SUFFIX = re.compile(r"\.(?:png|jpe?g)\Z", re.IGNORECASE)


async def compose_answer(
    result: TurnResult,
    *,
    picture: Picture,
    attachment_bytes: int,
    buttons: tuple[Button, ...] = (),
    files: Sequence[StoredFile] = (),
    offer: OfferButton | None = None,
) -> tuple[OutgoingMessage, ...]:
    """Compose what a person gets at the end of a turn.

    What cells printed is not repeated: the model's words say it, and "Show code" shows it. Where
    there are no words, the last cell's output stands in for them.

    Args:
        result: What became of the turn.
        picture: Draws svg, pages, charts, formulas and tables as PNG; None if it can't.
        attachment_bytes: How large a file may be in this channel.
        buttons: For the last message.
        files: The user's stored files, the oldest first: one that the answer links to is attached.
        offer: Makes a button for a way to get what is too large; None for no such buttons.

    Returns:
        At least one message, none of them empty, each within Discord's limits.
    """
    showcase = Showcase(picture, most_file_bytes(attachment_bytes))
    exhibits = [
        await showcase.show(part, cell)
        for cell, part in _worth_showing(result.cells, has_table(result.answer))
    ]
    links = FileLinks(showcase, files)
    words = discord_markdown(result.answer, links.text_for)
    if not words.strip():
        exhibits, words = await _instead_of_words(result, showcase, exhibits)
    text = "\n".join(piece for piece in (words, *(one.text for one in exhibits)) if piece)
    attachments = [file for one in exhibits for file in one.attachments] + links.wanted
    notes = list(_notes(result, spoken=bool(words.strip()), said=words))
    attachments = [_described(file, links.alts) for file in attachments]
    return await finish(
        text, attachments, notes, buttons, showcase=showcase, offer=offer, name="answer.md"
    )


async def finish(
    text: str,
    attachments: list[Attachment],
    notes: Sequence[str],
    buttons: tuple[Button, ...],
    *,
    showcase: Showcase,
    offer: OfferButton | None,
    name: str,
) -> tuple[OutgoingMessage, ...]:
    """Split, pack and close: what is too large is named and offered, notes come last.

    Args:
        text: In Discord's markdown; a very long one is sent as a file, with its beginning.
        attachments: In the order to send them.
        notes: Sentences in Discord's markdown, for small print.
        buttons: For the last message.
        showcase: Knows what was too large.
        offer: Makes the buttons for that.
        name: What to call the file of a very long text.
    """
    if length(text) > _MAX_MESSAGES * MESSAGE_CHARS:
        attachments = [*await showcase.made(text.encode(), name), *attachments]
        beginning = split_markdown(text, MESSAGE_CHARS - 100)[0]
        text = f"{beginning}\n\n-# This goes on in {attachments[0].filename}."
    offered = _offers(showcase.too_large, offer, MAX_BUTTONS - len(buttons))
    named = [
        large.sentence(showcase.file_bytes, offered=large in offered)
        for large in showcase.too_large[:_MAX_NAMED]
    ]
    if len(showcase.too_large) > _MAX_NAMED:
        named.append(f"So are {len(showcase.too_large) - _MAX_NAMED} more files.")
    renamed = [f"{bold(old)} is attached as {new}." for old, new in showcase.renamed[:_MAX_NAMED]]
    small = [f"-# {' '.join(note.split())}" for note in (*renamed, *notes)]
    closing = "\n".join((*named, *small))
    if closing:
        text = f"{text}\n{closing}" if text.endswith("```") else f"{text}\n\n{closing}".lstrip("\n")
    if not (text.strip() or attachments):
        text = "Done. There is nothing to show."
    ways = tuple(button for made in offered.values() for button in made)
    return pack(split_markdown(text), attachments, (*ways, *buttons))


def superseded(cells: Sequence[Execution]) -> frozenset[str]:
    """Ids of artifacts that a later cell wrote anew: the last version is the one to send."""
    latest = {file.filename: file.file_id for cell in cells for file in cell.artifacts}
    return frozenset(
        file.file_id
        for cell in cells
        for file in cell.artifacts
        if latest[file.filename] != file.file_id
    )


def without_twins(execution: Execution, shown: Iterable[Part]) -> Iterator[Part]:
    """The parts without the one figure that the cell saved as well, if it made only that one.

    Saved and shown, a figure has other bytes each time. The file has the better name.
    """
    shown = list(shown)
    saved = [
        part
        for part in shown
        if isinstance(part, FilePart) and _PICTURE_SUFFIX.search(part.file.filename)
    ]
    figures = [
        part
        for part in shown
        if isinstance(part, ImagePart) and not part.file and part.alt.startswith("Figure size")
    ]
    one_figure = len(saved) == len(figures) == execution.code.count("savefig(") == 1
    twins = figures if one_figure and "close(" not in execution.code else []
    return (part for part in shown if part not in twins)


def _worth_showing(
    cells: Sequence[Execution], answer_has_table: bool
) -> Iterator[tuple[Execution, Part]]:
    """What a person should see of a turn's cells beside the model's words.

    Pictures, documents and files always; of texts what was displayed on purpose, and a table or
    formula that the last cell ended with, unless the answer has a table itself.
    """
    old = superseded(cells)
    for cell in cells:
        last = cell is cells[-1]
        for part in without_twins(cell, parts(cell)):
            match part:
                case FilePart() if part.file.file_id in old:
                    continue
                case ImagePart(file=StoredFile(file_id=file_id)) if file_id in old:
                    continue
                case TextPart(kind="display") if part.rich or not _BARE_REPR.fullmatch(part.text):
                    yield cell, part
                case TextPart(kind="result", rich=rich) if last and rich:
                    is_table = rich.html and "<table" in rich.html.lower()
                    if rich.latex or (is_table and not answer_has_table):
                        yield cell, part
                case ImagePart() | DocumentPart() | FilePart():
                    yield cell, part


async def _instead_of_words(
    result: TurnResult, showcase: Showcase, exhibits: list[Exhibit]
) -> tuple[list[Exhibit], str]:
    """What to say where the model said nothing: why, or what the last cell came to."""
    if result.note:
        return exhibits, plain_sentence(result.note)
    if not result.cells:
        return exhibits, ""
    last = result.cells[-1]
    failure = next((output for output in last.outputs if isinstance(output, CellError)), None)
    if last.status != "ok":
        return exhibits, _failure(last, failure)
    if any(one.text for one in exhibits):
        return exhibits, ""
    printed = "\n".join(
        output.text.rstrip("\n")
        for output in last.outputs
        if not isinstance(output, DisplayData | ExecuteResult) or "image/png" not in output.data
    )
    if not printed.strip():
        return exhibits, ""
    return [await showcase.long_text(printed, showcase.stem(last, "output")), *exhibits], ""


def _failure(cell: Execution, error: CellError | None) -> str:
    if cell.message:
        return plain_sentence(cell.message)
    if error is None:
        return "The last cell did not finish."
    reason = " ".join(visible(error.evalue).split())[:300]
    said = f": {escape_mentions(escape_markdown(reason))}" if reason else "."
    return f"The last cell ended with an error, {bold(error.ename)}{said}"


def _notes(result: TurnResult, *, spoken: bool, said: str) -> Iterator[str]:
    if result.note and spoken and plain_sentence(result.note) != said:
        yield plain_sentence(result.note)
    forced = _ended_by_force(result.cells)
    if forced and forced != said:
        yield forced
    if spoken and result.answer and (failed := _failed(result.cells)):
        yield failed
    # What ended the last cell by force says itself what is gone.
    yield from (
        note
        for note in cell_notes(result.cells)
        if not (forced and (note.startswith(_REPLACED) or note in forced))
    )


def _ended_by_force(cells: Sequence[Execution]) -> str:
    """What ended the last cell, if a limit did: models leave that out, or get it wrong."""
    if cells and cells[-1].status in ("timeout", "died") and cells[-1].message:
        return plain_sentence(cells[-1].message)
    return ""


def _failed(cells: Sequence[Execution]) -> str:
    """That the last cell failed: a model may tell of results that there never were."""
    if not cells or cells[-1].status != "error":
        return ""
    errors = [output for output in cells[-1].outputs if isinstance(output, CellError)]
    name = f" ({plain_sentence(shortened(errors[-1].ename, _MAX_ERROR_CHARS))})" if errors else ""
    return f"The last cell failed{name}; **Show code** shows how."


def cell_notes(cells: Sequence[Execution]) -> Iterator[str]:
    """Small print about cells: what was installed, lost, and left out; Discord's markdown."""
    installed = dict.fromkeys(name for cell in cells for name in cell.installed)
    if installed:
        yield f"Installed {plain_sentence(', '.join(list(installed)[:20]))}."
    gone = dict.fromkeys(plain_sentence(cell.files_gone) for cell in cells if cell.files_gone)
    if any(cell.state_lost for cell in cells):
        yield f"{_REPLACED}{'' if gone else _FILES_STAY}."
    yield from gone
    for skipped in [one for cell in cells for one in cell.skipped][:_MAX_NAMED]:
        yield f"{bold(skipped.name)} was left out: {plain_sentence(skipped.reason)}."


def _offers(
    too_large: Sequence[TooLarge], offer: OfferButton | None, room: int
) -> dict[TooLarge, list[Button]]:
    """The ways to get each file, for as many as there is room for."""
    made: dict[TooLarge, list[Button]] = {}
    for large in too_large[:_MAX_NAMED]:
        ways = offers(large.file) if large.file else ()
        if offer and ways and len(ways) <= room:
            made[large] = [offer(way) for way in ways]
            room -= len(ways)
    return made


def _described(file: Attachment, alts: dict[str, str]) -> Attachment:
    alt = alts.get(file.filename)
    return replace(file, alt=alt) if alt else file
