"""What a turn came to, as messages: split, packed, bounded. Pure, but for what is put on disk."""

from bot.messages.answer import compose_answer
from bot.messages.archives import MAX_PARTS, TooManyParts, how_to_join, parts_of, zipped
from bot.messages.code import compose_cells, compose_code
from bot.messages.dialect import discord_markdown
from bot.messages.execution import compose_execution
from bot.messages.filenames import attachment_name
from bot.messages.offers import FileOffer, OfferButton
from bot.messages.packing import most_file_bytes, pack
from bot.messages.plain import (
    code_block,
    escape_markdown,
    escape_mentions,
    plain_sentence,
    visible,
)
from bot.messages.split import split_markdown

__all__ = [
    "MAX_PARTS",
    "FileOffer",
    "OfferButton",
    "TooManyParts",
    "attachment_name",
    "code_block",
    "compose_answer",
    "compose_cells",
    "compose_code",
    "compose_execution",
    "discord_markdown",
    "escape_markdown",
    "escape_mentions",
    "how_to_join",
    "most_file_bytes",
    "pack",
    "parts_of",
    "plain_sentence",
    "split_markdown",
    "visible",
    "zipped",
]
