# ruff: noqa: RUF001  (texts in many scripts are what is tested)
import bz2
import gzip
import lzma
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_startup.recognition import type_of_content
from kernel_startup.table import ROWS, USUAL
from kernel_startup.types import BY_EXTENSION, TYPES, UNKNOWN, safe_name, type_of_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sales.csv", "csv"),
        ("SALES.CSV", "csv"),
        (" sales.csv ", "csv"),
        ("sales.2024.csv", "csv"),
        ("sales.csv.gz", "csv"),
        ("events.jsonl.zst", "jsonl"),
        ("a.b/c.tsv", "tsv"),
        ("book.XLSX", "xlsx"),
        ("photo.jpeg", "jpeg"),
        ("notes.md", "markdown"),
        ("Makefile", "makefile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("LICENSE", "license"),
        ("csv", "unknown"),
        (".csv", "csv"),
        ("archive.gz", "gzip"),
        ("sales.csv.exe", "exe"),
        ("noextension", "unknown"),
        ("", "unknown"),
        ("...", "unknown"),
    ],
)
def test_name_tells_type(name: str, expected: str) -> None:
    assert type_of_name(name).name == expected


def test_extension_that_types_share_means_its_usual_type() -> None:
    assert len(TYPES) == len(ROWS) + 1  # and no two rows have the same name
    for extension, types in BY_EXTENSION.items():
        assert len(set(types)) == len(types), extension
        assert types[0].name == USUAL.get(extension, types[0].name)
    for file_type in TYPES.values():
        assert len(set(file_type.extensions)) == len(file_type.extensions), file_type.name


def test_types_are_written_as_they_are_looked_up() -> None:
    for name, file_type in TYPES.items():
        assert file_type.name == name == name.lower()
        assert all(e == e.lower() and not e.startswith(".") for e in file_type.extensions)
        assert "/" in file_type.mime_type
        assert (file_type.loader == "") == (file_type is UNKNOWN)


def test_importing_the_table_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import kernel_startup.types;"
        "print(*sorted(m.partition('.')[0] for m in set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_REPOSITORY
    )
    assert set(run.stdout.split()) - sys.stdlib_module_names == {"kernel_startup"}
    assert not set(run.stdout.split()) & {"zipfile", "lzma", "csv", "json"}


_REPOSITORY = Path(__file__).parents[2]

_names = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(codec=None), max_size=400),
    st.text(alphabet="a. /\\\0é\u202e\ud800CONcon", max_size=600),
    st.builds(
        lambda stem, n, end: stem * n + end,
        st.text(max_size=3),
        st.integers(0, 300),
        st.text(max_size=60),
    ),
)


