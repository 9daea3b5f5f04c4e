"""What the installer is told and what it answers: values only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

_MIB = 1 << 20

FailureKind: TypeAlias = Literal[
    "not_found",
    "no_version",
    "no_wheel",
    "conflict",
    "too_large",
    "unreachable",
    "timeout",
    "unsafe",
    "hash",
    "disk",
    "bad",
    "internal",
]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where packages come from.

    Attributes:
        index: URL of the index' simple API, perhaps with credentials; None is the one that uv is
            configured with, or uv's own default.
        extra: further indexes, asked before that one; a package that one of them has is never taken
            from a later one.
        file_hosts: further hosts that files come from, as ``host`` or ``host:port``; those that an
            index' pages name need not be told.
        offline: whether nothing but the cache is used.
    """

    index: str | None = None
    extra: tuple[str, ...] = ()
    file_hosts: tuple[str, ...] = ()
    offline: bool = False


@dataclass(frozen=True, slots=True)
class InstallLimits:
    """What installations may take.

    Attributes:
        download_bytes: bytes from and to the network in one run of uv.
        layer_bytes: bytes of all files in a layer.
        layer_files: number of files in a layer.
        timeout_s: seconds one run of uv may take.
        layers: how many layers are kept, those in use among them.
        cache_bytes: how large the cache of downloads may grow.
        concurrent: how many runs that use the network go on at once.
    """

    download_bytes: int = 300 * _MIB
    layer_bytes: int = 1024 * _MIB
    layer_files: int = 60_000
    timeout_s: float = 120.0
    layers: int = 200
    cache_bytes: int = 4096 * _MIB
    concurrent: int = 2


@dataclass(frozen=True, slots=True)
class Locked:
    """Requirements that were resolved.

    Attributes:
        text: all packages with versions and hashes, as ``pip`` reads them. Equal sets of files have
            equal texts. "" if the kernels' own packages suffice.
        packages: canonical names and versions, sorted.
    """

    text: str
    packages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Installed packages that a kernel can be shown.

    Attributes:
        layer_id: can't be guessed; also the name of its directory.
        path: its directory, a flat site-packages.
        size_bytes: of all its files.
        files: how many.
        modules: top-level names that can be imported, sorted.
    """

    layer_id: str
    path: Path
    size_bytes: int
    files: int
    modules: tuple[str, ...]


class InstallFailed(Exception):
    """Packages can't be resolved or installed.

    Attributes:
        kind: why, for a program.
        subject: the package it is about; "" if unknown.
        detail: short facts for a person, such as the version it conflicts with; may be "". Names no
            path and no URL.
    """

    def __init__(self, kind: FailureKind, subject: str = "", detail: str = "") -> None:
        super().__init__(": ".join(part for part in (kind, subject, detail) if part))
        self.kind: FailureKind = kind
        self.subject = subject
        self.detail = detail
