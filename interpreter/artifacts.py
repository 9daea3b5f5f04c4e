"""Artifacts: storing the files that a cell created or changed."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from interpreter.errors import DatabaseUnavailable, FileStoreError, FileTooLarge, StorageFailed
from interpreter.execution import SkippedArtifact
from interpreter.files import FileStore, StoredFile, shown_name
from interpreter.hosts.base import LACKS, KernelHost, WorkingDirectory, WorkingFile
from interpreter.outputs import DisplayData, ExecuteResult, Output
from interpreter.patience import Patience

#: Beyond this, skipped files are counted, not named.
_MAX_NAMED = 20
_MOST_PATH_CHARS = 255
_DATABASE_AWAY = (
    "the database that records files is away; it stays in the working directory and is handed out "
    "with the next cell"
)
_LACKING = (
    "this machine lacks memory or open files for it just now; it stays in the working directory "
    "and is handed out with the next cell"
)
_PICTURE_TYPES = ("image/png", "image/jpeg", "image/svg+xml", "application/pdf", "image/gif")


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """How much one cell may hand out.

    Attributes:
        count: how many files.
        file_bytes: size of one.
        total_bytes: size of all together.
    """

    count: int
    file_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Collection:
    """What was collected after a cell.

    Attributes:
        artifacts: the stored files, the first made first.
        skipped: those left out, with reasons.
        outputs: the cell's outputs; a picture that it also saved, byte for byte, names the file.
        postponed: paths of files that were left out for now: because the database is away, say.
    """

    artifacts: tuple[StoredFile, ...]
    skipped: tuple[SkippedArtifact, ...]
    outputs: tuple[Output, ...]
    postponed: frozenset[str] = frozenset()


def changed_files(before: WorkingDirectory, after: WorkingDirectory) -> list[WorkingFile]:
    """The files in ``after`` that are new or different, the oldest change first."""
    changed = []
    for path, file in after.files.items():
        known = before.files.get(path)
        if known is None and not before.complete and file.version[-1] < before.taken_ns:
            continue  # it was there: the last scan did not get as far
        if known is None or known.version != file.version:
            changed.append(file)
    return sorted(changed, key=lambda file: (file.version[-1], file.path))


def unchanged_since(time_ns: int, now: WorkingDirectory) -> WorkingDirectory:
    """What was there at a time and has not been touched since, as an earlier scan had found it.

    Args:
        time_ns: by the host's clock, in nanoseconds since 1970.
        now: what is there.
    """
    kept = {path: file for path, file in now.files.items() if file.changed_ns < time_ns}
    return WorkingDirectory(kept, complete=True, taken_ns=time_ns)


async def collect(
    files: Sequence[WorkingFile],
    outputs: tuple[Output, ...],
    *,
    user_id: str,
    host: KernelHost,
    slot: str,
    store: FileStore,
    limits: ArtifactLimits,
    patience: Patience,
) -> Collection:
    """Store what a cell made, also if the database is away for a while.

    A copy of one of the user's uploads, unchanged, is no artifact. A file saved again with the same
    bytes and name keeps its id.
    """
    artifacts: list[StoredFile] = []
    skipped: list[SkippedArtifact] = []
    total = 0
    pictures = list(_pictures(outputs))
    shown: dict[int, StoredFile] = {}
    postponed: set[str] = set()
    waits_for: str | None = None
    known: tuple[StoredFile, ...] | None = None
    for file in files:
        name = _shown_name(file.path)
        reason = None
        if file.size > limits.file_bytes:
            reason = f"it is larger than {_megabytes(limits.file_bytes)}"
        elif len(artifacts) >= limits.count:
            reason = f"a cell can hand out at most {limits.count} files"
        elif total + file.size > limits.total_bytes:
            reason = f"the files of a cell can have {_megabytes(limits.total_bytes)} together"
        elif waits_for is not None:  # the others would be tried in vain, too
            postponed.add(file.path)
            reason = waits_for
        if reason is not None:
            skipped.append(SkippedArtifact(name, reason))
            continue
        try:
            if known is None:
                known = await patience.have(partial(store.list, user_id=user_id))
            store_it = partial(_store, file, name, known, user_id, host, slot, store)
            artifact = await patience.have(store_it)
        except DatabaseUnavailable:
            waits_for = _DATABASE_AWAY
        except FileTooLarge as error:
            reason = f"it is larger than {_megabytes(error.limit_bytes)}"
            skipped.append(SkippedArtifact(name, reason))
        except (FileStoreError, OSError) as error:
            if _lacks_something(error):
                waits_for = _LACKING
            else:
                reason = str(error) if isinstance(error, FileStoreError) else "it could not be read"
                skipped.append(SkippedArtifact(name, reason))
        else:
            if artifact is None:
                continue
            total += artifact.file_size
            artifacts.append(artifact)
            for index, digest, _ in pictures:
                if digest == artifact.sha256:
                    shown[index] = artifact
        if waits_for is not None:
            postponed.add(file.path)
            skipped.append(SkippedArtifact(name, waits_for))
    return Collection(
        tuple(artifacts), _bounded(skipped), _name_shown(outputs, shown), frozenset(postponed)
    )


def _lacks_something(error: Exception) -> bool:
    """Whether a file could not be read or stored for what this process lacks, and may get."""
    cause = error.__cause__ if isinstance(error, StorageFailed) else error
    return isinstance(cause, OSError) and cause.errno in LACKS


async def _store(
    file: WorkingFile,
    name: str,
    known: Iterable[StoredFile],
    user_id: str,
    host: KernelHost,
    slot: str,
    store: FileStore,
) -> StoredFile | None:
    """Store one file; None if it is an unchanged upload."""
    filename = name.rpartition("/")[2]
    same_size = [other for other in known if other.file_size == file.size]
    if same_size:
        digest = await _digest(host.read(slot, file.path))
        for other in same_size:
            if other.sha256 != digest:
                continue
            if other.origin == "upload":
                return None
            if other.filename == filename:
                return await store.touch(user_id=user_id, file_id=other.file_id)
    return await store.save(
        user_id=user_id, filename=filename, source=host.read(slot, file.path), origin="cell"
    )


async def _digest(pieces: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _pictures(outputs: tuple[Output, ...]) -> Iterable[tuple[int, str, int]]:
    """(index of the output, sha256, size) of each picture that was shown."""
    for index, output in enumerate(outputs):
        if isinstance(output, DisplayData | ExecuteResult):
            for picture in _picture_bytes(output.data):
                yield index, hashlib.sha256(picture).hexdigest(), len(picture)


def _picture_bytes(bundle: Mapping[str, object]) -> Iterable[bytes]:
    for kind in _PICTURE_TYPES:
        value = bundle.get(kind)
        if isinstance(value, str):
            if kind == "image/svg+xml":
                yield value.encode(errors="replace")
            else:
                try:
                    yield base64.b64decode(value)
                except (binascii.Error, ValueError):
                    continue


def _name_shown(outputs: tuple[Output, ...], shown: Mapping[int, StoredFile]) -> tuple[Output, ...]:
    named: list[Output] = []
    for index, output in enumerate(outputs):
        if index in shown and isinstance(output, DisplayData):
            named.append(replace(output, file_id=shown[index].file_id))
        else:
            named.append(output)
    return tuple(named)


def _shown_name(path: str) -> str:
    """A path that may hold any bytes, as text that can be shown: on one line, of bounded length.

    It stands in sentences: a line break in it could begin one of its own.
    """
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    directory, slash, name = text.rpartition("/")
    shown = "/".join(shown_name(part) for part in directory[:_MOST_PATH_CHARS].split("/") if part)
    return f"{shown}{slash}{shown_name(name)}"


def _bounded(skipped: list[SkippedArtifact]) -> tuple[SkippedArtifact, ...]:
    if len(skipped) <= _MAX_NAMED:
        return tuple(skipped)
    rest = len(skipped) - _MAX_NAMED
    return (*skipped[:_MAX_NAMED], SkippedArtifact(f"{rest} more files", skipped[-1].reason))


def _megabytes(count: int) -> str:
    return f"{count / (1 << 20):g} MB"
