"""What a cell puts out: frozen values, and their bounded collection from Jupyter messages."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

from interpreter.mime import (
    NotAValue,
    ReadBundle,
    TooLargeValue,
    copy_json,
    is_base64_mime,
    is_json_mime,
    placeholder,
    read_bundle,
    text_of_bundle,
)
from interpreter.terminal import (
    ERASE_MARK,
    AnsiStripper,
    HeadTail,
    TerminalLine,
    cut,
    encodable,
    left_out_line,
)

StreamName: TypeAlias = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True, repr=False)
class Stream:
    """A run of text written to one of the standard streams.

    Attributes:
        name: Which of the two.
        text: In `Execution.outputs`: as a terminal shows it at the end, the middle of a flood
            replaced by a line with the count. In a live event: the new piece, ANSI sequences
            removed, carriage returns and backspaces kept.
    """

    name: StreamName
    text: str

    def __repr__(self) -> str:
        return f"Stream({self.name!r}, {_short(self.text)})"


@dataclass(frozen=True, slots=True, repr=False)
class DisplayData:
    """One thing shown by a cell, in one or several representations.

    Attributes:
        data: MIME type -> text, base64 text, or a JSON value for JSON types.
        metadata: As sent with the bundle.
        display_id: Name under which a later update can replace it, None if it has none.
        update: True where it replaces something shown earlier: always in the live event of an
            update, and in results where the replaced display belongs to an earlier cell.
        file_id: The stored file with the same bytes, None if the cell didn't save one.
    """

    data: Mapping[str, Any]
    metadata: Mapping[str, Any]
    display_id: str | None = None
    update: bool = False
    file_id: str | None = None

    @property
    def text(self) -> str:
        """What a reader of plain text sees of it."""
        return text_of_bundle(self.data)

    def __repr__(self) -> str:
        facts = [_short_bundle(self.data)]
        if self.display_id is not None:
            facts.append(f"display_id={self.display_id!r}")
        if self.update:
            facts.append("update=True")
        if self.file_id is not None:
            facts.append(f"file_id={self.file_id!r}")
        return f"DisplayData({', '.join(facts)})"


@dataclass(frozen=True, slots=True, repr=False)
class ExecuteResult:
    """The value of a cell's last expression, in one or several representations.

    Attributes:
        data: MIME type -> text, base64 text, or a JSON value for JSON types.
        metadata: As sent with the bundle.
        execution_count: The number in `Out[n]`, 0 if the kernel sent none.
    """

    data: Mapping[str, Any]
    metadata: Mapping[str, Any]
    execution_count: int

    @property
    def text(self) -> str:
        """What a reader of plain text sees of it."""
        return text_of_bundle(self.data)

    def __repr__(self) -> str:
        return f"ExecuteResult({_short_bundle(self.data)}, count={self.execution_count})"


@dataclass(frozen=True, slots=True, repr=False)
class CellError:
    """The exception a cell ended with.

    Attributes:
        ename: Name of the exception's class.
        evalue: Its message.
        traceback: IPython's traceback from the outermost frame to the message, without ANSI
            sequences; an entry can hold several lines.
    """

    ename: str
    evalue: str
    traceback: tuple[str, ...]

    @property
    def text(self) -> str:
        """The traceback, or the name and message if there is none."""
        if self.traceback:
            return "\n".join(self.traceback)
        return f"{self.ename}: {self.evalue}" if self.evalue else self.ename

    def __repr__(self) -> str:
        return f"CellError({self.ename!r}, {_short(self.evalue)}, {len(self.traceback)} entries)"


@dataclass(frozen=True, slots=True)
class ClearOutput:
    """A live event: everything the cell has shown so far is to be removed now.

    Attributes:
        wait: True if the cell asked to keep the old outputs until the next one: the event then
            comes together with that next one, which follows at once.
    """

    wait: bool

    @property
    def text(self) -> str:
        """Empty: nothing to read."""
        return ""


Output: TypeAlias = Stream | DisplayData | ExecuteResult | CellError


def text_of(outputs: Iterable[Output]) -> str:
    """The outputs of a cell as a reader of plain text sees them, one after the other.

    Tracebacks are part of it, pictures are placeholders such as `[image/png 640x480]`; it holds
    no base64 and no ANSI sequence. Every output starts on a line of its own.
    """
    pieces: list[str] = []
    for output in outputs:
        text = output.text
        if not text:
            continue
        if pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        pieces.append(text)
    return "".join(pieces)


_SHORT_CHARS = 200


def _short(text: str) -> str:
    if len(text) <= _SHORT_CHARS:
        return repr(text)
    return f"{text[: _SHORT_CHARS - 1]!r}… ({len(text):,} characters)"


def _short_bundle(data: Mapping[str, Any]) -> str:
    return "{" + ", ".join(_short_value(mime, value) for mime, value in data.items()) + "}"


def _short_value(mime: str, value: object) -> str:
    if is_base64_mime(mime) and isinstance(value, str):
        return f"{placeholder(mime, value)} {len(value) * 3 // 4:,} bytes"
    if is_json_mime(mime) or not isinstance(value, str):
        return f"[{mime}]"
    return f"{mime}: {_short(value)}"


# Runs of one stream between others: at most this many objects, however often a cell alternates.
_MAX_RUNS = 1_000

# Live pieces keep what `\r` overwrites: a progress bar's pieces are much longer than its text.
_LIVE_CHARS_PER_CHAR = 10

_LEAST_TEXT_CHARS = 1_000
_MAX_METADATA_BYTES = 64 * 2**10
_MAX_DISPLAY_ID_CHARS = 256
_MAX_TYPES_NAMED = 8

_MAX_ERRORS = 10
_MAX_NAME_CHARS = 200
_MAX_TRACEBACK_ENTRIES = 200
_MAX_TRACEBACK_ENTRY_CHARS = 5_000
_MAX_TRACEBACK_CHARS = 20_000


@dataclass(slots=True)
class _Run:
    """Consecutive pieces of one stream, as positions in the text of all streams of the cell."""

    name: StreamName
    start: int
    end: int


@dataclass(slots=True)
class _Shown:
    """Anything else, with the room it takes."""

    output: DisplayData | ExecuteResult | CellError
    size_bytes: int = 0
    text_chars: int = 0


_Events: TypeAlias = tuple[Stream | DisplayData | ExecuteResult | CellError | ClearOutput, ...]


class OutputCollector:
    """Turns the output messages of one cell into a bounded sequence of outputs.

    Everything in a message comes from code nobody has checked. Whatever it holds, nothing here
    raises and memory stays bounded: a message that makes no sense is counted in `malformed`, what
    is too much is left out and named in `dropped`.

    Where Jupyter leaves a choice:

    - The first and the last half of `max_chars` are kept of all streams of the cell together. One
      line with the count stands where characters are missing.
    - A display keeps all its representations. If they are too large together, the largest are
      left out until the rest fits; `text/plain` is never left out but loses its middle.
    - Of too many displays the first are kept. The cell's first result has a place of its own.
    - An update to a display that isn't among this cell's outputs is appended, with `update=True`:
      it belongs to an earlier cell, and a reader of a chat looks at the end.
    - `clear_output(wait=True)` with nothing after it clears nothing.

    Args:
        max_chars: Characters kept of stdout and stderr together. The texts of all displays
            together have the same budget once more.
        max_bundles: How many displays are kept.
        max_bundle_bytes: Size of one display, all its representations together.
        max_total_bytes: Size of all displays of the cell together.
    """

    def __init__(
        self,
        max_chars: int,
        *,
        max_bundles: int = 50,
        max_bundle_bytes: int = 16 * 2**20,
        max_total_bytes: int = 64 * 2**20,
    ) -> None:
        self._max_chars = max_chars
        self._max_bundles = max_bundles
        self._max_bundle_bytes = max_bundle_bytes
        self._max_total_bytes = max_total_bytes
        self._strippers = {"stdout": AnsiStripper(), "stderr": AnsiStripper()}
        self._readers: dict[str, Callable[[dict[Any, Any]], _Events | None]] = {
            "stream": self._add_stream,
            "display_data": self._add_display,
            "update_display_data": self._update_display,
            "execute_result": self._add_result,
            "error": self._add_error,
            "clear_output": self._clear,
        }
        self._live_chars_left = _LIVE_CHARS_PER_CHAR * max_chars
        self._clear_at_next = False
        self._malformed = 0
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._kept = HeadTail(self._max_chars)
        self._line = TerminalLine(self._kept.append)
        self._entries: list[_Run | _Shown] = []
        self._run_count = 0
        self._left_out_before = 0
        self._unseen_from: int | None = None
        self._losses = _Losses()

    def add(
        self, msg_type: str, content: object, metadata: object = None
    ) -> tuple[Output | ClearOutput, ...]:
        """Take in one message of the iopub channel.

        Args:
            msg_type: Its type; types that are no outputs are ignored.
            content: Its content, as parsed.
            metadata: The message's own metadata (not the bundle's). `{"cellmate": {"left_out":
                n}}` says that the kernel's side left out n characters of the streams before it.

        Returns:
            What to show at once: pieces of streams, up to half of `max_chars`, with `\\r` and
            `\\b` kept; displays, results and errors; `ClearOutput`.
        """
        self.count_left_out(_left_out_in(metadata))
        read = self._readers.get(msg_type)
        if read is None:
            return ()
        events = read(content) if isinstance(content, dict) else None
        if events is None:
            self._malformed += 1
            return ()
        return events

    def count_left_out(self, characters: int) -> None:
        """Count characters of the streams that were left out here, before they were sent."""
        if characters <= 0:
            return
        self._left_out_before += characters
        self._line.finish()
        self._kept.close_head()

    def add_left_out(self, name: str, size: int) -> None:
        """Count a message that was too large to be read.

        Args:
            name: `stdout` or `stderr`, or the type of a message that is no stream.
            size: Its characters (or bytes, if it wasn't decoded).
        """
        if name in self._strippers:
            self._open_run(name)
            self.count_left_out(size)
        else:
            self._losses.unread += 1

    @property
    def max_chars(self) -> int:
        """Characters kept of stdout and stderr together."""
        return self._max_chars

    @property
    def malformed(self) -> int:
        """How many messages, or representations in them, made no sense and were ignored."""
        return self._malformed

    @property
    def dropped(self) -> tuple[str, ...]:
        """What was left out besides characters of streams, in sentences for a person."""
        sentences = []
        losses = self._losses
        if losses.displays:
            sentences.append(
                f"{_counted(losses.displays, 'display')} left out: "
                f"a cell may show {self._max_bundles:,}."
            )
        if losses.representations:
            kinds = ", ".join(f"{mime} ({n:,})" for mime, n in losses.representations.items())
            sentences.append(
                f"Too large and left out: {kinds}. One display may have "
                f"{_megabytes(self._max_bundle_bytes)}, all of a cell "
                f"{_megabytes(self._max_total_bytes)}."
            )
        if losses.errors:
            sentences.append(
                f"{_counted(losses.errors, 'error')} left out: a cell may report {_MAX_ERRORS}."
            )
        if losses.unread:
            sentences.append(f"{_counted(losses.unread, 'output')} left out: too large to be read.")
        return tuple(sentences)

    def result(self) -> tuple[Output, ...]:
        """The outputs so far, in the order of their arrival."""
        return tuple(self._outputs(self._line.text))

    def seen(self) -> tuple[Output, ...]:
        """What live events have shown so far, for one who missed them; `unseen` completes it.

        The line that is being written comes with what puts a terminal's cursor to its place.
        """
        return tuple(self._outputs(self._line.with_cursor, until=self._unseen_from))

    def unseen(self) -> tuple[Stream, ...]:
        """The streams' text since live pieces stopped; empty if they never did.

        Shown at the end of the cell, it completes what a front end printed live.
        """
        if self._unseen_from is None:
            return ()
        outputs = self._outputs(self._line.text, seen=self._unseen_from)
        return tuple(output for output in outputs if isinstance(output, Stream))

    def _add_stream(self, content: dict[Any, Any]) -> _Events | None:
        name, text = content.get("name"), content.get("text")
        if not isinstance(name, str) or name not in self._strippers or not isinstance(text, str):
            return None
        if not text:
            return ()
        events = self._clear_if_waiting()
        self._open_run(name)
        before = self._chars()
        text = self._strippers[name].feed_marked(text)
        self._line.write(text)
        piece = self._live_piece(text.replace(ERASE_MARK, ""), before)
        return (*events, Stream(cast(StreamName, name), piece)) if piece else events

    def _chars(self) -> int:
        return self._kept.total + len(self._line.text)

    def _live_piece(self, piece: str, before: int) -> str:
        """The part of a new piece that is shown at once."""
        if self._unseen_from is not None:
            return ""
        shown = piece
        limit = self._max_chars // 2
        if self._chars() > limit:
            shown = piece[: max(0, limit - before)]
        shown = shown[: self._live_chars_left]
        self._live_chars_left -= len(shown)
        if len(shown) < len(piece):
            # Lengths say nothing about a line that was overwritten: it is shown once more.
            edited = "\r" in piece or "\b" in piece
            self._unseen_from = min(before, self._kept.total) if edited else before + len(shown)
        return shown

    def _open_run(self, name: str) -> None:
        if self._entries and isinstance(last := self._entries[-1], _Run):
            if last.name == name:
                return
            self._close_run()
            if last.start == last.end:
                self._entries.pop()
                self._run_count -= 1
                self._open_run(name)
                return
        self._entries.append(_Run(cast(StreamName, name), self._kept.total, self._kept.total))
        self._run_count += 1
        if self._run_count > _MAX_RUNS // 2:
            self._kept.close_head()
        if self._run_count > _MAX_RUNS:
            self._drop_runs()

    def _close_run(self) -> None:
        self._line.finish()
        if self._entries and isinstance(last := self._entries[-1], _Run):
            last.end = self._kept.total

    def _drop_runs(self) -> None:
        """Leave out runs of the middle."""
        runs = [entry for entry in self._entries if isinstance(entry, _Run)]
        self._kept.drop_before(runs[-_MAX_RUNS // 4].start)
        gap = range(self._kept.head_chars, self._kept.tail_start + 1)
        self._entries = [
            entry
            for entry in self._entries
            if not isinstance(entry, _Run)
            or entry is runs[-1]
            or entry.start not in gap
            or entry.end not in gap
        ]
        self._run_count = sum(isinstance(entry, _Run) for entry in self._entries)

    def _add_display(self, content: dict[Any, Any]) -> _Events | None:
        return self._show(
            content,
            lambda data: DisplayData(data, _metadata_of(content), _display_id_of(content)),
            own_place=False,
        )

    def _add_result(self, content: dict[Any, Any]) -> _Events | None:
        return self._show(
            content,
            lambda data: ExecuteResult(data, _metadata_of(content), _count_of(content)),
            own_place=True,
        )

    def _update_display(self, content: dict[Any, Any]) -> _Events | None:
        display_id = _display_id_of(content)
        if display_id is None:
            return None
        places = [
            shown
            for shown in self._shown()
            if isinstance(shown.output, DisplayData) and shown.output.display_id == display_id
        ]
        if not places:
            return self._show(
                content,
                lambda data: DisplayData(data, _metadata_of(content), display_id, update=True),
                own_place=False,
            )
        bundle = self._read_bundle(content, replaced=places)
        if bundle is None or not bundle.data:
            return None if bundle is None else ()
        update = DisplayData(bundle.data, _metadata_of(content), display_id, update=True)
        for shown in places:
            shown.output = replace(update, update=cast(DisplayData, shown.output).update)
            shown.size_bytes = shown.text_chars = 0
        # Shared by all its places, it takes its room once.
        places[0].size_bytes, places[0].text_chars = bundle.size_bytes, bundle.text_chars
        return (update,)

    def _show(
        self,
        content: dict[Any, Any],
        make: Callable[[dict[str, Any]], DisplayData | ExecuteResult],
        *,
        own_place: bool,
    ) -> _Events | None:
        if not isinstance(content.get("data"), dict):
            return None
        events = self._clear_if_waiting()
        outputs = [shown.output for shown in self._shown()]
        results = sum(isinstance(output, ExecuteResult) for output in outputs)
        taken = len(outputs) - sum(isinstance(output, CellError) for output in outputs)
        if taken - min(results, 1) >= self._max_bundles and (results or not own_place):
            self._losses.displays += 1
            return events
        bundle = self._read_bundle(content)
        if bundle is None or not bundle.data:
            return events
        output = make(bundle.data)
        self._close_run()
        self._entries.append(_Shown(output, bundle.size_bytes, bundle.text_chars))
        return (*events, output)

    def _shown(self) -> Iterator[_Shown]:
        return (entry for entry in self._entries if isinstance(entry, _Shown))

    def _read_bundle(
        self, content: dict[Any, Any], *, replaced: Iterable[_Shown] = ()
    ) -> ReadBundle | None:
        data = content.get("data")
        if not isinstance(data, dict):
            return None
        replaced_ids = {id(shown) for shown in replaced}
        stay = [shown for shown in self._shown() if id(shown) not in replaced_ids]
        bundle = read_bundle(
            data,
            max_bytes=self._max_bundle_bytes,
            room_bytes=self._max_total_bytes - sum(shown.size_bytes for shown in stay),
            max_text_chars=max(
                self._max_chars - sum(shown.text_chars for shown in stay), _LEAST_TEXT_CHARS
            ),
        )
        self._malformed += bundle.malformed
        for mime in bundle.too_large:
            self._losses.count_representation(mime)
        return bundle

    def _add_error(self, content: dict[Any, Any]) -> _Events | None:
        ename, evalue = content.get("ename"), content.get("evalue")
        traceback = _cut_traceback(content.get("traceback"))
        if not isinstance(ename, str) and not traceback:
            return None
        events = self._clear_if_waiting()
        if sum(isinstance(shown.output, CellError) for shown in self._shown()) >= _MAX_ERRORS:
            self._losses.errors += 1
            return events
        error = CellError(
            cut(ename, _MAX_NAME_CHARS) if isinstance(ename, str) else "Error",
            cut(evalue, _MAX_TRACEBACK_ENTRY_CHARS) if isinstance(evalue, str) else "",
            traceback,
        )
        self._close_run()
        self._entries.append(_Shown(error))
        return (*events, error)

    def _clear(self, content: dict[Any, Any]) -> _Events:
        self._clear_at_next = content.get("wait") is True
        if self._clear_at_next:
            return ()
        self._start_afresh()
        return (ClearOutput(wait=False),)

    def _clear_if_waiting(self) -> _Events:
        if not self._clear_at_next:
            return ()
        self._clear_at_next = False
        self._start_afresh()
        return (ClearOutput(wait=True),)

    def _outputs(self, line: str, *, seen: int = 0, until: int | None = None) -> list[Output]:
        """All outputs, the streams between two positions, with `line` as their last one."""
        outputs: list[Output] = []
        for output in self._pieces(self._kept.followed_by(line), seen, until):
            last = outputs[-1] if outputs else None
            if isinstance(output, Stream) and isinstance(last, Stream) and last.name == output.name:
                # What stood between them showed nothing or was left out.
                outputs[-1] = Stream(last.name, last.text + output.text)
            elif not isinstance(output, Stream) or output.text:
                outputs.append(output)
        return outputs

    def _pieces(self, kept: HeadTail, seen: int, until: int | None) -> Iterator[Output]:
        head, tail, tail_start = kept.head, kept.tail, kept.tail_start
        missing = kept.left_out + self._left_out_before if until is None else 0
        cut_run = self._cut_run(len(head))
        for entry in self._entries:
            if isinstance(entry, _Shown):
                yield entry.output
                continue
            end = kept.total if entry is self._entries[-1] else entry.end
            end = end if until is None else min(end, until)
            text = head[max(entry.start, seen) : end]
            if missing and entry is cut_run:
                text += left_out_line(missing, after=head)
            text += tail[max(entry.start, seen, tail_start) - tail_start : max(0, end - tail_start)]
            yield Stream(entry.name, text)
        if missing and cut_run is None:
            yield Stream("stdout", left_out_line(missing, after=""))

    def _cut_run(self, position: int) -> _Run | None:
        """The run in which characters are missing: the last one that began before the cut."""
        runs = [entry for entry in self._entries if isinstance(entry, _Run)]
        begun = [run for run in runs if run.start < position]
        return begun[-1] if begun else runs[0] if runs else None


@dataclass(slots=True)
class _Losses:
    """What was left out of one cell."""

    displays: int = 0
    errors: int = 0
    unread: int = 0
    representations: Counter[str] = field(default_factory=Counter)

    def count_representation(self, mime: str) -> None:
        """Count one by its type; a kernel can invent types without end."""
        known = mime in self.representations or len(self.representations) < _MAX_TYPES_NAMED
        self.representations[mime if known else "others"] += 1


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun} was" if number == 1 else f"{number:,} {noun}s were"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.4g} MB"


def _left_out_in(metadata: object) -> int:
    ours = metadata.get("cellmate") if isinstance(metadata, dict) else None
    number = ours.get("left_out") if isinstance(ours, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        return 0
    return number if number < 2**53 else 0


def _count_of(content: dict[Any, Any]) -> int:
    count = content.get("execution_count")
    if not isinstance(count, int) or isinstance(count, bool):
        return 0
    return count if 0 <= count < 2**31 else 0


def _display_id_of(content: dict[Any, Any]) -> str | None:
    transient = content.get("transient")
    display_id = transient.get("display_id") if isinstance(transient, dict) else None
    if not isinstance(display_id, str) or not 0 < len(display_id) <= _MAX_DISPLAY_ID_CHARS:
        return None
    return encodable(display_id)


def _metadata_of(content: dict[Any, Any]) -> dict[str, Any]:
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    try:
        copied, _ = copy_json(metadata, max_bytes=_MAX_METADATA_BYTES)
    except (NotAValue, TooLargeValue):
        return {}
    return cast(dict[str, Any], copied)


def _cut_traceback(entries: object) -> tuple[str, ...]:
    """The outermost frames and the end, with the message; a deep recursion's middle is left out."""
    if not isinstance(entries, list | tuple):
        return ()
    half = _MAX_TRACEBACK_ENTRIES // 2
    first = _fitting(entries[:half])
    last = _fitting(reversed(entries[max(len(first), len(entries) - half) :]))[::-1]
    missing = len(entries) - len(first) - len(last)
    gap = (f"… {missing:,} entries of the traceback left out …",) if missing else ()
    return tuple(entry for entry in (*first, *gap, *last) if entry is not None)


def _fitting(entries: Iterable[object]) -> list[str | None]:
    """Leading entries that fit into half a traceback, cleaned; None for one that isn't text."""
    fitting: list[str | None] = []
    room = _MAX_TRACEBACK_CHARS // 2
    for entry in entries:
        text = cut(entry, _MAX_TRACEBACK_ENTRY_CHARS) if isinstance(entry, str) else None
        room -= len(text or "") + 1
        if room < 0:
            break
        fitting.append(text)
    return fitting
