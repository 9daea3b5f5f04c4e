"""What Discord has against a message, beyond its OpenAPI document (pure)."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.discord_double.errors import Problem
from tests.discord_double.message import IS_COMPONENTS_V2, walk

MAX_CONTENT, MAX_EMBEDS, MAX_EMBED_CHARACTERS = 2000, 10, 6000
MAX_ATTACHMENTS, MAX_ALT, MAX_ROWS, MAX_V2_COMPONENTS, MAX_V2_TEXT = 10, 1024, 5, 40, 4000
BUTTON, TEXT_SELECT, SELECTS, TEXT_INPUT = 2, 3, (3, 5, 6, 7, 8), 4
ROW, SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER = 1, 9, 10, 11, 12, 13, 14, 17
LINK, PREMIUM = 5, 6
_V2_ONLY = (SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER)
_TOO_LONG = "BASE_TYPE_MAX_LENGTH"


def problems(payload: dict[str, Any], *, flags: int, filenames: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with what a message says; ``filenames``: what will be attached to it."""
    yield from _length("content", payload.get("content"), MAX_CONTENT)
    yield from embed_problems(payload.get("embeds") or [])
    yield from component_problems(
        payload.get("components") or [], v2=bool(flags & IS_COMPONENTS_V2), filenames=filenames
    )
    yield from _attachment_problems(payload.get("attachments") or [])
    yield from _mention_problems(payload.get("allowed_mentions") or {})
    if flags & IS_COMPONENTS_V2:
        for key in ("content", "embeds", "poll", "sticker_ids"):
            if payload.get(key):
                yield Problem(
                    key,
                    "This field cannot be used with the IS_COMPONENTS_V2 flag",
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                )


def embed_problems(embeds: list[dict[str, Any]]) -> Iterator[Problem]:
    """Embeds: each within its limits, and all together."""
    total = 0
    if len(embeds) > MAX_EMBEDS:
        yield Problem("embeds", f"Must be {MAX_EMBEDS} or fewer in length.", _TOO_LONG)
    for index, embed in enumerate(embeds):
        here = f"embeds.{index}"
        fields = embed.get("fields") or []
        texts = [
            ("title", embed.get("title"), 256),
            ("description", embed.get("description"), 4096),
            ("footer.text", (embed.get("footer") or {}).get("text"), 2048),
            ("author.name", (embed.get("author") or {}).get("name"), 256),
        ]
        for number, item in enumerate(fields):
            texts.append((f"fields.{number}.name", item.get("name"), 256))
            texts.append((f"fields.{number}.value", item.get("value"), 1024))
            for key in ("name", "value"):
                if not item.get(key):
                    yield Problem(f"{here}.fields.{number}.{key}", "This field is required")
        if len(fields) > 25:
            yield Problem(f"{here}.fields", "Must be 25 or fewer in length.", _TOO_LONG)
        for path, text, limit in texts:
            yield from _length(f"{here}.{path}", text, limit)
            total += len(text or "")
    if total > MAX_EMBED_CHARACTERS:
        yield Problem(
            "embeds",
            f"Embed size exceeds maximum size of {MAX_EMBED_CHARACTERS}",
            "MAX_EMBED_SIZE_EXCEEDED",
        )


def component_problems(
    components: list[dict[str, Any]], *, v2: bool, filenames: Sequence[str]
) -> Iterator[Problem]:
    """Components: structure, lengths, and that no custom_id comes twice."""
    every = list(walk(components))
    if v2 and len(every) > MAX_V2_COMPONENTS:
        yield Problem("components", f"Must be {MAX_V2_COMPONENTS} or fewer components.", _TOO_LONG)
    if not v2 and len(components) > MAX_ROWS:
        yield Problem("components", f"Must be {MAX_ROWS} or fewer in length.", _TOO_LONG)
    if v2 and sum(len(p.get("content") or "") for p in every if p.get("type") == TEXT) > (
        MAX_V2_TEXT
    ):
        yield Problem("components", f"Texts exceed {MAX_V2_TEXT} characters", _TOO_LONG)
    ids = [part["custom_id"] for part in every if part.get("custom_id")]
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        yield Problem(
            "components",
            f"Component custom id cannot be duplicated: {twice}",
            "COMPONENT_CUSTOM_ID_DUPLICATED",
        )
    for index, part in enumerate(components):
        if not v2 and part.get("type") != ROW:
            yield Problem(f"components.{index}.type", "Only action rows can stand here")
    for part in every:
        yield from _part_problems(part, v2=v2, filenames=filenames)


