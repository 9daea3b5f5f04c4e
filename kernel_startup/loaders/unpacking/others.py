"""Archives that libraries read: 7-Zip (installed on demand), RAR (listed; stored members read)."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from kernel_startup.loaders.unpacking import ArchiveError, Contents, Kind, Member
from kernel_startup.loaders.unpacking.zips import needs_password

_PIECE = 1 << 20


def read_7z(file: BinaryIO, most: int, password: str | None = None) -> Contents:
    """List a 7-Zip archive."""
    import py7zr

    try:
        with py7zr.SevenZipFile(file, password=password) as archive:
            infos = archive.list()
            is_encrypted = archive.needs_password()
    except py7zr.PasswordRequired as error:
        raise ArchiveError(
            "its listing is encrypted", 'Give the password: load_file(..., password="...")'
        ) from error
    except (py7zr.Bad7zFile, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise ArchiveError(f"it is cut off or damaged: {error}") from error
    contents = Contents([], _from_7z)
    for info in infos[:most]:
        kind: Kind = "directory" if info.is_directory else "file"
        if getattr(info, "is_symlink", False):
            kind = "link"
        name = f"{info.filename.rstrip('/')}/" if kind == "directory" else info.filename
        when = info.creationtime
        contents.members.append(
            Member(
                name,
                info.uncompressed,
                when.replace(tzinfo=None) if when is not None else None,
                kind,
                packed=info.compressed,
                is_encrypted=is_encrypted,
                place=info.filename,
            )
        )
    return contents


def _from_7z(file: BinaryIO, member: Member, password: str | None) -> Iterator[bytes]:
    import py7zr
    from py7zr.io import BytesIOFactory

    if member.is_encrypted and password is None:
        raise needs_password(member.name)
    factory = BytesIOFactory(max(member.size or 0, 1))
    try:
        with py7zr.SevenZipFile(file, password=password) as archive:
            archive.extract(targets=[member.place], factory=factory)
    except Exception as error:  # a wrong password shows in many ways
        if member.is_encrypted:
            raise ArchiveError(
                f"the password doesn't open {member.name!r}",
                'Give the right one: password="..."',
            ) from error
        raise ArchiveError(f"{member.name!r} can't be unpacked: {error}") from error
    content: Any = factory.products.get(member.place)
    if content is None:
        raise ArchiveError(f"{member.name!r} can't be unpacked")
    content.seek(0)
    while piece := content.read(_PIECE):
        yield piece


def read_rar(file: BinaryIO, most: int) -> Contents:
    """List a RAR archive, of version 4 or 5."""
    import rarfile

    try:
        archive = rarfile.RarFile(file)
        infos = archive.infolist()
        if archive.needs_password() and not infos:
            raise ArchiveError("its listing is encrypted", "Unpack it, and upload what is in it")
    except rarfile.Error as error:
        raise ArchiveError(f"it is cut off or damaged: {error}") from error
    contents = Contents([], _from_rar)
    for info in infos[:most]:
        kind: Kind = "directory" if info.is_dir() else "link" if info.is_symlink() else "file"
        when = info.mtime
        contents.members.append(
            Member(
                info.filename,
                info.file_size,
                when.replace(tzinfo=None) if when is not None else None,
                kind,
                packed=info.compress_size,
                method="" if info.compress_type == rarfile.RAR_M0 else "RAR's own",
                is_encrypted=info.needs_password(),
                place=info.filename,
            )
        )
    return contents


def _from_rar(file: BinaryIO, member: Member, password: str | None) -> Iterator[bytes]:
    import rarfile

    if member.method or member.is_encrypted:
        raise ArchiveError(
            f"{member.name!r} is packed by RAR's own method, which only RAR's program unpacks",
            "Repack it as zip or 7z, and upload that",
        )
    try:
        with rarfile.RarFile(file).open(member.place, pwd=password) as inner:
            while piece := inner.read(_PIECE):
                yield piece
    except rarfile.Error as error:
        raise ArchiveError(f"{member.name!r} can't be unpacked: {error}") from error
