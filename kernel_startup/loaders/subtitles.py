"""Subtitles and lyrics: each a table of cues with start and end."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.text import load_text
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd

_DAY_MS = 86_400_000
_TAGS = re.compile(r"<[^<>\n]{0,300}>|\{\\[^{}\n]{0,300}\}")
_BREAK = re.compile(r"(?i)<br\b[^<>]{0,20}>")


def _table(source: Source, cues: Iterable[dict[str, Any]], *, ends: bool = True) -> "pd.DataFrame":
    """Make a table of cues; times are in milliseconds up to here."""
    import pandas as pd

    rows = [cue for cue in cues if cue["start"] is not None]
    if not rows:
        raise FileLoadError(source.name, "subtitles without a cue", remedy='as_="text" gives a str')
    table = pd.DataFrame(rows)
    for column in ("start", "end") if ends else ("start",):
        table[column] = pd.to_timedelta(table[column], unit="ms")
    return table


def _text(source: Source, encoding: str | None) -> str:
    return load_text(source, encoding=encoding).lstrip("\ufeff")


def _milliseconds(text: str) -> float | None:
    """Read "1:02:03.5", "02:03,500" or "3.5"; None if it is no time that a film can have."""
    parts = text.strip().replace(",", ".").split(":")
    try:
        seconds = 0.0
        for part in parts:
            seconds = seconds * 60 + float(part)
    except ValueError:
        return None
    return round(seconds * 1000, 3) if 0 <= seconds < 1000 * 3600 and len(parts) <= 3 else None


# -- SubRip, WebVTT, SubViewer -------------------------------------------------------------------

_ARROW = re.compile(
    r"[ \t]*((?:\d{1,4}:)?\d{1,3}:\d{1,2}(?:[.,]\d{1,6})?)[ \t]*-{1,3}>[ \t]*"
    r"((?:\d{1,4}:)?\d{1,3}:\d{1,2}(?:[.,]\d{1,6})?)(?:[ \t]+([^\n]*))?"
)


def load_srt(source: Source, *, encoding: str | None = None, tags: bool = False) -> "pd.DataFrame":
    """Read SubRip to a table of cues: start, end, text.

    Args:
        source: The file.
        encoding: None for the one found.
        tags: Keep marks such as <i>.
    """
    return _table(source, _arrow_cues(_text(source, encoding), tags=tags))


def load_vtt(source: Source, *, encoding: str | None = None, tags: bool = False) -> "pd.DataFrame":
    """Read WebVTT to a table of cues: start, end, text, and where given speaker, id, settings."""
    import html

    cues = []
    for cue in _arrow_cues(_text(source, encoding), tags=True, named=True):
        speaker = re.search(r"<v(?:\.[\w.-]+)?[ \t]+([^>\n]{1,200})>", cue["text"])
        if speaker is not None:
            cue["speaker"] = speaker.group(1).strip()
        if not tags:
            cue["text"] = html.unescape(_TAGS.sub("", cue["text"]))
        cues.append(cue)
    if not cues:  # allowed, and what a recording of silence gives
        import pandas as pd

        times = pd.Series([], dtype="timedelta64[ms]")
        return pd.DataFrame({"start": times, "end": times, "text": pd.Series([], dtype=object)})
    return _table(source, cues)


def _arrow_cues(text: str, *, tags: bool, named: bool = False) -> Iterator[dict[str, Any]]:
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if "->" in line and _ARROW.match(line)]
    for number, following in zip(starts, [*starts[1:], len(lines) + 1][: len(starts)], strict=True):
        times = _ARROW.match(lines[number])
        assert times is not None
        written = lines[number + 1 : following]
        label = lines[number - 1].strip() if number else ""
        if following < len(lines) and written and written[-1].strip():
            written.pop()  # the next cue's number
        if named:  # what comes after a blank line is a comment or a style
            blank = next((n for n, line in enumerate(written) if not line.strip()), len(written))
            written = written[:blank]
        cue: dict[str, Any] = {
            "start": _milliseconds(times.group(1)),
            "end": _milliseconds(times.group(2)),
            "text": _plain("\n".join(written).strip(), tags=tags),
        }
        if named and label and not label.startswith("WEBVTT"):
            cue["id"] = label
        if named and times.group(3):
            cue["settings"] = times.group(3).strip()
        yield cue


def _plain(text: str, *, tags: bool = False) -> str:
    return text if tags else _TAGS.sub("", text)


_SBV_TIMES = re.compile(r"(\d{1,2}:\d\d:\d\d[.,]\d{1,3}),(\d{1,2}:\d\d:\d\d[.,]\d{1,3})\s*")


def load_sbv(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read SubViewer (YouTube's sbv) to a table of cues: start, end, text."""
    cues: list[dict[str, Any]] = []
    for line in _text(source, encoding).split("\n"):
        if (times := _SBV_TIMES.fullmatch(line)) is not None:
            start, end = map(_milliseconds, times.groups())
            cues.append({"start": start, "end": end, "text": ""})
        elif cues and line.strip():
            said = line.strip().replace("[br]", "\n")
            cues[-1]["text"] += f"\n{said}" if cues[-1]["text"] else said
    return _table(source, cues)


