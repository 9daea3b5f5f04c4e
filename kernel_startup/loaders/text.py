"""Plain text."""

from kernel_startup import plaintext
from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source


def load_text(source: Source, *, encoding: str | None = None) -> str:
    """Decode a text; line ends stay as they are, as `as_="text"` has them."""
    return decode(source, encoding)


def decode(source: Source, encoding: str | None = None) -> str:
    """Decode a whole file, by the encoding given or found.

    A few bytes that don't fit don't cost the rest: they become U+FFFD, and a note says so.

    Raises:
        FileLoadError: It isn't text.
    """
    content = source.read()
    whole = source.is_whole_in_head
    stated = encoding or plaintext.sniff_encoding(source.head, whole=whole)
    if stated is None:
        raise FileLoadError(source.name, "binary, not text")
    try:
        return content.decode(stated)
    except LookupError:
        raise ValueError(f"encoding={encoding!r} isn't an encoding Python knows") from None
    except UnicodeDecodeError as error:
        if encoding is None:
            # The head was all ASCII, say, and what comes after it is in an older encoding.
            start = max(error.start - 2_000, 0)
            end = error.start + 60_000
            other = plaintext.sniff_encoding(content[start:end], whole=end >= len(content))
            if other is not None and other != stated:
                try:
                    return content.decode(other)
                except UnicodeDecodeError:
                    pass
        source.note(
            f"{source.name!r} has bytes that aren't {stated}, the first one at {error.start:,}: "
            'they show as "\ufffd". encoding="..." reads it otherwise.'
        )
        return content.decode(stated, errors="replace")
