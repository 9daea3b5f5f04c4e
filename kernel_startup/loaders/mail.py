"""E-mail, calendars and address books."""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, overload

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.ole import BrokenOle, OleFile, open_ole
from kernel_startup.loaders.packed import html_text
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source


class Email(EmailMessage):
    """`email.message.EmailMessage` with a little more at hand: `text`, `html`, `attachments`."""

    @property
    def text(self) -> str:
        """What it says: its plain text, or else its page of HTML as text."""
        part = _body(self, "plain")
        if part is not None and (text := _content(part)).strip():
            return text.replace("\r\n", "\n")
        return html_text(self.html)

    @property
    def html(self) -> str:
        """Its page of HTML; empty if it has none."""
        part = _body(self, "html")
        return "" if part is None else _content(part)

    @property
    def attachments(self) -> dict[str, bytes]:
        """The files that came with it, pictures of its page among them: name -> content."""
        found: dict[str, bytes] = {}
        for number, part in enumerate(self.walk(), start=1):
            name = _filename(part)
            if part.is_multipart() or not (name or part.get_content_maintype() != "text"):
                continue
            name = name or f"part{number}.{part.get_content_subtype()}"
            content = part.get_payload(decode=True)
            found[name] = content if isinstance(content, bytes) else b""
        return found

    def __repr__(self) -> str:
        told = ", ".join(f"{field} {_field(self, field)!r}" for field in ("from", "subject"))
        return f"<e-mail {told}; .text, .html, .attachments>"


_POLICY = policy.default.clone(message_factory=Email)


def _body(message: EmailMessage, kind: str) -> Any:
    for part in message.walk():
        if part.get_content_type() == f"text/{kind}" and not _is_attached(part):
            return part
    return None


def _is_attached(part: Any) -> bool:
    try:
        return bool(part.get_content_disposition() == "attachment")
    except Exception:  # the standard library trips over some broken fields
        return False


def _filename(part: Any) -> str:
    try:
        return str(part.get_filename() or "")
    except Exception:
        return ""


def _content(part: Any) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    stated = part.get_content_charset() or "utf-8"
    for charset in (stated, "utf-8", "cp1252"):
        try:
            return content.decode("utf-16" if charset == "unicode" else charset)
        except (LookupError, UnicodeDecodeError):
            continue
    return content.decode("latin-1")


def _field(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name) or "").split())
    except Exception:  # as above
        return ""


def parse_mail(content: bytes) -> Email:
    """Parse one message."""
    message: Any = message_from_bytes(content, policy=_POLICY)
    return message  # type: ignore[no-any-return]


#: The standard library takes milliseconds for each, and as many frames as they are deep.
_MAX_MULTIPARTS = 500


def load_mail(source: Source) -> Email:
    """Parse a message."""
    content = source.read()
    if content.count(b"multipart/") > _MAX_MULTIPARTS:
        raise FileLoadError(
            source.name, "an e-mail", reason="its parts are nested too deeply, or too many"
        )
    try:
        return parse_mail(content.lstrip(b"\xef\xbb\xbf\r\n"))
    except (MessageError, RecursionError, ValueError) as error:
        reason = (
            "its parts are nested too deeply" if isinstance(error, RecursionError) else str(error)
        )
        raise FileLoadError(source.name, "an e-mail", reason=reason) from error


def load_emlx(source: Source) -> Email:
    """Parse a message as Apple Mail keeps it: its size, itself, and a list of what it is."""
    content = source.read()
    first, _, rest = content.partition(b"\n")
    if not first.strip().isdigit() or len(first) > 20:
        return parse_mail(content)
    return parse_mail(rest[: int(first)])


