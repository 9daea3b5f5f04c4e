"""Documents, e-books, e-mail, fonts, captures, certificates and system files."""

import io
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from tests.formats.uploads import Made

WORDS = "Quarterly report"


def has_words(document: Any) -> None:
    assert WORDS in document.text, document.text


def has_facts(**expected: object) -> Callable[[Any], None]:
    def check(info: Any) -> None:
        for name, value in expected.items():
            assert info.facts[name.replace("_", " ")] == value, info.facts

    return check


def is_named(info: Any) -> None:
    assert info.title and info.size_bytes


def zipped(members: dict[str, bytes | str], stored: str = "") -> bytes:
    """A zip of these members, one of them first and uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(
                name, content, zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()


# -- PDF, Office, OpenDocument -------------------------------------------------------------------


def pdf(creator: str = "hand") -> bytes:
    content = f"BT /F1 24 Tf 72 700 Td ({WORDS}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title (A title) /Creator (%s) >>" % creator.encode(),
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(out)


def is_pdf(document: Any) -> None:
    assert len(document.pages) == 1
    assert WORDS in document.pages[0].text
    assert document.metadata["Title"] == "A title"
    assert document.render(page=1, dpi=36).size == (306, 396)


def docx(kind: str = "wordprocessingml.document.main", *, ms: bool = False) -> bytes:
    import docx as python_docx

    document = python_docx.Document()
    document.add_heading(WORDS)
    document.add_paragraph("All is well.")
    table = document.add_table(rows=2, cols=2)
    for row, values in enumerate((("city", "people"), ("Oslo", "7"))):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    buffer = io.BytesIO()
    document.save(buffer)
    return retyped(
        buffer.getvalue(),
        b"openxmlformats-officedocument.wordprocessingml.document.main",
        kind,
        ms=ms,
    )


def pptx(kind: str = "presentationml.presentation.main", *, ms: bool = False) -> bytes:
    import pptx as python_pptx

    presentation = python_pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[0])
    slide.shapes.title.text = WORDS
    slide.notes_slide.notes_text_frame.text = "Smile"
    buffer = io.BytesIO()
    presentation.save(buffer)
    return retyped(
        buffer.getvalue(),
        b"openxmlformats-officedocument.presentationml.presentation.main",
        kind,
        ms=ms,
    )


def retyped(content: bytes, old: bytes, kind: str, *, ms: bool) -> bytes:
    """The same file with its main part called something else."""
    new = (b"ms-" if ms else b"openxmlformats-officedocument.") + kind.encode()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    types = members["[Content_Types].xml"]
    assert old in types
    members["[Content_Types].xml"] = types.replace(old, new)
    return zipped(dict(members))


def is_docx(document: Any) -> None:
    assert document.paragraphs[0].text == WORDS
    assert document.text.splitlines()[-1] == "Oslo\t7"
    assert document.frames[0].to_dict("records") == [{"city": "Oslo", "people": "7"}]


def is_pptx(presentation: Any) -> None:
    assert len(presentation.slides) == 1
    assert presentation.text == WORDS
    assert presentation.notes == ["Smile"]


ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)
ODF_BODY = (
    "<office:body><office:{kind}>{start}<text:h>Quarterly<text:s/>report</text:h>"
    "<table:table><table:table-row><table:table-cell><text:p>city</text:p></table:table-cell>"
    "<table:table-cell><text:p>people</text:p></table:table-cell></table:table-row>"
    "<table:table-row><table:table-cell><text:p>Oslo</text:p></table:table-cell>"
    "<table:table-cell><text:p>7</text:p></table:table-cell></table:table-row></table:table>"
    "{end}</office:{kind}></office:body>"
)


def odf_body(kind: str) -> str:
    page = kind != "text"
    return ODF_BODY.format(
        kind=kind,
        start='<draw:page draw:name="one">' if page else "",
        end="</draw:page>" if page else "",
    )


def odf(mime: str, kind: str) -> bytes:
    content = f"<office:document-content {ODF}>{odf_body(kind)}</office:document-content>"
    return zipped(
        {"mimetype": f"application/vnd.oasis.opendocument.{mime}", "content.xml": content},
        stored="mimetype",
    )


def flat_odf(mime: str, kind: str) -> bytes:
    return (
        f'<?xml version="1.0"?><office:document {ODF} '
        f'office:mimetype="application/vnd.oasis.opendocument.{mime}">{odf_body(kind)}'
        "</office:document>"
    ).encode()


def is_odf(document: Any) -> None:
    assert document.text.startswith(WORDS)
    assert "Oslo\t7" in document.text
    assert document.tables[0].to_dict("records") == [{"city": "Oslo", "people": "7"}]


def sun(kind: str) -> bytes:
    content = (
        '<office:document-content xmlns:office="http://openoffice.org/2000/office" '
        'xmlns:text="http://openoffice.org/2000/text"><office:body>'
        f"<text:p>{WORDS}</text:p></office:body></office:document-content>"
    )
    manifest = (
        '<manifest:manifest xmlns:manifest="http://openoffice.org/2001/manifest">'
        f'<manifest:file-entry manifest:media-type="application/vnd.sun.xml.{kind}" '
        'manifest:full-path="/"/></manifest:manifest>'
    )
    return zipped({"content.xml": content, "META-INF/manifest.xml": manifest})


# -- OLE: Word, PowerPoint, Outlook --------------------------------------------------------------


def ole(streams: dict[str, bytes], class_id: bytes = bytes(16)) -> bytes:
    """A compound file with these streams; a path makes storages."""
    sector = 512
    entries: list[tuple[str, int, bytes]] = [("Root Entry", 5, b"")]  # name, kind, content
    children: dict[int, list[int]] = {0: []}
    storages: dict[str, int] = {"": 0}
    for path, content in streams.items():
        folder, _, name = path.rpartition("/")
        if folder not in storages:
            storages[folder] = len(entries)
            children[0].append(len(entries))
            children[len(entries)] = []
            entries.append((folder, 1, b""))
        children[storages[folder]].append(len(entries))
        entries.append((name, 2, content.ljust(4096, b"\0")))  # none in the mini stream
    fat: list[int] = []
    body = bytearray()

    def add(content: bytes) -> int:
        start = len(fat)
        count = max(-(-len(content) // sector), 1)
        fat.extend([*range(start + 1, start + count), 0xFFFFFFFE])
        body.extend(content.ljust(count * sector, b"\0"))
        return start

    starts = [add(content) if kind == 2 else 0xFFFFFFFE for _, kind, content in entries]
    following = {a: b for kids in children.values() for a, b in pairwise(kids)}
    directory = bytearray()
    for number, (name, kind, content) in enumerate(entries):
        raw = name.encode("utf-16-le") + b"\0\0"
        kids = children.get(number, [])
        directory += raw.ljust(64, b"\0") + struct.pack("<HBB", len(raw), kind, 1)
        directory += struct.pack(
            "<III", 0xFFFFFFFF, following.get(number, 0xFFFFFFFF), kids[0] if kids else 0xFFFFFFFF
        )
        directory += (class_id if number == 0 else bytes(16)) + bytes(4 + 16)
        directory += struct.pack("<IQ", starts[number], len(content))
    first_directory = add(bytes(directory))
    fat_sectors = -(-(len(fat) + 8) * 4 // sector)
    places = list(range(len(fat), len(fat) + fat_sectors))
    fat += [0xFFFFFFFD] * fat_sectors
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_sectors * sector, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, fat_sectors, first_directory, 0, 4096, 0xFFFFFFFE, 0,
                          0xFFFFFFFE, 0)  # fmt: skip
    header += struct.pack("<109I", *places, *[0xFFFFFFFF] * (109 - len(places)))
    return header + bytes(body) + table


def doc() -> bytes:
    """Word 97: one piece in Windows' encoding, one in UTF-16, a field and a table between them."""
    first = f"{WORDS}\r\x13 PAGE \x14seven\x15\r".encode("cp1252")
    second = "Größe\x07ελλ\x07\x07"
    main = bytearray(2048)
    struct.pack_into("<HH", main, 0, 0xA5EC, 193)
    struct.pack_into("<H", main, 10, 0x0200)
    main[1024 : 1024 + len(first)] = first
    wide = second.encode("utf-16-le")
    main[1536 : 1536 + len(wide)] = wide
    bounds = (0, len(first), len(first) + len(second))
    pieces = struct.pack("<3I", *bounds)
    pieces += struct.pack("<HIH", 0, 1024 * 2 | 0x40000000, 0) + struct.pack("<HIH", 0, 1536, 0)
    clx = b"\x02" + struct.pack("<I", len(pieces)) + pieces
    struct.pack_into("<II", main, 0x01A2, 0, len(clx))
    return ole({"WordDocument": bytes(main), "1Table": clx})


