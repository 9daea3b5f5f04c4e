"""Saving what cells made: never over anything, never elsewhere."""

from pathlib import Path

import pytest

from bot.console.output_directory import OutputDirectory
from bot.render import DocumentPart, FilePart, ImagePart
from tests.bot.fakes import PNG, stored_file


def image(filename: str) -> ImagePart:
    return ImagePart(PNG, "image/png", filename, "picture")


def test_a_picture_is_saved_under_its_name(tmp_path: Path) -> None:
    saved = OutputDirectory(tmp_path / "a" / "b").save(image("cell-1-figure-1.png"))
    assert saved.path == tmp_path / "a" / "b" / "cell-1-figure-1.png"
    assert saved.path.read_bytes() == PNG
    assert saved.size_bytes == len(PNG)


def test_a_file_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "id1"
    source.write_bytes(b"a,b\n")
    file = stored_file("id1", "täble.csv", path=source)
    saved = OutputDirectory(tmp_path / "out").save(FilePart(file))
    assert saved.path == tmp_path / "out" / "täble.csv"
    assert saved.path.read_bytes() == b"a,b\n"
    assert saved.file == file


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_text("mine")
    (tmp_path / "plot-2.png").symlink_to("nowhere")
    directory = OutputDirectory(tmp_path)
    names = [directory.save(image("plot.png")).path.name for _ in range(2)]
    assert names == ["plot-3.png", "plot-4.png"]
    assert (tmp_path / "plot.png").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("filename", "saved_as"),
    [
        ("../../etc/passwd", "_.._.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "_.bashrc"),
        ("a\x1b[2Jb.png", "a[2Jb.png"),
        ("日本.png", "日本.png"),
    ],
)
def test_no_name_leads_elsewhere(tmp_path: Path, filename: str, saved_as: str) -> None:
    saved = OutputDirectory(tmp_path).save(image(filename))
    assert saved.path.parent == tmp_path
    assert saved.path.name == saved_as


def test_long_names_still_get_their_number(tmp_path: Path) -> None:
    directory = OutputDirectory(tmp_path)
    for name in ("x" * 300 + ".png", "日" * 200 + ".png", "x." + "y" * 300):
        first, second, third = (directory.save(image(name)).path.name for _ in range(3))
        assert len({first, second, third}) == 3
        assert max(len(name.encode()) for name in (first, second, third)) <= 255


def test_a_file_that_can_t_be_copied_leaves_nothing_behind(tmp_path: Path) -> None:
    file = stored_file("id1", "gone.csv", path=tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        OutputDirectory(tmp_path / "out").save(FilePart(file))
    assert list((tmp_path / "out").iterdir()) == []


def test_documents_are_saved_too(tmp_path: Path) -> None:
    part = DocumentPart(b"<html>", "text/html", "cell-1-figure-1.html")
    assert OutputDirectory(tmp_path).save(part).path.read_bytes() == b"<html>"