class Mailbox(Sequence[Email]):
    """The messages of a mailbox, each parsed when it is asked for; `table` names them all."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._path = source.as_path()
        self._places = _message_places(self._path)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Email: ...
    @overload
    def __getitem__(self, index: slice) -> list[Email]: ...
    def __getitem__(self, index: int | slice) -> Email | list[Email]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        start, end = self._places[index]
        with self._path.open("rb") as file:
            file.seek(start)
            file.readline()  # "From someone, at some time"
            content = file.read(end - file.tell())
        return parse_mail(re.sub(rb"(?m)^>(>*From )", rb"\1", content))

    def __iter__(self) -> Iterator[Email]:
        return (self[number] for number in range(len(self)))

    def __bool__(self) -> bool:
        return True

    @property
    def table(self) -> Any:
        """A DataFrame of date, from, to, subject and size in bytes of all messages."""
        import pandas as pd

        rows = []
        for message, (start, end) in zip(self, self._places, strict=True):
            fields = {name: _field(message, name) for name in ("date", "from", "to", "subject")}
            rows.append({**fields, "size": end - start})
        return pd.DataFrame(rows, columns=["date", "from", "to", "subject", "size"])

    @property
    def text(self) -> str:
        """The text of all messages."""
        return "\n\n".join(message.text for message in self)

    def __repr__(self) -> str:
        return f"<mailbox {self.name!r}: {len(self)} messages; [0] gives one, .table names them>"


def _message_places(path: Any) -> list[tuple[int, int]]:
    starts = []
    place = 0
    is_after_blank = True
    with path.open("rb") as file:
        # No longer lines than that: a file without an end of line is one line.
        while line := file.readline(1 << 20):
            if is_after_blank and line.startswith(b"From "):
                starts.append(place)
            is_after_blank = line in (b"\n", b"\r\n")
            place += len(line)
    return list(zip(starts, [*starts[1:], place], strict=True))


def load_mbox(source: Source) -> Mailbox:
    """List the messages of a mailbox."""
    return Mailbox(source)


# -- Outlook -------------------------------------------------------------------------------------

_FIELDS = {"0037": "Subject", "0E04": "To", "0E03": "Cc", "0E02": "Bcc", "1035": "Message-ID"}


def load_msg(source: Source) -> Email:
    """Read an Outlook message as the e-mail it is.

    Source: [MS-OXMSG] 2.1 (properties are streams named by number and type), [MS-OXPROPS].
    """
    seems = "an Outlook message"
    ole = open_ole(source.open(), source.name, seems)
    try:
        return _outlook_message(ole, "", depth=0)
    except (BrokenOle, struct.error) as error:
        raise FileLoadError(
            source.name, f"{seems} that is cut off or damaged", reason=str(error)
        ) from error


def _outlook_message(ole: OleFile, storage: str, depth: int) -> Email:
    prefix = f"{storage}/" if storage else ""
    message = Email(policy=_POLICY)
    charset = _charset(ole, prefix)

    def text_of(number: str, place: str = prefix) -> str:
        return _property_text(ole, place, number, charset)

    headers = message_from_bytes(text_of("007D").encode("utf-8", "replace"), policy=policy.compat32)
    for name in ("From", "To", "Cc", "Date", "Reply-To"):
        if headers[name]:
            _set(message, name, str(headers[name]))
    sender, address = text_of("0C1A"), text_of("5D01") or text_of("0C1F")
    if "From" not in message and (sender or address):
        _set(message, "From", f'"{sender}" <{address}>' if "@" in address else sender or address)
    for number, name in _FIELDS.items():
        if name not in message and (value := text_of(number)):
            _set(message, name, value)
    if "Date" not in message and (date := _sent(ole, prefix)):
        _set(message, "Date", date)
    body, html = text_of("1000"), _property_bytes(ole, prefix, "1013")
    if not body and not html and (rtf := _property_bytes(ole, prefix, "1009")):
        body = _rtf_text(rtf)
    message.set_content((body or "").replace("\0", ""))
    if html or text_of("1013"):
        page = html.decode(charset, "replace") if html else text_of("1013")
        message.add_alternative(page.replace("\0", ""), subtype="html")
    _add_attachments(ole, storage, message, charset, depth)
    return message


def _set(message: Email, name: str, value: str) -> None:
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    try:
        message[name] = line[:2000]
    except Exception:  # an address that the standard library can't take apart
        message[f"X-{name}"] = re.sub(r"[^\x20-\x7e]", "?", line[:500])


def _charset(ole: OleFile, prefix: str) -> str:
    import codecs

    properties = _fixed(ole, prefix)
    for number in (0x3FFD, 0x3FDE):
        page = struct.unpack("<I", properties[number][:4])[0] if number in properties else 0
        name = {65001: "utf-8", 20127: "cp1252", 28591: "latin-1"}.get(page, f"cp{page}")
        try:
            codecs.lookup(name)
            return name
        except LookupError:
            continue
    return "cp1252"


def _fixed(ole: OleFile, prefix: str) -> dict[int, bytes]:
    """The properties of a fixed size, which are all in one stream."""
    name = f"{prefix}__properties_version1.0"
    if name not in ole:
        return {}
    content = ole.read(name)
    header = 32 if not prefix else 24 if "__substg1.0_3701000D" in prefix else 8
    found = {}
    for place in range(header, min(len(content), 200_000) - 15, 16):
        (tag,) = struct.unpack_from("<I", content, place)
        found[tag >> 16] = content[place + 8 : place + 16]
    return found


def _sent(ole: OleFile, prefix: str) -> str:
    import datetime
    from email.utils import format_datetime

    properties = _fixed(ole, prefix)
    for number in (0x0039, 0x0E06):
        if number in properties:
            (ticks,) = struct.unpack("<Q", properties[number])
            if 0 < ticks < 1 << 58:
                start = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
                return format_datetime(start + datetime.timedelta(microseconds=ticks // 10))
    return ""


def _property_bytes(ole: OleFile, place: str, number: str) -> bytes:
    name = f"{place}__substg1.0_{number}0102"
    return ole.read(name) if name in ole else b""


def _property_text(ole: OleFile, place: str, number: str, charset: str) -> str:
    for kind, encoding in (("001F", "utf-16-le"), ("001E", charset)):
        name = f"{place}__substg1.0_{number}{kind}"
        if name in ole:
            return ole.read(name).decode(encoding, "replace").rstrip("\0")
    return ""


def _add_attachments(ole: OleFile, storage: str, message: Email, charset: str, depth: int) -> None:
    start = f"{storage}/__attach_version1.0_#".lstrip("/")
    places = [s for s in ole.storages if s.startswith(start) and "/" not in s[len(start) :]]
    for number, place in enumerate(sorted(places)[:2000], start=1):
        prefix = f"{place}/"
        name = ""
        for property_number in ("3707", "3704", "3001"):
            name = name or _property_text(ole, prefix, property_number, charset)
        name = re.sub(r"[\x00-\x1f\x7f]", "", name)[:200] or f"attachment{number}"
        inner = f"{place}/__substg1.0_3701000D"
        if inner in ole.storages and f"{inner}/__properties_version1.0" in ole:
            if depth < 10:
                message.add_attachment(_outlook_message(ole, inner, depth + 1), filename=name)
            continue
        content = _property_bytes(ole, prefix, "3701")
        message.add_attachment(
            content, maintype="application", subtype="octet-stream", filename=name
        )


def _rtf_text(compressed: bytes) -> str:
    from striprtf.striprtf import rtf_to_text

    rtf = _unpack_rtf(compressed).decode("latin-1")
    if "\\fromhtml1" in rtf:
        rtf = re.sub(r"\{\\\*\\htmltag[^{}]*+\}|\\htmlrtf\b[^{}]*?\\htmlrtf0\b", "", rtf)
    return str(rtf_to_text(rtf, errors="replace"))  # type: ignore[no-untyped-call]


_RTF_START = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript "
    rb"\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def _unpack_rtf(content: bytes) -> bytes:
    """Source: [MS-OXRTFCP] 2.2: references into a ring of 4 KiB that begins filled."""
    if content[8:12] == b"MELA":
        return content[16:]
    (size,) = struct.unpack_from("<I", content, 4)
    ring = bytearray(4096)
    ring[: len(_RTF_START)] = _RTF_START
    write = len(_RTF_START)
    out = bytearray()
    place = 16
    while place < len(content) and len(out) < min(size, 64 << 20):
        flags = content[place]
        place += 1
        for bit in range(8):
            if flags & 1 << bit:
                if place + 2 > len(content):
                    return bytes(out)
                pair = content[place] << 8 | content[place + 1]
                place += 2
                read, length = pair >> 4, (pair & 15) + 2
                if read == write:
                    return bytes(out)
                for index in range(length):
                    byte = ring[(read + index) % 4096]
                    out.append(byte)
                    ring[write] = byte
                    write = (write + 1) % 4096
            elif place < len(content):
                out.append(content[place])
                ring[write] = content[place]
                write = (write + 1) % 4096
                place += 1
    return bytes(out)


def load_tnef(source: Source) -> Email:
    """Read a winmail.dat: what Outlook packs a message and its attachments into.

    Source: [MS-OXTNEF] 2.1.3: attributes of a level, a number and a size.
    """
    content = source.read()
    message = Email(policy=_POLICY)
    body, name = "", ""
    files: list[tuple[str, bytes]] = []
    place = 6
    while place + 9 <= len(content):
        (number, size) = struct.unpack_from("<II", content, place + 1)
        value = content[place + 9 : place + 9 + size]
        place += 9 + size + 2
        number &= 0xFFFF
        if number == 0x8004:
            _set(message, "Subject", value.rstrip(b"\0").decode("cp1252", "replace"))
        elif number == 0x800C:
            body = value.rstrip(b"\0").decode("cp1252", "replace")
        elif number == 0x9002:  # another attachment begins
            name = f"attachment{len(files) + 1}"
        elif number == 0x8010:
            name = value.rstrip(b"\0").decode("cp1252", "replace")
            if files and files[-1][0].startswith("attachment"):
                files[-1] = (name, files[-1][1])
        elif number == 0x800F:
            files.append((name, value))
    message.set_content(body.replace("\0", ""))
    for name, value in files[:2000]:
        clean = re.sub(r"[\x00-\x1f\x7f]", "", name) or "attachment"
        message.add_attachment(
            value, maintype="application", subtype="octet-stream", filename=clean
        )
    return message


def load_store(source: Source) -> FileInfo:
    """Say what an Outlook store's header tells."""
    version = int.from_bytes(source.head[10:12], "little")
    kind = "ANSI" if version in (14, 15) else "Unicode"
    facts: dict[str, object] = {"version": version, "kind": kind}
    return source_info(source, facts, "readpst (libpst) turns it into mbox files.")


