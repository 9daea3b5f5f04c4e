"""What is too large for a message: compressed, and in parts."""

import asyncio
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from bot.messages.archives import MAX_PARTS, TooManyParts, how_to_join, parts_of, zipped
from bot.outgoing import Attachment


def content_of(attachment: Attachment) -> bytes:
    assert isinstance(attachment.source, Path)
    content = attachment.source.read_bytes()
    assert len(content) == attachment.size
    return content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "abc123.csv"
    path.write_bytes(b"0123456789" * 10)
    return path


async def test_an_archive_holds_the_file_under_its_name_and_is_gone_afterwards(
    file: Path, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    async with zipped(
        file, filename="out/data ä.csv", max_bytes=1_000, directory=room
    ) as attachment:
        assert attachment and attachment.filename == "data_a.csv.zip"
        assert isinstance(attachment.source, Path)
        with zipfile.ZipFile(attachment.source) as archive:
            assert archive.namelist() == ["data ä.csv"]
            assert archive.read("data ä.csv") == file.read_bytes()
            assert archive.infolist()[0].compress_size < 50
    assert list(room.iterdir()) == []


async def test_an_archive_is_as_large_as_it_may_be_or_isn_t_made(file: Path) -> None:
    async with zipped(file, filename="x.csv", max_bytes=1_000) as attachment:
        assert attachment
        size = attachment.size
    for limit, made in ((size - 1, False), (size, True), (size + 1, True)):
        async with zipped(file, filename="x.csv", max_bytes=limit) as attachment:
            assert (attachment is not None) is made


@pytest.mark.parametrize(
    ("part_bytes", "sizes"), [(99, [99, 1]), (100, [100]), (101, [100]), (30, [30, 30, 30, 10])]
)
async def test_parts_are_as_large_as_they_may_be(
    file: Path, part_bytes: int, sizes: list[int]
) -> None:
    async with parts_of(file, part_bytes, filename="data.csv") as parts:
        assert [part.size for part in parts] == sizes
        assert [part.filename for part in parts] == [
            f"data.csv.part{number:02}" for number in range(1, len(sizes) + 1)
        ]
        assert b"".join(map(content_of, parts)) == file.read_bytes()


async def test_parts_are_put_together_as_the_sentence_says(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    async with parts_of(file, 9, filename="my data.csv") as parts:
        assert len(parts) == 12
        for part in parts:
            assert isinstance(part.source, Path)
            shutil.copy(part.source, folder / part.filename)
    command = how_to_join("my data.csv").split("`")[3]
    await asyncio.to_thread(subprocess.run, command, shell=True, cwd=folder, check=True)
    assert (folder / "my_data.csv").read_bytes() == file.read_bytes()


async def test_nobody_is_given_more_parts_than_bearable(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"x" * MAX_PARTS)
    async with parts_of(file, 1) as parts:
        assert len(parts) == MAX_PARTS
    file.write_bytes(b"x" * (MAX_PARTS + 1))
    with pytest.raises(TooManyParts):
        async with parts_of(file, 1):
            pass


async def test_an_empty_file_is_one_part(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    async with parts_of(tmp_path / "empty", 10) as (part,):
        assert part.size == 0
