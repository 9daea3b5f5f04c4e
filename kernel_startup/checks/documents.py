"""What tells documents, mail, programs and keys apart."""

import re
import zipfile
from functools import partial

from kernel_startup.source import Source

_MAX_CONTENT_TYPES_BYTES = 1024 * 1024


def _has_content_type(source: Source, *, kind: bytes) -> bool:
    """Whether an Office file's main part is of this kind: templates and shows differ in nothing
    else.
    """
    with source.open() as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo("[Content_Types].xml")
        if info.file_size > _MAX_CONTENT_TYPES_BYTES:
            return False
        return kind in archive.read(info)


is_docm = partial(_has_content_type, kind=b"ms-word.document.macroEnabled.main+xml")
is_dotx = partial(_has_content_type, kind=b"wordprocessingml.template.main+xml")
is_dotm = partial(_has_content_type, kind=b"ms-word.template.macroEnabledTemplate.main+xml")
is_pptm = partial(_has_content_type, kind=b"ms-powerpoint.presentation.macroEnabled.main+xml")
is_ppsx = partial(_has_content_type, kind=b"presentationml.slideshow.main+xml")
is_ppsm = partial(_has_content_type, kind=b"ms-powerpoint.slideshow.macroEnabled.main+xml")
is_potx = partial(_has_content_type, kind=b"presentationml.template.main+xml")
is_potm = partial(_has_content_type, kind=b"ms-powerpoint.template.macroEnabled.main+xml")
is_vsdm = partial(_has_content_type, kind=b"ms-visio.drawing.macroEnabled.main+xml")


def is_vstx(source: Source) -> bool:
    """Whether a Visio zip is a template, with or without macros."""
    return any(
        _has_content_type(source, kind=kind)
        for kind in (b"ms-visio.template.main+xml", b"ms-visio.template.macroEnabled.main+xml")
    )


def is_vssx(source: Source) -> bool:
    """Whether a Visio zip is a stencil, with or without macros."""
    return any(
        _has_content_type(source, kind=kind)
        for kind in (b"ms-visio.stencil.main+xml", b"ms-visio.stencil.macroEnabled.main+xml")
    )


def _has_old_office_class(source: Source, *, kind: bytes) -> bool:
    """Whether OpenOffice 1's content is of a class; its zips have no media type."""
    with source.open() as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo("META-INF/manifest.xml")
        return info.file_size < _MAX_CONTENT_TYPES_BYTES and kind in archive.read(info)


is_sxw = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.writer"')
is_stw = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.writer.template"')
is_sxg = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.writer.global"')
is_sxi = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.impress"')
is_sti = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.impress.template"')
is_sxd = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.draw"')
is_std = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.draw.template"')
is_sxm = partial(_has_old_office_class, kind=b'"application/vnd.sun.xml.math"')


def is_illustrator(source: Source) -> bool:
    """A PDF or PostScript that Illustrator made for itself, by its name or its first lines."""
    name = source.name.lower()
    if name.endswith((".eps", ".epsf", ".epsi", ".ps")):  # it says that it is for others too
        return False
    return name.endswith((".ai", ".ait")) or (
        b"%AI5_FileFormat" in source.head or b"%%Creator: Adobe Illustrator" in source.head[:2000]
    )


def _has_ole_part(source: Source, *, path: str) -> bool:
    """Whether a stream is at its place, not within something that is embedded."""
    from kernel_startup.loaders.ole import OleFile

    with source.open() as file:
        return path in OleFile(file)


is_doc = partial(_has_ole_part, path="WordDocument")
is_ppt = partial(_has_ole_part, path="PowerPoint Document")
is_msg = partial(_has_ole_part, path="__properties_version1.0")


def _has_ole_class(source: Source, *, class_id: str) -> bool:
    from uuid import UUID

    from kernel_startup.loaders.ole import OleFile

    with source.open() as file:
        return OleFile(file).class_ids.get("") == UUID(class_id).bytes_le