def is_doc(document: Any) -> None:
    assert document.text == f"{WORDS}\nseven\nGröße\tελλ"


def record(kind: int, content: bytes, *, instance: int = 0, container: bool = False) -> bytes:
    start = instance << 4 | (0xF if container else 0)
    return struct.pack("<HHI", start, kind, len(content)) + content


def ppt() -> bytes:
    title = record(4000, WORDS.encode("utf-16-le"))
    listed = record(4080, record(1011, bytes(20)) + title, container=True)
    drawn = record(1006, record(4008, b"in a box"), container=True)
    return ole({"PowerPoint Document": record(1000, listed, container=True) + drawn})


def is_ppt(document: Any) -> None:
    assert document.slides == [f"{WORDS}\nin a box"]


def msg() -> bytes:
    return ole(
        {
            "__properties_version1.0": bytes(32),
            "__substg1.0_0037001F": "Größe".encode("utf-16-le"),
            "__substg1.0_1000001F": WORDS.encode("utf-16-le"),
            "__substg1.0_0C1A001F": "Ada".encode("utf-16-le"),
            "__substg1.0_0C1F001F": "ada@example.org".encode("utf-16-le"),
            "__attach_version1.0_#00000000/__substg1.0_3707001F": "a.txt".encode("utf-16-le"),
            "__attach_version1.0_#00000000/__substg1.0_37010102": b"attached",
        }
    )