@given(_names)
@example("CON" + " " * 300 + "x.csv")
@example("a" * 300 + ".csv.gz")
@example(" . . ")
@example("\u202e\u202e")
def test_safe_name_can_lie_in_a_directory(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set("/\0")
    assert 1 <= len(safe.encode()) <= 255  # no lone surrogates: they can't be encoded
    assert not any(unicodedata.category(character) == "Cc" for character in safe)
    assert not set(safe) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert safe.partition(".")[0].strip().lower() not in ("con", "nul", "com1", "lpt9")


@given(_names)
@example("0" * 84 + "\xa0" * 86 + "0")  # cutting it leaves blanks at the end
def test_safe_name_is_its_own_safe_name(name: str) -> None:
    assert safe_name(safe_name(name)) == safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "sales.csv",
        "Übersicht – 2024 (final).xlsx",
        "売上.csv",
        "👨\u200d👩\u200d👧.png",
        ".bashrc",
        "a b",
    ],
)
def test_safe_name_keeps_names_of_any_script(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\Users\\me\\sales.csv", "C:_Users_me_sales.csv"),
        ("a\0b\n.csv", "ab.csv"),
        ("\u202egpj.exe", "gpj.exe"),
        ("CON", "_CON"),
        ("nul.csv", "_nul.csv"),
        ("console.csv", "console.csv"),
        ("sales.csv.", "sales.csv"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("\n", "file"),
    ],
)
def test_safe_name_changes_what_is_dangerous(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize("character", ["a", "é", "売", "😀"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_safe_name_cuts_at_255_bytes_and_keeps_the_suffix(character: str, suffix: str) -> None:
    width = len(character.encode())
    room = (255 - len(suffix)) // width
    fits = character * room + suffix
    assert safe_name(fits) == fits
    assert safe_name(character + fits) == fits


# --- by content ---


def _content(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(content)
    return path


_TEXTS = {
    "csv": b"a,b,c\n1,2,3\n4,5,6\n",
    "tsv": b"a\tb\n1\t2\n3\t4\n",
    "json": b'{"a": [1, 2, {"b": null}]}',
    "jsonl": b'{"a": 1}\n{"a": 2}\n',
    "text": b"To whom it may concern,\n\nplease find attached what you asked for, at last\nYours\n",
}


@pytest.mark.parametrize("name", ["", "upload", "wrong.png", "wrong.parquet"])
@pytest.mark.parametrize("expected", _TEXTS)
def test_content_tells_text_types_without_a_useful_name(
    tmp_path: Path, expected: str, name: str
) -> None:
    assert type_of_content(_content(tmp_path, _TEXTS[expected]), name).name == expected


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"a,b\n1,2\n", "x.txt", "text"),  # the name refines
        (b"just one column\n1\n", "x.csv", "csv"),
        (b"a;b\n1;2\n", "x.csv", "csv"),
        (b'{"a": 1}', "x.csv", "json"),  # the content decides
        (b'{"a": 1}\n{"a": 2}', "x.json", "jsonl"),
        (b'{"a": 1', "x.json", "json"),  # damaged, as its loader will say
        (b"<!DOCTYPE html><html>a,b</html>", "x.csv", "html"),
        (b"\x89PNG\r\n\x1a\n....", "x.csv", "png"),
        (b"PAR1....PAR1", "x.txt", "parquet"),
        (b"BM is not always a bitmap", "x.txt", "text"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0", "x.csv", "elf"),
        (bytes(range(256)) * 10, "", "unknown"),
        (b"", "x.csv", "csv"),
        (b"", "", "unknown"),
        (b"[section]\nkey=value\n", "", "ini"),
    ],
)
def test_content_decides_and_name_refines(
    tmp_path: Path, content: bytes, name: str, expected: str
) -> None:
    assert type_of_content(_content(tmp_path, content), name).name == expected


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compression_is_looked_through(tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    assert type_of_content(_content(tmp_path, compress(_TEXTS["csv"])), "x").name == "csv"


def test_cut_off_compression_still_tells_the_type(tmp_path: Path) -> None:
    content = gzip.compress(_TEXTS["csv"] * 5_000)
    assert type_of_content(_content(tmp_path, content[:-20]), "x").name == "csv"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"xl/workbook.xml": b""}, "xlsx"),
        ({"xl/workbook.xml": b"", "xl/vbaProject.bin": b""}, "xlsm"),
        ({"xl/workbook.bin": b""}, "xlsb"),
        ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}, "ods"),
        ({"mimetype": b"application/vnd.oasis.opendocument.text"}, "odt"),
        ({"word/document.xml": b""}, "docx"),
        ({"anything": b""}, "zip"),
    ],
)
def test_zip_is_looked_into(tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert type_of_content(path, "lies.csv").name == expected
    cut = path.read_bytes()[:-10]
    path.write_bytes(cut)
    assert type_of_content(path, "book.xlsx").name == "xlsx"
    assert type_of_content(path, "book.csv").name == "zip"


def test_samples_keep_their_type_without_their_name(sample: Callable[[str], Path]) -> None:
    for name, expected in {
        "table/Plates.csv": "csv",
        "table/magika_test.tsv": "tsv",
        "structured/Plate.json": "json",
        "spreadsheet/testWPSAttachment.xls": "xls",
        "spreadsheet/testEXCEL_charts.xlsb": "xlsb",
        "spreadsheet/testEXCEL_macro.xlsm": "xlsm",
        "spreadsheet/testXLSX_Thumbnail.xlsx": "xlsx",
        "spreadsheet/testODSMacro.ods": "ods",
        "columnar/fixture.parquet": "parquet",
        "image/fixture.bmp": "bmp",
        "image/fixture.jpg": "jpeg",
        "image/fixture.webp": "webp",
        "image/ico.ico": "ico",
        "image/testGIF.gif": "gif",
        "image/testPNG.png": "png",
        "image/testTIFF.tif": "tiff",
    }.items():
        assert type_of_content(sample(name), "upload").name == expected, name
