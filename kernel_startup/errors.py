"""What goes wrong with a user's file, in sentences that a person and a model can act on.

FileLoadError      it can't be turned into an object
FileNotKnown       no file has this id (a KeyError)
WrongArgument      an option or an id that makes no sense (a TypeError)
FileWarning        it was loaded, but not all of it, or not as it stands (a UserWarning)
"""

import sys
from types import TracebackType


class FileLoadError(Exception):
    """A file can't be turned into an object; `load_file(..., as_="bytes")` still gives its bytes.

    Attributes:
        filename: The file's name.
        seems: What it seems to be, in words.
        tried: What was tried, in words; may be empty.
        reason: What went wrong with that; may be empty.
        remedy: What would help; may be empty.
    """

    def __init__(
        self, filename: str, seems: str, tried: str = "", reason: str = "", remedy: str = ""
    ) -> None:
        super().__init__(filename, seems, tried, reason, remedy)
        self.filename = filename
        self.seems = seems
        self.tried = tried
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        sentences = [f"{self.filename!r} couldn't be loaded: it seems to be {self.seems}"]
        if self.tried or self.reason:
            attempt = ": ".join(part for part in (self.tried, self.reason) if part)
            sentences.append(f"Tried {attempt}" if self.tried else attempt)
        if self.remedy:
            sentences.append(self.remedy)
        sentences.append('as_="bytes" gives its bytes as they are')
        return " ".join(f"{_capitalised(sentence).rstrip('. ')}." for sentence in sentences)

    def _render_traceback_(self) -> list[str]:
        # IPython's hook for exceptions that show themselves. The cause is already in the message,
        # and a library's frames are of no use to someone whose file is cut off.
        return _render_to_user_code(self)


class FileNotKnown(KeyError):
    """No file has this id or name.

    Attributes:
        wanted: What was asked for.
    """

    def __init__(self, wanted: object, explanation: str) -> None:
        super().__init__(wanted, explanation)
        self.wanted = wanted
        self.explanation = explanation

    def __str__(self) -> str:
        return self.explanation  # KeyError would show the repr, line breaks escaped

    def _render_traceback_(self) -> list[str]:
        return _render_to_user_code(self)


class WrongArgument(TypeError):
    """`load_file` was asked for something it doesn't do; the message says what it does."""

    def _render_traceback_(self) -> list[str]:
        return _render_to_user_code(self)


class FileWarning(UserWarning):
    """A file was loaded, but not all of it, or not as it stands."""


def _capitalised(sentence: str) -> str:
    # Not an option's name, which has to be written as it is.
    return sentence if sentence.startswith("as_=") else sentence[:1].upper() + sentence[1:]


def _render_to_user_code(error: BaseException) -> list[str]:
    """Render an error as IPython would if it had been raised by the last frame of user code."""
    tail = f"{type(error).__name__}: {error}"
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython is not None else None
    frames = _user_frames(error.__traceback__)
    if shell is None or frames is None:
        return [tail]
    # A stand-in with the same words: IPython would otherwise walk the chain of causes.
    shown = type(type(error).__name__, (Exception,), {"__module__": "builtins"})(str(error))
    rendered = shell.InteractiveTB.structured_traceback(type(shown), shown, frames, tb_offset=0)
    return list(rendered)


def _user_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Copy a traceback without IPython's frames before the cell and ours after it."""
    ours = __name__.partition(".")[0]
    kept = []
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == ours:
            break
        if module.partition(".")[0] != "IPython":
            kept.append(traceback)
        traceback = traceback.tb_next
    copied: TracebackType | None = None
    for frame in reversed(kept):
        copied = TracebackType(copied, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return copied
