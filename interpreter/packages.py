"""Packages of users' own: what they ask for, whether they may have it, and what became of that.

A user's wishes, and the lock that they resolve to, are kept in the database; a host makes layers
of locks and shows them to kernels. Users with the same lock share a layer.
"""

import asyncio
import re
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal
from weakref import WeakValueDictionary

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from interpreter.database import unavailable
from interpreter.distributions import distribution_for, is_shared, likely_meant
from interpreter.documents import UserPackagesDocument, bind
from interpreter.hosts.base import KernelHost
from interpreter.hosts.installing import InstallFailed, Locked
from interpreter.logs import get_logger
from interpreter.settings import Settings, listed

__all__ = ["Installation", "PackageRequest", "Packages"]

log = get_logger(__name__)

_MOST_AT_ONCE = 50
_MOST_WISHES = 200
_REQUIREMENT_CHARS = 200
#: What is longer isn't even answered by itself: answers repeat it.
_LONGEST = 2_000
#: Without use, as long as this.
_KEPT = timedelta(days=30)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: What people call modules of their own. Packages of these names are hardly ever meant.
_PEOPLES_OWN = frozenset(
    [
        *("app", "common", "config", "constants", "core", "data", "docs", "example", "examples"),
        *("functions", "helper", "helpers", "lib", "main", "model", "models", "my_module"),
        *("module", "mymodule", "script", "scripts", "settings", "setup", "src", "test", "tests"),
        *("tools", "util", "utils"),
    ]
)
_DATABASE = "The list of your packages can't be read or written just now; try again later."


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """What a kernel, a tool or a program asks for.

    Attributes:
        action: ``install`` or ``uninstall``.
        kind: ``import`` if ``wanted`` are import names, ``command`` if they are requirements.
        wanted: import names, or requirements as in requirement files.
        upgrade: whether what is there already is to be the newest.
    """

    action: Literal["install", "uninstall"]
    kind: Literal["import", "command"]
    wanted: tuple[str, ...]
    upgrade: bool = False

    @classmethod
    def from_message(cls, content: Mapping[str, Any]) -> "PackageRequest":
        """Read a kernel's request, which may be anything.

        Raises:
            ValueError: it is none, or asks for too much at once.
        """
        action, kind = content.get("action"), content.get("kind")
        wanted = content.get("requirements")
        if action not in ("install", "uninstall") or kind not in ("import", "command"):
            raise ValueError("no such request")
        if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
            raise ValueError("no list of names")
        if not 0 < len(wanted) <= _MOST_AT_ONCE:
            raise ValueError(f"from 1 to {_MOST_AT_ONCE} packages can be asked for at once")
        if any(len(one) > _LONGEST for one in wanted):
            raise ValueError(f"no requirement has more than {_LONGEST} characters")
        return cls(action, kind, tuple(dict.fromkeys(wanted)), content.get("upgrade") is True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What became of a request.

    Attributes:
        installed: what is there now and wasn't before, such as ``seaborn==0.13.2``; also what was
            needed by what was asked for.
        removed: what is there no more.
        changed: names of packages that were there before, in another version.
        failed: by what was asked for: why it isn't there, in a sentence.
        duration_s: how long it took.
    """

    installed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def message(self) -> str:
        """All of it in sentences."""
        sentences = []
        if self.installed:
            names = ", ".join(one.replace("==", " ") for one in self.installed)
            sentences.append(f"Installed {names} in {self.duration_s:.1f} s.")
        if self.removed:
            sentences.append(f"Removed {', '.join(self.removed)}.")
        sentences += dict.fromkeys(self.failed.values())
        return " ".join(sentences) or "Everything was there already."

    def as_reply(self) -> dict[str, Any]:
        """As the content of a message to the kernel."""
        return {
            "status": "error" if self.failed else "ok",
            "installed": list(self.installed),
            "removed": list(self.removed),
            "changed": list(self.changed),
            "failed": dict(self.failed),
            "message": self.message,
            "duration_s": self.duration_s,
        }


@dataclass(frozen=True, slots=True)
class _Pattern:
    """An entry of the lists of allowed and of denied packages."""

    glob: str
    versions: SpecifierSet

    @classmethod
    def parse(cls, text: str) -> list["_Pattern"]:
        """Read a list with commas."""
        found = []
        for entry in listed(text):
            name = re.match(r"[A-Za-z0-9._*?-]+", entry)
            assert name is not None, "the settings have checked it"
            glob = re.sub(r"[-_.]+", "-", name[0]).lower()
            found.append(cls(glob, SpecifierSet(entry[name.end() :].strip())))
        return found

    def names(self, distribution: str) -> bool:
        """Whether it is about this package, in one version at least."""
        return fnmatchcase(distribution, self.glob)

    def covers(self, distribution: str, version: str) -> bool:
        """Whether it is about this version of this package."""
        return self.names(distribution) and self.versions.contains(version, prereleases=True)


class _Refused(Exception):
    """A wish that is not tried; the message is the sentence about it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """One thing asked for.

    Attributes:
        asked: as it was asked for.
        requirement: what to resolve; None if it is there for everybody.
    """

    asked: str
    requirement: Requirement | None


@dataclass(slots=True)
class _Record:
    """A user's wishes by canonical name, and what they resolved to last."""

    requirements: dict[str, str] = field(default_factory=dict)
    locked: Locked = field(default_factory=lambda: Locked("", ()))


class Packages:
    """Installs packages for users. Made by :meth:`open`."""

    def __init__(
        self,
        settings: Settings,
        host: KernelHost,
        documents: type[UserPackagesDocument],
    ) -> None:
        """Use :meth:`open`."""
        self._settings = settings
        self._host = host
        self._documents = documents
        self._allowed = _Pattern.parse(settings.packages_allowed)
        self._denied = _Pattern.parse(settings.packages_denied)
        self._limit_mb = settings.user_packages_bytes >> 20
        self._download_mb = settings.package_download_bytes >> 20
        self._timeout_s = settings.install_timeout_s
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, host: KernelHost, database: AsyncDatabase[dict[str, Any]]
    ) -> AsyncGenerator["Packages"]:
        """Bind to the database, and forget users who haven't been seen for a month.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        try:
            documents = await bind(UserPackagesDocument, database)
            await documents.find({"used_at": {"$lt": datetime.now(UTC) - _KEPT}}).delete()
        except PyMongoError as error:
            raise unavailable(settings, error) from error
        yield cls(settings, host, documents)

    async def change(
        self, user_id: str, request: PackageRequest, *, slot: str | None
    ) -> Installation:
        """Install or uninstall, and show the result to the user's kernel. Never raises for that.

        Args:
            user_id: whose packages.
            request: what is asked for.
            slot: where the user's kernel lives, if there is one.
        """
        began = time.monotonic()
        async with self._lock(user_id):
            try:
                record = await self._load(user_id)
                if request.action == "install":
                    done = await self._install(user_id, record, request, slot)
                else:
                    done = await self._uninstall(user_id, record, request, slot)
            except PyMongoError as error:
                log.error("a user's packages could not be read or kept", reason=str(error))
                done = Installation(failed=dict.fromkeys(request.wanted, _DATABASE))
        duration_s = time.monotonic() - began
        log.info(
            "packages changed",
            user_id=user_id,
            installed=done.installed,
            removed=done.removed,
            failed=len(done.failed),
            duration_s=round(duration_s, 2),
        )
        return Installation(
            installed=done.installed,
            removed=done.removed,
            changed=done.changed,
            failed=done.failed,
            duration_s=duration_s,
        )

    async def show(self, user_id: str, slot: str) -> None:
        """Show a user's packages to a kernel that has just been started.

        What can't be shown is installed again when a cell imports it.
        """
        async with self._lock(user_id):
            try:
                record = await self._load(user_id)
                if not record.locked.packages:
                    return
                layer = await self._host.install(record.locked)
                await self._host.show_layer(slot, layer)
                await self._documents.find({"user_id": user_id}).update(
                    {"$set": {"used_at": datetime.now(UTC)}}
                )
            except (PyMongoError, InstallFailed, OSError) as error:
                log.warning("a user's packages could not be shown", reason=repr(error))

    async def installed(self, user_id: str) -> tuple[str, ...]:
        """A user's own packages, such as ``seaborn==0.13.2``, in the order of their names.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        with self._database_errors():
            record = await self._load(user_id)
        return tuple(f"{name}=={version}" for name, version in record.locked.packages)

    async def forget(self, user_id: str) -> None:
        """Forget all packages of a user.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        async with self._lock(user_id):
            with self._database_errors():
                await self._documents.find({"user_id": user_id}).delete()

    # -- installing ------------------------------------------------------------------------------

    async def _install(
        self, user_id: str, record: _Record, request: PackageRequest, slot: str | None
    ) -> Installation:
        wishes: list[_Wish] = []
        failed: dict[str, str] = {}
        for asked in request.wanted:
            try:
                wish = self._wish(asked, request.kind)
            except _Refused as refusal:
                failed[asked] = str(refusal)
                continue
            if wish.requirement is not None:
                wishes.append(wish)
        if len(record.requirements) + len(wishes) > _MOST_WISHES:
            sentence = f"More than {_MOST_WISHES} packages can't be kept; uninstall some first."
            return Installation(failed={**failed, **{wish.asked: sentence for wish in wishes}})
        if not wishes:
            return Installation(failed=failed)
        result = await self._try(user_id, record, wishes, request.upgrade, slot)
        if isinstance(result, InstallFailed) and len(wishes) > 1:
            return await self._install_singly(user_id, record, wishes, request, slot, failed)
        if isinstance(result, InstallFailed):
            failed[wishes[0].asked] = self._sentence(result, wishes[0])
            return Installation(failed=failed)
        return Installation(
            installed=result.installed,
            removed=result.removed,
            changed=result.changed,
            failed={**failed, **result.failed},
        )

    async def _install_singly(
        self,
        user_id: str,
        record: _Record,
        wishes: Sequence[_Wish],
        request: PackageRequest,
        slot: str | None,
        failed: dict[str, str],
    ) -> Installation:
        """Install what can be of several wishes that can't be fulfilled together."""
        before = dict(record.locked.packages)
        for wish in wishes:
            result = await self._try(user_id, record, [wish], request.upgrade, slot)
            if isinstance(result, InstallFailed):
                failed[wish.asked] = self._sentence(result, wish)
            else:
                failed.update(result.failed)
        return _difference(before, dict(record.locked.packages), failed)

    async def _try(
        self,
        user_id: str,
        record: _Record,
        wishes: Sequence[_Wish],
        upgrade: bool,
        slot: str | None,
    ) -> Installation | InstallFailed:
        """Install all of these wishes, or none."""
        wanted = dict(record.requirements)
        names = []
        for wish in wishes:
            assert wish.requirement is not None
            name = canonicalize_name(wish.requirement.name)
            names.append(name)
            if wish.requirement.specifier or wish.requirement.extras or name not in wanted:
                wanted[name] = str(wish.requirement)
        try:
            locked = await self._host.lock_packages(
                sorted(wanted.values()), keep=record.locked.text, upgrade=names if upgrade else ()
            )
            self._check_denied(locked)
            done = await self._change_to(user_id, record, wanted, locked, slot)
        except InstallFailed as failure:
            log.info("packages were not installed", kind=failure.kind, subject=failure.subject)
            return failure
        except _Refused as refusal:
            return Installation(failed={wish.asked: str(refusal) for wish in wishes})
        except OSError as error:
            log.error("packages could not be shown", reason=str(error))
            return InstallFailed("internal", "", "")
        return done

    async def _change_to(
        self,
        user_id: str,
        record: _Record,
        wanted: dict[str, str],
        locked: Locked,
        slot: str | None,
    ) -> Installation:
        before = record.locked
        layer = await self._host.install(locked) if locked.packages else None
        if slot is not None:
            await self._host.show_layer(slot, layer)
        await self._save(user_id, wanted, locked)
        record.requirements, record.locked = wanted, locked
        return _difference(dict(before.packages), dict(locked.packages), {})

    async def _uninstall(
        self, user_id: str, record: _Record, request: PackageRequest, slot: str | None
    ) -> Installation:
        wanted = dict(record.requirements)
        failed: dict[str, str] = {}
        own, core = dict(record.locked.packages), self._host.core_packages()
        going = []
        for asked in request.wanted:
            name = canonicalize_name(asked.strip()[:_REQUIREMENT_CHARS])
            if wanted.pop(name, None) is not None:
                going.append(name)
            elif name in own:
                failed[asked] = f"{name} is needed by another of your packages, so it stays."
            elif name in core:
                failed[asked] = f"{name} belongs to every kernel here and can't be removed."
            else:
                failed[asked] = f"{_shown(asked)} is not installed."
        if not going:
            return Installation(failed=failed)
        try:
            locked = Locked("", ())
            if wanted:
                locked = await self._host.lock_packages(
                    sorted(wanted.values()), keep=record.locked.text
                )
            done = await self._change_to(user_id, record, wanted, locked, slot)
        except InstallFailed as failure:
            failed.update((name, self._sentence(failure, _Wish(name, None))) for name in going)
            return Installation(failed=failed)
        left = dict(record.locked.packages)
        for name in going:
            if name in left:
                failed[name] = f"{name} is needed by another of your packages, so it stays."
        return Installation(removed=done.removed, changed=done.changed, failed=failed)

    # -- what may be asked for -------------------------------------------------------------------

    def _wish(self, asked: str, kind: str) -> _Wish:
        """What is meant, if it may be had.

        Raises:
            _Refused: it may not, or is no wish.
        """
        if kind == "import":
            return self._wish_for_import(asked)
        try:
            requirement = Requirement(asked.strip())
        except InvalidRequirement:
            raise _Refused(
                f"{_shown(asked)} is no requirement; write a name, such as `seaborn`, or "
                "`seaborn==0.13.2`."
            ) from None
        if len(asked) > _REQUIREMENT_CHARS or not _NAME.fullmatch(requirement.name):
            raise _Refused(f"{_shown(asked)} is too long for the name of a package.")
        if requirement.url is not None:
            raise _Refused(
                f"{_shown(asked)} names an address; packages come from this service's index "
                "only, so write the name alone."
            )
        if requirement.marker is not None:
            requirement.marker = None
        return self._permitted(asked, requirement)

    def _wish_for_import(self, asked: str) -> _Wish:
        top = asked.partition(".")[0]
        if len(asked) > _REQUIREMENT_CHARS or not all(
            part.isidentifier() for part in asked.split(".")
        ):
            raise _Refused(f"{_shown(asked)} is no name of a module.")
        if top in sys.stdlib_module_names:
            raise _Refused(
                f"{asked} belongs to Python's standard library and is not part of this Python."
            )
        if top in _PEOPLES_OWN:
            raise _Refused(
                f"There is no module {asked} here, and modules of that name are people's own: "
                "write the file into the working directory first."
            )
        guess = asked.replace(".", "-") if is_shared(top) else top
        name = distribution_for(asked) or guess
        if not _NAME.fullmatch(name):
            raise _Refused(f"No package gives the module {asked}.")
        core = self._host.core_packages()
        if canonicalize_name(name) in core:
            raise _Refused(
                f"{asked} would belong to {name} {core[canonicalize_name(name)]}, which is "
                "installed but doesn't have it."
            )
        return self._permitted(asked, Requirement(name))

    def _permitted(self, asked: str, requirement: Requirement) -> _Wish:
        name = canonicalize_name(requirement.name)
        version = self._host.core_packages().get(name)
        if version is not None and not requirement.extras:
            if requirement.specifier.contains(version, prereleases=True):
                return _Wish(asked, None)
            raise _Refused(
                f"{name} {version} belongs to every kernel here and can't be replaced by "
                f"{requirement}."
            )
        if any(pattern.names(name) and not pattern.versions for pattern in self._denied):
            raise _Refused(f"{name} may not be installed here: the operator has excluded it.")
        allowing = [pattern for pattern in self._allowed if pattern.names(name)]
        if not allowing:
            raise _Refused(f"{name} is not among the packages that may be installed here.")
        if all(pattern.versions for pattern in allowing):
            requirement.specifier &= allowing[0].versions
        self._check_spelling(name, requirement)
        return _Wish(asked, requirement)

    def _check_spelling(self, name: NormalizedName, requirement: Requirement) -> None:
        meant = likely_meant(name)
        pinned = any(part.operator in ("==", "===") for part in requirement.specifier)
        if meant is not None and not pinned:
            raise _Refused(
                f"{name} was not installed: it looks like a slip of {meant}. If {name} is meant, "
                f"name its version: `%pip install {name}==<version>`."
            )

    def _check_denied(self, locked: Locked) -> None:
        for name, version in locked.packages:
            if any(pattern.covers(name, version) for pattern in self._denied):
                raise _Refused(
                    f"{name} {version} may not be installed here: the operator has excluded it."
                )

    def _sentence(self, failure: InstallFailed, wish: _Wish) -> str:
        """What a person should know about why a wish was not fulfilled."""
        about = failure.subject or wish.asked
        detail = f" ({failure.detail})" if failure.detail else ""
        match failure.kind:
            case "not_found":
                module = f" for the module {wish.asked}" if _is_other(about, wish.asked) else ""
                return f"There is no package {about}{module} on the index."
            case "no_version":
                return f"There is no such version of {about}{detail}."
            case "no_wheel":
                return (
                    f"{about} has no wheel for this Python and platform, and packages aren't "
                    "built here."
                )
            case "conflict":
                return (
                    f"{wish.asked} doesn't go together with what is installed{detail}. Another "
                    "version of it might."
                )
            case "too_large":
                return (
                    f"{about} is too large{detail}: at most {self._download_mb} MB are downloaded "
                    f"for one installation, and all of a user's packages have {self._limit_mb} MB."
                )
            case "unreachable":
                return (
                    f"{wish.asked} could not be installed: the package index can't be reached "
                    "just now. Try again later."
                )
            case "timeout":
                return (
                    f"{wish.asked} could not be installed within {self._timeout_s:g} s. Try again: "
                    "what was downloaded is kept."
                )
            case "unsafe":
                return f"{about} was not installed: the package is not sound{detail}."
            case "hash":
                return f"{about} was not installed: what the index sent is not what it promised."
            case "disk":
                return f"{wish.asked} could not be installed: this machine's disk is full."
            case "bad":
                return f"{_shown(wish.asked)} is no requirement that can be installed."
            case _:
                return (
                    f"{wish.asked} could not be installed, for a reason of this service's own; "
                    "its operator finds it in the log."
                )

    # -- records ---------------------------------------------------------------------------------

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except PyMongoError as error:
            raise unavailable(self._settings, error) from error

    def _lock(self, user_id: str) -> asyncio.Lock:
        return self._locks.setdefault(user_id, asyncio.Lock())

    async def _load(self, user_id: str) -> _Record:
        document = await self._documents.find_one({"user_id": user_id})
        if document is None:
            return _Record()
        packages = tuple(sorted(document.packages.items()))
        return _Record(dict(document.requirements), Locked(document.lock, packages))

    async def _save(self, user_id: str, wanted: Mapping[str, str], locked: Locked) -> None:
        values = {
            "requirements": dict(wanted),
            "lock": locked.text,
            "packages": dict(locked.packages),
            "used_at": datetime.now(UTC),
        }
        collection = self._documents.get_pymongo_collection()
        await collection.update_one({"user_id": user_id}, {"$set": values}, upsert=True)


def _difference(
    before: Mapping[str, str], after: Mapping[str, str], failed: Mapping[str, str]
) -> Installation:
    return Installation(
        installed=tuple(
            f"{name}=={version}" for name, version in after.items() if before.get(name) != version
        ),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(_changed(before, after)),
        failed=dict(failed),
    )


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    return (name for name in before if name in after and after[name] != before[name])


def _is_other(distribution: str, asked: str) -> bool:
    plain = re.split(r"[^A-Za-z0-9._-]", asked, maxsplit=1)[0]
    return canonicalize_name(plain) != canonicalize_name(distribution)


def _shown(text: str) -> str:
    """A piece of hostile text as it may stand in a sentence."""
    plain = "".join(c if c.isprintable() else "?" for c in text.strip())
    return repr(plain if len(plain) <= 60 else plain[:59] + "…")