def is_msg(message: Any) -> None:
    # The writer fills streams up.
    assert message["subject"].startswith("Größe")
    assert WORDS in message.text
    assert next(iter(message.attachments.values())).startswith(b"attached")


def hwp() -> bytes:
    import zlib

    text = struct.pack("<I", 67 | 2 * len(WORDS) << 20) + WORDS.encode("utf-16-le")
    packer = zlib.compressobj(wbits=-15)
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000000, 1)
    return ole(
        {
            "FileHeader": header,
            "DocInfo": b"",
            "BodyText/Section0": packer.compress(text) + packer.flush(),
        }
    )


def word2() -> bytes:
    header = bytearray(512)
    header[:4] = b"\xdb\xa5\x2d\0"
    struct.pack_into("<II", header, 0x18, 512, 512 + len(WORDS))
    return bytes(header) + WORDS.encode()


def wordperfect() -> bytes:
    text = b"Quarterly\x80report\xcc"
    return b"\xffWPC" + struct.pack("<I", 16) + b"\x01\x0a\x02\x01" + bytes(4) + text


RTF = (
    rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0 Arial;}{\info{\title A title}}\f0 Quarterly report\par "
    rb"Gr\'f6\'dfe}"
)


def is_rtf(document: Any) -> None:
    assert document.text.splitlines() == [WORDS, "Größe"]


# -- e-books and other zips ----------------------------------------------------------------------

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
)
OPF = (
    '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A title</dc:title></metadata>'
    '<manifest><item id="b" href="b.xhtml"/><item id="a" href="a%20a.xhtml"/></manifest>'
    '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
)


def epub(mime: str = "application/epub+zip") -> bytes:
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'
    return zipped(
        {
            "mimetype": mime,
            "META-INF/container.xml": CONTAINER,
            "OPS/book.opf": OPF,
            "OPS/b.xhtml": page.format("<p>The end.</p>"),
            "OPS/a a.xhtml": page.format(f"<h1>{WORDS}</h1>"),
        },
        stored="mimetype",
    )