# -- SubStation Alpha ----------------------------------------------------------------------------


def load_ass(source: Source, *, encoding: str | None = None, tags: bool = False) -> "pd.DataFrame":
    """Read (Advanced) SubStation Alpha to a table of cues: start, end, text, style, name, ..."""
    names: list[str] = []
    cues = []
    section = ""
    for line in _text(source, encoding).split("\n"):
        line = line.strip()
        if line.startswith("["):
            section = line.lower()
        keyword, _, rest = line.partition(":")
        if section != "[events]":
            continue
        if keyword == "Format":
            names = [name.strip().lower() for name in rest.split(",")]
        elif keyword == "Dialogue" and {"start", "end", "text"} <= set(names):
            values = rest.split(",", len(names) - 1)
            cue: dict[str, Any] = dict(zip(names, map(str.strip, values), strict=False))
            if len(values) == len(names):
                cues.append(_ass_cue(cue, tags=tags))
    return _table(source, cues)


def _ass_cue(cue: dict[str, Any], *, tags: bool) -> dict[str, Any]:
    text = cue.pop("text")
    if not tags:
        text = re.sub(r"\{[^{}]*\}", "", text).replace("\\N", "\n").replace("\\n", "\n")
    start, end = _milliseconds(cue.pop("start")), _milliseconds(cue.pop("end"))
    return {"start": start, "end": end, "text": text.replace("\\h", " "), **cue}


# -- XML and HTML --------------------------------------------------------------------------------


def load_ttml(source: Source) -> "pd.DataFrame":
    """Read timed text (TTML, DFXP, YouTube's) to a table of cues: start, end, text."""
    from kernel_startup.loaders.markup import load_xml

    root = load_xml(source).getroot()
    rates = {name.rpartition("}")[2]: value for name, value in root.attrib.items()}
    return _table(source, _ttml_cues(root, _Rates(rates)))


class _Rates:
    def __init__(self, attributes: dict[str, str]) -> None:
        self.frames = self._number(attributes.get("frameRate"), 30.0)
        over = re.fullmatch(r"(\d+)[ :](\d+)", attributes.get("frameRateMultiplier", "").strip())
        if over is not None and int(over.group(2)):
            self.frames *= int(over.group(1)) / int(over.group(2))
        self.frames = self.frames or 30.0
        self.ticks = self._number(attributes.get("tickRate"), self.frames) or 1.0

    @staticmethod
    def _number(text: str | None, default: float) -> float:
        return float(text) if text and re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else default

    def milliseconds(self, text: str | None) -> float | None:
        """Read a time expression; None if there is none."""
        if text is None:
            return None
        text = text.strip()
        offset = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(h|ms|m|s|f|t)", text)
        if offset is not None:
            value = float(offset.group(1))
            unit = {"h": 3_600_000.0, "m": 60_000.0, "s": 1000.0, "ms": 1.0}.get(offset.group(2))
            if unit is None:
                unit = 1000 / (self.frames if offset.group(2) == "f" else self.ticks)
            return min(value * unit, 40.0 * _DAY_MS)
        frames = re.fullmatch(r"(\d{1,4}:\d\d:\d\d):(\d{1,3}(?:\.\d+)?)", text)
        if frames is not None:
            whole = _milliseconds(frames.group(1))
            return None if whole is None else whole + 1000 * float(frames.group(2)) / self.frames
        return _milliseconds(text)