def modal_problems(data: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with a form."""
    yield from _length("data.title", data.get("title"), 45, least=1)
    yield from _length("data.custom_id", data.get("custom_id"), 100, least=1)
    rows = data.get("components") or []
    if not 1 <= len(rows) <= 5:
        yield Problem("data.components", "Must be between 1 and 5 in length.")
    inputs = [part for part in walk(rows) if part.get("custom_id")]
    ids = [part["custom_id"] for part in inputs]
    if len(set(ids)) < len(ids):
        yield Problem("data.components", "custom ids are duplicated")
    for part in inputs:
        yield from _length("custom_id", part.get("custom_id"), 100, least=1)
        yield from _length("placeholder", part.get("placeholder"), 100)
        value, most = part.get("value") or "", part.get("max_length") or 4000
        if len(value) > most:
            yield Problem("value", f"Must be {most} or fewer in length.", _TOO_LONG)
    for row in rows:
        if row.get("type") == ROW:
            for part in row.get("components") or []:
                yield from _length("label", part.get("label"), 45, least=1)
        else:
            yield from _length("label", row.get("label"), 45, least=1)


def _part_problems(
    part: dict[str, Any], *, v2: bool, filenames: Sequence[str]
) -> Iterator[Problem]:
    kind = part.get("type")
    if kind in _V2_ONLY and not v2:
        yield Problem("components", f"Type {kind} needs the IS_COMPONENTS_V2 flag")
    if kind == TEXT_INPUT:
        yield Problem("components", "Text inputs belong into forms")
    if kind == ROW:
        yield from _row_problems(part.get("components") or [])
    if kind == BUTTON:
        yield from _button_problems(part)
    if kind in SELECTS:
        yield from _length("custom_id", part.get("custom_id"), 100, least=1)
        yield from _length("placeholder", part.get("placeholder"), 150)
    if kind == TEXT_SELECT:
        yield from _select_problems(part)
    for url in _media(part):
        if url.startswith("attachment://") and url.removeprefix("attachment://") not in filenames:
            yield Problem("components", f"There is no such attachment: {url}")
        elif kind == FILE and not url.startswith("attachment://"):
            yield Problem("components", "Files have to be attachments of the message")


def _row_problems(parts: list[dict[str, Any]]) -> Iterator[Problem]:
    selects = [part for part in parts if part.get("type") in SELECTS]
    if not 1 <= len(parts) <= 5 or (selects and len(parts) > 1):
        yield Problem(
            "components", "A row holds 1 to 5 buttons or one menu", "BASE_TYPE_BAD_LENGTH"
        )


def _button_problems(part: dict[str, Any]) -> Iterator[Problem]:
    yield from _length("label", part.get("label"), 80)
    style = part.get("style")
    if style == LINK:
        if not part.get("url") or part.get("custom_id"):
            yield Problem("components", "A link button has a url and no custom id")
    elif style != PREMIUM:
        yield from _length("custom_id", part.get("custom_id"), 100, least=1)
        if part.get("url"):
            yield Problem("components", "Only link buttons have a url")
    if style != PREMIUM and not part.get("label") and not part.get("emoji"):
        yield Problem("components", "A button needs a label or an emoji")


def _select_problems(part: dict[str, Any]) -> Iterator[Problem]:
    options = part.get("options") or []
    if not 1 <= len(options) <= 25:
        yield Problem("options", "Must be between 1 and 25 in length.", "BASE_TYPE_BAD_LENGTH")
    values = [option.get("value") for option in options]
    if len(set(values)) < len(values):
        yield Problem("options", "The specified option value is already used")
    for option in options:
        yield from _length("options.label", option.get("label"), 100, least=1)
        yield from _length("options.value", option.get("value"), 100, least=1)
        yield from _length("options.description", option.get("description"), 100)
    low, high = part.get("min_values"), part.get("max_values")
    if (1 if low is None else low) > (high or 1) or (high or 1) > max(1, len(options)):
        yield Problem("options", "min_values and max_values don't fit the options")


def _attachment_problems(attachments: list[dict[str, Any]]) -> Iterator[Problem]:
    if len(attachments) > MAX_ATTACHMENTS:
        yield Problem("attachments", f"Must be {MAX_ATTACHMENTS} or fewer in length.", _TOO_LONG)
    for index, attachment in enumerate(attachments):
        alt = attachment.get("description")
        yield from _length(f"attachments.{index}.description", alt, MAX_ALT)
        if attachment.get("filename") == "":
            yield Problem(f"attachments.{index}.filename", "This field is required")


def _mention_problems(allowed: dict[str, Any]) -> Iterator[Problem]:
    for key in ("users", "roles"):
        if key in (allowed.get("parse") or []) and allowed.get(key):
            yield Problem(
                "allowed_mentions",
                f'parse:["{key}"] and {key}: [ids...] are mutually exclusive.',
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
            )


def media_names(components: list[dict[str, Any]]) -> set[str]:
    """The attachments that components show."""
    return {
        url.removeprefix("attachment://")
        for part in walk(components)
        for url in _media(part)
        if url.startswith("attachment://")
    }


def _media(part: dict[str, Any]) -> Iterator[str]:
    items = [part.get("file"), part.get("media")]
    items += [item.get("media") for item in part.get("items") or []]
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("url"), str):
            yield item["url"]


def _length(path: str, text: object, limit: int, *, least: int = 0) -> Iterator[Problem]:
    length = len(text) if isinstance(text, str) else 0
    if length > limit:
        yield Problem(path, f"Must be {limit} or fewer in length.", _TOO_LONG)
    elif length < least:
        yield Problem(path, "This field is required", "BASE_TYPE_REQUIRED")