is_msi = partial(_has_ole_class, class_id="000c1084-0000-0000-c000-000000000046")
is_msp = partial(_has_ole_class, class_id="000c1086-0000-0000-c000-000000000046")
is_mst = partial(_has_ole_class, class_id="000c1082-0000-0000-c000-000000000046")
is_publisher = partial(_has_ole_class, class_id="00021201-0000-0000-00c0-000000000046")


def is_project(source: Source) -> bool:
    """A Microsoft Project file: its class is named in words."""
    from kernel_startup.loaders.ole import OleFile

    with source.open() as file:
        return b"MSProject" in OleFile(file).read("\x01CompObj")


# -- ASN.1: certificates and keys ----------------------------------------------------------------


def _der(content: bytes, place: int = 0) -> tuple[int, int, int]:
    """An element's tag, and where its content begins and ends; the end is -1 if it isn't said."""
    tag, size = content[place], content[place + 1]
    place += 2
    if size < 0x80:
        return tag, place, place + size
    if size == 0x80:
        return tag, place, -1
    count = size & 0x7F
    if count > 8:
        raise ValueError("no size of ASN.1")
    return tag, place + count, place + count + int.from_bytes(content[place : place + count], "big")


def _is_one_sequence(source: Source) -> bool:
    head = source.head
    tag, _, end = _der(head)
    if tag != 0x30:
        return False
    # A line end may come after it; a size of its own it has to have.
    return end == -1 or source.compression is not None or 0 <= source.size_bytes - end <= 4


def _inner(content: bytes) -> list[tuple[int, int, int]]:
    """The first elements of the outermost sequence."""
    _, place, end = _der(content)
    found: list[tuple[int, int, int]] = []
    while len(found) < 6 and place < (len(content) if end == -1 else min(end, len(content))):
        tag, start, stop = _der(content, place)
        found.append((tag, start, stop))
        if stop < 0:
            break
        place = stop
    return found


_SIGNED_DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"
#: Compressed and timestamped data, of RFC 3274 and RFC 5544.
_CMS_KINDS = tuple(
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01" + kind for kind in (b"\x09", b"\x1f")
)


def is_pkcs7(source: Source) -> bool:
    """A message that is signed, encrypted, compressed or timestamped: its identifier begins it."""
    _, place, _ = _der(source.head)
    kinds = (_SIGNED_DATA, *_CMS_KINDS)
    return _is_one_sequence(source) and source.head.startswith(kinds, place)


def is_provisioning(source: Source) -> bool:
    """Apple's list of what an app may do, signed."""
    return is_pkcs7(source) and b"<!DOCTYPE plist" in source.head


def is_pkcs12(source: Source) -> bool:
    """Version 3, then a PKCS #7 message."""
    _, place, _ = _der(source.head)
    if not _is_one_sequence(source) or source.head[place : place + 3] != b"\2\1\3":
        return False
    tag, start, _ = _der(source.head, place + 3)
    return tag == 0x30 and source.head.startswith(_SIGNED_DATA, start)


def is_der(source: Source) -> bool:
    """A certificate, a request, a revocation list or a key, as bytes."""
    head = source.head
    if not _is_one_sequence(source):
        return False
    parts = [tag for tag, _, _ in _inner(head)]
    if parts in ([0x30, 0x30, 0x03], [0x30, 0x03], [0x30, 0x04]):
        return True  # signed; a public key; an encrypted private key
    # A version, then a private key: PKCS #8, PKCS #1, SEC 1.
    return parts[:1] == [0x02] and (
        parts[1:3] == [0x30, 0x04] or parts[1:6] == [0x02] * 5 or (parts[1:3] == [0x04, 0xA0])
    )


# -- programs ------------------------------------------------------------------------------------


def is_java_class(source: Source) -> bool:
    """Java's magic is that of a universal Mach-O file, whose count of parts is no Java version."""
    return int.from_bytes(source.head[6:8], "big") >= 43