# -- lines of calendars and address cards --------------------------------------------------------


def _content_lines(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Name, parameters and value of each line; those that were folded are joined first."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Quoted-printable goes on after "=", everything else before a blank.
    text = re.sub(r"\n[ \t]", "", text)
    lines = iter(text.split("\n"))
    for line in lines:
        head, colon, value = _split_value(line)
        if not colon:
            continue
        name, *given = head.split(";")
        parameters: dict[str, str] = {}
        for parameter in given:
            key, equals, content = parameter.partition("=")
            key = key.upper() if equals else ("ENCODING" if key.upper() in _ENCODINGS else "TYPE")
            content = content.strip('"') if equals else parameter
            parameters[key] = f"{parameters[key]},{content}" if key in parameters else content
        if parameters.get("ENCODING", "").upper() == "QUOTED-PRINTABLE":
            while value.endswith("=") and (more := next(lines, None)) is not None:
                value = value[:-1] + more
            value = _unquoted(value, parameters.get("CHARSET", "utf-8"))
        yield name.rpartition(".")[2].upper(), parameters, value


_ENCODINGS = frozenset(("QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT"))


def _split_value(line: str) -> tuple[str, str, str]:
    """Split at the first colon that isn't within quotes."""
    match = re.match(r'(?>(?:[^":]++|"[^"]*+")*):', line)
    if match is None:
        return line.partition(":")
    return line[: match.end() - 1], ":", line[match.end() :]


def _unquoted(value: str, charset: str) -> str:
    import quopri

    raw = quopri.decodestring(value.encode("utf-8"))
    try:
        return raw.decode(charset)
    except (LookupError, UnicodeDecodeError):
        return raw.decode("cp1252", "replace")


def _unescaped(value: str) -> str:
    found = {"n": "\n", "N": "\n"}
    return re.sub(r"\\(.)", lambda m: found.get(m.group(1), m.group(1)), value).strip()


def _parts(value: str) -> list[str]:
    return [_unescaped(part) for part in re.split(r"(?<!\\);", value)]


_EVENT_FIELDS = {
    "SUMMARY": "summary",
    "DTSTART": "start",
    "DTEND": "end",
    "DUE": "due",
    "DURATION": "duration",
    "LOCATION": "location",
    "DESCRIPTION": "description",
    "STATUS": "status",
    "ORGANIZER": "organizer",
    "ATTENDEE": "attendees",
    "CATEGORIES": "categories",
    "RRULE": "rrule",
    "URL": "url",
    "UID": "uid",
}
_COMPONENTS = {"VEVENT": "event", "VTODO": "todo", "VJOURNAL": "journal", "VFREEBUSY": "freebusy"}


def load_calendar(source: Source, *, encoding: str | None = None) -> Any:
    """Read a calendar: a row for each event and task."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    inside: list[str] = []
    for name, parameters, value in _content_lines(decode(source, encoding)):
        if name == "BEGIN":
            inside.append(value.strip().upper())
            if inside[-1] in _COMPONENTS:
                rows.append({"kind": _COMPONENTS[inside[-1]]})
        elif name == "END":
            if inside:
                inside.pop()
        elif rows and inside and inside[-1] in _COMPONENTS and name in _EVENT_FIELDS:
            _add_field(rows[-1], _EVENT_FIELDS[name], parameters, value)
    names = ["kind", *dict.fromkeys(_EVENT_FIELDS.values()), "all_day"]
    used = [
        n for n in names if n in ("kind", "summary", "start", "end") or any(n in r for r in rows)
    ]
    table = pd.DataFrame(rows, columns=used)
    for column in ("start", "end", "due"):
        if column in table:
            table[column] = _times(table[column])
    if "all_day" in table:
        table["all_day"] = [bool(row.get("all_day")) for row in rows]
    if len({row["kind"] for row in rows}) < 2:
        table = table.drop(columns="kind")
    return table


def _add_field(row: dict[str, Any], field: str, parameters: Mapping[str, str], value: str) -> None:
    if field in ("start", "end", "due"):
        moment = _moment(value.strip(), parameters.get("TZID", ""))
        row[field] = moment
        if field == "start" and len(value.strip()) == 8:
            row["all_day"] = True
        return
    text = _unescaped(value)
    if field in ("organizer", "attendees"):
        text = parameters.get("CN") or re.sub(r"(?i)^mailto:", "", text)
    row[field] = f"{row[field]}; {text}" if field in row else text


def _moment(value: str, zone: str) -> Any:
    import datetime
    import zoneinfo

    if not re.fullmatch(r"\d{8}(T\d{4,6}Z?)?", value, re.ASCII):
        return value
    try:
        moment = datetime.datetime.strptime(
            value[:15].rstrip("Z").ljust(15, "0") if "T" in value else value + "T000000",
            "%Y%m%dT%H%M%S",
        )
    except ValueError:
        return value
    if value.endswith("Z"):
        return moment.replace(tzinfo=datetime.UTC)
    try:
        return moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)) if zone else moment
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return moment  # a zone of the calendar's own: the local time is what can be told


def _times(column: Any) -> Any:
    """Times of one kind become a column of times; mixed ones stay what they are."""
    import datetime

    import pandas as pd

    values = [v for v in column if isinstance(v, (str, datetime.datetime))]
    moments = [v for v in values if isinstance(v, datetime.datetime)]
    if not moments or len(moments) != len(values):
        return column
    aware = sum(moment.tzinfo is not None for moment in moments)
    if aware not in (0, len(moments)):
        return pd.Series(list(column), index=column.index, dtype=object)
    try:
        return pd.to_datetime(column, utc=bool(aware))
    except (ValueError, OverflowError):
        return column


_CARD_FIELDS = {
    "FN": "name",
    "N": "full_name",
    "NICKNAME": "nickname",
    "ORG": "organization",
    "TITLE": "title",
    "EMAIL": "email",
    "TEL": "phone",
    "ADR": "address",
    "URL": "url",
    "BDAY": "birthday",
    "NOTE": "note",
    "CATEGORIES": "categories",
    "UID": "uid",
}


def load_cards(source: Source, *, encoding: str | None = None) -> Any:
    """Read address cards: a row for each; several telephones are set apart by "; "."""
    import pandas as pd

    rows: list[dict[str, str]] = []
    depth = 0
    for name, _parameters, value in _content_lines(decode(source, encoding)):
        if name == "BEGIN" and value.strip().upper() == "VCARD":
            depth += 1
            if depth == 1:
                rows.append({})
        elif name == "END" and value.strip().upper() == "VCARD":
            depth = max(depth - 1, 0)
        elif depth == 1 and rows and name in _CARD_FIELDS:
            _add_card_field(rows[-1], name, value)
    used = [f for f in _CARD_FIELDS.values() if f == "name" or any(f in row for row in rows)]
    return pd.DataFrame(rows, columns=used, dtype=object)


def _add_card_field(row: dict[str, str], name: str, value: str) -> None:
    if name == "N":
        family, given, middle, prefix, suffix = (*_parts(value), "", "", "", "", "")[:5]
        text = " ".join(filter(None, (prefix, given, middle, family, suffix)))
        row.setdefault("name", text)
    elif name == "ADR" or name == "ORG":
        text = ", ".join(filter(None, _parts(value)))
    else:
        text = _unescaped(value)
    if name in ("EMAIL", "TEL", "URL"):
        text = re.sub(r"(?i)^(?:mailto|tel):", "", text)
    if name == "FN":
        row["name"] = text
        return
    field = _CARD_FIELDS[name]
    if text:
        row[field] = f"{row[field]}; {text}" if field in row else text


def load_ldif(source: Source, *, encoding: str | None = None) -> Any:
    """Read entries of a directory: a row for each, a column for each attribute."""
    import base64
    import binascii

    import pandas as pd

    text = decode(source, encoding).replace("\r\n", "\n")
    rows: list[dict[str, str]] = []
    for block in re.split(r"\n{2,}", re.sub(r"\n ", "", text)):
        row: dict[str, str] = {}
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if not colon or line.startswith("#") or (not row and name.lower() == "version"):
                continue
            if value.startswith(":"):
                try:
                    value = base64.b64decode(value[1:]).decode("utf-8", "replace")
                except (binascii.Error, ValueError):
                    value = value[1:]
            value = value.strip()
            row[name] = f"{row[name]}; {value}" if name in row else value
        if row:
            rows.append(row)
    return pd.DataFrame(rows, columns=_columns(rows), dtype=object)


def _columns(rows: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))[:2000]
