"""Text from anybody, made harmless for a message: nothing hidden in it, nobody called by it."""

import re
import unicodedata

#: Letters by their class, but nothing is to be seen of them.
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f")
_JOINERS = frozenset("\u200c\u200d")
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_ZERO_WIDTH = "\u200b"
_MENTION = re.compile(r"@(?=everyone|here)|(?<=<)@(?=[!&]?\d)")
_FENCE = re.compile("``(?=`)")
#: What Discord reads anywhere, and what at the beginning of a line.
_MARKUP = re.compile(r"[\\*_~`|\[\]]|(?m:^[ \t]*)[>#-]")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")


def visible(text: str) -> str:
    """A text without what can't be seen: control characters, zero-width and direction marks.

    Line ends become ``\\n``; line ends and tabs stay. Joiners stay where scripts and emoji need
    them: between characters that aren't ASCII.
    """
    text = _LINE_ENDS.sub("\n", text)
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        "\ufffd" if "\ud800" <= character <= "\udfff" else character
        for index, character in enumerate(text)
        if _is_seen(text, index, character)
    )


def _is_seen(text: str, index: int, character: str) -> bool:
    if character in "\n\t":
        return True
    if character in _JOINERS:
        around = text[index - 1 : index] + text[index + 1 : index + 2]
        return len(around) == 2 and all(
            one > "\x7f" and unicodedata.category(one) not in {"Cf", "Cc"} for one in around
        )
    return unicodedata.category(character) not in {"Cc", "Cf"} and character not in _INVISIBLE


def escape_mentions(text: str) -> str:
    """A text whose mentions of people, roles and everyone can be read, but call nobody.

    That ``allowed_mentions`` forbids them too is the sender's business; this holds where a text
    is quoted or copied on.
    """
    return _MENTION.sub("@" + _ZERO_WIDTH, text)


def code_block(text: str, language: str = "") -> str:
    """A text as a block of code, which nothing in it can end; "" for one that is blank."""
    text = visible(text).strip("\n")
    if not text.strip():
        return ""
    if not _LANGUAGE.fullmatch(language):
        language = ""
    return f"```{language}\n{without_fences(text)}\n```"


def without_fences(text: str) -> str:
    """A text in which no three backticks stand side by side: something unseen parts them."""
    return _FENCE.sub("``" + _ZERO_WIDTH, text)


def code_span(text: str) -> str:
    """A text as code within a line."""
    text = " ".join(visible(text).split())
    if not text:
        return ""
    if "`" not in text:
        return f"`{text}`"
    return f"`` {without_fences(text)} ``"


def escape_markdown(text: str) -> str:
    """A text that shows as it is, though Discord reads markdown."""
    return _MARKUP.sub(_escaped, text)


def _escaped(markup: re.Match[str]) -> str:
    return f"{markup[0][:-1]}\\{markup[0][-1]}"


def plain_sentence(text: str) -> str:
    """A sentence that may quote names from anywhere: shows as it is, but for code in backticks."""
    pieces = without_fences(visible(text)).split("`")
    if len(pieces) % 2 == 0:  # one that is left open is no code
        return escape_mentions(escape_markdown("`".join(pieces)))
    return "`".join(
        piece if index % 2 else escape_mentions(escape_markdown(piece))
        for index, piece in enumerate(pieces)
    )


def bold(text: str) -> str:
    """A name in bold, on one line, as it is."""
    return f"**{escape_mentions(escape_markdown(' '.join(visible(text).split())))}**"