def is_epub(book: Any) -> None:
    assert book.chapters == [WORDS, "The end."]
    assert book.metadata["title"] == "A title"


FB2 = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"><description><title-info>'
    "<author><first-name>Ada</first-name><last-name>L</last-name></author>"
    "<book-title>A title</book-title></title-info></description><body><section>"
    f"<title><p>{WORDS}</p></title><p>One.</p></section></body></FictionBook>"
).encode()


def is_fb2(book: Any) -> None:
    assert book.chapters == [f"{WORDS}\n\nOne."]
    assert book.metadata["author"] == "Ada L"


def palm(kind: bytes, records: list[bytes]) -> bytes:
    head = b"book".ljust(60, b"\0") + kind + bytes(8) + struct.pack(">H", len(records))
    place = len(head) + 8 * len(records)
    table = b""
    for content in records:
        table += struct.pack(">II", place, 0)
        place += len(content)
    return head + table + b"".join(records)


def palmdoc() -> bytes:
    # "report report": the second one is a reference seven bytes back.
    packed = b"Quarterly\xf2eport" + bytes([0x80 | (7 << 3 | 4) >> 8, (7 << 3 | 4) & 0xFF])
    return palm(b"TEXtREAd", [struct.pack(">HHIHHI", 2, 0, 23, 1, 4096, 0), packed])


def mobi() -> bytes:
    text = f"<html><body><p>{WORDS}</p><mbp:pagebreak/><p>The end.</p></body></html>".encode()
    header = struct.pack(">HHIHHHH", 1, 0, len(text), 1, 4096, 0, 0)
    header += b"MOBI" + struct.pack(">III", 232, 2, 65001)
    header = header.ljust(84, b"\0") + struct.pack(">II", 248, 7)
    header = header.ljust(248, b"\0") + b"A title"
    return palm(b"BOOKMOBI", [header, text])


def is_mobi(book: Any) -> None:
    assert book.chapters == [WORDS, "The end."]
    assert book.metadata["title"] == "A title"


def xps() -> bytes:
    page = (
        '<FixedPage xmlns="http://schemas.microsoft.com/xps/2005/06">'
        f'<Glyphs OriginY="10" UnicodeString="{WORDS}"/></FixedPage>'
    )
    return zipped({"FixedDocumentSequence.fdseq": "<x/>", "Documents/1/Pages/1.fpage": page})


def vsdx() -> bytes:
    page = (
        '<PageContents xmlns="http://schemas.microsoft.com/office/visio/2012/main"><Shapes>'
        f"<Shape><Text>{WORDS}</Text></Shape></Shapes></PageContents>"
    )
    return zipped({"visio/document.xml": "<x/>", "visio/pages/page1.xml": page})


def hwpx() -> bytes:
    section = (
        '<hs:sec xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section" '
        'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph">'
        f"<hp:p><hp:run><hp:t>{WORDS}</hp:t></hp:run></hp:p></hs:sec>"
    )
    return zipped({"Contents/content.hpf": "<x/>", "Contents/section0.xml": section})


def idml() -> bytes:
    story = f"<Story><Content>{WORDS}</Content></Story>"
    return zipped({"designmap.xml": "<x/>", "Stories/Story_u1.xml": story})


def djvu() -> bytes:
    page = b"DJVUINFO" + struct.pack(">I", 10) + struct.pack(">HH", 640, 480) + bytes(6)
    return b"AT&TFORM" + struct.pack(">I", len(page)) + page


# -- e-mail, calendars, cards --------------------------------------------------------------------


def eml() -> bytes:
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "bob@example.org"
    message["Subject"] = "Größe"
    message["Date"] = "Mon, 01 Jan 2024 10:00:00 +0000"
    message["Message-ID"] = "<1@example.org>"
    message.set_content(f"{WORDS}\n")
    message.add_attachment(b"attached", maintype="application", subtype="pdf", filename="a.pdf")
    return message.as_bytes()


