import gzip
import traceback
from pathlib import Path

import pytest

from kernel_startup import files
from kernel_startup.errors import FileLoadError, FileNotKnown, FileWarning
from kernel_startup.files import Files, load_file, load_from

from .conftest import Uploads


def test_files_follow_the_directory(uploads: Uploads) -> None:
    assert not uploads.files
    first = uploads.add("sales.csv", "a,b\n1,2\n")
    assert list(uploads.files) == [first]
    second = uploads.add("notes.txt", "text")
    assert set(uploads.files) == {first, second}
    assert uploads.files[first] == str(uploads.root / first / "sales.csv")
    assert len(uploads.files) == 2
    (uploads.root / first / "sales.csv").unlink()
    (uploads.root / first).rmdir()
    assert list(uploads.files) == [second]
    assert first not in uploads.files


def test_files_without_their_directory_are_none(tmp_path: Path) -> None:
    assert dict(Files(tmp_path / "missing")) == {}
    assert repr(Files(tmp_path / "missing")) == "FILES: no files yet"


def test_a_directory_whose_file_is_still_to_come_is_no_file(uploads: Uploads) -> None:
    (uploads.root / "coming").mkdir()
    assert list(uploads.files) == []
    assert "coming" not in uploads.files


@pytest.mark.parametrize("file_id", ["", ".", "..", "../other", "f1/sales.csv", "a\0b", None, 5])
def test_only_an_id_is_an_id(uploads: Uploads, file_id: object) -> None:
    uploads.add("sales.csv", "a")
    assert file_id not in uploads.files
    with pytest.raises(FileNotKnown):
        uploads.files[file_id]  # type: ignore[index]


def test_files_cannot_be_assigned(uploads: Uploads) -> None:
    with pytest.raises(TypeError):
        uploads.files["x"] = "y"  # type: ignore[index]


def test_files_show_themselves_as_a_table(uploads: Uploads) -> None:
    uploads.add("sales.csv", "x" * 1_500)
    uploads.add("売上.txt", "text")
    assert repr(uploads.files).splitlines() == [
        "id  name       size",
        "f1  sales.csv  1.5 KiB",
        "f2  売上.txt     4 B",
    ]


def test_an_unknown_id_is_a_key_error_that_lists_what_there_is(uploads: Uploads) -> None:
    with pytest.raises(KeyError, match=r"(?s)no file has the id 'zz'.*no files yet"):
        uploads.files["zz"]
    uploads.add("sales.csv", "a")
    with pytest.raises(KeyError) as caught:
        uploads.files["zz"]
    assert "f1  sales.csv  1 B" in str(caught.value)
    assert "\\n" not in str(caught.value)


def test_a_name_will_do_if_it_is_the_only_one(uploads: Uploads) -> None:
    uploads.add("a.txt", "one")
    assert load_from(uploads.files, "a.txt") == ("one", [])
    uploads.add("a.txt", "two")
    with pytest.raises(FileNotKnown, match=r"2 files are called 'a\.txt'.*'f1', 'f2'"):
        load_from(uploads.files, "a.txt")


def test_a_path_will_do(uploads: Uploads) -> None:
    file_id = uploads.add("a.txt", "one")
    assert load_from(uploads.files, uploads.files[file_id])[0] == "one"
    assert load_from(uploads.files, Path(uploads.files[file_id]))[0] == "one"


@pytest.mark.parametrize("wrong", [0, None, 1.5, ["f1"], b"f1"])
def test_what_is_no_id_is_refused_with_the_list(uploads: Uploads, wrong: object) -> None:
    uploads.add("a.txt", "one")
    with pytest.raises(TypeError, match=r"(?s)takes a file's id \(a str\), not .*f1  a\.txt"):
        load_from(uploads.files, wrong)


def test_as_gives_the_content_in_other_forms(uploads: Uploads) -> None:
    content = gzip.compress("Zoë".encode("cp1252"))
    assert uploads.load("a.txt.gz", content, as_="bytes") == content
    assert uploads.load("a.txt.gz", content, as_="text") == "Zoë"
    assert uploads.load("a.txt.gz", content, as_="text", encoding="cp1251") == "Zoл"
    path = uploads.load("a.csv", "x", as_="path")
    assert isinstance(path, str)
    assert Path(path).read_text() == "x"
    with pytest.raises(TypeError, match='as_ is "auto", "text", "bytes" or "path"'):
        uploads.load("a.csv", "x", as_="table")
    with pytest.raises(TypeError, match="no option nrows="):
        uploads.load("a.csv", "x", as_="bytes", nrows=5)


