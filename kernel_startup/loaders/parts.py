"""Formats of several files, with their parts beside them or in a zip; XML that isn't trusted."""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source, kept_directory

#: What a zip may unpack to.
MAX_UNPACKED_BYTES = 1 << 30
_MAX_MEMBERS = 10_000


def new_directory() -> Path:
    """Make a directory that lasts as long as the kernel."""
    return kept_directory()


def companion(source: Source, *suffixes: str) -> Path | None:
    """Find another of the user's files with the same stem and one of these suffixes (".hdr")."""
    stem = Path(source.name).stem.lower()
    whole = source.name.lower()
    for suffix in suffixes:
        for path in source.neighbours:
            if path.name.lower() in (stem + suffix, whole + suffix) and path != source.path:
                return path
    return None


def gather(source: Source, suffix: str, companions: Iterable[str]) -> Path:
    """Lay out a file and its companions under one name in a directory; give the file's path."""
    directory = new_directory()
    place = directory / f"file{suffix}"
    place.symlink_to(source.as_path(suffix).absolute())
    for other in companions:
        path = companion(source, other)
        if path is not None:
            (directory / f"file{other}").symlink_to(path.absolute())
    return place


def neighbour(source: Source, name: str) -> Path | None:
    """Find another of the user's files by the name that a file refers to it by."""
    wanted = name.replace("\\", "/").rpartition("/")[2].lower()
    return next((p for p in source.neighbours if p.name.lower() == wanted), None)


def unpack(source: Source, wanted: Callable[[str], bool]) -> list[Path]:
    """Unpack the wanted members of a zip, each under its own name in a directory of its own.

    Raises:
        FileLoadError: They'd take more than `MAX_UNPACKED_BYTES`, or need a password.
    """
    directory = new_directory()
    places = []
    with source.open() as file, zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist()[:_MAX_MEMBERS] if wanted(m.filename)]
        check_zip(source, members)
        for member in members:
            # Only plain names: "..", a root or a drive in a path can't lead outside.
            kept = [p for p in PurePosixPath(member.filename).parts if p not in ("..", "/", ".")]
            place = directory.joinpath(*(part.replace("\\", "_") for part in kept))
            if member.is_dir() or not kept:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(member))
            places.append(place)
    return places


def check_zip(source: Source, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse members that unpack to too much, or that need a password.

    Raises:
        FileLoadError: They do.
    """
    members = list(members)
    if any(member.flag_bits & 1 for member in members):
        raise FileLoadError(
            source.name,
            "a zip protected by a password",
            remedy="Unpack it and upload what is in it",
        )
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED_BYTES:
        raise FileLoadError(
            source.name,
            f"{source.size_bytes:,} bytes of zip that unpack to {size:,} bytes",
            reason="that could take all of the memory",
        )


def parse_xml(source: Source, content: bytes | None = None) -> Any:
    """Parse XML to lxml's root element; entities and other documents aren't followed.

    Raises:
        FileLoadError: It isn't well formed.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    try:
        return etree.fromstring(source.read() if content is None else content, parser)
    except etree.XMLSyntaxError as error:
        raise FileLoadError(
            source.name,
            "XML that is cut off or not well formed",
            tried="lxml",
            reason=str(error),
            remedy='as_="text" gives it as a str',
        ) from error


def local_name(element: Any) -> str:
    """An element's name without its namespace; empty for what isn't an element."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