def _ttml_cues(root: Any, rates: _Rates) -> Iterator[dict[str, Any]]:
    for element in root.iter("{*}p", "{*}text"):
        given = element.attrib
        if "t" in given or (root.tag == "transcript" and "start" in given):
            # YouTube: milliseconds in "t" and "d", seconds in "start" and "dur".
            scale = 1 if "t" in given else 1000
            start = _float(given.get("t") or given.get("start"))
            length = _float(given.get("d") or given.get("dur")) or 0.0
            start = None if start is None else min(start * scale, 40.0 * _DAY_MS)
            end = None if start is None else start + min(length * scale, 1.0 * _DAY_MS)
        else:
            start = rates.milliseconds(given.get("begin"))
            end = rates.milliseconds(given.get("end"))
            length_ms = rates.milliseconds(given.get("dur"))
            if end is None and start is not None and length_ms is not None:
                end = start + length_ms
        if start is None:
            continue
        yield {"start": start, "end": end, "text": _element_text(element)}


def _float(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,12}(?:\.\d{1,9})?", text) else None


def _element_text(element: Any) -> str:
    pieces = []
    for part in element.iter():
        if not isinstance(part.tag, str):
            pieces.append(part.tail or "")
            continue
        if part.tag.rpartition("}")[2] == "br":
            pieces.append("\n")
        pieces.append(part.text or "")
        if part is not element:
            # Its tail comes after its children; subtitles aren't nested further than a span.
            pieces.append("" if len(part) else part.tail or "")
    text = re.sub(r"[ \t\r\n]*\n[ \t\r\n]*", "\n", "".join(pieces)).strip()
    return re.sub(r"[ \t]+", " ", text)


_SYNC = re.compile(r"(?i)<sync\b[^>]*?\bstart\s*=\s*[\"']?(\d{1,12})[^>]*>")


def load_sami(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read SAMI to a table of cues: start, end, text, and the language's class."""
    import html

    text = _text(source, encoding)
    marks = [*_SYNC.finditer(text)]
    cues = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : following.start() if following else len(text)]
        body = re.sub(r"(?i)</?(?:sync|body|sami)\b[^>]*>", "", body)
        language = re.search(r"(?i)<p\b[^>]*?\bclass\s*=\s*[\"']?([\w-]+)", body)
        said = html.unescape(_TAGS.sub("", _BREAK.sub("\n", re.sub(r"\s*\n\s*", " ", body))))
        said = said.replace("\xa0", " ").strip()
        if said:
            cue: dict[str, Any] = {
                "start": min(float(mark.group(1)), 40.0 * _DAY_MS),
                "end": min(float(following.group(1)), 40.0 * _DAY_MS) if following else None,
                "text": said,
            }
            if language is not None:
                cue["class"] = language.group(1)
            cues.append(cue)
    return _table(source, cues)


# -- by frames and lines -------------------------------------------------------------------------