def is_eml(message: Any) -> None:
    assert message["subject"] == "Größe"
    assert WORDS in message.text
    assert message.attachments == {"a.pdf": b"attached"}


def mbox() -> bytes:
    start = b"From ada@example.org Mon Jan  1 10:00:00 2024\n"
    return (start + eml() + b"\n") * 2


def is_mbox(box: Any) -> None:
    assert len(box) == 2
    is_eml(box[1])
    assert box.table["subject"].tolist() == ["Größe"] * 2


def emlx() -> bytes:
    content = eml()
    return b"%d\n%s<?xml version='1.0'?><plist></plist>" % (len(content), content)


def mht() -> bytes:
    return (
        b"From: <Saved by Blink>\nSnapshot-Content-Location: http://example.org/\nSubject: x\n"
        b'MIME-Version: 1.0\nContent-Type: multipart/related; type="text/html"; boundary="b"\n\n'
        b"--b\nContent-Type: text/html; charset=utf-8\n\n<p>Quarterly <b>report</b></p>\n--b--\n"
    )


def tnef() -> bytes:
    def attribute(level: int, number: int, value: bytes) -> bytes:
        return struct.pack("<BII", level, number, len(value)) + value + bytes(2)

    return (
        struct.pack("<IH", 0x223E9F78, 1)
        + attribute(1, 0x00018004, b"A subject\0")
        + attribute(1, 0x0002800C, WORDS.encode())
        + attribute(2, 0x00069002, bytes(14))
        + attribute(2, 0x00018010, b"a.txt\0")
        + attribute(2, 0x0006800F, b"attached")
    )


def is_tnef(message: Any) -> None:
    assert message["subject"] == "A subject"
    assert WORDS in message.text
    assert message.attachments == {"a.txt": b"attached"}


ICS = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VEVENT\r
SUMMARY:Stand-up\\, with\r
  cake\r
