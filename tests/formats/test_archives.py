"""Archives and compression: real files, members, extraction, and archives that lie or break off."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kernel_startup.errors import FileLoadError, FileNotKnown
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.source import Source
from tests.formats.made.archives import MADE
from tests.formats.uploads import Loading, Made, Sample, samples

_CSV = "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize("sample", samples("archive"))
def test_sample_is_what_an_analyst_expects(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    file_type = type_of_content(sample.path)
    assert type_of_content(sample.path, sample.path.name.upper()) is file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    for name, stated in sample.fact.items():
        if name == "members":
            assert sum(member.kind != "directory" for member in loaded.members) == stated
        elif name == "names":
            assert list(loaded) == stated
        elif name == "inner_bytes":
            with Source(sample.path) as source, source.open() as file:
                inner = file.read()
            # A gzip that unpacks to itself is looked through only so many times.
            assert len(inner) == stated
        elif name == "bytes" and isinstance(loaded, FileInfo):
            assert sample.path.stat().st_size == stated


def _zip(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(*members: tuple[str, bytes, bytes, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# -- members -------------------------------------------------------------------------------------


def test_member_loads_as_if_it_had_been_uploaded(load: Loading) -> None:
    frame = load(_zip({"data/x.csv": _CSV}), "a.zip", member="data/x.csv", nrows=1)
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.parametrize("member", ["inner.zip!/x.csv", ["inner.zip", "x.csv"]])
def test_member_of_a_member_loads(load: Loading, member: Any) -> None:
    content = _zip({"inner.zip": _zip({"x.csv": _CSV})})
    assert load(content, "a.zip", member=member).shape == (2, 2)


def test_missing_member_is_told_with_a_similar_one(load: Loading) -> None:
    with pytest.raises(FileNotKnown, match=r"did you mean 'data/x\.csv'"):
        load(_zip({"data/x.csv": _CSV}), "a.zip", member="x.csv")


def test_member_of_what_has_none(load: Loading) -> None:
    with pytest.raises(FileLoadError, match="no members"):
        load(_CSV, "a.csv", member="x")


def test_encrypted_member_needs_the_password(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand("pyzipper")
    import pyzipper  # type: ignore[import-not-found, unused-ignore]

    buffer = io.BytesIO()
    with pyzipper.AESZipFile(buffer, "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"secret")
        archive.writestr("x.csv", _CSV)
    content = buffer.getvalue()
    assert load(content, "a.zip", member="x.csv", password="secret").shape == (2, 2)
    with pytest.raises(FileLoadError, match="encrypted"):
        load(content, "a.zip", member="x.csv")
    with pytest.raises(FileLoadError, match="password"):
        load(content, "a.zip", member="x.csv", password="wrong")


def _zip_crypto(name: str, content: bytes, password: bytes) -> bytes:
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc_step(crc: int, byte: int) -> int:
        return ~zlib.crc32(bytes([byte]), ~crc & 0xFFFFFFFF) & 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc_step(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc_step(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    crc = zlib.crc32(content)
    encrypted = bytearray()
    for byte in bytes(11) + bytes([crc >> 24]) + content:
        mixed = keys[2] & 0xFFFF | 2
        encrypted.append(byte ^ (mixed * (mixed ^ 1) >> 8 & 0xFF))
        update(byte)
    plain = bytearray(_zip({name: content}, zipfile.ZIP_STORED))
    start = 30 + len(name)
    directory = plain[start + len(content) :]
    local = plain[:start]
    local[6] |= 1
    local[18:22] = struct.pack("<I", len(encrypted))
    directory[8] |= 1
    directory[20:24] = struct.pack("<I", len(encrypted))
    directory[-6:-2] = struct.pack("<I", start + len(encrypted))
    return bytes(local + encrypted + directory)


def test_zip_crypto(load: Loading) -> None:
    content = _zip_crypto("x.csv", _CSV.encode(), b"secret")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("x.csv", b"secret") == _CSV.encode()
    assert load(content, "a.zip", member="x.csv", password="secret").shape == (2, 2)
    with pytest.raises(FileLoadError, match="encrypted"):
        load(content, "a.zip", member="x.csv")
    with pytest.raises(FileLoadError, match="password"):
        load(content, "a.zip", member="x.csv", password="wrong")


# -- extraction ----------------------------------------------------------------------------------


def test_extraction_stays_in_its_directory(load: Loading, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "link").symlink_to(outside)
    (directory / "file").symlink_to(outside / "target")
    names = ["../up", "/absolute", "a/../../up", "..\\up", "C:\\x", "link/in", "file", "ok/x"]
    members = [(name, b"x", tarfile.REGTYPE, "") for name in names]
    links = [("soft", b"", tarfile.SYMTYPE, "/etc"), ("soft/in", b"x", tarfile.REGTYPE, "")]
    archive = load(_tar(*members, *links), "a.tar")
    with pytest.warns(UserWarning, match="weren't unpacked"):
        archive.extract(directory=directory)
    assert not list(outside.iterdir())
    assert not (tmp_path / "up").exists()
    assert not os.path.exists("/absolute")
    assert (directory / "ok/x").read_bytes() == b"x"
    assert not (directory / "soft").is_symlink()


# -- bombs, and what is broken -------------------------------------------------------------------


def test_name_that_comes_again(load: Loading) -> None:
    file = tarfile.REGTYPE
    archive = load(_tar(("x", b"old", file, ""), ("x", b"new", file, "")), "a.tar")
    assert archive.read("x") == b"new"
    assert len(archive) == 1
    assert any("comes again" in note for note in load.notes)


def test_empty_zip(load: Loading) -> None:
    assert len(load(_zip({}), "a.zip")) == 0


def test_declared_zeros_are_refused(load: Loading) -> None:
    content = bytearray(_zip({"x.bin": bytes(10)}))
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 4_000_000_000)
    with pytest.raises(FileLoadError, match="unpacks to more"):
        load(bytes(content), "a.zip").read("x.bin")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_cut_off_archive_gives_what_is_there_or_says_so(
    load: Loading, name: str, cut: float
) -> None:
    noise = os.urandom(3000)
    content = (
        _zip({"a": noise, "b": noise})
        if name == "a.zip"
        else _tar(("a", noise, tarfile.REGTYPE, ""), ("b", noise, tarfile.REGTYPE, ""))
    )
    try:
        archive = load(content[: int(len(content) * cut)], name)
    except FileLoadError:
        return
    if not isinstance(archive, FileInfo) and cut == 0.6 and name == "a.zip":
        assert archive.read("a") == noise


# -- compressions --------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_source_reads_through_compressions(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"hello\n" * 1000, b"one\n" * 1000):
        path.write_bytes(pack(content) + pack(b"more"))
        with Source(path) as source:
            assert source.read() == content + b"more"
        path.write_bytes(gzip.compress(pack(content)))
        with Source(path) as source:
            assert source.read() == content
        path.write_bytes(pack(os.urandom(1000))[:-300])
        with Source(path) as source, pytest.raises(FileLoadError, match="cut off or damaged"):
            source.read()


def test_gzipped_zeros_are_refused(load: Loading, tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(1 << 20)
    content = b"".join(packer.compress(piece) for _ in range(600)) + packer.flush()
    with pytest.raises(FileLoadError, match="unpack"):
        load(content, "x.bin.gz")


def test_more_members_than_are_listed(load: Loading) -> None:
    header = b"x/".ljust(16) + b"0".ljust(32) + b"0".ljust(10) + b"`\n"
    archive = load(b"!<arch>\n" + header * 100_001, "a.a")
    assert len(archive.members) == 100_000
    assert any("not all" in note for note in load.notes)


def test_members_that_overlap_are_read_one_at_a_time(load: Loading) -> None:
    content = _zip({"a": bytes(1 << 20)})
    at = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[at:end]
    count = 1000
    tail = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, count, count, len(entry) * count, at, 0)
    archive = load(content[:at] + entry * count + tail, "a.zip")
    assert len(archive.read("a")) == 1 << 20


def test_extraction_stops_at_its_limit(load: Loading, tmp_path: Path) -> None:
    archive = load(_zip({"a": bytes(1 << 20), "b": bytes(1 << 20)}), "a.zip")
    with pytest.raises(FileLoadError, match="unpacks to more"):
        archive.extract(directory=tmp_path / "out", limit_bytes=(1 << 20) + 10)


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.filename)
def test_members_of_damaged_archives_are_read_or_refused(
    made: Made, load: Loading, on_demand: Callable[..., None]
) -> None:
    if made.requires:
        on_demand(*made.requires)
    content = made.make()
    chance = random.Random(made.filename)
    for _ in range(8):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        try:
            archive = load(bytes(damaged), made.filename)
            for name in getattr(archive, "members", ()):
                archive.read(name.name)
        except (FileLoadError, FileNotKnown):
            pass


def test_7z_with_an_encrypted_listing(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand("py7zr>=1")
    import py7zr  # type: ignore[import-not-found, unused-ignore]

    for hidden in (False, True):
        buffer = io.BytesIO()
        with py7zr.SevenZipFile(
            buffer, "w", password="secret", header_encryption=hidden
        ) as archive:
            archive.writestr(_CSV, "x.csv")
        content = buffer.getvalue()
        with pytest.raises(FileLoadError, match="encrypted"):
            load(content, "a.7z", member="x.csv")
        assert load(content, "a.7z", member="x.csv", password="secret").shape == (2, 2), hidden