def load_microdvd(
    source: Source, *, encoding: str | None = None, fps: float | None = None, tags: bool = False
) -> "pd.DataFrame":
    """Read MicroDVD to a table of cues: start, end, text, and the frames they are given in.

    Args:
        source: The file.
        encoding: None for the one found.
        fps: Frames a second; None for what the first cue says, or else 23.976.
        tags: Keep marks such as {y:i}.
    """
    lines = re.findall(
        r"^\{(\d{1,9})\}\{(\d{0,9})\}([^\n]*)", _text(source, encoding), re.MULTILINE
    )
    stated = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*", lines[0][2]) if lines else None
    if stated is not None and int(lines[0][0]) <= 1:
        lines = lines[1:]
        fps = fps or float(stated.group(1))
    if not fps:
        fps = 23.976
        source.note(
            f"{source.name!r} counts frames; 23.976 a second are assumed: fps= says otherwise."
        )
    cues = []
    for start, end, said in lines:
        text = said if tags else re.sub(r"\{[A-Za-z]:[^{}]{0,100}\}", "", said)
        cues.append(
            {
                "start": 1000 * int(start) / fps,
                "end": 1000 * int(end) / fps if end else None,
                "text": text.replace("|", "\n"),
                "start_frame": int(start),
            }
        )
    return _table(source, [cue for cue in cues if float(str(cue["start"])) < 400.0 * _DAY_MS])


