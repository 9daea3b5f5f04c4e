"""Links to files in a model's answer: they lead nowhere in Discord, the files are attached."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from bot.messages.plain import bold, escape_markdown, escape_mentions, visible
from bot.messages.showcase import Showcase
from bot.outgoing import MAX_ALT_CHARS, Attachment
from interpreter import StoredFile

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_FILE_SCHEMES = frozenset({"sandbox", "attachment", "file", "computer", "artifact"})
#: Where models believe that files lie.
_PLACES = re.compile(
    r"^(?:/*(?:mnt/data|home/[^/]+|files|workspace|tmp|root|app|content)/+|[./]+)+"
)
_HAS_SUFFIX = re.compile(r"[^/\s]\.[A-Za-z0-9]{1,10}\Z")


class FileLinks:
    """What the links of one answer become; remembers which files they ask for.

    Attributes:
        wanted: attachments that are files from earlier turns, which a link asked for.
        alts: what the answer says that a picture shows, by the attachment's name.
    """

    def __init__(self, showcase: Showcase, files: Sequence[StoredFile] = ()) -> None:
        """Make links for what is shown already.

        Args:
            showcase: Knows what is attached, and attaches what is asked for.
            files: The user's files, the oldest first.
        """
        self._showcase = showcase
        self._files = files
        self.wanted: list[Attachment] = []
        self.alts: dict[str, str] = {}

    def text_for(self, target: str, words: str, picture: bool) -> str | None:
        """What to write instead of a link; None if it leads to no file."""
        path = _path(target)
        if path is None:
            return None
        words = " ".join(visible(words).split())
        attachment = self._attachment(path)
        if attachment is not None:
            if picture and words:
                self.alts[attachment.filename] = words[:MAX_ALT_CHARS]
            return _named(words, attachment.filename, path, "attached")
        name = path.rpartition("/")[2]
        if any(_same(large.filename, path) for large in self._showcase.too_large):
            return _named(words, name, path, "too large to attach, see below")
        if picture and any(one.alt for one in self._showcase.shown.values()):
            # A figure that was shown has no name that the model could know.
            return f"*{_literal(words)}*" if words else ""
        if not _is_file(target, path):
            return None
        return _named(words, name, path, "there is no such file")

    def _attachment(self, path: str) -> Attachment | None:
        for filename, attachment in reversed(self._showcase.shown.items()):
            if _same(filename, path) or path in (attachment.file_id, attachment.filename):
                return attachment
        for file in reversed(self._files):
            if _same(file.filename, path) or path == file.file_id:
                self.wanted += self._showcase.file(file, alt=None)
                return self._showcase.shown.get(file.filename)
        return None


def _path(target: str) -> str | None:
    """The path that a link leads to, without what models put in front; None if it is none."""
    target = visible(unquote(target)).strip()
    if scheme := _SCHEME.match(target):
        if scheme[1].lower() not in _FILE_SCHEMES:
            return None
        target = target[scheme.end() :]
    path = _PLACES.sub("", re.split(r"[?#]", target, maxsplit=1)[0]).strip("/ ")
    return path or None


def _is_file(target: str, path: str) -> bool:
    return _SCHEME.match(target) is not None or _HAS_SUFFIX.search(path) is not None


def _same(filename: str, path: str) -> bool:
    """Whether a path is that of a file: all of it, or its name."""
    filename, path = filename.lower(), path.lower()
    return filename == path or filename.rpartition("/")[2] == path.rpartition("/")[2]


def _named(words: str, name: str, path: str, what: str) -> str:
    """The file's name and what became of it, behind the link's words if they say anything else."""
    said = words.lower()
    if not words or name.lower() in said or path.rpartition("/")[2].lower() in said:
        return f"{bold(name)} ({what})"
    return f"{_literal(words)} ({bold(name)}, {what})"


def _literal(words: str) -> str:
    return escape_mentions(escape_markdown(words))