def test_binary_content_is_not_text(uploads: Uploads) -> None:
    with pytest.raises(FileLoadError, match=r'binary, not text.*as_="bytes" gives'):
        uploads.load("a.txt", bytes(range(256)) * 4, as_="text")


def test_an_unknown_type_is_an_error_that_says_what_works(uploads: Uploads) -> None:
    with pytest.raises(FileLoadError) as caught:
        uploads.load("a.xyz", b"\x9d\x03\xfe\x91\x02\x01\0\0")
    assert caught.value.filename == "a.xyz"
    assert "isn't known: 8 bytes that begin with" in str(caught.value)
    assert 'as_="path"' in str(caught.value)
    assert 'as_="bytes"' in str(caught.value)


def test_cut_off_compression_is_an_error(uploads: Uploads) -> None:
    content = gzip.compress(b"some text, and more of it\n" * 100)[:-10]
    with pytest.raises(FileLoadError, match="gzip file that is cut off or damaged"):
        uploads.load("a.txt.gz", content)


def test_a_compression_bomb_is_an_error(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_startup.source.MAX_UNPACKED_BYTES", 100_000)
    uploads.load("a.txt.gz", gzip.compress(b"x" * 100_000))
    with pytest.raises(FileLoadError, match="unpack to more than"):
        uploads.load("a.txt.gz", gzip.compress(b"x" * 100_001))


def test_an_unreadable_file_is_an_error(uploads: Uploads) -> None:
    (uploads.root / "f1" / "a.csv").mkdir(parents=True)
    with pytest.raises(FileLoadError, match=r"unreadable\. Is a directory"):
        load_from(uploads.files, "f1")


def test_an_unknown_option_names_the_one_that_was_meant(uploads: Uploads) -> None:
    with pytest.raises(
        TypeError, match=r"text files have no option encodin=; did you mean encoding="
    ):
        uploads.load("a.txt", "x", encodin="utf-8")
    with pytest.raises(TypeError, match=r"text files have no option nrows=\. It takes encoding=\."):
        uploads.load("a.txt", "x", nrows=5)


def test_an_error_is_short_when_printed(uploads: Uploads) -> None:
    try:
        uploads.load("a.json", '{"a": [1, 2')
    except FileLoadError as error:
        shown = "".join(traceback.format_exception(error))
    # The library's own frames are left out, what it said is not.
    assert "json/decoder.py" not in shown
    assert "Expecting ',' delimiter" in shown


def test_load_file_warns_in_the_line_that_called_it(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FILES", uploads.files)
    file_id = uploads.add("a.txt", b"x" * 70_000 + b"\xff")
    with pytest.warns(FileWarning, match="aren't utf-8") as caught:
        load_file(file_id, encoding="utf-8")
    assert [warning.filename for warning in caught] == [__file__]


def test_load_file_explains_itself() -> None:
    text = load_file.__doc__ or ""
    for word in ("csv", "xlsx", "DataFrame", "encoding=", "sheet_name=", "as_", "FILES", ">>>"):
        assert word in text


def test_text_keeps_its_words_and_its_line_ends(uploads: Uploads) -> None:
    assert uploads.load("a.log", "one\r\ntwo\rthree\n") == "one\r\ntwo\rthree\n"
    assert uploads.load("a.py", "\ufeffprint('é')\n".encode()) == "print('é')\n"
    assert uploads.load("a.txt", "") == ""


def test_text_that_changes_its_encoding_after_the_head_is_read(uploads: Uploads) -> None:
    text = "x" * 70_000 + " café"
    assert uploads.load("a.txt", text.encode("cp1252")) == text


def test_panic_of_a_reader_is_a_file_load_error(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):  # as pyo3's is
        pass

    def panic(_: object) -> None:
        raise Panic("no entry found for key")

    monkeypatch.setattr("kernel_startup.loaders.structured.load_json", panic)
    with pytest.raises(FileLoadError, match="no entry found for key"):
        uploads.load("a.json", '{"a": 1}')


def test_content_that_is_not_what_its_name_says_is_told_so(uploads: Uploads) -> None:
    with pytest.raises(FileLoadError, match="its name says PNG image, which it isn't"):
        uploads.load("a.png", b"\x01\x02\x00\xff\x03\x04\x05\x00")
