"""What the headers of archives and disk images tell that nothing here unpacks."""

import struct
from collections.abc import Callable

from kernel_startup.source import Source


def header_facts(name: str, source: Source) -> dict[str, object]:
    """Tell what a file's header says; nothing where there is nothing to tell."""
    told = _FACTS.get(name)
    return {} if told is None else told(source.head)


def _qcow(head: bytes) -> dict[str, object]:
    version, disk_bytes = struct.unpack_from(">4xI16xQ", head)
    return {"version": version, "disk_bytes": disk_bytes}


def _squashfs(head: bytes) -> dict[str, object]:
    order = "<" if head.startswith(b"hsqs") else ">"
    inodes, _, block = struct.unpack_from(f"{order}4xIII", head)
    return {"inodes": inodes, "block_bytes": block}


def _seven_zip(head: bytes) -> dict[str, object]:
    return {"version": f"{head[6]}.{head[7]}"}


def _cab(head: bytes) -> dict[str, object]:
    return {"folders": int.from_bytes(head[26:28], "little"), "members": head[28] | head[29] << 8}


_FACTS: dict[str, Callable[[bytes], dict[str, object]]] = {
    "qcow": _qcow,
    "squashfs": _squashfs,
    "7z": _seven_zip,
    "cab": _cab,
}