def is_universal(source: Source) -> bool:
    """A Mach-O file for several processors."""
    return 0 < int.from_bytes(source.head[4:8], "big") < 43


def is_dos_program(source: Source) -> bool:
    """A program for DOS: "MZ", and sizes that make sense."""
    head = source.head
    if len(head) < 28 or _new_header(head) in (b"PE", b"NE", b"LE", b"LX"):
        return False
    last, pages = int.from_bytes(head[2:4], "little"), int.from_bytes(head[4:6], "little")
    return last < 512 and pages > 0 and (pages - 1) * 512 <= source.size_bytes


def is_windows_program(source: Source) -> bool:
    """A program or a library for Windows."""
    return _new_header(source.head) in (b"PE", b"NE", b"LE", b"LX") and not is_windows_font(source)


def is_windows_font(source: Source) -> bool:
    """A library that holds nothing but bitmap fonts."""
    return _new_header(source.head) == b"NE" and (
        source.name.lower().endswith(".fon") or b"FONTRES" in source.head
    )


def _new_header(head: bytes) -> bytes:
    place = int.from_bytes(head[60:64], "little")
    return head[place : place + 2] if head.startswith(b"MZ") and len(head) >= 64 else b""


def is_pyc(source: Source) -> bool:
    """Compiled Python 3: a version, a line end, flags, and a code object."""
    head = source.head
    version = int.from_bytes(head[:2], "little")
    if head[2:4] != b"\r\n":
        return False
    offset = 16 if 3390 <= version < 4000 else 12 if 3000 <= version < 3390 else 8
    return 3000 <= version < 4000 and head[offset : offset + 1] == b"\xe3"


def is_minix_of_outlook(source: Source) -> bool:
    """A store of Outlook's; which of the two is told by the client's mark."""
    return source.head[8:10] == b"SM"


def is_offline_store(source: Source) -> bool:
    """A store that Outlook keeps of a server's."""
    return source.head[8:10] == b"OS"


# -- e-mail --------------------------------------------------------------------------------------

_HEADER_LINE = re.compile(
    rb"([!-9;-~]{1,76}):[ \t]?[^\r\n]{0,2000}\r?\n(?>(?:[ \t][^\r\n]{0,2000}\r?\n)*)"
)
_MAIL_FIELDS = frozenset(
    b"from to subject date message-id received return-path mime-version reply-to cc delivered-to "
    b"content-type dkim-signature sender".split()
)
_SURE_FIELDS = frozenset(b"received message-id return-path mime-version delivered-to".split())


def _mail_fields(head: bytes) -> dict[bytes, bytes]:
    place = 0
    found: dict[bytes, bytes] = {}
    head = head[:32_768].lstrip()
    while len(found) < 60 and (line := _HEADER_LINE.match(head, place)):
        found.setdefault(line.group(1).lower(), line.group(0))
        place = line.end()
    return found


def is_mail(source: Source) -> bool:
    """A message: it begins with header fields, three of which every message has."""
    head = source.head
    if head.startswith(b"From ") and source.name.lower().endswith((".eml", ".email")):
        head = head.partition(b"\n")[2]  # one that was taken out of a mailbox
    fields = _mail_fields(head)
    known = _MAIL_FIELDS.intersection(fields)
    return (len(known) >= 3 and not _SURE_FIELDS.isdisjoint(known)) or (
        len(known) >= 4 and b"from" in known
    )


def is_web_archive(source: Source) -> bool:
    """A page with its pictures, saved by a browser as one message."""
    fields = _mail_fields(source.head)
    if b"multipart/related" not in fields.get(b"content-type", b"").lower():
        return False
    said = fields.get(b"from", b"").lower()
    return (
        b"saved by" in said
        or b"snapshot-content-location" in fields
        or source.name.lower().endswith((".mht", ".mhtml"))
        or (b"from" not in fields and b"received" not in fields)
    )