def load_mpl2(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read MPL2 to a table of cues: start, end, text."""
    lines = re.findall(
        r"^\[(\d{1,8})\]\[(\d{0,8})\]([^\n]*)", _text(source, encoding), re.MULTILINE
    )
    cues = [
        {
            "start": 100 * int(start),
            "end": 100 * int(end) if end else None,
            "text": "\n".join(part.removeprefix("/") for part in said.strip().split("|")),
        }
        for start, end, said in lines
    ]
    return _table(source, cues)


def load_tmplayer(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read TMPlayer to a table of cues: start, text."""
    lines = re.findall(r"^(\d{1,2}:\d\d:\d\d)[:=,]([^\n]*)", _text(source, encoding), re.MULTILINE)
    cues = [
        {"start": _milliseconds(t), "text": said.replace("|", "\n").strip()} for t, said in lines
    ]
    return _table(source, cues, ends=False)


_LRC_TIME = re.compile(r"\[(\d{1,3}):(\d{1,2})(?:[.:](\d{1,3}))?\]")


def load_lrc(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read lyrics to a table of lines: start, text; title, artist and so on are in `attrs`."""
    cues: list[dict[str, Any]] = []
    told = {}
    for line in _text(source, encoding).split("\n"):
        times = []
        position = 0
        while (time := _LRC_TIME.match(line, position)) is not None:
            position = time.end()
            fraction = float(f"0.{time.group(3) or 0}")
            times.append(1000 * (60 * int(time.group(1)) + int(time.group(2)) + fraction))
        said = re.sub(r"<\d{1,3}:\d\d[.:]\d{1,3}>\s?", "", line[position:]).strip()
        cues += [{"start": start, "text": said} for start in times]
        tag = re.fullmatch(r"\[([A-Za-z#]{1,10}):\s*([^\]\n]*)\]\s*", line)
        if tag is not None and not times:
            told[tag.group(1).lower()] = tag.group(2).strip()
    table = _table(source, sorted(cues, key=lambda cue: float(cue["start"])), ends=False)
    table.attrs.update(told)
    return table


def load_vobsub_index(source: Source) -> "pd.DataFrame":
    """Read the index of VobSub pictures: start, position in the .sub file, language."""
    cues: list[dict[str, Any]] = []
    language = ""
    for line in _text(source, None).split("\n"):
        if (said := re.match(r"id:\s*(\w{2,3})", line)) is not None:
            language = said.group(1)
        entry = re.match(
            r"timestamp:\s*(\d\d):(\d\d):(\d\d):(\d{3}),\s*filepos:\s*([0-9a-fA-F]{1,12})", line
        )
        if entry is not None:
            hours, minutes, seconds, milliseconds = map(int, entry.groups()[:4])
            start = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
            cues.append({"start": start, "position": int(entry.group(5), 16), "language": language})
    return _table(source, cues, ends=False)


# -- broadcast -----------------------------------------------------------------------------------


def load_scc(source: Source) -> "pd.DataFrame":
    """Read Scenarist captions to a table: start, text (basic characters), the codes as written."""
    cues = []
    for line in _text(source, None).split("\n"):
        entry = re.match(r"(\d\d):(\d\d):(\d\d)([:;])(\d\d)\s+([0-9a-fA-F ]+)", line)
        if entry is None:
            continue
        hours, minutes, seconds = map(int, entry.group(1, 2, 3))
        start = ((hours * 60 + minutes) * 60 + seconds) * 1000 + 1000 * int(entry.group(5)) / 29.97
        codes = entry.group(6).split()
        cues.append({"start": start, "text": _cea608(codes), "codes": " ".join(codes)})
    return _table(source, cues, ends=False)


#: Where line 21's characters aren't ASCII.
_CEA608 = str.maketrans("*\\^_`{|}~\x7f", "áéíóúç÷Ññ█")


def _cea608(codes: list[str]) -> str:
    text = ""
    previous = ""
    for code in codes:
        pair = int(code[:4], 16) & 0x7F7F if len(code) >= 4 else 0
        high, low = pair >> 8, pair & 0xFF
        if high >= 0x20:
            text += (chr(high) + (chr(low) if low >= 0x20 else "")).translate(_CEA608)
        elif high >= 0x10 and code != previous and low >= 0x40 and text and text[-1] != "\n":
            text += "\n"  # a new row
        previous = code
    return text.strip()


def load_ebu_stl(source: Source) -> "pd.DataFrame":
    """Read EBU subtitles to a table of cues: start, end, text."""
    content = source.read()
    fps = int(content[6:8])
    encoding = {b"01": "iso8859_5", b"02": "iso8859_6", b"03": "iso8859_7", b"04": "iso8859_8"}.get(
        content[12:14], "latin-1"
    )
    cues: list[dict[str, Any]] = []
    for place in range(1024, len(content) - 127, 128):
        block = content[place : place + 128]
        if block[3] == 0xFE:  # the user's own data
            continue
        text = _ebu_text(block[16:], encoding)
        if cues and cues[-1]["number"] == (block[0], block[1:3]):
            cues[-1]["text"] += text
            continue
        cues.append(
            {
                "start": _timecode(block[5:9], fps),
                "end": _timecode(block[9:13], fps),
                "text": text,
                "number": (block[0], block[1:3]),
            }
        )
    for cue in cues:
        del cue["number"]
        cue["text"] = cue["text"].strip()
    return _table(source, cues)


def _timecode(four: bytes, fps: int) -> float:
    hours, minutes, seconds, frames = four
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + 1000 * frames / (fps or 25)


_EBU_ACCENTS = {
    0xC1: "\u0300",
    0xC2: "\u0301",
    0xC3: "\u0302",
    0xC4: "\u0303",
    0xC5: "\u0304",
    0xC6: "\u0306",
    0xC7: "\u0307",
    0xC8: "\u0308",
    0xCA: "\u030a",
    0xCB: "\u0327",
    0xCF: "\u030c",
}


def _ebu_text(field: bytes, encoding: str) -> str:
    import unicodedata

    field = field.partition(b"\x8f")[0].replace(b"\x8a", b"\n")
    if encoding != "latin-1":
        kept = bytes(byte for byte in field if byte == 10 or 0x20 <= byte < 0x7F or byte > 0x9F)
        return kept.decode(encoding, "replace")
    text = ""
    accent = ""
    for byte in field:
        if byte in _EBU_ACCENTS:  # written before its letter
            accent = _EBU_ACCENTS[byte]
        elif byte == 10 or 0x20 <= byte < 0x7F or byte > 0x9F:
            text += unicodedata.normalize("NFC", chr(byte) + accent)
            accent = ""
    return re.sub(r"\n+", "\n", text)