DTSTART;TZID=Europe/Oslo:20240601T090000\r
DTEND:20240601T080000Z\r
ATTENDEE;CN="Lovelace, Ada":mailto:ada@example.org\r
BEGIN:VALARM\r
DESCRIPTION:not this\r
END:VALARM\r
END:VEVENT\r
BEGIN:VEVENT\r
SUMMARY:Plain\r
DTSTART:20240602T090000Z\r
END:VEVENT\r
END:VCALENDAR\r
"""


def is_ics(table: Any) -> None:
    assert table["summary"].tolist() == ["Stand-up, with cake", "Plain"]
    assert str(table["start"][0]) == "2024-06-01 07:00:00+00:00"
    assert table["attendees"][0] == "Lovelace, Ada"


VCS = (
    b"BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nDTSTART:20240601T090000\r\n"
    b"SUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Gr=C3=B6=\r\n=C3=9Fe\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n"
)


def is_vcs(table: Any) -> None:
    assert table["summary"].tolist() == ["Größe"]


VCARD = (
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nN:Lovelace;Ada;;Lady;\r\nFN:Ada Lovelace\r\n"
    b"item1.TEL;TYPE=HOME:+44 1\r\nTEL;TYPE=WORK:+44 2\r\nORG:Engines;Analysis\r\nEND:VCARD\r\n"
    b"BEGIN:VCARD\r\nVERSION:2.1\r\nN:Hopper;Grace\r\nEND:VCARD\r\n"
)


def is_vcard(table: Any) -> None:
    assert table["name"].tolist() == ["Ada Lovelace", "Grace Hopper"]
    assert table["phone"][0] == "+44 1; +44 2"


LDIF = b"version: 1\n\ndn: cn=Ada,dc=example\ncn: Ada\nsn:: TG92ZWxhY2U=\n\ndn: cn=Bob\ncn: Bob\n"


def is_ldif(table: Any) -> None:
    assert table["cn"].tolist() == ["Ada", "Bob"]
    assert table["sn"][0] == "Lovelace"


# -- fonts ---------------------------------------------------------------------------------------


def font(flavor: str | None = None, *, cff: bool = False) -> bytes:
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.t2CharStringPen import T2CharStringPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    builder = FontBuilder(1000, isTTF=not cff)
    builder.setupGlyphOrder([".notdef", "A"])
    builder.setupCharacterMap({65: "A"})
    if cff:
        shape = T2CharStringPen(500, None).getCharString()
        builder.setupCFF("Cell", {}, {".notdef": shape, "A": shape}, {})
    else:
        builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "A": TTGlyphPen(None).glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "A": (500, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cell", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.font.flavor = flavor
    buffer = io.BytesIO()
    builder.save(buffer)
    return buffer.getvalue()


def is_font(opened: Any) -> None:
    assert opened["name"].getDebugName(1) == "Cell"
    assert opened.getBestCmap() == {65: "A"}


def collection() -> bytes:
    from fontTools.ttLib import TTCollection, TTFont

    fonts = TTCollection()
    fonts.fonts = [TTFont(io.BytesIO(font())), TTFont(io.BytesIO(font()))]
    buffer = io.BytesIO()
    fonts.save(buffer)
    return buffer.getvalue()


def is_collection(opened: Any) -> None:
    assert len(opened.fonts) == 2


AFM = (
    b"StartFontMetrics 4.1\nFontName Cell\nStartCharMetrics 1\n"
    b"C 65 ; WX 500 ; N A ; B 0 0 400 700 ;\nEndCharMetrics\nEndFontMetrics\n"
)


def is_afm(table: Any) -> None:
    assert table["width"].tolist() == [500]
    assert table.attrs["FontName"] == "Cell"


# -- captures and web archives -------------------------------------------------------------------

PACKET = bytes.fromhex(
    "ffffffffffff0200000000010800"  # Ethernet
    "4500002800004000400600000a0000010a000002"  # IPv4
    "1f9000500000000000000000500200000000"  # TCP, SYN
    "0000"
)


def pcap(order: str = "<") -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    packet = struct.pack(f"{order}IIII", 1_700_000_000, 500_000, len(PACKET), 60) + PACKET
    return head + packet * 3


def pcapng() -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body = body.ljust(-(-len(body) // 4) * 4, b"\0")
        size = len(body) + 12
        return struct.pack("<II", kind, size) + body + struct.pack("<I", size)

    micros = 1_700_000_000_500_000
    packet = struct.pack("<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, len(PACKET), 60) + PACKET
    return (
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack("<HHI", 1, 0, 0))
        + block(6, packet) * 3
    )


def snoop() -> bytes:
    head = b"snoop\0\0\0" + struct.pack(">II", 2, 4)
    size = len(PACKET)
    packet = struct.pack(">6I", 60, size, size + 24, 0, 1_700_000_000, 500_000) + PACKET
    return head + packet * 3


def is_capture(table: Any) -> None:
    assert len(table) == 3
    row = table.iloc[0]
    assert str(row["time"]) == "2023-11-14 22:13:20.500000"
    assert row["length"] == 60
    assert (row["protocol"], row["src"], row["src_port"]) == ("TCP", "10.0.0.1", 8080)
    assert (row["dst"], row["dst_port"], row["info"]) == ("10.0.0.2", 80, "SYN")


def warc() -> bytes:
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>hello</p>"
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/\r\n"
        "WARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: application/http;msgtype=response\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    return (head + body + b"\r\n\r\n") * 2


def is_warc(table: Any) -> None:
    assert table["url"].tolist() == ["http://example.org/"] * 2
    assert table["status"].tolist() == [200, 200]
    assert table["payload"][1] == b"<p>hello</p>"


def web_arc() -> bytes:
    start = b"filedesc://x.arc 0.0.0.0 20240101000000 text/plain 4\n1 0\n\n"
    body = b"HTTP/1.1 404 Not Found\nContent-Type: text/html\n\nno"
    return start + b"http://example.org/ 1.2.3.4 20240101000000 text/html %d\n%s\n" % (
        len(body),
        body,
    )


def is_web_arc(table: Any) -> None:
    assert len(table) == 2
    assert table["status"][1] == 404
    assert table["ip"][1] == "1.2.3.4"


SSH = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx7S4Sg2xQ0s8m6o0y0nUe0r8nZp3m5m0q7w3l0b2aA ada@home\n"


def is_ssh(table: Any) -> None:
    assert table["type"].tolist() == ["ssh-ed25519"]
    assert table["comment"].tolist() == ["ada@home"]


# -- system --------------------------------------------------------------------------------------


def exe() -> bytes:
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 3, 0, 0, 0, 240, 0x2022)
    return (
        head + coff + struct.pack("<H", 0x20B).ljust(68, b"\0") + struct.pack("<H", 3) + bytes(300)
    )


def elf() -> bytes:
    return b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHI", 3, 183, 1) + bytes(40)


def pyc() -> bytes:
    import importlib.util
    import marshal

    code = compile("x = 1", "x.py", "exec")
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def lnk() -> bytes:
    head = b"L\0\0\0\1\x14\2\0\0\0\0\0\xc0\0\0\0\0\0\0F" + struct.pack("<I", 0x80 | 0x08)
    name = "..\\report.docx"
    return head.ljust(76, b"\0") + struct.pack("<H", len(name)) + name.encode("utf-16-le")


def git_index() -> bytes:
    path = b"src/a.py"
    entry = struct.pack(">10I", 0, 0, 0, 0, 0, 0, 0o100644, 0, 0, 12) + bytes(20)
    entry += struct.pack(">H", len(path)) + path
    entry = entry.ljust((len(entry) // 8 + 1) * 8, b"\0")
    return b"DIRC" + struct.pack(">II", 2, 1) + entry + bytes(20)


def is_git_index(table: Any) -> None:
    assert table.to_dict("records")[0]["path"] == "src/a.py"
    assert table["size"].tolist() == [12]


def is_url(content: Any) -> None:
    assert content["URL"] == "https://example.org/"


MADE = (
    Made("pdf", "report.pdf", pdf, is_pdf),
    Made("ai", "drawing.ai", pdf, is_pdf, nameless=False),
    Made("docx", "report.docx", docx, is_docx),
    *(
        Made(name, f"report.{name}", partial(docx, kind, ms=ms), is_docx)
        for name, kind, ms in (
            ("docm", "word.document.macroEnabled.main", True),
            ("dotx", "wordprocessingml.template.main", False),
            ("dotm", "word.template.macroEnabledTemplate.main", True),
        )
    ),
    Made("pptx", "talk.pptx", pptx, is_pptx),
    *(
        Made(name, f"talk.{name}", partial(pptx, kind, ms=ms), is_pptx)
        for name, kind, ms in (
            ("pptm", "powerpoint.presentation.macroEnabled.main", True),
            ("ppsx", "presentationml.slideshow.main", False),
            ("ppsm", "powerpoint.slideshow.macroEnabled.main", True),
            ("potx", "presentationml.template.main", False),
            ("potm", "powerpoint.template.macroEnabled.main", True),
        )
    ),
    *(
        Made(name, f"report.{name}", partial(odf, mime, kind), is_odf)
        for name, mime, kind in (
            ("odt", "text", "text"),
            ("ott", "text-template", "text"),
            ("odp", "presentation", "presentation"),
            ("otp", "presentation-template", "presentation"),
            ("odg", "graphics", "drawing"),
            ("otg", "graphics-template", "drawing"),
        )
    ),
    *(
        Made(name, f"report.{name}", partial(flat_odf, mime, kind), is_odf)
        for name, mime, kind in (
            ("fodt", "text", "text"),
            ("fodp", "presentation", "presentation"),
            ("fodg", "graphics", "drawing"),
        )
    ),
    *(
        Made(name, f"report.{name}", partial(sun, kind), has_words)
        for name, kind in (("sxw", "writer"), ("sxi", "impress"), ("sxd", "draw"))
    ),
    Made("rtf", "report.rtf", lambda: RTF, is_rtf),
    Made("doc", "report.doc", doc, is_doc),
    Made("word-template", "report.dot", doc, is_doc, nameless=False),
    Made("word2", "old.doc", word2, has_words),
    Made("ppt", "talk.ppt", ppt, is_ppt),
    Made("pps", "talk.pps", ppt, is_ppt, nameless=False),
    Made("wpd", "report.wpd", wordperfect, has_words),
    Made("hwp", "report.hwp", hwp, has_words),
    Made("hwpx", "report.hwpx", hwpx, has_words),
    Made("xps", "report.xps", xps, has_words),
    Made("vsdx", "plan.vsdx", vsdx, has_words),
    Made("idml", "layout.idml", idml, has_words),
    Made("djvu", "scan.djvu", djvu, has_facts(pages=1, width=640, height=480)),
    Made("epub", "book.epub", epub, is_epub),
    Made("ibooks", "book.ibooks", partial(epub, "application/x-ibooks+zip"), is_epub),
    Made("fb2", "book.fb2", lambda: FB2, is_fb2),
    Made("fb2.zip", "book.fb2.zip", lambda: zipped({"book.fb2": FB2}), is_fb2),
    Made("mobi", "book.mobi", mobi, is_mobi),
    Made("azw3", "book.azw3", mobi, is_mobi, nameless=False),
    Made("palmdoc", "book.pdb", palmdoc, has_words),
    Made("eml", "mail.eml", eml, is_eml),
    Made("mbox", "mails.mbox", mbox, is_mbox),
    Made("emlx", "mail.emlx", emlx, is_eml),
    Made("mhtml", "page.mhtml", mht, has_words),
    Made("msg", "mail.msg", msg, is_msg),
    Made("tnef", "winmail.tnef", tnef, is_tnef),
    Made("ics", "team.ics", lambda: ICS, is_ics),
    Made("vcs", "team.vcs", lambda: VCS, is_vcs),
    Made("vcard", "people.vcf", lambda: VCARD, is_vcard),
    Made("ldif", "people.ldif", lambda: LDIF, is_ldif),
    Made("ttf", "cell.ttf", font, is_font),
    Made("otf", "cell.otf", partial(font, cff=True), is_font),
    Made("woff", "cell.woff", partial(font, "woff"), is_font),
    Made("woff2", "cell.woff2", partial(font, "woff2"), is_font),
    Made("ttc", "cell.ttc", collection, is_collection),
    Made("afm", "cell.afm", lambda: AFM, is_afm),
    Made("pcap", "net.pcap", pcap, is_capture),
    Made("pcap", "big.pcap", partial(pcap, ">"), is_capture),
    Made("pcapng", "net.pcapng", pcapng, is_capture),
    Made("snoop", "net.snoop", snoop, is_capture),
    Made("warc", "site.warc", warc, is_warc),
    Made("web-arc", "site.arc", web_arc, is_web_arc),
    Made("ssh-public-key", "id_ed25519.pub", lambda: SSH, is_ssh),
    Made("exe", "setup.exe", exe, has_facts(machine="x86-64", bits=64, kind="library")),
    Made("elf", "libx.so", elf, has_facts(machine="ARM64", kind="shared object")),
    Made("pyc", "x.pyc", pyc, is_named),
    Made(
        "class", "X.class", lambda: b"\xca\xfe\xba\xbe\0\0\0\x3d" + bytes(20), has_facts(java="17")
    ),
    Made("wasm", "x.wasm", lambda: b"\0asm\1\0\0\0\1\4\1`\0\0", has_facts(version=1)),
    Made("lnk", "report.lnk", lnk, has_facts(relative_path="..\\report.docx")),
    Made("url", "x.url", lambda: b"[InternetShortcut]\r\nURL=https://example.org/\r\n", is_url),
    Made("git-index", "git.index", git_index, is_git_index),
    Made("registry-hive", "x.hive", lambda: b"regf".ljust(4096, b"\0"), is_named),
    Made("evtx", "x.evtx", lambda: b"ElfFile\0".ljust(4096, b"\0"), is_named),
)
