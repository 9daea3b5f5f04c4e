"""What tells tables and spreadsheets from their likes."""

import re
import zipfile

from kernel_startup.source import Source

_MAX_CONTENT_TYPES_BYTES = 1_000_000


def is_excel_template(source: Source) -> bool:
    """Whether an Excel workbook says that it is a template."""
    return b"spreadsheetml.template.main+xml" in _content_types(source)


def is_excel_with_macros(source: Source) -> bool:
    """Whether an Excel workbook says that it has macros, or has some."""
    said = _content_types(source)
    if b"template.macroEnabled" in said or b"addin.macroEnabled" in said:
        return False
    if b"sheet.macroEnabled.main+xml" in said:
        return True
    with source.open() as file, zipfile.ZipFile(file) as archive:
        return "xl/vbaProject.bin" in archive.namelist()


def is_excel_template_with_macros(source: Source) -> bool:
    """Whether an Excel workbook says that it is a template with macros."""
    return b"template.macroEnabled.main+xml" in _content_types(source)


def is_excel_add_in(source: Source) -> bool:
    """Whether an Excel workbook says that it is an add-in."""
    return b"addin.macroEnabled.main+xml" in _content_types(source)


def _content_types(source: Source) -> bytes:
    with source.open() as file, zipfile.ZipFile(file) as archive:
        if "[Content_Types].xml" not in archive.namelist():
            return b""
        with archive.open("[Content_Types].xml") as member:
            return member.read(_MAX_CONTENT_TYPES_BYTES)


def is_numbers(source: Source) -> bool:
    """Whether a zip is an Apple Numbers document, which resembles those of Pages and Keynote."""
    with source.open() as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()[:10_000]
        if any(re.search(r"Index/Tables/|Index/CalculationEngine", name) for name in names):
            # Pages and Keynote hold tables too: their sheets are in these.
            others = ("Index/Slide", "Index/MasterSlide", "Index/Template", "Index/ThemeStyle")
            is_other = any(name.startswith(others) for name in names)
            by_name = source.name.lower()
            is_other = is_other or by_name.endswith((".pages", ".key"))
            return not is_other or by_name.endswith(".numbers")
        old = next((name for name in names if name in ("index.xml", "index.xml.gz")), None)
        if old is None:
            return False
        with archive.open(old) as member:
            start = member.read(64 * 1024)
    if start.startswith(b"\x1f\x8b"):
        import zlib

        start = zlib.decompressobj(31).decompress(start, 64 * 1024)
    return b"<ls:document" in start or b"http://developer.apple.com/namespaces/ls" in start[:4096]


def is_quattro(source: Source) -> bool:
    """Whether an OLE file of Corel's is a notebook; WordPerfect's are stored alike."""
    from kernel_startup.loaders.ole import OleFile

    with source.open() as file:
        return OleFile(file).read("PerfectOffice_MAIN")[:4] == b"\0\0\x02\0"
