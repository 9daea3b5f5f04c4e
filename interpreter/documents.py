"""How things are kept in MongoDB. Reading and writing them is their owners' work.

beanie keeps the database in the class, and changes the class when it is bound. Bound directly, a
second service in the same process would silently move the first one's documents to its own
database. So no class below is ever bound itself: each database gets twins of them, made of the same
bases.
"""

from datetime import datetime
from types import new_class
from typing import Any, Literal, TypeVar

import pymongo
from beanie import Document, init_beanie
from pydantic import BaseModel
from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

__all__ = [
    "FileStoreDocument",
    "RecordDocument",
    "SessionContent",
    "SessionDocument",
    "StoredFileDocument",
    "UserPackagesDocument",
    "bind",
]

_INDEXES_S = 60.0

DocumentT = TypeVar("DocumentT", bound=Document)


class _StoredFile(BaseModel):
    file_id: str
    user_id: str
    filename: str
    file_type: str
    file_size: int
    file_path: str
    uploaded_at: datetime
    # Orders what was uploaded within the same millisecond, which is all that MongoDB keeps.
    sequence: int
    # For people who look into the database. Whether a file has expired is worked out from
    # uploaded_at, so that a changed setting holds from the first moment.
    expires_at: datetime | None
    sha256: str
    origin: Literal["upload", "cell"]
    # How many files this user might keep when this one was saved, None for as many as everybody:
    # the user's newest file tells it to a service that has just been started.
    max_files: int | None = None

    class Settings:
        name = "stored_files"
        indexes = (
            IndexModel([("user_id", ASCENDING), ("file_id", ASCENDING)], unique=True),
            IndexModel(
                [("user_id", ASCENDING), ("uploaded_at", ASCENDING), ("sequence", ASCENDING)]
            ),
            IndexModel([("user_id", ASCENDING), ("sha256", ASCENDING)]),
            IndexModel([("uploaded_at", ASCENDING)]),
        )


class StoredFileDocument(_StoredFile, Document):
    """The record of a stored file; the bytes are on disk, at ``file_path``."""


class _FileStore(BaseModel):
    mark: str

    class Settings:
        name = "file_stores"
        indexes = (IndexModel([("mark", ASCENDING)], unique=True),)


class FileStoreDocument(_FileStore, Document):
    """The mark of a directory of stored files whose records are in this database."""


class _UserPackages(BaseModel):
    user_id: str
    # Requirements and versions by canonical name, which has no dots.
    requirements: dict[str, str]
    lock: str
    packages: dict[str, str]
    used_at: datetime

    class Settings:
        name = "user_packages"
        indexes = (
            IndexModel([("user_id", ASCENDING)], unique=True),
            IndexModel([("used_at", ASCENDING)]),
        )


class UserPackagesDocument(_UserPackages, Document):
    """What packages a user has asked for, and what that has been resolved to."""


class _Record(BaseModel):
    kind: str
    key: str
    owner: str | None
    value: dict[str, Any]
    updated_at: datetime
    # Of one that never expires: the last year there is. So one comparison tells all that expired.
    expires_at: datetime

    class Settings:
        name = "records"
        indexes = (
            IndexModel([("kind", ASCENDING), ("key", ASCENDING)], unique=True),
            IndexModel([("kind", ASCENDING), ("updated_at", ASCENDING)]),
            IndexModel([("owner", ASCENDING), ("kind", ASCENDING), ("updated_at", ASCENDING)]),
            IndexModel([("expires_at", ASCENDING)]),
        )


class RecordDocument(_Record, Document):
    """Something that a front end keeps."""


class _RunningCell(BaseModel):
    cell_id: str
    message_id: str = ""
    code: str
    timeout_s: float
    # Pairs: keys of a front end's may be anything, and MongoDB's keys may not.
    note: list[tuple[str, str]] = []
    started_at: datetime
    # Of the deadline's clock; since is None while it stands.
    elapsed_s: float = 0.0
    since: float | None = None
    before_ns: int = 0
    wanted: bool = False
    told: str | None = None
    told_lost: bool = False


class SessionContent(BaseModel):
    """The fields of a :class:`SessionDocument`.

    Other versions of this program read it, before and after: fields that come to it have a default,
    and those that are here stay, with their meaning.
    """

    # Whose data directory the session lives in: several services may share a database.
    mark: str
    user_id: str
    slot: str | None = None
    # What the kernel's host needs to adopt it, as JSON, with its key; None without a kernel.
    kernel: str | None = None
    identity: str | None = None
    cells: int = 0
    memory_bytes: int | None = None
    last_active_at: datetime
    # The same by the machine's monotonic clock, and of which boot that is: not in older records.
    last_active_boot: str = ""
    last_active_monotonic_s: float = 0.0
    state_gone: str | None = None
    files_gone: str | None = None
    last_error: str | None = None
    collected_ns: int = 0
    has_files: bool = True
    running: list[_RunningCell] = []

    class Settings:
        name = "sessions"
        indexes = (IndexModel([("mark", ASCENDING), ("user_id", ASCENDING)], unique=True),)


class SessionDocument(SessionContent, Document):
    """What a later service needs to go on with a session."""


async def bind(
    document: type[DocumentT], database: AsyncDatabase[dict[str, Any]]
) -> type[DocumentT]:
    """A twin of a document class that belongs to this database, with its indexes made.

    Args:
        document: A class of this module: all it has comes from its bases.
        database: From ``open_database``.
    """
    twin = new_class(document.__name__, document.__bases__)
    # An index over what has been stored for years may take longer to make than a call may.
    with pymongo.timeout(_INDEXES_S):
        await init_beanie(database=database, document_models=[twin])
    return twin
